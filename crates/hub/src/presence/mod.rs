//! Who is there on a topic: the members, and how they come and go.
//!
//! ```text
//!              comes: join           its last connection ends           is not back in time: leave
//!   (nobody) ─────────────────► Here ────────────────────────► Away ─────────────────────► (nobody)
//!                                ▲ │                            │
//!                                │ │ put out: leave             │ comes back: nothing is told
//!                                │ └─────────► (nobody)         │
//!                                └──────────────────────────────┘
//! ```
//!
//! Whoever unsubscribes is Away until the grace time since its join is over, which mostly it is.
//!
//! A member is somebody who follows the topic over any number of connections: the subject of its
//! token, else its client, else, in plain mode, the connection itself. A machine like any other here:
//! it is told who came and left, and moves when it is [settled](Presence::settle) with the time. A
//! member changes its state only together with the message that tells it: joins and leaves alternate
//! for each, and whoever applies the messages to a list that it was given has the list that is here.

mod config;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use heartwire_proto::frame::Publisher;
use heartwire_proto::id::TopicRef;
use heartwire_proto::{Cursor, Time, TopicName, WallTime};

use crate::connection::Reason;
use crate::state::ConnKey;

pub use config::PresenceConfig;

/// How long a leave waits that could not be told, until it is tried again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Who somebody is on a topic.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum MemberId {
    /// The subject of a token, percent-encoded as in FROM.
    Subject(Arc<str>),
    /// A client that has no token, by what names it to others: its id is a secret `[HELLO-3]`.
    Client(u64),
    /// A plain connection without a token: all that is known of it.
    Connection(ConnKey),
}

impl MemberId {
    /// What sort of name it has.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Subject(_) => "subject",
            Self::Client(_) => "client",
            Self::Connection(_) => "connection",
        }
    }

    /// The name.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Subject(from) => Publisher::parse(from).map_or_else(
                |_| from.to_string(),
                |publisher| publisher.decode().into_owned(),
            ),
            Self::Client(number) => format!("{number:016x}"),
            Self::Connection(key) => key.id().to_string(),
        }
    }
}

/// A member of a topic.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Member {
    /// It has connections that follow the topic.
    Here {
        joined: Joined,
        connections: BTreeSet<ConnKey>,
    },
    /// The last of them has ended. It has left if it is not back by then.
    Away {
        joined: Joined,
        until: Time,
        reason: Reason,
    },
}

/// When a join was told.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Joined {
    at: Time,
    wall: WallTime,
}

/// Everybody on one topic.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
struct Room {
    members: BTreeMap<MemberId, Member>,
    /// How many connections follow the topic whose owners are not among the members.
    unlisted: usize,
}

/// Something that has happened and was not settled yet.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Stir {
    topic: TopicName,
    member: MemberId,
    connection: ConnKey,
    /// Why it left; nothing when it came.
    left: Option<Reason>,
}

/// What is to be told on the presence topic of a topic.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Told {
    Join,
    Leave(Reason),
}

/// What presence has seen, for metrics.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct PresenceCounts {
    /// Joins that were told.
    pub joins: u64,
    /// Members that came back within the grace time, of which nothing was told.
    pub returns: u64,
    /// Leaves that were told, by who decided it and why: the words of [`Reason`].
    pub leaves: BTreeMap<(&'static str, &'static str), u64>,
    /// Connections that came and were not listed, as their topic had as many members as it may.
    pub unlisted_by_topic: u64,
    /// The same, as all topics together had as many members as they may.
    pub unlisted_by_members: u64,
    /// The same, as their join could not be told: there were as many presence topics as there may be.
    pub unlisted_by_topics: u64,
}

impl PresenceCounts {
    /// Connections that came and were not listed, for whatever limit.
    pub const fn unlisted(&self) -> u64 {
        self.unlisted_by_topic + self.unlisted_by_members + self.unlisted_by_topics
    }
}

/// Somebody who is there.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct PresentMember {
    /// Its name.
    pub name: String,
    /// What sort of name that is: `subject`, `client` or `connection`.
    pub kind: &'static str,
    /// Over how many connections; none while it is away within the grace time.
    pub connections: usize,
    /// When its join was told.
    pub since: WallTime,
}

