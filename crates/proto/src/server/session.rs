//! A `heartwire.v1` connection as the server sees it.
//!
//! ```text
//!                    hello                     welcomed
//!   AwaitingHello ──────────► AwaitingWelcome ──────────► Open ─┐ sub unsub pub skip
//!         │                                                ▲    │ heartbeat ping pong token
//!         │ anything else, or too late                     └────┘
//!         ▼                                                  │ a frame that breaks a rule
//!      closed [HELLO-1]                                      ▼
//!                                                         closed [FRAME-14]
//!   Open, publishing:
//!
//!                 nack SEQ [PUB-5]
//!      Flowing ───────────────────────► Refused { SEQ }: other publishes are discarded [PUB-6]
//!         ▲                                   │
//!         └── pub SEQ again, or skip SEQ ─────┘
//! ```
//!
//! Being closed is not a state of the session: whoever drives it closes and asks no more.

use std::time::Duration;

use crate::frame::{ClientFrame, FrameError, Hello, Message, SubFrom};
use crate::id::{PingId, Seq, Token, TopicRef};
use crate::limits::Limits;
use crate::time::Time;

const HELLO_FIRST: FrameError = FrameError::new("HELLO-1", "the first frame is hello");
const HELLO_ONCE: FrameError = FrameError::new("HELLO-2", "hello is said once per connection");
const ATTEMPT: FrameError = FrameError::new("HELLO-2", "attempt is at least 1");
const AGENT: FrameError = FrameError::new("HELLO-2", "agent has at most 200 bytes");
const BEFORE_WELCOME: FrameError = FrameError::new("WS-7", "too much was sent before welcome");
const SKIP: FrameError = FrameError::new("PUB-7", "skip names the SEQ that was refused");

/// The longest `agent`, in bytes.
const AGENT_BYTES_MAX: usize = 200;

/// What a connection asks of the topics, borrowing from its message.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Request<'a> {
    /// Follow a topic, or move the cursor of one that is followed.
    Sub {
        /// The topic.
        topic: TopicRef<'a>,
        /// Where to begin.
        from: SubFrom,
    },
    /// Follow no longer.
    Unsub {
        /// The topic.
        topic: TopicRef<'a>,
    },
    /// Publish, unless [`Session::admits`] says no.
    Publish {
        /// The topic.
        topic: TopicRef<'a>,
        /// The client's number for it.
        seq: Seq,
        /// The message.
        payload: Message<'a>,
    },
    /// Give up a refused publish, if [`Session::skip`] agrees.
    Skip {
        /// The number.
        seq: Seq,
    },
    /// Publish what a plain client said.
    Say {
        /// The message.
        payload: Message<'a>,
    },
}

/// What a frame asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step<'a> {
    /// Nothing.
    Nothing,
    /// Find out who speaks, and answer with `welcome`; then call [`Session::welcomed`].
    Hello(Box<Hello>),
    /// Ask the topics.
    Request(Request<'a>),
    /// Find out what this token grants, which takes the place of the one shown before `[HELLO-12]`.
    Token(Token),
    /// Answer with a pong of the same id.
    Ping(Option<PingId>),
    /// The answer to a ping.
    Pong(Option<PingId>),
    /// Change the heartbeat's interval to what [`interval_in_force`] makes of it, and say so.
    Heartbeat {
        /// What the client would like, in milliseconds.
        interval_ms: u64,
    },
}

/// The state of a v1 connection.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Session {
    /// Nobody has said yet who they are.
    AwaitingHello {
        /// Until when a `hello` must be complete `[HELLO-1]`.
        deadline: Time,
    },
    /// The `hello` is being looked at; no frame is taken meanwhile, whatever it takes to find out
    /// who speaks.
    AwaitingWelcome {
        /// Until when the connection must be welcomed.
        deadline: Time,
    },
    /// Welcomed.
    Open {
        /// The last `ack` that was sent, or what `welcome` said.
        acked: Seq,
        /// A publish was repeated: the client is told again what is durable `[PUB-3]`.
        owes_ack: bool,
        /// The publish that was refused, while its repetition is awaited; else 0.
        refused: Seq,
    },
}

impl Session {
    /// The session of a connection that was upgraded just now.
    pub fn new(limits: &Limits, now: Time) -> Self {
        Self::AwaitingHello {
            deadline: now + limits.hello_timeout,
        }
    }

