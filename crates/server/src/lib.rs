//! The Heartwire server: WebSocket connections and HTTP API, as a program or inside an axum
//! application.

mod admission;
mod api;
mod builder;
mod clock;
mod conn;
mod gate;
mod guard;
mod hub;
mod server;
mod socket;
mod sync;
mod wheel;
mod ws;

pub use admission::ConnectionLimits;
pub use api::{UrlTopics, UrlTopicsError};
pub use builder::{HubBuilder, OpenError};
pub use gate::Gate;
pub use guard::{ApiKey, ApiKeyError};
pub use heartwire_log::Retention;
pub use heartwire_proto::Limits;
pub use heartwire_proto::heartbeat::{HeartbeatConfig, HeartbeatRange};
pub use hub::Hub;
pub use server::Server;
