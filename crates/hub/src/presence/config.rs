//! For which topics presence is kept, and its bounds.

use std::time::Duration;

use heartwire_log::{LogConfig, Pattern, Policy, Retention};
use heartwire_proto::Time;
use heartwire_proto::frame::Durability;
use heartwire_proto::id::TopicRef;

use crate::connection::{FORBIDDEN, Reason, UNAUTHORIZED, UNSUBSCRIBED};

/// For which topics it is told who is there, and how much is kept for it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct PresenceConfig {
    /// The topics; none, unless somebody asks for it. The server's own topics are never among them.
    pub topics: Vec<Pattern>,
    /// How long a member whose last connection has ended may stay away before its leave is told:
    /// 10 s, in which a client that was cut off has dialled at least twice.
    pub grace: Duration,
    /// How many members one topic may have: 10,000, of which a list takes about a megabyte. Whoever
    /// comes beyond is counted and not listed.
    pub members_per_topic_max: usize,
    /// How many members all topics together may have, those included that are away for a moment:
    /// 1,000,000, at about 300 bytes each.
    pub members_max: usize,
    /// How many topics there may be on which joins and leaves are told: 100,000.
    pub topics_max: usize,
    /// How much of these topics is kept: 1,000 messages, 1 MiB, and an hour. Whoever stays away for
    /// longer asks who is there instead.
    pub retention: Retention,
}

impl Default for PresenceConfig {
    fn default() -> Self {
        Self {
            topics: Vec::new(),
            grace: Duration::from_secs(10),
            members_per_topic_max: 10_000,
            members_max: 1_000_000,
            topics_max: 100_000,
            retention: Retention {
                count_max: 1_000,
                bytes_max: 1 << 20,
                age_max: Duration::from_secs(3_600),
            },
        }
    }
}

impl PresenceConfig {
    /// Whether it is told who is there on a topic. One whose name leaves no room for the name of
    /// another topic made from it has none.
    pub fn covers(&self, topic: TopicRef<'_>) -> bool {
        let mut topics = self.topics.iter();
        topics.any(|pattern| pattern.covers(topic)) && topic.presence().is_some()
    }

    /// Until when a member is waited for that joined then, and whose last connection has ended now. Who
    /// was put out is not. Who asked to follow no longer is not either, unless its join is so recent
    /// that whoever asked again and again would make everybody hear of it each time.
    pub(crate) fn waits_until(&self, joined_at: Time, reason: Reason, now: Time) -> Time {
        match reason {
            FORBIDDEN | UNAUTHORIZED => now,
            UNSUBSCRIBED => now.max(joined_at + self.grace),
            _ => now + self.grace,
        }
    }

    /// A log's configuration with the bounds of the topics on which joins and leaves are told; what
    /// it says of them already counts.
    pub(crate) fn log(&self, log: &LogConfig) -> LogConfig {
        let mut policies = log.policies.clone();
        policies.push((
            Pattern::Prefix("$presence:".into()),
            Policy {
                retention: self.retention,
                durability: Durability::Memory,
            },
        ));
        LogConfig {
            policies,
            own_topics_max: self.topics_max,
            ..log.clone()
        }
    }
}
