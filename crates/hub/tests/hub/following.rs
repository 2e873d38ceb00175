//! Following topics: from where, in which order, and what is named when messages are gone.

use heartwire_hub::HubConfig;
use heartwire_proto::Limits;

use crate::world::{World, config};

fn few_messages(count_max: usize) -> HubConfig {
    let mut config = config();
    config.log.policy.retention.count_max = count_max;
    config
}

fn offsets(frames: &[String]) -> Vec<u64> {
    let messages = frames.iter().filter(|frame| frame.starts_with("msg "));
    messages
        .map(|frame| frame.split(' ').nth(2).unwrap().parse().unwrap())
        .collect()
}

#[test]
fn following_begins_where_it_was_asked_for() {
    let mut world = World::with(few_messages(5));
    for n in 1..=8 {
        world.publish("t", &n.to_string());
    }
    for (from, answer, expected) in [
        ("", "subbed t 00000001.8", vec![]),
        (" tail", "subbed t 00000001.8", vec![]),
        (" head", "subbed t 00000001.3", vec![4, 5, 6, 7, 8]),
        (" last 2", "subbed t 00000001.6", vec![7, 8]),
        (" last 100", "subbed t 00000001.3", vec![4, 5, 6, 7, 8]),
        (" 00000001.7", "subbed t 00000001.7", vec![8]),
        (
            " 00000001.1",
            "subbed t 00000001.3 gap 00000001 2 3 retention",
            vec![4, 5, 6, 7, 8],
        ),
        (
            " 0",
            "subbed t 00000001.3 gap 00000001 1 3 retention",
            vec![4, 5, 6, 7, 8],
        ),
        (
            " 00000001.11",
            "subbed t 00000001.8 gap 00000001 9 11 epoch",
            vec![],
        ),
        (
            " old.6",
            "subbed t 00000001.3 gap old 7 ? epoch",
            vec![4, 5, 6, 7, 8],
        ),
    ] {
        let end = world.open(&format!("client{from}").replace([' ', '.'], "-"), 1);
        world.say(end, &format!("sub t{from}"));
        let frames = world.take(end);
        assert_eq!(frames[0], answer);
        assert_eq!(offsets(&frames), expected, "{from}");
    }
}

#[test]
fn a_topic_that_nobody_published_to_is_followed_from_0_and_its_birth_is_told_once() {
    let mut world = World::new();
    let (early, late) = (world.open("early", 1), world.open("late", 1));
    world.say(early, "sub t");
    assert_eq!(world.take(early), ["subbed t 0"]);
    assert!(world.hub.log().topics_len() == 0, "sub creates no topic");
    world.publish("t", "first");
    world.publish("t", "second");
    let frames = world.take(early);
    assert_eq!(frames[0], "epoch t 00000001");
    assert_eq!(frames[1], format!("msg t 1 {}\nfirst", crate::world::WALL));
    assert_eq!(frames.len(), 3);
    world.say(late, "sub t 0");
    let frames = world.take(late);
    assert_eq!(frames[0], "subbed t 00000001.0");
    assert_eq!(offsets(&frames), [1, 2]);
}

#[test]
fn a_gap_names_the_epoch_when_retention_was_faster_than_the_first_delivery() {
    let mut world = World::with(few_messages(2));
    let end = world.open("ann", 1);
    world.say(end, "sub t");
    world.set_room(end, Some(0));
    world.take(end);
    let blocked = world.open("filler", 1);
    world.say(blocked, "sub t");
    // The socket is full before the first message of the topic comes.
    world.say(end, "ping");
    for n in 1..=5 {
        world.publish("t", &"x".repeat(70_000 + n));
    }
    world.set_room(end, None);
    let frames = world.take(end);
    let notes: Vec<_> = frames
        .iter()
        .filter(|frame| !frame.starts_with("msg "))
        .collect();
    assert_eq!(
        notes,
        ["pong", "epoch t 00000001", "gap t 00000001 2 3 retention"]
    );
    assert_eq!(offsets(&frames), [1, 4, 5]);
}

#[test]
fn a_memory_restart_is_an_epoch_gap() {
    let mut before = World::new();
    before.publish("t", "of the old log");
    let mut after = World::new();
    let end = after.open("ann", 2);
    after.say(end, "sub t lost.1");
    assert_eq!(after.take(end), ["subbed t 0 gap lost 2 ? epoch"]);
    after.publish("t", "of the new log");
    let frames = after.take(end);
    assert_eq!(frames[0], "epoch t 00000001");
    assert_eq!(offsets(&frames), [1]);
}

#[test]
fn sub_again_moves_the_cursor_and_unsub_is_always_answered() {
    let mut world = World::new();
    for n in 1..=3 {
        world.publish("t", &n.to_string());
    }
    let end = world.open("ann", 1);
    world.say(end, "sub t");
    world.say(end, "sub t 00000001.1");
    let frames = world.take(end);
    assert_eq!(frames[1], "subbed t 00000001.1");
    assert_eq!(offsets(&frames), [2, 3]);
    world.say(end, "unsub t");
    world.say(end, "unsub t");
    world.publish("t", "4");
    assert_eq!(world.take(end), ["unsubbed t", "unsubbed t"]);
}

#[test]
fn everything_comes_in_order_once_over_any_number_of_topics() {
    let mut world = World::new();
    let end = world.open("ann", 1);
    for n in 0..50 {
        world.say(end, &format!("sub t{n} 0"));
    }
    world.take(end);
    world.set_room(end, Some(0));
    for round in 1..=20 {
        for n in 0..50 {
            world.publish(&format!("t{n}"), &format!("{round} {}", "x".repeat(500)));
        }
    }
    let mut frames = Vec::new();
    for _ in 0..2_000 {
        world.set_room(end, Some(997));
        frames.extend(world.take(end));
    }
    for n in 0..50 {
        let name = format!("msg t{n} ");
        let own: Vec<_> = frames
            .iter()
            .filter(|f| f.starts_with(&name))
            .cloned()
            .collect();
        assert_eq!(offsets(&own), (1..=20).collect::<Vec<_>>(), "{name}");
    }
}

