//! What a damaged disk may take: what it says, and nothing as long as no bit was flipped. How much one
//! bit may take, the tests of the store know (`log/tests/store/damage.rs`).

use std::collections::BTreeSet;

use heartwire_log::store::Report;
use heartwire_proto::TopicName;
use heartwire_proto::frame::Gap;

use super::{Mark, Oracle, Published};

/// Bits that were flipped, and what that cost.
#[derive(Clone, Debug, Default)]
pub(super) struct Damage {
    pub(super) flips: u64,
    /// A server was started with data loss accepted.
    pub(super) is_accepted: bool,
    /// A process ended while it wrote a batch, and since then none has found all batches whole.
    may_be_torn: bool,
    /// Messages that were named as lost.
    lost: BTreeSet<(TopicName, u64)>,
    /// Topics of which nobody can say what is lost, since when.
    unknown: Vec<(TopicName, u64)>,
}

impl Damage {
    /// Whether damage may have taken the first messages of a topic together with the index that named
    /// them. Below a checkpoint they look trimmed then `[DISK-15]`.
    pub(super) const fn hides_firsts(&self) -> bool {
        self.is_accepted && self.flips > 1
    }
}

impl Oracle {
    pub(crate) const fn bit_was_flipped(&mut self) {
        self.damage.flips += 1;
    }

    /// A process has ended that was writing a batch, or the folder may be as one left it.
    pub(crate) const fn batch_was_cut(&mut self) {
        self.damage.may_be_torn = true;
    }

    pub(crate) const fn may_be_damaged(&self) -> bool {
        self.damage.flips > 0
    }

    pub(crate) const fn damage_was_accepted(&mut self) {
        self.damage.is_accepted = true;
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
    }

    /// The topics that a new process has found after it accepted damage. Of one that is gone with
    /// all its messages and its index nobody can know the name, but its followers are told of
    /// another epoch.
    pub(crate) fn found(&mut self, report: &Report, topics: &BTreeSet<TopicName>) {
        if report.accepted.is_empty() {
            return;
        }
        let gone = self.counts.keys().filter(|name| !topics.contains(*name));
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
        if self.damage.flips == 0 {
            let what = format!("{topic:?} has lost {offset}, and nothing was damaged");
            self.violate("I3", what);
        }
        self.damage.lost.insert((topic.clone(), offset));
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
