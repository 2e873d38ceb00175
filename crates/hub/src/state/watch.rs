//! Telling somebody which topics of a pattern have moved, those that are new included.
//!
//! A watcher reads in its own time, with [`history`](HubState::history) from cursors of its own. A
//! commit notes the topic once and wakes the watcher; how often it moves before the watcher looks
//! makes no difference.

use std::collections::BTreeSet;

use heartwire_log::{Log, Pattern, TopicId};
use heartwire_proto::{Cursor, TopicName};

use super::HubState;

/// The key of a watcher in its hub.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct WatchKey(usize);

/// A topic that has moved.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Moved {
    /// The topic.
    pub topic: TopicName,
    /// Before the oldest message retained.
    pub first: Cursor,
    /// The durable end.
    pub end: Cursor,
}

/// Somebody who watches. There are no more of these than the configuration names.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Watch<H> {
    topics: Pattern,
    handle: H,
    /// Not looked at since they moved; at most each topic of the log, once.
    moved: BTreeSet<TopicId>,
}

impl<H: Clone> Watch<H> {
    /// Notes those of the topics that are watched; wakes the watcher where there was nothing before.
    pub(super) fn note(&mut self, topics: &[TopicId], log: &Log, wakes: &mut Vec<H>) {
        let was_drained = self.moved.is_empty();
        for id in topics {
            let topic = log.topic(*id);
            if topic.is_some_and(|topic| self.topics.covers(topic.name().as_topic())) {
                self.moved.insert(*id);
            }
        }
        if was_drained && !self.moved.is_empty() {
            wakes.push(self.handle.clone());
        }
    }
}

impl<H: Clone> HubState<H> {
    /// Watches the topics of a pattern for as long as the hub lives. Those that are there count as
    /// moved.
    pub fn watch(&mut self, topics: Pattern, handle: H) -> WatchKey {
        let there = self.log.topics_after(None);
        let there = there.filter(|(_, topic)| topics.covers(topic.name().as_topic()));
        let moved = there.map(|(id, _)| id).collect();
        self.watches.push(Watch {
            topics,
            handle,
            moved,
        });
        WatchKey(self.watches.len() - 1)
    }

    /// Some of the topics that have moved since they were looked at, in no order. Nothing when there
    /// are none: then the watcher is woken by the next. No wake comes before.
    pub fn take_moved(&mut self, key: WatchKey, count_max: usize) -> Vec<Moved> {
        let Some(watch) = self.watches.get_mut(key.0) else {
            return Vec::new();
        };
        let log = &self.log;
        let mut moved = Vec::new();
        while moved.len() < count_max
            && let Some(id) = watch.moved.pop_first()
        {
            // One that is gone again held nothing any more.
            moved.extend(log.topic(id).map(|topic| Moved {
                topic: topic.name().clone(),
                first: topic.cursor(topic.base()),
                end: topic.cursor(topic.end()),
            }));
        }
        moved
    }
}