    /// Until when the connection must have come further, while it has not been welcomed.
    pub const fn deadline(&self) -> Option<Time> {
        match self {
            Self::AwaitingHello { deadline } | Self::AwaitingWelcome { deadline } => {
                Some(*deadline)
            }
            Self::Open { .. } => None,
        }
    }

    /// Whether the next message may be read: not, while a `hello` is being looked at.
    pub const fn wants_input(&self) -> bool {
        !matches!(self, Self::AwaitingWelcome { .. })
    }

    /// Reads one message, if [`wants_input`](Self::wants_input). An error closes the connection.
    pub fn receive<'a>(&mut self, message: Message<'a>) -> Result<Step<'a>, FrameError> {
        match *self {
            Self::AwaitingHello { deadline } => match ClientFrame::parse(message)? {
                ClientFrame::Hello(hello) => {
                    check_hello(&hello)?;
                    *self = Self::AwaitingWelcome { deadline };
                    Ok(Step::Hello(hello))
                }
                _ => Err(HELLO_FIRST),
            },
            Self::AwaitingWelcome { .. } => Err(BEFORE_WELCOME),
            Self::Open { .. } => open_step(ClientFrame::parse(message)?),
        }
    }

    /// `welcome` has been sent, and said that everything up to `acked` is durable.
    pub fn welcomed(&mut self, acked: Seq) {
        *self = Self::Open {
            acked,
            owes_ack: false,
            refused: Seq::ZERO,
        };
    }

    /// Whether the connection has been welcomed.
    pub const fn is_open(&self) -> bool {
        matches!(self, Self::Open { .. })
    }

    /// Whether a publish may be tried: after a refusal, the refused one alone `[PUB-6]`.
    pub fn admits(&mut self, seq: Seq) -> bool {
        match self {
            Self::Open { refused, .. } if *refused == Seq::ZERO || *refused == seq => {
                *refused = Seq::ZERO;
                true
            }
            _ => false,
        }
    }

    /// A `nack` is sent for this publish.
    pub fn refuse(&mut self, seq: Seq) {
        if let Self::Open { refused, .. } = self {
            *refused = seq;
        }
    }

    /// Whether a `skip` gives something up. `appended` is the producer's last number. One above the
    /// refused number was sent before the client heard of that refusal, and is discarded like the
    /// publishes around it.
    pub fn skip(&mut self, seq: Seq, appended: Seq) -> Result<bool, FrameError> {
        let Self::Open { refused, .. } = self else {
            return Ok(false);
        };
        if *refused == seq {
            *refused = Seq::ZERO;
            return Ok(true);
        }
        let raced = *refused != Seq::ZERO && seq > *refused;
        if raced || seq <= appended {
            self.repeated();
            return Ok(false);
        }
        Err(SKIP)
    }

    /// A publish was not stored again: an `ack` is owed, if only to repeat the last.
    pub fn repeated(&mut self) {
        if let Self::Open { owes_ack, .. } = self {
            *owes_ack = true;
        }
    }

    /// Whether an `ack` is owed whatever has become durable.
    pub const fn owes_ack(&self) -> bool {
        matches!(self, Self::Open { owes_ack: true, .. })
    }

    /// The `ack` to send when everything up to `durable` is durable `[PUB-4]`.
    pub fn ack(&mut self, durable: Seq) -> Option<Seq> {
        let Self::Open {
            acked, owes_ack, ..
        } = self
        else {
            return None;
        };
        let due = durable > *acked || *owes_ack;
        *owes_ack = false;
        *acked = durable.max(*acked);
        (due && *acked > Seq::ZERO).then_some(*acked)
    }
}

fn check_hello(hello: &Hello) -> Result<(), FrameError> {
    if hello.attempt.0 == 0 {
        return Err(ATTEMPT);
    }
    if hello.agent.len() > AGENT_BYTES_MAX {
        return Err(AGENT);
    }
    Ok(())
}

