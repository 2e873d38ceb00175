//! The Heartwire server: WebSocket connections and HTTP API, as a program or inside an axum
//! application.

mod admission;
mod api;
mod builder;
mod clock;
mod conn;
mod ended;
mod follow;
mod gate;
mod guard;
mod hub;
mod metrics;
mod publish;
mod server;
mod shared;
mod socket;
mod storage;
mod sync;
mod upkeep;
mod wheel;
mod ws;

pub use admission::ConnectionLimits;
pub use api::{UrlTopics, UrlTopicsError};
pub use builder::{HubBuilder, OpenError};
pub use ended::ObservationLimits;
pub use follow::{Delivery, FollowRefused, Follower, Message};
pub use gate::Gate;
pub use guard::{ApiKey, ApiKeyError};
pub use heartwire_log::{Policy, Retention, TopicPattern};
pub use heartwire_proto::frame::{Durability, Gap, Payload, SubFrom};
pub use heartwire_proto::heartbeat::{HeartbeatConfig, HeartbeatRange};
pub use heartwire_proto::{Cursor, Limits};
pub use hub::Hub;
pub use publish::{Position, PublishError};
pub use server::Server;
pub use storage::StoreError;
