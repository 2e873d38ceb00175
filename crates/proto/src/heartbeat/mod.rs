//! The heartbeat: how an end learns that its link is dead. One type serves both ends.
//!
//! ```text
//!             heard                       nothing heard for `interval`
//!        ┌───────────┐                   ┌──────────────────────────┐
//!        │           ▼                   │                          ▼
//!        └──────── Quiet ────────────────┘        Asked: a ping is on its way, its answer is due
//!                    ▲                                        │              │
//!                    └───────────── any byte heard ───────────┘              │ nothing by then,
//!                                                                            ▼ after a last look
//!                                                                          Dead
//! ```
//!
//! Rules `[LIVE-1]` to `[LIVE-9]` of PROTOCOL.md. What counts as life is any byte received. Bytes
//! that the peer's TCP acknowledged keep a slow reader alive while the ping still stands in the
//! queue before it; the answer's clock starts when the ping has reached the peer's TCP, where the
//! driver can tell, or else when it has been written. The last acknowledgement of a frozen peer's
//! kernel is therefore never mistaken for an answer.
//!
//! A deadline that fires late says nothing about the peer: the process may have been paused. So
//! before death there is always a look: the driver reads what has arrived and asks again.

mod config;
mod rtt;

use std::time::Duration;

use crate::id::PingId;
use crate::time::Time;

pub use config::{HeartbeatConfig, HeartbeatRange};
pub use rtt::Rtt;

/// How late a deadline may fire before the process counts as paused, and the peer gets another
/// chance of [`Heartbeat::GRACE`].
const LATE: Duration = Duration::from_millis(500);

/// The longest answer time that a slow reader's earlier answers can earn it.
const ALLOWANCE_MAX: Duration = Duration::from_secs(60);

/// What the driver has to do.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Due {
    /// Nothing before [`Heartbeat::deadline`].
    Nothing,
    /// Send a ping with this id, and call [`Heartbeat::ping_written`] once the socket took it.
    Ask(PingId),
    /// The answer is overdue: read everything that has arrived, then call
    /// [`Heartbeat::judge`].
    Look,
}

/// What came of a look.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Verdict {
    /// The peer lives, or has been given more time.
    Alive,
    /// Drop the socket now; nothing was heard for that long.
    Dead {
        /// Time since the last sign of life.
        silent_for: Duration,
    },
}

/// A question whose answer is awaited.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Awaited {
    /// Since when the answer's clock runs; nothing once a pause of the process has moved it.
    pub since: Option<Time>,
    /// When the answer is due.
    pub due_at: Time,
}

/// Where the latest question stands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum State {
    /// The peer was heard lately; it is asked when this moment comes.
    Quiet {
        ask_at: Time,
        /// Nothing has been asked yet and `ask_at` is random: what is heard does not move it.
        first: bool,
    },
    /// A ping has been handed to the driver.
    Asked {
        /// How long the answer may take once the clock runs.
        allowance_ms: u32,
        /// When the answer is due.
        due_at: Time,
        /// The answer was overdue in a process that had been paused; there is no third chance.
        extended: bool,
    },
}

/// One end's heartbeat on one connection.
///
/// Contract: after every call, ask [`deadline`](Self::deadline) again; when it comes, call
/// [`poll`](Self::poll) and do what it says.
///
/// ```
/// use heartwire_proto::heartbeat::{Due, Heartbeat, HeartbeatConfig, Verdict};
/// use heartwire_proto::Time;
/// use std::time::Duration;
///
/// let second = |s: u64| Time::from_millis(s * 1_000);
/// let mut heartbeat = Heartbeat::new(HeartbeatConfig::default(), second(0));
/// assert_eq!(heartbeat.deadline(), second(10));
/// assert!(matches!(heartbeat.poll(second(10)), Due::Ask(_)));
/// heartbeat.ping_written(second(10));
/// assert_eq!(heartbeat.poll(second(20)), Due::Look);
/// assert!(matches!(heartbeat.judge(second(20)), Verdict::Dead { .. }));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Heartbeat {
    config: HeartbeatConfig,
    last_heard: Time,
    state: State,
    /// When the latest ping was handed to the driver. Other bytes may settle the question before
    /// the pong comes, which still tells the round trip.
    asked_at: Time,
    pings: u32,
    /// Whether the latest ping has had its pong.
    answered: bool,
    rtt: Option<Rtt>,
}

