//! The session: what an application, a transport and a clock make of a link.
//!
//! This file holds the state and the calls; what they do lives beside it: `dial` (from loss to the
//! next connection), `receive` (frames of v1), `publish`, `follow`, `watch` (deadlines of a
//! connection), `transmit` and `plain`.

use std::collections::VecDeque;
use std::time::Duration;

use super::config::{ClientConfig, Mode};
use super::dial::State;
use super::event::{Counters, Event, PublishError, SendError, Status, SubscribeError};
use super::follow::Topics;
use super::io::{Input, Now, Output};
use super::plain::PlainQueue;
use super::publish::Publishing;
use super::timer::{Timer, TimerTable};
use super::watch::LookFor;
use crate::backoff::Backoff;
use crate::frame::{Payload, SubFrom, Welcome};
use crate::heartbeat::{HeartbeatConfig, HeartbeatRange, Rtt};
use crate::id::{Attempt, ClientId, Cursor, Seq, Token, TopicName};
use crate::time::Time;

/// One link, without its socket; the contract stands in the [module's documentation](super).
///
/// ```
/// use heartwire_proto::client::{ClientConfig, ClientSession, Input, Now, Output};
/// use heartwire_proto::{ClientId, Time, WallTime};
///
/// let now = |millis| Now {
///     time: Time::from_millis(millis),
///     wall: WallTime::from_unix_millis(1_800_000_000_000 + millis),
///     random: 1 << 127,
/// };
/// let mut session = ClientSession::new(ClientConfig::default(), ClientId::from_random(7));
/// session.start(now(0));
/// let dial = std::iter::from_fn(|| session.poll_output())
///     .find_map(|output| match output {
///         Output::Dial { attempt } => Some(attempt),
///         _ => None,
///     })
///     .expect("starting means dialling");
/// // … the driver dials …
/// session.handle(Input::Opened { attempt: dial, agreed: true, token: None }, now(50));
/// assert!(session.poll_transmit(now(50)).is_some()); // `hello`
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ClientSession {
    pub(super) config: ClientConfig,
    pub(super) client: ClientId,
    pub(super) state: State,
    /// What the application was last told about the state.
    pub(super) status: Status,
    /// The number of the latest dial.
    pub(super) attempt: Attempt,
    pub(super) backoff: Backoff,
    /// The server named a delay: no local cause dials before this moment.
    pub(super) not_before: Time,
    /// Between `sleep` and `wake`.
    pub(super) asleep: bool,
    /// The application has closed the link; only the outbox keeps it.
    pub(super) closing: bool,
    /// Connections in a row that ended because a rule was broken.
    pub(super) broken_rules: u32,
    /// A token has run out, and no `welcome` has come since.
    pub(super) token_expired: bool,
    /// A new client id was drawn, and no connection has been stable since.
    pub(super) client_changed: bool,
    /// A last look has been asked for and not been reported yet.
    pub(super) looking: Option<LookFor>,
    pub(super) timers: TimerTable,
    pub(super) topics: Topics,
    pub(super) publishing: Publishing,
    pub(super) plain: PlainQueue,
    pub(super) welcome: Option<Box<Welcome>>,
    pub(super) rtt: Option<Rtt>,
    pub(super) counters: Counters,
    pub(super) outputs: VecDeque<Output>,
}

impl ClientSession {
    /// A link at rest. `client` is drawn at random, once per link, from a secure source
    /// `[HELLO-3]`.
    pub fn new(config: ClientConfig, client: ClientId) -> Self {
        Self {
            client,
            state: State::Idle,
            status: Status::Connecting {
                attempt: Attempt::ZERO,
            },
            attempt: Attempt::ZERO,
            backoff: Backoff::new(config.reconnect),
            not_before: Time::ZERO,
            asleep: false,
            closing: false,
            broken_rules: 0,
            token_expired: false,
            client_changed: false,
            looking: None,
            timers: TimerTable::default(),
            topics: Topics::new(config.topics_max),
            publishing: Publishing::new(config.outbox),
            plain: PlainQueue::new(config.outbox),
            welcome: None,
            rtt: None,
            counters: Counters::default(),
            outputs: VecDeque::new(),
            config,
        }
    }

