//! Segments go when nothing in them is retained: messages age, are trimmed, and are moved.

use std::time::Duration;

use heartwire_log::store::{Batch, DiskPlace, Record, RecoveredTopic, SegmentId, SegmentInfo};
use heartwire_log::{Log, LogConfig, ProducerKey, Retention, TopicId};
use heartwire_proto::id::TopicRef;
use heartwire_proto::{Epoch, Offset, Seq, Time};

use super::shelf::*;

#[test]
fn segments_go_when_nothing_in_them_is_retained() {
    let retention = Retention {
        count_max: 5,
        ..Retention::default()
    };
    let mut world = World::new(|config| config.policy.retention = retention);
    let unused = |world: &mut World| {
        let mut unused = Vec::new();
        world.log.take_unused(&mut unused);
        unused
    };
    world.publish("keeps", [1]);
    world.publish("moves", 1..=11);
    assert_eq!(unused(&mut world), [], "7 stands in the second");
    world.publish("moves", 12..=20);
    // The first holds the one that is kept, the fifth 16.
    assert_eq!(unused(&mut world), [2, 3, 4].map(SegmentId));
}

#[test]
fn a_few_old_messages_do_not_keep_segments() {
    let (mut world, old) = sparse();
    let mut unused = Vec::new();
    world.log.take_unused(&mut unused);
    assert_eq!(unused, [], "each holds an old message");
    let mut loads = Vec::new();
    for _ in 0..10 {
        world.log.sweep(800, 100, &mut loads);
        for load in std::mem::take(&mut loads) {
            world.bring(&load);
        }
        assert_eq!(world.write(), [], "nothing becomes visible by it");
    }
    world.log.take_unused(&mut unused);
    assert_eq!(
        unused,
        [1, 2, 3, 4].map(SegmentId),
        "seven are not worth it"
    );
    world.cool();
    world.read(old, 0);
    let load = world.loads().remove(0);
    world.bring(&load);
    assert_eq!(world.read(old, 0), (texts(1..=10), false));
}

#[test]
fn what_the_disk_has_lost_is_named_before_its_segment_goes() {
    let (mut world, old) = sparse();
    let mut loads = Vec::new();
    world.log.sweep(800, 100, &mut loads);
    assert_eq!(loads.len(), 1);
    let nothing = loads[0].places.iter().map(|_| None).collect();
    world.log.loaded(&loads[0], nothing);
    let mut unused = Vec::new();
    world.log.take_unused(&mut unused);
    assert_eq!(unused, [], "nothing has been written yet");
    world.write();
    assert_eq!(world.shelf.lost, [Offset(1)]);
    world.log.take_unused(&mut unused);
    assert_eq!(unused, [SegmentId(1)]);
    assert_eq!(
        world.log.topic(old).map(|topic| topic.base()),
        Some(Offset::ZERO)
    );
}

#[test]
fn what_moves_while_it_is_read_is_lost_to_nobody() {
    let (mut world, old) = sparse();
    world.cool();
    world.read(old, 0);
    let slow = world.loads().remove(0);
    let mut moves = Vec::new();
    world.log.sweep(800, 100, &mut moves);
    for load in moves {
        world.bring(&load);
    }
    world.write();
    // The first segment is gone by the time the reader comes to it.
    let mut messages: Vec<_> = slow.places.iter().map(|_| None).collect();
    for (place, message) in slow.places.iter().zip(&mut messages).skip(1) {
        *message = Some(world.shelf.entry(*place));
    }
    world.log.loaded(&slow, messages);
    assert_eq!(
        world.read(old, 0),
        (Vec::new(), true),
        "it is asked for again"
    );
    let again = world.loads().remove(0);
    world.bring(&again);
    assert_eq!(world.read(old, 0), (texts(1..=10), false));
}

