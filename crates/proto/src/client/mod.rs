//! The client's side of a link, without its socket: dialling, heartbeat, cursors, outbox.
//!
//! A [`ClientSession`] is a state machine. A driver (a tokio task, a simulator, a test) owns the
//! socket, the clock and the random source, and keeps this contract:
//!
//! 1. Call one input: [`handle`](ClientSession::handle) for what the transport reports,
//!    [`timeout`](ClientSession::timeout) when a deadline has come, or a method of the
//!    application's.
//! 2. Drain [`poll_output`](ClientSession::poll_output) until it returns `None`, doing what each
//!    output says, in order.
//! 3. While the transport has room, write what [`poll_transmit`](ClientSession::poll_transmit)
//!    returns, until it returns `None`. It always belongs to the latest attempt.
//! 4. Wait until [`next_timeout`](ClientSession::next_timeout), or for the next input; go to 1.
//!
//! Whatever the order of inputs, there is one pending dial or none, and a topic's messages are
//! delivered in order, once each. What waits inside is bounded by [`ClientConfig`], as long as the
//! outputs are drained.

mod config;
mod dial;
mod event;
mod follow;
mod io;
mod plain;
mod publish;
mod receive;
mod session;
mod timer;
mod transmit;
mod watch;

pub use config::{ClientConfig, Mode, PlainConfig, PlainPing};
pub use event::{
    Counters, Ending, Event, Loss, PublishError, SendError, Status, SubscribeError, TopicMessage,
};
pub use io::{Input, Now, Output, Transmit};
pub use session::ClientSession;
