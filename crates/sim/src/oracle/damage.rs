//! What a damaged disk may take: what it says, and nothing as long as it was not hit; and as long as it was
//! hit once, no more than the frames there. What one hit may take beside others, the tests of the store know
//! (`log/tests/store`).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use heartwire_log::LogConfig;
use heartwire_log::store::Report;
use heartwire_proto::TopicName;
use heartwire_proto::frame::{Durability, Gap};

use super::{Mark, Oracle, Published};

/// No topic gets as many messages as that: none are trimmed.
const COUNT_MIN: usize = 10_000;
/// So much no topics take in memory.
const MEMORY_MIN: usize = 64 << 20;
/// No message gets as old.
const AGE_MIN: Duration = Duration::from_secs(3_600);
/// No simulated log gets as many sparse segments as that: none are emptied.
const SEGMENTS_MIN: usize = 8;

/// Bits that were flipped or cannot be read any more, and what that cost.
#[derive(Clone, Debug, Default)]
pub(super) struct Damage {
    pub(super) hits: u64,
    /// Whether messages may be moved to other segments, and whether they may be trimmed.
    moves: bool,
    trims: bool,
    /// How many records the frames have that the last of them was in.
    hit_records: u64,
    /// A server was started with data loss accepted.
    pub(super) is_accepted: bool,
    /// The same, and nobody has looked yet what it found.
    is_unseen: bool,
    /// How far topics went when damage had been accepted that may have hidden their first messages.
    hiding: BTreeMap<TopicName, u64>,
    /// A process ended while it wrote a batch, and since then none has found all batches whole.
    may_be_torn: bool,
    /// Messages that were named as lost.
    lost: BTreeSet<(TopicName, u64)>,
    /// Topics of which nobody can say what is lost, since when.
    unknown: Vec<(TopicName, u64)>,
}

impl Damage {
    /// Whether damage may have taken the first messages of a topic up to `last` where nothing else named
    /// them: together with the index that did, or where they had been moved. They look trimmed then
    /// `[DISK-15]`.
    pub(super) fn hides_firsts(&self, topic: &TopicName, last: u64) -> bool {
        self.hiding.get(topic).is_some_and(|end| last <= *end)
    }

    /// How many messages may be lost at the most, where that is known: what a second hit costs depends
    /// on whether it was in the index that names the frames of the first, or in a checkpoint. What was
    /// trimmed may be named with it, where it may as well have been moved to where the damage is.
    pub(super) fn lost_max(&self) -> Option<u64> {
        (self.hits == 1 && !self.trims).then_some(self.hit_records)
    }
}

impl Oracle {
    /// How a log is kept says what damage may do to it.
    pub(crate) fn log_is_kept(&mut self, log: &LogConfig, topics: &[TopicName], on_disk: bool) {
        let retention = &log.policy.retention;
        self.index_is_short = log.index_max < COUNT_MIN;
        self.retained_min = match self.index_is_short {
            // The newest message of each topic.
            true => 1,
            false => retention.count_max as u64,
        };
        self.age_max_ms = retention.age_max.as_millis() as u64;
        let is_volatile = |name: &&TopicName| {
            on_disk && log.policy(name.as_topic()).durability == Durability::Memory
        };
        let volatile = topics.iter().filter(is_volatile);
        self.volatile = volatile.map(|name| (name.clone(), None)).collect();
        self.messages_age = retention.age_max < AGE_MIN;
        self.topic_age_max_ms = (retention.age_max + log.topic_age_max).as_millis() as u64;
        self.memory_is_short = log.hot_bytes_max < MEMORY_MIN;
        self.damage.trims =
            retention.count_max < COUNT_MIN || self.index_is_short || self.messages_age;
        self.damage.moves = log.sweep_segments_min < SEGMENTS_MIN;
    }

    /// A bit was flipped or cannot be read any more, in frames of so many records, or elsewhere, where
    /// there are none.
    pub(crate) const fn device_was_hit(&mut self, records: u64) {
        self.damage.hits += 1;
        self.damage.hit_records = records;
    }

    /// A process has ended that was writing a batch, or the folder may be as one left it.
    pub(crate) const fn batch_was_cut(&mut self) {
        self.damage.may_be_torn = true;
    }

    pub(crate) const fn may_be_damaged(&self) -> bool {
        self.damage.hits > 0
    }

    pub(crate) const fn damage_was_accepted(&mut self) {
        self.damage.is_accepted = true;
        self.damage.is_unseen = true;
    }

    /// What a new process says of the log that it found.
    pub(crate) fn recovered(&mut self, report: &Report) {
        let names_loss =
            !report.accepted.is_empty() || !report.lost.is_empty() || !report.new_epochs.is_empty();
        if names_loss && !self.may_be_damaged() {
            self.violate(
                "I3",
                format!("nothing was damaged, and the log reports: {report}"),
            );
        }
        if report.torn.is_none() {
            self.damage.may_be_torn = false;
        } else if !self.damage.may_be_torn && !self.may_be_damaged() {
            self.violate(
                "I3",
                format!("no batch was being written, and the log reports: {report}"),
            );
        }
        for lost in &report.lost {
            for offset in lost.first.0..=lost.last.0 {
                self.damage.lost.insert((lost.topic.clone(), offset));
            }
        }
        for topic in &report.new_epochs {
            self.damage.unknown.push((topic.clone(), self.now));
        }
        self.judge_lost();
    }

