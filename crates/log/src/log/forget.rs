//! Forgetting, by age and by bytes.

use std::cmp::Reverse;
use std::time::Duration;

use heartwire_proto::Time;

use super::Log;
use crate::topic::{TopicId, TopicLog, Trimmed};

/// A topic that is kept beyond its time is not looked at again sooner than this.
const LOOK_AGAIN_MIN: Duration = Duration::from_secs(1);

impl Log {
    /// Forgets by age, at most `count_max` topics and as many producers in one call. A topic for
    /// which `keep` answers yes keeps its epoch and offsets. Returns whether there may be more to do.
    pub fn expire(
        &mut self,
        now: Time,
        count_max: usize,
        mut keep: impl FnMut(TopicId) -> bool,
    ) -> bool {
        self.clock = self.clock.max(now);
        let more_producers = self.producers.expire(&self.config, self.clock, count_max);
        for _ in 0..count_max {
            let due = self.calendar.first().copied();
            let Some((_, id)) = due.filter(|(due, _)| *due <= self.clock) else {
                return more_producers;
            };
            self.expire_topic(id, &mut keep);
        }
        true
    }

    fn expire_topic(&mut self, id: TopicId, keep: &mut impl FnMut(TopicId) -> bool) {
        let (config, clock) = (self.config.clone(), self.clock);
        self.change(id, |topic| topic.trim_older(&config, clock));
        let Some(topic) = self.topics.get_mut(id.0) else {
            return;
        };
        if topic.is_forgotten(&config, clock) && !keep(id) {
            self.forget(id);
            return;
        }
        // Kept beyond its time, or waiting to become durable: it is looked at again in a while.
        let again = config.topic_age_max.min(config.retention.age_max) / 2;
        let later = clock + again.max(LOOK_AGAIN_MIN);
        let due = topic.next_due(&config);
        let due = if due <= clock { later } else { due };
        self.calendar.remove(&(topic.due, id));
        topic.due = due;
        self.calendar.insert((due, id));
    }

    pub(super) fn forget(&mut self, id: TopicId) {
        let Some(topic) = self.topics.remove(id.0) else {
            return;
        };
        self.names.remove(topic.name());
        self.calendar.remove(&(topic.due, id));
        self.by_class.remove(&(Reverse(topic.class), id));
    }

    /// Changes a topic and keeps the log's own books on it.
    pub(super) fn change(&mut self, id: TopicId, change: impl FnOnce(&mut TopicLog) -> Trimmed) {
        let Some(topic) = self.topics.get_mut(id.0) else {
            return;
        };
        let bytes_before = topic.bytes();
        let trimmed = change(topic);
        self.bytes = self.bytes - bytes_before + topic.bytes();
        self.stats.trimmed += trimmed.count;
        self.stats.trimmed_unread += trimmed.unread;
        let class = size_class(topic.bytes());
        if class != topic.class {
            self.by_class.remove(&(Reverse(topic.class), id));
            if class > 0 {
                self.by_class.insert((Reverse(class), id));
            }
            topic.class = class;
        }
    }

    /// Takes from the largest topics until the log fits its bound. The largest are those of the
    /// highest size class, so that none is cut below half of another that stays.
    pub(super) fn keep_within_hot_bytes(&mut self) {
        while self.bytes > self.config.hot_bytes_max {
            let excess = self.bytes - self.config.hot_bytes_max;
            let topics = &self.topics;
            let trimmable = |id: &TopicId| {
                let topic = topics.get(id.0);
                topic.is_some_and(|topic| topic.base() < topic.end())
            };
            let largest = self.by_class.iter().find(|(_, id)| trimmable(id)).copied();
            let Some((class, id)) = largest else {
                return;
            };
            let floor = (1_usize << (class.0 - 1)) - 1;
            self.change(id, |topic| {
                topic.trim_to(topic.bytes().saturating_sub(excess).max(floor))
            });
        }
    }
}

/// 0 for nothing, else one more than the logarithm to base 2.
const fn size_class(bytes: usize) -> u32 {
    usize::BITS - bytes.leading_zeros()
}
