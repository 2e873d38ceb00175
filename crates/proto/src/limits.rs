//! Every bound of the protocol in one place, with its unit in its name and the reason of its default.

use std::num::NonZeroU64;
use std::time::Duration;

use crate::bucket::Rate;

/// The longest header line of a frame, in bytes: a topic of 200 and a percent-encoded identity fit.
pub const HEADER_BYTES_MAX: usize = 512;
/// The longest JSON of `hello`, `welcome` and `token`, in bytes: room for a large signed token.
pub const JSON_BYTES_MAX: usize = 16 * 1024;
/// What a connection may send before `welcome`, in bytes: one `hello` and a flight of `sub`.
pub const BEFORE_WELCOME_BYTES_MAX: usize = 16 * 1024;

/// What one server allows each connection; most of it is told to the client in `welcome`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Limits {
    /// The largest payload that is stored, in bytes; a larger one is answered by `nack too-large`.
    pub message_bytes_max: usize,
    /// The largest WebSocket message that is read at all, in bytes; beyond it the connection is
    /// closed with 1009. Above `message_bytes_max`, so that an honest mistake gets a `nack`.
    pub frame_bytes_max: usize,
    /// How many topics one connection may follow.
    pub topics_max: usize,
    /// How many publishes of one client may be without an `ack`.
    pub unacked_max: u64,
    /// How many bytes of them.
    pub unacked_bytes_max: usize,
    /// How long a connection may take from its upgrade to a complete `hello`.
    pub hello_timeout: Duration,
    /// Output that stands before one connection, in bytes, above which nothing more is read from
    /// it: whoever does not read gets no more answers.
    pub output_bytes_max: usize,
    /// How many messages of a connection are read in a second; more end it with 4102. Unlimited
    /// unless set, as what is much depends on what it is for. On top comes, once after a quiet
    /// time, what a client may send at once when it comes back: a `sub` of every topic, every
    /// publish without an `ack`, and one second's worth.
    pub messages_per_second_max: Option<NonZeroU64>,
    /// The same for bytes of messages; on top come `unacked_bytes_max` and one second's worth.
    pub bytes_per_second_max: Option<NonZeroU64>,
    /// The least heartbeat interval a client may ask for.
    pub heartbeat_interval_min: Duration,
    /// The greatest heartbeat interval a client may ask for.
    pub heartbeat_interval_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes_max: 1 << 20,
            frame_bytes_max: 4 << 20,
            topics_max: 1_000,
            unacked_max: 1_024,
            unacked_bytes_max: 4 << 20,
            hello_timeout: Duration::from_secs(10),
            output_bytes_max: 64 * 1024,
            messages_per_second_max: None,
            bytes_per_second_max: None,
            heartbeat_interval_min: Duration::from_secs(1),
            heartbeat_interval_max: Duration::from_secs(300),
        }
    }
}

impl Limits {
    /// The rate of a connection's messages, where there is a bound.
    pub fn messages_rate(&self) -> Option<Rate> {
        let at_once = (self.topics_max as u64).saturating_add(self.unacked_max);
        rate(self.messages_per_second_max, at_once)
    }

    /// The rate of their bytes, where there is a bound.
    pub fn bytes_rate(&self) -> Option<Rate> {
        rate(self.bytes_per_second_max, self.unacked_bytes_max as u64)
    }
}

fn rate(per_second: Option<NonZeroU64>, at_once: u64) -> Option<Rate> {
    let per_second = per_second?;
    Some(Rate::new(
        per_second,
        per_second.get().saturating_add(at_once),
    ))
}
