//! Segments in which few messages are retained are emptied, whichever they are.

use std::time::Duration;

use heartwire_log::store::SegmentId;
use heartwire_log::{Load, Log};
use heartwire_proto::Offset;

use super::shelf::*;

/// A sweep, and what it wants read and written.
fn sweep_through(world: &mut World) {
    for load in world.sweep() {
        world.bring(&load);
    }
    world.write();
}

#[test]
fn a_dense_segment_does_not_keep_the_sparse_ones_behind_it() {
    let mut world = churning();
    let kept = world.publish("kept", 1..=4);
    let old = world.add_sparse("old");
    for _ in 0..10 {
        sweep_through(&mut world);
    }
    assert_eq!(world.unused(), [2, 3, 4, 5, 6, 7].map(SegmentId));
    world.cool();
    for (topic, count) in [(kept, 4), (old, 10)] {
        assert_eq!(world.read(topic, 0), (vec![], true));
        while let Some(load) = world.loads().pop() {
            world.bring(&load);
            world.read(topic, 0);
        }
        assert_eq!(world.read(topic, 0), (texts(1..=count), false));
    }
}

#[test]
fn a_topic_is_moved_out_of_a_segment_between_others_that_hold_it() {
    let mut world = churning();
    let topic = world.publish("t", 1..=4);
    world.publish("t", [5]);
    world.publish("churn", 1..=3);
    world.publish("t", 6..=9);
    world.add_sparse("old");
    let loads = world.sweep();
    let from: Vec<_> = loads.iter().map(|load| load.after.0 + 1).collect();
    assert_eq!(
        (from, loads[0].places.len()),
        (vec![5], 1),
        "the fifth stands alone"
    );
    world.bring(&loads[0]);
    world.write();
    assert_eq!(world.unused(), [SegmentId(2)]);
    world.cool();
    assert_eq!(world.read(topic, 0), (vec![], true));
    let load = world.loads().remove(0);
    assert_eq!(load.places[4].segment, SegmentId(14));
    world.bring(&load);
    assert_eq!(world.read(topic, 0), (texts(1..=9), false));
}

#[test]
fn a_segment_that_the_system_refuses_to_read_keeps_no_others() {
    let (mut world, _) = sparse();
    let refused = world.sweep().remove(0);
    assert_eq!(refused.places[0].segment, SegmentId(1));
    world.log.loaded(&refused, Vec::new());
    for _ in 0..10 {
        sweep_through(&mut world);
    }
    assert_eq!(world.unused(), [2, 3, 4, 5].map(SegmentId));

    // It is tried again when the disk may be well.
    world.millis += u64::try_from(Duration::from_secs(60).as_millis()).unwrap();
    world.expire();
    world.add_sparse("more");
    assert_eq!(world.sweep()[0].places[0].segment, SegmentId(1));
}

/// A first segment with one message each of a hundred topics, and ten with one message each.
fn world_of_many() -> World {
    let mut world = churning();
    world.shelf.per_segment = 200;
    for topic in 0..100 {
        world.publish(&format!("slow{topic}"), [1]);
        world.publish("churn", [1]);
    }
    for n in 1..=10 {
        world.publish("old", [n]);
        world.publish("churn", 0..199);
    }
    world
}

fn bring_all(world: &mut World, loads: &[Load]) {
    for load in loads {
        world.bring(load);
    }
}

#[test]
fn a_segment_of_many_topics_is_emptied_as_fast_as_they_are_read_and_written() {
    let mut world = world_of_many();
    let mut loads = world.sweep();
    for _ in 0..100_usize.div_ceil(Log::SWEEP_LOADS_MAX) {
        assert_eq!(world.unused(), []);
        assert_eq!(world.go_on_sweeping(), [], "they are under way");
        assert!(loads.len() <= Log::SWEEP_LOADS_MAX);
        bring_all(&mut world, &loads);
        assert_eq!(world.go_on_sweeping(), [], "they are not written yet");
        world.write();
        loads = world.go_on_sweeping();
    }
    assert_eq!(world.unused(), [SegmentId(1)]);

    // The others follow, until they are too few.
    for segment in [2, 3, 4, 5].map(SegmentId) {
        bring_all(&mut world, &loads);
        world.write();
        loads = world.go_on_sweeping();
        assert_eq!(world.unused(), [segment]);
    }
    assert_eq!(loads, []);
}

#[test]
fn a_sweep_that_is_held_up_goes_on_with_the_next_second() {
    type HoldUp = fn(&mut World, &[Load]);
    let hold_ups: [(&str, HoldUp); 3] = [
        ("no room", |world, loads| {
            world.log.set_room(600, false);
            bring_all(world, loads);
            world.log.set_room(1 << 20, false);
        }),
        ("a read that is refused", |world, loads| {
            bring_all(world, &loads[1..]);
            world.log.loaded(&loads[0], Vec::new());
        }),
        ("a log that is about to end", |world, loads| {
            bring_all(world, loads);
            world.log.set_accepting(false);
        }),
    ];
    for (what, hold_up) in hold_ups {
        let mut world = world_of_many();
        let loads = world.sweep();
        hold_up(&mut world, &loads);
        world.write();
        assert_eq!(world.go_on_sweeping(), [], "{what}");
        world.log.set_accepting(true);
        assert_ne!(world.sweep(), [], "{what}");
    }
}

#[test]
fn a_sweep_leaves_room_for_new_messages_until_the_next_segment_stands_ready() {
    let mut world = world_of_many();
    let loads = world.sweep();
    bring_all(&mut world, &loads);
    world.write();
    let half = world.shelf.segment_bytes() / 2;
    world.log.set_room(half - 1, false);
    assert_eq!(world.go_on_sweeping(), []);
    world.log.set_room(half, false);
    assert_ne!(world.go_on_sweeping(), []);
}

#[test]
fn a_sweep_that_looks_at_few_topics_at_once_comes_to_the_last() {
    let mut world = world_of_many();
    let mut loads = world.sweep();
    while world.unused().is_empty() {
        assert_ne!(loads, []);
        bring_all(&mut world, &loads);
        world.write();
        loads.clear();
        world.log.go_on_sweeping(40, &mut loads);
    }
    // The only message of the next segment is one of the last topic, and this was the first look.
    let mut looks = 1;
    while loads.is_empty() && looks < 10 {
        world.log.go_on_sweeping(40, &mut loads);
        looks += 1;
    }
    assert_eq!((loads.len(), looks), (1, 6), "twenty topics at a time");
    assert_eq!(loads[0].places[0].segment, SegmentId(2));
}

#[test]
fn a_sweep_stops_in_the_middle_of_a_long_topic_and_goes_on_from_there() {
    let mut world = churning();
    world.shelf.per_segment = 60;
    world.publish("long", 1..=60);
    for n in 61..=70 {
        world.publish("long", [n]);
        world.publish("churn", 1..=59);
    }
    let segment_bytes = world.shelf.segment_bytes();
    let mut loads = Vec::new();
    world.log.sweep(segment_bytes, 10, &mut loads);
    let mut looks = 1;
    while loads.is_empty() && looks < 20 {
        world.log.go_on_sweeping(10, &mut loads);
        looks += 1;
    }
    assert_eq!((loads.len(), looks), (1, 6), "ten messages at a time");
    assert_eq!(loads[0].after, Offset(60));
    assert_eq!(loads[0].places[0].segment, SegmentId(2));
}
