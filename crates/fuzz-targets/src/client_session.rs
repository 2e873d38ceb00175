//! The client session: whatever the application, the transport and the server do, in any order.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use arbitrary::{Result, Unstructured};
use heartwire_proto::client::{
    ClientConfig, ClientSession, Event, Input, Mode, Now, Output, PlainConfig, Status, Transmit,
};
use heartwire_proto::close::CloseCode;
use heartwire_proto::frame::{GapReason, Message, SubFrom};
use heartwire_proto::outbox::OutboxLimits;
use heartwire_proto::{Attempt, ClientId, Cursor, Seq, Time, Token, TopicName};

const TOPICS_MAX: usize = 2;
const MESSAGES_MAX: usize = 5;
/// `hello`, `pong`, `ping`, `token`, `heartbeat` and `skip`, one of each.
const SLOTS: usize = 6;
/// What one input may lead to, at most.
const OUTPUTS_MAX: usize = 100;
/// More deadlines in one stretch of time are a session that spins.
const TIMEOUTS_MAX: usize = 10_000;
/// Longer sequences are slower and find no more.
const STEPS_MAX: usize = 400;

const TOPICS: [&str; 4] = ["a", "b", "c", "$a"];
const CODES: [u16; 8] = [1000, 1006, 4000, 4001, 4002, 4009, 4100, 4201];
/// Beginnings of frames; what follows is drawn.
const FRAMES: [&str; 14] = [
    "subbed a e.",
    "subbed b e.",
    "subbed a f.3 gap e 1 ",
    "msg a ",
    "msg b ",
    "msg a 5<",
    "gap a e 1 9 retention",
    "epoch a ",
    "unsubbed a",
    "refused b forbidden",
    "ack ",
    "nack ",
    "ping 1\na e.",
    "bye 4201 ",
];
/// Ends of frames.
const ENDS: [&str; 10] = [
    "",
    "0",
    "1",
    "2",
    "3",
    "4 1\nx",
    "2 1\nx",
    " unavailable",
    " forbidden",
    "9",
];

/// Draws inputs until the bytes are used up.
pub fn client_session(data: &[u8]) {
    let mut draws = Unstructured::new(data);
    let is_v1 = draws.ratio(3, 4).unwrap_or(true);
    let mode = match is_v1 {
        true => Mode::V1,
        false => Mode::Plain(PlainConfig::default()),
    };
    let mut book = Book::new(mode);
    let now = book.now();
    book.session.start(now);
    book.drain();
    for _ in 0..STEPS_MAX {
        if draws.is_empty() || book.step(&mut draws).is_err() {
            break;
        }
        book.drain();
        book.check_limits();
    }
}

fn topic(draws: &mut Unstructured<'_>) -> Result<TopicName> {
    let name = draws.choose(&TOPICS)?;
    Ok(name.parse().expect("it is the name of a topic"))
}

fn millis(draws: &mut Unstructured<'_>) -> Result<Duration> {
    let short: u8 = draws.arbitrary()?;
    let millis = match short {
        0..128 => u64::from(short),
        _ => u64::from(draws.arbitrary::<u16>()?),
    };
    Ok(Duration::from_millis(millis))
}

/// A frame of a server that knows the protocol, or anything.
fn server_text(draws: &mut Unstructured<'_>) -> Result<String> {
    let choice: u8 = draws.arbitrary()?;
    Ok(match choice {
        0..40 => welcome(draws)?,
        40..60 => draws.arbitrary::<&str>()?.to_owned(),
        _ => {
            let beginning = draws.choose(&FRAMES)?;
            let end = draws.choose(&ENDS)?;
            format!("{beginning}{end}")
        }
    })
}