/// Who is there on a topic, at one place of its presence topic.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Attendance {
    /// The place: the list holds what was told up to here, and following from here tells the rest.
    pub cursor: Cursor,
    /// The members, by name.
    pub members: Vec<PresentMember>,
    /// How many connections follow the topic whose owners are not listed, as there was no room.
    pub unlisted: usize,
}

/// Who is there, on all topics.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Presence {
    config: PresenceConfig,
    rooms: BTreeMap<TopicName, Room>,
    /// Until when members may be away.
    due: BTreeSet<(Time, TopicName, MemberId)>,
    /// How many members there are in all rooms.
    members: usize,
    stirs: Vec<Stir>,
    counts: PresenceCounts,
    /// Nothing is told any more: the server stops, and everybody leaves with it.
    has_ended: bool,
}

/// Whom one step concerns.
struct Spot<'a> {
    topic: &'a TopicName,
    member: &'a MemberId,
}

impl Presence {
    pub(crate) fn new(config: PresenceConfig) -> Self {
        Self {
            config,
            rooms: BTreeMap::new(),
            due: BTreeSet::new(),
            members: 0,
            stirs: Vec::new(),
            counts: PresenceCounts::default(),
            has_ended: false,
        }
    }

    pub(crate) const fn config(&self) -> &PresenceConfig {
        &self.config
    }

    pub(crate) const fn counts(&self) -> &PresenceCounts {
        &self.counts
    }

    /// How many topics have somebody there.
    pub(crate) fn rooms_len(&self) -> usize {
        self.rooms.len()
    }

    /// How many members there are on all topics together.
    pub(crate) const fn members_len(&self) -> usize {
        self.members
    }

    /// Nothing is told from here on.
    pub(crate) fn end(&mut self) {
        self.has_ended = true;
        self.stirs = Vec::new();
        self.due.clear();
    }

    /// A connection follows a topic that it did not follow before.
    pub(crate) fn came(&mut self, topic: TopicName, member: MemberId, connection: ConnKey) {
        self.stir(topic, member, connection, None);
    }

    /// A connection follows a topic no longer.
    pub(crate) fn left(
        &mut self,
        topic: TopicName,
        member: MemberId,
        connection: ConnKey,
        reason: Reason,
    ) {
        self.stir(topic, member, connection, Some(reason));
    }

    fn stir(
        &mut self,
        topic: TopicName,
        member: MemberId,
        connection: ConnKey,
        left: Option<Reason>,
    ) {
        if !self.has_ended {
            self.stirs.push(Stir {
                topic,
                member,
                connection,
                left,
            });
        }
    }

    /// Whether something has happened that was not settled.
    pub(crate) fn has_stirred(&self) -> bool {
        !self.stirs.is_empty()
    }

    /// When a leave is due if nobody comes back.
    pub(crate) fn deadline(&self) -> Option<Time> {
        self.due.first().map(|(due, ..)| *due)
    }

    /// Takes what has happened, and at most `leaves_max` members whose time is over. `tell` says it on
    /// the topic's presence topic; where it cannot, a join is no join, and a leave is tried again
    /// later. Returns whether more are due.
    pub(crate) fn settle(
        &mut self,
        (now, wall): (Time, WallTime),
        leaves_max: usize,
        tell: &mut impl FnMut(&TopicName, &MemberId, Told) -> bool,
    ) -> bool {
        for stir in std::mem::take(&mut self.stirs) {
            let spot = Spot {
                topic: &stir.topic,
                member: &stir.member,
            };
            match stir.left {
                None => self.enter(&spot, stir.connection, Joined { at: now, wall }, tell),
                Some(reason) => self.exit(&spot, stir.connection, reason, now, tell),
            }
            self.tidy(spot.topic);
        }
        for _ in 0..leaves_max {
            if self.deadline().is_none_or(|due| due > now) {
                return false;
            }
            if let Some((_, topic, member)) = self.due.pop_first() {
                let spot = Spot {
                    topic: &topic,
                    member: &member,
                };
                self.leave(&spot, now, tell);
                self.tidy(&topic);
            }
        }
        self.deadline().is_some_and(|due| due <= now)
    }

