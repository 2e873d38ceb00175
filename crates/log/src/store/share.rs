//! The topics that one thread folds: all parts of the indexes that are about them, in their order.
//!
//! ```text
//!   index ──► its parts ──┬─► those of this share: key ─► life ─► topic
//!                         └─► those of others, passed over
//! ```

use hashbrown::HashTable;
use heartwire_proto::{Epoch, Time, TopicName};

use super::batch::{DiskPlace, SegmentId};
use super::checkpoint::{CheckpointTopic, CheckpointView};
use super::checksum::Hashes;
use super::index::GROUP;
use super::keys::{Hashed, Keys};
use super::record::Key;
use super::resolve::Retained;
use super::state::{Depth, Position, Step};
use super::view::{IndexRun, IndexView, PartView, Run, share_of};

/// What is known of one topic.
#[derive(Clone, Debug)]
pub(super) struct Topic {
    pub(super) name: TopicName,
    /// The number of its name and origin.
    pub(super) life: u32,
    pub(super) origin: Epoch,
    pub(super) epoch: Epoch,
    /// The offset of its last message.
    pub(super) end: u64,
    pub(super) last_append: Time,
    /// The last segment that holds any of its messages.
    pub(super) last_segment: SegmentId,
    /// Where the message at `end` was written; or the place from which on everything is known.
    pub(super) last_message: Position,
    pub(super) moved: Vec<(u64, DiskPlace)>,
    pub(super) lost: Vec<(u64, u64)>,
}

/// Messages of one topic that stand in one segment.
#[derive(Clone, Copy, Debug)]
pub(super) struct PlacedRun {
    pub(super) life: u32,
    pub(super) segment: SegmentId,
    pub(super) run: Run,
}

/// Offsets that no message has, between two that follow each other in the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Hole {
    pub(super) topic: usize,
    pub(super) first: u64,
    pub(super) last: u64,
    /// Whether the message before the first was met. Otherwise as many were trimmed before the last as
    /// could not have stood in what is damaged.
    pub(super) is_begun: bool,
    /// The message before was written here, or some segment before.
    pub(super) since: Position,
    /// The message after was written here.
    pub(super) until: Position,
    /// Whether everything between is known, so that only damage explains it.
    pub(super) is_unexplained: bool,
}

/// A segment whose index is folded.
#[derive(Clone, Copy, Debug)]
struct Folded {
    id: SegmentId,
    /// Where its last frame ends.
    valid: u32,
    depth: Depth,
}

/// The life of a topic that is over.
const DEAD: u32 = u32::MAX;

/// Some of the topics that a log holds: those whose names fall to it.
#[derive(Clone, Debug)]
pub(super) struct Share {
    /// Which of the [`SHARES`](super::view::SHARES) it is.
    number: usize,
    hashes: Hashes,
    /// Every life of a topic that was met.
    pub(super) lives: Keys,
    /// The topic of each life, or [`DEAD`].
    topic_of: Vec<u32>,
    /// The messages of all lives, in the order in which they were folded. Where each of them stands
    /// stays in the indexes, so that folding touches little memory.
    pub(super) runs: Vec<PlacedRun>,
    /// Topics by name.
    names: HashTable<u32>,
    pub(super) topics: Vec<Topic>,
    /// What each of them holds, once that was found out.
    pub(super) retained: Vec<Retained>,
    pub(super) holes: Vec<Hole>,
    /// Whether a checkpoint, or the beginning of the log, lies behind.
    is_complete: bool,
}

impl Share {
    /// Nothing yet. `is_complete` says that nothing lies before what is folded next.
    pub(super) fn new(number: usize, hashes: Hashes, is_complete: bool) -> Self {
        Self {
            number,
            lives: Keys::new(hashes.clone()),
            topic_of: Vec::new(),
            runs: Vec::new(),
            names: HashTable::new(),
            topics: Vec::new(),
            retained: Vec::new(),
            hashes,
            holes: Vec::new(),
            is_complete,
        }
    }

    /// Takes in what comes next.
    pub(super) fn take_in(&mut self, step: &Step<'_>) {
        match step {
            Step::Index { id, index, depth } => self.fold(*id, *index, *depth),
            Step::Checkpoint { id, checkpoint } => self.overlay(*id, *checkpoint),
        }
    }

