//! A client session and a [`Peer`] with a network between them that the test holds in its hand:
//! what was written travels when the test says so, and is lost when it cuts.

use std::collections::VecDeque;
use std::time::Duration;

use heartwire_proto::client::{
    ClientConfig, ClientSession, Event, Input, Now, Output, Status, Transmit,
};
use heartwire_proto::frame::Payload;
use heartwire_proto::{Attempt, ClientId, Time, WallTime};
use heartwire_testing::Dice;

use super::peer::Peer;

/// More at one moment is a livelock.
const STEPS_MAX: usize = 10_000;

pub struct Net {
    pub session: ClientSession,
    pub peer: Peer,
    pub time: Time,
    dice: Dice,
    /// The attempt that the driver holds a dial or a socket for.
    pub pending: Option<Attempt>,
    /// The socket is open.
    pub open: bool,
    pub up: VecDeque<Payload>,
    pub down: VecDeque<Payload>,
    pub events: VecDeque<Event>,
}

impl Net {
    pub fn new(config: ClientConfig) -> Self {
        let mut net = Self {
            session: ClientSession::new(config, ClientId::from_random(7)),
            peer: Peer::new(),
            time: Time::ZERO,
            dice: Dice::new(1),
            pending: None,
            open: false,
            up: VecDeque::new(),
            down: VecDeque::new(),
            events: VecDeque::new(),
        };
        net.call(ClientSession::start);
        net
    }

    pub fn now(&mut self) -> Now {
        Now {
            time: self.time,
            wall: WallTime::default(),
            random: self.dice.roll_wide(),
        }
    }

    pub fn call<R>(&mut self, call: impl FnOnce(&mut ClientSession, Now) -> R) -> R {
        let now = self.now();
        let result = call(&mut self.session, now);
        self.drain();
        result
    }

    fn drain(&mut self) {
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Dial { attempt } => {
                    assert_eq!(self.pending, None, "a second pending attempt");
                    self.pending = Some(attempt);
                }
                Output::Abandon { attempt, .. } => {
                    assert_eq!(
                        self.pending,
                        Some(attempt),
                        "an unknown attempt is abandoned"
                    );
                    self.hang_up();
                }
                Output::Look { attempt } => {
                    let now = self.now();
                    self.session.handle(Input::Looked { attempt }, now);
                }
                Output::Event(event) => self.events.push_back(event),
            }
        }
    }

    fn hang_up(&mut self) {
        self.pending = None;
        self.open = false;
        self.up.clear();
        self.down.clear();
        self.peer.disconnect();
    }

    /// The dial under way succeeds.
    pub fn accept(&mut self) {
        if let Some(attempt) = self.pending.filter(|_| !self.open) {
            self.open = true;
            self.peer.disconnect();
            self.call(|session, now| {
                let opened = Input::Opened {
                    attempt,
                    agreed: true,
                    token: None,
                };
                session.handle(opened, now);
            });
        }
    }

    /// The dial fails, or the connection with all that is on its way is lost.
    pub fn cut(&mut self) {
        let Some(attempt) = self.pending else {
            return;
        };
        let was_open = self.open;
        self.hang_up();
        self.call(|session, now| {
            let input = if was_open {
                Input::Closed {
                    attempt,
                    code: None,
                    reason: "",
                }
            } else {
                Input::DialFailed {
                    attempt,
                    why: "refused".to_owned(),
                    retry_after: None,
                }
            };
            session.handle(input, now);
        });
    }

    /// The client writes what it has.
    pub fn write(&mut self) {
        for _ in 0..STEPS_MAX {
            let now = self.now();
            match self.session.poll_transmit(now) {
                Some(Transmit::Message(message)) => {
                    assert!(self.open, "there is nothing to write to");
                    self.up.push_back(message);
                }
                Some(Transmit::Ping) => {}
                None => return,
            }
        }
        panic!("the session writes for ever");
    }

    /// The server reads, and answers.
    pub fn server_reads(&mut self, frames: usize) {
        for _ in 0..frames {
            let Some(message) = self.up.pop_front() else {
                return;
            };
            let answers = self.peer.hear(&message);
            self.down.extend(answers);
        }
    }

    /// The client reads.
    pub fn client_reads(&mut self, frames: usize) {
        for _ in 0..frames {
            let (Some(attempt), Some(message)) = (self.pending, self.down.pop_front()) else {
                return;
            };
            self.message(attempt, &message);
        }
    }

    /// A message arrives at the client.
    pub fn message(&mut self, attempt: Attempt, message: &Payload) {
        self.call(|session, now| {
            let message = message.as_message();
            session.handle(Input::Message { attempt, message }, now);
        });
    }

    /// Time passes; what is due is done at its moment.
    pub fn advance(&mut self, span: Duration) {
        let end = self.time + span;
        let mut steps = 0;
        while let Some(at) = self.session.next_timeout().filter(|at| *at <= end) {
            steps += 1;
            assert!(steps < STEPS_MAX, "the session asks for ever");
            self.time = self.time.max(at);
            self.call(ClientSession::timeout);
        }
        self.time = end;
    }

    /// Everything that is on its way arrives, in both directions, until nothing moves.
    pub fn exchange(&mut self) {
        for _ in 0..STEPS_MAX {
            self.write();
            if self.up.is_empty() && self.down.is_empty() {
                return;
            }
            self.server_reads(self.up.len());
            self.client_reads(self.down.len());
        }
        panic!("client and server talk for ever");
    }

    pub fn is_closed(&self) -> bool {
        matches!(self.session.status(), Status::Closed { .. })
    }
}
