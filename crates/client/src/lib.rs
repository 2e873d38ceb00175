//! .
mod builder;
mod clock;
mod connection;
mod dial;
mod driver;
mod error;
mod events;
mod link;
mod publish;
mod queue;
mod shared;
mod streams;

pub use builder::Builder;
pub use dial::{HeaderError, PemError, UrlError};
pub use driver::Opening;
pub use error::{ConfigError, SubscribeError, Unflushed};
pub use events::{Events, Missed};
pub use link::{Link, Plain, V1};
pub use publish::{Publish, PublishError, Stored};
pub use queue::{End, QueueLimits};
pub use streams::{Delivery, Messages, PlainDelivery, PlainGap, Subscription};

pub use heartwire_proto::backoff::ReconnectPolicy;
pub use heartwire_proto::client::{Counters, Ending, Event, Loss, SendError, Status, TopicMessage};
pub use heartwire_proto::frame::{
    Durability, Gap, GapReason, Message, NackCode, Payload, RefusedCode, SubFrom, Welcome,
};
pub use heartwire_proto::heartbeat::{HeartbeatRange, Rtt};
pub use heartwire_proto::id::IdError;
pub use heartwire_proto::outbox::{OutboxFull, OutboxLimits};
pub use heartwire_proto::{Attempt, CloseCode, Cursor, Epoch, Offset, Seq, TopicName, WallTime};
pub use tokio_rustls::rustls;
