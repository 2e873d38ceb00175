//! Going on from what a disk held.

use std::collections::VecDeque;

use heartwire_proto::Time;
use heartwire_proto::planted::{self, Bug};

use super::{Backing, Log};
use crate::config::LogConfig;
use crate::producer::ProducerKey;
use crate::store::{DiskPlace, Recovered, RecoveredTopic};
use crate::topic::{OnDisk, TopicLog};

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
        for topic in recovered.topics {
            log.restore_topic(topic);
        }
        log.segments.settle();
        log.keep_within_bounds();
        (log, recovered.key)
    }

    /// The latest time that the log has seen. Its driver's clock begins there.
    pub const fn clock(&self) -> Time {
        self.clock
    }

    fn restore_topic(&mut self, recovered: RecoveredTopic) {
        let retention = self.config.policy(recovered.name.as_topic()).retention;
        let places = with_gaps(&recovered);
        for place in places.iter().filter(|place| !place.is_lost()) {
            self.index_len += 1;
            self.segments.hold_restored(*place);
        }
        let topic = TopicLog::restore(recovered, OnDisk::new(places));
        let id = self.add_topic(topic);
        self.change(id, |topic, _| topic.trim(&retention));
        self.rearm(id);
    }
}

/// One place for each offset: those that damage took are held by places that nothing stands at, so
/// that whoever comes by is told.
fn with_gaps(topic: &RecoveredTopic) -> VecDeque<DiskPlace> {
    let mut found = topic.places.iter().copied();
    let mut places = VecDeque::with_capacity(topic.places.len());
    let mut next = topic.base.next();
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
