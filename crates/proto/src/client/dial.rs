//! From a loss to the next connection, and the ends of a link.
//!
//! ```text
//!   Idle ──start──► Dialing ──opened──► Greeting ──welcome──► Open
//!                    ▲   │                 │                    │
//!                    │   └──── failed ─────┴───── lost ─────────┤
//!      delay is over │                                          ▼
//!                    ├──────────────── Waiting ◄──── attempts left
//!                    ├──────────────── Suspended ◄── attempts used up, or asleep
//!                    │ wake-up, network change, request, or by itself
//!                                      Closed ◄───── final code, or the application's close
//! ```
//!
//! Plain mode knows no greeting: the handshake opens the connection.

use std::time::Duration;

use super::config::Mode;
use super::event::{Ending, Event, Loss, Status};
use super::io::{Now, Output};
use super::session::ClientSession;
use super::timer::Timer;
use super::transmit::Slots;
use crate::backoff::{self, Cause, Next};
use crate::close::{Close, CloseCode};
use crate::frame::FrameError;
use crate::heartbeat::Heartbeat;
use crate::id::{Attempt, Token};
use crate::planted::{self, Bug};
use crate::time::Time;

/// After how long a connection counts as stable, so that the next loss begins a new outage
/// `[RETRY-5]`.
const STABLE_AFTER: Duration = Duration::from_secs(5);
/// How long an attempt that was under way at a wake-up may still take: its packets may have gone
/// into a network that is not there any more.
const ATTEMPT_AFTER_WAKE: Duration = Duration::from_secs(3);
/// A server at its limits is left alone for at least this long.
const OVERLOADED_MIN: Duration = Duration::from_secs(1);
/// So many connections in a row may end because a rule was broken; the last one is final.
const BROKEN_RULES_MAX: u32 = 3;

/// Where the link stands. What is true of the current connection alone lies in its variant, so that
/// nothing of it outlives the connection.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) enum State {
    /// Before `start`.
    Idle,
    /// A dial is under way.
    Dialing(Attempt),
    /// The handshake is done, `hello` is said, `welcome` has not come.
    Greeting(Connection),
    /// Welcomed; in plain mode, the handshake is done.
    Open(Connection),
    /// The next dial has its time.
    Waiting,
    /// Nothing is dialled until something changes, but for a try now and then.
    Suspended,
    /// The end.
    Closed,
}

/// One WebSocket.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Connection {
    pub(super) attempt: Attempt,
    /// When it opened: the handshake, and from `welcome` on, that.
    pub(super) opened_at: Time,
    /// From `hello` to `welcome`; zero in plain mode.
    pub(super) greeting_took: Duration,
    /// Runs once the connection is open.
    pub(super) heartbeat: Heartbeat,
    /// It has been open for a while, with every `sub` answered.
    pub(super) stable: bool,
    /// A ping has been given out, and not all before it has left for the kernel.
    pub(super) ping_unflushed: bool,
    /// What is to be written before anything else.
    pub(super) slots: Slots,
}

impl State {
    /// The attempt that is under way or has led here.
    pub(super) const fn attempt(&self) -> Option<Attempt> {
        match self {
            Self::Dialing(attempt) => Some(*attempt),
            Self::Greeting(connection) | Self::Open(connection) => Some(connection.attempt),
            _ => None,
        }
    }

    pub(super) const fn is_open(&self) -> bool {
        matches!(self, Self::Open(_))
    }

    /// The connection, if it is open.
    pub(super) const fn open(&mut self) -> Option<&mut Connection> {
        match self {
            Self::Open(connection) => Some(connection),
            _ => None,
        }
    }

    /// The connection, open or still greeting.
    pub(super) const fn connection(&mut self) -> Option<&mut Connection> {
        match self {
            Self::Greeting(connection) | Self::Open(connection) => Some(connection),
            _ => None,
        }
    }
}

/// How a connection is let go of.
enum Farewell {
    /// It is gone already.
    None,
    /// The socket is dropped as it is.
    Drop,
    /// By a close frame.
    Close(Close),
}

impl Farewell {
    /// A close frame for a reason that is nobody's fault.
    fn normal(reason: &'static str) -> Self {
        Self::Close(Close::new(CloseCode::NORMAL, reason))
    }
}

/// What a loss leads to.
enum Decision {
    Retry(Cause),
    Close(Ending),
}