#[test]
fn messages_age_on_disk_as_in_memory() {
    let age_max = Duration::from_secs(3_600);
    let mut world = World::new(|config| config.policy.retention.age_max = age_max);
    let topic = world.publish("t", 1..=3);
    world.cool();
    world.publish("t", [4]);
    world.millis += 3_600_000 - 300_000;
    world.expire();
    // The fourth stands in the segment of the three, which is as old as its youngest message.
    assert_eq!(world.log.topic(topic).unwrap().base(), Offset(0));
    world.millis += 300_000;
    world.expire();
    let held = world.log.topic(topic).unwrap();
    assert_eq!((held.base(), held.end()), (Offset(4), Offset(4)));
    assert_eq!(held.disk_bytes(), 0);
}

#[test]
fn a_segment_that_one_topic_lets_go_of_at_the_start_stays_for_the_others() {
    let at = |position| DiskPlace {
        segment: SegmentId(1),
        position,
        bytes: 100,
    };
    let topic = |name: &str, places: Vec<DiskPlace>| RecoveredTopic {
        name: name.parse().unwrap(),
        origin: Epoch::from_random(1),
        epoch: Epoch::from_random(1),
        base: Offset::ZERO,
        end: Offset(places.len() as u64),
        last_append: Time::ZERO,
        places: places.into_iter().collect(),
        gaps: Vec::new(),
    };
    let newer = DiskPlace {
        segment: SegmentId(2),
        ..at(0)
    };
    let recovered = found(
        vec![topic("a", vec![at(0), newer]), topic("b", vec![at(1)])],
        Vec::new(),
    );
    let mut config = LogConfig::default();
    config.policy.retention.count_max = 1;
    let (mut log, _) = Log::recover(config, recovered);
    let mut unused = Vec::new();
    log.take_unused(&mut unused);
    assert_eq!(unused, [], "b has a message in it");
}

#[test]
fn a_message_that_moves_when_its_topic_is_forgotten_leaves_others_where_they_are() {
    let (mut world, old) = sparse();
    let mut loads = Vec::new();
    world.log.sweep(800, 100, &mut loads);
    world.bring(&loads[0]);
    world.millis += 31 * 24 * 3_600_000;
    while world
        .log
        .expire(Time::from_millis(world.millis), 100, |_| false)
    {}
    assert!(world.log.topic(old).is_none(), "everybody has forgotten it");
    let topic = world.publish("new", 1..=3);
    world.cool();
    assert_eq!(world.read(topic, 0), (vec![], true));
    let load = world.loads().remove(0);
    world.bring(&load);
    assert_eq!(world.read(topic, 0), (texts(1..=3), false));
}

/// A topic whose first three messages are older than an hour, in the segment of one that is not.
fn partly_old() -> (World, TopicId) {
    let hour = Duration::from_secs(3_600);
    let mut world = World::new(|config| config.policy.retention.age_max = hour);
    let topic = world.publish("t", 1..=3);
    world.millis += 3_000_000;
    world.publish("t", [4]);
    world.millis += 100_000;
    world.cool();
    let base = world.log.topic(topic).unwrap().base();
    assert_eq!(base, Offset(0), "their segment is younger");
    (world, topic)
}

#[test]
fn what_has_outlived_its_age_is_given_to_nobody_though_its_segment_has_not() {
    let (mut world, topic) = partly_old();
    assert_eq!(world.read(topic, 0), (vec![], true));
    let load = world.loads().remove(0);
    world.bring(&load);
    let held = world.log.topic(topic).unwrap();
    assert_eq!((held.base(), held.disk_bytes()), (Offset(3), 100));
    assert_eq!(world.read(topic, 3), (texts([4]), false));

    // It was read back in time, and is in memory when its time comes.
    world.millis += 2_400_000;
    world.expire();
    assert_eq!(world.log.topic(topic).unwrap().base(), Offset(3));
    world.millis += 1_000_000;
    world.expire();
    assert_eq!(world.log.topic(topic).unwrap().base(), Offset(4));
}