#[test]
fn a_busy_topic_does_not_keep_the_others_of_a_slow_follower_waiting() {
    let mut world = World::new();
    let end = world.open("ann", 1);
    world.say(end, "sub busy");
    world.say(end, "sub quiet");
    world.take(end);
    world.set_room(end, Some(0));
    for n in 0..2_000 {
        world.publish("busy", &format!("{n} {}", "x".repeat(1_000)));
    }
    world.publish("quiet", "hello");
    world.set_room(end, Some(200_000));
    let quiet = world
        .take(end)
        .iter()
        .any(|frame| frame.starts_with("msg quiet"));
    assert!(
        quiet,
        "its turn came long before the busy topic was drained"
    );
}

#[test]
fn a_follower_that_reads_nothing_stays_small_and_gets_the_exact_gap_when_it_comes_back() {
    let mut world = World::with(few_messages(100));
    let (stuck, other) = (world.open("stuck", 1), world.open("other", 1));
    for end in [stuck, other] {
        world.say(end, "sub t");
        world.take(end);
    }
    world.set_room(stuck, Some(10_000));
    for n in 0..10_000 {
        world.publish("t", &format!("{n} {}", "x".repeat(100)));
        if n % 100 == 0 {
            assert!(world.standing(stuck) < 2 * crate::world::BUDGET_BYTES);
            world.say(other, "pong");
        }
    }
    assert_eq!(
        offsets(&world.take(other)),
        (1..=10_000).collect::<Vec<_>>()
    );
    // Half of what was blocked is the last that the stuck one has read.
    let seen = *offsets(&world.take(stuck)).last().unwrap();
    for _ in 0..25 {
        world.advance(1_000);
        world.hear(other);
    }
    assert!(!world.is_open(stuck) && world.is_open(other));

    let back = world.open("stuck", 2);
    world.say(back, &format!("sub t 00000001.{seen}"));
    let frames = world.take(back);
    let first = seen + 1;
    assert_eq!(
        frames[0],
        format!("subbed t 00000001.9900 gap 00000001 {first} 9900 retention")
    );
    assert_eq!(offsets(&frames), (9_901..=10_000).collect::<Vec<_>>());
}

#[test]
fn a_follower_that_is_overtaken_while_it_reads_slowly_gets_the_gap_in_its_place() {
    let mut world = World::with(few_messages(10));
    let end = world.open("slow", 1);
    world.say(end, "sub t");
    world.take(end);
    world.set_room(end, Some(500));
    for n in 0..3_000 {
        world.publish("t", &format!("{n} {}", "x".repeat(100)));
    }
    world.set_room(end, None);
    world.publish("t", "the last");
    let frames = world.take(end);
    let gap = frames
        .iter()
        .position(|frame| frame.starts_with("gap t 00000001 "))
        .unwrap();
    let fields: Vec<_> = frames[gap].split(' ').collect();
    let before = offsets(&frames[..gap]);
    let after = offsets(&frames[gap..]);
    assert_eq!(
        fields[3].parse::<u64>().unwrap(),
        before.last().unwrap() + 1
    );
    assert_eq!(fields[4].parse::<u64>().unwrap(), after[0] - 1);
    assert_eq!(*after.last().unwrap(), 3_001);
    assert_eq!(world.hub.log().stats().trimmed, 3_001 - 10);
}

#[test]
fn topics_beyond_the_limit_are_refused_and_nobody_else_notices() {
    let mut world = World::new();
    let (greedy, other) = (world.open("greedy", 1), world.open("other", 1));
    let topics_max = Limits::default().topics_max;
    for n in 0..10_000 {
        world.say(greedy, &format!("sub t{n}"));
    }
    let answers = world.take(greedy);
    assert_eq!(answers.len(), 10_000, "each is answered");
    assert!(
        answers[..topics_max]
            .iter()
            .all(|answer| answer.starts_with("subbed "))
    );
    let refused = |answer: &String| answer.starts_with("refused ") && answer.ends_with(" limit");
    assert!(answers[topics_max..].iter().all(refused));
    world.say(other, "sub t1");
    world.publish("t1", "x");
    assert_eq!(world.take(other).len(), 3);
    world.say(greedy, "unsub t7");
    world.say(greedy, "sub one-more");
    assert_eq!(world.take(greedy).last().unwrap(), "subbed one-more 0");
    world.drop_end(greedy);
    world.drop_end(other);
    assert!(
        world
            .hub
            .topics(None, 10, world.time())
            .iter()
            .all(|t| t.followers == 0)
    );
}

#[test]
fn all_connections_together_follow_no_more_than_the_hub_allows() {
    let mut config = config();
    config.follows_max = 3;
    let mut world = World::with(config);
    let (ann, bob) = (world.open("ann", 1), world.open("bob", 1));
    world.say(ann, "sub a");
    world.say(ann, "sub b");
    world.say(bob, "sub a");
    world.say(bob, "sub b");
    assert_eq!(world.take(bob), ["subbed a 0", "refused b limit"]);
    world.drop_end(ann);
    world.say(bob, "sub b");
    assert_eq!(world.take(bob), ["subbed b 0"]);
}

#[test]
fn a_topic_of_the_servers_that_does_not_exist_is_refused() {
    let mut world = World::new();
    let end = world.open("ann", 1);
    world.say(end, "sub $presence");
    assert_eq!(world.take(end), ["refused $presence bad-topic"]);
}
