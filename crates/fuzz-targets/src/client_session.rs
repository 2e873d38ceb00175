//! The client session: whatever the application, the transport and the server do, in any order.

use std::time::Duration;

use arbitrary::{Result, Unstructured};
use heartwire_proto::client::{Input, Mode, PlainConfig};
use heartwire_proto::close::CloseCode;
use heartwire_proto::frame::{Message, SubFrom};
use heartwire_proto::{Attempt, Token, TopicName};

use crate::client_books::{ClientBooks, welcomed};

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
    let mut driven = Driven(ClientBooks::start(mode));
    for _ in 0..STEPS_MAX {
        if draws.is_empty() || driven.step(&mut draws).is_err() {
            break;
        }
        driven.0.drain();
        driven.0.check_limits();
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
    Ok(welcomed(log, acked, is_known, unacked_max))
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

/// A session that does what is drawn.
struct Driven(ClientBooks);

impl Driven {
    fn step(&mut self, draws: &mut Unstructured<'_>) -> Result<()> {
        match draws.int_in_range(0..=31_u8)? {
            0..18 => self.transport(draws),
            18..28 => self.application(draws),
            28 | 29 => {
                self.0.transmit();
                Ok(())
            }
            _ => {
                let span = millis(draws)?;
                self.0.advance(span, true);
                Ok(())
            }
        }
    }

    fn transport(&mut self, draws: &mut Unstructured<'_>) -> Result<()> {
        let attempt = self.attempt(draws)?;
        let (text, now) = (server_text(draws)?, self.0.now());
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
        self.0.handle(input, now);
        Ok(())
    }

    /// The latest attempt mostly, or one beside it.
    fn attempt(&self, draws: &mut Unstructured<'_>) -> Result<Attempt> {
        let latest = self.0.session.attempt();
        Ok(match draws.int_in_range(0..=15_u8)? {
            0 => Attempt(latest.0.saturating_sub(1)),
            1 => latest.next(),
            _ => latest,
        })
    }

    fn application(&mut self, draws: &mut Unstructured<'_>) -> Result<()> {
        let (topic, now) = (topic(draws)?, self.0.now());
        let session = &mut self.0.session;
        match draws.int_in_range(0..=15_u8)? {
            0..3 => {
                let from = sub_from(draws)?;
                self.0.subscribe(topic, from);
            }
            3 => session.unsubscribe(&topic),
            4 => session.pause(&topic),
            5 => session.resume(&topic),
            6..10 => {
                let bytes = draws.int_in_range(0..=99)?;
                self.0.publish(topic, bytes);
            }
            10 => drop(session.send("x".into())),
            11 => session.renew_token(Token::new("t")),
            12 => drop(session.set_heartbeat_interval(millis(draws)?)),
            13 => session.probe(now),
            14 => session.reconnect(now),
            _ => match draws.int_in_range(0..=7_u8)? {
                0..4 => session.sleep(now),
                4..7 => session.wake(now),
                _ => session.close(millis(draws)?, now),
            },
        }
        Ok(())
    }
}