impl ClientSession {
    /// Begins the next attempt `[HELLO-4]`.
    pub(super) fn dial(&mut self, now: Now) {
        self.attempt = self.attempt.next();
        let attempt = self.attempt;
        self.state = State::Dialing(attempt);
        self.not_before = Time::ZERO;
        self.looking = None;
        if !planted::has(Bug::DialTimerKept) {
            self.timers.stop(Timer::Dial);
        }
        self.timers
            .set(Timer::Attempt, now.time + self.config.attempt_timeout);
        self.tell_status(Status::Connecting { attempt });
        self.outputs.push_back(Output::Dial { attempt });
    }

    /// The handshake is done.
    pub(super) fn opened(&mut self, agreed: bool, token: Option<Token>, now: Now) {
        let State::Dialing(attempt) = self.state else {
            return;
        };
        let mut connection = Connection {
            attempt,
            opened_at: now.time,
            greeting_took: Duration::ZERO,
            heartbeat: Heartbeat::new(Default::default(), now.time),
            stable: false,
            ping_unflushed: false,
            slots: Slots::default(),
        };
        match &self.config.mode {
            Mode::Plain(plain) => {
                let config = plain.heartbeat;
                connection.heartbeat =
                    Heartbeat::with_random_start(config, now.time, now.fraction());
                self.open(connection, now);
            }
            Mode::V1 if agreed => {
                connection.slots.hello = Some(Box::new(self.hello(attempt, token)));
                self.state = State::Greeting(connection);
                self.topics.connected();
            }
            Mode::V1 => {
                let farewell = Farewell::normal("heartwire.v1 was not agreed");
                self.lose(Loss::NotAgreed, None, farewell, now);
            }
        }
    }

    /// The connection serves the application from here on.
    pub(super) fn open(&mut self, connection: Connection, now: Now) {
        let attempt = connection.attempt;
        self.state = State::Open(connection);
        self.counters.opened += 1;
        self.timers.stop(Timer::Attempt);
        self.timers.set(Timer::Stable, now.time + STABLE_AFTER);
        if planted::has(Bug::CountResetEarly) {
            self.backoff.stable();
        }
        self.tell_status(Status::Open { attempt });
    }

    /// The connection has been open for a while: if every `sub` is answered, the outage is over.
    /// Otherwise the answers are what it waits for.
    pub(super) fn settle(&mut self) {
        let all_answered = self.topics.all_answered();
        if let State::Open(connection) = &mut self.state
            && all_answered
        {
            connection.stable = true;
            self.backoff.stable();
            self.broken_rules = 0;
            self.client_changed = false;
        }
    }

    /// Whether only unanswered `sub` keep the connection from being stable.
    pub(super) const fn is_settling(&self) -> bool {
        match &self.state {
            State::Open(connection) => !connection.stable && !self.timers.is_set(Timer::Stable),
            _ => false,
        }
    }

    pub(super) fn dial_failed(&mut self, why: String, retry_after: Option<Duration>, now: Now) {
        self.lose(Loss::DialFailed { why }, retry_after, Farewell::None, now);
    }

    /// The socket closed.
    pub(super) fn closed_by_peer(&mut self, code: Option<CloseCode>, reason: &str, now: Now) {
        let (retry, reason) = split_delay(reason);
        let reason = reason.to_owned();
        let code = code.unwrap_or(CloseCode(1006));
        self.lose(Loss::Closed { code, reason }, retry, Farewell::None, now);
    }

    /// The server said how it will close, and is not waited for `[CLOSE-2]`.
    pub(super) fn bye(&mut self, code: CloseCode, retry: Option<Duration>, reason: &str, now: Now) {
        let reason = reason.to_owned();
        let farewell = Farewell::normal("after bye");
        self.lose(Loss::Closed { code, reason }, retry, farewell, now);
    }

    /// The server broke a rule `[FRAME-14]`.
    pub(super) fn broken(&mut self, error: FrameError, now: Now) {
        let farewell = Farewell::Close(Close::from(error));
        self.lose(Loss::ServerBrokeRule(error), None, farewell, now);
    }

    /// The connection is dead, or as good as: nothing more is said on it `[LIVE-4]`.
    pub(super) fn dead(&mut self, why: Loss, now: Now) {
        self.lose(why, None, Farewell::Drop, now);
    }

    /// Somebody else uses this client id.
    pub(super) fn id_in_use(&mut self, now: Now) {
        let farewell = Farewell::normal("a new client id was drawn");
        self.lose(Loss::ClientIdInUse, None, farewell, now);
    }

