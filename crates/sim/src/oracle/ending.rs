//! The judgement when the faults are over and the log has been read.

use std::collections::{BTreeMap, BTreeSet};

use heartwire_proto::{Cursor, Epoch, Offset, TopicName};

use super::{Fate, Mark, Oracle, Published};

/// A topic of which something waits for the disk is looked at that late, in milliseconds.
const LOOKS_EVERY_MS: u64 = 1_000;

/// A topic as anybody reads it in the end.
#[derive(Clone, Debug)]
pub(crate) struct FinalTopic {
    pub(crate) name: TopicName,
    pub(crate) epoch: Epoch,
    /// The last offset that was trimmed.
    pub(crate) base: Offset,
    pub(crate) end: Offset,
    /// Everything between the two, in order; nothing for what damage took.
    pub(crate) contents: Vec<Option<Vec<u8>>>,
}

impl FinalTopic {
    fn cursor(&self, offset: u64) -> Cursor {
        Cursor::At {
            epoch: self.epoch,
            offset: Offset(offset),
        }
    }
}

impl Oracle {
    /// Judges the log as it was read in the end.
    pub(crate) fn judge_log(&mut self, topics: &[FinalTopic]) {
        let mut retained = BTreeSet::new();
        for topic in topics {
            self.judge_topic(topic, &mut retained);
        }
        self.judge_unwritten(topics);
        self.judge_stored(topics, &retained);
        self.judge_missing(topics, &retained);
    }

    /// Every publisher was told what became of each of its messages, or has died.
    pub(crate) fn judge_fates(&mut self) {
        let mut published = self.published.iter();
        let open = published.find(|(_, published)| published.fate == Fate::Open);
        if let Some((mark, published)) = open {
            let what = format!(
                "nobody was told what became of {mark}, published at {} ms",
                published.at_ms
            );
            self.violate("I10", what);
        }
    }

    fn judge_topic(&mut self, topic: &FinalTopic, retained: &mut BTreeSet<Mark>) {
        let mut latest: BTreeMap<u32, Mark> = BTreeMap::new();
        for (offset, content) in (topic.base.0 + 1..).zip(&topic.contents) {
            let Some(content) = content else {
                self.damaged(&topic.name, offset);
                continue;
            };
            self.sighted(&topic.name, topic.cursor(offset), content);
            let Some(mark) = Mark::of(content) else {
                continue;
            };
            self.judge_age(mark);
            if self.may_repeat(mark) {
                retained.insert(mark);
                continue;
            }
            if !retained.insert(mark) {
                self.violate("I2", format!("{mark} is stored twice"));
            }
            if let Some(before) = latest.insert(mark.life, mark)
                && before > mark
            {
                let what = format!("{mark} is stored behind {before} in {:?}", topic.name);
                self.violate("I2", what);
            }
        }
        let count = topic.end.0 - topic.base.0;
        if topic.contents.len() as u64 != count {
            let what = format!(
                "{:?} names {count} messages and gives {}",
                topic.name,
                topic.contents.len()
            );
            self.violate("I1", what);
        }
    }

    /// What is too old is given to nobody, unless it was stored once more.
    fn judge_age(&mut self, mark: Mark) {
        let published = self.published.get(&mark);
        let is_stored = |of: &&Published| of.fate == Fate::Stored && !of.is_shared;
        let stored = published.filter(is_stored);
        let Some(stored_ms) = stored.map(|published| published.server_told_at_ms) else {
            return;
        };
        let is_once = self.losses.is_empty() && !self.may_be_damaged();
        let until_ms = stored_ms + self.age_max_ms + LOOKS_EVERY_MS;
        if self.messages_age && is_once && until_ms < self.server_now() {
            let what = format!(
                "{mark} was stored by {stored_ms} ms of the server's clock, and outlives {} ms",
                self.age_max_ms
            );
            self.violate("I1", what);
        }
    }

