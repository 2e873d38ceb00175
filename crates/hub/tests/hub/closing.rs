//! How connections end, and what broken rules and garbage lead to.

use std::time::Duration;

use heartwire_proto::frame::Message;
use heartwire_proto::{Close, CloseCode, Limits};

use crate::world::{World, config};

#[test]
fn a_broken_rule_closes_with_its_name_and_costs_nobody_else() {
    let mut world = World::new();
    let other = world.open("other", 1);
    for (frame, rule) in [
        ("nonsense", "FRAME-3"),
        ("sub", "FRAME-4"),
        ("sub  t", "FRAME-1"),
        ("sub t/u", "FRAME-5"),
        ("sub t last 0", "FRAME-6"),
        ("pub t 0\nx", "FRAME-6"),
        ("sub t NOPE.1", "FRAME-8"),
        ("sub t k3v9.9007199254740992", "FRAME-8"),
        ("sub t k3v9.-1", "FRAME-8"),
        ("ping 1\nwith a payload", "FRAME-10"),
        ("welcome {}", "FRAME-3"),
        ("", "FRAME-3"),
    ] {
        let end = world.open("ann", world.ends.len() as u64);
        world.say(end, frame);
        let heard = world.take(end);
        assert!(heard[0].starts_with("bye 4000 0 "), "{frame:?}: {heard:?}");
        assert!(
            heard[1].starts_with(&format!("(close) 4000 {rule}")),
            "{frame:?}: {heard:?}"
        );
        world.say(end, "pub inbox 1\nnothing after it is handled");
        assert_eq!(world.take(end).len(), 0);
    }
    world.say(other, "ping");
    assert_eq!(world.take(other), ["pong"]);
    assert_eq!(world.hub.log().topics_len(), 0);
}

#[test]
fn garbage_instead_of_hello_is_closed() {
    let mut world = World::new();
    for garbage in [
        "",
        "GET / HTTP/1.1",
        "hello",
        "hello {",
        "hello {\"client\":\"short\"}",
        "sub t",
    ] {
        let end = world.connect(&[]);
        world.say(end, garbage);
        assert!(
            world.take(end)[1].starts_with("(close) 4000 "),
            "{garbage:?}"
        );
    }
    let end = world.connect(&[]);
    world.receive(end, Message::Binary(&[0xFF, 0x00, 0xC3]));
    assert!(world.take(end)[1].starts_with("(close) 4000 FRAME-1"));
    assert_eq!(world.hub.connections_len(), 0);
}

#[test]
fn little_may_be_said_before_welcome() {
    let mut world = World::new();
    let end = world.connect(&[]);
    let bytes_max = |world: &World| {
        world.ends[end]
            .connection
            .as_ref()
            .unwrap()
            .frame_bytes_max()
    };
    assert_eq!(bytes_max(&world), 16 * 1024 + 512);
    world.hello(end, "ann", 1);
    assert_eq!(bytes_max(&world), Limits::default().frame_bytes_max);
}

#[test]
fn the_peers_close_is_answered_and_the_socket_dropped() {
    let mut world = World::new();
    let end = world.open("ann", 1);
    world.say_close(end, Some(CloseCode::GOING_AWAY));
    assert_eq!(world.take(end), ["(close) 1001 "]);
    assert!(world.ends[end].connection.is_none());
    let end = world.open("bob", 1);
    world.say_close(end, None);
    assert_eq!(world.take(end), ["(close)"]);
    assert_eq!(world.hub.connections_len(), 0);
}

#[test]
fn a_close_of_the_servers_waits_a_little_for_the_peers() {
    let mut world = World::new();
    let ends = [world.open("ann", 1), world.open("bob", 1)];
    for end in ends {
        let close = Close::new(CloseCode::DRAINING, "draining");
        let close = close.retry_after(Duration::from_millis(1_800));
        let now = world.time();
        world.ends[end]
            .connection
            .as_mut()
            .unwrap()
            .close(close, now);
        world.set_room(end, None);
        assert_eq!(
            world.take(end),
            ["bye 4201 1800 draining", "(close) 4201 draining"]
        );
        assert!(world.ends[end].connection.is_some());
    }
    world.say_close(ends[0], Some(CloseCode::DRAINING));
    assert!(world.ends[ends[0]].connection.is_none());
    world.advance(2_000);
    assert!(world.ends[ends[1]].connection.is_none());
}

