//! Who is alive, who is dead, and when that is noticed.

use std::time::Duration;

use heartwire_hub::HubConfig;
use heartwire_proto::Limits;

use crate::world::{World, heartbeat};

fn one_second() -> World {
    World::with(HubConfig::new(Limits::default(), heartbeat(1_000, 1_000)))
}

fn opened(world: &mut World) -> usize {
    let end = world.open("ann", 1);
    world.take(end);
    end
}

fn answer_pings(world: &mut World, end: usize) -> usize {
    let pings: Vec<_> = world
        .take(end)
        .into_iter()
        .filter(|frame| frame.starts_with("ping"))
        .collect();
    for ping in &pings {
        let id = ping.lines().next().unwrap().trim_start_matches("ping ");
        world.say(end, &format!("pong {id}"));
    }
    pings.len()
}

#[test]
fn the_first_ping_comes_after_a_random_part_of_the_interval() {
    for (random, millis) in [(0, 0), (u64::MAX / 4, 2_500), (u64::MAX, 10_000)] {
        let mut world = World::new();
        world.random = random;
        let end = opened(&mut world);
        if millis > 0 {
            world.advance(millis - 1);
            assert!(world.take(end).is_empty());
        }
        world.advance(1);
        assert_eq!(world.take(end), ["ping 1"]);
    }
}

#[test]
fn a_silent_peer_is_dead_within_interval_plus_timeout_of_its_last_byte() {
    let mut world = one_second();
    world.random = u64::MAX;
    let end = opened(&mut world);
    world.advance(1_500);
    world.take(end);
    world.hear(end);
    world.advance(1_999);
    assert!(world.is_open(end));
    world.advance(1);
    assert!(!world.is_open(end));
    let heard = world.take(end);
    assert_eq!(heard[0], "ping 2");
    assert_eq!(heard[1], "bye 4200 0 nothing was heard for 2.0 s");
    assert_eq!(heard[2], "(close) 4200 nothing was heard for 2.0 s");
    world.advance(1);
    assert!(
        world.ends[end].connection.is_none(),
        "the socket is dropped at once"
    );
    assert_eq!(world.hub.connections_len(), 0);
}

#[test]
fn any_byte_is_life_though_no_pong_comes() {
    let mut world = one_second();
    let end = opened(&mut world);
    for _ in 0..200 {
        world.advance(300);
        world.hear(end);
    }
    assert!(world.is_open(end));
}

#[test]
fn a_round_trip_just_under_the_timeout_is_healthy() {
    for late_ms in [1, 500, 998, 999] {
        let mut world = one_second();
        let end = opened(&mut world);
        for round in 0..100 {
            let ping = next_ping(&mut world, end);
            world.advance(late_ms);
            assert!(world.is_open(end), "at {late_ms} ms in round {round}");
            world.say(end, &format!("pong {ping}"));
        }
        let info = world.hub.connections(None, 10, world.time()).remove(0);
        let late = Duration::from_millis(late_ms);
        assert_eq!(
            info.round_trip,
            Some(late),
            "what the last ping but one took"
        );
    }
}

/// Time passes until the peer is asked; the id of the ping.
fn next_ping(world: &mut World, end: usize) -> String {
    for _ in 0..2_000 {
        for frame in world.take(end) {
            if let Some(rest) = frame.strip_prefix("ping ") {
                return rest.lines().next().unwrap().to_owned();
            }
        }
        world.advance(1);
    }
    panic!("it is not asked");
}

#[test]
fn a_process_that_was_paused_looks_before_it_judges() {
    let mut world = one_second();
    let end = opened(&mut world);
    world.advance(1_200);
    world.take(end);
    world.freeze(30_000);
    world.hear(end);
    world.advance(1);
    assert!(world.is_open(end), "its answer had been waiting");
    world.advance(1_500);
    world.freeze(30_000);
    world.advance(900);
    assert!(world.is_open(end), "one more second is given");
    world.advance(200);
    assert!(!world.is_open(end));
}

#[test]
fn who_asks_and_never_reads_is_dead_after_interval_plus_timeout_of_blocked_output() {
    let mut world = one_second();
    let end = opened(&mut world);
    world.set_room(end, Some(0));
    for _ in 0..19 {
        world.say(end, "ping");
        world.advance(100);
        assert!(world.is_open(end));
    }
    world.say(end, "ping");
    while world.is_open(end) {
        world.advance(1);
    }
    assert_eq!(world.clock, 2_000);
    world.advance(1);
    let ended = "4200 heartbeat-timeout: no output was taken for 2.0 s";
    assert_eq!(world.ends[end].ended.as_deref(), Some(ended));
    world.set_room(end, None);
    let heard = world.take(end);
    assert!(!heard.iter().any(|f| f.starts_with("msg")), "{heard:?}");
}

#[test]
fn a_peer_that_is_not_read_from_is_not_dead_for_its_silence() {
    let mut world = one_second();
    let end = opened(&mut world);
    world.set_room(end, Some(0));
    for n in 0..10_000 {
        world.say(end, &format!("sub t{}", n % 900));
    }
    assert!(
        !world.ends[end].unread.is_empty(),
        "the server stopped reading"
    );
    // Its pongs stand unread in the socket, but it takes its answers, slowly.
    for _ in 0..60 {
        world.set_room(end, Some(600));
        world.advance(250);
        assert!(world.is_open(end));
    }
    world.advance(2_600);
    assert!(!world.is_open(end), "it takes nothing any more");
}

