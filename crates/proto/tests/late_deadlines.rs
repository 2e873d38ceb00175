//! Before anything is declared dead, what has arrived is read; and a peer that is slow, but takes
//! bytes, is alive.

mod support;

use heartwire_proto::client::{
    ClientConfig, ClientSession, Event, Input, Loss, Mode, Now, Output, PlainConfig, Status,
    Transmit,
};
use heartwire_proto::frame::{Message, Payload};
use heartwire_proto::{Attempt, ClientId, Time, TopicName, WallTime};
use support::driver::WELCOME;

const ATTEMPT: Attempt = Attempt(1);

/// A session whose driver does nothing by itself.
struct Bare {
    session: ClientSession,
    outputs: Vec<Output>,
    written: Vec<Payload>,
}

fn at(millis: u64) -> Now {
    Now {
        time: Time::from_millis(millis),
        wall: WallTime::default(),
        random: 1 << 127,
    }
}

impl Bare {
    fn dialling(config: ClientConfig) -> Self {
        let mut bare = Self {
            session: ClientSession::new(config, ClientId::from_random(1)),
            outputs: Vec::new(),
            written: Vec::new(),
        };
        bare.session.start(at(0));
        bare.drain(0);
        bare
    }

    fn open() -> Self {
        let mut bare = Self::dialling(ClientConfig::default());
        bare.opened(0);
        bare.receive(WELCOME, 0);
        bare
    }

    fn opened(&mut self, millis: u64) {
        let opened = Input::Opened {
            attempt: ATTEMPT,
            agreed: true,
            token: None,
        };
        self.handle(opened, millis);
    }

    fn receive(&mut self, text: &str, millis: u64) {
        let message = Message::Text(text);
        self.handle(
            Input::Message {
                attempt: ATTEMPT,
                message,
            },
            millis,
        );
    }

    fn handle(&mut self, input: Input<'_>, millis: u64) {
        self.session.handle(input, at(millis));
        self.drain(millis);
    }

    fn timeout(&mut self, millis: u64) {
        self.session.timeout(at(millis));
        self.drain(millis);
    }

    fn publish(&mut self, payload: impl Into<Payload>, millis: u64) {
        let topic: TopicName = "inbox".parse().expect("a topic");
        self.session.publish(topic, payload.into()).expect("room");
        self.drain(millis);
    }

    fn drain(&mut self, millis: u64) {
        self.outputs
            .extend(std::iter::from_fn(|| self.session.poll_output()));
        while let Some(transmit) = self.session.poll_transmit(at(millis)) {
            match transmit {
                Transmit::Message(message) => self.written.push(message),
                Transmit::Ping => panic!("v1 asks by frames"),
            }
        }
    }

    fn looks(&mut self) -> bool {
        let look = Output::Look { attempt: ATTEMPT };
        let looks = self.outputs.contains(&look);
        self.outputs.clear();
        looks
    }

    fn wrote(&mut self, text: &str) -> bool {
        let wrote = self.written.contains(&text.into());
        self.written.clear();
        wrote
    }

    fn lost(&self) -> Option<&Loss> {
        match self.session.status() {
            Status::Lost { why, .. } => Some(why),
            _ => None,
        }
    }
}

#[test]
fn what_the_look_finds_saves_the_connection() {
    let mut bare = Bare::open();
    bare.timeout(12_500);
    assert!(bare.wrote("ping 1"));
    bare.timeout(22_500);
    assert!(bare.looks());
    assert_eq!(
        bare.session.next_timeout(),
        None,
        "the look's answer decides"
    );
    bare.receive("pong 1", 22_500);
    bare.handle(Input::Looked { attempt: ATTEMPT }, 22_500);
    assert_eq!(bare.lost(), None);
    assert_eq!(bare.session.next_timeout(), Some(Time::from_millis(35_000)));
}

#[test]
fn a_look_that_finds_nothing_ends_it() {
    let mut bare = Bare::open();
    bare.timeout(12_500);
    bare.timeout(22_500);
    assert!(bare.looks());
    bare.handle(Input::Looked { attempt: ATTEMPT }, 22_500);
    assert!(matches!(bare.lost(), Some(Loss::Silent { .. })));
    let abandon = Output::Abandon {
        attempt: ATTEMPT,
        close: None,
    };
    assert!(bare.outputs.contains(&abandon), "the socket is not dropped");
}

