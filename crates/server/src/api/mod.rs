//! The HTTP side.

pub(crate) mod error;
mod handshake;
mod idempotency;
mod url_topics;

pub use url_topics::{UrlTopics, UrlTopicsError};