impl Heartbeat {
    /// The extra time for a peer whose answer was found overdue by a process that had been paused.
    pub const GRACE: Duration = Duration::from_secs(1);

    /// A heartbeat for a connection that opened just now.
    pub fn new(config: HeartbeatConfig, now: Time) -> Self {
        let state = State::Quiet {
            ask_at: now + config.interval(),
            first: false,
        };
        Self {
            config,
            last_heard: now,
            state,
            asked_at: now,
            pings: 0,
            answered: true,
            rtt: None,
        }
    }

    /// The same with the first ping after a random part of the interval, so that a fleet that came
    /// back together does not beat together `[LIVE-3]`. For the end that does the asking.
    pub fn with_random_start(config: HeartbeatConfig, now: Time, random: u64) -> Self {
        let interval_ms = config.interval().as_millis();
        // `random` is a 64-bit fraction of the interval.
        let part_ms = ((interval_ms * (u128::from(random) + 1)) >> 64) as u64;
        let ask_at = now + Duration::from_millis(part_ms);
        Self {
            state: State::Quiet {
                ask_at,
                first: true,
            },
            ..Self::new(config, now)
        }
    }

    /// Interval and timeout in force.
    pub const fn config(&self) -> HeartbeatConfig {
        self.config
    }

    /// Round-trip times, once a ping has been answered.
    pub const fn rtt(&self) -> Option<Rtt> {
        self.rtt
    }

    /// When the peer was last known to be alive.
    pub const fn last_heard(&self) -> Time {
        self.last_heard
    }

    /// The latest ping; `0` before the first.
    pub fn latest_ping(&self) -> PingId {
        PingId::from_count(self.pings)
    }

    /// When the latest ping was handed to the driver; before the first, when the connection opened.
    pub const fn asked_at(&self) -> Time {
        self.asked_at
    }

    /// Whether anything has been asked yet.
    pub const fn has_asked(&self) -> bool {
        self.pings > 0
    }

    /// The question under way, for people who want to know why a peer was declared dead.
    pub fn awaited(&self) -> Option<Awaited> {
        let State::Asked {
            allowance_ms,
            due_at,
            extended,
        } = self.state
        else {
            return None;
        };
        let since = due_at.as_millis().saturating_sub(allowance_ms.into());
        Some(Awaited {
            since: (!extended).then_some(Time::from_millis(since)),
            due_at,
        })
    }

    /// Whether a ping waits for its answer.
    pub const fn is_asking(&self) -> bool {
        matches!(self.state, State::Asked { .. })
    }

    /// When [`poll`](Self::poll) is next due.
    pub const fn deadline(&self) -> Time {
        match self.state {
            State::Quiet { ask_at, .. } => ask_at,
            State::Asked { due_at, .. } => due_at,
        }
    }

    /// Bytes arrived, whatever they mean `[LIVE-1]`.
    pub fn heard(&mut self, now: Time) {
        self.forget_round_trip_of_a_pause(now);
        self.last_heard = now;
        if !matches!(self.state, State::Quiet { first: true, .. }) {
            self.state = State::Quiet {
                ask_at: now + self.config.interval(),
                first: false,
            };
        }
    }

    /// A pong arrived. Returns the round trip if it answers the latest ping, for the first time.
    pub fn pong(&mut self, id: PingId, now: Time) -> Option<Duration> {
        self.forget_round_trip_of_a_pause(now);
        if self.answered || self.latest_ping() != id {
            return None;
        }
        self.answered = true;
        let round_trip = now.since(self.asked_at);
        self.rtt = Some(Rtt::with(self.rtt, round_trip));
        self.heard(now);
        Some(round_trip)
    }

