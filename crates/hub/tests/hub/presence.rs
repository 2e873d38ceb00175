//! Who is there on a topic, as its followers are told `[PRES-1]` to `[PRES-6]`.

use std::sync::Arc;
use std::time::Duration;

use heartwire_hub::{Attendance, Grant, HubConfig, Pattern, PresenceConfig};
use heartwire_proto::frame::SubFrom;
use heartwire_proto::{Close, CloseCode, Cursor, Time};

use crate::world::{World, config, topic};

const GRACE_MS: u64 = 10_000;
const FOR_EVER: Time = Time::from_millis(u64::MAX);

fn pattern(text: &str) -> Pattern {
    text.parse().unwrap()
}

/// A world in which it is told who is there on topics that begin with `room:`.
fn world() -> World {
    with(|_| {})
}

fn with(change: impl FnOnce(&mut PresenceConfig)) -> World {
    let mut presence = PresenceConfig {
        topics: vec![pattern("room:*")],
        ..PresenceConfig::default()
    };
    change(&mut presence);
    World::with(HubConfig {
        presence,
        ..config()
    })
}

/// Whoever comes next is this one, and may follow all rooms.
fn as_subject(world: &mut World, subject: &str) {
    let grant = Grant::new(subject).subscribe(pattern("room:*"));
    world.grant = Some(Arc::new(grant));
}

/// A v1 connection of this subject, which follows `room:1`.
fn enter(world: &mut World, subject: &str, attempt: u64) -> usize {
    as_subject(world, subject);
    let end = world.open(subject, attempt);
    world.say(end, "sub room:1");
    assert!(world.take(end)[0].starts_with("subbed room:1 "));
    end
}

/// Somebody who follows who is there in `room:1`, and is not there itself.
fn watcher(world: &mut World) -> usize {
    world.grant = None;
    let end = world.open("watcher", 1);
    world.say(end, "sub $presence:room:1");
    assert_eq!(world.take(end), ["subbed $presence:room:1 0"]);
    end
}

/// Time passes, and these are heard each second.
fn live(world: &mut World, ends: &[usize], millis: u64) {
    for _ in 0..millis / 1_000 {
        world.advance(1_000);
        for end in ends {
            world.hear(*end);
        }
    }
}

/// The joins and leaves that have arrived: `+ann`, and `-ann server heartbeat-timeout`.
fn told(world: &mut World, end: usize) -> Vec<String> {
    let messages = world.take(end);
    let messages = messages
        .iter()
        .filter(|text| text.starts_with("msg $presence:"));
    let events = messages.map(|text| {
        let json = text.split_once('\n').expect("a payload").1;
        let event: serde_json::Value = serde_json::from_str(json).unwrap();
        let word = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        match word("event").as_str() {
            "join" => format!("+{}", word("member")),
            "leave" => format!("-{} {} {}", word("member"), word("by"), word("reason")),
            other => panic!("{other} in {text}"),
        }
    });
    events.collect()
}

fn present(world: &World) -> Attendance {
    world.hub.attendance(topic("room:1")).expect("it is kept")
}

fn names(world: &World) -> Vec<(String, usize)> {
    let members = present(world).members.into_iter();
    members
        .map(|member| (member.name, member.connections))
        .collect()
}

/// `[PRES-1]` `[PRES-2]`
#[test]
fn joins_and_leaves_are_messages_of_a_topic_of_its_own() {
    let mut world = world();
    let watcher = watcher(&mut world);
    let ann = enter(&mut world, "ann", 1);
    let heard = world.take(watcher);
    let wall = crate::world::WALL;
    assert_eq!(
        heard,
        [
            "epoch $presence:room:1 00000001".to_owned(),
            format!(
                "msg $presence:room:1 1 {wall}\n{}",
                r#"{"event":"join","kind":"subject","member":"ann"}"#
            ),
        ]
    );
    live(&mut world, &[watcher, ann], GRACE_MS);
    world.take(watcher);
    world.say(ann, "unsub room:1");
    let wall = wall + GRACE_MS;
    let left =
        r#"{"by":"peer","event":"leave","kind":"subject","member":"ann","reason":"unsubscribed"}"#;
    assert_eq!(
        world.take(watcher),
        [format!("msg $presence:room:1 2 {wall}\n{left}")]
    );
    assert_eq!(names(&world), []);
}

/// `[PRES-4]`
#[test]
fn one_member_with_two_connections_joins_once_and_leaves_once() {
    let mut world = world();
    let watcher = watcher(&mut world);
    let first = enter(&mut world, "ann", 1);
    as_subject(&mut world, "ann");
    let second = world.connect_plain(&["room:1", "room:2"]);
    assert_eq!(told(&mut world, watcher), ["+ann"]);
    assert_eq!(names(&world), [("ann".to_owned(), 2)]);
    world.drop_end(first);
    live(&mut world, &[watcher, second], 2 * GRACE_MS);
    assert_eq!(told(&mut world, watcher), [""; 0]);
    world.drop_end(second);
    assert_eq!(names(&world), [("ann".to_owned(), 0)]);
    live(&mut world, &[watcher], GRACE_MS - 1_000);
    assert_eq!(told(&mut world, watcher), [""; 0]);
    live(&mut world, &[watcher], 1_000);
    assert_eq!(told(&mut world, watcher), ["-ann peer hung-up"]);
}