#[test]
fn a_reader_of_50_kb_a_second_lives_while_5_mb_stand_before_it() {
    let mut world = one_second();
    let end = opened(&mut world);
    world.say(end, "sub t");
    world.take(end);
    world.set_room(end, Some(0));
    for _ in 0..5_000 {
        world.publish("t", &"x".repeat(1_000));
    }
    let (mut messages, mut owed) = (0, Vec::new());
    for _ in 0..1_200 {
        // Once a pong was owed, it takes what stood before the ping to be read.
        world.set_room(end, Some(5_000));
        for frame in world.take(end) {
            match frame.split_once(' ') {
                Some(("ping", id)) => owed.push(id.lines().next().unwrap().to_owned()),
                Some(("msg", _)) => messages += 1,
                _ => {}
            }
        }
        for id in owed.drain(..) {
            world.say(end, &format!("pong {id}"));
        }
        world.advance(100);
        assert!(world.is_open(end), "after {messages} messages");
    }
    assert_eq!(messages, 5_000);
}

#[test]
fn who_always_talks_and_reads_slowly_lives_by_what_its_tcp_acknowledges() {
    let mut world = one_second();
    let end = opened(&mut world);
    world.say(end, "sub t");
    world.take(end);
    world.ends[end].is_deaf = true;
    world.set_room(end, Some(50_000));
    for _ in 0..200 {
        world.publish("t", &"x".repeat(1_000));
    }
    // It is not asked, as it never falls silent, and the kernel takes nothing for a minute.
    for _ in 0..120 {
        world.hear(end);
        world.acknowledge(end, 400);
        world.advance(500);
        assert!(world.is_open(end));
    }
    // It talks on, but reads no more.
    let mut ms = 0;
    while world.is_open(end) {
        world.hear(end);
        world.advance(25);
        ms += 25;
        assert!(
            ms <= 2_125,
            "interval + timeout, and an eighth of the timeout"
        );
    }
    assert!(ms >= 1_500, "closed {ms} ms after it had read last");
}

#[test]
fn a_frozen_peer_whose_kernel_acknowledges_gains_no_time_by_it() {
    let mut world = one_second();
    world.random = u64::MAX;
    let end = opened(&mut world);
    world.hear(end);
    // The ping comes after a second and is acknowledged at once by a kernel, and by nobody else.
    world.advance(1_999);
    assert!(world.is_open(end));
    world.advance(1);
    assert!(!world.is_open(end));
}

#[test]
fn a_ping_tells_positions_of_topics_that_moved_and_wakes_nothing_needlessly() {
    let mut world = World::new();
    world.random = u64::MAX;
    let end = opened(&mut world);
    world.say(end, "sub a");
    world.say(end, "sub b");
    world.publish("a", "1");
    world.publish("a", "2");
    world.take(end);
    world.advance(10_000);
    assert_eq!(world.take(end), ["ping 1\na 00000001.2"]);
    world.say(end, "pong 1");
    world.advance(10_000);
    assert_eq!(world.take(end), ["ping 2"]);
}

#[test]
fn a_busy_connection_is_asked_once_a_minute() {
    let mut world = World::new();
    let end = opened(&mut world);
    world.say(end, "sub t");
    let mut pings = 0;
    for n in 0..300 {
        world.publish("t", &n.to_string());
        world.advance(1_000);
        pings += answer_pings(&mut world, end);
        world.hear(end);
    }
    assert!((4..=7).contains(&pings), "{pings} pings in five minutes");
}

#[test]
fn an_interval_is_changed_on_request_within_the_limits() {
    let mut world = World::new();
    let end = opened(&mut world);
    for (asked, given) in [("60000", "60000"), ("5", "1000"), ("9000000", "300000")] {
        world.say(end, &format!("heartbeat {asked}"));
        assert_eq!(world.take(end), [format!("heartbeat {given}")]);
    }
    let hello = r#"hello {"client":"0123456789abcdef","attempt":1,"heartbeat_interval_ms":30000}"#;
    let other = world.connect(&[]);
    world.say(other, hello);
    let welcome = world.take(other).remove(0);
    assert!(welcome.contains(r#""heartbeat":{"interval_ms":30000,"timeout_ms":10000}"#));
}

#[test]
fn a_plain_peer_is_asked_by_a_ping_frame_when_it_is_silent() {
    let mut world = World::new();
    let end = world.connect_plain(&["t"]);
    world.advance(9_000);
    world.say(end, "ping\n");
    assert_eq!(world.take(end), ["pong"]);
    world.advance(9_999);
    assert!(world.take(end).is_empty());
    world.advance(1);
    assert_eq!(world.take(end), ["(ping) 1"]);
    world.advance(10_000);
    assert!(!world.is_open(end));
    assert_eq!(
        world.take(end),
        ["(close) 4200 nothing was heard for 20.0 s"]
    );
}

#[test]
fn who_says_no_hello_in_time_is_closed() {
    let mut world = World::new();
    let end = world.connect(&[]);
    world.hear(end);
    world.advance(9_999);
    assert!(world.is_open(end));
    world.advance(1);
    assert!(world.take(end)[1].starts_with("(close) 4200 HELLO-1"));
    world.advance(2_000);
    assert!(
        world.ends[end].connection.is_none(),
        "its close frame is not waited for long"
    );
}