    /// Dials for the first time; afterwards it does nothing.
    pub fn start(&mut self, now: Now) {
        if self.state == State::Idle {
            self.dial(now);
        }
    }

    /// Takes what the transport reports. Inputs about an attempt that has been abandoned or has
    /// ended are ignored `[RETRY-1]` `[CLOSE-3]`.
    pub fn handle(&mut self, input: Input<'_>, now: Now) {
        if self.state.attempt() != Some(input.attempt()) {
            return;
        }
        match input {
            Input::Opened { agreed, token, .. } => self.opened(agreed, token, now),
            Input::DialFailed {
                why, retry_after, ..
            } => self.dial_failed(why, retry_after, now),
            Input::Heard { .. } => self.heard(now),
            Input::Message { message, .. } => match self.config.mode {
                Mode::V1 => self.receive(message, now),
                Mode::Plain(_) => self.receive_plain(message, now),
            },
            Input::Pong { .. } => self.answered(now),
            Input::Flushed { .. } => self.flushed(now),
            Input::Acknowledged { .. } => self.acknowledged_by_tcp(now),
            Input::Looked { .. } => self.looked(now),
            Input::Closed { code, reason, .. } => self.closed_by_peer(code, reason, now),
        }
        self.arm();
    }

    /// Does what is due; to be called when [`next_timeout`](Self::next_timeout) has come. Early or
    /// needless calls do nothing.
    pub fn timeout(&mut self, now: Now) {
        while let Some(timer) = self.timers.take_expired(now.time) {
            match timer {
                Timer::Attempt => self.look(LookFor::Welcome),
                Timer::Dial => self.dial(now),
                Timer::Heartbeat => self.beat(now),
                Timer::Stable => self.settle(),
                Timer::Unanswered => self.ask_about_publish(now),
                Timer::Resend => {}
                Timer::Flush => self.finish(),
            }
        }
        self.arm();
    }

    /// The next thing to do. To be called until it returns `None`, after every other call.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`timeout`](Self::timeout) is next due. It changes with every call; ask last.
    pub fn next_timeout(&self) -> Option<Time> {
        self.timers.next_timeout()
    }

    /// Follows a topic, on this connection and all later ones. For one that is followed already it
    /// moves the cursor to `from` `[SUB-13]`, and messages that were on their way are dropped.
    pub fn subscribe(&mut self, topic: &TopicName, from: SubFrom) -> Result<(), SubscribeError> {
        if self.is_closing() {
            return Err(SubscribeError::Closed);
        }
        match self.config.mode {
            Mode::V1 => self.topics.subscribe(topic, from),
            Mode::Plain(_) => Err(SubscribeError::Plain),
        }
    }

    /// Follows a topic no longer; nothing of it is delivered from here on.
    pub fn unsubscribe(&mut self, topic: &TopicName) {
        self.topics.unsubscribe(topic);
    }

    /// The application is slower than this topic: nothing of it is delivered from here on, and the
    /// cursor stays where it is `[SUB-15]`.
    pub fn pause(&mut self, topic: &TopicName) {
        self.topics.pause(topic);
    }

    /// Goes on with a paused topic, from its cursor.
    pub fn resume(&mut self, topic: &TopicName) {
        self.topics.resume(topic);
    }

    /// Puts a message into the outbox, whatever the state of the connection. What becomes of it is
    /// told by [`Event::Stored`] and its like, under the number returned.
    pub fn publish(&mut self, topic: TopicName, payload: Payload) -> Result<Seq, PublishError> {
        if self.is_closing() {
            return Err(PublishError::Closed);
        }
        match self.config.mode {
            Mode::V1 => self.push_publish(topic, payload),
            Mode::Plain(_) => Err(PublishError::Plain),
        }
    }