fn welcome(draws: &mut Unstructured<'_>) -> Result<String> {
    let log = draws.choose(&["l1", "l2"])?;
    let acked = draws.int_in_range(0..=8_u64)?;
    let is_known: bool = draws.arbitrary()?;
    let unacked_max = draws.int_in_range(1..=4_u64)?;
    Ok(format!(
        concat!(
            "welcome\n",
            r#"{{"connection":"c1","log":"{}","acked":{},"producer_known":{},"#,
            r#""heartbeat":{{"interval_ms":10000,"timeout_ms":10000}},"#,
            r#""limits":{{"unacked_max":{},"message_bytes_max":50}}}}"#
        ),
        log, acked, is_known, unacked_max
    ))
}

fn sub_from(draws: &mut Unstructured<'_>) -> Result<SubFrom> {
    let at = |cursor: &str| SubFrom::After(cursor.parse().expect("it is a cursor"));
    Ok(match draws.int_in_range(0..=4_u8)? {
        0 => SubFrom::Tail,
        1 => SubFrom::Head,
        2 => SubFrom::Last(3),
        3 => at("e.2"),
        _ => at("0"),
    })
}

/// What a topic has delivered since the application last said where to begin.
#[derive(Default)]
struct Delivered {
    last: Option<Cursor>,
    /// The server named a gap between epochs: offsets may start over.
    may_restart: bool,
}

/// A session, and the books that are kept about it.
struct Book {
    session: ClientSession,
    time: Time,
    random: u128,
    pending: Option<Attempt>,
    delivered: BTreeMap<TopicName, Delivered>,
    accepted: BTreeSet<Seq>,
    settled: BTreeSet<Seq>,
    is_closed: bool,
}

impl Book {
    fn new(mode: Mode) -> Self {
        let config = ClientConfig {
            mode,
            topics_max: TOPICS_MAX,
            outbox: OutboxLimits {
                messages_max: MESSAGES_MAX,
                bytes_max: 200,
            },
            producer_memory: Duration::from_secs(60),
            ..ClientConfig::default()
        };
        Self {
            session: ClientSession::new(config, ClientId::from_random(7)),
            time: Time::ZERO,
            random: 1,
            pending: None,
            delivered: BTreeMap::new(),
            accepted: BTreeSet::new(),
            settled: BTreeSet::new(),
            is_closed: false,
        }
    }

    /// The moment, with another random number each time.
    fn now(&mut self) -> Now {
        self.random = self
            .random
            .wrapping_mul(0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645);
        Now {
            time: self.time,
            random: self.random,
        }
    }

    fn step(&mut self, draws: &mut Unstructured<'_>) -> Result<()> {
        match draws.int_in_range(0..=31_u8)? {
            0..18 => self.transport(draws),
            18..28 => self.application(draws),
            28 | 29 => {
                self.transmit();
                Ok(())
            }
            _ => {
                let span = millis(draws)?;
                self.advance(span);
                Ok(())
            }
        }
    }

    fn transport(&mut self, draws: &mut Unstructured<'_>) -> Result<()> {
        let attempt = self.attempt(draws)?;
        let (text, now) = (server_text(draws)?, self.now());
        let input = match draws.int_in_range(0..=15_u8)? {
            0..3 => Input::Opened {
                attempt,
                agreed: draws.ratio(9, 10)?,
                token: None,
            },
            3 => Input::DialFailed {
                attempt,
                why: "refused".to_owned(),
                retry_after: draws
                    .arbitrary::<Option<u16>>()?
                    .map(|s| Duration::from_secs(s.into())),
            },
            4 => Input::Heard { attempt },
            5 => Input::Pong { attempt },
            6 => Input::Flushed { attempt },
            7 => Input::Acknowledged { attempt },
            8 => Input::Looked { attempt },
            9 => Input::Closed {
                attempt,
                code: draws
                    .arbitrary::<bool>()?
                    .then_some(CloseCode(*draws.choose(&CODES)?)),
                reason: draws.choose(&["", "retry 5000 x", "retry", "FRAME-6: so"])?,
            },
            10 => Input::Message {
                attempt,
                message: Message::Binary(text.as_bytes()),
            },
            _ => Input::Message {
                attempt,
                message: Message::Text(&text),
            },
        };
        // After a failure or a close the driver has no socket any more.
        let ends = matches!(input, Input::DialFailed { .. } | Input::Closed { .. });
        if ends && self.pending == Some(attempt) {
            self.pending = None;
        }
        self.session.handle(input, now);
        Ok(())
    }

