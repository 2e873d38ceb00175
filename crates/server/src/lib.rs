//! The Heartwire server: WebSocket connections and HTTP API, as a program or inside an axum
//! application.

mod admission;
mod api;
mod clock;
mod guard;

mod socket;
mod sync;
mod wheel;
mod ws;

pub use admission::ConnectionLimits;
pub use api::{UrlTopics, UrlTopicsError};
pub use guard::{ApiKey, ApiKeyError};
