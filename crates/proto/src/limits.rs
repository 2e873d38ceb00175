//! Every bound of the protocol in one place, with its unit in its name and the reason of its default.

use std::time::Duration;

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
            heartbeat_interval_min: Duration::from_secs(1),
            heartbeat_interval_max: Duration::from_secs(300),
        }
    }
}
