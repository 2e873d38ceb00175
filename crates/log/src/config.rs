//! The bounds of a log, each with its unit in its name and the reason of its default.

use std::time::Duration;

/// How much of a topic is kept; whichever bound is reached first trims the oldest messages.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Retention {
    /// How many messages: 10,000, some hours of a talkative topic.
    pub count_max: usize,
    /// How many bytes, in wire form and with what memory they take beside it: 16 MiB. The newest
    /// message is kept even when it alone is larger.
    pub bytes_max: usize,
    /// How old a message may grow: 24 h, so that a client that slept over night misses nothing.
    pub age_max: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            count_max: 10_000,
            bytes_max: 16 << 20,
            age_max: Duration::from_secs(24 * 3_600),
        }
    }
}

/// The bounds of a [`Log`](crate::Log).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct LogConfig {
    /// What is kept of each topic.
    pub retention: Retention,
    /// The bytes of all topics together, taken from the largest topics first: 512 MiB, which
    /// a small machine can spare.
    pub hot_bytes_max: usize,
    /// How many topics there may be: 1,000,000, at about 300 bytes each while empty.
    pub topics_max: usize,
    /// How long epoch and offsets of a topic outlive its last message: 30 days. Forgetting is safe,
    /// as a topic that is born again draws another epoch.
    pub topic_age_max: Duration,
    /// The largest payload, in bytes: 1 MiB.
    pub message_bytes_max: usize,
    /// How many producers are remembered: 1,000,000, at about 120 bytes each.
    pub producers_max: usize,
    /// How long a producer is remembered after its last publish `[PUB-9]`: 24 h.
    pub producer_age_max: Duration,
    /// How far above *appended* a SEQ may lie, and how many publishes of one producer may wait to
    /// become durable `[PUB-8]`: 1,024, the unacknowledged publishes that a client may have.
    pub window: u64,
    /// How many appends may wait to become durable, in all: 65,536, far more than one slow fsync
    /// gathers.
    pub pending_max: usize,
    /// How many bytes they may hold: 64 MiB.
    pub pending_bytes_max: usize,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            retention: Retention::default(),
            hot_bytes_max: 512 << 20,
            topics_max: 1_000_000,
            topic_age_max: Duration::from_secs(30 * 24 * 3_600),
            message_bytes_max: 1 << 20,
            producers_max: 1_000_000,
            producer_age_max: Duration::from_secs(24 * 3_600),
            window: 1_024,
            pending_max: 65_536,
            pending_bytes_max: 64 << 20,
        }
    }
}
