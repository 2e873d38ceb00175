//! Whatever the application, the transport and the server do, in whatever order: the session does
//! not panic, keeps within its limits, has one pending attempt or none, and delivers a topic in
//! order, once each.

use std::time::Duration;

use heartwire_fuzz_targets::{ClientBooks, welcomed};
use heartwire_proto::client::{Input, Mode, Now, PlainConfig, Status};
use heartwire_proto::close::CloseCode;
use heartwire_proto::frame::{ClientFrame, Message, SubFrom};
use heartwire_proto::{Attempt, Token, TopicName};
use proptest::prelude::*;
use proptest::sample::select;

/// What a server says to whom it does not know, and that bounds nothing.
const WELCOME: &str = concat!(
    "welcome\n",
    r#"{"connection":"c1","log":"l1","acked":0,"producer_known":false,"#,
    r#""heartbeat":{"interval_ms":10000,"timeout_ms":10000}}"#
);

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
    (select(vec!["l1", "l2"]), 0..9_u64, any::<bool>(), 1..5_u64)
        .prop_map(|(log, acked, known, unacked_max)| welcomed(log, acked, known, unacked_max))
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

/// A session that does as it is told.
struct Driven(ClientBooks);

fn name(topic: &str) -> TopicName {
    topic.parse().expect("a topic")
}

impl Driven {
    fn attempt(&self, whose: Whose) -> Attempt {
        let latest = self.0.session.attempt();
        match whose {
            Whose::Latest => latest,
            Whose::Older => Attempt(latest.0.saturating_sub(1)),
            Whose::Newer => latest.next(),
        }
    }

    fn run(&mut self, op: &Op) {
        let now = self.0.now();
        let session = &mut self.0.session;
        match op {
            Op::Subscribe(topic, from) => self.0.subscribe(name(topic), *from),
            Op::Unsubscribe(topic) => session.unsubscribe(&name(topic)),
            Op::Pause(topic) => session.pause(&name(topic)),
            Op::Resume(topic) => session.resume(&name(topic)),
            Op::Publish(topic, bytes) => self.0.publish(name(topic), *bytes),
            Op::Send => drop(session.send("x".into())),
            Op::Token => session.renew_token(Token::new("t")),
            Op::Interval(millis) => {
                let interval = Duration::from_millis(*millis);
                let _ = session.set_heartbeat_interval(interval);
            }
            Op::Probe => session.probe(now),
            Op::Reconnect => session.reconnect(now),
            Op::Sleep => session.sleep(now),
            Op::Wake => session.wake(now),
            Op::Close(millis) => session.close(Duration::from_millis(*millis), now),
            Op::Advance(millis, served) => {
                self.0.advance(Duration::from_millis(*millis), *served);
            }
            Op::Transmit => self.0.transmit(),
            Op::Connect => self.connect(now),
            Op::Answer => self.answer(now),
            Op::Next(topic) => self.next(topic, now),
            transport => self.transport(transport, now),
        }
        self.0.drain();
        self.0.check_limits();
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
        self.0.handle(input, now);
    }

    fn connect(&mut self, now: Now) {
        if !matches!(self.0.session.status(), Status::Connecting { .. }) {
            return;
        }
        let attempt = self.0.session.attempt();
        let opened = Input::Opened {
            attempt,
            agreed: true,
            token: None,
        };
        self.0.handle(opened, now);
        self.0.drain();
        self.hear_from_server(WELCOME, now);
    }

    /// One frame that was written is answered.
    fn answer(&mut self, now: Now) {
        let Some(message) = self.0.written.pop_front() else {
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
        let cursor = self.0.session.cursor(&name(topic));
        let offset = cursor.unwrap_or_default().offset().next();
        self.hear_from_server(&format!("msg {topic} {offset} 1\nx"), now);
    }

    fn hear_from_server(&mut self, text: &str, now: Now) {
        let attempt = self.0.session.attempt();
        let message = Message::Text(text);
        self.0.handle(Input::Message { attempt, message }, now);
    }
}

fn run(mode: Mode, ops: &[Op]) {
    let mut driven = Driven(ClientBooks::start(mode));
    for op in ops {
        driven.run(op);
    }
    // What an attempt leads to depends on nothing but the inputs.
    let copy = driven.0.session.clone();
    assert_eq!(copy, driven.0.session);
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