    /// The current attempt or connection is over: lets go of it and decides what comes next.
    fn lose(&mut self, why: Loss, retry: Option<Duration>, farewell: Farewell, now: Now) {
        self.let_go(farewell);
        if self.closing && !self.has_unsent() {
            return self.end(Ending::Application);
        }
        let random = now.fraction();
        match self.decide(&why, retry) {
            Decision::Close(ending) => self.end(ending),
            Decision::Retry(cause) if self.asleep => {
                if let Cause::Named(delay) = cause {
                    self.not_before = now.time + backoff::named(delay, random);
                }
                self.wait(why, self.backoff.suspend(random), now);
            }
            Decision::Retry(cause) => {
                let next = self.backoff.next(cause, random);
                if let (Cause::Named(_), Next::Dial { after }) = (cause, next) {
                    self.not_before = now.time + after;
                }
                self.wait(why, next, now);
            }
        }
    }

    /// Leaves the connection behind, with everything that belongs to it alone.
    fn let_go(&mut self, farewell: Farewell) {
        let Some(attempt) = self.state.attempt() else {
            return;
        };
        match farewell {
            Farewell::None => {}
            Farewell::Drop => self.abandon(attempt, None),
            Farewell::Close(close) => self.abandon(attempt, Some(close)),
        }
        self.state = State::Waiting;
        self.looking = None;
        for timer in [
            Timer::Attempt,
            Timer::Heartbeat,
            Timer::Stable,
            Timer::Unanswered,
            Timer::Resend,
        ] {
            self.timers.stop(timer);
        }
        self.topics.disconnected();
        self.publishing.disconnected();
        let messages = self.plain.clear();
        if messages > 0 {
            self.tell(Event::Unsent { messages });
        }
    }

    fn abandon(&mut self, attempt: Attempt, close: Option<Close>) {
        self.outputs.push_back(Output::Abandon { attempt, close });
    }

    /// The table of close codes `[CLOSE-1]`, and what else can end a connection.
    fn decide(&mut self, why: &Loss, retry: Option<Duration>) -> Decision {
        let code = self.code_of(why);
        let rule_broken = self.counts_as_broken_rule(why, code);
        self.broken_rules = if rule_broken {
            self.broken_rules + 1
        } else {
            0
        };
        if self.broken_rules >= BROKEN_RULES_MAX {
            let reason = why.to_string();
            return Decision::Close(Ending::BrokenRules { reason });
        }
        let soon = retry.map_or(Cause::AtLeast(Duration::ZERO), Cause::Named);
        Decision::Retry(match (why, code) {
            (Loss::Requested, _) => Cause::Local,
            (Loss::ClientIdInUse, _) if !rule_broken => Cause::Local,
            (Loss::Closed { reason, .. }, Some(code)) => match code {
                CloseCode::UNAUTHORIZED | CloseCode::FORBIDDEN | CloseCode::TAKEN_OVER => {
                    let reason = reason.clone();
                    return Decision::Close(Ending::Refused { code, reason });
                }
                CloseCode::TOKEN_EXPIRED if !std::mem::replace(&mut self.token_expired, true) => {
                    Cause::Local
                }
                CloseCode::OVERLOADED | CloseCode::RATE_LIMITED => match retry {
                    Some(delay) => Cause::Named(delay.max(OVERLOADED_MIN)),
                    None => Cause::AtLeast(OVERLOADED_MIN),
                },
                _ => soon,
            },
            _ => soon,
        })
    }

    /// The close code of a server that speaks this protocol. In plain mode the codes are another
    /// protocol's: nothing is read into them `[PLAIN-10]`.
    const fn code_of(&self, why: &Loss) -> Option<CloseCode> {
        match (&self.config.mode, why) {
            (Mode::V1, Loss::Closed { code, .. }) => Some(*code),
            _ => None,
        }
    }

    /// Whether a loss brings the link nearer to giving up on this server. A second new client id
    /// without a stable connection in between does: it would go on for ever.
    fn counts_as_broken_rule(&mut self, why: &Loss, code: Option<CloseCode>) -> bool {
        match why {
            Loss::ServerBrokeRule(_) => true,
            Loss::ClientIdInUse => std::mem::replace(&mut self.client_changed, true),
            _ => code == Some(CloseCode::PROTOCOL),
        }
    }

