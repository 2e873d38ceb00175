//! An index that is full: the longest topics lose their oldest messages, however many topics there are.

use heartwire_log::store::{DiskPlace, RecoveredTopic, SegmentId};
use heartwire_log::{Log, LogConfig};
use heartwire_proto::{Epoch, Offset, Time};
use proptest::prelude::*;

use super::shelf::*;

/// So many topics, `t0` and on, each with so many messages in the first segments.
fn world_of(topics: u32, messages: u32, config: LogConfig) -> World {
    let place = |number: u32| DiskPlace {
        segment: SegmentId(1),
        position: number,
        bytes: 100,
    };
    let topic = |number: u32| RecoveredTopic {
        name: format!("t{number}").parse().unwrap(),
        origin: Epoch::from_random(1),
        epoch: Epoch::from_random(1),
        base: Offset::ZERO,
        end: Offset(u64::from(messages)),
        last_append: Time::ZERO,
        places: (0..messages).map(place).collect(),
        gaps: Vec::new(),
    };
    let recovered = found((0..topics).map(topic).collect(), Vec::new());
    let mut world = World::new(|_| {});
    (world.log, _) = Log::recover(config, recovered);
    world.log.set_room(1 << 20, false);
    world
}

/// How many messages each topic retains.
fn lengths(log: &Log) -> Vec<u64> {
    let topics = log.topics_after(None);
    topics
        .map(|(_, topic)| topic.end().0 - topic.base().0)
        .collect()
}

/// Looking at all topics with every message would be two billion looks.
#[test]
fn many_equal_topics_make_room_in_a_full_index_one_after_the_other() {
    let config = LogConfig {
        index_max: 400_000,
        ..LogConfig::default()
    };
    let mut world = world_of(100_000, 4, config);
    for number in 0..20_000 {
        world.append(&format!("t{number}"), "5").unwrap();
        world.write();
    }
    let lengths = lengths(&world.log);
    assert_eq!(
        lengths.iter().sum::<u64>(),
        400_000,
        "no more goes than has to"
    );
    assert!(
        lengths.iter().all(|length| (3..=5).contains(length)),
        "the longest had five: none has lost more than half of that"
    );
}

#[test]
fn a_start_with_a_smaller_index_trims_long_topics_to_it() {
    let config = LogConfig {
        index_max: 1_500,
        ..LogConfig::default()
    };
    let world = world_of(1_000, 20, config);
    let lengths = lengths(&world.log);
    assert_eq!(lengths.iter().sum::<u64>(), 1_500);
    assert!(lengths.iter().all(|length| (1..=3).contains(length)));
}

proptest! {
    #[test]
    fn the_index_stays_within_its_bound_whatever_comes_and_goes(
        steps in proptest::collection::vec((0_u32..6, 1_u32..8), 1..40),
    ) {
        let config = LogConfig {
            index_max: 9,
            ..LogConfig::default()
        };
        let mut world = world_of(4, 5, config);
        let mut expected = 9;
        for (number, count) in steps {
            if (number, count) == (5, 7) {
                expected = 0;
                world.millis += 40 * 24 * 3_600_000;
                let now = Time::from_millis(world.millis);
                while world.log.expire(now, 100, |_| false) {}
            } else {
                expected = (expected + u64::from(count)).min(9);
                for text in 0..count {
                    world.append(&format!("t{number}"), &text.to_string()).unwrap();
                }
                world.write();
            }
            let lengths = lengths(&world.log);
            prop_assert_eq!(lengths.iter().sum::<u64>(), expected);
            prop_assert!(lengths.iter().all(|length| *length > 0));
        }
    }
}
