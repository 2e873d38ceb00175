//! The bounds of a log, each with its unit in its name and the reason of its default.

use std::time::Duration;

use heartwire_proto::frame::Durability;
use heartwire_proto::id::TopicRef;

use crate::pattern::Pattern;

/// How much of a topic is kept; whichever bound is reached first trims the oldest messages.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Retention {
    /// How many messages: 10,000, some hours of a talkative topic.
    pub count_max: usize,
    /// How many bytes, with what they take beside the payload in memory, or on disk: 16 MiB. The
    /// newest message is kept even when it alone is larger.
    pub bytes_max: usize,
    /// How old a message may grow: 24 h, so that a client that slept over night misses nothing. Nobody
    /// is given an older one; on disk it may take space until the newest of its segment is as old. It is
    /// the log's time that counts: a server that starts goes on with that of the last message written.
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

/// How a topic is kept.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Policy {
    /// How much of it.
    pub retention: Retention,
    /// When a message counts as stored: [`Durability::Memory`] at once, everything else after the
    /// disk's sync, as one server is no quorum. In a log without a disk every topic is in memory; beside
    /// one, a topic that the disk held at the start stays there.
    pub durability: Durability,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            retention: Retention::default(),
            durability: Durability::Disk,
        }
    }
}

/// The bounds of a [`Log`](crate::Log).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct LogConfig {
    /// How a topic is kept for which `policies` say nothing.
    pub policy: Policy,
    /// How other topics are kept; the first pattern that matches counts.
    pub policies: Vec<(Pattern, Policy)>,
    /// The bytes in memory of all topics together, taken from the largest topics first: 512 MiB,
    /// which a small machine can spare.
    pub hot_bytes_max: usize,
    /// How long a message of a topic on disk stays in memory: 10 min. Who comes back later reads it
    /// from disk.
    pub hot_age_max: Duration,
    /// The bytes in memory of messages that were read back from disk: 64 MiB.
    pub warm_bytes_max: usize,
    /// How much is read back at once for somebody who is behind, in bytes: 256 KiB, so that one
    /// reader keeps little in memory.
    pub load_bytes_max: usize,
    /// How many messages that may be: 1,024.
    pub load_messages_max: usize,
    /// How many such reads may be under way at a time: 16.
    pub loads_max: usize,
    /// How many messages on disk there may be in all: 20,000,000, at 12 bytes of memory each. Above
    /// that the longest topics are trimmed.
    pub index_max: usize,
    /// Fewer segments than that are not worth emptying: 8.
    pub sweep_segments_min: usize,
    /// Segments are emptied as long as all together hold less than that of what they take of the disk,
    /// in percent: 25. Of these, those that hold less than half.
    pub sweep_live_percent_max: u64,
    /// How many topics there may be: 1,000,000, at about 300 bytes each while empty.
    pub topics_max: usize,
    /// How many of them may be the server's own: 100,000, so that following, which makes some of
    /// them, leaves room for those that are published to.
    pub own_topics_max: usize,
    /// How long epoch and offsets of a topic outlive its last message, which itself lives as long as
    /// [`Retention::age_max`] says at the most: 30 days, and longer while somebody follows it, after
    /// which they begin anew. Forgetting is safe, as a topic that is born again draws another epoch. The
    /// server's own are forgotten with their last message.
    pub topic_age_max: Duration,
    /// The largest payload, in bytes: 1 MiB.
    pub message_bytes_max: usize,
    /// How many producers are remembered: 1,000,000, at about 120 bytes each.
    pub producers_max: usize,
    /// How long a producer is remembered after its last publish `[PUB-9]`: 24 h, and longer while it is
    /// connected.
    pub producer_age_max: Duration,
    /// How many publishes of one producer may wait to become durable `[PUB-8]`: 1,024, the unacknowledged
    /// publishes that a client may have.
    pub window: u64,
    /// How many bytes of payload they may hold: 4 MiB.
    pub window_bytes_max: usize,
    /// How many appends may wait to become durable, in all: 65,536, far more than one slow fsync
    /// gathers.
    pub pending_max: usize,
    /// How many bytes they may hold: 64 MiB. The last is admitted by its payload, and its header may
    /// exceed them.
    pub pending_bytes_max: usize,
}

impl LogConfig {
    /// How the topic with this name is kept.
    pub fn policy(&self, topic: TopicRef<'_>) -> &Policy {
        let mut policies = self.policies.iter();
        let chosen = policies.find(|(pattern, _)| pattern.covers(topic));
        chosen.map_or(&self.policy, |(_, policy)| policy)
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            policy: Policy::default(),
            policies: Vec::new(),
            hot_bytes_max: 512 << 20,
            hot_age_max: Duration::from_secs(600),
            warm_bytes_max: 64 << 20,
            load_bytes_max: 256 << 10,
            load_messages_max: 1_024,
            loads_max: 16,
            index_max: 20_000_000,
            sweep_segments_min: 8,
            sweep_live_percent_max: 25,
            topics_max: 1_000_000,
            own_topics_max: 100_000,
            topic_age_max: Duration::from_secs(30 * 24 * 3_600),
            message_bytes_max: 1 << 20,
            producers_max: 1_000_000,
            producer_age_max: Duration::from_secs(24 * 3_600),
            window: 1_024,
            window_bytes_max: 4 << 20,
            pending_max: 65_536,
            pending_bytes_max: 64 << 20,
        }
    }
}
