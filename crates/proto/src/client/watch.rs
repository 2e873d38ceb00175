//! Watching the connection: the heartbeat, publishes without an answer, and the last look before
//! anything is declared dead.

use std::time::Duration;

use super::dial::{Connection, State};
use super::event::{Event, Loss};
use super::io::{Now, Output};
use super::session::ClientSession;
use super::timer::Timer;
use crate::heartbeat::{Due, HeartbeatConfig, Verdict};
use crate::id::PingId;
use crate::planted::{self, Bug};
use crate::time::Time;

/// How long the answer to a probe may take `[LIVE-6]`.
const PROBE_ANSWER: Duration = Duration::from_secs(3);
/// A publish that waits this long makes the client ask, at the least `[PUB-11]`.
const PUBLISH_ANSWER_MIN: Duration = Duration::from_secs(2);
/// In such waiting, a slow link is given this many round trips.
const ROUND_TRIPS: u32 = 4;

/// What a last look is for: the deadline that has passed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum LookFor {
    /// `welcome`, or the end of the handshake.
    Welcome,
    /// Any byte.
    Life,
    /// A word about publishes.
    PublishAnswer,
}

/// When something is to be done about a publish that waits.
struct Patience {
    /// The server is asked.
    ask_at: Time,
    /// The connection is given up.
    drop_at: Time,
}

impl Connection {
    /// The best guess of a round trip: measured by pings, or else the greeting's.
    fn round_trip(&self) -> Duration {
        match self.heartbeat.rtt() {
            Some(rtt) => Duration::from_millis(rtt.smoothed_ms.into()),
            None => self.greeting_took,
        }
    }

    /// How long a probe's answer may take: 3 s, more on a link known to be slow, but no more than
    /// the heartbeat allows.
    fn probe_answer(&self) -> Duration {
        let longest = self.heartbeat.config().timeout().max(PROBE_ANSWER);
        (self.round_trip() * ROUND_TRIPS).clamp(PROBE_ANSWER, longest)
    }
}

impl ClientSession {
    /// Bytes arrived `[LIVE-1]`.
    pub(super) fn heard(&mut self, now: Now) {
        if let Some(connection) = self.state.open() {
            connection.heartbeat.heard(now.time);
        }
    }

    /// A pong of v1.
    pub(super) fn ponged(&mut self, id: Option<PingId>, now: Now) {
        if let (Some(id), Some(connection)) = (id, self.state.open())
            && connection.heartbeat.pong(id, now.time).is_some()
            && let Some(rtt) = connection.heartbeat.rtt()
        {
            self.rtt = Some(rtt);
            self.tell(Event::Rtt(rtt));
        }
    }

    /// A pong without an id, in plain mode: it answers the latest ping.
    pub(super) fn answered(&mut self, now: Now) {
        let latest = self.state.open().map(|open| open.heartbeat.latest_ping());
        self.ponged(latest, now);
        self.heard(now);
    }

    /// Everything given out has left for the kernel. Only the first time counts for a ping: what
    /// is written behind it says nothing about its answer.
    pub(super) fn flushed(&mut self, now: Now) {
        if let Some(connection) = self.state.open()
            && std::mem::replace(&mut connection.ping_unflushed, false)
        {
            connection.heartbeat.ping_written(now.time);
        }
    }

    /// The peer's TCP takes bytes, slowly: clocks of answers start over `[LIVE-5]`.
    pub(super) fn acknowledged_by_tcp(&mut self, now: Now) {
        if let Some(connection) = self.state.open() {
            connection.heartbeat.acknowledged(now.time);
            self.publishing.waiting_since = now.time;
        }
    }

    pub(super) fn set_heartbeat(&mut self, config: HeartbeatConfig) {
        if let Some(connection) = self.state.open() {
            connection.heartbeat.set_config(config);
        }
    }