    /// Plain mode: sends a message over the connection that is open. What the transport has not
    /// taken when that connection ends is told by [`Event::Unsent`].
    pub fn send(&mut self, payload: Payload) -> Result<(), SendError> {
        match self.config.mode {
            Mode::V1 => Err(SendError::NotPlain),
            Mode::Plain(_) if self.closing || !self.state.is_open() => Err(SendError::NotOpen),
            Mode::Plain(_) => Ok(self.plain.push(payload)?),
        }
    }

    /// Replaces the token of the connection that is open, if one is; later dials ask for their own.
    /// v1 only.
    pub fn renew_token(&mut self, token: Token) {
        if let (Mode::V1, Some(connection)) = (&self.config.mode, self.state.connection()) {
            connection.slots.token = Some(token);
        }
    }

    /// Asks for another heartbeat interval, on this connection and all later ones `[LIVE-7]`. In
    /// plain mode it is simply set.
    pub fn set_heartbeat_interval(&mut self, interval: Duration) -> Result<(), HeartbeatRange> {
        match &mut self.config.mode {
            Mode::V1 => {
                HeartbeatConfig::new(interval, HeartbeatConfig::default().timeout())?;
                self.config.heartbeat_interval = Some(interval);
                self.ask_for_interval(interval);
            }
            Mode::Plain(plain) => {
                let heartbeat = HeartbeatConfig::new(interval, plain.heartbeat.timeout())?;
                plain.heartbeat = heartbeat;
                self.set_heartbeat(heartbeat);
            }
        }
        self.arm();
        Ok(())
    }

    /// Asks the server at once whether it is there, with 3 s to answer, or more on a connection
    /// that is known to be slow `[LIVE-6]`.
    pub fn probe(&mut self, now: Now) {
        self.ask_now(now);
        self.arm();
    }

    /// Dials at once: a connection that is open is given up, a delay is cut short, suspension ends.
    /// An attempt that is under way goes on.
    pub fn reconnect(&mut self, now: Now) {
        self.dial_on_request(now);
        self.arm();
    }

    /// Ends the link. What is in the outbox still goes out, for at most `flush`, over later
    /// connections if need be; then, or at once if it is empty, the state is `closed`.
    pub fn close(&mut self, flush: Duration, now: Now) {
        self.begin_close(flush, now);
        self.arm();
    }

    /// The process is about to be suspended, or knows that there is no network: a connection that
    /// is open stays, but nothing is dialled until [`wake`](Self::wake), but for a try every few
    /// minutes.
    pub fn sleep(&mut self, now: Now) {
        self.fall_asleep(now);
    }

    /// Something changed on this side: the process or the machine was asleep (the system says so,
    /// or a jump between wall clock and monotonic clock `[RETRY-8]`), the network changed or came
    /// back, the application returned to the foreground. A connection that is open is asked at
    /// once, one that is lost is dialled at once, unless the server named a delay `[LIVE-6]`
    /// `[RETRY-2]`.
    pub fn wake(&mut self, now: Now) {
        self.wake_up(now);
        self.arm();
    }

    /// The state of the link.
    pub const fn status(&self) -> &Status {
        &self.status
    }

    /// The number of the latest dial, 0 before the first.
    pub const fn attempt(&self) -> Attempt {
        self.attempt
    }

    /// This client's id; [`Event::ClientChanged`] tells when it changes.
    pub const fn client(&self) -> &ClientId {
        &self.client
    }

    /// Round-trip times of the current connection, or else of the last.
    pub const fn rtt(&self) -> Option<Rtt> {
        self.rtt
    }

    /// What the server of the current connection, or else of the last, said at its opening.
    pub fn welcome(&self) -> Option<&Welcome> {
        self.welcome.as_deref()
    }

    /// The place up to which a topic has been delivered, if it is known.
    pub fn cursor(&self, topic: &TopicName) -> Option<Cursor> {
        self.topics.cursor(topic)
    }

    /// How many publishes are neither stored nor given up.
    pub fn unacked(&self) -> usize {
        self.publishing.outbox.len()
    }

    /// What happened that should not happen on a healthy link.
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    fn is_closing(&self) -> bool {
        self.closing || self.state == State::Closed
    }

    pub(super) fn tell(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }
}
