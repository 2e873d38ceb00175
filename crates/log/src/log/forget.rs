//! Forgetting, by age and by bytes.

use std::cmp::Reverse;
use std::time::Duration;

use heartwire_proto::planted::{self, Bug};
use heartwire_proto::{Offset, Time};

use super::Log;
use super::segments::Segments;
use crate::append::What;
use crate::config::Policy;
use crate::producer::ProducerId;
use crate::store::DiskPlace;
use crate::topic::{TopicId, TopicLog, Trimmed};

/// A topic whose time has come, and of which nothing can go yet, is not looked at again sooner than this.
const LOOK_AGAIN_MIN: Duration = Duration::from_secs(1);

impl Log {
    /// Forgets producers by age, looking at no more than `count_max` of them. One for which `keep` answers
    /// yes stays, and counts as heard of. Returns whether there may be more to do.
    pub fn expire_producers(
        &mut self,
        now: Time,
        count_max: usize,
        keep: impl Fn(ProducerId) -> bool,
    ) -> bool {
        self.clock = self.clock.max(now);
        let producers = &mut self.producers;
        producers.expire(&self.config, self.clock, count_max, keep)
    }

    /// Forgets topics and their messages by age, at most `count_max` topics in one call. A topic for
    /// which `keep` answers yes keeps its epoch and offsets. Returns whether there may be more to do.
    pub fn expire(
        &mut self,
        now: Time,
        count_max: usize,
        mut keep: impl FnMut(TopicId) -> bool,
    ) -> bool {
        self.clock = self.clock.max(now);
        self.drop_doubted();
        for _ in 0..count_max {
            let due = self.calendar.first().copied();
            let Some((_, id)) = due.filter(|(due, _)| *due <= self.clock) else {
                return false;
            };
            self.expire_topic(id, &mut keep);
        }
        true
    }

    fn expire_topic(&mut self, id: TopicId, keep: &mut impl FnMut(TopicId) -> bool) {
        let Some(topic) = self.topics.get(id.0) else {
            return;
        };
        let policy = *self.config.policy(topic.name().as_topic());
        let (hot_age_max, clock) = (self.config.hot_age_max, self.clock);
        let age_max = match planted::has(Bug::TooOldEarly) {
            true => policy.retention.age_max / 2,
            false => policy.retention.age_max,
        };
        self.change(id, |topic, segments| {
            topic.cool_older(hot_age_max, clock);
            topic.trim_older(age_max, clock, |place| segments.appended_by(place))
        });
        self.rearm_or_forget(id, &policy, keep);
    }

    fn rearm_or_forget(
        &mut self,
        id: TopicId,
        policy: &Policy,
        keep: &mut impl FnMut(TopicId) -> bool,
    ) {
        let (clock, topic) = (self.clock, self.topics.get(id.0));
        let is_forgotten =
            topic.is_some_and(|topic| topic.is_forgotten(policy, &self.config, clock));
        if is_forgotten && !keep(id) {
            self.forget(id);
            return;
        }
        // Somebody may keep it for long. What waits to become durable, or for room, is there any moment.
        let again = match is_forgotten && self.tell_kept(id) {
            true => self.config.topic_age_max.min(policy.retention.age_max) / 2,
            false => Duration::ZERO,
        };
        let later = clock + again.max(LOOK_AGAIN_MIN);
        if let Some(due) = self.next_due(id) {
            self.list_due(id, if due <= clock { later } else { due });
        }
    }

    /// Somebody follows a topic beyond its time. The disk, which forgets it later by itself, is told, as
    /// the next message would stand behind nothing there; its time begins anew. No while there is no room
    /// to say so.
    fn tell_kept(&mut self, id: TopicId) -> bool {
        let topic = self.topics.get(id.0);
        let Some(topic) = topic.filter(|topic| topic.is_on_disk() && topic.end() > Offset::ZERO)
        else {
            return true;
        };
        let bytes = topic.name().as_str().len();
        if !self.accepting || !self.has_room(bytes) {
            return false;
        }
        let at = self.clock;
        if let Some(topic) = self.topics.get_mut(id.0) {
            topic.touch(at);
        }
        self.push_pending(What::Kept { topic: id, at }, None, None, bytes, 0);
        true
    }

