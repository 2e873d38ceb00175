//! What stands on disk alone is read back for who is behind.

use heartwire_proto::Offset;

use super::shelf::*;

#[test]
fn what_stands_on_disk_alone_is_read_back_for_who_is_behind() {
    let mut world = World::new(|config| config.load_messages_max = 4);
    let topic = world.publish("t", 1..=10);
    assert_eq!(world.read(topic, 0), (texts(1..=10), false));
    world.cool();
    let memory = world.log.bytes();
    assert_eq!(memory, 0, "all of it is on disk");
    world.publish("t", 11..=12);

    let mut read = Vec::new();
    for round in 0.. {
        assert!(round < 5, "three loads are enough");
        let (more, is_cold) = world.read(topic, read.len() as u64);
        read.extend(more);
        if !is_cold {
            break;
        }
        let loads = world.loads();
        assert_eq!(loads.len(), 1, "asked for once, however often it is read");
        assert_eq!(world.read(topic, read.len() as u64), (vec![], true));
        assert_eq!(world.loads(), [], "it is on its way");
        world.bring(&loads[0]);
    }
    assert_eq!(read, texts(1..=12));
    assert_eq!(world.read(topic, 4), (texts(5..=12), false), "it is kept");
}

#[test]
fn what_was_read_back_goes_again_when_others_need_the_room() {
    let mut world = World::new(|config| config.warm_bytes_max = 1);
    let (one, two) = (world.publish("one", 1..=3), world.publish("two", 1..=3));
    world.cool();
    for topic in [one, two, one] {
        assert_eq!(world.read(topic, 0), (vec![], true));
        let loads = world.loads();
        world.bring(&loads[0]);
        assert_eq!(world.read(topic, 0), (texts(1..=3), false));
        let read = loads[0].places.iter().map(|at| world.shelf.entry(*at));
        let bytes: usize = read.map(|entry| entry.memory_bytes()).sum();
        assert_eq!(world.log.warm_bytes(), bytes, "only what was read last");
    }
}

#[test]
fn no_more_is_read_back_at_a_time_than_the_bound() {
    let mut world = World::new(|config| config.loads_max = 2);
    let topics = ["a", "b", "c"].map(|name| world.publish(name, 1..=3));
    world.cool();
    let is_cold = topics.map(|topic| world.read(topic, 0).1);
    assert_eq!(is_cold, [true; 3]);
    let loads = world.loads();
    assert_eq!((loads.len(), world.loads()), (2, vec![]), "one waits");
    world.bring(&loads[1]);
    let third = world.loads();
    assert_eq!(third.len(), 1, "it takes the place of what has come");
    assert!(loads.iter().all(|load| load.topic != third[0].topic));
}

#[test]
fn a_message_that_the_disk_has_lost_is_told_and_passed_by() {
    let mut world = World::new(|_| {});
    let topic = world.publish("t", 1..=3);
    world.cool();
    world.read(topic, 0);
    let load = world.loads().remove(0);
    let mut messages: Vec<_> = load
        .places
        .iter()
        .map(|at| Some(world.shelf.entry(*at)))
        .collect();
    messages[1] = None;
    world.log.loaded(&load, messages);
    let lost = |n: &str| n.to_owned();
    assert_eq!(world.read(topic, 0).0, [lost("1"), lost("lost"), lost("3")]);
}

#[test]
fn who_waits_for_what_is_trimmed_meanwhile_is_not_forgotten() {
    let mut world = World::new(|config| config.policy.retention.count_max = 3);
    let topic = world.publish("t", 1..=3);
    world.cool();
    assert!(world.read(topic, 0).1);
    world.publish("t", 4..=9);
    let (mut loads, mut warm) = (Vec::new(), Vec::new());
    world.log.take_loads(&mut loads, &mut warm);
    assert_eq!(
        (loads.len(), warm),
        (0, vec![topic]),
        "it is to be asked again"
    );
    assert_eq!(world.read(topic, 0), (texts(7..=9), false));
}

#[test]
fn what_could_not_be_read_is_not_lost() {
    let (mut world, old) = sparse();
    let mut loads = Vec::new();
    world.log.sweep(800, 100, &mut loads);
    world.log.loaded(&loads[0], Vec::new());
    world.write();
    assert_eq!(world.shelf.lost, []);
    world.cool();
    world.read(old, 0);
    let load = world.loads().remove(0);
    world.log.loaded(&load, Vec::new());
    assert_eq!(world.read(old, 0), (texts([]), true));
    let again = world.loads().remove(0);
    world.bring(&again);
    let (read, _) = world.read(old, 0);
    assert_eq!(read.first().map(String::as_str), Some("1"), "{read:?}");
}

#[test]
fn what_two_wait_for_at_different_places_is_read_once_when_retention_has_passed_both() {
    let mut world = World::new(|config| config.policy.retention.count_max = 5);
    let topic = world.publish("t", 1..=5);
    world.cool();
    assert_eq!(world.read(topic, 0), (vec![], true));
    assert_eq!(world.read(topic, 1), (vec![], true));
    world.publish("t", 6..=8);
    let loads = world.loads();
    assert_eq!(loads.len(), 1, "both wait for the same: {loads:?}");
    assert_eq!(loads[0].after, Offset(3));
    world.bring(&loads[0]);
    assert_eq!(world.read(topic, 3), (texts(4..=8), false));
    world.cool();
    assert_eq!(world.loads(), [], "nobody waits any more");
}