    /// Nothing that anybody saw lies beyond the end of its epoch.
    fn judge_unwritten(&mut self, topics: &[FinalTopic]) {
        let by_name: BTreeMap<_, _> = topics.iter().map(|topic| (&topic.name, topic)).collect();
        let gone = self.places.iter().find(|((name, epoch, offset), _)| {
            match by_name.get(name) {
                Some(topic) if topic.epoch == *epoch => *offset > topic.end.0,
                // Another epoch, or none: the log was lost, if it was allowed to be.
                _ => !self.may_lose(name),
            }
        });
        if let Some(((name, epoch, offset), mark)) = gone {
            let what = format!("{mark} was seen in {name:?} at {epoch:?}.{offset} and is gone");
            self.violate("I4", what);
        }
    }

    /// Everything that was acknowledged is there, or was trimmed.
    fn judge_stored(&mut self, topics: &[FinalTopic], retained: &BTreeSet<Mark>) {
        // Of those never seen anywhere it is known only how many were trimmed.
        let mut trimmed: BTreeMap<&TopicName, u64> = topics
            .iter()
            .map(|topic| (&topic.name, self.trimmed_unseen(topic)))
            .collect();
        let mut lost = None;
        for (mark, published) in &self.published {
            if published.fate != Fate::Stored || published.is_shared {
                continue;
            }
            if retained.contains(mark) || self.was_trimmed(*mark, topics) {
                continue;
            }
            if self.was_damaged(*mark, published) || self.was_lost(published) {
                continue;
            }
            match trimmed.get_mut(&published.topic) {
                Some(count) if *count > 0 => *count -= 1,
                _ => lost = Some((*mark, published.topic.clone())),
            }
        }
        if let Some((mark, topic)) = lost {
            self.violate(
                "I3",
                format!("{mark} was acknowledged and is not in {topic:?}"),
            );
        }
    }

    /// Where damage took messages of which nobody can say how many, they are no more than the frame held
    /// that was hit: of those that are missing, each but so many has a place that was trimmed.
    fn judge_missing(&mut self, topics: &[FinalTopic], retained: &BTreeSet<Mark>) {
        let Some(most) = self.damage.lost_max().filter(|_| self.losses.is_empty()) else {
            return;
        };
        let mut missing: BTreeMap<&TopicName, u64> = BTreeMap::new();
        for (mark, published) in &self.published {
            let is_stored = published.fate == Fate::Stored && !published.is_shared;
            let is_on_disk = !self.volatile.contains_key(&published.topic);
            if is_stored && is_on_disk && !retained.contains(mark) {
                *missing.entry(&published.topic).or_default() += 1;
            }
        }
        for topic in topics {
            if let Some(count) = missing.get_mut(&topic.name) {
                *count = count.saturating_sub(topic.base.0);
            }
        }
        let lost: u64 = missing.values().sum();
        if lost > most {
            self.violate(
                "I3",
                format!("{lost} messages are missing, and a bit has hit a frame of {most} records"),
            );
        }
    }

    /// How many places behind the topic's base nobody saw.
    fn trimmed_unseen(&self, topic: &FinalTopic) -> u64 {
        let first = (topic.name.clone(), topic.epoch, 0);
        let last = (topic.name.clone(), topic.epoch, topic.base.0);
        topic.base.0 - self.places.range(first..=last).count() as u64
    }

    /// Whether the message was seen at a place that is trimmed.
    fn was_trimmed(&self, mark: Mark, topics: &[FinalTopic]) -> bool {
        topics.iter().any(|topic| {
            let offset = self.seen.get(&(mark, topic.epoch));
            offset.is_some_and(|offset| *offset <= topic.base.0)
        })
    }

    /// Judges how far an application has come with a topic, when all is over.
    pub(crate) fn judge_follower(
        &mut self,
        client: usize,
        name: &TopicName,
        topic: Option<&FinalTopic>,
    ) {
        let at = self
            .positions
            .get(&(client, name.clone()))
            .copied()
            .flatten();
        let end = match topic {
            Some(topic) => topic.cursor(topic.end.0),
            None => Cursor::Start,
        };
        // Whoever followed before the topic was born knows no epoch while nothing has come.
        let is_there =
            at == Some(end) || (at == Some(Cursor::Start) && end.offset() == Offset::ZERO);
        if !is_there {
            let what = format!("client {client} has {at:?} of {name:?}, which ends at {end:?}");
            self.violate("I1", what);
        }
    }
}