    /// An answer that is found long after its deadline was found by a process that had been paused:
    /// the time says nothing about the link, and must not earn the next answer an allowance.
    fn forget_round_trip_of_a_pause(&mut self, now: Time) {
        if let State::Asked { due_at, .. } = self.state
            && now.since(due_at) > LATE
        {
            self.answered = true;
        }
    }

    /// The ping has left for the kernel, or, where the driver can tell, has been acknowledged by
    /// the peer's TCP: the answer's clock starts over `[LIVE-5]`.
    pub fn ping_written(&mut self, now: Time) {
        if let State::Asked {
            due_at,
            allowance_ms,
            ..
        } = &mut self.state
        {
            *due_at = (*due_at).max(now + millis(*allowance_ms));
        }
    }

    /// The peer's TCP acknowledged bytes while the ping still stands behind others `[LIVE-5]`: a
    /// slow reader is alive.
    pub fn acknowledged(&mut self, now: Time) {
        self.ping_written(now);
    }

    /// Asks at once, whatever the interval, with `answer_within` for the answer `[LIVE-6]`. A
    /// question under way keeps its ping but not a later deadline.
    pub fn probe(&mut self, now: Time, answer_within: Duration) -> Due {
        match &mut self.state {
            State::Asked {
                due_at,
                allowance_ms,
                ..
            } => {
                let allowance = millis(*allowance_ms).min(answer_within);
                *allowance_ms = as_millis(allowance);
                *due_at = (*due_at).min(now + allowance);
                Due::Nothing
            }
            State::Quiet { .. } => self.ask(now, answer_within),
        }
    }

    /// Changes the interval, within the range that the caller has checked `[LIVE-7]`.
    pub fn set_config(&mut self, config: HeartbeatConfig) {
        self.config = config;
        if let State::Quiet { .. } = self.state {
            let ask_at = self.last_heard + config.interval();
            self.state = State::Quiet {
                ask_at,
                first: false,
            };
        }
    }

    /// Does what is due at `now`.
    pub fn poll(&mut self, now: Time) -> Due {
        self.poll_behind(now, Duration::ZERO)
    }

    /// The same, for a question that will stand behind other output: `backlog` is the time which
    /// that may take even on a slow link, and is added to the time for the answer `[LIVE-5]`.
    pub fn poll_behind(&mut self, now: Time, backlog: Duration) -> Due {
        match self.state {
            State::Quiet { ask_at, .. } if now >= ask_at => {
                self.ask(now, self.allowance() + backlog)
            }
            State::Asked { due_at, .. } if now >= due_at => Due::Look,
            _ => Due::Nothing,
        }
    }

    /// Decides after a look. Anything read meanwhile was reported by [`heard`](Self::heard) and has
    /// settled the question already.
    pub fn judge(&mut self, now: Time) -> Verdict {
        let State::Asked {
            due_at, extended, ..
        } = &mut self.state
        else {
            return Verdict::Alive;
        };
        if now < *due_at {
            return Verdict::Alive;
        }
        if now.since(*due_at) > LATE && !*extended {
            *extended = true;
            *due_at = now + Self::GRACE;
            return Verdict::Alive;
        }
        Verdict::Dead {
            silent_for: now.since(self.last_heard),
        }
    }

    /// A ping is due that nothing else asks for: at least once a minute, also on busy links, for
    /// the positions it carries `[LIVE-9]`.
    pub fn ask_anyway(&mut self, now: Time) -> Due {
        match self.state {
            State::Quiet { .. } => self.ask(now, self.allowance()),
            State::Asked { .. } => Due::Nothing,
        }
    }

    fn ask(&mut self, now: Time, allowance: Duration) -> Due {
        self.pings = self.pings.wrapping_add(1);
        self.answered = false;
        self.asked_at = now;
        self.state = State::Asked {
            allowance_ms: as_millis(allowance),
            due_at: now + allowance,
            extended: false,
        };
        Due::Ask(PingId::from_count(self.pings))
    }

