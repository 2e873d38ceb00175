//! What is live, and what was said: the answers of the HTTP API.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use heartwire_log::{Entry, TopicLog};
use heartwire_proto::frame::{Gap, Publisher, SubFrom};
use heartwire_proto::id::TopicRef;
use heartwire_proto::{Attempt, ConnectionId, Cursor, Epoch, Offset, Time, TopicName};

use super::{ConnKey, HubState, Mode, Record, Role, Who, deliver};

/// How much one page of history holds at most, in bytes.
const PAGE_BYTES_MAX: usize = 4 << 20;

/// How much of a topic is read at once.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PageLimits {
    /// How many messages.
    pub count_max: usize,
    /// About how many bytes of memory: the message that goes over it is the last.
    pub bytes_max: usize,
}

/// A topic, as operators see it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct TopicInfo {
    /// Its name.
    pub name: TopicName,
    /// Its epoch; `None` when it is followed but was never published to.
    pub epoch: Option<Epoch>,
    /// The last offset trimmed.
    pub base: Offset,
    /// The last offset that is durable.
    pub end: Offset,
    /// What it takes of memory, in bytes.
    pub bytes: usize,
    /// What it takes of the disk, in bytes.
    pub disk_bytes: u64,
    /// How many connections and readers follow it.
    pub followers: usize,
    /// Messages appended in the last ten seconds.
    pub appends_per_ten_seconds: u32,
}

/// A connection, as operators see it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ConnectionInfo {
    /// Its name.
    pub id: ConnectionId,
    /// How it speaks.
    pub mode: Mode,
    /// Who it is.
    pub identity: Option<String>,
    /// Which dial of its client it is; 0 in plain mode.
    pub attempt: Attempt,
    /// Its program.
    pub agent: Arc<str>,
    /// Where it comes from.
    pub address: Option<SocketAddr>,
    /// Since when it is open.
    pub age: Duration,
    /// Its latest round trip, once it has answered a ping. Told with the next ping, so that it
    /// may be one interval old.
    pub round_trip: Option<Duration>,
    /// How many topics it follows.
    pub topics: usize,
    /// How many messages lie between its cursors and the topics' ends.
    pub lag: u64,
    /// How long after it joined it last asked for a topic; nothing if it never did, or only more
    /// than 49 days after.
    pub asked_after: Option<Duration>,
}

/// What a connection follows, in numbers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Following {
    topics: usize,
    lag: u64,
    asked_after_ms: u32,
}

/// A topic that a connection follows.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Followed {
    /// The topic.
    pub topic: TopicName,
    /// The last message that was sent.
    pub sent: Offset,
    /// The topic's durable end.
    pub end: Offset,
}

/// A page of a topic's messages.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum History {
    /// Nothing was ever published to the topic.
    Unknown,
    /// What the cursor named is gone.
    Gone {
        /// What is missing.
        gap: Gap,
        /// Behind the gap: where `sub` with the same cursor begins.
        next: Cursor,
    },
    /// The messages are being read back from disk: ask again when something has been
    /// [loaded](HubState::loaded).
    Cold,
    /// Messages, oldest first.
    Page {
        /// The epoch of their offsets.
        epoch: Epoch,
        /// After this cursor lies the oldest message retained.
        first: Cursor,
        /// The messages.
        messages: Vec<(Offset, Entry)>,
        /// Where the next page begins: after the last of the messages.
        next: Cursor,
        /// Whether there are more.
        has_more: bool,
    },
}

impl<H: Clone> HubState<H> {
    /// At most `count_max` messages of a topic, and about 4 MiB.
    pub fn history(&mut self, topic: TopicRef<'_>, from: SubFrom, count_max: usize) -> History {
        let limits = PageLimits {
            count_max,
            bytes_max: PAGE_BYTES_MAX,
        };
        self.page(topic, from, limits)
    }

    /// Messages of a topic, within limits.
    pub fn page(&mut self, topic: TopicRef<'_>, from: SubFrom, limits: PageLimits) -> History {
        let PageLimits {
            count_max,
            bytes_max,
        } = limits;
        let Some((id, held)) = self
            .log
            .find(topic)
            .and_then(|id| Some((id, self.log.topic(id)?)))
        else {
            return History::Unknown;
        };
        let (epoch, end, first) = (held.epoch(), held.end(), held.cursor(held.base()));
        let start = held.start(from);
        if let Some(gap) = start.gap {
            let next = start.cursor;
            return History::Gone { gap, next };
        }
        let mut messages = Vec::new();
        let (mut bytes, mut lost) = (0, None);
        let read = self.log.read(id, start.cursor.offset(), |offset, entry| {
            let Some(entry) = entry else {
                lost = Some(offset);
                return false;
            };
            if messages.len() >= count_max || bytes >= bytes_max {
                return false;
            }
            bytes += entry.memory_bytes();
            messages.push((offset, entry.clone()));
            true
        });
        let Some(read) = read else {
            return History::Unknown;
        };
        let at = |offset| Cursor::At { epoch, offset };
        match lost.filter(|_| messages.is_empty()) {
            Some(offset) => History::Gone {
                gap: deliver::lost(epoch, offset),
                next: at(offset),
            },
            None if read.is_cold && messages.len() < count_max && bytes < bytes_max => {
                History::Cold
            }
            None => History::Page {
                epoch,
                first,
                messages,
                next: at(read.last),
                has_more: read.last < end,
            },
        }
    }

