//! Life and death of a connection `[LIVE-4]` `[LIVE-9]` `[LIVE-10]` `[LIVE-11]`.

use std::time::Duration;

use heartwire_proto::frame::{ServerFrame, Tails};
use heartwire_proto::heartbeat::{self, Heartbeat, HeartbeatConfig, Verdict};
use heartwire_proto::planted::{self, Bug};
use heartwire_proto::server::websocket::{Opcode, write_frame};
use heartwire_proto::{Close, CloseCode, Time};

use super::extra::Extra;
use super::progress::NEVER;
use super::{Connection, Live, Speech, State, push_frame};
use crate::Now;
use crate::state::{ConnKey, HubState};

/// A v1 peer is asked at least this often, for the positions that the ping tells `[LIVE-9]`.
const POSITIONS_EVERY: Duration = Duration::from_secs(60);

/// While an answer is awaited or output is blocked, acknowledgements are looked at so many times within
/// the timeout.
const LOOKS_PER_TIMEOUT: u32 = 8;

/// How late a deadline may come up before the process counts as paused.
const LATE: Duration = Duration::from_millis(500);

/// What is due.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Due {
    /// Nothing, before [`Connection::deadline`].
    Nothing,
    /// Ask the peer: [`Connection::ping`], then fill and write.
    Ping,
    /// Find out how many written bytes the peer's TCP has not acknowledged, and tell
    /// [`Connection::measured`].
    Measure,
    /// It looks as if the peer were dead. Write and read whatever the socket takes and gives,
    /// measure, and then let [`Connection::judge`] decide.
    Look,
    /// The end: drop the socket.
    Drop,
}

impl Connection {
    /// When [`poll`](Self::poll) is next due. Usually it moves later; a shorter interval, blocked
    /// output or a ping under way bring it forward, never below an eighth of the timeout from then.
    pub fn deadline(&self) -> Time {
        match &self.state {
            State::Greeting(greeting) => greeting.session.deadline().unwrap_or(NEVER),
            State::Closing(closing) => closing.until,
            State::Live(_) if planted::has(Bug::NoServerTimeout) => NEVER,
            State::Live(live) => live
                .due_at()
                .min(self.blocked_until(live))
                .min(self.measure_at(live))
                .min(live.extra.expires_at()),
        }
    }

    /// Does what is due, or says what it takes.
    pub fn poll(&mut self, now: Time) -> Due {
        match &self.state {
            State::Greeting(_) if now >= self.deadline() => {
                let reason = "HELLO-1: hello was not complete in time";
                self.close(Close::new(CloseCode::HEARTBEAT_TIMEOUT, reason), now);
                Due::Nothing
            }
            State::Closing(closing) if now >= closing.until => Due::Drop,
            State::Greeting(_) | State::Closing(_) => Due::Nothing,
            State::Live(live) if now >= live.extra.expires_at() => {
                self.expire(now);
                Due::Nothing
            }
            State::Live(live) => self.poll_live(live, now),
        }
    }

    fn poll_live(&self, live: &Live, now: Time) -> Due {
        if now >= self.blocked_until(live) {
            return Due::Look;
        }
        if now >= live.due_at() {
            match live.heartbeat.is_asking() {
                true => Due::Look,
                false => Due::Ping,
            }
        } else if now >= self.measure_at(live) {
            Due::Measure
        } else {
            Due::Nothing
        }
    }

    /// Asks the peer, and tells it how far it has been sent. [`Fill`](Self::fill) it next: topics
    /// whose end lies further are looked at again.
    pub fn ping<H: Clone>(&mut self, hub: &mut HubState<H>, now: Now) {
        let Self {
            state: State::Live(live),
            outgoing,
            progress,
            ..
        } = self
        else {
            return;
        };
        let heartbeat::Due::Ask(id) = live.heartbeat.ask_anyway(now.time) else {
            return;
        };
        if let Some(rtt) = live.heartbeat.rtt() {
            hub.set_round_trip(live.key, rtt.last_ms);
        }
        let lines = hub.tails(live.key, now.random);
        match live.speech {
            Speech::V1(_) => {
                let tails = Tails::parse(&lines).unwrap_or_default();
                push_frame(
                    outgoing,
                    &ServerFrame::Ping {
                        id: Some(id),
                        tails,
                    },
                );
            }
            Speech::Plain { .. } => outgoing.push_control(|out| {
                write_frame(out, |out| {
                    out.extend_from_slice(id.as_str().as_bytes());
                    Opcode::Ping
                });
            }),
        }
        progress.asked(outgoing.bytes(), now.time);
    }

