//! Nothing that tells a position is ahead of what is durable `[SUB-5]` `[MSG-6]`.

use heartwire_hub::{Delivery, Filled, History};
use heartwire_proto::frame::SubFrom;
use heartwire_proto::{Cursor, Offset};

use crate::world::{World, topic};

fn at(offset: u64) -> Cursor {
    let epoch = "00000001".parse().unwrap();
    Cursor::At {
        epoch,
        offset: Offset(offset),
    }
}

fn page(world: &mut World) -> Option<(usize, Cursor)> {
    match world.hub.history(topic("t"), SubFrom::Head, 100) {
        History::Page { messages, next, .. } => Some((messages.len(), next)),
        _ => None,
    }
}

#[test]
fn nothing_is_visible_before_it_is_committed() {
    let mut world = World::new();
    let (early, late) = (world.open("early", 1), world.open("late", 1));
    world.say(early, "sub t");
    world.take(early);
    world.gate_is_held = true;
    world.publish("t", "one");
    assert!(world.take(early).is_empty(), "no delivery, no epoch");
    world.say(late, "sub t");
    assert_eq!(
        world.take(late),
        ["subbed t 0"],
        "nobody knows that it is about to be born"
    );
    assert_eq!(page(&mut world), None);
    assert!(world.hub.topics(None, 10, world.time())[0].epoch.is_none());

    world.release();
    assert_eq!(world.take(early).len(), 2);
    world.gate_is_held = true;
    world.publish("t", "two");
    assert!(world.take(early).is_empty());
    for from in ["", " head", " last 1", " 00000001.2"] {
        world.say(late, &format!("sub t{from}"));
        let subbed = world.take(late).remove(if from.is_empty() { 2 } else { 0 });
        let cursor: Vec<_> = subbed.split([' ', '.']).collect();
        assert!(cursor[3].parse::<u64>().unwrap() <= 1, "{subbed}");
    }
    assert_eq!(page(&mut world), Some((1, at(1))));
    world.advance(11_000);
    let pings: Vec<_> = world
        .take(early)
        .into_iter()
        .filter(|frame| frame.starts_with("ping"))
        .collect();
    assert_eq!(pings, ["ping 1\nt 00000001.1"]);
    world.release();
    assert_eq!(page(&mut world), Some((2, at(2))));
}

#[test]
fn what_failed_was_never_seen_and_its_offset_is_used_by_another() {
    let mut world = World::new();
    let end = world.open("ann", 1);
    world.say(end, "sub t");
    world.publish("t", "one");
    world.take(end);
    world.gate_is_held = true;
    world.publish("t", "never");
    world.fail();
    world.publish("t", "two");
    let frames = world.take(end);
    assert_eq!(frames.len(), 1);
    assert!(frames[0].starts_with("msg t 2 ") && frames[0].ends_with("two"));
}

#[test]
fn a_topic_whose_birth_failed_was_never_there() {
    let mut world = World::new();
    let end = world.open("ann", 1);
    world.say(end, "sub t");
    world.gate_is_held = true;
    world.publish("t", "never");
    world.fail();
    assert_eq!(world.hub.log().topics_len(), 0);
    world.publish("t", "one");
    let frames = world.take(end);
    assert_eq!(frames[..2], ["subbed t 0", "epoch t 00000001"]);
}

#[test]
fn a_reader_inside_the_process_sees_what_a_socket_sees() {
    let mut world = World::new();
    let woken = 1_000;
    let key = world.hub.open_reader(woken).unwrap();
    let start = world.hub.follow(key, topic("t"), SubFrom::Tail).unwrap();
    assert_eq!((start.cursor, start.gap), (Cursor::Start, None));
    let read = |world: &mut World| {
        let mut seen = Vec::new();
        let filled = world.hub.read(key, 1 << 20, &mut |delivery| {
            seen.push(match delivery {
                Delivery::Epoch { topic, epoch } => format!("epoch {topic} {epoch}"),
                Delivery::Gap { topic, gap } => format!("gap {topic} {gap}"),
                Delivery::Message { offset, entry, .. } => {
                    format!("{offset} {}", entry.payload().len())
                }
            });
        });
        assert_eq!(filled, Filled::Drained);
        seen
    };
    assert!(read(&mut world).is_empty());
    let mut wakes = Vec::new();
    world.hub.take_wakes(&mut wakes);
    assert!(wakes.is_empty());
    for text in ["a", "bb"] {
        let now = world.now();
        let append = heartwire_hub::Append {
            topic: topic("t"),
            payload: heartwire_proto::frame::Message::Text(text),
            from: None,
            producer: None,
        };
        world.hub.publish(append, now).unwrap();
        world.hub.commit_memory();
    }
    world.hub.take_wakes(&mut wakes);
    assert_eq!(
        wakes,
        [woken],
        "it is woken once, until it has been drained"
    );
    assert_eq!(read(&mut world), ["epoch t 00000001", "1 1", "2 2"]);
    world.hub.leave(key);
    assert!(world.hub.follow(key, topic("t"), SubFrom::Tail).is_err());
}
