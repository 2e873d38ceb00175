//! Bugs on purpose, to test the tester.
//!
//! A simulator that finds nothing is worth as much as what it would have found. So the places where
//! an implementation like this one goes wrong can be made to: a build with `--cfg heartwire_planted`
//! has the bugs of [`Bug`] in it, one of which at a time is switched on. In every other build
//! [`has`] is the constant `false`, and nothing of them is left.

/// One bug that can be planted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Bug {
    /// A publish is acknowledged when it is appended.
    AckBeforeSync,
    /// A message is visible when it is appended.
    DeliverBeforeSync,
    /// A repeated publish is stored again.
    NoDedup,
    /// Producers' numbers do not outlive the server's process.
    DedupForgottenAtRestart,
    /// The client never takes a connection for dead.
    NoClientTimeout,
    /// The server never takes a connection for dead.
    NoServerTimeout,
    /// The timer of the next dial runs on when a dial was asked for.
    DialTimerKept,
    /// A client that comes again gets a second connection beside its first.
    NoTakeover,
    /// A late `hello` displaces the connection of a later attempt.
    StaleHelloWins,
    /// A resumed topic begins one message too late.
    ResumeOffByOne,
    /// The application is not told of a gap.
    GapNotReported,
    /// Messages between `sub` and `subbed` count.
    CountsBeforeSubbed,
    /// What was in flight on a lost connection is not sent again.
    NoResend,
    /// Delays are not drawn at random.
    NoJitter,
    /// An outage is over when a connection opens, however short it is.
    CountResetEarly,
    /// Everything that is behind is taken into one connection's buffer at once.
    UnboundedQueue,
    /// A torn last batch is taken as if it were whole.
    TornTailAccepted,
    /// A checkpoint is written before what it covers is durable.
    CheckpointBeforeData,
    /// A failed sync is tried again.
    SyncRetried,
    /// Checksums are not salted by the segment's number: what an earlier segment left in a file that
    /// is used again looks right.
    SegmentNotInSalt,
    /// A frame is written without the zeros behind it.
    NoZerosBehindFrame,
    /// A file that is used again gets its new name before it has its new header.
    NamedBeforeHeader,
    /// A message that the system refuses to read back counts as lost to damage.
    RefusedReadTakenForLoss,
    /// A message that was written again, so that its segment can go, is looked for where it stood.
    PlaceNotMoved,
    /// What is kept in memory does not wait for what its publisher has sent to the disk before: its
    /// acknowledgement covers both.
    MemoryPassesDisk,
    /// Messages are too old at half their age.
    TooOldEarly,
    /// A server that starts takes producers to have been silent since its log began.
    ProducersRestoredOld,
    /// What a server may have stored and forgotten is sent to it again.
    ForgottenResent,
    /// Time for which a client's machine slept does not count.
    SleepNotCounted,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 29] = [
        Self::AckBeforeSync,
        Self::DeliverBeforeSync,
        Self::NoDedup,
        Self::DedupForgottenAtRestart,
        Self::NoClientTimeout,
        Self::NoServerTimeout,
        Self::DialTimerKept,
        Self::NoTakeover,
        Self::StaleHelloWins,
        Self::ResumeOffByOne,
        Self::GapNotReported,
        Self::CountsBeforeSubbed,
        Self::NoResend,
        Self::NoJitter,
        Self::CountResetEarly,
        Self::UnboundedQueue,
        Self::TornTailAccepted,
        Self::CheckpointBeforeData,
        Self::SyncRetried,
        Self::SegmentNotInSalt,
        Self::NoZerosBehindFrame,
        Self::NamedBeforeHeader,
        Self::RefusedReadTakenForLoss,
        Self::PlaceNotMoved,
        Self::MemoryPassesDisk,
        Self::TooOldEarly,
        Self::ProducersRestoredOld,
        Self::ForgottenResent,
        Self::SleepNotCounted,
    ];
}

/// Whether that bug is planted on this thread.
#[cfg(not(heartwire_planted))]
#[inline(always)]
pub const fn has(_: Bug) -> bool {
    false
}

#[cfg(heartwire_planted)]
mod chosen {
    use std::cell::Cell;

    use super::Bug;

    thread_local! {
        static CHOSEN: Cell<Option<Bug>> = const { Cell::new(None) };
    }

    /// Whether that bug is planted on this thread.
    pub fn has(bug: Bug) -> bool {
        CHOSEN.get() == Some(bug)
    }

    /// Plants a bug on this thread, in place of the one before, or none.
    pub fn plant(bug: Option<Bug>) {
        CHOSEN.set(bug);
    }
}

#[cfg(heartwire_planted)]
pub use chosen::{has, plant};