fn open_step(frame: ClientFrame<'_>) -> Result<Step<'_>, FrameError> {
    Ok(match frame {
        ClientFrame::Hello(_) => return Err(HELLO_ONCE),
        ClientFrame::Sub { topic, from } => Step::Request(Request::Sub { topic, from }),
        ClientFrame::Unsub { topic } => Step::Request(Request::Unsub { topic }),
        ClientFrame::Pub {
            topic,
            seq,
            payload,
        } => Step::Request(Request::Publish {
            topic,
            seq,
            payload,
        }),
        ClientFrame::Skip { seq } => Step::Request(Request::Skip { seq }),
        ClientFrame::Token(fresh) => Step::Token(fresh.token),
        ClientFrame::Heartbeat { interval_ms } => Step::Heartbeat { interval_ms },
        ClientFrame::Ping { id } => Step::Ping(id),
        ClientFrame::Pong { id } => Step::Pong(id),
    })
}

/// The heartbeat interval that a client gets which asks for `interval_ms` `[LIVE-7]` `[LIVE-8]`.
pub fn interval_in_force(interval_ms: u64, limits: &Limits) -> Duration {
    Duration::from_millis(interval_ms)
        .max(limits.heartbeat_interval_min)
        .min(limits.heartbeat_interval_max)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELLO: &str = r#"hello {"client":"3f9c2a7e51b04d68","attempt":1}"#;

    fn open() -> Session {
        let mut session = Session::new(&Limits::default(), Time::ZERO);
        assert!(matches!(receive(&mut session, HELLO), Ok(Step::Hello(_))));
        session.welcomed(Seq(4));
        session
    }

    fn receive<'a>(session: &mut Session, text: &'a str) -> Result<Step<'a>, FrameError> {
        session.receive(Message::Text(text))
    }

    fn rule(session: &mut Session, text: &str) -> &'static str {
        receive(session, text)
            .expect_err("it breaks a rule")
            .requirement
    }

    #[test]
    fn hello_comes_first_and_once_and_is_answered_before_anything_else_is_taken() {
        let new = || Session::new(&Limits::default(), Time::ZERO);
        assert_eq!(rule(&mut new(), "ping"), "HELLO-1");
        let zero = HELLO.replace("\"attempt\":1", "\"attempt\":0");
        assert_eq!(rule(&mut new(), &zero), "HELLO-2");
        let agent = "a".repeat(201);
        let long = HELLO.replace("\"attempt\"", &format!("\"agent\":\"{agent}\",\"attempt\""));
        assert_eq!(rule(&mut new(), &long), "HELLO-2");
        let mut session = new();
        assert!(receive(&mut session, HELLO).is_ok() && !session.wants_input());
        assert_eq!(rule(&mut session, "sub task:42"), "WS-7");
        assert_eq!(rule(&mut open(), HELLO), "HELLO-2");
    }

    #[test]
    fn a_refusal_discards_what_was_pipelined_behind_it() {
        let mut session = open();
        assert!(session.admits(Seq(5)));
        session.refuse(Seq(5));
        assert!(!session.admits(Seq(6)) && !session.admits(Seq(7)));
        assert!(session.admits(Seq(5)), "it was sent again");
        assert!(session.admits(Seq(6)));
    }

    #[test]
    fn skip_gives_up_the_refused_publish_alone() {
        let mut session = open();
        assert_eq!(
            session.skip(Seq(5), Seq(4)).map_err(|e| e.requirement),
            Err("PUB-7")
        );
        assert_eq!(
            session.skip(Seq(3), Seq(4)),
            Ok(false),
            "it is stored already"
        );
        session.refuse(Seq(5));
        assert_eq!(
            session.skip(Seq(8), Seq(4)),
            Ok(false),
            "it raced with a failure"
        );
        assert!(!session.admits(Seq(9)), "5 is still awaited");
        assert_eq!(session.skip(Seq(5), Seq(4)), Ok(true));
        assert!(session.admits(Seq(6)));
    }

    #[test]
    fn acks_rise_and_are_repeated_only_when_owed() {
        let mut session = open();
        assert_eq!(session.ack(Seq(4)), None, "welcome has said so");
        assert_eq!(session.ack(Seq(6)), Some(Seq(6)));
        assert_eq!(session.ack(Seq(6)), None);
        session.repeated();
        assert_eq!(session.ack(Seq(6)), Some(Seq(6)));
    }

    #[test]
    fn the_interval_is_brought_into_the_allowed_range() {
        let limits = Limits::default();
        let in_force = |ms| interval_in_force(ms, &limits).as_millis();
        assert_eq!(
            [in_force(0), in_force(30_000), in_force(u64::MAX)],
            [1_000, 30_000, 300_000]
        );
    }
}
