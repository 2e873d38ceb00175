//! What a client session tells the application, and what it refuses.

use std::fmt;
use std::time::Duration;

use crate::close::CloseCode;
use crate::frame::{FrameError, Gap, NackCode, Payload, RefusedCode, Welcome};
use crate::heartbeat::Rtt;
use crate::id::{Attempt, ClientId, Cursor, Seq, TopicName};
use crate::outbox::OutboxFull;
use crate::time::WallTime;

/// Something for the application, in the order in which it happened.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Event {
    /// The link has another state.
    Status(Status),
    /// What the server said when the connection opened, right after [`Status::Open`]; v1 only.
    Welcome(Box<Welcome>),
    /// A topic is followed: the next message is the one after the cursor. Comes anew with every
    /// connection.
    Followed {
        /// Which.
        topic: TopicName,
        /// Where following begins.
        cursor: Cursor,
    },
    /// A message of a followed topic: in order, once, for the life of the link `[MSG-4]`.
    Message(TopicMessage),
    /// Messages of a topic that will never come `[MSG-5]`, in order with its messages.
    Gap {
        /// Which topic.
        topic: TopicName,
        /// What is missing, and why.
        gap: Gap,
    },
    /// The server does not let the topic be followed; it is forgotten `[SUB-11]`.
    Refused {
        /// Which.
        topic: TopicName,
        /// Why.
        code: RefusedCode,
    },
    /// The server stopped a topic on its own; it is forgotten `[SUB-12]`.
    Ended {
        /// Which.
        topic: TopicName,
        /// Why.
        code: RefusedCode,
    },
    /// A publish is stored, at the durability that `welcome` named.
    Stored {
        /// Which.
        seq: Seq,
    },
    /// The server refused a publish for good; it is forgotten, the ones behind it go on.
    PublishRefused {
        /// Which.
        seq: Seq,
        /// Why.
        code: NackCode,
    },
    /// A publish may or may not have been stored, nobody knows any more; it is not resent
    /// `[HELLO-10]`.
    InDoubt {
        /// Which.
        seq: Seq,
    },
    /// The server lost its log: publishes that it had acknowledged are gone `[HELLO-9]`.
    LogLost {
        /// The first of them.
        from: Seq,
        /// The last of them.
        to: Seq,
    },
    /// Another process used this link's client id; a new one was drawn `[HELLO-11]`.
    ClientChanged(ClientId),
    /// A ping was answered.
    Rtt(Rtt),
    /// A message in plain mode.
    Received(Payload),
    /// Plain mode: messages that waited for the transport were dropped with the connection.
    Unsent {
        /// How many.
        messages: usize,
    },
}

/// One message of a topic.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct TopicMessage {
    /// The topic.
    pub topic: TopicName,
    /// The place of this message; to resume behind it, keep this.
    pub cursor: Cursor,
    /// When the server stored it.
    pub time: WallTime,
    /// The publisher's identity, decoded, if the server tells it.
    pub from: Option<String>,
    /// Its content.
    pub payload: Payload,
}

/// The state of a link. The names are the same in every client and in the documentation.
///
/// ```text
///                     ┌──────────── connection lost ────────────┐
///                     ▼                                          │
///    connecting ──► lost ──► connecting ──► open ────────────────┘
///       ▲   failed    │                       │
///       │             │ attempts used up,     │ final code, or the application's close
///       │             ▼ or asleep             ▼
///       └───────── suspended               closed
///    wake-up, network change, request, or 5 min ± 50 %
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Status {
    /// An attempt is under way. Also the state before the first.
    Connecting {
        /// Its number; 0 before the first.
        attempt: Attempt,
    },
    /// Welcomed; in plain mode, the handshake is complete.
    Open {
        /// The attempt that led here.
        attempt: Attempt,
    },
    /// Waiting to dial again.
    Lost {
        /// What ended the connection or the attempt.
        why: Loss,
        /// Until the next dial.
        retry_in: Duration,
        /// Counted attempts of this outage, the coming one included if it counts.
        attempts: u32,
    },
    /// Not dialling until something changes.
    Suspended {
        /// What ended the last connection or attempt.
        why: Loss,
        /// Until the link tries by itself, if it does.
        wake_in: Option<Duration>,
    },
    /// The end.
    Closed {
        /// Its reason.
        why: Ending,
    },
}

impl Status {
    /// The state's name: `connecting`, `open`, `lost`, `suspended` or `closed`.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Connecting { .. } => "connecting",
            Self::Open { .. } => "open",
            Self::Lost { .. } => "lost",
            Self::Suspended { .. } => "suspended",
            Self::Closed { .. } => "closed",
        }
    }
}

