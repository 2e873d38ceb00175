//! Plain mode: raw messages, `ping` and `pong`, and the inbox.

use heartwire_hub::{History, Mode};
use heartwire_proto::Limits;
use heartwire_proto::frame::{Message, Payload, ServerFrame, SubFrom};

use crate::world::{World, topic};

fn inbox(world: &mut World) -> Vec<(String, Payload)> {
    let History::Page { messages, .. } = world.hub.history(topic("inbox"), SubFrom::Head, 100)
    else {
        return Vec::new();
    };
    let said = messages.iter().map(|(_, entry)| match entry.frame() {
        ServerFrame::Msg {
            from: Some(from),
            payload,
            ..
        } => (from.decode().into_owned(), payload.to_payload()),
        other => panic!("it does not say from whom: {other:?}"),
    });
    said.collect()
}

#[test]
fn a_plain_follower_gets_raw_messages_and_nothing_unasked() {
    let mut world = World::new();
    world.publish("task:42", "before it came");
    let end = world.connect_plain(&["task:42", "user:7"]);
    world.publish("task:42", "50 %");
    world.publish("user:7", "hello");
    world.publish("other", "not for it");
    assert_eq!(world.take(end), ["50 %", "hello"]);
}

#[test]
fn ping_is_answered_in_all_its_spellings() {
    let mut world = World::new();
    let end = world.connect_plain(&[]);
    for ping in ["ping", "ping\n", "ping\r\n"] {
        world.say(end, ping);
    }
    assert_eq!(world.take(end), ["pong", "pong", "pong"]);
    assert!(inbox(&mut world).is_empty());
}

#[test]
fn what_a_plain_client_says_is_in_the_inbox_with_its_name() {
    let mut world = World::new();
    let end = world.connect_plain(&["inbox"]);
    world.say(end, "I am here");
    world.receive(end, Message::Binary(b"\x00\xFF"));
    let id = world.hub.connections(None, 1, world.time())[0]
        .id
        .to_string();
    let said = [
        (id.clone(), Payload::from("I am here")),
        (id, Payload::from(&b"\x00\xFF"[..])),
    ];
    assert_eq!(inbox(&mut world), said);
}

#[test]
fn a_message_that_cannot_be_published_closes_the_connection() {
    let limits = Limits {
        message_bytes_max: 10,
        ..Limits::default()
    };
    let mut world = World::with_limits(limits);
    let end = world.connect_plain(&[]);
    world.say(end, "much too long for it");
    assert!(world.take(end)[0].starts_with("(close) 1009 "));
    world.hub.set_accepting(false);
    let end = world.connect_plain(&[]);
    world.say(end, "short");
    assert!(world.take(end)[0].starts_with("(close) 4100 retry 5000 "));
}

#[test]
fn a_plain_follower_that_was_overtaken_goes_on_at_the_oldest_message() {
    let mut config = crate::world::config();
    config.log.policy.retention.count_max = 2;
    let mut world = World::with(config);
    let end = world.connect_plain(&["t"]);
    world.set_room(end, Some(1));
    for n in 0..100 {
        world.publish("t", &format!("{n} {}", "x".repeat(10_000)));
    }
    world.set_room(end, None);
    let seen: Vec<u32> = world
        .take(end)
        .iter()
        .map(|text| text.split(' ').next().unwrap().parse().unwrap())
        .collect();
    assert!(seen.is_sorted() && seen.len() < 20);
    assert_eq!(seen[seen.len() - 2..], [98, 99]);
}

#[test]
fn it_is_listed_as_what_it_is() {
    let mut world = World::new();
    let end = world.connect_plain(&["a", "b"]);
    world.set_room(end, Some(0));
    world.publish("a", "1");
    world.advance(5_000);
    let info = world.hub.connections(None, 10, world.time()).remove(0);
    assert_eq!((info.mode, info.topics), (Mode::Plain, 2));
    assert_eq!(info.identity, Some(info.id.to_string()));
    assert_eq!(info.age.as_millis(), 5_000);
    assert_eq!(world.hub.connection_info(info.id, world.time()), Some(info));
}
