//! The HTTP side.

mod batch;
mod body;
pub(crate) mod error;
mod handshake;
mod idempotency;
mod json;
mod url_topics;

pub use url_topics::{UrlTopics, UrlTopicsError};