    /// One topic, if it exists or is followed.
    pub fn topic_info(&self, topic: TopicRef<'_>, now: Time) -> Option<TopicInfo> {
        let held = self.log.find(topic).and_then(|id| self.log.topic(id));
        let number = self.names.get(topic.as_str());
        let followed = number.and_then(|number| self.topics.at(*number));
        if held.is_none() && followed.is_none() {
            return None;
        }
        Some(TopicInfo {
            name: topic.to_name(),
            epoch: held.map(TopicLog::epoch),
            base: held.map_or(Offset::ZERO, TopicLog::base),
            end: held.map_or(Offset::ZERO, TopicLog::end),
            bytes: held.map_or(0, TopicLog::bytes),
            disk_bytes: held.map_or(0, TopicLog::disk_bytes),
            followers: followed.map_or(0, |topic| topic.followers.len()),
            appends_per_ten_seconds: held.map_or(0, |topic| topic.appends_per_ten_seconds(now)),
        })
    }

    /// Topics that exist or are followed, in the order of their names, after `after`.
    pub fn topics(
        &self,
        after: Option<TopicRef<'_>>,
        count_max: usize,
        now: Time,
    ) -> Vec<TopicInfo> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, |name| Excluded(name.as_str()));
        let followed = self.names.range::<str, _>((from, Unbounded));
        let mut names: Vec<TopicRef<'_>> = followed
            .take(count_max)
            .map(|(name, _)| name.as_topic())
            .collect();
        let held = self.log.topics_after(after).take(count_max);
        names.extend(held.map(|(_, topic)| topic.name().as_topic()));
        names.sort_unstable();
        names.dedup();
        names.truncate(count_max);
        let infos = names.into_iter().map(|name| self.topic_info(name, now));
        infos.flatten().collect()
    }

    /// Connections in the order of their places, after `after`.
    pub fn connections(
        &self,
        after: Option<ConnectionId>,
        count_max: usize,
        now: Time,
    ) -> Vec<ConnectionInfo> {
        let after = after.and_then(ConnKey::from_id);
        let start = after.map_or(0, |key| key.0.index().saturating_add(1));
        let records = self.records.iter_from(start);
        let infos = records.filter_map(|(key, record)| self.info(ConnKey(key), record, now));
        infos.take(count_max).collect()
    }

    /// One connection.
    pub fn connection_info(&self, id: ConnectionId, now: Time) -> Option<ConnectionInfo> {
        let key = ConnKey::from_id(id)?;
        self.info(key, self.records.get(key.0)?, now)
    }

    fn info(&self, key: ConnKey, record: &Record<H>, now: Time) -> Option<ConnectionInfo> {
        let who = record.who.as_ref()?;
        Some(describe(key, who, now, self.following(record)))
    }

    /// What is known of a connection that is there or was removed and has not left yet: itself, and
    /// some of the topics that it follows.
    pub fn departing(&self, key: ConnKey, now: Time) -> Option<(ConnectionInfo, Vec<Followed>)> {
        if let Some(record) = self.records.get(key.0) {
            return Some((self.info(key, record, now)?, self.followed(record)));
        }
        let evicted = self.evicted.get(&key)?;
        let who = evicted.who.as_deref()?;
        let info = describe(key, who, now, evicted.following);
        Some((info, evicted.followed.clone()))
    }

    /// The handle of a connection, to be asked for what only its driver knows.
    pub fn handle(&self, id: ConnectionId) -> Option<H> {
        let record = self.records.get(ConnKey::from_id(id)?.0)?;
        record.who.as_ref().map(|_| record.handle.clone())
    }

    pub(super) fn following(&self, record: &Record<H>) -> Following {
        Following {
            topics: record.follows.len(),
            lag: self.lag(record),
            asked_after_ms: record.asked_after_ms,
        }
    }

    pub(super) fn followed(&self, record: &Record<H>) -> Vec<Followed> {
        let told = record.follows.iter().take(self.config.topics_told_max);
        let followed = told.filter_map(|follow| {
            let topic = self.topics.at(follow.topic)?;
            let held = topic.id.and_then(|id| self.log.topic(id));
            Some(Followed {
                topic: topic.name.clone(),
                sent: Offset(follow.offset),
                end: held.map_or(Offset::ZERO, TopicLog::end),
            })
        });
        followed.collect()
    }
}

fn describe(key: ConnKey, who: &Who, now: Time, following: Following) -> ConnectionInfo {
    let from = who.from().and_then(|from| Publisher::parse(from).ok());
    let has_answered = who.rtt_ms != u32::MAX;
    ConnectionInfo {
        id: key.id(),
        mode: match who.role {
            Role::V1 { .. } => Mode::V1,
            Role::Plain => Mode::Plain,
        },
        identity: from.map(|from| from.decode().into_owned()),
        attempt: who.role.attempt(),
        agent: who.agent.clone(),
        address: who.ip.map(|ip| SocketAddr::new(ip, who.port)),
        age: now.since(who.opened_at),
        round_trip: has_answered.then(|| Duration::from_millis(who.rtt_ms.into())),
        topics: following.topics,
        lag: following.lag,
        asked_after: (following.asked_after_ms != u32::MAX)
            .then(|| Duration::from_millis(following.asked_after_ms.into())),
    }
}
