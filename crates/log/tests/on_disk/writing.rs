//! Appends are written in their order, and refused before the writer is in trouble.

use heartwire_log::store::{Places, RecoveredTopic};
use heartwire_log::{AppendError, Committed, Fate, Log, Lsn, Now, ProducerKey};
use heartwire_proto::frame::Durability;
use heartwire_proto::id::TopicRef;
use heartwire_proto::{Epoch, Offset, Seq, Time, WallTime};

use super::shelf::*;

#[test]
fn topics_in_memory_wait_for_no_disk() {
    let mut world = World::new(|_| {});
    let slow = world.append("t", "on its way").unwrap();
    assert_eq!(world.log.fate(slow.lsn), Fate::Pending);
    let quick = world.append("memory:t", "at once").unwrap();
    assert_eq!(world.log.fate(quick.lsn), Fate::Durable);
    let mut committed = Committed::default();
    world.log.take_untold(&mut committed);
    assert_eq!(
        (committed.topics, committed.born),
        (vec![quick.topic], vec![quick.topic])
    );
    assert_eq!(
        world.read(quick.topic, 0),
        (vec!["at once".to_owned()], false)
    );
    assert!(
        world.log.topic(slow.topic).is_none(),
        "the other is not there yet"
    );
    assert_eq!(world.write(), [slow.topic]);
    assert_eq!(world.shelf.written.len(), 1, "memory is not written");
}

#[test]
fn a_topic_that_the_disk_held_stays_there_though_a_new_rule_says_memory() {
    let mut world = World::new(|_| {});
    let topic = |name: &str| RecoveredTopic {
        name: name.parse().unwrap(),
        origin: Epoch::from_random(1),
        epoch: Epoch::from_random(1),
        base: Offset(1),
        end: Offset(1),
        last_append: Time::ZERO,
        places: Places::default(),
        gaps: Vec::new(),
    };
    let recovered = found(vec![topic("memory:old")], Vec::new());
    let config = world.log.config().clone();
    (world.log, _) = Log::recover(config, recovered);
    world.log.set_room(500, false);
    let durability = |log: &Log, name| log.durability(TopicRef::parse(name).unwrap());
    assert_eq!(durability(&world.log, "memory:old"), Durability::Disk);
    assert_eq!(durability(&world.log, "memory:new"), Durability::Memory);
    let payload = "x".repeat(1_000);
    assert_eq!(
        world.append("memory:old", &payload),
        Err(AppendError::Congested),
        "the disk has no room for it"
    );
    let place = world.append("memory:new", &payload).unwrap();
    assert_eq!(world.log.fate(place.lsn), Fate::Durable);
    let place = world.append("memory:old", "short").unwrap();
    assert_eq!(world.log.fate(place.lsn), Fate::Pending, "it is synced");
}

#[test]
fn what_the_server_says_itself_waits_for_no_disk_and_has_its_own_bound() {
    let mut world = World::new(|config| config.own_topics_max = 1);
    // The disk is full and has failed, and whatever comes is refused.
    world.log.set_room(0, true);
    world.log.set_accepting(false);
    let now = Now {
        time: Time::from_millis(2_000),
        wall: WallTime::from_unix_millis(2_000),
        random: 7,
    };
    let topic = |name| TopicRef::parse(name).unwrap();
    for offset in [1, 2] {
        let place = world.log.announce(topic("$presence:a"), "x", now).unwrap();
        assert_eq!(
            (place.offset, world.log.fate(place.lsn)),
            (Offset(offset), Fate::Durable)
        );
    }
    assert_eq!(
        world.log.durability(topic("$presence:a")),
        Durability::Memory
    );
    let more = world.log.announce(topic("$presence:b"), "x", now);
    assert!(matches!(more, Err(AppendError::Full { .. })), "{more:?}");
    // It is forgotten with its last message, and leaves its place to another.
    let later = now.time + world.log.config().policy.retention.age_max;
    while world.log.expire(later, 100, |_| false) {}
    assert_eq!(world.log.topics_len(), 0);
    let now = Now { time: later, ..now };
    assert!(world.log.announce(topic("$presence:b"), "x", now).is_ok());
}

#[test]
fn a_producers_order_holds_across_disk_and_memory() {
    let mut world = World::new(|_| {});
    let key = ProducerKey::new(1);
    let producer = key.producer(None, &"a-client-of-sixteen".parse().unwrap());
    let as_producer = |seq| Some((producer, Seq(seq)));
    let first = world.append_as("t", "1", as_producer(1)).unwrap();
    let second = world.append_as("memory:t", "2", as_producer(2)).unwrap();
    assert_eq!(
        world.log.fate(second.lsn),
        Fate::Pending,
        "its predecessor waits"
    );
    let behind = world.append("memory:t", "3").unwrap();
    assert_eq!(
        world.log.fate(behind.lsn),
        Fate::Pending,
        "the topic's order counts"
    );
    assert_eq!(world.log.durable(producer), Some(Seq(0)));
    world.write();
    for place in [first, second, behind] {
        assert_eq!(world.log.fate(place.lsn), Fate::Durable);
    }
    assert_eq!(world.log.durable(producer), Some(Seq(2)));
    assert_eq!(
        world.shelf.numbers,
        [(producer, Seq(2))],
        "the number is on disk"
    );
    assert_eq!(world.read(behind.topic, 0).0, ["2", "3"]);
}

#[test]
fn messages_are_refused_before_the_writer_runs_out_of_room() {
    let mut world = World::new(|_| {});
    world.log.set_room(1_000, false);
    let payload = "x".repeat(300);
    world.append("t", &payload).unwrap();
    world.append("t", &payload).unwrap();
    assert_eq!(
        world.append("t", &payload),
        Err(AppendError::Congested),
        "more is prepared"
    );
    world.log.set_room(1_000, true);
    assert_eq!(world.append("t", &payload), Err(AppendError::DiskFull));
    world.log.set_room(1 << 20, false);
    world.append("t", &payload).unwrap();
}

#[test]
fn what_failed_is_told_from_what_waits() {
    let mut world = World::new(|_| {});
    let stored = world.append("t", "1").unwrap();
    world.write();
    let failed = world.append("t", "2").unwrap();
    world.log.fail(failed.lsn);
    assert_eq!(world.log.fate(stored.lsn), Fate::Durable);
    assert_eq!(world.log.fate(failed.lsn), Fate::Failed);
    assert_eq!(world.log.fate(Lsn(failed.lsn.0 + 1)), Fate::Pending);
    assert!(!world.log.has_batch());
    assert_eq!(world.read(stored.topic, 0).0, ["1"]);
}