#[test]
fn a_welcome_found_by_the_look_opens_the_connection() {
    let mut bare = Bare::dialling(ClientConfig::default());
    bare.opened(9_000);
    bare.timeout(10_000);
    assert!(bare.looks());
    bare.receive(WELCOME, 10_000);
    bare.handle(Input::Looked { attempt: ATTEMPT }, 10_000);
    assert!(matches!(bare.session.status(), Status::Open { .. }));
}

#[test]
fn an_ack_found_by_the_look_keeps_the_connection() {
    let mut bare = Bare::open();
    bare.publish("x", 0);
    bare.timeout(2_000);
    assert!(bare.wrote("ping 1"));
    bare.receive("pong 1", 2_001);
    bare.receive("ping", 19_000);
    bare.timeout(20_000);
    assert!(bare.looks());
    bare.receive("ack 1", 20_000);
    bare.handle(Input::Looked { attempt: ATTEMPT }, 20_000);
    assert_eq!(bare.lost(), None);
    assert_eq!(bare.session.unacked(), 0);
}

#[test]
fn a_look_is_asked_for_once() {
    let mut bare = Bare::open();
    bare.timeout(12_500);
    bare.timeout(22_500);
    bare.timeout(22_500);
    bare.timeout(30_000);
    let looks = bare.outputs.iter();
    let looks = looks.filter(|output| matches!(output, Output::Look { .. }));
    assert_eq!(looks.count(), 1);
}

#[test]
fn the_answers_clock_starts_when_the_ping_is_written() {
    let mut bare = Bare::open();
    bare.timeout(12_500);
    // The ping leaves 4 s later. What is written behind it says nothing about its answer.
    bare.handle(Input::Flushed { attempt: ATTEMPT }, 16_500);
    bare.handle(Input::Flushed { attempt: ATTEMPT }, 20_000);
    assert_eq!(bare.session.next_timeout(), Some(Time::from_millis(26_500)));
}

#[test]
fn a_slow_way_up_is_alive_while_its_tcp_takes_bytes() {
    let mut bare = Bare::open();
    bare.publish(vec![0; 100_000], 0);
    let mut asked = false;
    for millis in (0..300_000).step_by(1_000) {
        bare.handle(Input::Acknowledged { attempt: ATTEMPT }, millis);
        while bare
            .session
            .next_timeout()
            .is_some_and(|due| due <= Time::from_millis(millis))
        {
            bare.timeout(millis);
        }
        asked |= bare.wrote("ping 1");
        assert!(!bare.looks(), "declared dead after {millis} ms");
    }
    assert!(asked, "silence does not go unasked");
    // 100,000 bytes are given 6.1 s at 16 KiB a second, and the answer 10 s.
    bare.timeout(299_000 + 16_103);
    assert!(bare.looks());
}

#[test]
fn a_message_that_is_half_there_is_life() {
    let mut bare = Bare::open();
    for millis in (5_000..100_000).step_by(10_000) {
        bare.handle(Input::Heard { attempt: ATTEMPT }, millis);
        bare.timeout(millis);
    }
    assert!(!bare.wrote("ping 1"));
    assert!(!bare.looks());
}

#[test]
fn a_predicate_of_the_drivers_answers_a_plain_ping() {
    let plain = PlainConfig {
        pong: None,
        ..PlainConfig::default()
    };
    let mut bare = Bare::dialling(ClientConfig {
        mode: Mode::Plain(plain),
        ..ClientConfig::default()
    });
    bare.opened(0);
    bare.timeout(5_000);
    assert!(bare.wrote("ping"));
    // Other messages may come first; the answer still tells the round trip.
    bare.receive("a price", 5_010);
    bare.handle(Input::Pong { attempt: ATTEMPT }, 5_030);
    assert_eq!(bare.session.rtt().map(|rtt| rtt.last_ms), Some(30));
    let received = |output: &&Output| matches!(output, Output::Event(Event::Received(_)));
    assert_eq!(bare.outputs.iter().filter(received).count(), 1);
}
