//! Whatever the application, the transport and the server do, in whatever order: the session does
//! not panic, keeps within its limits, has one pending attempt or none, and delivers a topic in
//! order, once each.

mod support;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use heartwire_proto::client::{
    ClientConfig, ClientSession, Event, Input, Mode, Now, Output, PlainConfig, Status, Transmit,
};
use heartwire_proto::close::CloseCode;
use heartwire_proto::frame::{ClientFrame, GapReason, Message, Payload, SubFrom};
use heartwire_proto::outbox::OutboxLimits;
use heartwire_proto::{Attempt, ClientId, Cursor, Seq, Time, Token, TopicName};
use proptest::prelude::*;
use proptest::sample::select;
use support::driver::WELCOME;

const TOPICS_MAX: usize = 2;
const MESSAGES_MAX: usize = 5;
/// `hello`, `pong`, `ping`, `token`, `heartbeat` and `skip`, one of each.
const SLOTS: usize = 6;

/// Which attempt an input speaks of.
#[derive(Clone, Copy, Debug)]
enum Whose {
    Latest,
    Older,
    Newer,
}

#[derive(Clone, Debug)]
enum Op {
    Opened(Whose, bool),
    DialFailed(Whose, Option<u64>),
    Heard(Whose),
    Pong(Whose),
    Flushed(Whose),
    Acknowledged(Whose),
    Looked(Whose),
    Frame(Whose, String),
    Bytes(Whose, Vec<u8>),
    Closed(Whose, Option<u16>, &'static str),
    Subscribe(&'static str, SubFrom),
    Unsubscribe(&'static str),
    Pause(&'static str),
    Resume(&'static str),
    Publish(&'static str, usize),
    Send,
    Token,
    Interval(u64),
    Probe,
    Reconnect,
    Sleep,
    Wake,
    Close(u64),
    /// Time passes, and what is due is done; with `false` nobody looks at the clock.
    Advance(u64, bool),
    /// The transport has room.
    Transmit,
    /// The latest dial leads to a welcome.
    Connect,
    /// The server answers what was written, as it should.
    Answer,
    /// The next message of a topic.
    Next(&'static str),
}

fn whose() -> impl Strategy<Value = Whose> {
    prop_oneof![8 => Just(Whose::Latest), 1 => Just(Whose::Older), 1 => Just(Whose::Newer)]
}

fn topic() -> impl Strategy<Value = &'static str> {
    select(vec!["a", "b", "c"])
}

fn cursor() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("0".to_owned()),
        (select(vec!["e", "f"]), 0..7_u64).prop_map(|(epoch, offset)| format!("{epoch}.{offset}")),
    ]
}

fn gap() -> impl Strategy<Value = String> {
    let last = prop_oneof![(1..9_u64).prop_map(|n| n.to_string()), Just("?".to_owned())];
    let reason = select(vec!["retention", "epoch"]);
    (select(vec!["e", "f"]), 1..7_u64, last, reason)
        .prop_map(|(epoch, first, last, reason)| format!("{epoch} {first} {last} {reason}"))
}

fn welcome() -> impl Strategy<Value = String> {
    (select(vec!["l1", "l2"]), 0..9_u64, any::<bool>(), 1..5_u64).prop_map(
        |(log, acked, known, unacked_max)| {
            format!(
                concat!(
                    "welcome\n",
                    r#"{{"connection":"c1","log":"{}","acked":{},"producer_known":{},"#,
                    r#""heartbeat":{{"interval_ms":10000,"timeout_ms":10000}},"#,
                    r#""limits":{{"unacked_max":{},"message_bytes_max":50}}}}"#
                ),
                log, acked, known, unacked_max
            )
        },
    )
}

fn frame() -> impl Strategy<Value = String> {
    prop_oneof![
        1 => welcome(),
        4 => (topic(), cursor()).prop_map(|(t, c)| format!("subbed {t} {c}")),
        2 => (topic(), cursor(), gap()).prop_map(|(t, c, g)| format!("subbed {t} {c} gap {g}")),
        8 => (topic(), 1..7_u64).prop_map(|(t, n)| format!("msg {t} {n} 1\nx")),
        2 => (topic(), 1..7_u64, 0..7_u64).prop_map(|(t, n, p)| format!("msg {t} {n}<{p} 1\nx")),
        2 => (topic(), gap()).prop_map(|(t, g)| format!("gap {t} {g}")),
        2 => (topic(), select(vec!["e", "f"])).prop_map(|(t, e)| format!("epoch {t} {e}")),
        2 => topic().prop_map(|t| format!("unsubbed {t}")),
        1 => topic().prop_map(|t| format!("refused {t} forbidden")),
        1 => topic().prop_map(|t| format!("ended {t} forbidden")),
        3 => (1..9_u64).prop_map(|n| format!("ack {n}")),
        1 => (1..9_u64).prop_map(|n| format!("nack {n} forbidden")),
        1 => (1..9_u64).prop_map(|n| format!("nack {n} unavailable")),
        1 => (0..9_u64).prop_map(|n| format!("heartbeat {}", n * 1_000)),
        2 => (topic(), cursor()).prop_map(|(t, c)| format!("ping 1\n{t} {c}")),
        1 => (0..9_u64).prop_map(|n| format!("pong {n}")),
        1 => select(vec![4000, 4001, 4002, 4009, 4100, 4201, 1000])
            .prop_map(|code| format!("bye {code} 2000 so it is")),
        1 => Just("later words".to_owned()),
    ]
}

fn sub_from() -> impl Strategy<Value = SubFrom> {
    prop_oneof![
        Just(SubFrom::Tail),
        Just(SubFrom::Head),
        Just(SubFrom::Last(3)),
        cursor().prop_map(|cursor| SubFrom::After(cursor.parse().expect("a cursor"))),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let code = proptest::option::of(select(vec![1000, 4000, 4001, 4002, 4100, 4200, 4201]));
    prop_oneof![
        6 => (whose(), prop::bool::weighted(0.9)).prop_map(|(w, agreed)| Op::Opened(w, agreed)),
        2 => (whose(), proptest::option::of(0..9_000_u64)).prop_map(|(w, d)| Op::DialFailed(w, d)),
        2 => whose().prop_map(Op::Heard),
        1 => whose().prop_map(Op::Pong),
        1 => whose().prop_map(Op::Flushed),
        1 => whose().prop_map(Op::Acknowledged),
        2 => whose().prop_map(Op::Looked),
        8 => (whose(), frame()).prop_map(|(w, frame)| Op::Frame(w, frame)),
        1 => (whose(), any::<Vec<u8>>()).prop_map(|(w, bytes)| Op::Bytes(w, bytes)),
        2 => (whose(), code, select(vec!["", "retry 5000 x", "retry"]))
            .prop_map(|(w, code, reason)| Op::Closed(w, code, reason)),
        5 => (topic(), sub_from()).prop_map(|(t, from)| Op::Subscribe(t, from)),
        1 => topic().prop_map(Op::Unsubscribe),
        1 => topic().prop_map(Op::Pause),
        1 => topic().prop_map(Op::Resume),
        12 => (select(vec!["a", "$a"]), 0..99_usize).prop_map(|(t, n)| Op::Publish(t, n)),
        2 => Just(Op::Send),
        1 => Just(Op::Token),
        1 => (0..9_000_u64).prop_map(Op::Interval),
        1 => Just(Op::Probe),
        1 => Just(Op::Reconnect),
        1 => Just(Op::Sleep),
        1 => Just(Op::Wake),
        1 => (0..9_000_u64).prop_map(Op::Close),
        20 => (prop_oneof![5 => 0..100_u64, 1 => 0..60_000_u64], prop::bool::weighted(0.8))
            .prop_map(|(span, served)| Op::Advance(span, served)),
        30 => Just(Op::Transmit),
        25 => Just(Op::Connect),
        40 => Just(Op::Answer),
        40 => topic().prop_map(Op::Next),
    ]
}

/// What a topic has delivered since the application last said where to begin.
#[derive(Default)]
struct Delivered {
    last: Option<Cursor>,
    /// The server named a gap between epochs: offsets may start over.
    may_restart: bool,
}

/// A session under test, with the books that are kept about it.
struct Book {
    session: ClientSession,
    time: Time,
    random: u128,
    pending: Option<Attempt>,
    delivered: BTreeMap<TopicName, Delivered>,
    settled: BTreeSet<Seq>,
    accepted: BTreeSet<Seq>,
    closed: bool,
    /// What was written on this connection and waits for an answer.
    written: VecDeque<Payload>,
}

impl Book {
    fn new(config: ClientConfig) -> Self {
        Self {
            session: ClientSession::new(config, ClientId::from_random(7)),
            time: Time::ZERO,
            random: 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c834,
            pending: None,
            delivered: BTreeMap::new(),
            settled: BTreeSet::new(),
            accepted: BTreeSet::new(),
            closed: false,
            written: VecDeque::new(),
        }
    }

    fn now(&mut self) -> Now {
        // A multiplicative generator: enough to vary draws, and always the same.
        self.random = self
            .random
            .wrapping_mul(0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645);
        Now {
            time: self.time,
            random: self.random,
        }
    }

    fn attempt(&self, whose: Whose) -> Attempt {
        let latest = self.session.attempt();
        match whose {
            Whose::Latest => latest,
            Whose::Older => Attempt(latest.0.saturating_sub(1)),
            Whose::Newer => latest.next(),
        }
    }

    fn run(&mut self, op: &Op) {
        let now = self.now();
        match op {
            Op::Subscribe(topic, from) => {
                let topic: TopicName = topic.parse().expect("a topic");
                if self.session.subscribe(&topic, *from).is_ok() {
                    self.delivered.insert(topic, Delivered::default());
                }
            }
            Op::Unsubscribe(topic) => self.session.unsubscribe(&topic.parse().expect("a topic")),
            Op::Pause(topic) => self.session.pause(&topic.parse().expect("a topic")),
            Op::Resume(topic) => self.session.resume(&topic.parse().expect("a topic")),
            Op::Publish(topic, bytes) => {
                let topic = topic.parse().expect("a topic");
                if let Ok(seq) = self.session.publish(topic, vec![0; *bytes].into()) {
                    assert!(self.accepted.insert(seq), "{seq} was given out twice");
                }
            }
            Op::Send => drop(self.session.send("x".into())),
            Op::Token => self.session.renew_token(Token::new("t")),
            Op::Interval(millis) => {
                let interval = Duration::from_millis(*millis);
                let _ = self.session.set_heartbeat_interval(interval);
            }
            Op::Probe => self.session.probe(now),
            Op::Reconnect => self.session.reconnect(now),
            Op::Sleep => self.session.sleep(now),
            Op::Wake => self.session.wake(now),
            Op::Close(millis) => self.session.close(Duration::from_millis(*millis), now),
            Op::Advance(millis, served) => self.advance(*millis, *served),
            Op::Transmit => self.transmit(),
            Op::Connect => self.connect(now),
            Op::Answer => self.answer(now),
            Op::Next(topic) => self.next(topic, now),
            transport => self.transport(transport, now),
        }
        self.drain();
        self.check_limits();
    }

    fn transport(&mut self, op: &Op, now: Now) {
        let input = match op {
            Op::Opened(whose, agreed) => Input::Opened {
                attempt: self.attempt(*whose),
                agreed: *agreed,
                token: None,
            },
            Op::DialFailed(whose, retry_after_ms) => Input::DialFailed {
                attempt: self.attempt(*whose),
                why: "refused".to_owned(),
                retry_after: retry_after_ms.map(Duration::from_millis),
            },
            Op::Heard(whose) => Input::Heard {
                attempt: self.attempt(*whose),
            },
            Op::Pong(whose) => Input::Pong {
                attempt: self.attempt(*whose),
            },
            Op::Flushed(whose) => Input::Flushed {
                attempt: self.attempt(*whose),
            },
            Op::Acknowledged(whose) => Input::Acknowledged {
                attempt: self.attempt(*whose),
            },
            Op::Looked(whose) => Input::Looked {
                attempt: self.attempt(*whose),
            },
            Op::Frame(whose, text) => Input::Message {
                attempt: self.attempt(*whose),
                message: Message::Text(text),
            },
            Op::Bytes(whose, bytes) => Input::Message {
                attempt: self.attempt(*whose),
                message: Message::Binary(bytes),
            },
            Op::Closed(whose, code, reason) => Input::Closed {
                attempt: self.attempt(*whose),
                code: code.map(CloseCode),
                reason,
            },
            other => panic!("{other:?} is not the transport's"),
        };
        // After a failure or a close the driver has no socket any more.
        let ends = matches!(input, Input::DialFailed { .. } | Input::Closed { .. });
        if ends && self.pending == Some(input.attempt()) {
            self.pending = None;
        }
        self.session.handle(input, now);
    }

    fn advance(&mut self, millis: u64, served: bool) {
        let end = self.time + Duration::from_millis(millis);
        let mut timeouts = 0;
        while served && self.session.next_timeout().is_some_and(|at| at <= end) {
            timeouts += 1;
            assert!(timeouts < 10_000, "the session asks for ever");
            self.time = self
                .session
                .next_timeout()
                .expect("there is one")
                .max(self.time);
            let now = self.now();
            self.session.timeout(now);
            self.drain();
        }
        self.time = end;
    }

    /// Everything that can be written is written: it is bounded.
    fn transmit(&mut self) {
        let mut written = 0;
        let now = self.now();
        while let Some(transmit) = self.session.poll_transmit(now) {
            written += 1;
            let bound = SLOTS + TOPICS_MAX + MESSAGES_MAX;
            assert!(written <= bound, "too much waited");
            assert!(self.pending.is_some(), "there is nothing to write to");
            if let Transmit::Message(message) = transmit {
                self.written.push_back(message);
            }
        }
    }

    fn connect(&mut self, now: Now) {
        if !matches!(self.session.status(), Status::Connecting { .. }) {
            return;
        }
        let attempt = self.session.attempt();
        let opened = Input::Opened {
            attempt,
            agreed: true,
            token: None,
        };
        self.session.handle(opened, now);
        self.drain();
        self.hear_from_server(WELCOME, now);
    }

    /// One frame that was written is answered.
    fn answer(&mut self, now: Now) {
        let Some(message) = self.written.pop_front() else {
            return;
        };
        let frame = match ClientFrame::parse(message.as_message()) {
            Ok(ClientFrame::Sub { topic, from }) => match from {
                SubFrom::After(cursor) => format!("subbed {topic} {cursor}"),
                _ => format!("subbed {topic} e.2"),
            },
            Ok(ClientFrame::Unsub { topic }) => format!("unsubbed {topic}"),
            Ok(ClientFrame::Pub { seq, .. } | ClientFrame::Skip { seq }) => format!("ack {seq}"),
            Ok(ClientFrame::Ping { id: Some(id) }) => format!("pong {id}"),
            Ok(_) => return,
            // Only plain messages are no frames.
            Err(_) => "pong".to_owned(),
        };
        self.hear_from_server(&frame, now);
    }

    fn next(&mut self, topic: &str, now: Now) {
        let cursor = self.session.cursor(&topic.parse().expect("a topic"));
        let offset = cursor.unwrap_or_default().offset().next();
        self.hear_from_server(&format!("msg {topic} {offset} 1\nx"), now);
    }

    fn hear_from_server(&mut self, text: &str, now: Now) {
        let attempt = self.session.attempt();
        let message = Message::Text(text);
        self.session
            .handle(Input::Message { attempt, message }, now);
    }

    fn drain(&mut self) {
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Dial { attempt } => {
                    assert_eq!(self.pending, None, "a second pending attempt");
                    assert!(!self.closed, "a closed link dials");
                    self.pending = Some(attempt);
                    self.written.clear();
                }
                Output::Abandon { attempt, .. } => {
                    assert_eq!(
                        self.pending,
                        Some(attempt),
                        "an unknown attempt is abandoned"
                    );
                    self.pending = None;
                }
                Output::Look { attempt } => assert_eq!(self.pending, Some(attempt)),
                Output::Event(event) => self.hear(event),
            }
        }
    }

    fn hear(&mut self, event: Event) {
        match event {
            Event::Status(Status::Closed { .. }) => self.closed = true,
            Event::Message(delivery) => {
                let delivered = self.delivered.entry(delivery.topic).or_default();
                let same_epoch = |last: &Cursor| last.epoch() == delivery.cursor.epoch();
                if let Some(last) = delivered.last.filter(same_epoch)
                    && !delivered.may_restart
                {
                    let offset = delivery.cursor.offset();
                    assert!(last.offset() < offset, "{last} is followed by {offset}");
                }
                delivered.last = Some(delivery.cursor);
                delivered.may_restart = false;
            }
            Event::Gap { topic, gap } => {
                let delivered = self.delivered.entry(topic).or_default();
                delivered.may_restart |= gap.reason == GapReason::Epoch;
            }
            Event::Stored { seq } | Event::PublishRefused { seq, .. } | Event::InDoubt { seq } => {
                assert!(self.accepted.contains(&seq), "{seq} was never published");
                assert!(self.settled.insert(seq), "{seq} is settled twice");
            }
            _ => {}
        }
    }

    fn check_limits(&self) {
        assert!(
            self.session.unacked() <= MESSAGES_MAX,
            "the outbox is too full"
        );
        let open = self.accepted.difference(&self.settled).count();
        assert_eq!(self.session.unacked(), open, "a publish vanished");
    }
}

fn config(mode: Mode) -> ClientConfig {
    ClientConfig {
        mode,
        topics_max: TOPICS_MAX,
        outbox: OutboxLimits {
            messages_max: MESSAGES_MAX,
            bytes_max: 200,
        },
        producer_memory: Duration::from_secs(60),
        ..ClientConfig::default()
    }
}

fn run(mode: Mode, ops: &[Op]) {
    let mut book = Book::new(config(mode));
    let now = book.now();
    book.session.start(now);
    book.drain();
    for op in ops {
        book.run(op);
    }
    // What an attempt leads to depends on nothing but the inputs.
    let copy = book.session.clone();
    assert_eq!(copy, book.session);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_v1_link_keeps_its_promises(ops in proptest::collection::vec(op(), 1..300)) {
        run(Mode::V1, &ops);
    }

    #[test]
    fn a_plain_link_keeps_its_promises(ops in proptest::collection::vec(op(), 1..100)) {
        run(Mode::Plain(PlainConfig::default()), &ops);
    }
}
