//! A client session, and the books that are kept about it: what must hold whatever the application,
//! the transport and the server do.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use heartwire_disk::Dice;
use heartwire_proto::client::{
    ClientConfig, ClientSession, Event, Input, Mode, Now, Output, Status, Transmit,
};
use heartwire_proto::frame::{GapReason, Payload, SubFrom};
use heartwire_proto::outbox::OutboxLimits;
use heartwire_proto::{Attempt, ClientId, Cursor, Seq, Time, TopicName, WallTime};

const TOPICS_MAX: usize = 2;
const MESSAGES_MAX: usize = 5;
/// `hello`, `pong`, `ping`, `token`, `heartbeat` and `skip`, one of each.
const SLOTS: usize = 6;
/// What one input may lead to, at most.
const OUTPUTS_MAX: usize = 100;
/// More deadlines in one stretch of time are a session that spins.
const TIMEOUTS_MAX: usize = 10_000;

/// A `welcome` of a server with narrow limits.
pub fn welcomed(log: &str, acked: u64, is_known: bool, unacked_max: u64) -> String {
    format!(
        concat!(
            "welcome\n",
            r#"{{"connection":"c1","log":"{}","acked":{},"producer_known":{},"#,
            r#""heartbeat":{{"interval_ms":10000,"timeout_ms":10000}},"#,
            r#""limits":{{"unacked_max":{},"message_bytes_max":50}}}}"#
        ),
        log, acked, is_known, unacked_max
    )
}

/// What a topic has delivered since the application last said where to begin.
#[derive(Default)]
struct Delivered {
    last: Option<Cursor>,
    /// The server named a gap between epochs: offsets may start over.
    may_restart: bool,
}

/// A session and its books. Each of its functions panics when something does not hold.
pub struct ClientBooks {
    /// The session; what changes the books goes through the functions here.
    pub session: ClientSession,
    /// What was written on this connection, for whoever answers as a server.
    pub written: VecDeque<Payload>,
    time: Time,
    dice: Dice,
    pending: Option<Attempt>,
    delivered: BTreeMap<TopicName, Delivered>,
    accepted: BTreeSet<Seq>,
    settled: BTreeSet<Seq>,
    is_closed: bool,
}

impl ClientBooks {
    /// A session with narrow limits, started.
    pub fn start(mode: Mode) -> Self {
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
        let mut books = Self {
            session: ClientSession::new(config, ClientId::from_random(7)),
            written: VecDeque::new(),
            time: Time::ZERO,
            dice: Dice::new(1),
            pending: None,
            delivered: BTreeMap::new(),
            accepted: BTreeSet::new(),
            settled: BTreeSet::new(),
            is_closed: false,
        };
        let now = books.now();
        books.session.start(now);
        books.drain();
        books
    }

    /// The moment, with another random number each time.
    pub fn now(&mut self) -> Now {
        Now {
            time: self.time,
            wall: WallTime::from_unix_millis(self.time.as_millis()),
            random: self.dice.roll_wide(),
        }
    }

    /// The application follows a topic, if it may.
    pub fn subscribe(&mut self, topic: TopicName, from: SubFrom) {
        if self.session.subscribe(&topic, from).is_ok() {
            self.delivered.insert(topic, Delivered::default());
        }
    }

    /// The application publishes so many bytes, if it may.
    pub fn publish(&mut self, topic: TopicName, bytes: usize) {
        if let Ok(seq) = self.session.publish(topic, vec![0; bytes].into()) {
            assert!(self.accepted.insert(seq), "{seq} was given out twice");
        }
    }

    /// The transport tells something.
    pub fn handle(&mut self, input: Input<'_>, now: Now) {
        // After a failure or a close the driver has no socket any more.
        let ends = matches!(input, Input::DialFailed { .. } | Input::Closed { .. });
        if ends && self.pending == Some(input.attempt()) {
            self.pending = None;
        }
        self.session.handle(input, now);
    }

    /// Time passes. Unless it is `served`, nobody looks at the clock meanwhile.
    pub fn advance(&mut self, span: Duration, served: bool) {
        let end = self.time + span;
        let is_due = |session: &ClientSession| session.next_timeout().filter(|at| *at <= end);
        for timeouts in 0.. {
            assert!(timeouts < TIMEOUTS_MAX, "the session asks for ever");
            let Some(at) = is_due(&self.session).filter(|_| served) else {
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
    pub fn transmit(&mut self) {
        let now = self.now();
        let mut written = 0;
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

    /// Takes what the session wants.
    pub fn drain(&mut self) {
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

    /// Nothing is beyond its bound, and no publish has vanished.
    pub fn check_limits(&self) {
        assert!(
            self.session.unacked() <= MESSAGES_MAX,
            "the outbox is too full"
        );
        let open = self.accepted.difference(&self.settled).count();
        assert_eq!(self.session.unacked(), open, "a publish vanished");
    }
}