    /// The time that what is in flight may take to go up, if its progress cannot be seen.
    fn backlog(&self) -> Duration {
        if self.config.sees_acknowledgements {
            Duration::ZERO
        } else {
            self.publishing.backlog()
        }
    }

    /// Does what the heartbeat has due.
    pub(super) fn beat(&mut self, now: Now) {
        let backlog = self.backlog();
        let Some(connection) = self.state.open() else {
            return;
        };
        match connection.heartbeat.poll_behind(now.time, backlog) {
            Due::Nothing => {}
            Due::Ask(id) => connection.slots.ping = Some(id),
            Due::Look => self.look(LookFor::Life),
        }
    }

    /// Asks at once whether the server is there.
    pub(super) fn ask_now(&mut self, now: Now) {
        let backlog = self.backlog();
        if let Some(connection) = self.state.open() {
            let answer_within = connection.probe_answer() + backlog;
            if let Due::Ask(id) = connection.heartbeat.probe(now.time, answer_within) {
                connection.slots.ping = Some(id);
            }
        }
    }

    /// A publish has waited long: the server is asked, or, if that helped nothing, given up.
    pub(super) fn ask_about_publish(&mut self, now: Now) {
        let Some(patience) = self.patience() else {
            return;
        };
        if now.time >= patience.drop_at {
            self.look(LookFor::PublishAnswer);
        } else if now.time >= patience.ask_at && !self.publishing.asked {
            self.publishing.asked = true;
            self.ask_now(now);
        }
    }

    /// How long the oldest publish in flight may still wait; `None` when there is none.
    fn patience(&self) -> Option<Patience> {
        let State::Open(connection) = &self.state else {
            return None;
        };
        if self.publishing.outbox.in_flight() == 0 || self.timers.is_set(Timer::Resend) {
            return None;
        }
        let since = self.publishing.waiting_since + self.backlog();
        let round_trips = connection.round_trip() * ROUND_TRIPS;
        Some(Patience {
            ask_at: since + round_trips.max(PUBLISH_ANSWER_MIN),
            drop_at: since + connection.heartbeat.config().timeout() * 2,
        })
    }

    /// A deadline has passed: before anything is decided, what has arrived is read `[LIVE-10]`.
    pub(super) fn look(&mut self, what: LookFor) {
        if let (None, Some(attempt)) = (self.looking, self.state.attempt()) {
            self.looking = Some(what);
            self.outputs.push_back(Output::Look { attempt });
        }
    }

    /// What had arrived has been read: is the deadline still missed?
    pub(super) fn looked(&mut self, now: Now) {
        match self.looking.take() {
            None => {}
            Some(LookFor::Welcome) if self.state.is_open() => {}
            Some(LookFor::Welcome) => self.dead(Loss::AttemptTimeout, now),
            Some(LookFor::Life) => {
                if let Some(connection) = self.state.open()
                    && let Verdict::Dead { silent_for } = connection.heartbeat.judge(now.time)
                {
                    self.dead(Loss::Silent { silent_for }, now);
                }
            }
            Some(LookFor::PublishAnswer) => {
                let patience = self.patience();
                if patience.is_some_and(|patience| now.time >= patience.drop_at) {
                    self.dead(Loss::Unanswered, now);
                }
            }
        }
    }

    /// Sets the deadlines that follow from the state of the connection. While a look is under way
    /// they rest: its answer decides.
    pub(super) fn arm(&mut self) {
        self.timers.stop(Timer::Heartbeat);
        self.timers.stop(Timer::Unanswered);
        if self.looking.is_some() {
            return;
        }
        if let State::Open(connection) = &self.state
            && !planted::has(Bug::NoClientTimeout)
        {
            self.timers
                .set(Timer::Heartbeat, connection.heartbeat.deadline());
        }
        if let Some(patience) = self.patience() {
            let at = if self.publishing.asked {
                patience.drop_at
            } else {
                patience.ask_at.min(patience.drop_at)
            };
            self.timers.set(Timer::Unanswered, at);
        }
    }
}