    fn fold(&mut self, id: SegmentId, index: IndexView<'_>, depth: Depth) {
        let valid = index.valid;
        let step = Folded { id, valid, depth };
        let mut parts = index.parts_of(self.number);
        let mut lives = Vec::with_capacity(GROUP);
        loop {
            let group: Vec<PartView<'_>> = parts.by_ref().take(GROUP).collect();
            if group.is_empty() {
                break;
            }
            let keys: Vec<Hashed<'_>> = group.iter().map(|part| part.key()).collect();
            touch_keys(&keys);
            self.lives.numbers(&keys, &mut lives);
            self.touch(&lives);
            for (part, life) in group.iter().zip(lives.drain(..)) {
                let topic = life.and_then(|life| self.topic_for(life, *part));
                if let Some(topic) = topic {
                    self.fold_part(&step, topic, *part);
                }
            }
        }
    }

    /// Reads what will be changed, so that the processor waits for the memory of all at once.
    fn touch(&self, lives: &[Option<u32>]) {
        let topics = lives.iter().flatten().filter_map(|life| {
            let topic = self.topic_of.get(*life as usize)?;
            self.topics.get(*topic as usize)
        });
        std::hint::black_box(topics.fold(0, |sum, topic| {
            sum ^ topic.end ^ u64::from(topic.last_message.1)
        }));
    }

    /// Runs and losses count in the order of their offsets: neither hides what is missing before the
    /// other.
    fn fold_part(&mut self, step: &Folded, at: usize, part: PartView<'_>) {
        let mut lost: Vec<(u64, u64)> = part.lost().collect();
        lost.sort_unstable();
        let mut lost = lost.into_iter().peekable();
        for IndexRun { run, ends } in part.runs {
            let start = (step.id, ends.0);
            while let Some(before) = lost.next_if(|(first, _)| *first < run.first) {
                self.lose(at, before, start);
            }
            self.miss_before(at, run.first, start);
            let topic = &mut self.topics[at];
            topic.end = topic.end.max(run.last());
            topic.last_message = (step.id, ends.1);
            if step.depth == Depth::Places {
                self.runs.push(PlacedRun {
                    life: topic.life,
                    segment: step.id,
                    run: *run,
                });
            }
        }
        for rest in lost {
            self.lose(at, rest, (step.id, step.valid));
        }
        self.topics[at].fold_rest(step, part);
    }

    /// A range is lost that stood before `until`.
    fn lose(&mut self, at: usize, (first, last): (u64, u64), until: Position) {
        self.miss_before(at, first, until);
        let topic = &mut self.topics[at];
        topic.lost.push((first, last));
        topic.end = topic.end.max(last);
    }

    /// The offset `first` stands, or stood, before `until`: whether others are missing before it.
    fn miss_before(&mut self, at: usize, first: u64, until: Position) {
        let topic = &self.topics[at];
        let next = topic.end + 1;
        if first > next && (self.is_complete || topic.end > 0) {
            self.holes.push(Hole {
                topic: at,
                first: next,
                last: first - 1,
                is_begun: true,
                since: topic.last_message,
                until,
                is_unexplained: self.is_complete,
            });
        }
    }

    /// The topic that a part is about; `None` when that topic has died since.
    #[inline]
    fn topic_for(&mut self, life: u32, part: PartView<'_>) -> Option<usize> {
        match self.topic_of.get(life as usize) {
            Some(topic) if *topic != DEAD => Some(*topic as usize),
            _ => self.come_to_life(life, part),
        }
    }

    /// A life of a topic begins, unless another of the same name has begun before it.
    #[cold]
    fn come_to_life(&mut self, life: u32, part: PartView<'_>) -> Option<usize> {
        let (name, origin) = part.key().key.parse()?;
        if life as usize >= self.topic_of.len() {
            self.topic_of.resize(life as usize + 1, DEAD);
        }
        let topic = match self.find(name.as_str()) {
            None => self.insert(Topic::new(name.to_name(), origin, life)),
            // Its messages and its epoch come from its life; what is written again, or was lost,
            // may come from an earlier one.
            Some(_) if !part.is_own() => return None,
            Some(topic) => {
                self.topic_of[self.topics[topic].life as usize] = DEAD;
                self.topics[topic] = Topic::new(name.to_name(), origin, life);
                topic
            }
        };
        self.topic_of[life as usize] = topic as u32;
        Some(topic)
    }

    fn find(&self, name: &str) -> Option<usize> {
        let hash = self.hashes.of(name.as_bytes());
        let is_it = |topic: &u32| self.topics[*topic as usize].name.as_str() == name;
        self.names.find(hash, is_it).map(|topic| *topic as usize)
    }