    /// The socket took so many bytes of [`outgoing`](Self::outgoing): call it after every write,
    /// also with 0 when the socket is full.
    pub fn written(&mut self, bytes: usize, now: Time) {
        self.outgoing.advance(bytes);
        self.answer_late();
        let is_rest = !self.outgoing.is_empty();
        let moves_ping = self.progress.written(bytes, is_rest, now);
        if let State::Live(live) = &mut self.state
            && moves_ping
        {
            live.heartbeat.ping_written(now);
        }
    }

    /// So many of the written bytes have not been acknowledged by the peer's TCP; 0 where nobody can
    /// tell, which makes a written ping count as one that arrived.
    pub fn measured(&mut self, unacknowledged: u64, now: Time) {
        let clock = self.progress.measured(unacknowledged, now);
        if let (State::Live(live), Some(since)) = (&mut self.state, clock) {
            live.heartbeat.acknowledged(since);
        }
    }

    /// Decides after a look. If the peer is dead, the connection closes with 4200: write once more
    /// what can be written, then drop the socket.
    pub fn judge(&mut self, now: Time) -> bool {
        // Whoever does not read what stands here is not read from: that it is silent says nothing.
        let is_choked = !self.wants_input();
        let State::Live(live) = &mut self.state else {
            return false;
        };
        if is_choked {
            live.heartbeat.heard(now);
        }
        let reason = match live.heartbeat.judge(now) {
            Verdict::Dead { silent_for } => {
                format!("nothing was heard for {:.1} s", silent_for.as_secs_f64())
            }
            Verdict::Alive if self.is_blocked_for_too_long(now) => {
                let bound = self.bound();
                format!("no output was taken for {:.1} s", bound.as_secs_f64())
            }
            Verdict::Alive => return false,
        };
        self.close_within(Close::new(CloseCode::HEARTBEAT_TIMEOUT, reason), now);
        true
    }

    /// Whether output has stood still for interval + timeout `[LIVE-11]`. A process that was paused
    /// gives one more chance `[LIVE-10]`.
    fn is_blocked_for_too_long(&mut self, now: Time) -> bool {
        let State::Live(live) = &self.state else {
            return false;
        };
        let until = self.blocked_until(live);
        if now < until {
            return false;
        }
        if now.since(until) > LATE {
            let grace = self.bound().saturating_sub(Heartbeat::GRACE).as_millis() as u64;
            let since = now.as_millis().saturating_sub(grace);
            self.progress.set_blocked_since(Time::from_millis(since));
            return false;
        }
        true
    }

    fn bound(&self) -> Duration {
        match &self.state {
            State::Live(live) => live.heartbeat.config().bound(),
            State::Greeting(_) | State::Closing(_) => HeartbeatConfig::default().bound(),
        }
    }

    fn blocked_until(&self, live: &Live) -> Time {
        self.progress.blocked_since() + live.heartbeat.config().bound()
    }

    fn measure_at(&self, live: &Live) -> Time {
        let timeout = live.heartbeat.config().timeout();
        let last = self.progress.measured_at();
        last.map_or(NEVER, |last| last + timeout / LOOKS_PER_TIMEOUT)
    }
}

impl Live {
    pub(super) fn new(
        key: ConnKey,
        heartbeat: Heartbeat,
        speech: Speech,
        expires_at: Time,
    ) -> Self {
        let mut extra = Extra::default();
        extra.set_expires_at(expires_at);
        Self {
            key,
            heartbeat,
            speech,
            extra,
        }
    }

    /// When its answer is due, or when the peer is asked next: if nothing is heard, and in v1 also if
    /// it never falls silent.
    fn due_at(&self) -> Time {
        let silent = self.heartbeat.deadline();
        match self.speech {
            Speech::V1(_) if !self.heartbeat.is_asking() => {
                silent.min(self.heartbeat.asked_at() + POSITIONS_EVERY)
            }
            Speech::V1(_) | Speech::Plain { .. } => silent,
        }
    }
}
