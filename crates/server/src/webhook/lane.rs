//! One topic of a webhook: how far it was delivered, and what happens with it next.

use heartwire_proto::{Cursor, Offset, Time, WallTime};

use super::answer::Answer;

/// What happens with a topic next.
///
/// ```text
///                 moved                  begun                 taken, and nothing more is there
///        Idle ────────────► Queued ────────────────► Sending ───────────────────────────────► Idle
///                             ▲ ▲                     │   │
///                             │ └── taken, more there ┘   │ not taken
///                             └────── due, or asked ── Waiting
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    /// Everything was delivered.
    Idle,
    /// Its turn comes when others are done.
    Queued,
    /// A request is under way. There is one for a topic, so that order is kept.
    Sending,
    /// The last request was not taken; it is repeated then.
    Waiting {
        /// When.
        until: Time,
    },
}

impl State {
    /// The word for people and APIs.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Queued => "queued",
            Self::Sending => "sending",
            Self::Waiting { .. } => "waiting",
        }
    }
}

/// The last answer about a topic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Last {
    pub(crate) answer: Answer,
    pub(crate) at: WallTime,
}

/// One topic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Lane {
    /// The last message that the receiver has taken.
    pub(crate) cursor: Cursor,
    /// The last message that is there; nothing for a topic that the log does not hold.
    pub(crate) end: Option<Cursor>,
    pub(crate) state: State,
    /// Requests in a row that were not taken.
    pub(crate) failures: u32,
    /// The last message of the request that is to be repeated: it stays the same request, whatever
    /// is published meanwhile.
    pub(super) repeat_through: Option<Offset>,
    pub(crate) last: Option<Last>,
    /// Since when, at the earliest, a message waits.
    pub(crate) behind_since: Option<Time>,
}

impl Lane {
    pub(super) const fn new(cursor: Cursor) -> Self {
        Self {
            cursor,
            end: None,
            state: State::Idle,
            failures: 0,
            repeat_through: None,
            last: None,
            behind_since: None,
        }
    }

    /// Whether there is something that the receiver has not taken.
    pub(super) fn is_behind(&self) -> bool {
        let is_there = |end: Cursor| match self.cursor {
            Cursor::Start => end.offset() > Offset::ZERO,
            // A cursor beyond the end is one of messages that the log has lost.
            at @ Cursor::At { .. } => at != end,
        };
        self.end.is_some_and(is_there)
    }

    /// How many messages there are that the receiver has not taken. After a change of the epoch all
    /// of the new one.
    pub(crate) fn lag(&self) -> u64 {
        let end = self.end.unwrap_or_default();
        let taken = match self.cursor.epoch() == end.epoch() {
            true => self.cursor.offset().0,
            false => 0,
        };
        end.offset().0.saturating_sub(taken)
    }
}