/// `[PRES-4]`
#[test]
fn neither_a_reconnect_within_the_grace_time_nor_a_takeover_is_told() {
    let mut world = world();
    let watcher = watcher(&mut world);
    let first = enter(&mut world, "ann", 1);
    world.drop_end(first);
    live(&mut world, &[watcher], GRACE_MS - 1_000);
    enter(&mut world, "ann", 2);
    enter(&mut world, "ann", 3);
    assert_eq!(told(&mut world, watcher), ["+ann"]);
    assert_eq!(world.hub.presence_counts().returns, 2);
    // One that took over and does not follow the topic again has left it.
    as_subject(&mut world, "ann");
    let last = world.open("ann", 4);
    live(&mut world, &[watcher, last], GRACE_MS);
    assert_eq!(told(&mut world, watcher), ["-ann server taken-over"]);
}

/// `[PRES-5]`
#[test]
fn a_dead_link_is_told_within_interval_timeout_and_grace() {
    let mut world = world();
    let watcher = watcher(&mut world);
    // She is asked for the first time as late as may be.
    world.random = u64::MAX;
    enter(&mut world, "ann", 1);
    let bound = 10_000 + 10_000 + GRACE_MS;
    live(&mut world, &[watcher], bound - 1_000);
    assert_eq!(told(&mut world, watcher), ["+ann"]);
    live(&mut world, &[watcher], 1_000);
    let left = ["-ann server heartbeat-timeout"];
    assert_eq!(told(&mut world, watcher), left);
}

/// `[PRES-4]`
#[test]
fn whoever_comes_and_goes_all_the_time_is_told_once_in_a_grace_time() {
    let mut world = world();
    let watcher = watcher(&mut world);
    let ann = enter(&mut world, "ann", 1);
    for _ in 0..100 {
        world.say(ann, "unsub room:1");
        world.say(ann, "sub room:1");
    }
    assert_eq!(told(&mut world, watcher), ["+ann"]);
    world.say(ann, "unsub room:1");
    live(&mut world, &[watcher, ann], GRACE_MS);
    assert_eq!(told(&mut world, watcher), ["-ann peer unsubscribed"]);
}

#[test]
fn who_is_put_out_has_left_at_once() {
    let mut world = world();
    let watcher = watcher(&mut world);
    for subject in ["ann", "bob"] {
        enter(&mut world, subject, 1);
    }
    let (now, close) = (world.time(), Close::new(CloseCode::FORBIDDEN, "kicked"));
    world.hub.kick("ann", FOR_EVER, &close, now).unwrap();
    world
        .hub
        .revoke("bob", &pattern("room:*"), FOR_EVER)
        .unwrap();
    world.settle();
    let left = [
        "+ann",
        "+bob",
        "-ann server forbidden",
        "-bob server forbidden",
    ];
    assert_eq!(told(&mut world, watcher), left);
}

#[test]
fn one_that_the_operator_closes_may_come_back() {
    let mut world = world();
    let watcher = watcher(&mut world);
    let ann = enter(&mut world, "ann", 1);
    world.operator_closes(ann);
    live(&mut world, &[watcher], GRACE_MS - 1_000);
    let ann = enter(&mut world, "ann", 2);
    world.operator_closes(ann);
    live(&mut world, &[watcher], GRACE_MS);
    let left = ["+ann", "-ann server closed-by-operator"];
    assert_eq!(told(&mut world, watcher), left);
}

/// `[PRES-3]`
#[test]
fn who_may_not_follow_a_topic_learns_nothing_of_who_is_there() {
    let mut world = world();
    enter(&mut world, "ann", 1);
    let grant = Grant::new("eve").subscribe(pattern("room:2"));
    world.grant = Some(Arc::new(grant));
    let eve = world.open("eve", 1);
    for name in [
        "$presence:room:1",
        "$presence:room:9",
        "$presence:other",
        "$log",
    ] {
        world.say(eve, &format!("sub {name} head"));
        assert_eq!(world.take(eve), [format!("refused {name} forbidden")]);
    }
    world.say(eve, "sub $presence:room:2 head");
    assert_eq!(world.take(eve), ["subbed $presence:room:2 0"]);
    world.say(eve, "pub $presence:room:2 1\nx");
    assert_eq!(world.take(eve), ["nack 1 forbidden"]);
    // What is taken from it takes along who is there.
    world
        .hub
        .revoke("eve", &pattern("room:*"), FOR_EVER)
        .unwrap();
    world.settle();
    assert_eq!(world.take(eve), ["ended $presence:room:2 forbidden"]);
}

