//! Members against a model of themselves, under random comings and goings.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use heartwire_proto::{Time, TopicName, WallTime};
use proptest::prelude::*;

use super::{MemberId, Presence, PresenceConfig, Told};
use crate::connection::{HUNG_UP, UNSUBSCRIBED};
use crate::state::ConnKey;

const GRACE_MS: u64 = 10_000;

#[derive(Clone, Debug)]
enum Op {
    /// A connection of this member follows this topic.
    Come { member: u64, topic: usize },
    /// One of those that do ends, or asks to follow it no longer.
    Go { which: usize, is_final: bool },
    /// What happened is settled, so long after.
    Wait { ms: u64 },
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let come = (0..4_u64, 0..2_usize).prop_map(|(member, topic)| Op::Come { member, topic });
    let go =
        (any::<usize>(), any::<bool>()).prop_map(|(which, is_final)| Op::Go { which, is_final });
    let wait = prop_oneof![
        Just(0),
        Just(1),
        0..GRACE_MS,
        Just(GRACE_MS),
        Just(2 * GRACE_MS)
    ]
    .prop_map(|ms| Op::Wait { ms });
    proptest::collection::vec(prop_oneof![3 => come, 3 => go, 4 => wait], 1..120)
}

/// The machine, what it was told, and what it has told.
struct World {
    presence: Presence,
    now: u64,
    opened: u64,
    /// Connections that follow a topic, in the order in which they came.
    live: Vec<(TopicName, MemberId, ConnKey)>,
    /// Until when members are waited for whose last connection has ended.
    until: BTreeMap<(TopicName, MemberId), u64>,
    /// Who is there, by what was told, and since when.
    told: BTreeMap<(TopicName, MemberId), u64>,
    /// Every so many times nothing can be told.
    fails_each: Option<u64>,
    tellings: u64,
}

impl World {
    fn new(config: PresenceConfig, fails_each: Option<u64>) -> Self {
        Self {
            presence: Presence::new(config),
            now: 0,
            opened: 0,
            live: Vec::new(),
            until: BTreeMap::new(),
            told: BTreeMap::new(),
            fails_each,
            tellings: 0,
        }
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Come { member, topic } => {
                self.opened += 1;
                let connection = ConnKey::from_id(format!("c{}", self.opened).parse().unwrap());
                let topic: TopicName = ["a", "b"][*topic].parse().unwrap();
                let (member, connection) = (MemberId::Client(*member), connection.unwrap());
                self.presence
                    .came(topic.clone(), member.clone(), connection);
                self.until.remove(&(topic.clone(), member.clone()));
                self.live.push((topic, member, connection));
            }
            Op::Go { which, is_final } => {
                if self.live.is_empty() {
                    return;
                }
                let (topic, member, connection) = self.live.remove(which % self.live.len());
                let reason = if *is_final { UNSUBSCRIBED } else { HUNG_UP };
                self.presence
                    .left(topic.clone(), member.clone(), connection, reason);
                let spot = (topic, member);
                let is_last = !self
                    .live
                    .iter()
                    .any(|(t, m, _)| (t, m) == (&spot.0, &spot.1));
                let joined_at = self.told.get(&spot).copied();
                if let Some(joined_at) = joined_at.filter(|_| is_last) {
                    let from = if *is_final { joined_at } else { self.now };
                    self.until.insert(spot, from + GRACE_MS);
                }
            }
            Op::Wait { ms } => {
                // What has happened is settled with the time at which it did.
                self.settle();
                self.now += ms;
                self.settle();
            }
        }
    }

    fn settle(&mut self) {
        let Self {
            presence,
            told,
            tellings,
            ..
        } = self;
        let (fails_each, at) = (self.fails_each, self.now);
        let now = (
            Time::from_millis(self.now),
            WallTime::from_unix_millis(self.now),
        );
        let mut tell = |topic: &TopicName, member: &MemberId, what: Told| {
            *tellings += 1;
            if fails_each.is_some_and(|each| *tellings % each == 0) {
                return false;
            }
            let spot = (topic.clone(), member.clone());
            let alternates = match what {
                Told::Join => told.insert(spot, at).is_none(),
                Told::Leave(_) => told.remove(&spot).is_some(),
            };
            assert!(alternates, "{member:?} on {topic}: {what:?} once more");
            true
        };
        while presence.settle(now, 2, &mut tell) {}
    }

    /// Who is listed on a topic, over how many connections.
    fn listed(&self, topic: &TopicName) -> (BTreeSet<String>, usize) {
        let (members, unlisted) = self.presence.present(topic.as_topic());
        let connections: usize = members.iter().map(|member| member.connections).sum();
        let names = members.into_iter().map(|member| member.name);
        (names.collect(), connections + unlisted)
    }

    /// Whoever applied what was told has the list that is here, and nobody is forgotten.
    fn check_lists(&self) {
        let mut members = 0;
        for name in ["a", "b"] {
            let topic: TopicName = name.parse().unwrap();
            let (listed, connections) = self.listed(&topic);
            let told = self.told.keys().filter(|(t, _)| *t == topic);
            let told: BTreeSet<String> = told.map(|(_, member)| member.name()).collect();
            assert_eq!(listed, told, "{topic}");
            let live = self.live.iter().filter(|(t, ..)| *t == topic).count();
            assert_eq!(connections, live, "{topic}");
            members += listed.len();
        }
        assert_eq!(self.presence.members_len(), members);
    }

    /// There is whoever has a connection, or had one a moment ago, and nobody else.
    fn check_present(&self) {
        let live = self.live.iter().map(|(t, m, _)| (t.clone(), m.clone()));
        let away = self.until.iter();
        let away = away.filter(|(_, until)| self.now < **until);
        let away = away.map(|(spot, _)| spot.clone());
        let expected: BTreeSet<_> = live.chain(away).collect();
        let told: BTreeSet<_> = self.told.keys().cloned().collect();
        assert_eq!(told, expected, "at {}", self.now);
    }
}

fn config() -> PresenceConfig {
    PresenceConfig {
        grace: Duration::from_millis(GRACE_MS),
        ..PresenceConfig::default()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_member_is_there_while_it_has_a_connection_or_had_one_within_the_grace_time(ops in ops()) {
        let mut world = World::new(config(), None);
        for op in &ops {
            world.apply(op);
            // At once, so that the model knows as well since when a member is there.
            world.settle();
            world.check_present();
            world.check_lists();
        }
    }

    #[test]
    fn limits_and_failures_keep_the_list_true(ops in ops(), each in 2..5_u64, max in 1..4_usize) {
        let tight = PresenceConfig { members_per_topic_max: 2, members_max: max, ..config() };
        let mut world = World::new(tight, Some(each));
        for op in &ops {
            world.apply(op);
            if matches!(op, Op::Wait { .. }) {
                world.check_lists();
                prop_assert!(world.told.len() <= max);
            }
        }
    }

    #[test]
    fn when_all_have_gone_nothing_is_kept(ops in ops()) {
        let mut world = World::new(config(), None);
        for op in &ops {
            world.apply(op);
        }
        while !world.live.is_empty() {
            world.apply(&Op::Go { which: 0, is_final: false });
        }
        world.apply(&Op::Wait { ms: GRACE_MS });
        prop_assert!(world.told.is_empty());
        prop_assert_eq!(world.presence.rooms_len(), 0);
        prop_assert_eq!(world.presence.deadline(), None);
    }
}
