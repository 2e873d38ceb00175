//! Everything that a log holds, folded from the indexes of its segments in their order, and from the
//! checkpoint between them.
//!
//! ```text
//!   indexes below the checkpoint ──► places ─┐
//!   checkpoint ─────────────────────────────►├─ topics as they were ──► indexes after it ──► topics
//! ```

use std::collections::BTreeMap;

use hashbrown::{HashMap, HashTable};
use heartwire_proto::{Epoch, Seq, Time, TopicName};

use super::batch::{DiskPlace, SegmentId};
use super::checkpoint::CheckpointView;
use super::checksum::Hashes;
use super::record::Key;
use super::recovered::SegmentInfo;
use super::view::{IndexView, PartView, RunView};
use crate::producer::ProducerId;

/// A position in the log as a whole.
pub(super) type Position = (SegmentId, u32);

/// What is known of one topic.
#[derive(Clone, Debug)]
pub(super) struct Topic {
    pub(super) name: TopicName,
    hash: u64,
    pub(super) origin: Epoch,
    pub(super) epoch: Epoch,
    /// The offset of its last message.
    pub(super) end: u64,
    pub(super) last_append: Time,
    /// The last segment that holds any of its messages.
    pub(super) last_segment: SegmentId,
    /// Where the message at `end` was written; or the place from which on everything is known.
    pub(super) last_message: Position,
    pub(super) runs: Vec<Run>,
    pub(super) moved: Vec<(u64, DiskPlace)>,
    pub(super) lost: Vec<(u64, u64)>,
}

/// Offsets that follow each other, from `first` on.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) first: u64,
    pub(super) places: Vec<DiskPlace>,
}

/// Offsets that no message has, between two that follow each other in the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Hole {
    pub(super) topic: usize,
    pub(super) first: u64,
    pub(super) last: u64,
    /// The message before was written here.
    pub(super) since: Position,
    /// The message after was written here.
    pub(super) until: Position,
    /// Whether everything between is known, so that only damage explains it.
    pub(super) is_unexplained: bool,
}

/// How much of the indexes is taken in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Depth {
    /// Everything.
    Places,
    /// All but where messages stand: what a checkpoint needs.
    Topics,
    /// What stays of a segment that was removed.
    Gone,
}

/// Everything that a log holds.
#[derive(Clone, Debug)]
pub(super) struct State {
    hashes: Hashes,
    table: HashTable<u32>,
    pub(super) topics: Vec<Topic>,
    pub(super) producers: HashMap<ProducerId, (Seq, Time), foldhash::fast::FixedState>,
    pub(super) segments: BTreeMap<SegmentId, SegmentInfo>,
    pub(super) holes: Vec<Hole>,
    pub(super) time: Time,
    /// Whether a checkpoint, or the beginning of the log, lies behind.
    is_complete: bool,
}

impl State {
    /// Nothing yet. `is_complete` says that nothing lies before what is folded next.
    pub(super) fn new(hashes: Hashes, is_complete: bool) -> Self {
        Self {
            table: HashTable::new(),
            topics: Vec::new(),
            producers: HashMap::with_hasher(hashes.state()),
            hashes,
            segments: BTreeMap::new(),
            holes: Vec::new(),
            time: Time::ZERO,
            is_complete,
        }
    }

    /// Takes in the index of the next segment.
    pub(super) fn fold(&mut self, id: SegmentId, index: IndexView<'_>, depth: Depth) {
        for part in index.parts() {
            self.fold_part(id, part, depth);
        }
        for (producer, seq, time) in index.producers() {
            let known = self.producers.entry(producer).or_insert((seq, time));
            *known = (known.0.max(seq), known.1.max(time));
        }
        self.time = self.time.max(index.time);
        if depth != Depth::Gone {
            let info = SegmentInfo {
                id,
                last_time: index.time,
                bytes: u64::from(index.valid),
            };
            self.segments.insert(id, info);
        }
    }

    fn fold_part(&mut self, id: SegmentId, part: PartView<'_>, depth: Depth) {
        let Some(at) = self.topic_for(part) else {
            return;
        };
        let is_complete = self.is_complete;
        let topic = &mut self.topics[at];
        for (first, last) in part.lost() {
            topic.lost.push((first, last));
            topic.end = topic.end.max(last);
        }
        for run in part.runs() {
            let Some((position, _)) = run.places().next() else {
                continue;
            };
            let until = (id, position);
            let next = topic.end + 1;
            if run.first > next && (is_complete || topic.end > 0) {
                self.holes.push(Hole {
                    topic: at,
                    first: next,
                    last: run.first - 1,
                    since: topic.last_message,
                    until,
                    is_unexplained: is_complete,
                });
            }
            topic.add_run(id, run, depth);
        }
        topic.epoch = part.epoch.unwrap_or(topic.epoch);
        topic.last_append = topic.last_append.max(part.last_append);
        if depth != Depth::Gone && part.holds_messages() {
            topic.last_segment = id;
        }
        for (offset, position, bytes) in part.moved() {
            topic.end = topic.end.max(offset);
            if depth == Depth::Places {
                topic.moved.push((offset, place(id, position, bytes)));
            }
        }
    }

