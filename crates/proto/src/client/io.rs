//! What goes into a client session, and what comes out.

use std::time::Duration;

use super::event::Event;
use crate::close::{Close, CloseCode};
use crate::frame::{Message, Payload};
use crate::id::{Attempt, Token};
use crate::time::{Clocks, Time, WallTime};

/// The moment of an input, and randomness for whatever it makes the session draw.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Now {
    /// The driver's monotonic clock; it should go on while the machine sleeps, if it can.
    pub time: Time,
    /// The wall clock, which goes on while the machine sleeps, and may jump.
    pub wall: WallTime,
    /// 128 fresh random bits. They must come from a secure source, as a client id may be drawn
    /// from them; the top 64 are the fraction that delays are drawn with.
    pub random: u128,
}

impl Now {
    /// The moment on both clocks.
    pub(super) const fn clocks(self) -> Clocks {
        Clocks {
            time: self.time,
            wall: self.wall,
        }
    }

    /// The top 64 bits of the random number: a fraction for delays.
    pub(super) const fn fraction(self) -> u64 {
        (self.random >> 64) as u64
    }
}

/// What the transport reports. Each names its attempt; what an abandoned one still reports is
/// ignored `[RETRY-1]`, so drivers need not filter.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Input<'a> {
    /// The WebSocket handshake succeeded.
    Opened {
        /// Whose.
        attempt: Attempt,
        /// Whether the server agreed to the subprotocol `heartwire.v1` `[WS-3]`; in plain mode it
        /// means nothing.
        agreed: bool,
        /// The token that was asked for before this dial, if the application uses tokens; `hello`
        /// carries it.
        token: Option<Token>,
    },
    /// The attempt failed before the handshake was complete: no token, no address, refused, TLS,
    /// an HTTP status.
    DialFailed {
        /// Whose.
        attempt: Attempt,
        /// For people.
        why: String,
        /// `Retry-After` of a 503, if there was one.
        retry_after: Option<Duration>,
    },
    /// Bytes arrived that are not a whole message yet, or were a control frame: life `[LIVE-1]`.
    /// Messages need no `Heard` of their own.
    Heard {
        /// From whom.
        attempt: Attempt,
    },
    /// One whole WebSocket message arrived.
    Message {
        /// On which connection.
        attempt: Attempt,
        /// What it said.
        message: Message<'a>,
    },
    /// In plain mode: an answer to the latest ping, be it an RFC 6455 Pong or a message that the
    /// driver's predicate accepted.
    Pong {
        /// On which connection.
        attempt: Attempt,
    },
    /// Everything that [`poll_transmit`](super::ClientSession::poll_transmit) gave out has left
    /// for the kernel. Optional; with it the clock of a ping's answer starts when the ping has
    /// really been written `[LIVE-5]`.
    Flushed {
        /// On which connection.
        attempt: Attempt,
    },
    /// The peer's TCP acknowledged bytes, and others still wait `[LIVE-5]`: the peer is slow, but
    /// alive. Optional, for drivers that can tell. Not to be reported for the last bytes, whose
    /// acknowledgement a frozen peer's kernel sends as well.
    Acknowledged {
        /// On which connection.
        attempt: Attempt,
    },
    /// The answer to [`Output::Look`]: everything that had arrived has been handed in.
    Looked {
        /// On which connection.
        attempt: Attempt,
    },
    /// The socket closed, by a close frame or without.
    Closed {
        /// Whose.
        attempt: Attempt,
        /// The code of the close frame; `None` when there was none (an error, a reset, the end of
        /// the stream), which other APIs call 1006.
        code: Option<CloseCode>,
        /// The reason of the close frame.
        reason: &'a str,
    },
}

impl Input<'_> {
    /// The attempt that it is about.
    pub const fn attempt(&self) -> Attempt {
        match self {
            Self::Opened { attempt, .. }
            | Self::DialFailed { attempt, .. }
            | Self::Heard { attempt }
            | Self::Message { attempt, .. }
            | Self::Pong { attempt }
            | Self::Flushed { attempt }
            | Self::Acknowledged { attempt }
            | Self::Looked { attempt }
            | Self::Closed { attempt, .. } => *attempt,
        }
    }
}

/// What the driver has to do, apart from writing to the socket.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Output {
    /// Ask the application for a token if it uses them `[RETRY-7]`, then dial, then report
    /// [`Input::Opened`] or [`Input::DialFailed`]. The previous attempt has been abandoned or has
    /// ended: there is never more than one.
    Dial {
        /// The number of this attempt, for every input about it.
        attempt: Attempt,
    },
    /// Let go of the dial or socket at once, and never wait for it `[LIVE-4]` `[CLOSE-4]`.
    Abandon {
        /// Whose.
        attempt: Attempt,
        /// With a close: write what [`poll_transmit`](super::ClientSession::poll_transmit) gave
        /// out before, then a close frame, and linger in the background for a second or two.
        /// Without: drop the socket as it is.
        close: Option<Close>,
    },
    /// A deadline has passed. Before anything is decided, read everything that has arrived, hand
    /// it in, then report [`Input::Looked`] `[LIVE-10]`. Where one cannot read on demand (a
    /// browser), let the waiting events run once.
    Look {
        /// On which dial or connection.
        attempt: Attempt,
    },
    /// Something for the application.
    Event(Event),
}

/// Something to write to the current connection.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Transmit {
    /// A WebSocket message, text or binary.
    Message(Payload),
    /// An RFC 6455 Ping frame; what it holds is up to the driver.
    Ping,
}
