//! The bodies of the fuzz targets: what must hold for arbitrary bytes.
//!
//! Each function takes bytes, makes of them whatever it needs, and panics when something that must
//! hold does not. `fuzz/` wraps them for libFuzzer; the test beside them replays the committed
//! corpora with a stable toolchain and without it, so that what was found once stays found.

mod client_books;
mod client_session;
mod frame;
mod http;
mod log;
mod server_session;
mod websocket;

pub use client_books::{ClientBooks, welcomed};
pub use client_session::client_session;
pub use frame::frame;
pub use http::http;
pub use log::log;
pub use server_session::server_session;
pub use websocket::websocket;

/// A target: bytes in, a panic when something does not hold.
pub type Target = fn(&[u8]);

/// All targets, by the names of their folders below `fuzz/corpus`.
pub const TARGETS: &[(&str, Target)] = &[
    ("frame", frame),
    ("client_session", client_session),
    ("server_session", server_session),
    ("websocket", websocket),
    ("log", log),
    ("http", http),
];