    fn insert(&mut self, topic: Topic) -> usize {
        let at = self.topics.len();
        self.topics.push(topic);
        let (topics, hashes) = (&self.topics, &self.hashes);
        let hash_of = |topic: &u32| hashes.of(topics[*topic as usize].name.as_str().as_bytes());
        self.names
            .insert_unique(hash_of(&(at as u32)), at as u32, hash_of);
        at
    }

    /// Takes in the checkpoint that covers everything folded so far: it knows all topics and all
    /// producers; of what was folded, only where messages stand counts.
    fn overlay(&mut self, id: SegmentId, checkpoint: CheckpointView<'_>) {
        let mut topics = std::mem::take(&mut self.topics);
        let topic_of = std::mem::take(&mut self.topic_of);
        self.names.clear();
        let mut moved_to = vec![u32::MAX; topics.len()];
        let mut holes = Vec::new();
        for known in checkpoint.topics() {
            let share = known.key.name().map(|name| share_of(name, &self.hashes));
            if share != Some(self.number) {
                continue;
            }
            let (Some((name, origin)), Some(life)) =
                (known.key.parse(), self.lives.number(known.key))
            else {
                continue;
            };
            let mut topic = Topic::new(name.to_name(), origin, life);
            let before = topic_of.get(life as usize).filter(|topic| **topic != DEAD);
            if let Some(before) = before {
                std::mem::swap(&mut topic, &mut topics[*before as usize]);
                moved_to[*before as usize] = self.topics.len() as u32;
            }
            holes.extend(topic.hole_before(&known, self.topics.len()));
            topic.epoch = known.epoch;
            topic.end = known.end;
            topic.last_append = known.last_append;
            topic.last_segment = known.last_segment;
            topic.last_message = (id, 0);
            topic.lost.extend(known.lost());
            self.insert(topic);
        }
        self.topic_of = vec![DEAD; self.lives.len()];
        for (at, topic) in self.topics.iter().enumerate() {
            self.topic_of[topic.life as usize] = at as u32;
        }
        self.holes.retain_mut(|hole| {
            hole.topic = moved_to[hole.topic] as usize;
            hole.topic != u32::MAX as usize
        });
        self.holes.append(&mut holes);
        self.is_complete = true;
    }
}

/// Reads where keys begin, so that the processor waits for the memory of all at once.
fn touch_keys(keys: &[Hashed<'_>]) {
    let first_bytes = keys.iter().filter_map(|key| key.key.0.first());
    std::hint::black_box(first_bytes.fold(0, |sum, byte| sum ^ byte));
}

impl Topic {
    fn new(name: TopicName, origin: Epoch, life: u32) -> Self {
        Self {
            name,
            life,
            origin,
            epoch: origin,
            end: 0,
            last_append: Time::ZERO,
            last_segment: SegmentId(0),
            last_message: (SegmentId(0), 0),
            moved: Vec::new(),
            lost: Vec::new(),
        }
    }

    /// What a part says beside runs and losses.
    fn fold_rest(&mut self, step: &Folded, part: PartView<'_>) {
        self.epoch = part.epoch().unwrap_or(self.epoch);
        self.last_append = self.last_append.max(part.last_append());
        if step.depth != Depth::Gone && part.holds_messages() {
            self.last_segment = step.id;
        }
        for (offset, position, bytes) in part.moved() {
            self.end = self.end.max(offset);
            if step.depth == Depth::Places {
                self.moved.push((offset, place(step.id, position, bytes)));
            }
        }
    }

    /// The last messages that a checkpoint knows of, where they were not met; the topic's number is
    /// `at`. They stood in its last segment at the latest. Where none was met at all, that segment was
    /// removed with all others, or else it is damaged: what retention trims stands in its segment as
    /// long as that is there.
    fn hole_before(&self, known: &CheckpointTopic<'_>, at: usize) -> Option<Hole> {
        let last = known.last_segment.0;
        let (since, is_begun) = match self.end {
            0 => ((SegmentId(last.saturating_sub(1)), u32::MAX), false),
            _ => (self.last_message, true),
        };
        (self.end < known.end).then_some(Hole {
            topic: at,
            first: self.end + 1,
            last: known.end,
            is_begun,
            since,
            until: (SegmentId(last.saturating_add(1)), 0),
            is_unexplained: false,
        })
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

pub(super) const fn place(segment: SegmentId, position: u32, bytes: u32) -> DiskPlace {
    DiskPlace {
        segment,
        position,
        bytes,
    }
}
