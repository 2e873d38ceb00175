//! A driver in virtual time: it keeps the contract of the client session and records what comes out.

use std::collections::VecDeque;
use std::time::Duration;

use heartwire_proto::client::{
    ClientConfig, ClientSession, Event, Input, Now, Output, Status, Transmit,
};
use heartwire_proto::close::Close;
use heartwire_proto::frame::Message;
use heartwire_proto::{Attempt, ClientId, Time, WallTime};

/// What the session did on the wire.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Wire {
    Dial(Attempt),
    Abandon(Attempt, Option<Close>),
    Send(Transmit),
}

/// A session with its clock. `random` answers every draw until it is changed.
#[derive(Clone)]
pub struct Driver {
    pub session: ClientSession,
    pub time: Time,
    /// How far the wall clock is ahead.
    pub wall_offset_ms: u64,
    pub random: u64,
    pub wire: VecDeque<Wire>,
    pub events: VecDeque<Event>,
}

/// The wall clock of a driver that begins.
const WALL_OFFSET_MS: u64 = 1_800_000_000_000;

/// So often a session may ask to be served at one moment; more is a livelock.
const TIMEOUTS_MAX: usize = 1_000;

impl Driver {
    pub fn new(config: ClientConfig, client: ClientId, random: u64) -> Self {
        Self {
            session: ClientSession::new(config, client),
            time: Time::ZERO,
            wall_offset_ms: WALL_OFFSET_MS,
            random,
            wire: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// A started session with a constant draw of one half.
    pub fn started(config: ClientConfig) -> Self {
        let mut driver = Self::new(config, ClientId::from_random(1), 1 << 63);
        driver.call(ClientSession::start);
        driver
    }

    pub fn now(&self) -> Now {
        Now {
            time: self.time,
            wall: WallTime::from_unix_millis(self.wall_offset_ms + self.time.as_millis()),
            random: u128::from(self.random) << 64,
        }
    }

    /// Calls the session, then does what follows at this moment.
    pub fn call<R>(&mut self, call: impl FnOnce(&mut ClientSession, Now) -> R) -> R {
        let now = self.now();
        let result = call(&mut self.session, now);
        self.serve();
        result
    }

    pub fn handle(&mut self, input: Input<'_>) {
        self.call(|session, now| session.handle(input, now));
    }

    /// A text message arrives on the latest attempt.
    pub fn receive(&mut self, text: &str) {
        let attempt = self.session.attempt();
        let message = Message::Text(text);
        self.handle(Input::Message { attempt, message });
    }

    /// The latest attempt's handshake succeeds.
    pub fn open(&mut self) {
        let attempt = self.session.attempt();
        self.handle(Input::Opened {
            attempt,
            agreed: true,
            token: None,
        });
    }

    /// The latest attempt is refused.
    pub fn refuse(&mut self) {
        let attempt = self.session.attempt();
        self.handle(Input::DialFailed {
            attempt,
            why: "refused".to_owned(),
            retry_after: None,
        });
    }

    /// The latest connection is cut.
    pub fn cut(&mut self) {
        let attempt = self.session.attempt();
        self.handle(Input::Closed {
            attempt,
            code: None,
            reason: "",
        });
    }

    /// Drains the session; while it asks for a look there is nothing to be found.
    fn drain(&mut self) {
        loop {
            while let Some(output) = self.session.poll_output() {
                match output {
                    Output::Dial { attempt } => self.wire.push_back(Wire::Dial(attempt)),
                    Output::Abandon { attempt, close } => {
                        self.wire.push_back(Wire::Abandon(attempt, close));
                    }
                    Output::Look { attempt } => {
                        let now = self.now();
                        self.session.handle(Input::Looked { attempt }, now);
                    }
                    Output::Event(event) => self.events.push_back(event),
                }
            }
            match self.session.poll_transmit(self.now()) {
                Some(transmit) => self.wire.push_back(Wire::Send(transmit)),
                None => return,
            }
        }
    }

    /// Drains, and serves every deadline that has come.
    pub fn serve(&mut self) {
        self.drain();
        let mut timeouts = 0;
        while self
            .session
            .next_timeout()
            .is_some_and(|at| at <= self.time)
        {
            timeouts += 1;
            assert!(timeouts < TIMEOUTS_MAX, "the session asks for ever");
            let now = self.now();
            self.session.timeout(now);
            self.drain();
        }
    }

    /// Lets time pass; every deadline on the way is served at its moment.
    pub fn advance(&mut self, span: Duration) {
        let end = self.time + span;
        self.serve();
        while let Some(at) = self.session.next_timeout().filter(|at| *at <= end) {
            self.time = self.time.max(at);
            self.serve();
        }
        self.time = end;
    }

    pub fn advance_ms(&mut self, millis: u64) {
        self.advance(Duration::from_millis(millis));
    }

    /// Runs to the next deadline that comes by `end`; `false` if there is none.
    pub fn step(&mut self, end: Time) -> bool {
        match self.session.next_timeout().filter(|at| *at <= end) {
            Some(at) => {
                self.time = self.time.max(at);
                self.serve();
                true
            }
            None => false,
        }
    }

    /// The dials since the last call.
    pub fn take_dials(&mut self) -> Vec<Attempt> {
        let wire = self.wire.drain(..);
        wire.filter_map(|wire| match wire {
            Wire::Dial(attempt) => Some(attempt),
            _ => None,
        })
        .collect()
    }

    pub fn status(&self) -> &Status {
        self.session.status()
    }
}

/// A `welcome` of a server that knows nothing of the client, with default heartbeat.
pub const WELCOME: &str = concat!(
    "welcome\n",
    r#"{"connection":"c1","log":"l1","acked":0,"producer_known":false,"#,
    r#""heartbeat":{"interval_ms":10000,"timeout_ms":10000}}"#
);