#[test]
fn what_was_read_back_is_given_to_nobody_beyond_its_age_though_what_comes_before_was_not() {
    let hour = Duration::from_secs(3_600);
    let mut world = World::new(|config| config.policy.retention.age_max = hour);
    let topic = world.publish("t", 1..=3);
    world.millis += 2_500_000;
    world.publish("t", [4]);
    world.cool();
    assert_eq!(world.read(topic, 2), (vec![], true));
    let load = world.loads().remove(0);
    world.bring(&load);
    assert_eq!(world.read(topic, 2), (texts(3..=4), false));

    // The first two stand on disk alone, in a segment that is younger.
    world.millis += 600_000;
    world.expire();
    assert_eq!(world.log.topic(topic).unwrap().base(), Offset(3));
    assert_eq!(world.read(topic, 3), (texts([4]), false));
}

#[test]
fn what_stayed_in_memory_is_given_to_nobody_beyond_its_age_though_what_comes_before_did_not() {
    let hour = Duration::from_secs(3_600);
    let mut world = World::new(|config| {
        config.policy.retention.age_max = hour;
        config.hot_age_max = 2 * hour;
        config.hot_bytes_max = 200;
    });
    let topic = world.publish("t", 1..=3);
    world.millis += 3_000_000;
    world.publish("other", [1]);
    assert!(world.read(topic, 0).1, "not all have room in memory");
    let in_memory = world.read(topic, 2);
    assert_eq!(in_memory, (texts([3]), false));
    world.millis += 700_000;
    world.expire();
    assert_eq!(world.log.topic(topic).unwrap().base(), Offset(3));
}

#[test]
fn a_message_that_waits_long_for_the_disk_leaves_memory_soon_after_it_has_come_there() {
    let mut world = World::new(|_| {});
    let topic = world.publish("t", [1]);
    world.append("t", "2").unwrap();
    world.cool();
    world.write();
    assert_eq!(world.read(topic, 1), (texts([2]), false));
    world.millis += 2_000;
    world.expire();
    assert_eq!(world.read(topic, 1), (vec![], true));
}

#[test]
fn a_message_behind_others_on_disk_alone_leaves_memory_in_its_time() {
    let mut world = World::new(|_| {});
    let topic = world.publish("t", [1]);
    world.cool();
    world.publish("t", [2]);
    assert_eq!(world.read(topic, 1), (texts([2]), false));
    world.cool();
    assert_eq!(world.read(topic, 1), (vec![], true));
}

#[test]
fn the_disk_is_told_of_a_topic_that_is_followed_as_soon_as_there_is_room() {
    let mut world = World::new(|_| {});
    world.publish("t", [1]);
    world.log.set_room(0, false);
    world.millis += 32 * 24 * 3_600_000;
    world.expire();
    assert!(!world.log.has_batch(), "there is no room");
    world.log.set_room(1 << 20, false);
    world.millis += 1_000;
    world.expire();
    let mut batch = Batch::default();
    assert!(world.log.take_batch(&mut batch));
    assert!(
        matches!(&batch.records[..], [Record::Epoch { topic, .. }] if topic.as_str() == "t"),
        "{:?}",
        batch.records
    );
    assert_eq!(batch.time, Time::from_millis(world.millis));
}

#[test]
fn what_has_outlived_its_age_is_not_moved() {
    let (mut world, old) = sparse();
    let age_max = world.log.config().policy.retention.age_max;
    world.millis += u64::try_from(age_max.as_millis()).unwrap();
    let written = world.shelf.written.len();
    let mut loads = Vec::new();
    world.log.sweep(800, 100, &mut loads);
    // The clock goes on while the messages are read.
    world.append("other", "1").unwrap();
    world.write();
    world.bring(&loads[0]);
    world.write();
    assert_eq!(world.shelf.written.len(), written + 1, "the other alone");
    let mut unused = Vec::new();
    world.log.take_unused(&mut unused);
    assert_eq!(unused, [SegmentId(1)]);
    assert_eq!(world.log.topic(old).unwrap().base(), Offset(1));
}

