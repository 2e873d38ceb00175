//! Connections that send too much `[CLOSE-7]`.

use std::num::NonZeroU64;

use heartwire_proto::Limits;

use crate::world::World;

/// Ten messages and a thousand bytes in a second, and what comes on top at once: ten and one
/// thousand once more, four `sub`, six publishes, and their five thousand bytes.
fn bounded() -> World {
    World::with_limits(Limits {
        messages_per_second_max: NonZeroU64::new(10),
        bytes_per_second_max: NonZeroU64::new(1_000),
        topics_max: 4,
        unacked_max: 6,
        unacked_bytes_max: 5_000,
        ..Limits::default()
    })
}

/// How many of these are answered until the connection ends, and its goodbye.
fn answered_until_the_end(world: &mut World, end: usize, text: &str) -> (usize, String) {
    for answered in 0..1_000 {
        world.say(end, text);
        let heard = world.take(end);
        if !world.is_open(end) {
            return (answered, heard[0].clone());
        }
    }
    panic!("it goes on for ever");
}

#[test]
fn more_messages_than_the_server_takes_end_the_connection() {
    let mut world = bounded();
    let end = world.open("ann", 1);
    let (answered, goodbye) = answered_until_the_end(&mut world, end, "ping");
    assert_eq!(answered, 21, "10 + 4 + 6 at once, and one that empties it");
    assert_eq!(
        goodbye,
        "bye 4102 1000 CLOSE-7: more was sent than this server takes"
    );
    let plain = world.connect_plain(&[]);
    let (answered, goodbye) = answered_until_the_end(&mut world, plain, "ping");
    assert_eq!(answered, 21);
    assert!(goodbye.starts_with("(close) 4102 retry 1000 CLOSE-7"));
}

#[test]
fn more_bytes_than_the_server_takes_end_the_connection() {
    let mut world = bounded();
    let end = world.connect_plain(&[]);
    let (answered, goodbye) = answered_until_the_end(&mut world, end, &"x".repeat(2_000));
    assert_eq!(answered, 4, "8,000 bytes");
    assert!(goodbye.starts_with("(close) 4102 retry 2000 "), "{goodbye}");
}

#[test]
fn whoever_keeps_to_the_rate_lives_and_each_has_its_own() {
    let mut world = bounded();
    let (slow, fast) = (world.open("ann", 1), world.open("bob", 1));
    for _ in 0..200 {
        world.say(slow, "ping");
        world.advance(100);
    }
    assert!(world.is_open(slow));
    answered_until_the_end(&mut world, fast, "ping");
    assert!(world.is_open(slow));
}

#[test]
fn a_client_that_comes_back_sends_everything_at_once() {
    let mut world = bounded();
    let end = world.open("ann", 1);
    for topic in 0..4 {
        world.say(end, &format!("sub t{topic} head"));
    }
    for seq in 1..=6 {
        world.say(end, &format!("pub inbox {seq}\n{}", "x".repeat(800)));
    }
    assert!(world.is_open(end));
    assert!(world.take(end).contains(&"ack 6".to_owned()));
}

#[test]
fn messages_that_are_skipped_count_as_well() {
    let mut world = bounded();
    let end = world.open("ann", 1);
    world.receive_oversized(end, b"pub inbox 1\n");
    assert!(world.is_open(end), "one is an honest mistake");
    world.receive_oversized(end, b"pub inbox 1\n");
    assert!(!world.is_open(end));
}
