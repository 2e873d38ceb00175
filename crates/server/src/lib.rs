//! The Heartwire server: WebSocket connections and HTTP API, as a program or inside an axum
//! application.

mod api;
mod clock;
mod guard;

mod socket;
mod wheel;
mod ws;

pub use guard::{ApiKey, ApiKeyError};