    /// Tells the application about a loss, and sets the time of the next dial `[RETRY-9]`.
    fn wait(&mut self, why: Loss, next: Next, now: Now) {
        match next {
            Next::Dial { after } => {
                self.state = State::Waiting;
                self.tell_status(Status::Lost {
                    why,
                    retry_in: after,
                    attempts: self.backoff.attempts(),
                });
                if after.is_zero() {
                    self.dial(now);
                } else {
                    self.timers.set(Timer::Dial, now.time + after);
                }
            }
            Next::Suspend { wake_in } => {
                self.state = State::Suspended;
                match wake_in {
                    Some(after) => self.timers.set(Timer::Dial, now.time + after),
                    None => self.timers.stop(Timer::Dial),
                }
                self.tell_status(Status::Suspended { why, wake_in });
            }
        }
    }

    /// Dials at once, or when the delay that the server named is over.
    fn dial_when_allowed(&mut self, now: Now) {
        self.backoff.restart();
        let after = self.not_before.since(now.time);
        match (&self.status, after.is_zero()) {
            (Status::Suspended { why, .. }, false) => {
                let why = why.clone();
                self.wait(why, Next::Dial { after }, now);
            }
            (_, false) => {}
            (_, true) => self.dial(now),
        }
    }

    pub(super) fn dial_on_request(&mut self, now: Now) {
        self.asleep = false;
        match self.state {
            State::Idle => self.dial(now),
            State::Dialing(_) | State::Greeting(_) | State::Closed => {}
            State::Open(_) => {
                self.backoff.restart();
                let farewell = Farewell::normal("a new connection was asked for");
                self.lose(Loss::Requested, None, farewell, now);
            }
            State::Waiting | State::Suspended => {
                self.backoff.restart();
                self.dial(now);
            }
        }
    }

    pub(super) fn wake_up(&mut self, now: Now) {
        let was_asleep = std::mem::replace(&mut self.asleep, false);
        match self.state {
            State::Idle | State::Closed => {}
            State::Dialing(_) | State::Greeting(_) => {
                let soon = now.time + ATTEMPT_AFTER_WAKE;
                if let Some(due) = self.timers.get(Timer::Attempt) {
                    self.timers.set(Timer::Attempt, due.min(soon));
                }
            }
            State::Open(_) => self.ask_now(now),
            State::Waiting => self.dial_when_allowed(now),
            State::Suspended => {
                if was_asleep || self.config.reconnect.wakes() {
                    self.dial_when_allowed(now);
                }
            }
        }
    }

    pub(super) fn fall_asleep(&mut self, now: Now) {
        self.asleep = true;
        if let (State::Waiting, Status::Lost { why, .. }) = (&self.state, &self.status) {
            let why = why.clone();
            let next = self.backoff.suspend(now.fraction());
            self.wait(why, next, now);
        }
    }

    pub(super) fn begin_close(&mut self, flush: Duration, now: Now) {
        if self.state == State::Closed {
            return;
        }
        self.closing = true;
        if self.has_unsent() {
            self.timers.set(Timer::Flush, now.time + flush);
        } else {
            self.finish();
        }
    }

    /// Whether a close still waits for something.
    fn has_unsent(&self) -> bool {
        !self.publishing.outbox.is_empty() || !self.plain.is_empty()
    }

    /// Ends the link if the application has closed it and everything has gone out.
    pub(super) fn finish_if_flushed(&mut self) {
        if self.closing && !self.has_unsent() {
            self.finish();
        }
    }

    /// Ends the link by the application's wish.
    pub(super) fn finish(&mut self) {
        if self.state != State::Closed {
            let farewell = match self.state {
                State::Dialing(_) => Farewell::Drop,
                _ => Farewell::normal("closed by the application"),
            };
            self.let_go(farewell);
            self.end(Ending::Application);
        }
    }

    fn end(&mut self, why: Ending) {
        self.state = State::Closed;
        self.timers = Default::default();
        self.tell_status(Status::Closed { why });
    }

    fn tell_status(&mut self, status: Status) {
        self.status = status.clone();
        self.tell(Event::Status(status));
    }
}

/// Takes the delay off a close reason that begins with `retry MS` `[PLAIN-8]`.
fn split_delay(reason: &str) -> (Option<Duration>, &str) {
    let delay = || {
        let rest = reason.strip_prefix("retry ")?;
        let (number, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        let delay_ms = crate::id::parse_number(number).ok()?;
        Some((Duration::from_millis(delay_ms), rest))
    };
    match delay() {
        Some((delay, rest)) if !delay.is_zero() => (Some(delay), rest),
        Some((_, rest)) => (None, rest),
        None => (None, reason),
    }
}