/// What ended a connection or an attempt that is not the last.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Loss {
    /// The dial failed.
    DialFailed {
        /// As the driver reported it.
        why: String,
    },
    /// The server did not agree to `heartwire.v1` `[WS-3]`.
    NotAgreed,
    /// The attempt took too long `[RETRY-6]`.
    AttemptTimeout,
    /// Nothing was heard for interval and timeout `[LIVE-4]`.
    Silent {
        /// Since the last sign of life.
        silent_for: Duration,
    },
    /// A publish stayed unanswered, though the connection seemed alive `[PUB-11]`.
    Unanswered,
    /// The other end, or something between, closed the connection.
    Closed {
        /// The code, 1006 when there was no close frame.
        code: CloseCode,
        /// The reason, for people.
        reason: String,
    },
    /// The server broke a rule.
    ServerBrokeRule(FrameError),
    /// Another process uses this client id `[HELLO-11]`.
    ClientIdInUse,
    /// The application asked for a new connection.
    Requested,
}

impl Loss {
    /// A word for each kind, the same in every client: `dial-failed`, `not-agreed`,
    /// `attempt-timeout`, `silent`, `unanswered`, `closed`, `server-broke-rule`,
    /// `client-id-in-use` or `requested`.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::DialFailed { .. } => "dial-failed",
            Self::NotAgreed => "not-agreed",
            Self::AttemptTimeout => "attempt-timeout",
            Self::Silent { .. } => "silent",
            Self::Unanswered => "unanswered",
            Self::Closed { .. } => "closed",
            Self::ServerBrokeRule(_) => "server-broke-rule",
            Self::ClientIdInUse => "client-id-in-use",
            Self::Requested => "requested",
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DialFailed { why } => write!(f, "dial failed: {why}"),
            Self::NotAgreed => f.write_str("the server did not agree to heartwire.v1"),
            Self::AttemptTimeout => f.write_str("the attempt took too long"),
            Self::Silent { silent_for } => {
                write!(f, "nothing heard for {:.1} s", silent_for.as_secs_f64())
            }
            Self::Unanswered => f.write_str("a publish stayed unanswered"),
            Self::Closed { code, reason } if reason.is_empty() => write!(f, "closed: {code}"),
            Self::Closed { code, reason } => write!(f, "closed: {code}: {reason}"),
            Self::ServerBrokeRule(error) => write!(f, "the server broke {error}"),
            Self::ClientIdInUse => f.write_str("another process uses this client id"),
            Self::Requested => f.write_str("a new connection was asked for"),
        }
    }
}

/// Why a link is closed for good.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Ending {
    /// The application closed it.
    Application,
    /// The server closed it with a final code: 4001, 4003 or 4009; v1 only.
    Refused {
        /// The code.
        code: CloseCode,
        /// The reason, for people.
        reason: String,
    },
    /// Three connections in a row ended because a rule was broken, here or there.
    BrokenRules {
        /// The last one's.
        reason: String,
    },
}

impl Ending {
    /// A word for each kind, the same in every client: `application`, `refused` or `broken-rules`.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Application => "application",
            Self::Refused { .. } => "refused",
            Self::BrokenRules { .. } => "broken-rules",
        }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Application => f.write_str("closed by the application"),
            Self::Refused { code, reason } if reason.is_empty() => write!(f, "refused: {code}"),
            Self::Refused { code, reason } => write!(f, "refused: {code}: {reason}"),
            Self::BrokenRules { reason } => write!(f, "rules were broken again: {reason}"),
        }
    }
}

/// Things that should not happen on a healthy link, counted over its life.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Counters {
    /// Connections that have been open.
    pub opened: u64,
    /// Messages that came again and were dropped.
    pub repeats: u64,
    /// Holes found by PREV, after which the topic was asked for again `[MSG-4]`.
    pub holes: u64,
    /// Topics that a ping's positions showed to be behind on a living connection `[LIVE-9]`.
    pub behind: u64,
}

/// Why a topic is not followed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum SubscribeError {
    /// As many topics are followed as the configuration allows.
    #[error("the link follows {topics_max} topics already, as many as it may")]
    TooMany {
        /// The bound.
        topics_max: usize,
    },
    /// Plain mode has no topics of its own; they stand in the URL.
    #[error("a plain link follows the topics of its URL only")]
    Plain,
    /// The link is closed.
    #[error("the link is closed")]
    Closed,
}

/// Why a publish is not accepted.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum PublishError {
    /// The outbox is full; it empties when the server acknowledges.
    #[error(transparent)]
    Full(#[from] OutboxFull),
    /// The payload is larger than the server takes.
    #[error("the message has {bytes} bytes, and the server takes {bytes_max}")]
    TooLarge {
        /// The payload.
        bytes: usize,
        /// The server's bound.
        bytes_max: u64,
    },
    /// Topics that begin with `$` belong to the server.
    #[error("topics that begin with $ belong to the server")]
    Reserved,
    /// Plain mode has no topics; use `send`.
    #[error("a plain link sends messages without a topic")]
    Plain,
    /// The link is closed, or closing.
    #[error("the link is closed")]
    Closed,
}

/// Why a plain message is not accepted.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum SendError {
    /// The transport is behind, and as much waits for it as may.
    #[error(transparent)]
    Full(#[from] OutboxFull),
    /// There is no connection. Plain mode keeps nothing for later.
    #[error("the link is not open")]
    NotOpen,
    /// The link speaks `heartwire.v1`; use `publish`.
    #[error("a link that speaks heartwire.v1 publishes to topics")]
    NotPlain,
}
