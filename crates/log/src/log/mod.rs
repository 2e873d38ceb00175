//! All topics, and what happens to them: they are [written](mod@write), [committed](mod@commit),
//! [read], [read back](warm), [moved](sweep), [forgotten](forget),
//! and [recovered](recover) when the log is opened again.

mod announce;
mod commit;
mod forget;
mod names;
mod read;
mod recover;
mod segments;
mod sweep;
mod warm;
mod write;

use std::cmp::Reverse;
use std::collections::{BTreeSet, VecDeque};

use heartwire_proto::frame::Durability;
use heartwire_proto::id::TopicRef;
use heartwire_proto::{LogId, Time};

use crate::append::{Committed, Lsn, Pending};
use crate::config::LogConfig;
use crate::producer::{ProducerKey, Producers};
use crate::slab::Slab;
use crate::store::SegmentId;
use crate::topic::{TopicId, TopicLog};
use names::Names;
use segments::Segments;
use sweep::Sweep;
use warm::Warm;

pub use warm::Load;

/// What the log has seen since it was opened, for metrics.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Stats {
    /// Messages that have become durable.
    pub committed: u64,
    /// Publishes recognised as repetitions.
    pub repeated: u64,
    /// Messages trimmed, for whatever reason.
    pub trimmed: u64,
    /// Those of them that nobody had been given.
    pub trimmed_unread: u64,
}

/// What the messages retained take of a disk.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct DiskUsage {
    /// Segments in which such messages stand.
    pub segments: usize,
    /// The messages themselves, in bytes.
    pub retained_bytes: u64,
}

/// What makes appends durable.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Backing {
    /// Nothing but a commit.
    Memory,
    /// A writer, which has so much room.
    Disk {
        /// What can be written before the writer needs more room than it has prepared, in bytes.
        room_bytes: u64,
        /// More could not be prepared: the disk is full.
        is_full: bool,
    },
}

/// The topics of one server. See the [crate's documentation](crate) for the contract.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Log {
    id: LogId,
    config: LogConfig,
    names: Names,
    topics: Slab<TopicLog>,
    /// How many of the topics are the server's own.
    own_topics: usize,
    producers: Producers,
    backing: Backing,
    pending: VecDeque<Pending>,
    pending_bytes: usize,
    /// How many of `pending`, from the front, a writer has taken.
    taken: usize,
    /// What became durable without waiting, and was not told yet.
    untold: Committed,
    last_lsn: Lsn,
    committed: Lsn,
    /// The first and the last append that failed together, latest.
    failed: (Lsn, Lsn),
    accepting: bool,
    /// What all entries take of memory, in bytes; what was read back not counted.
    bytes: usize,
    /// How many messages the index holds a place for.
    index_len: usize,
    segments: Segments,
    warm: Warm,
    sweep: Sweep,
    /// Topics by size class, largest class first, so that room is taken from the large.
    by_class: BTreeSet<(Reverse<u32>, TopicId)>,
    /// Topics on disk with more than their newest message, by the size class of how many they retain,
    /// largest class first, so that room in the index is taken from the long.
    by_length: BTreeSet<(Reverse<u32>, TopicId)>,
    /// When each topic has something to forget at the earliest.
    calendar: BTreeSet<(Time, TopicId)>,
    /// The latest time seen: ages are counted by a clock that never goes back.
    clock: Time,
    stats: Stats,
    /// Where entries are encoded; empty between calls.
    scratch: Vec<u8>,
}

impl Log {
    /// An empty log in memory. The id tells clients that an earlier log is gone; the key is a secret
    /// that is drawn at random.
    pub fn new(id: LogId, key: &ProducerKey, config: LogConfig) -> Self {
        Self::with_backing(id, key, config, Backing::Memory)
    }

    fn with_backing(id: LogId, key: &ProducerKey, config: LogConfig, backing: Backing) -> Self {
        Self {
            id,
            config,
            names: Names::new(key),
            topics: Slab::default(),
            own_topics: 0,
            producers: Producers::default(),
            backing,
            pending: VecDeque::new(),
            pending_bytes: 0,
            taken: 0,
            untold: Committed::default(),
            last_lsn: Lsn::default(),
            committed: Lsn::default(),
            failed: (Lsn::default(), Lsn::default()),
            accepting: true,
            bytes: 0,
            index_len: 0,
            segments: Segments::default(),
            warm: Warm::default(),
            sweep: Sweep::default(),
            by_class: BTreeSet::new(),
            by_length: BTreeSet::new(),
            calendar: BTreeSet::new(),
            clock: Time::ZERO,
            stats: Stats::default(),
            scratch: Vec::new(),
        }
    }

    /// The log's id.
    pub const fn id(&self) -> LogId {
        self.id
    }

    /// The bounds in force.
    pub const fn config(&self) -> &LogConfig {
        &self.config
    }

    /// Counters.
    pub const fn stats(&self) -> Stats {
        self.stats
    }

    /// What all entries take of memory, in bytes, but for those that were read back from disk.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// What the messages retained take of a disk.
    pub fn disk_usage(&self) -> DiskUsage {
        self.segments.usage()
    }

    /// How many topics exist, those included that nobody may see yet.
    pub fn topics_len(&self) -> usize {
        self.topics.len()
    }

    /// How many producers are remembered.
    pub fn producers_len(&self) -> usize {
        self.producers.len()
    }

    /// Whether appends are accepted at all.
    pub const fn is_accepting(&self) -> bool {
        self.accepting
    }

    /// Refuses appends, or accepts them again: for a writer whose disk has failed, and for a server
    /// that drains.
    pub fn set_accepting(&mut self, accepting: bool) {
        self.accepting = accepting;
    }

    /// Whether a writer makes appends durable.
    pub const fn is_on_disk(&self) -> bool {
        matches!(self.backing, Backing::Disk { .. })
    }

    /// When a message published to the topic counts as stored. The server's own topics are in memory:
    /// what they tell is true of one process. A topic that the disk held stays there, whatever its rule
    /// says.
    pub fn durability(&self, topic: TopicRef<'_>) -> Durability {
        if !self.is_on_disk() || topic.is_reserved() {
            return Durability::Memory;
        }
        match self.config.policy(topic).durability {
            Durability::Memory if self.has_on_disk(topic) => Durability::Disk,
            durability => durability,
        }
    }

    fn has_on_disk(&self, topic: TopicRef<'_>) -> bool {
        let id = self.names.get(topic, &self.topics);
        let held = id.and_then(|id| self.topics.get(id.0));
        held.is_some_and(TopicLog::is_on_disk)
    }

    /// The writer has so much room behind what is committed; `is_full` when it tried for more in
    /// vain. Appends are refused before the writer could run out of it.
    pub fn set_room(&mut self, room_bytes: u64, is_full: bool) {
        if self.is_on_disk() {
            self.backing = Backing::Disk {
                room_bytes,
                is_full,
            };
        }
    }

    /// Whether the disk has no room for more than what is prepared.
    pub const fn is_disk_full(&self) -> bool {
        matches!(self.backing, Backing::Disk { is_full: true, .. })
    }

    /// Moves the segments out in which no retained message stands any more.
    pub fn take_unused(&mut self, unused: &mut Vec<SegmentId>) {
        self.segments.take_unused(unused);
    }
}
