//! Against an honest server, over a network that is cut at any moment and a server that restarts,
//! trims, refuses and now and then forgets to send: every message of a topic is delivered in order,
//! once, or named by a gap, and every publish is stored in order, once, or reported.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use heartwire_proto::backoff::Reconnect;
use heartwire_proto::client::{ClientConfig, Event};
use heartwire_proto::frame::{GapReason, NackCode, SubFrom};
use heartwire_proto::outbox::OutboxLimits;
use heartwire_proto::{Cursor, Offset, Seq, TopicName};
use proptest::prelude::*;
use proptest::sample::select;
use support::wire::Net;

const TOPICS: [&str; 2] = ["a", "b"];

#[derive(Clone, Copy, Debug)]
enum Op {
    Accept,
    Cut,
    Write,
    ServerReads(usize),
    ClientReads(usize),
    /// Messages of a topic are stored.
    Store(&'static str, usize),
    /// The server sends what is new of a topic.
    Send(&'static str, usize),
    /// The server believes that it has sent one.
    Omit(&'static str),
    Trim(&'static str),
    Ping,
    Restart,
    RefuseNext(NackCode),
    Publish,
    Pause(&'static str),
    Resume(&'static str),
    /// The application wants the topic from its beginning.
    Rewind(&'static str),
    Wake,
    Reconnect,
    Advance(u64),
}

fn op() -> impl Strategy<Value = Op> {
    let topic = || select(TOPICS.to_vec());
    let code = select(vec![
        NackCode::Forbidden,
        NackCode::Unavailable,
        NackCode::Rate,
    ]);
    prop_oneof![
        8 => Just(Op::Accept),
        2 => Just(Op::Cut),
        12 => Just(Op::Write),
        12 => (1..6_usize).prop_map(Op::ServerReads),
        12 => (1..6_usize).prop_map(Op::ClientReads),
        8 => (topic(), 1..5_usize).prop_map(|(topic, n)| Op::Store(topic, n)),
        12 => (topic(), 1..5_usize).prop_map(|(topic, n)| Op::Send(topic, n)),
        1 => topic().prop_map(Op::Omit),
        1 => topic().prop_map(Op::Trim),
        3 => Just(Op::Ping),
        1 => Just(Op::Restart),
        1 => code.prop_map(Op::RefuseNext),
        8 => Just(Op::Publish),
        3 => topic().prop_map(Op::Pause),
        3 => topic().prop_map(Op::Resume),
        2 => topic().prop_map(Op::Rewind),
        1 => Just(Op::Wake),
        1 => Just(Op::Reconnect),
        6 => prop_oneof![5 => 0..500_u64, 1 => 0..30_000_u64].prop_map(Op::Advance),
    ]
}

/// What the application saw.
#[derive(Default)]
struct Seen {
    /// The place in each topic; none before the first.
    places: BTreeMap<TopicName, Cursor>,
    paused: BTreeSet<TopicName>,
    accepted: BTreeSet<Seq>,
    stored: Vec<Seq>,
    refused: BTreeSet<Seq>,
}

impl Seen {
    fn hear(&mut self, event: Event) {
        match event {
            Event::Message(delivery) => {
                self.step(&delivery.topic, delivery.cursor.offset(), delivery.cursor);
                assert!(!self.paused.contains(&delivery.topic), "it is paused");
            }
            Event::Gap { topic, gap } => match gap.last {
                Some(last) => {
                    let epoch = gap.epoch;
                    self.step(
                        &topic,
                        gap.first,
                        Cursor::At {
                            epoch,
                            offset: last,
                        },
                    );
                }
                None => {
                    assert_eq!(gap.reason, GapReason::Epoch);
                    let place = self.places.remove(&topic);
                    let next = place.unwrap_or_default().offset().next();
                    assert_eq!(gap.first, next, "{topic}: the gap begins elsewhere");
                }
            },
            Event::Followed { topic, cursor } => {
                // The trimmed beginning of an epoch is named to nobody who never saw it.
                let place = *self.places.entry(topic.clone()).or_insert(cursor);
                let is_born = place == Cursor::Start;
                assert!(
                    is_born || place == cursor,
                    "{topic}: {place} becomes {cursor}"
                );
                self.places.insert(topic, cursor);
            }
            Event::Stored { seq } => self.stored.push(seq),
            Event::PublishRefused { seq, .. } => assert!(self.refused.insert(seq)),
            Event::InDoubt { .. } => panic!("nothing is that old"),
            _ => {}
        }
    }

    /// What comes next begins at `first`; then the place is `cursor`.
    fn step(&mut self, topic: &TopicName, first: Offset, cursor: Cursor) {
        if let Some(place) = self.places.insert(topic.clone(), cursor) {
            let same_epoch = place == Cursor::Start || place.epoch() == cursor.epoch();
            assert!(same_epoch, "{topic}: a silent change of epoch");
            assert_eq!(place.offset().next(), first, "{topic}: a hole or a repeat");
        }
    }
}

fn run(net: &mut Net, seen: &mut Seen, op: Op) {
    let name = |topic: &str| topic.parse::<TopicName>().expect("a topic");
    match op {
        Op::Accept => net.accept(),
        Op::Cut => net.cut(),
        Op::Write => net.write(),
        Op::ServerReads(n) => net.server_reads(n),
        Op::ClientReads(n) => net.client_reads(n),
        Op::Store(topic, n) => {
            for _ in 0..n {
                let epoch = net.peer.store(&name(topic));
                net.down.extend(epoch);
            }
        }
        Op::Send(topic, n) => {
            let name = name(topic);
            let messages = std::iter::from_fn(|| net.peer.next(&name));
            net.down.extend(messages.take(n));
        }
        Op::Omit(topic) => net.peer.omit(&name(topic)),
        Op::Trim(topic) => net.peer.trim(&name(topic)),
        Op::Ping => {
            let ping = net.peer.ping();
            net.down.extend(ping);
        }
        Op::Restart => {
            net.peer.restart();
            net.cut();
        }
        Op::RefuseNext(code) => net.peer.refuse_next = Some(code),
        Op::Publish => {
            let topic = name("inbox");
            let published = net.call(|session, _| session.publish(topic, "x".into()));
            seen.accepted.extend(published.ok());
        }
        Op::Pause(topic) => {
            seen.paused.insert(name(topic));
            net.call(|session, _| session.pause(&name(topic)));
        }
        Op::Resume(topic) => {
            seen.paused.remove(&name(topic));
            net.call(|session, _| session.resume(&name(topic)));
        }
        Op::Rewind(topic) => follow(net, seen, &name(topic)),
        Op::Wake => net.call(|session, now| session.wake(now)),
        Op::Reconnect => net.call(|session, now| session.reconnect(now)),
        Op::Advance(millis) => net.advance(Duration::from_millis(millis)),
    }
    while let Some(event) = net.events.pop_front() {
        seen.hear(event);
    }
}

/// The application follows a topic from its beginning.
fn follow(net: &mut Net, seen: &mut Seen, topic: &TopicName) {
    seen.places.remove(topic);
    seen.paused.remove(topic);
    net.call(|session, _| session.subscribe(topic, SubFrom::Head))
        .expect("room for two");
}

/// The faults end, but for one: the last message of each topic is not sent. Everything must arrive everything must arrive within a few minutes.
fn settle(net: &mut Net, seen: &mut Seen) {
    net.peer.refuse_next = None;
    for topic in TOPICS {
        run(net, seen, Op::Resume(topic));
        // The server may be asked to say hello to a topic that was never born.
        run(net, seen, Op::Store(topic, 1));
    }
    for round in 0..300 {
        run(net, seen, Op::Accept);
        net.exchange();
        for topic in TOPICS {
            run(net, seen, Op::Send(topic, 1_000));
            if round == 200 {
                run(net, seen, Op::Store(topic, 1));
                run(net, seen, Op::Omit(topic));
            }
        }
        run(net, seen, Op::Ping);
        net.exchange();
        run(net, seen, Op::Advance(1_000));
    }
}

fn check(net: &Net, seen: &Seen) {
    for topic in TOPICS {
        let name: TopicName = topic.parse().expect("a topic");
        let server = net.peer.topics[&name];
        let offset = Offset(server.end);
        let end = Cursor::At {
            epoch: server.epoch,
            offset,
        };
        assert_eq!(seen.places.get(&name), Some(&end), "{topic} is behind");
        assert_eq!(net.session.cursor(&name), Some(end));
    }
    assert_eq!(net.session.unacked(), 0, "publishes are left over");
    let told: BTreeSet<Seq> = seen.stored.iter().copied().collect();
    assert_eq!(told.len(), seen.stored.len(), "told twice");
    assert!(seen.stored.is_sorted(), "told out of order");
    let settled: BTreeSet<Seq> = told.union(&seen.refused).copied().collect();
    assert_eq!(settled, seen.accepted, "not every publish was settled");
    assert!(told.is_disjoint(&seen.refused), "stored and refused");
    let on_server: BTreeSet<Seq> = net.peer.stored.iter().map(|(_, seq)| *seq).collect();
    assert!(told.is_subset(&on_server), "told, and not stored");
    let in_order = net.peer.stored.windows(2).all(|pair| pair[0] < pair[1]);
    assert!(in_order, "stored twice or out of order in one log");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400,
        max_shrink_iters: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn everything_arrives_once_or_is_named(
        mut ops in proptest::collection::vec(op(), 1..400),
        omits: bool,
    ) {
        ops.retain(|op| omits || !matches!(op, Op::Omit(_)));
        let mut net = Net::new(ClientConfig {
            reconnect: Reconnect::default().unlimited(),
            outbox: OutboxLimits { messages_max: 20, bytes_max: 1_000 },
            ..ClientConfig::default()
        });
        let mut seen = Seen::default();
        for topic in TOPICS {
            follow(&mut net, &mut seen, &topic.parse().expect("a topic"));
        }
        for op in &ops {
            run(&mut net, &mut seen, *op);
        }
        if !omits {
            let counters = net.session.counters();
            let suspicious = (counters.holes, counters.behind, counters.repeats);
            prop_assert_eq!(suspicious, (0, 0, 0), "an honest server was doubted");
        }
        settle(&mut net, &mut seen);
        prop_assert!(!net.is_closed());
        check(&net, &seen);
    }
}