#[test]
fn more_topics_than_the_index_may_hold_keep_their_newest_message_each() {
    let mut world = World::new(|config| config.index_max = 2);
    for topic in ["a", "b", "c", "d"] {
        world.publish(topic, 1..=3);
    }
    for topic in ["a", "b", "c", "d"] {
        let id = world.log.find(TopicRef::parse(topic).unwrap()).unwrap();
        let held = world.log.topic(id).unwrap();
        assert_eq!((held.base(), held.end()), (Offset(2), Offset(3)), "{topic}");
    }
}

#[test]
fn a_wide_gap_takes_no_more_memory_than_messages_would() {
    let at = |position| DiskPlace {
        segment: SegmentId(1),
        position,
        bytes: 100,
    };
    let far = 1 << 50;
    let topic = RecoveredTopic {
        name: "t".parse().unwrap(),
        origin: Epoch::from_random(1),
        epoch: Epoch::from_random(1),
        base: Offset::ZERO,
        end: Offset(far + 2),
        last_append: Time::ZERO,
        places: [at(0), at(1), at(2), at(3)].into_iter().collect(),
        gaps: vec![(Offset(3), Offset(far))],
    };
    let recovered = found(vec![topic], Vec::new());
    let mut config = LogConfig::default();
    config.policy.retention.count_max = 10;
    let (mut log, _) = Log::recover(config, recovered);
    let id = log.find(TopicRef::parse("t").unwrap()).unwrap();
    assert_eq!(log.topic(id).unwrap().base(), Offset(far - 8));
    assert!(log.read(id, Offset(far), |_, _| true).unwrap().is_cold);
    let (mut loads, mut warm) = (Vec::new(), Vec::new());
    log.take_loads(&mut loads, &mut warm);
    assert_eq!(loads[0].places, [at(2), at(3)]);
    assert_eq!(log.disk_usage().retained_bytes, 200);
}

#[test]
fn what_damage_took_is_told_as_damage_until_the_message_behind_it_is_too_old() {
    let hour_ms = 3_600_000;
    let place = DiskPlace {
        segment: SegmentId(1),
        position: 64,
        bytes: 100,
    };
    let mut recovered = found(
        vec![RecoveredTopic {
            name: "t".parse().unwrap(),
            origin: Epoch::from_random(1),
            epoch: Epoch::from_random(1),
            base: Offset::ZERO,
            end: Offset(4),
            last_append: Time::from_millis(50 * hour_ms),
            places: [place].into_iter().collect(),
            gaps: vec![(Offset(1), Offset(3))],
        }],
        Vec::new(),
    );
    recovered.log_time = Time::from_millis(50 * hour_ms);
    recovered.segments = vec![SegmentInfo {
        id: SegmentId(1),
        last_time: Time::from_millis(50 * hour_ms),
        bytes: 164,
    }];
    let (mut log, _) = Log::recover(LogConfig::default(), recovered);
    let id = log.find(TopicRef::parse("t").unwrap()).unwrap();
    for (hour, base) in [(51, 0), (73, 0), (74, 4)] {
        let now = Time::from_millis(hour * hour_ms);
        while log.expire(now, 100, |_| true) {}
        assert_eq!(log.topic(id).unwrap().base(), Offset(base), "{hour} h");
    }
}

#[test]
fn of_too_many_producers_those_that_published_last_are_remembered() {
    let key = ProducerKey::new(1);
    let producer = |n: u64| key.producer(None, &format!("client-{n:012}").parse().unwrap());
    let published = [(1, 50), (2, 10), (3, 40), (4, 20), (5, 30)];
    let known = published.map(|(n, at)| (producer(n), Seq(n), Time::from_millis(at)));
    let recovered = found(Vec::new(), known.to_vec());
    let config = LogConfig {
        producers_max: 3,
        ..LogConfig::default()
    };
    let (log, _) = Log::recover(config, recovered);
    let known = (1..=5).filter(|n| log.durable(producer(*n)).is_some());
    assert_eq!(known.collect::<Vec<u64>>(), [1, 3, 5]);
}