    fn enter(
        &mut self,
        spot: &Spot<'_>,
        connection: ConnKey,
        now: Joined,
        tell: &mut impl FnMut(&TopicName, &MemberId, Told) -> bool,
    ) {
        let room = self.rooms.entry(spot.topic.clone()).or_default();
        let here = |joined| Member::Here {
            joined,
            connections: BTreeSet::from([connection]),
        };
        match room.members.get_mut(spot.member) {
            Some(Member::Here { connections, .. }) => {
                connections.insert(connection);
                return;
            }
            Some(member @ &mut Member::Away { joined, until, .. }) => {
                self.due
                    .remove(&(until, spot.topic.clone(), spot.member.clone()));
                *member = here(joined);
                self.counts.returns += 1;
                return;
            }
            None => {}
        }
        let unlisted = if room.members.len() >= self.config.members_per_topic_max {
            &mut self.counts.unlisted_by_topic
        } else if self.members >= self.config.members_max {
            &mut self.counts.unlisted_by_members
        } else if !tell(spot.topic, spot.member, Told::Join) {
            &mut self.counts.unlisted_by_topics
        } else {
            room.members.insert(spot.member.clone(), here(now));
            self.members += 1;
            self.counts.joins += 1;
            return;
        };
        *unlisted += 1;
        room.unlisted += 1;
    }

    fn exit(
        &mut self,
        spot: &Spot<'_>,
        connection: ConnKey,
        reason: Reason,
        now: Time,
        tell: &mut impl FnMut(&TopicName, &MemberId, Told) -> bool,
    ) {
        let Some(room) = self.rooms.get_mut(spot.topic) else {
            return;
        };
        let listed = match room.members.get_mut(spot.member) {
            Some(Member::Here {
                joined,
                connections,
            }) => connections
                .remove(&connection)
                .then_some((*joined, connections.is_empty())),
            Some(Member::Away { .. }) | None => None,
        };
        let Some((joined, is_last)) = listed else {
            room.unlisted = room.unlisted.saturating_sub(1);
            return;
        };
        if !is_last {
            return;
        }
        let until = self.config.waits_until(joined.at, reason, now);
        let away = Member::Away {
            joined,
            until,
            reason,
        };
        room.members.insert(spot.member.clone(), away);
        if until <= now {
            self.leave(spot, now, tell);
        } else {
            self.due
                .insert((until, spot.topic.clone(), spot.member.clone()));
        }
    }

    /// A member that is away, and is not waited for, has left.
    fn leave(
        &mut self,
        spot: &Spot<'_>,
        now: Time,
        tell: &mut impl FnMut(&TopicName, &MemberId, Told) -> bool,
    ) {
        let room = self.rooms.get_mut(spot.topic);
        let Some(room) = room else {
            return;
        };
        let Some(Member::Away { until, reason, .. }) = room.members.get_mut(spot.member) else {
            return;
        };
        let reason = *reason;
        if !tell(spot.topic, spot.member, Told::Leave(reason)) {
            *until = now + AGAIN_AFTER;
            self.due
                .insert((*until, spot.topic.clone(), spot.member.clone()));
            return;
        }
        room.members.remove(spot.member);
        self.members -= 1;
        let (by, name) = reason;
        *self.counts.leaves.entry((by.as_str(), name)).or_default() += 1;
    }

    /// Forgets a topic with nobody.
    fn tidy(&mut self, topic: &TopicName) {
        let room = self.rooms.get(topic);
        if room.is_some_and(|room| room.members.is_empty() && room.unlisted == 0) {
            self.rooms.remove(topic);
        }
    }

    /// Who is there on a topic, and how many more connections.
    pub(crate) fn present(&self, topic: TopicRef<'_>) -> (Vec<PresentMember>, usize) {
        let Some(room) = self.rooms.get(topic.as_str()) else {
            return (Vec::new(), 0);
        };
        let members = room.members.iter().map(|(id, member)| {
            let (since, connections) = match member {
                Member::Here {
                    joined,
                    connections,
                } => (joined.wall, connections.len()),
                Member::Away { joined, .. } => (joined.wall, 0),
            };
            PresentMember {
                name: id.name(),
                kind: id.kind(),
                connections,
                since,
            }
        });
        (members.collect(), room.unlisted)
    }
}
