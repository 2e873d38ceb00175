//! Going on from what a disk held.

use std::cmp::Reverse;

use heartwire_proto::planted::{self, Bug};
use heartwire_proto::{Time, TopicName};

use super::forget::{LENGTH_CLASS_MIN, length_class};
use super::{Backing, Log};
use crate::config::LogConfig;
use crate::producer::{ProducerKey, keep_latest};
use crate::store::{DiskPlace, Places, Recovered, RecoveredTopic};
use crate::topic::{OnDisk, TopicId, TopicLog};

impl Log {
    /// A log that goes on from what its disk held; its driver writes what is
    /// [taken](Self::take_batch). Appends are accepted once the writer [has room](Self::set_room).
    /// Time goes on from [`clock`](Self::clock).
    pub fn recover(config: LogConfig, recovered: Recovered) -> (Self, ProducerKey) {
        let backing = Backing::Disk {
            room_bytes: 0,
            is_full: false,
        };
        let mut log = Self::with_backing(recovered.log, &recovered.key, config, backing);
        log.clock = recovered.log_time;
        for segment in &recovered.segments {
            log.segments.add(segment.id, segment.last_time);
        }
        let mut producers = recovered.producers;
        keep_latest(&mut producers, log.config.producers_max, |known| known.2);
        for (id, seq, published) in producers {
            let published = match planted::has(Bug::ProducersRestoredOld) {
                true => Time::ZERO,
                false => published,
            };
            if !planted::has(Bug::DedupForgottenAtRestart) {
                log.producers.restore(id, seq, published);
            }
        }
        let topics = recovered.topics.into_iter();
        let restored = topics.map(|topic| log.restore_topic(topic));
        let restored: Vec<(TopicName, TopicId)> = restored.collect();
        log.segments.settle();
        // Only once every message is counted: a segment of which one topic lets go may hold others'.
        let ids = restored.iter().map(|(_, id)| *id);
        log.calendar = ids.map(|id| (log.trim_restored(id), id)).collect();
        log.by_length = log.lengths().collect();
        log.names.set(restored, &log.topics);
        log.keep_within_bounds();
        (log, recovered.key)
    }

    /// The latest time that the log has seen. Its driver's clock begins there.
    pub const fn clock(&self) -> Time {
        self.clock
    }

    /// Restores a topic, but for the books by name, time and length, which are made of all at once.
    fn restore_topic(&mut self, mut recovered: RecoveredTopic) -> (TopicName, TopicId) {
        if !recovered.gaps.is_empty() {
            // Each offset that is lost takes a place: no more of them than messages are retained.
            let retention = self.config.policy(recovered.name.as_topic()).retention;
            let count_max = retention.count_max.min(self.config.index_max).max(1);
            recovered.keep_newest(count_max as u64);
        }
        self.index_len += recovered.places.len();
        for (segment, count, bytes) in recovered.places.by_segment() {
            self.segments.hold_restored(segment, count, bytes);
        }
        let places = take_places(&mut recovered);
        let name = recovered.name.clone();
        self.own_topics += usize::from(name.as_topic().is_reserved());
        let topic = TopicLog::restore(recovered, OnDisk::new(places));
        (name, TopicId(self.topics.insert(topic)))
    }

    /// All topics that are long enough to be trimmed, with the class of their length.
    fn lengths(&self) -> impl Iterator<Item = (Reverse<u32>, TopicId)> {
        let classes = self.topics.iter_from(0);
        let classes = classes.map(|(key, topic)| (Reverse(length_class(topic)), TopicId(key)));
        classes.filter(|(Reverse(class), _)| *class >= LENGTH_CLASS_MIN)
    }

    /// Returns when the topic has something to forget.
    fn trim_restored(&mut self, id: TopicId) -> Time {
        let topic = self.topics.get(id.0).expect("it was just restored");
        let retention = self.config.policy(topic.name().as_topic()).retention;
        self.change(id, |topic, _| topic.trim(&retention));
        let due = self.next_due(id).expect("trimming removes no topic");
        if let Some(topic) = self.topics.get_mut(id.0) {
            topic.due = due;
        }
        due
    }
}

/// One place for each offset: those that damage took are held by places that nothing stands at, so
/// that whoever comes by is told.
fn take_places(topic: &mut RecoveredTopic) -> Places {
    let found = std::mem::take(&mut topic.places);
    if topic.gaps.is_empty() {
        return found;
    }
    let mut places = Places::default();
    let (mut found, mut next) = (found.iter(), topic.base.next());
    for (first, last) in &topic.gaps {
        while next < *first {
            places.extend(found.next());
            next = next.next();
        }
        while next <= *last {
            places.push_back(DiskPlace::LOST);
            next = next.next();
        }
    }
    places.extend(found);
    places
}
