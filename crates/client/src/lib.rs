//! A WebSocket client that never dies silently.
//!
//! A [`Link`] is a lasting relation to a server, over as many connections as it takes. It notices a
//! dead connection within a stated time, comes back by itself, and carries on where it was: what is
//! sent meanwhile, in either direction, is neither lost, nor doubled, nor out of order. What really
//! is gone is named.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use heartwire::{Delivery, Link};
//!
//! let link = Link::builder("wss://example.org/websocket").connect()?; // dials in the background
//! let mut task = link.subscribe("task:42")?;
//! link.publish("inbox", "hello").await?; // returns when the server has stored it
//! while let Some(delivery) = task.next().await {
//!     match delivery {
//!         Delivery::Message(message) => println!("{:?}", message.payload),
//!         Delivery::Gap(gap) => println!("gone for good: {gap:?}"),
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Half-open links
//!
//! A TCP connection is a promise between two memories, not a wire. When a phone leaves its cell, a
//! laptop sleeps, a router forgets its table or a machine loses power, nobody tells the other end:
//! it goes on believing in a connection that leads nowhere. Reading from it waits for ever. Writing
//! to it succeeds, as the kernel takes the bytes and keeps trying, on Linux for about a quarter of
//! an hour. No error comes, no close event, and an application that waits for either sits in front
//! of a page that looks alive.
//!
//! So a link asks. After an interval of silence it sends a question, and when nothing has arrived
//! for a timeout after that, the connection is dead: its socket is dropped on the spot, without
//! waiting for a goodbye that cannot come, and the loss is told with its reason. In v1 the server
//! dictates both numbers and asks as well, so that both ends know; by default a dead connection is
//! noticed within 22.5 s of the last byte that arrived.
//!
//! Any byte counts as life, be it the middle of a large message, and so does a kernel at the other
//! end that acknowledges what is being sent: a slow link is not a dead one. A question that is
//! overdue because this process was stopped is looked at once more before it decides anything. When
//! the machine has slept, which the link notices from a jump between its clocks, or when
//! [`network_changed`](Link::network_changed) says so, it asks at once with three seconds to
//! answer.
//!
//! # Coming back
//!
//! The [`Status`] of a link is `connecting`, `open`, `lost` (waiting to dial again), `suspended`
//! (not dialling until something changes) or `closed` (for good, with the reason).
//!
//! The first dial after a loss comes after a random part of 3 s, later ones after a random part of
//! a range that grows to 30 s, so that clients which were cut together do not come back together.
//! After 12 attempts the link is suspended and tries only every few minutes;
//! [`reconnect`](Link::reconnect), [`wake`](Link::wake) and
//! [`network_changed`](Link::network_changed) end that. The server can name a delay, which is
//! obeyed. [`Reconnect`] has the other choices.
//!
//! Only a few things are final: the application's own [`close`](Link::close), and a server that
//! says "unauthorized", "forbidden" or "taken over". A failed dial, a lost connection, a server that
//! is away for a day: these are states of a link, and not errors of any call.
//!
//! # What is promised
//!
//! - **Messages from the server** come in order, once each for the life of the [`Link`]. A program
//!   that saves [`Subscription::cursor`] and restarts with it sees each at least once.
//! - **Messages to the server** stay in the outbox until the server has stored them, and are stored
//!   once. What would not fit into the outbox is refused at once, never dropped later.
//! - **What cannot be delivered** is told: a [`Delivery::Gap`] where retention or a lost log took
//!   messages, an [`Event::LogLost`] where the server lost what it had acknowledged, a
//!   [`PublishError::InDoubt`] where nobody can know any more.
//! - **A slow application** harms nobody: its topics pause, the heartbeat goes on.
//! - **Everything is bounded**: [`OutboxLimits`] for what waits for the server, [`QueueLimits`] for
//!   what waits for the application, time for every attempt.
//!
//! In [plain mode](Link::plain), with any WebSocket server, the heartbeat and the coming back are
//! the same; the promises about messages need a server that keeps them, and become
//! [marks](PlainGap) where messages may be missing.
//!
//! # What it is not
//!
//! It needs a tokio runtime. It takes no HTTP proxies from the environment, follows no redirects
//! and offers no compression.

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

pub use heartwire_proto::backoff::Reconnect;
pub use heartwire_proto::client::{Counters, Ending, Event, Loss, SendError, Status, TopicMessage};
pub use heartwire_proto::frame::{
    Durability, FrameError, Gap, GapReason, Message, NackCode, Payload, RefusedCode, SubFrom,
    Welcome,
};
pub use heartwire_proto::heartbeat::{HeartbeatRange, Rtt};
pub use heartwire_proto::id::IdError;
pub use heartwire_proto::outbox::{OutboxFull, OutboxLimits};
pub use heartwire_proto::{
    Attempt, ClientId, CloseCode, ConnectionId, Cursor, Epoch, LogId, Offset, Seq, TopicName,
    WallTime,
};
/// The TLS library, in the version that [`Builder::tls`] takes its configuration from.
pub use tokio_rustls::rustls;