    /// The latest attempt mostly, or one beside it.
    fn attempt(&self, draws: &mut Unstructured<'_>) -> Result<Attempt> {
        let latest = self.session.attempt();
        Ok(match draws.int_in_range(0..=15_u8)? {
            0 => Attempt(latest.0.saturating_sub(1)),
            1 => latest.next(),
            _ => latest,
        })
    }

    fn application(&mut self, draws: &mut Unstructured<'_>) -> Result<()> {
        let (topic, now) = (topic(draws)?, self.now());
        match draws.int_in_range(0..=15_u8)? {
            0..3 => {
                let from = sub_from(draws)?;
                if self.session.subscribe(&topic, from).is_ok() {
                    self.delivered.insert(topic, Delivered::default());
                }
            }
            3 => self.session.unsubscribe(&topic),
            4 => self.session.pause(&topic),
            5 => self.session.resume(&topic),
            6..10 => {
                let payload = vec![0; draws.int_in_range(0..=99)?];
                if let Ok(seq) = self.session.publish(topic, payload.into()) {
                    assert!(self.accepted.insert(seq), "{seq} was given out twice");
                }
            }
            10 => drop(self.session.send("x".into())),
            11 => self.session.renew_token(Token::new("t")),
            12 => drop(self.session.set_heartbeat_interval(millis(draws)?)),
            13 => self.session.probe(now),
            14 => self.session.reconnect(now),
            _ => match draws.int_in_range(0..=7_u8)? {
                0..4 => self.session.sleep(now),
                4..7 => self.session.wake(now),
                _ => self.session.close(millis(draws)?, now),
            },
        }
        Ok(())
    }

    fn advance(&mut self, span: Duration) {
        let end = self.time + span;
        for timeouts in 0.. {
            assert!(timeouts < TIMEOUTS_MAX, "the session asks for ever");
            let Some(at) = self.session.next_timeout().filter(|at| *at <= end) else {
                break;
            };
            self.time = at.max(self.time);
            let now = self.now();
            self.session.timeout(now);
            self.drain();
        }
        self.time = end;
    }

    /// Everything that can be written is written: it is bounded.
    fn transmit(&mut self) {
        let now = self.now();
        let mut written = 0;
        while let Some(transmit) = self.session.poll_transmit(now) {
            written += 1;
            assert!(
                written <= SLOTS + TOPICS_MAX + MESSAGES_MAX,
                "too much waited"
            );
            assert!(self.pending.is_some(), "there is nothing to write to");
            if let Transmit::Message(message) = transmit {
                drop(message);
            }
        }
    }

    fn drain(&mut self) {
        for outputs in 0.. {
            let Some(output) = self.session.poll_output() else {
                break;
            };
            assert!(outputs < OUTPUTS_MAX, "one input leads to too much");
            match output {
                Output::Dial { attempt } => {
                    assert_eq!(self.pending, None, "a second pending attempt");
                    assert!(!self.is_closed, "a closed link dials");
                    self.pending = Some(attempt);
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
            Event::Status(Status::Closed { .. }) => self.is_closed = true,
            Event::Message(message) => {
                let delivered = self.delivered.entry(message.topic).or_default();
                let is_same = |last: &Cursor| last.epoch() == message.cursor.epoch();
                if let Some(last) = delivered.last.filter(is_same)
                    && !delivered.may_restart
                {
                    let offset = message.cursor.offset();
                    assert!(last.offset() < offset, "{last} is followed by {offset}");
                }
                delivered.last = Some(message.cursor);
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
