//! What an identity may do, and what becomes of a connection when that changes.

use std::sync::Arc;
use std::time::Duration;

use heartwire_hub::{Grant, HubConfig, Pattern, SubjectsFull};
use heartwire_proto::{Close, CloseCode, Time};

use crate::world::{World, config};

const FOR_EVER: Time = Time::from_millis(u64::MAX);

fn pattern(text: &str) -> Pattern {
    text.parse().unwrap()
}

fn ann(subscribe: &[&str], publish: &[&str]) -> Grant {
    let grant = Grant::new("ann");
    let grant = subscribe
        .iter()
        .fold(grant, |grant, topics| grant.subscribe(pattern(topics)));
    publish
        .iter()
        .fold(grant, |grant, topics| grant.publish(pattern(topics)))
}

/// A world in which whoever comes has this grant.
fn granting(grant: Grant) -> World {
    let mut world = World::new();
    world.grant = Some(Arc::new(grant));
    world
}

fn kicked() -> Close {
    Close::new(CloseCode::FORBIDDEN, "kicked")
}

fn says(world: &mut World, end: usize, text: &str) -> String {
    world.say(end, text);
    world.take(end).join("|")
}

/// Time passes, and the peer is heard each second.
fn live(world: &mut World, end: usize, millis: u64) {
    for _ in 0..millis / 1_000 {
        world.advance(1_000);
        world.hear(end);
    }
}

#[test]
fn a_topic_outside_the_grant_looks_alike_whether_or_not_it_exists() {
    let mut world = granting(ann(&["task:42"], &["inbox"]));
    world.publish("secret", "x");
    let end = world.open("ann", 1);
    assert_eq!(
        says(&mut world, end, "sub task:42 head"),
        "subbed task:42 0"
    );
    for name in ["secret", "nothing", "$log"] {
        let refused = says(&mut world, end, &format!("sub {name} head"));
        assert_eq!(refused, format!("refused {name} forbidden"));
    }
    assert_eq!(says(&mut world, end, "pub inbox 1\nx"), "ack 1");
    for (seq, name) in [(2, "secret"), (3, "nothing"), (4, "$log")] {
        let refused = says(&mut world, end, &format!("pub {name} {seq}\nx"));
        assert_eq!(refused, format!("nack {seq} forbidden"));
        says(&mut world, end, &format!("skip {seq}"));
    }
}

#[test]
fn the_topics_of_the_url_are_told_as_far_as_they_are_granted() {
    let mut world = granting(ann(&["user:*"], &[]));
    let end = world.connect(&["task:42", "user:7"]);
    world.hello(end, "ann", 1);
    assert!(world.take(end)[0].contains("\"topics\":[\"user:7\"]"));
}

#[test]
fn a_plain_connection_ends_at_what_it_is_not_granted() {
    let mut world = granting(ann(&["task:42"], &["inbox"]));
    let end = world.connect_plain(&["task:42"]);
    assert_eq!(says(&mut world, end, "hello"), "");
    let refused = world.connect_plain(&["task:42", "user:7"]);
    let close = "(close) 4003 the topic user:7 is not granted";
    assert_eq!(world.take(refused), [close]);
    world.grant = Some(Arc::new(ann(&[], &[])));
    let mute = world.connect_plain(&[]);
    let close = "(close) 4003 the topic inbox is not granted";
    assert_eq!(says(&mut world, mute, "hello"), close);
}

#[test]
fn the_end_of_a_grant_ends_the_connection_at_that_moment() {
    let short = ann(&["a"], &[]).valid_for(Duration::from_millis(2_500));
    let mut world = granting(short);
    let v1 = world.open("ann", 1);
    let plain = world.connect_plain(&["a"]);
    world.advance(2_499);
    world.take(v1);
    world.take(plain);
    world.advance(1);
    let bye = "bye 4002 0 HELLO-12: the token has run out";
    assert_eq!(world.take(v1)[0], bye);
    let close = "(close) 4002 HELLO-12: the token has run out";
    assert_eq!(world.take(plain), [close]);
}

#[test]
fn a_fresh_token_lets_the_connection_live_on() {
    let minute = Duration::from_secs(60);
    let mut world = granting(ann(&["a", "b"], &["inbox"]).valid_for(minute));
    let end = world.open("ann", 1);
    for name in ["a", "b"] {
        says(&mut world, end, &format!("sub {name}"));
    }
    live(&mut world, end, 50_000);
    world.take(end);
    world.grant = Some(Arc::new(ann(&["a"], &[]).valid_for(minute)));
    let token = "token {\"token\":\"fresh\"}";
    assert_eq!(says(&mut world, end, token), "ended b forbidden");
    world.publish("b", "unseen");
    world.publish("a", "seen");
    let seen = world.take(end).join("|");
    assert!(seen.contains("seen") && !seen.contains("unseen"), "{seen}");
    live(&mut world, end, 59_000);
    assert!(world.is_open(end));
    live(&mut world, end, 1_000);
    assert!(!world.is_open(end), "it ran out 60 s after the renewal");
}

