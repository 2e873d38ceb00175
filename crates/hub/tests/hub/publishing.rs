//! Publishing over connections that fail: stored once, in order, and never acknowledged early.

use crate::world::{World, topic};
use heartwire_hub::History;
use heartwire_proto::frame::SubFrom;
use heartwire_proto::{Limits, Time};

fn stored(world: &mut World, name: &str) -> Vec<String> {
    match world.hub.history(topic(name), SubFrom::Head, 1_000) {
        History::Page { messages, .. } => messages
            .iter()
            .map(|(_, entry)| String::from_utf8(entry.payload().as_bytes().to_vec()).unwrap())
            .collect(),
        _ => Vec::new(),
    }
}

#[test]
fn a_reconnect_while_a_commit_is_held_open_stores_nothing_twice() {
    let mut world = World::new();
    let first = world.open("ann", 1);
    world.gate_is_held = true;
    world.say(first, "pub inbox 1\none");
    world.say(first, "pub inbox 2\ntwo");
    assert!(world.take(first).is_empty(), "nothing is durable yet");
    world.drop_end(first);

    let second = world.connect(&[]);
    world.hello(second, "ann", 2);
    let welcome = world.take(second).remove(0);
    assert!(
        welcome.contains(r#""acked":0,"producer_known":true"#),
        "{welcome}"
    );
    world.say(second, "pub inbox 1\none");
    world.say(second, "pub inbox 2\ntwo");
    world.say(second, "pub inbox 3\nthree");
    assert!(world.take(second).is_empty());
    world.release();
    assert_eq!(world.take(second), ["ack 3"]);
    assert_eq!(stored(&mut world, "inbox"), ["one", "two", "three"]);
}

#[test]
fn a_refused_publish_stops_what_was_pipelined_behind_it_until_it_is_resent_or_skipped() {
    let limits = Limits {
        message_bytes_max: 10,
        ..Limits::default()
    };
    let mut world = World::with_limits(limits);
    let end = world.open("ann", 1);
    world.say(end, "pub inbox 1\none");
    world.say(end, "pub inbox 2\nmuch too long");
    world.say(end, "pub inbox 3\nthree");
    world.say(end, "pub inbox 4\nfour");
    assert_eq!(world.take(end), ["ack 1", "nack 2 too-large"]);
    assert_eq!(stored(&mut world, "inbox"), ["one"]);
    world.say(end, "pub inbox 2\nshorter");
    world.say(end, "pub inbox 3\nthree");
    assert_eq!(world.take(end), ["ack 2", "ack 3"]);

    world.say(end, "pub $server 4\nfour");
    world.say(end, "pub inbox 5\nfive");
    world.say(end, "skip 4");
    world.say(end, "pub inbox 5\nfive");
    assert_eq!(world.take(end), ["nack 4 bad-topic", "ack 4", "ack 5"]);
    assert_eq!(
        stored(&mut world, "inbox"),
        ["one", "shorter", "three", "five"]
    );
}

#[test]
fn when_an_append_fails_all_later_ones_of_that_producer_fail_and_the_lowest_is_named() {
    let mut world = World::new();
    let (ann, bob) = (world.open("ann", 1), world.open("bob", 1));
    world.say(ann, "pub inbox 1\nbefore");
    world.gate_is_held = true;
    for seq in 2..5 {
        world.say(ann, &format!("pub inbox {seq}\nann {seq}"));
    }
    world.say(bob, "pub inbox 1\nbob");
    world.fail();
    assert_eq!(world.take(ann), ["ack 1", "nack 2 unavailable 1000"]);
    assert_eq!(world.take(bob), ["nack 1 unavailable 1000"]);
    assert_eq!(stored(&mut world, "inbox"), ["before"]);
    world.say(ann, "pub inbox 5\nstill pipelined");
    for seq in 2..6 {
        world.say(ann, &format!("pub inbox {seq}\nagain {seq}"));
    }
    assert_eq!(world.take(ann).last().unwrap(), "ack 5");
    assert_eq!(
        stored(&mut world, "inbox"),
        ["before", "again 2", "again 3", "again 4", "again 5"]
    );
}

#[test]
fn a_failure_reaches_whoever_resumed_the_client_meanwhile() {
    let mut world = World::new();
    let first = world.open("ann", 1);
    world.gate_is_held = true;
    world.say(first, "pub inbox 1\none");
    world.say(first, "pub inbox 2\ntwo");
    let second = world.open("ann", 2);
    world.say(second, "pub inbox 1\none");
    world.fail();
    // The second was resent after the failure, before its nack was read.
    world.say(second, "pub inbox 2\ntwo");
    assert_eq!(world.take(second), ["nack 1 unavailable 1000"]);
    world.say(second, "pub inbox 1\none");
    world.say(second, "pub inbox 2\ntwo");
    assert_eq!(world.take(second), ["ack 1", "ack 2"]);
    assert_eq!(stored(&mut world, "inbox"), ["one", "two"]);
}

#[test]
fn a_failure_that_is_not_read_yet_stops_the_next_publish_all_the_same() {
    let mut world = World::new();
    let ann = world.open("ann", 1);
    world.say(ann, "sub busy");
    world.take(ann);
    world.set_room(ann, Some(0));
    for _ in 0..100 {
        world.publish("busy", &"x".repeat(1_000));
    }
    // So much stands before it that the nack is not even put behind it.
    world.gate_is_held = true;
    world.say(ann, "pub inbox 1\none");
    world.fail();
    world.say(ann, "pub inbox 2\ntwo");
    world.say(ann, "skip 2");
    world.set_room(ann, None);
    let frames = world.take(ann);
    let answers: Vec<_> = frames.iter().filter(|f| f.contains("ack")).collect();
    assert_eq!(answers, ["nack 1 unavailable 1000"]);
    assert!(stored(&mut world, "inbox").is_empty());
}

#[test]
fn a_skip_is_acknowledged_in_its_turn() {
    let mut world = World::new();
    let ann = world.open("ann", 1);
    world.gate_is_held = true;
    world.say(ann, "pub inbox 1\none");
    world.say(ann, "pub $server 2\ntwo");
    world.say(ann, "skip 2");
    assert_eq!(
        world.take(ann),
        ["nack 2 bad-topic"],
        "1 is not durable, so 2 is not given up"
    );
    world.release();
    assert_eq!(world.take(ann), ["ack 2"]);
    let again = world.connect(&[]);
    world.hello(again, "ann", 2);
    assert!(world.take(again).remove(0).contains(r#""acked":2"#));
}

#[test]
fn a_skip_of_something_else_breaks_the_rule() {
    let mut world = World::new();
    let ann = world.open("ann", 1);
    world.say(ann, "pub inbox 1\none");
    world.say(ann, "skip 1");
    assert_eq!(world.take(ann), ["ack 1", "ack 1"]);
    world.say(ann, "skip 2");
    let [bye, close] = &world.take(ann)[..] else {
        panic!("it was not closed")
    };
    assert!(bye.starts_with("bye 4000 0 PUB-7: "), "{bye}");
    assert!(close.starts_with("(close) 4000 PUB-7: "), "{close}");
}

#[test]
fn numbers_may_be_left_out_and_begin_anywhere() {
    let limits = Limits {
        unacked_max: 10,
        ..Limits::default()
    };
    let mut world = World::with_limits(limits);
    let ann = world.open("ann", 1);
    world.say(ann, "pub inbox 500\nan unknown producer begins anywhere");
    world.say(ann, "pub inbox 510\nten above");
    world.say(ann, "pub inbox 521\neleven above");
    world.say(ann, "pub inbox 9007199254740991\nthe highest there is");
    let acks = ["ack 500", "ack 510", "ack 521", "ack 9007199254740991"];
    assert_eq!(world.take(ann), acks);
    assert_eq!(stored(&mut world, "inbox").len(), 4);
}

#[test]
fn what_is_beyond_the_window_is_refused_for_the_moment_and_its_sender_alone() {
    let limits = Limits {
        unacked_max: 3,
        unacked_bytes_max: 10,
        ..Limits::default()
    };
    let mut world = World::with_limits(limits);
    let (ann, bob) = (world.open("ann", 1), world.open("bob", 1));
    world.gate_is_held = true;
    world.say(ann, "pub inbox 1\n12345678");
    world.say(ann, "pub inbox 2\n90");
    world.say(ann, "pub inbox 3\nthe eleventh byte");
    assert_eq!(world.take(ann), ["nack 3 unavailable 1000"]);
    world.say(bob, "pub inbox 1\nalone larger than the window");
    world.say(bob, "pub inbox 2\n");
    assert_eq!(world.take(bob), ["nack 2 unavailable 1000"]);
    world.release();
    assert_eq!(world.take(ann), ["ack 2"]);
    assert_eq!(world.take(bob), ["ack 1"]);

    world.gate_is_held = true;
    for seq in 3..6 {
        world.say(ann, &format!("pub inbox {seq}\n{seq}"));
    }
    world.say(ann, "pub inbox 6\n");
    assert_eq!(world.take(ann), ["nack 6 unavailable 1000"]);
    world.release();
    world.say(ann, "pub inbox 6\n6");
    assert_eq!(world.take(ann), ["ack 5", "ack 6"]);
}

#[test]
fn a_failed_publish_gives_its_room_back() {
    let limits = Limits {
        unacked_bytes_max: 10,
        ..Limits::default()
    };
    let mut world = World::with_limits(limits);
    let ann = world.open("ann", 1);
    world.say(ann, "pub inbox 1\none");
    assert_eq!(world.take(ann), ["ack 1"]);
    world.gate_is_held = true;
    for payload in ["12345", "67890"] {
        world.say(ann, &format!("pub inbox 2\n{payload}"));
        world.say(ann, "pub inbox 3\n12345");
        world.fail();
        assert_eq!(world.take(ann), ["nack 2 unavailable 1000"]);
        world.gate_is_held = true;
    }
    world.release();
    world.say(ann, "pub inbox 2\n1234567890");
    assert_eq!(world.take(ann), ["ack 2"]);
}

#[test]
fn what_was_said_in_an_old_socket_is_not_handled_after_a_takeover() {
    let mut world = World::new();
    let old = world.open("ann", 1);
    let new = world.open("ann", 2);
    world.say(old, "pub inbox 1\nfrom the old socket");
    world.say(old, "sub inbox");
    let heard = world.take(old);
    assert!(heard[0].starts_with("bye 4009 0 HELLO-8"), "{heard:?}");
    assert_eq!(
        heard.len(),
        2,
        "nothing but bye and the close frame: {heard:?}"
    );
    assert!(stored(&mut world, "inbox").is_empty());
    world.say(new, "pub inbox 1\nfrom the new one");
    assert_eq!(stored(&mut world, "inbox"), ["from the new one"]);
}

#[test]
fn a_stale_dials_hello_that_arrives_late_never_displaces_the_newer_connection() {
    let mut world = World::new();
    let stale = world.connect(&[]);
    let newer = world.open("ann", 2);
    for late_attempt in [1, 2] {
        let stale = if late_attempt == 1 {
            stale
        } else {
            world.connect(&[])
        };
        world.hello(stale, "ann", late_attempt);
        let heard = world.take(stale);
        assert!(heard[0].starts_with("bye 4009 0"), "{heard:?}");
        assert!(!world.is_open(stale));
    }
    assert!(world.is_open(newer));
    world.say(newer, "pub inbox 1\nI am still here");
    assert_eq!(world.take(newer), ["ack 1"]);
}

#[test]
fn repetitions_are_recognised_across_takeovers() {
    let mut world = World::new();
    for attempt in 1..4 {
        let end = world.open("ann", attempt);
        world.say(end, "pub inbox 1\none");
        assert_eq!(world.take(end), ["ack 1"], "attempt {attempt}");
    }
    let other = world.open("bob", 1);
    world.say(other, "pub inbox 1\nof another client");
    assert_eq!(stored(&mut world, "inbox"), ["one", "of another client"]);
}

#[test]
fn a_server_that_takes_no_publishes_says_so_and_stores_nothing() {
    let mut world = World::new();
    let ann = world.open("ann", 1);
    world.hub.set_accepting(false);
    world.say(ann, "pub inbox 1\none");
    assert_eq!(world.take(ann), ["nack 1 unavailable 1000"]);
    world.hub.set_accepting(true);
    world.say(ann, "pub inbox 1\none");
    assert_eq!(world.take(ann), ["ack 1"]);
}

#[test]
fn a_message_that_was_too_large_to_be_kept_is_refused_by_its_head() {
    let mut world = World::new();
    let end = world.open("ann", 1);
    world.say(end, "pub inbox 1\none");
    world.receive_oversized(end, b"pub inbox 2\nthe beginning of something very la");
    world.say(end, "pub inbox 3\nthree");
    assert_eq!(world.take(end), ["ack 1", "nack 2 too-large"]);
    world.receive_oversized(end, b"pub inbox 3\nthis is discarded as well");
    assert!(world.take(end).is_empty());
    world.receive_oversized(end, b"pub inbox 2\nstill too large");
    world.say(end, "skip 2");
    assert_eq!(world.take(end), ["nack 2 too-large", "ack 2"]);
    for (head, code) in [
        ("sub a-topic-without-end", "1009"),
        ("nonsense", "4000 FRAME-3"),
    ] {
        let end = world.open(head, 1);
        world.receive_oversized(end, head.as_bytes());
        assert!(
            world.take(end)[1].starts_with(&format!("(close) {code}")),
            "{head}"
        );
    }
    let plain = world.connect_plain(&[]);
    world.receive_oversized(plain, b"pub inbox 1\n");
    assert!(world.take(plain)[0].starts_with("(close) 1009 "));
}

/// `[PUB-9]`
#[test]
fn whoever_is_connected_is_not_forgotten_and_is_once_it_has_gone() {
    let day = |days: u64| Time::from_millis(days * 24 * 3_600 * 1_000);
    let mut world = World::new();
    let end = world.open("ann", 1);
    world.say(end, "pub inbox 1\none");
    assert_eq!(world.take(end), ["ack 1"]);
    while world.hub.expire(day(2)) {}
    world.say(end, "pub inbox 1\none");
    assert_eq!(world.take(end), ["ack 1"], "it is told so again");
    assert_eq!(world.hub.log().producers_len(), 1);
    world.drop_end(end);
    while world.hub.expire(day(4)) {}
    assert_eq!(world.hub.log().producers_len(), 0);
}
