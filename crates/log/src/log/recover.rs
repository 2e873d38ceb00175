//! Going on from what a disk held.

use std::collections::VecDeque;

use heartwire_proto::Time;
use heartwire_proto::planted::{self, Bug};

use super::{Backing, Log};
use crate::config::LogConfig;
use crate::producer::ProducerKey;
use crate::store::{DiskPlace, Recovered, RecoveredTopic};
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
        let mut log = Self::with_backing(recovered.log, config, backing);
        log.clock = recovered.log_time;
        for segment in &recovered.segments {
            log.segments.add(segment.id, segment.last_time);
        }
        for (id, seq, published) in recovered.producers {
            if !planted::has(Bug::DedupForgottenAtRestart) {
                log.producers.restore(id, seq, published);
            }
        }
        let topics = recovered.topics.into_iter();
        let restored: Vec<TopicId> = topics.map(|topic| log.restore_topic(topic)).collect();
        log.segments.settle();
        // Only once every message is counted: a segment of which one topic lets go may hold others'.
        for id in restored {
            log.trim_restored(id);
        }
        log.keep_within_bounds();
        (log, recovered.key)
    }

    /// The latest time that the log has seen. Its driver's clock begins there.
    pub const fn clock(&self) -> Time {
        self.clock
    }

    fn restore_topic(&mut self, mut recovered: RecoveredTopic) -> TopicId {
        self.index_len += recovered.places.len();
        for together in recovered.places.chunk_by(|a, b| a.segment == b.segment) {
            let bytes = together.iter().map(|place| u64::from(place.bytes)).sum();
            self.segments
                .hold_restored(together[0].segment, together.len() as u64, bytes);
        }
        let places = take_places(&mut recovered);
        let topic = TopicLog::restore(recovered, OnDisk::new(places));
        self.add_topic(topic)
    }

    fn trim_restored(&mut self, id: TopicId) {
        if let Some(topic) = self.topics.get(id.0) {
            let retention = self.config.policy(topic.name().as_topic()).retention;
            self.change(id, |topic, _| topic.trim(&retention));
            self.rearm(id);
        }
    }
}

/// One place for each offset: those that damage took are held by places that nothing stands at, so
/// that whoever comes by is told.
fn take_places(topic: &mut RecoveredTopic) -> VecDeque<DiskPlace> {
    let found = std::mem::take(&mut topic.places);
    if topic.gaps.is_empty() {
        return found.into();
    }
    let mut places = VecDeque::with_capacity(found.len());
    let (mut found, mut next) = (found.into_iter(), topic.base.next());
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
