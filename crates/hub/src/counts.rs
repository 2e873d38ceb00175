//! What a hub has seen since it was made, as plain numbers.
//!
//! They are counted under the lock that the work holds anyway; whoever publishes metrics reads them
//! now and then. Nothing is decided by them.

use std::ops::AddAssign;

use heartwire_log::{AppendError, Appended};
use heartwire_proto::frame::{GapReason, RefusedCode, SubFrom};

/// What became of a publish.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Outcome {
    /// It was taken, and waits to be stored or is.
    Accepted,
    /// It was stored before, and is not stored again.
    Repeated,
    /// Its publisher may not.
    Forbidden,
    /// Its topic belongs to the server.
    BadTopic,
    /// It was larger than a message may be.
    TooLarge,
    /// The log takes nothing: the server is being stopped, or its disk has failed.
    NotAccepting,
    /// The disk has no room.
    DiskFull,
    /// Too much waits to be stored.
    Congested,
    /// There are as many topics or producers as there may be.
    Full,
    /// It had been accepted, and the disk failed before it was stored.
    Failed,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 10] = [
        Self::Accepted,
        Self::Repeated,
        Self::Forbidden,
        Self::BadTopic,
        Self::TooLarge,
        Self::NotAccepting,
        Self::DiskFull,
        Self::Congested,
        Self::Full,
        Self::Failed,
    ];

    /// The word for people and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Repeated => "repeated",
            Self::Forbidden => "forbidden",
            Self::BadTopic => "bad-topic",
            Self::TooLarge => "too-large",
            Self::NotAccepting => "not-accepting",
            Self::DiskFull => "disk-full",
            Self::Congested => "congested",
            Self::Full => "full",
            Self::Failed => "failed",
        }
    }

    /// What the log's answer means.
    pub const fn of<T>(answer: &Result<T, AppendError>) -> Self {
        match answer {
            Ok(_) => Self::Accepted,
            Err(AppendError::Reserved) => Self::BadTopic,
            Err(AppendError::TooLarge { .. }) => Self::TooLarge,
            Err(AppendError::NotAccepting) => Self::NotAccepting,
            Err(AppendError::DiskFull) => Self::DiskFull,
            Err(AppendError::Congested) => Self::Congested,
            Err(AppendError::Full { .. }) => Self::Full,
        }
    }
}

/// Publishes by what became of them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Publishes([u64; Outcome::ALL.len()]);

impl Publishes {
    pub(crate) const fn count(&mut self, outcome: Outcome) {
        self.0[outcome as usize] += 1;
    }

    pub(crate) fn count_answer(&mut self, answer: &Result<Appended, AppendError>) {
        self.count(match answer {
            Ok(Appended::Repeated) => Outcome::Repeated,
            other => Outcome::of(other),
        });
    }

    /// How many had this outcome.
    pub const fn of(&self, outcome: Outcome) -> u64 {
        self.0[outcome as usize]
    }
}

/// How following a topic began.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Starts {
    /// Not from a cursor.
    pub fresh: u64,
    /// From a cursor, and nothing was missing.
    pub resumed: u64,
    /// From a cursor behind which messages are gone, by reason.
    pub with_gap: Gaps,
}

impl Starts {
    pub(crate) const fn count(&mut self, from: SubFrom, gap: Option<GapReason>) {
        match (from, gap) {
            (SubFrom::After(_), Some(reason)) => self.with_gap.count(reason),
            (SubFrom::After(_), None) => self.resumed += 1,
            (SubFrom::Tail | SubFrom::Head | SubFrom::Last(_), _) => self.fresh += 1,
        }
    }
}

/// Gaps by reason.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Gaps {
    /// What was trimmed.
    pub retention: u64,
    /// What belonged to an epoch that is gone.
    pub epoch: u64,
    /// What a disk has lost.
    pub damage: u64,
}

impl Gaps {
    pub(crate) const fn count(&mut self, reason: GapReason) {
        match reason {
            GapReason::Retention => self.retention += 1,
            GapReason::Epoch => self.epoch += 1,
            GapReason::Damage => self.damage += 1,
        }
    }
}

impl AddAssign for Gaps {
    fn add_assign(&mut self, more: Self) {
        self.retention += more.retention;
        self.epoch += more.epoch;
        self.damage += more.damage;
    }
}

/// Topics that were not followed, by reason.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct RefusedFollows {
    /// There is no such topic of the server's.
    pub bad_topic: u64,
    /// A limit was reached.
    pub limit: u64,
    /// The identity may not.
    pub forbidden: u64,
}

impl RefusedFollows {
    pub(crate) const fn count(&mut self, code: RefusedCode) {
        match code {
            RefusedCode::BadTopic => self.bad_topic += 1,
            RefusedCode::Limit => self.limit += 1,
            RefusedCode::Forbidden => self.forbidden += 1,
        }
    }
}

/// What one kind of follower has been given.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Delivered {
    /// Messages.
    pub messages: u64,
    /// Their bytes in the form in which they are sent, headers included.
    pub bytes: u64,
}

impl AddAssign for Delivered {
    fn add_assign(&mut self, more: Self) {
        self.messages += more.messages;
        self.bytes += more.bytes;
    }
}

/// One number for each kind of follower.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct ByKind<T> {
    /// `heartwire.v1` connections.
    pub v1: T,
    /// Plain connections.
    pub plain: T,
    /// Readers inside the process: event streams and embedders.
    pub reader: T,
}

/// Everything that a hub counts.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Counts {
    /// Who is there at the moment.
    pub present: ByKind<usize>,
    /// v1 connections that were welcomed whose client had dialled before.
    pub reconnects: u64,
    /// Connections that a later attempt of the same client replaced.
    pub takeovers: u64,
    /// Dials that came after a later attempt of the same client, and were refused.
    pub stale_dials: u64,
    /// How following began.
    pub starts: Starts,
    /// Topics that were not followed.
    pub refused_follows: RefusedFollows,
    /// Gaps that followers were told of.
    pub gaps: Gaps,
    /// Publishes over WebSockets.
    pub publishes: Publishes,
    /// Deliveries.
    pub delivered: ByKind<Delivered>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_has_its_own_place_and_word() {
        let mut publishes = Publishes::default();
        for outcome in Outcome::ALL {
            publishes.count(outcome);
            assert_eq!(publishes.of(outcome), 1, "{}", outcome.as_str());
        }
        let mut words = Outcome::ALL.map(Outcome::as_str);
        words.sort_unstable();
        assert!(words.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
