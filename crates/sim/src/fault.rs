//! What goes wrong in a run, by name and number.

use std::fmt;

/// One kind of fault. Each seed enables some of them, at rates of its own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Fault {
    /// The latency of one client's network rises for a while.
    Jitter,
    /// What a client sends is held up without a word, and arrives when the cut heals.
    CutUp,
    /// The same for what the server sends.
    CutDown,
    /// Both ways.
    CutBoth,
    /// One connection is dead for ever, in one or both directions, and nobody is told. New dials
    /// work.
    Death,
    /// One connection stalls, and what was sent on it arrives much later, while new dials work.
    Stall,
    /// What a client had sent on a connection came to the server after the client had dialled again.
    LateUp,
    /// What the server had sent on a connection came to the client's machine after that.
    LateDown,
    /// One end's socket is reset; the other end is not told.
    ResetOne,
    /// Both ends' sockets are reset.
    ResetBoth,
    /// A dial is refused.
    DialRefused,
    /// A dial takes seconds.
    DialSlow,
    /// A dial is never answered.
    DialHangs,
    /// The proxy before the server accepts connections and drops them soon after.
    Flap,
    /// A write is cut into pieces that arrive one by one.
    Split,
    /// A client's process is copied, with everything that it knows, and both run on.
    Clone,
    /// A client's machine sleeps: its clock stands still and its network is gone.
    Sleep,
    /// A client's process stands still while its clock goes on: its timers fire at once afterwards.
    Freeze,
    /// A client's process dies, and begins anew from the cursors that it had saved.
    Restart,
    /// A client reads from its socket slowly.
    SlowReader,
    /// A follower came too late: the topic had been trimmed behind its cursor.
    Retention,
    /// The server's process stands still for a while.
    ServerPause,
    /// The server's process dies, or its machine loses power.
    ServerCrash,
    /// The same while the log's helper is in the middle of something.
    HelperCrash,
    /// The system refuses something that the log's helper asks for: it is asked again.
    FailedJob,
    /// A sync takes 0.5 to 15 s.
    SlowSync,
    /// A sync fails.
    FailedSync,
    /// The disk is full for a while.
    DiskFull,
    /// The system refused to read messages back.
    FailedRead,
    /// A bit of an old segment, of its index, or of what sums up others flips, or cannot be read any more.
    BitFlip,
    /// The folder is replaced by an older copy of itself.
    OlderCopy,
    /// A message that stood on disk alone was read back.
    ColdRead,
    /// The file of a removed segment became that of a new one.
    ReusedFile,
    /// The server's process ends in good order: everything is stored, everybody told goodbye, and the log
    /// closed.
    CleanStop,
}

impl Fault {
    /// All kinds.
    pub const ALL: [Self; 34] = [
        Self::Jitter,
        Self::CutUp,
        Self::CutDown,
        Self::CutBoth,
        Self::Death,
        Self::Stall,
        Self::LateUp,
        Self::LateDown,
        Self::ResetOne,
        Self::ResetBoth,
        Self::DialRefused,
        Self::DialSlow,
        Self::DialHangs,
        Self::Flap,
        Self::Split,
        Self::Clone,
        Self::Sleep,
        Self::Freeze,
        Self::Restart,
        Self::SlowReader,
        Self::Retention,
        Self::ServerPause,
        Self::ServerCrash,
        Self::HelperCrash,
        Self::FailedJob,
        Self::SlowSync,
        Self::FailedSync,
        Self::DiskFull,
        Self::FailedRead,
        Self::BitFlip,
        Self::OlderCopy,
        Self::ColdRead,
        Self::ReusedFile,
        Self::CleanStop,
    ];

    /// Those that come by themselves, so many a minute. The others follow from what happens, or are
    /// decided where they happen.
    pub(crate) const TIMED: [Self; 18] = [
        Self::Jitter,
        Self::CutUp,
        Self::CutDown,
        Self::CutBoth,
        Self::Death,
        Self::Stall,
        Self::ResetOne,
        Self::ResetBoth,
        Self::Flap,
        Self::Clone,
        Self::Sleep,
        Self::Freeze,
        Self::Restart,
        Self::SlowReader,
        Self::ServerPause,
        Self::ServerCrash,
        Self::DiskFull,
        Self::FailedRead,
    ];

    /// The place in tables by kind.
    pub(crate) const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// How often each kind has struck.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Counts([u64; Fault::ALL.len()]);

impl Default for Counts {
    fn default() -> Self {
        Self([0; Fault::ALL.len()])
    }
}

impl Counts {
    /// How often that kind has struck.
    pub const fn of(&self, fault: Fault) -> u64 {
        self.0[fault.index()]
    }

    pub(crate) const fn count(&mut self, fault: Fault) {
        self.0[fault.index()] += 1;
    }

    /// Adds what another run counted.
    pub fn add(&mut self, other: &Self) {
        for (sum, more) in self.0.iter_mut().zip(other.0) {
            *sum += more;
        }
    }

    /// The kinds that never struck.
    pub fn missing(&self) -> Vec<Fault> {
        let all = Fault::ALL.into_iter();
        all.filter(|fault| self.of(*fault) == 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_place() {
        for (index, fault) in Fault::ALL.into_iter().enumerate() {
            assert_eq!(fault.index(), index);
        }
    }
}
