//! Segments in which few messages are retained are emptied, whichever they are.

use std::time::Duration;

use heartwire_log::store::SegmentId;

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
