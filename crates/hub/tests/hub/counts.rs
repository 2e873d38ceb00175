//! What operators are told: counts, lag, and what a connection was.

use std::time::Duration;

use heartwire_hub::{Death, HubConfig, LagPart, Side};
use heartwire_proto::{Limits, Time};

use crate::world::{World, heartbeat};

#[test]
fn who_is_there_and_who_took_over_is_counted() {
    let mut world = World::new();
    world.open("ann", 1);
    let plain = world.connect_plain(&["a"]);
    world.open("ann", 2);
    let stale = world.connect(&[]);
    world.hello(stale, "ann", 1);
    let counts = *world.hub.counts();
    assert_eq!((counts.present.v1, counts.present.plain), (1, 1));
    assert_eq!(
        (counts.takeovers, counts.reconnects, counts.stale_dials),
        (1, 1, 1)
    );
    world.drop_end(plain);
    assert_eq!(world.hub.counts().present.plain, 0);
}

#[test]
fn a_publish_that_failed_is_counted_as_accepted_and_as_failed() {
    use heartwire_hub::Outcome;
    let mut world = World::new();
    let end = world.open("ann", 1);
    world.gate_is_held = true;
    world.say(end, "pub a 1\nx");
    world.fail();
    let publishes = world.hub.counts().publishes;
    assert_eq!(publishes.of(Outcome::Accepted), 1);
    assert_eq!(publishes.of(Outcome::Failed), 1);
}

#[test]
fn lag_is_looked_at_in_parts_that_meet() {
    let mut world = World::new();
    for (client, topics) in [("ann", 3), ("bob", 0), ("cat", 2)] {
        let end = world.open(client, 1);
        world.set_room(end, Some(0));
        for topic in 0..topics {
            world.say(end, &format!("sub topic:{topic}"));
        }
    }
    for round in 0..4 {
        let big = "x".repeat(70_000);
        world.publish("topic:0", &big);
        if round == 0 {
            world.publish("topic:1", &big);
        }
    }
    let whole = world.hub.lag_from(0, usize::MAX);
    assert_eq!((whole.looked_at, whole.next), (5, None));
    assert!(whole.max >= 2 && whole.sum > whole.max, "{whole:?}");
    let mut parts = LagPart::default();
    let mut place = Some(0);
    while let Some(from) = place {
        let part = world.hub.lag_from(from, 1);
        parts.looked_at += part.looked_at;
        parts.sum += part.sum;
        parts.max = parts.max.max(part.max);
        place = part.next;
    }
    assert_eq!(parts, whole);
}

#[test]
fn a_connection_that_was_removed_can_be_described_until_it_has_left() {
    let mut world = World::new();
    let end = world.open("ann", 4);
    world.say(end, "sub a");
    let key = world.ends[end].connection.as_ref().unwrap().key().unwrap();
    world.operator_closes(end);
    let (info, followed) = world.hub.departing(key, world.time()).unwrap();
    assert_eq!((info.id, info.attempt.0, info.topics), (key.id(), 4, 1));
    assert_eq!(followed[0].topic.as_str(), "a");
    assert_eq!(world.hub.connection_info(key.id(), world.time()), None);
    world.drop_end(end);
    assert_eq!(world.hub.departing(key, world.time()), None);
}

#[test]
fn a_verdict_keeps_what_led_to_it() {
    let config = HubConfig::new(Limits::default(), heartbeat(1_000, 1_000));
    let mut world = World::with(config);
    world.random = u64::MAX;
    let end = world.open("ann", 1);
    world.advance(1_500);
    let mut connection = world.ends[end].connection.take().unwrap();
    let asked = connection.life().ping.unwrap();
    assert_eq!(asked.at, Time::from_millis(1_000));
    assert_eq!(asked.written_at, Some(asked.at));
    assert_eq!(asked.due_at, Some(Time::from_millis(2_000)));

    assert!(connection.judge(Time::from_millis(2_000)));
    let verdict = connection.ended().unwrap();
    assert_eq!(
        (verdict.by, verdict.at),
        (Side::Server, Time::from_millis(2_000))
    );
    let silent_for = Duration::from_secs(2);
    assert_eq!(verdict.death, Some((Death::Silence, silent_for)));
    let life = connection.life();
    assert_eq!((life.heard_at, life.ping), (Some(Time::ZERO), Some(asked)));
    assert_eq!(life.blocked_since, None);
}

#[test]
fn output_that_does_not_leave_shows_in_what_is_told() {
    let config = HubConfig::new(Limits::default(), heartbeat(1_000, 1_000));
    let mut world = World::with(config);
    world.random = u64::MAX;
    let end = world.open("ann", 1);
    world.set_room(end, Some(0));
    world.advance(1_200);
    let connection = world.ends[end].connection.as_ref().unwrap();
    let life = connection.life();
    assert_eq!(life.blocked_since, Some(Time::from_millis(1_000)));
    assert_eq!(life.ping.unwrap().written_at, None);
    assert!(life.unwritten_bytes > 0);
}