    /// The topics that a new process has found, and where they end. Of one that is gone with all its
    /// messages and its index, when damage is accepted, nobody can know the name, but its followers are
    /// told of another epoch.
    pub(crate) fn found(&mut self, report: &Report, ends: &BTreeMap<TopicName, u64>) {
        let may_hide = self.damage.hits > 1 || self.damage.moves;
        if std::mem::take(&mut self.damage.is_unseen) && may_hide {
            for (name, end) in ends {
                let known = self.damage.hiding.entry(name.clone()).or_default();
                *known = (*known).max(*end);
            }
        }
        if report.accepted.is_empty() {
            return;
        }
        let gone = self.counts.keys().filter(|name| !ends.contains_key(*name));
        let gone = gone.map(|name| (name.clone(), self.now));
        self.damage.unknown.extend(gone);
    }

    /// A reader was told of damage.
    pub(super) fn is_damaged(&mut self, topic: &TopicName, gap: Gap) {
        let last = gap.last.unwrap_or(gap.first);
        for offset in gap.first.0..=last.0 {
            self.damaged(topic, offset);
        }
    }

    pub(super) fn damaged(&mut self, topic: &TopicName, offset: u64) {
        if self.damage.hits == 0 {
            let what = format!("{topic:?} has lost {offset}, and nothing was damaged");
            self.violate("I3", what);
        }
        self.damage.lost.insert((topic.clone(), offset));
        self.judge_lost();
    }

    /// One hit takes no more than the frames that it is in.
    fn judge_lost(&mut self) {
        let lost = self.damage.lost.len() as u64;
        if let Some(most) = self.damage.lost_max().filter(|most| lost > *most) {
            self.violate(
                "I3",
                format!("{lost} messages are named as lost to a hit in frames of {most} records"),
            );
        }
    }

    /// Whether damage took what stood there.
    pub(super) fn is_lost(&self, topic: &TopicName, offset: u64) -> bool {
        self.damage.lost.contains(&(topic.clone(), offset))
    }

    /// Whether damage took a message that was stored, as far as anybody can tell.
    pub(super) fn was_damaged(&self, mark: Mark, published: &Published) -> bool {
        if self.damage.lost.is_empty() && self.damage.unknown.is_empty() {
            return false;
        }
        let topic = &published.topic;
        let mut unknown = self.damage.unknown.iter();
        if unknown.any(|(name, at)| name == topic && published.at_ms <= *at) {
            return true;
        }
        let mut offsets = self.seen.iter().filter(|((seen, _), _)| *seen == mark);
        let was_seen = offsets.clone().next().is_some();
        match was_seen {
            true => offsets.any(|(_, offset)| self.is_lost(topic, *offset)),
            // Nobody saw where it stood.
            false => self.damage.lost.iter().any(|(name, _)| name == topic),
        }
    }
}

#[cfg(test)]
mod tests {
    use heartwire_log::store::Lost;
    use heartwire_proto::frame::GapReason;
    use heartwire_proto::{Cursor, Epoch, Offset};

    use super::*;

    fn news() -> TopicName {
        "news".parse().expect("it keeps to the charset")
    }

    /// What the oracle says of messages that are told as trimmed, up to `last`, to one who has nothing.
    fn told_trimmed(hits: u64, last: u64) -> Option<String> {
        let mut oracle = Oracle {
            retained_min: 100,
            ..Oracle::default()
        };
        (0..hits).for_each(|_| oracle.device_was_hit(1));
        oracle.damage_was_accepted();
        oracle.found(&Report::default(), &BTreeMap::from([(news(), 10)]));
        oracle.begins(0, &news(), Some(Cursor::Start));
        let gap = Gap {
            epoch: Epoch::from_random(1),
            first: Offset(1),
            last: Some(Offset(last)),
            reason: GapReason::Retention,
        };
        oracle.gap(0, &news(), gap);
        oracle.violation().map(ToString::to_string)
    }

    #[test]
    fn what_several_hits_may_hide_was_there_when_they_were_accepted() {
        assert_eq!(told_trimmed(2, 10), None);
        assert_ne!(told_trimmed(2, 11), None);
        assert_ne!(told_trimmed(1, 10), None);
    }

    /// What the oracle says of a start that names so many messages as lost.
    fn named_lost(hits: &[u64], count: u64) -> Option<String> {
        let mut oracle = Oracle::default();
        hits.iter()
            .for_each(|records| oracle.device_was_hit(*records));
        let lost = Lost {
            topic: news(),
            first: Offset(1),
            last: Offset(count),
        };
        oracle.recovered(&Report {
            lost: vec![lost],
            ..Report::default()
        });
        oracle.violation().map(ToString::to_string)
    }

    #[test]
    fn one_hit_takes_no_more_than_the_frames_that_it_is_in() {
        assert_eq!(named_lost(&[3], 3), None);
        assert_ne!(named_lost(&[3], 4), None);
        assert_ne!(named_lost(&[0], 1), None);
        assert_eq!(named_lost(&[3, 0], 4), None, "it may have hit the index");
    }
}