    /// The timeout; more for a peer whose last answer took longer than that, which only a reader
    /// can do whose acknowledged bytes kept it alive: its next answer stands behind as much again.
    fn allowance(&self) -> Duration {
        let last = self.rtt.map_or(Duration::ZERO, |rtt| {
            Duration::from_millis(rtt.last_ms.into())
        });
        let timeout = self.config.timeout();
        if last > timeout {
            (last * 2).min(ALLOWANCE_MAX).max(timeout)
        } else {
            timeout
        }
    }
}

const fn millis(millis: u32) -> Duration {
    Duration::from_millis(millis as u64)
}

fn as_millis(span: Duration) -> u32 {
    u32::try_from(span.as_millis()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000;

    fn at(millis: u64) -> Time {
        Time::from_millis(millis)
    }

    fn started() -> Heartbeat {
        Heartbeat::new(HeartbeatConfig::default(), at(0))
    }

    fn ask(heartbeat: &mut Heartbeat, millis: u64) -> PingId {
        match heartbeat.poll(at(millis)) {
            Due::Ask(id) => id,
            other => panic!("expected a question at {millis} ms, not {other:?}"),
        }
    }

    #[test]
    fn the_first_ping_comes_after_a_random_part_of_the_interval() {
        let deadline = |random| {
            let config = HeartbeatConfig::default();
            let mut heartbeat = Heartbeat::with_random_start(config, at(0), random);
            heartbeat.heard(at(0));
            heartbeat.deadline()
        };
        assert_eq!(deadline(0), at(0));
        assert_eq!(deadline(u64::MAX / 2), at(5 * SECOND));
        assert_eq!(deadline(u64::MAX), at(10 * SECOND));
    }

    #[test]
    fn silence_is_noticed_within_interval_plus_timeout() {
        let mut heartbeat = started();
        heartbeat.heard(at(3 * SECOND));
        assert_eq!(heartbeat.poll(at(12_999)), Due::Nothing);
        ask(&mut heartbeat, 13 * SECOND);
        heartbeat.ping_written(at(13 * SECOND));
        assert_eq!(heartbeat.poll(at(22_999)), Due::Nothing);
        assert_eq!(heartbeat.poll(at(23 * SECOND)), Due::Look);
        let silent_for = Duration::from_secs(20);
        assert_eq!(
            heartbeat.judge(at(23 * SECOND)),
            Verdict::Dead { silent_for }
        );
    }

    #[test]
    fn any_byte_answers_the_question() {
        let mut heartbeat = started();
        ask(&mut heartbeat, 10 * SECOND);
        heartbeat.heard(at(19 * SECOND));
        assert_eq!(heartbeat.poll(at(20 * SECOND)), Due::Nothing);
        assert_eq!(heartbeat.deadline(), at(29 * SECOND));
    }

    #[test]
    fn what_the_look_reads_counts_before_the_judgement() {
        let mut heartbeat = started();
        ask(&mut heartbeat, 10 * SECOND);
        assert_eq!(heartbeat.poll(at(20 * SECOND)), Due::Look);
        heartbeat.heard(at(20 * SECOND));
        assert_eq!(heartbeat.judge(at(20 * SECOND)), Verdict::Alive);
    }

    #[test]
    fn a_paused_process_gives_one_more_chance() {
        let mut heartbeat = started();
        ask(&mut heartbeat, 10 * SECOND);
        assert_eq!(heartbeat.poll(at(90 * SECOND)), Due::Look);
        assert_eq!(heartbeat.judge(at(90 * SECOND)), Verdict::Alive);
        assert_eq!(heartbeat.deadline(), at(91 * SECOND));
        assert!(matches!(
            heartbeat.judge(at(91 * SECOND)),
            Verdict::Dead { .. }
        ));
    }

    #[test]
    fn a_pause_is_no_round_trip() {
        let mut heartbeat = started();
        let id = ask(&mut heartbeat, 10 * SECOND);
        assert_eq!(heartbeat.pong(id, at(90 * SECOND)), None);
        heartbeat.heard(at(90 * SECOND));
        assert_eq!(heartbeat.rtt(), None);
        ask(&mut heartbeat, 100 * SECOND);
        assert_eq!(heartbeat.deadline(), at(110 * SECOND));
    }

    #[test]
    fn a_slow_reader_lives_while_its_tcp_takes_bytes() {
        let mut heartbeat = started();
        ask(&mut heartbeat, 10 * SECOND);
        for second in 11..60 {
            heartbeat.acknowledged(at(second * SECOND));
            assert_eq!(heartbeat.poll(at(second * SECOND)), Due::Nothing);
        }
        assert_eq!(heartbeat.poll(at(69 * SECOND)), Due::Look);
    }

    #[test]
    fn a_reader_whose_answers_are_slow_is_given_twice_their_time() {
        let mut heartbeat = started();
        let id = ask(&mut heartbeat, 10 * SECOND);
        heartbeat.acknowledged(at(15 * SECOND));
        assert_eq!(
            heartbeat.pong(id, at(24 * SECOND)),
            Some(Duration::from_secs(14))
        );
        ask(&mut heartbeat, 34 * SECOND);
        assert_eq!(heartbeat.deadline(), at(62 * SECOND));
    }

    #[test]
    fn a_probe_asks_at_once_and_waits_no_longer_than_it_says() {
        let mut heartbeat = started();
        let three = Duration::from_secs(3);
        assert!(matches!(heartbeat.probe(at(SECOND), three), Due::Ask(_)));
        assert_eq!(heartbeat.deadline(), at(4 * SECOND));
        ask_again_shortens(heartbeat);
    }

    fn ask_again_shortens(mut heartbeat: Heartbeat) {
        heartbeat.heard(at(2 * SECOND));
        ask(&mut heartbeat, 12 * SECOND);
        assert_eq!(
            heartbeat.probe(at(13 * SECOND), Duration::from_secs(3)),
            Due::Nothing
        );
        assert_eq!(heartbeat.deadline(), at(16 * SECOND));
    }

    #[test]
    fn an_old_pong_tells_no_round_trip() {
        let mut heartbeat = started();
        let first = ask(&mut heartbeat, 10 * SECOND);
        heartbeat.heard(at(11 * SECOND));
        let second = ask(&mut heartbeat, 21 * SECOND);
        assert_eq!(heartbeat.pong(first, at(22 * SECOND)), None);
        assert_eq!(
            heartbeat.pong(second, at(22 * SECOND)),
            Some(Duration::from_secs(1))
        );
        let rtt = heartbeat.rtt().expect("one ping was answered");
        assert_eq!(
            (rtt.last_ms, rtt.smoothed_ms, rtt.min_ms),
            (1_000, 1_000, 1_000)
        );
    }

    #[test]
    fn a_pong_behind_other_bytes_tells_the_round_trip_once() {
        let mut heartbeat = started();
        let id = ask(&mut heartbeat, 10 * SECOND);
        heartbeat.heard(at(10_050));
        let round_trip = Some(Duration::from_millis(80));
        assert_eq!(heartbeat.pong(id, at(10_080)), round_trip);
        assert_eq!(heartbeat.pong(id, at(10_090)), None);
    }

    #[test]
    fn it_is_small() {
        assert!(size_of::<Heartbeat>() <= 72, "{}", size_of::<Heartbeat>());
    }

    #[test]
    fn an_interval_out_of_range_is_refused() {
        let second = Duration::from_secs(1);
        assert!(HeartbeatConfig::new(second, second).is_ok());
        let error = HeartbeatConfig::new(second, second / 2).expect_err("below the least");
        assert_eq!(error.what, "timeout");
    }
}
