//! All topics, and what happens to them: they are [written](mod@write), [read] and
//! [forgotten](forget).

mod forget;
mod read;
mod write;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use heartwire_proto::{LogId, Time, TopicName};

use crate::append::{Lsn, Pending};
use crate::config::LogConfig;
use crate::producer::Producers;
use crate::slab::Slab;
use crate::topic::{TopicId, TopicLog};

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

/// The topics of one server. See the [crate's documentation](crate) for the contract.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Log {
    id: LogId,
    config: LogConfig,
    names: BTreeMap<TopicName, TopicId>,
    topics: Slab<TopicLog>,
    producers: Producers,
    pending: VecDeque<Pending>,
    pending_bytes: usize,
    last_lsn: Lsn,
    committed: Lsn,
    accepting: bool,
    /// What all entries take of memory, in bytes.
    bytes: usize,
    /// Topics by size class, largest class first, so that room is taken from the large.
    by_class: BTreeSet<(Reverse<u32>, TopicId)>,
    /// When each topic has something to forget at the earliest.
    calendar: BTreeSet<(Time, TopicId)>,
    /// The latest time seen: ages are counted by a clock that never goes back.
    clock: Time,
    stats: Stats,
    /// Where entries are encoded; empty between calls.
    scratch: Vec<u8>,
}

impl Log {
    /// An empty log. The id tells clients that an earlier log is gone.
    pub fn new(id: LogId, config: LogConfig) -> Self {
        Self {
            id,
            config,
            names: BTreeMap::new(),
            topics: Slab::default(),
            producers: Producers::default(),
            pending: VecDeque::new(),
            pending_bytes: 0,
            last_lsn: Lsn::default(),
            committed: Lsn::default(),
            accepting: true,
            bytes: 0,
            by_class: BTreeSet::new(),
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

    /// What all entries take of memory, in bytes.
    pub const fn bytes(&self) -> usize {
        self.bytes
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
}