#[test]
fn an_operator_closes_a_connection_by_its_name() {
    let mut world = World::new();
    let (ann, bob) = (world.open("ann", 1), world.open("bob", 1));
    let id = world.hub.connections(None, 10, world.time())[0].id;
    let close = Close::new(CloseCode::CLOSED_BY_OPERATOR, "closed by the operator");
    assert!(world.hub.close_connection(id, close.clone()));
    assert!(
        !world.hub.close_connection(id, close),
        "there is none any more"
    );
    world.settle();
    assert_eq!(world.take(ann)[0], "bye 4202 0 closed by the operator");
    assert!(world.is_open(bob));
}

#[test]
fn a_plain_client_that_says_hello_is_closed_and_not_published() {
    let mut world = World::new();
    let end = world.connect_plain(&[]);
    world.say(
        end,
        r#"hello {"client":"a secret that is nobody's business"}"#,
    );
    assert!(world.take(end)[0].starts_with("(close) 4000 PLAIN-4"));
    assert_eq!(world.hub.log().topics_len(), 0);
}

#[test]
fn who_does_not_read_gets_no_more_answers_than_there_is_room_for() {
    let mut world = World::new();
    let end = world.open("ann", 1);
    world.set_room(end, Some(0));
    for n in 0..100_000 {
        world.say(end, &format!("sub t{}", n % 500));
    }
    let bound = Limits::default().output_bytes_max;
    assert!(world.standing(end) < bound + 600, "{}", world.standing(end));
    assert!(
        world.ends[end].unread.len() > 90_000,
        "the server stopped reading"
    );
    let unread = std::mem::take(&mut world.ends[end].unread).len();
    world.set_room(end, None);
    assert_eq!(world.take(end).len(), 100_000 - unread);
    world.say(end, "ping 1");
    assert_eq!(world.take(end), ["pong 1"]);
}

#[test]
fn of_the_answers_to_pings_the_latest_alone_waits_behind_a_full_socket() {
    let mut world = World::new();
    let end = world.open("ann", 1);
    world.say(end, "sub t");
    world.take(end);
    world.set_room(end, Some(0));
    for _ in 0..100 {
        world.publish("t", &"x".repeat(1_000));
    }
    for n in 0..1_000 {
        world.say(end, &format!("ping {n}"));
    }
    world.set_room(end, None);
    let pongs: Vec<_> = world
        .take(end)
        .into_iter()
        .filter(|frame| frame.starts_with("pong"))
        .collect();
    assert_eq!(pongs.last().unwrap(), "pong 999");
    assert!(pongs.len() < 10, "{}", pongs.len());
}

#[test]
fn an_answer_that_waited_goes_with_the_last_byte_though_nothing_else_comes() {
    let mut world = World::new();
    let end = world.open("ann", 1);
    world.say(end, "sub t");
    world.take(end);
    world.set_room(end, Some(0));
    world.publish("t", &"x".repeat(100_000));
    world.say(end, "ping 7");
    let (standing, now) = (world.standing(end), world.time());
    let connection = world.ends[end].connection.as_mut().unwrap();
    // The socket takes everything at last; nobody fills the connection, as the hub has no more.
    connection.written(standing, now);
    assert!(connection.outgoing().to_bytes().ends_with(b"pong 7"));
}

#[test]
fn a_reader_inside_the_process_is_not_the_operators_to_close() {
    let mut world = World::new();
    let reader = world.hub.open_reader(99).unwrap();
    let close = Close::new(CloseCode::CLOSED_BY_OPERATOR, "closed by the operator");
    assert!(!world.hub.close_connection(reader.id(), close));
    assert_eq!(world.hub.connections_len(), 1);
}

#[test]
fn connections_beyond_the_limit_are_told_to_come_later() {
    let mut config = config();
    config.connections_max = 1;
    let mut world = World::with(config);
    let first = world.open("ann", 1);
    let second = world.connect(&[]);
    world.hello(second, "bob", 1);
    assert!(world.take(second)[0].starts_with("bye 4100 5000 "));
    let plain = world.connect_plain(&[]);
    assert!(world.take(plain)[0].starts_with("(close) 4100 retry 5000 "));
    // Its own next attempt takes the place of the one before.
    let again = world.open("ann", 2);
    assert!(world.is_open(again) && !world.is_open(first));
}
