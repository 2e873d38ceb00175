//! What a log on disk held when it was opened.

use std::fmt;

use heartwire_proto::{Epoch, LogId, Offset, Seq, Time, TopicName};

use super::batch::{DiskPlace, SegmentId};
use super::error::Damage;
use super::places::Places;
use crate::producer::{ProducerId, ProducerKey};

/// Everything that a log is continued from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recovered {
    /// The log's id.
    pub log: LogId,
    /// The key by which producers are named.
    pub key: ProducerKey,
    /// The latest time written. The clock goes on from here, so that ages count the time during
    /// which the log was open and no jump of a wall clock.
    pub log_time: Time,
    /// All topics, in the order of their names.
    pub topics: Vec<RecoveredTopic>,
    /// All producers: the last number, and when it was published. In the order of their ids.
    pub producers: Vec<(ProducerId, Seq, Time)>,
    /// All segments that exist, oldest first.
    pub segments: Vec<SegmentInfo>,
    /// What was found wrong, and what was done about it.
    pub report: Report,
}

/// One segment.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SegmentInfo {
    /// Its number.
    pub id: SegmentId,
    /// The time of its last frame.
    pub last_time: Time,
    /// How much of it is used, in bytes.
    pub bytes: u64,
}

/// One topic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecoveredTopic {
    /// Its name.
    pub name: TopicName,
    /// The epoch in which it was born.
    pub origin: Epoch,
    /// The epoch that clients are told.
    pub epoch: Epoch,
    /// The offset before the oldest message that is there, or lost to damage.
    pub base: Offset,
    /// The offset of the last message it ever had.
    pub end: Offset,
    /// When that was appended, or the topic was last said to be [kept](crate::What::Kept).
    pub last_append: Time,
    /// Where the messages stand, in the order of their offsets: one for each of `base`+1 to `end`
    /// that lies in none of the `gaps`.
    pub places: Places,
    /// First and last offsets of what damage took, in order, apart from each other. Empty unless
    /// damage was accepted, then or in the past.
    pub gaps: Vec<(Offset, Offset)>,
}

impl RecoveredTopic {
    /// Trims the oldest messages, those that are lost like the others, until there are so many at the
    /// most.
    pub(crate) fn keep_newest(&mut self, count_max: u64) {
        let base = Offset(self.end.0.saturating_sub(count_max));
        if base <= self.base {
            return;
        }
        let lost_below = |(first, last): &(Offset, Offset)| {
            let last = (*last).min(base);
            (last.0 + 1).saturating_sub(first.0)
        };
        let lost: u64 = self.gaps.iter().map(lost_below).sum();
        for _ in lost..base.0 - self.base.0 {
            self.places.pop_front();
        }
        self.gaps.retain(|(_, last)| *last > base);
        if let Some((first, _)) = self.gaps.first_mut() {
            *first = (*first).max(base.next());
        }
        self.base = base;
    }

    /// The places between gaps: the offset of the first of each stretch, and the places from there
    /// on, without a hole.
    pub fn stretches(&self) -> impl Iterator<Item = (Offset, Vec<DiskPlace>)> {
        let after_all = (self.end.next(), self.end);
        let gaps = self.gaps.iter().copied().chain([after_all]);
        let (mut next, mut places) = (self.base.next(), self.places.iter());
        gaps.map(move |(first, last)| {
            let count = (first.0 - next.0) as usize;
            let start = std::mem::replace(&mut next, last.next());
            (start, places.by_ref().take(count).collect())
        })
    }
}

/// What was found wrong when the log was opened, and what was done about it. Empty after a clean
/// stop.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Report {
    /// The last batch was being written when the process or the machine died: it was cut off.
    pub torn: Option<Damage>,
    /// Files that were damaged and could be made again from others, without loss.
    pub rebuilt: Vec<Damage>,
    /// Damage that was accepted.
    pub accepted: Vec<Damage>,
    /// Messages that are lost to it, as far as they can be named.
    pub lost: Vec<Lost>,
    /// Topics that have a new epoch, because they may have lost messages that nobody can name.
    pub new_epochs: Vec<TopicName>,
    /// Whether producers may have been forgotten, so that a publish repeated by one of them would be
    /// stored twice.
    pub producers_lost: bool,
}

/// Messages of one topic that are lost.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Lost {
    /// The topic.
    pub topic: TopicName,
    /// The first of them.
    pub first: Offset,
    /// The last of them.
    pub last: Offset,
}

impl Report {
    /// Whether nothing was wrong.
    pub fn is_clean(&self) -> bool {
        *self == Self::default()
    }
}

/// So many findings of a kind are told.
const TOLD_MAX: usize = 50;

/// One line for each finding, and how many more there are.
fn tell<T: fmt::Display>(f: &mut fmt::Formatter<'_>, what: &str, found: &[T]) -> fmt::Result {
    for one in found.iter().take(TOLD_MAX) {
        writeln!(f, "{what}: {one}")?;
    }
    match found.len().saturating_sub(TOLD_MAX) {
        0 => Ok(()),
        more => writeln!(f, "{what}: {more} more"),
    }
}

impl fmt::Display for Report {
    /// One line for each finding; of very many of a kind the first, and how many more there are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(torn) = &self.torn {
            writeln!(f, "cut off a batch that was being written: {torn}")?;
        }
        tell(f, "made again without loss", &self.rebuilt)?;
        tell(f, "accepted damage", &self.accepted)?;
        tell(f, "lost", &self.lost)?;
        tell(f, "new epoch", &self.new_epochs)?;
        if self.producers_lost {
            writeln!(f, "lost: numbers of producers")?;
        }
        Ok(())
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic, first, last } = self;
        write!(f, "{topic} {first} to {last}")
    }
}
