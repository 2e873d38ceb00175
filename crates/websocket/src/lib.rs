//! RFC 6455 as a server speaks it, to the letter `[WS-1]`.
//!
//! The vocabulary (frame headers, opcodes) is tungstenite's; the policy around it is ours, as no
//! crate offers it without buffers of its own. Frames are decoded in the read buffer, in place: a
//! [`Decoder`] keeps only what an unfinished frame or message forces it to keep, so an idle
//! connection owns no buffer. What leaves the server is encoded by `heartwire_hub`, once for all
//! followers of a topic.
//!
//! It knows bytes and nothing else, so that whoever drives a server without sockets feeds it through
//! the same code.

mod close;
mod decoder;
mod header;
mod mask;
mod text;
mod unfinished;
mod violation;

pub use close::ClosePayload;
pub use decoder::{Caps, Control, ControlKind, Decoder, Event};
pub use violation::Violation;

#[cfg(test)]
mod tests;