#[test]
fn a_fresh_token_of_somebody_else_ends_the_connection() {
    let mut world = granting(ann(&["a"], &[]));
    let end = world.open("ann", 1);
    world.grant = Some(Arc::new(Grant::new("bob").subscribe(pattern("a"))));
    let heard = says(&mut world, end, "token {\"token\":\"fresh\"}");
    assert!(heard.starts_with("bye 4003 0 HELLO-12"), "{heard}");
}

#[test]
fn a_server_that_asks_nobody_ignores_tokens() {
    let mut world = World::new();
    let end = world.open("ann", 1);
    assert_eq!(says(&mut world, end, "token {\"token\":\"any\"}"), "");
    assert_eq!(says(&mut world, end, "ping"), "pong");
}

#[test]
fn a_subject_is_kicked_from_all_its_connections_and_kept_out_for_a_time() {
    let mut world = granting(ann(&["a"], &[]));
    let (v1, plain) = (world.open("ann", 1), world.connect_plain(&["a"]));
    world.grant = Some(Arc::new(Grant::new("bob")));
    let bob = world.open("bob", 1);
    let until = Time::from_millis(10_000);
    let now = world.time();
    let closed = world.hub.kick("ann", until, &kicked(), now);
    assert_eq!(closed, Ok(2));
    world.settle();
    assert!(!world.is_open(v1) && !world.is_open(plain) && world.is_open(bob));
    world.grant = Some(Arc::new(ann(&["a"], &[])));
    let again = world.connect(&[]);
    world.hello(again, "ann", 2);
    let bye = "bye 4003 0 this identity is kept out";
    assert_eq!(world.take(again)[0], bye);
    world.advance(10_000);
    world.hub.expire(world.time());
    world.open("ann", 3);
}

#[test]
fn a_kick_without_time_keeps_nobody_out() {
    let mut world = granting(ann(&["a"], &[]));
    let end = world.open("ann", 1);
    let now = world.time();
    assert_eq!(world.hub.kick("ann", now, &kicked(), now), Ok(1));
    world.settle();
    assert!(!world.is_open(end));
    world.open("ann", 2);
    assert_eq!(world.hub.subjects(None, 9), []);
}

#[test]
fn a_topic_is_taken_from_those_who_follow_it_and_stays_so_over_renewals() {
    let mut world = granting(ann(&["news:*"], &["news:*"]));
    let end = world.open("ann", 1);
    let plain = world.connect_plain(&["news:a"]);
    for name in ["news:a", "news:b"] {
        says(&mut world, end, &format!("sub {name}"));
    }
    let ended = world.hub.revoke("ann", &pattern("news:a*"), FOR_EVER);
    assert_eq!(ended, Ok(2));
    world.settle();
    assert_eq!(world.take(end), ["ended news:a forbidden"]);
    let close = "(close) 4003 the topic news:a is not granted";
    assert_eq!(world.take(plain), [close]);
    let token = "token {\"token\":\"fresh\"}";
    assert_eq!(says(&mut world, end, token), "");
    assert_eq!(
        says(&mut world, end, "sub news:a"),
        "refused news:a forbidden"
    );
    assert_eq!(says(&mut world, end, "pub news:a 1\nx"), "nack 1 forbidden");
    world.publish("news:b", "x");
    assert!(world.take(end).join("|").ends_with("\nx"));
    assert!(world.hub.readmit("ann") && !world.hub.readmit("ann"));
    assert_eq!(says(&mut world, end, "sub news:a"), "subbed news:a 0");
}

#[test]
fn what_was_stored_while_it_was_granted_is_acknowledged() {
    let mut world = granting(ann(&[], &["inbox"]));
    let end = world.open("ann", 1);
    assert_eq!(says(&mut world, end, "pub inbox 1\nx"), "ack 1");
    let taken = world.hub.revoke("ann", &pattern("inbox"), FOR_EVER);
    assert_eq!(taken, Ok(0));
    assert_eq!(says(&mut world, end, "pub inbox 1\nx"), "ack 1");
    assert_eq!(says(&mut world, end, "pub inbox 2\nx"), "nack 2 forbidden");
}

#[test]
fn what_is_remembered_of_identities_is_bounded_and_listed() {
    let mut world = World::with(HubConfig {
        subjects_max: 2,
        ..config()
    });
    let now = world.time();
    let mut kick = |subject| world.hub.kick(subject, FOR_EVER, &kicked(), now);
    assert_eq!([kick("b"), kick("a"), kick("b")], [Ok(0); 3]);
    assert_eq!(kick("c"), Err(SubjectsFull));
    let listed = world.hub.subjects(None, 1);
    assert_eq!(&*listed[0].subject, "a");
    let listed = world.hub.subjects(Some("a"), 9);
    assert_eq!(listed.len(), 1);
    for n in 0..64 {
        let taken = world.hub.revoke("a", &pattern(&format!("t{n}")), FOR_EVER);
        assert_eq!(taken, Ok(0));
    }
    let more = world.hub.revoke("a", &pattern("t64"), FOR_EVER);
    assert_eq!(more, Err(SubjectsFull));
}
