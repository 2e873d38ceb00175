//! What can be told of a connection afterwards: how far its heartbeat and its output had come, and
//! how it ended.
//!
//! Nothing is recorded while it lives: all of it is read off the state that it has anyway.

use std::time::Duration;

use heartwire_proto::heartbeat::Rtt;
use heartwire_proto::{Close, CloseCode, PingId, Time};

use super::progress::{NEVER, Progress};
use super::{Connection, Live, State};

/// Which end decided that a connection is over.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Side {
    /// This server.
    Server,
    /// The peer, by a close frame.
    Peer,
}

impl Side {
    /// The word for people and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Peer => "peer",
        }
    }
}

/// Who decided that somebody goes, and why, in words that are few: the name of a close code, or one
/// of those below.
pub type Reason = (Side, &'static str);

/// The socket ended without a close frame.
pub(crate) const HUNG_UP: Reason = (Side::Peer, "hung-up");
/// A topic is followed no longer, as asked.
pub(crate) const UNSUBSCRIBED: Reason = (Side::Peer, "unsubscribed");
/// The grant does not hold any more, for a topic or altogether.
pub(crate) const FORBIDDEN: Reason = (Side::Server, "forbidden");
/// A token took the place of a valid one and was none.
pub(crate) const UNAUTHORIZED: Reason = (Side::Server, "unauthorized");

/// The word for a close code; peers may send any.
pub(crate) fn name(code: CloseCode) -> &'static str {
    match code {
        CloseCode::NO_STATUS => "no-status",
        code => code.name().unwrap_or("other"),
    }
}

/// Why a peer was declared dead.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Death {
    /// Nothing was heard, and a ping stayed without answer.
    Silence,
    /// It took no output.
    Blocked,
}

impl Death {
    /// The word for people and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Silence => "silence",
            Self::Blocked => "blocked",
        }
    }
}

/// How a connection ended.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct End {
    /// Who decided it.
    pub by: Side,
    /// Code and reason.
    pub close: Close,
    /// When.
    pub at: Time,
    /// If the peer was declared dead: why, and how long after its last sign of life, which is the
    /// last byte heard or the last byte of output taken.
    pub death: Option<(Death, Duration)>,
}

impl End {
    /// Who, and why, in words that are few.
    pub fn reason(&self) -> Reason {
        (self.by, name(self.close.code))
    }
}

/// A ping, as far as it has come.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Asked {
    /// Which.
    pub id: PingId,
    /// When it was put behind other output.
    pub at: Time,
    /// Since when the answer's clock runs, if the ping was written and its answer is awaited.
    pub written_at: Option<Time>,
    /// When the answer is due, if it is awaited.
    pub due_at: Option<Time>,
}

/// How far a connection had come when it ended, or has by now.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Life {
    /// When a byte of it was last heard. A peer that does not read its answers is not read from, and
    /// counts as heard meanwhile.
    pub heard_at: Option<Time>,
    /// Round trips, once a ping was answered.
    pub round_trip: Option<Rtt>,
    /// The latest ping.
    pub ping: Option<Asked>,
    /// Since when output stands here and none of it has moved.
    pub blocked_since: Option<Time>,
    /// Output that the socket has not taken.
    pub unwritten_bytes: usize,
}

impl Connection {
    /// How far it has come; once it ends, how far it had come by then.
    pub fn life(&self) -> Life {
        match &self.state {
            State::Greeting(_) => Life {
                unwritten_bytes: self.outgoing.bytes(),
                ..Life::default()
            },
            State::Live(live) => live.account(&self.progress, self.outgoing.bytes()),
            State::Closing(closing) => closing.life,
        }
    }

    /// How it ended, once it has.
    pub fn ended(&self) -> Option<&End> {
        match &self.state {
            State::Closing(closing) => Some(&closing.end),
            State::Greeting(_) | State::Live(_) => None,
        }
    }
}

impl Live {
    fn account(&self, progress: &Progress, unwritten_bytes: usize) -> Life {
        let heartbeat = &self.heartbeat;
        let awaited = heartbeat.awaited();
        let asked = Asked {
            id: heartbeat.latest_ping(),
            at: heartbeat.asked_at(),
            written_at: awaited
                .and_then(|awaited| awaited.since)
                .filter(|_| progress.is_ping_written()),
            due_at: awaited.map(|awaited| awaited.due_at),
        };
        Life {
            heard_at: Some(heartbeat.last_heard()),
            round_trip: heartbeat.rtt(),
            ping: heartbeat.has_asked().then_some(asked),
            blocked_since: Some(progress.blocked_since()).filter(|since| *since != NEVER),
            unwritten_bytes,
        }
    }
}
