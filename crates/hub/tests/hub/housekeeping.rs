//! What the hub forgets, lists and keeps.

use std::hash::Hash;
use std::time::Duration;

use heartwire_hub::{Connection, History, HubState};
use heartwire_proto::frame::SubFrom;
use heartwire_proto::{Cursor, Offset, Time};

use crate::world::{World, topic};

const DAY: u64 = 24 * 3_600 * 1_000;

fn expire(world: &mut World, day: u64) {
    let now = Time::from_millis(day * DAY);
    while world.hub.expire(now) {}
}

#[test]
fn a_topic_that_is_followed_keeps_its_epoch_however_old_it_grows() {
    let mut world = World::new();
    let reader = world.hub.open_reader(99).unwrap();
    for name in ["followed", "left"] {
        world.publish(name, "only");
    }
    world
        .hub
        .follow(reader, topic("followed"), SubFrom::Tail)
        .unwrap();
    for day in 1..100 {
        expire(&mut world, day);
    }
    let names: Vec<_> = world
        .hub
        .topics(None, 10, world.time())
        .into_iter()
        .map(|info| (info.name.to_string(), info.base, info.end))
        .collect();
    assert_eq!(names, [("followed".to_owned(), Offset(1), Offset(1))]);
    world.hub.leave(reader);
    for day in 100..200 {
        expire(&mut world, day);
    }
    assert!(world.hub.topics(None, 10, world.time()).is_empty());
}

#[test]
fn a_million_things_to_forget_are_forgotten_in_steps() {
    let mut world = World::new();
    for n in 0..3_000 {
        world.publish(&format!("t{n}"), "x");
    }
    let later = Time::from_millis(2 * DAY);
    let mut calls = 1;
    while world.hub.expire(later) {
        calls += 1;
    }
    assert!(calls > 2, "one call does not hold everybody up");
    assert_eq!(world.hub.log().bytes(), 0);
}

#[test]
fn pages_of_history_follow_each_other() {
    let mut world = World::new();
    for n in 1..=7 {
        world.publish("t", &n.to_string());
    }
    let (mut from, mut seen) = (SubFrom::Head, Vec::new());
    loop {
        let page = world.hub.history(topic("t"), from, 3);
        let History::Page {
            messages,
            next,
            has_more,
            ..
        } = page
        else {
            panic!("{page:?}");
        };
        seen.extend(messages.iter().map(|(offset, _)| offset.0));
        from = SubFrom::After(next);
        if !has_more {
            break;
        }
    }
    assert_eq!(seen, (1..=7).collect::<Vec<_>>());
    assert_eq!(
        world.hub.history(topic("u"), SubFrom::Head, 3),
        History::Unknown
    );
}

#[test]
fn history_that_is_gone_says_where_it_begins() {
    let mut config = crate::world::config();
    config.log.policy.retention.count_max = 2;
    let mut world = World::with(config);
    for n in 1..=5 {
        world.publish("t", &n.to_string());
    }
    let epoch = "00000001".parse().unwrap();
    let at = |offset| Cursor::At {
        epoch,
        offset: Offset(offset),
    };
    let gone = world.hub.history(topic("t"), SubFrom::After(at(1)), 10);
    let History::Gone { gap, next } = gone else {
        panic!("{gone:?}")
    };
    assert_eq!(
        (gap.first, gap.last, next),
        (Offset(2), Some(Offset(3)), at(3))
    );
}

#[test]
fn listings_come_in_pages_and_count() {
    let mut world = World::new();
    for n in 0..5 {
        let end = world.open(&format!("client-{n}"), n + 1);
        world.say(end, "sub shared");
        world.say(end, &format!("sub own:{n}"));
    }
    world.publish("shared", "x");
    world.publish("unfollowed", "x");
    let now = world.time();
    let topics = |after: Option<&str>| {
        let after = after.map(topic);
        let infos = world.hub.topics(after, 3, now);
        infos
            .into_iter()
            .map(|info| info.name.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(topics(None), ["own:0", "own:1", "own:2"]);
    assert_eq!(topics(Some("own:2")), ["own:3", "own:4", "shared"]);
    assert_eq!(topics(Some("shared")), ["unfollowed"]);
    let shared = world.hub.topic_info(topic("shared"), now).unwrap();
    assert_eq!((shared.followers, shared.appends_per_ten_seconds), (5, 1));
    let first = world.hub.connections(None, 3, now);
    let rest = world.hub.connections(Some(first[2].id), 10, now);
    assert_eq!((first.len(), rest.len()), (3, 2));
    assert_eq!(rest[1].attempt.0, 5);
    assert_eq!((rest[1].topics, rest[1].lag), (2, 0));
}

#[test]
fn a_client_that_reads_slowly_is_seen_to_lag() {
    let mut world = World::new();
    let end = world.open("slow", 1);
    world.say(end, "sub t");
    world.set_room(end, Some(0));
    for _ in 0..1_000 {
        world.publish("t", &"x".repeat(1_000));
    }
    let lag = world.hub.connections(None, 1, world.time())[0].lag;
    assert!((900..1_000).contains(&lag), "{lag}");
}

#[test]
fn the_round_trip_is_told_with_the_next_ping() {
    let mut world = World::new();
    let end = world.open("ann", 1);
    world.advance(5_000);
    world.advance(70);
    world.say(end, "pong 1");
    world.advance(10_000);
    let info = world.hub.connections(None, 1, world.time()).remove(0);
    assert_eq!(info.round_trip, Some(Duration::from_millis(70)));
}

/// The simulator explores states: it has to compare, hash and copy them.
#[test]
fn states_can_be_told_apart() {
    fn is_a_state<T: Clone + Eq + Hash>() {}
    is_a_state::<HubState<usize>>();
    is_a_state::<Connection>();
    let mut world = World::new();
    world.publish("t", "x");
    let before = world.hub.clone();
    assert!(before == world.hub);
    world.publish("t", "y");
    assert!(before != world.hub);
}