#[test]
fn where_it_is_not_asked_for_nothing_is_told() {
    let mut world = world();
    let end = world.open("somebody", 1);
    for name in ["other", &format!("room:{}", "x".repeat(190))] {
        assert!(world.hub.attendance(topic(name)).is_none(), "{name}");
        world.say(end, &format!("sub {name}"));
        world.take(end);
    }
    world.say(end, "sub $presence:other");
    assert_eq!(world.take(end), ["refused $presence:other bad-topic"]);
    world.say(end, "pub $presence:room:1 1\nx");
    assert_eq!(world.take(end), ["nack 1 bad-topic"]);
    assert_eq!(world.hub.log().topics_len(), 0);
}

/// Nobody's client id is shown `[HELLO-3]`.
#[test]
fn without_a_token_a_client_is_known_by_a_name_that_gives_nothing_away() {
    let mut world = world();
    let watcher = watcher(&mut world);
    let secret = world.open("secret", 1);
    world.say(secret, "sub room:1");
    let plain = world.connect_plain(&["room:1"]);
    let members = present(&world).members;
    let kinds: Vec<_> = members.iter().map(|member| member.kind).collect();
    assert_eq!(kinds, ["client", "connection"]);
    assert_eq!(members[0].name.len(), 16);
    assert!(members.iter().all(|member| !member.name.contains("secret")));
    // It is the same one when it comes back, and a plain connection is another.
    world.drop_end(secret);
    world.drop_end(plain);
    let secret = world.open("secret", 2);
    world.say(secret, "sub room:1");
    world.connect_plain(&["room:1"]);
    let names: Vec<_> = told(&mut world, watcher);
    assert_eq!(names.len(), 3, "{names:?}");
}

/// `[PRES-7]`
#[test]
fn a_list_and_what_follows_its_cursor_are_without_gap() {
    let mut world = world();
    assert_eq!(present(&world).cursor, Cursor::Start);
    for subject in ["ann", "bob", "eve"] {
        enter(&mut world, subject, 1);
        let list = present(&world);
        assert_eq!(
            list.members.last().map(|member| member.name.as_str()),
            Some(subject)
        );
        let reader = world.hub.open_reader(0).unwrap();
        let after = SubFrom::After(list.cursor);
        let start = world.hub.follow(reader, topic("$presence:room:1"), after);
        assert_eq!(
            start.map(|start| (start.cursor, start.gap)),
            Ok((list.cursor, None))
        );
        world.hub.leave(reader);
    }
    assert_eq!(present(&world).cursor.offset().0, 3);
}

/// `[PRES-6]`
#[test]
fn a_server_that_stops_tells_nobodys_leave_and_the_next_one_begins_anew() {
    let mut world = world();
    let watcher = watcher(&mut world);
    let ann = enter(&mut world, "ann", 1);
    assert_eq!(told(&mut world, watcher), ["+ann"]);
    world.hub.end_presence();
    world.drop_end(ann);
    live(&mut world, &[watcher], 2 * GRACE_MS);
    assert_eq!(told(&mut world, watcher), [""; 0]);
    world.restart();
    assert_eq!(names(&world), []);
    world.grant = None;
    let watcher = world.open("watcher", 2);
    world.say(watcher, "sub $presence:room:1 00000001.1");
    let missed = "subbed $presence:room:1 0 gap 00000001 2 ? epoch";
    assert_eq!(world.take(watcher), [missed]);
    enter(&mut world, "ann", 2);
    assert_eq!(told(&mut world, watcher), ["+ann"]);
}

#[test]
fn whoever_comes_beyond_the_limit_is_counted_and_not_listed() {
    let mut world = with(|presence| {
        presence.members_per_topic_max = 1;
        presence.topics_max = 1;
    });
    let ann = enter(&mut world, "ann", 1);
    let bob = enter(&mut world, "bob", 1);
    assert_eq!(
        (names(&world), present(&world).unlisted),
        (vec![("ann".to_owned(), 1)], 1)
    );
    // There is no room for another topic on which to tell it.
    world.say(ann, "sub room:2");
    let other = world.hub.attendance(topic("room:2")).unwrap();
    assert_eq!((other.members.len(), other.unlisted), (0, 1));
    let counts = world.hub.presence_counts();
    assert_eq!(
        (
            counts.joins,
            counts.unlisted_by_topic,
            counts.unlisted_by_topics
        ),
        (1, 1, 1)
    );
    world.drop_end(bob);
    world.say(ann, "unsub room:2");
    assert_eq!(present(&world).unlisted, 0);
    assert_eq!(world.hub.presence_len(), (1, 1));
}

#[test]
fn what_nobody_is_told_any_more_is_forgotten_within_hours() {
    let mut world = world();
    let ann = enter(&mut world, "ann", 1);
    world.drop_end(ann);
    world.advance(GRACE_MS);
    assert_eq!(world.hub.log().topics_len(), 1);
    world.advance(Duration::from_secs(3_600).as_millis() as u64);
    while world.hub.expire(world.time()) {}
    assert_eq!(world.hub.log().topics_len(), 0);
}
