//! The pure protocol core of Heartwire.
//!
//! Everything both ends must agree on lives here: [frames](frame), [identifiers](id), the
//! [heartbeat], and the state machines of both ends. Nothing here opens a socket, reads a clock,
//! draws a random number or starts a thread: time and randomness are arguments. So one and the same
//! code runs in the server, in the client and in the simulator.
//!
//! The wire protocol is described in `PROTOCOL.md` at the root of the repository; numbers such as
//! `[LIVE-3]` in this crate's documentation refer to its requirements.

pub mod backoff;
pub mod bucket;
pub mod client;
pub mod close;
pub mod frame;
pub mod heartbeat;
pub mod id;
pub mod limits;
pub mod outbox;
pub mod planted;
pub mod server;
pub mod time;

pub use close::{Close, CloseCode};
pub use id::{
    Attempt, ClientId, ConnectionId, Cursor, Epoch, LogId, Offset, PingId, Seq, Token, TopicName,
    TopicRef,
};
pub use limits::Limits;
pub use time::{Clocks, Time, WallTime};