    pub(super) fn forget(&mut self, id: TopicId) {
        let Some(mut topic) = self.topics.remove(id.0) else {
            return;
        };
        self.by_length.remove(&(Reverse(length_class(&topic)), id));
        if let Some(disk) = topic.take_disk() {
            let (places, runs) = disk.into_parts();
            self.release(places.iter());
            for (before, run) in runs {
                self.forget_run(&run, id, before);
            }
        }
        self.own_topics -= usize::from(topic.name().as_topic().is_reserved());
        self.names.remove(topic.name());
        self.calendar.remove(&(topic.due, id));
        self.by_class.remove(&(Reverse(topic.class), id));
        self.bytes -= topic.bytes();
    }

    /// Changes a topic and keeps the log's own books on it.
    pub(super) fn change(
        &mut self,
        id: TopicId,
        change: impl FnOnce(&mut TopicLog, &Segments) -> Trimmed,
    ) {
        let Some(topic) = self.topics.get_mut(id.0) else {
            return;
        };
        let (bytes_before, length_before) = (topic.bytes(), length_class(topic));
        let trimmed = change(topic, &self.segments);
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
        let length = length_class(topic);
        if length != length_before {
            self.by_length.remove(&(Reverse(length_before), id));
            if length >= LENGTH_CLASS_MIN {
                self.by_length.insert((Reverse(length), id));
            }
        }
        self.release(trimmed.places);
    }

    /// What stood there is retained no longer.
    fn release(&mut self, places: impl IntoIterator<Item = DiskPlace>) {
        for place in places.into_iter().filter(|place| !place.is_lost()) {
            self.index_len -= 1;
            self.segments.release(place);
        }
    }

    pub(super) fn keep_within_bounds(&mut self) {
        self.keep_within_hot_bytes();
        self.keep_within_index();
    }

    /// Makes the largest topics smaller in memory until the log fits its bound. The largest are
    /// those of the highest size class, so that none is cut below half of another that stays.
    fn keep_within_hot_bytes(&mut self) {
        while self.bytes > self.config.hot_bytes_max {
            let excess = self.bytes - self.config.hot_bytes_max;
            let topics = &self.topics;
            let can_shrink = |id: &TopicId| topics.get(id.0).is_some_and(TopicLog::can_shrink);
            let largest = self.by_class.iter().find(|(_, id)| can_shrink(id)).copied();
            let Some((class, id)) = largest else {
                return;
            };
            let floor = (1_usize << (class.0 - 1)) - 1;
            self.change(id, |topic, _| {
                topic.shrink_to(topic.bytes().saturating_sub(excess).max(floor))
            });
        }
    }

    /// Trims the longest topics until the index fits its bound. The longest are those of the highest
    /// length class, so that none is cut below half of another that stays. It ends when only the
    /// newest message of each topic is left, of which there may be more than the index should hold.
    fn keep_within_index(&mut self) {
        while self.index_len > self.config.index_max
            && let Some((Reverse(class), id)) = self.by_length.first().copied()
        {
            let excess = self.index_len - self.config.index_max;
            let floor = (1_usize << (class - 1)) - 1;
            self.change(id, |topic, _| {
                topic.trim_oldest(excess.min(topic.retained_len() - floor))
            });
        }
    }
}

/// From this class on a topic has more than its newest message, which stays.
pub(super) const LENGTH_CLASS_MIN: u32 = size_class(2);

/// The size class of what a topic retains on disk, in messages; 0 for a topic in memory.
pub(super) const fn length_class(topic: &TopicLog) -> u32 {
    if topic.is_on_disk() {
        size_class(topic.retained_len())
    } else {
        0
    }
}

/// 0 for nothing, else one more than the logarithm to base 2.
const fn size_class(size: usize) -> u32 {
    usize::BITS - size.leading_zeros()
}