    /// The topic that a part is about; `None` when that topic has died since.
    fn topic_for(&mut self, part: PartView<'_>) -> Option<usize> {
        let (name, origin) = part.key.parse()?;
        let Some(at) = self.find(name.as_str()) else {
            return Some(self.add(name.to_name(), origin));
        };
        if self.topics[at].origin == origin {
            return Some(at);
        }
        // Its messages and its epoch come from its life; what is written again, or was lost, may
        // come from an earlier one.
        part.is_own().then(|| {
            let topic = &self.topics[at];
            self.topics[at] = Topic::new(topic.name.clone(), topic.hash, origin);
            at
        })
    }

    pub(super) fn find(&self, name: &str) -> Option<usize> {
        let hash = self.hashes.of(name.as_bytes());
        let is_it = |index: &u32| self.topics[*index as usize].name.as_str() == name;
        self.table.find(hash, is_it).map(|index| *index as usize)
    }

    fn add(&mut self, name: TopicName, origin: Epoch) -> usize {
        let hash = self.hashes.of(name.as_str().as_bytes());
        self.insert(Topic::new(name, hash, origin))
    }

    fn insert(&mut self, topic: Topic) -> usize {
        let at = self.topics.len();
        let hash = topic.hash;
        self.topics.push(topic);
        let topics = &self.topics;
        let hash_of = |index: &u32| topics[*index as usize].hash;
        self.table.insert_unique(hash, at as u32, hash_of);
        at
    }

    /// Takes in the checkpoint that covers everything folded so far: it knows all topics and all
    /// producers; of what was folded, only where messages stand counts.
    pub(super) fn overlay(&mut self, id: SegmentId, checkpoint: CheckpointView<'_>) {
        let mut topics = std::mem::take(&mut self.topics);
        let table = std::mem::take(&mut self.table);
        let mut moved_to = vec![u32::MAX; topics.len()];
        for known in checkpoint.topics() {
            let Some((name, origin)) = known.key.parse() else {
                continue;
            };
            let hash = self.hashes.of(name.as_str().as_bytes());
            let is_it = |index: &u32| topics[*index as usize].name.as_str() == name.as_str();
            let found = table.find(hash, is_it).map(|index| *index as usize);
            let before = found.filter(|at| topics[*at].origin == origin);
            let mut topic = Topic::new(name.to_name(), hash, origin);
            if let Some(at) = before {
                std::mem::swap(&mut topic, &mut topics[at]);
                moved_to[at] = self.topics.len() as u32;
            }
            topic.epoch = known.epoch;
            topic.end = known.end;
            topic.last_append = known.last_append;
            topic.last_segment = known.last_segment;
            topic.last_message = (id, 0);
            topic.lost.extend(known.lost());
            self.insert(topic);
        }
        self.holes.retain_mut(|hole| {
            hole.topic = moved_to[hole.topic] as usize;
            hole.topic != u32::MAX as usize
        });
        self.producers.clear();
        let producers = checkpoint.producers();
        let producers = producers.map(|(id, seq, time)| (id, (seq, time)));
        self.producers.extend(producers);
        self.time = self.time.max(checkpoint.time);
        self.is_complete = true;
    }
}

impl Topic {
    fn new(name: TopicName, hash: u64, origin: Epoch) -> Self {
        Self {
            name,
            hash,
            origin,
            epoch: origin,
            end: 0,
            last_append: Time::ZERO,
            last_segment: SegmentId(0),
            last_message: (SegmentId(0), 0),
            runs: Vec::new(),
            moved: Vec::new(),
            lost: Vec::new(),
        }
    }

    fn add_run(&mut self, id: SegmentId, run: RunView<'_>, depth: Depth) {
        let places = run.places();
        self.end = self.end.max(run.first + places.len() as u64 - 1);
        if depth != Depth::Places {
            if let Some((position, _)) = places.last() {
                self.last_message = (id, position);
            }
            return;
        }
        let follows = |last: &Run| last.first + last.places.len() as u64 == run.first;
        if !self.runs.last().is_some_and(follows) {
            self.runs.push(Run {
                first: run.first,
                places: Vec::new(),
            });
        }
        let Some(last) = self.runs.last_mut() else {
            return;
        };
        let places = places.map(|(position, bytes)| place(id, position, bytes));
        last.places.extend(places);
        if let Some(place) = last.places.last() {
            self.last_message = (id, place.position);
        }
    }

    /// Its name and origin, as records have them.
    pub(super) fn with_key<T>(&self, take: impl FnOnce(Key<'_>) -> T) -> T {
        use super::bytes::Put as _;
        let mut key = Vec::new();
        key.put_short(self.name.as_str().as_bytes());
        key.put_short(self.origin.as_str().as_bytes());
        take(Key(&key))
    }
}

const fn place(segment: SegmentId, position: u32, bytes: u32) -> DiskPlace {
    DiskPlace {
        segment,
        position,
        bytes,
    }
}
