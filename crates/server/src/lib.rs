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
mod http_connection;
mod http_seats;
mod hub;
mod metrics;
mod presence;
mod proxied;
mod publish;
mod sealed;
mod server;
mod shared;
mod shut_out;
mod socket;
mod storage;
mod subjects;
mod sync;
mod tls;
mod upkeep;
mod waiting;
mod webhook;
mod wheel;
mod wire;

pub use admission::ConnectionLimits;
pub use api::{UrlTopics, UrlTopicsError};
pub use builder::{HubBuilder, OpenError};
pub use ended::ObservationLimits;
pub use follow::{Delivery, FollowRefused, Follower, Message};
pub use gate::Gate;
pub use guard::{
    ApiKey, ApiKeyError, Check, CheckRequest, EmptySecret, FileError, Refusal, Tokens,
};
pub use heartwire_hub::{Attendance, Grant, PresenceConfig, PresentMember, SubjectsFull};
pub use heartwire_log::{Pattern, Policy, Retention};
pub use heartwire_proto::frame::{Durability, Gap, Payload, SubFrom};
pub use heartwire_proto::heartbeat::{HeartbeatConfig, HeartbeatRange};
pub use heartwire_proto::{Cursor, Limits};
pub use hub::Hub;
pub use ipnet::IpNet;
pub use publish::{Position, PublishError};
pub use server::Server;
pub use storage::StoreError;
pub use tls::Tls;
pub use webhook::{Webhook, WebhookError, WebhookSecrets, WebhookSecretsError, WebhooksError};
