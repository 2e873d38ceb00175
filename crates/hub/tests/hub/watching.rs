//! Who watches a pattern hears of each topic that moves, the new ones included, and of each once.

use heartwire_hub::{Append, History, HubState, Now, PageLimits, WatchKey};
use heartwire_proto::frame::{Message, SubFrom};
use heartwire_proto::{Time, WallTime};

use crate::world::{World, topic};

const WATCHER: usize = 7;

/// Publishes without filling anybody; whether the watcher was woken.
fn publish(hub: &mut HubState<usize>, names: &[&str]) -> bool {
    for name in names {
        let append = Append {
            topic: topic(name),
            payload: Message::Text("x"),
            from: None,
            producer: None,
        };
        let now = Now {
            time: Time::ZERO,
            wall: WallTime::default(),
            random: 7,
        };
        hub.publish(append, now).unwrap();
    }
    hub.commit_memory();
    let mut wakes = Vec::new();
    hub.take_wakes(&mut wakes);
    assert!(wakes.len() <= 1, "one wake for whatever moved: {wakes:?}");
    wakes == [WATCHER]
}

fn moved(hub: &mut HubState<usize>, key: WatchKey, count_max: usize) -> Vec<(String, u64)> {
    let moved = hub.take_moved(key, count_max).into_iter();
    let mut moved: Vec<_> = moved
        .map(|moved| (moved.topic.to_string(), moved.end.offset().0))
        .collect();
    moved.sort_unstable();
    moved
}

#[test]
fn what_is_there_counts_as_moved_and_new_topics_are_told_of() {
    let mut hub = World::new().hub;
    publish(&mut hub, &["news:a", "other"]);
    let key = hub.watch("news:*".parse().unwrap(), WATCHER);
    assert_eq!(moved(&mut hub, key, 10), [("news:a".to_owned(), 1)]);
    assert!(moved(&mut hub, key, 10).is_empty());
    assert!(!publish(&mut hub, &["other"]), "not its topic");
    assert!(publish(&mut hub, &["news:b", "news:a"]));
    let told = [("news:a".to_owned(), 2), ("news:b".to_owned(), 1)];
    assert_eq!(moved(&mut hub, key, 10), told);
}

#[test]
fn a_topic_that_moves_often_is_told_of_once_and_woken_for_once() {
    let mut hub = World::new().hub;
    let key = hub.watch("*".parse().unwrap(), WATCHER);
    assert!(publish(&mut hub, &["t"]));
    assert!(
        !publish(&mut hub, &["t", "t", "u"]),
        "it has not looked yet"
    );
    assert_eq!(moved(&mut hub, key, 1).len(), 1);
    assert!(!publish(&mut hub, &["v"]), "it has not seen all yet");
    assert_eq!(moved(&mut hub, key, 10).len(), 2);
    assert!(publish(&mut hub, &["t"]), "it has seen all");
    assert_eq!(moved(&mut hub, key, 10), [("t".to_owned(), 4)]);
}

#[test]
fn a_page_ends_with_the_message_that_goes_over_its_bytes() {
    let mut hub = World::new().hub;
    publish(&mut hub, &["t"; 5]);
    let mut page = |bytes_max| {
        let limits = PageLimits {
            count_max: 4,
            bytes_max,
        };
        match hub.page(topic("t"), SubFrom::Head, limits) {
            History::Page { messages, .. } => messages.len(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((page(1), page(usize::MAX)), (1, 4));
}
