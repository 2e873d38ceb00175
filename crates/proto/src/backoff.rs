//! When a lost connection is dialled again.
//!
//! Whatever cuts one client cuts thousands. So the first dial of an outage comes after a uniform
//! 0–3 s, not at once, and later ones after a uniform draw from a range that doubles up to 30 s: the
//! jitter comes after the cap `[RETRY-2]` `[RETRY-3]`. After 12 attempts the link is suspended, and
//! tries by itself only every few minutes `[RETRY-4]`.

use std::time::Duration;

use crate::planted::{self, Bug};

/// The first delay of an outage is drawn from zero to this.
const FIRST_MAX: Duration = Duration::from_secs(3);
/// The least delay, but for a first one and for local causes.
const DELAY_MIN: Duration = Duration::from_millis(300);
/// Where the range stops growing.
const DELAY_MAX: Duration = Duration::from_secs(30);
/// The range after n failed attempts ends at this times 2ⁿ.
const DELAY_UNIT: Duration = Duration::from_secs(1);
/// The longest time that a server can send a client away.
const NAMED_MAX: Duration = Duration::from_secs(3_600);
/// How often a suspended link tries by itself, give or take half of it.
const WAKE_EVERY: Duration = Duration::from_secs(300);
/// As many attempts as the brief allows, per outage.
const ATTEMPTS_MAX: u32 = 12;

/// How a link comes back: the delays, and the end of them.
///
/// ```
/// use heartwire_proto::backoff::Reconnect;
/// use std::time::Duration;
///
/// let gentle = Reconnect::default();
/// let stubborn = Reconnect::default().unlimited();
/// let as_in_the_brief = Reconnect::fixed(Duration::from_secs(5), 12);
/// assert_ne!(gentle, stubborn);
/// # let _ = as_in_the_brief;
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Reconnect {
    delays: Delays,
    attempts_max: Option<u32>,
    /// How often a suspended link tries by itself; without, only a request ends suspension.
    wake_every: Option<Duration>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Delays {
    Jittered,
    Fixed(Duration),
}

impl Default for Reconnect {
    /// Full jitter, 12 attempts per outage, then one every 5 min ± 50 %.
    fn default() -> Self {
        Self {
            delays: Delays::Jittered,
            attempts_max: Some(ATTEMPTS_MAX),
            wake_every: Some(WAKE_EVERY),
        }
    }
}

impl Reconnect {
    /// The same delay before each of `attempts` dials, then suspended until the application asks:
    /// the brief's own policy is `fixed(5 s, 12)`. At least 0.1 s. A delay that the server names
    /// is obeyed all the same.
    ///
    /// A fleet with fixed delays comes back in step; use it where there is one client.
    pub fn fixed(delay: Duration, attempts: u32) -> Self {
        Self {
            delays: Delays::Fixed(delay.max(Duration::from_millis(100))),
            attempts_max: Some(attempts),
            wake_every: None,
        }
    }

    /// As many attempts per outage; 0 dials no lost connection again.
    #[must_use]
    pub const fn attempts(mut self, attempts: u32) -> Self {
        self.attempts_max = Some(attempts);
        self
    }

    /// Never suspended for the number of attempts.
    #[must_use]
    pub const fn unlimited(mut self) -> Self {
        self.attempts_max = None;
        self
    }

    /// Whether a network change or a return to the foreground ends suspension. `fixed` waits for a
    /// request.
    pub(crate) const fn wakes(&self) -> bool {
        self.wake_every.is_some()
    }
}

/// What the next delay depends on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Cause {
    /// The server named a delay. Such a dial is no attempt.
    Named(Duration),
    /// The cause lies on this side, as a renewed token: no delay, no attempt.
    Local,
    /// Anything else; not before the duration given.
    AtLeast(Duration),
}

/// What to do about a loss.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Next {
    /// Dial after this delay.
    Dial {
        /// From now.
        after: Duration,
    },
    /// The attempts are used up.
    Suspend {
        /// When to try by oneself, from now; not at all if `None`.
        wake_in: Option<Duration>,
    },
}

/// The count of one outage.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Backoff {
    policy: Reconnect,
    /// Attempts of this outage that count.
    attempts: u32,
    /// Dials and connections of this outage that ended, counted or not.
    endings: u32,
}

impl Backoff {
    /// For a link that dials for the first time, by the application's wish.
    pub const fn new(policy: Reconnect) -> Self {
        Self {
            policy,
            attempts: 0,
            endings: 1,
        }
    }

    /// Counted attempts of this outage.
    pub const fn attempts(&self) -> u32 {
        self.attempts
    }

    /// The connection is stable: the next loss begins an outage of its own `[RETRY-5]`.
    pub const fn stable(&mut self) {
        self.attempts = 0;
        self.endings = 0;
    }

    /// Something local asked for a dial at once (a wake-up, a network change, a request), and all
    /// attempts are there again. That dial itself does not count.
    pub const fn restart(&mut self) {
        *self = Self::new(self.policy);
    }

    /// A connection or an attempt has ended; `random` is a 64-bit fraction.
    pub fn next(&mut self, cause: Cause, random: u64) -> Next {
        match cause {
            Cause::Local => Next::Dial {
                after: Duration::ZERO,
            },
            Cause::Named(delay) => {
                self.endings = self.endings.saturating_add(1);
                let after = named(delay, random);
                Next::Dial { after }
            }
            Cause::AtLeast(least) => self.next_attempt(least, random),
        }
    }

    /// The next dial is an attempt that counts, if there is one left.
    fn next_attempt(&mut self, least: Duration, random: u64) -> Next {
        let attempts_max = self.policy.attempts_max;
        if attempts_max.is_some_and(|max| self.attempts >= max) {
            return self.suspend(random);
        }
        let after = self.policy.delay(self.endings, random).max(least);
        self.attempts = self.attempts.saturating_add(1);
        self.endings = self.endings.saturating_add(1);
        Next::Dial { after }
    }

    /// Stops dialling, until something changes or it is time to try by oneself.
    pub fn suspend(&self, random: u64) -> Next {
        Next::Suspend {
            wake_in: self
                .policy
                .wake_every
                .map(|every| uniform(every / 2, every * 3 / 2, random)),
        }
    }
}

impl Reconnect {
    fn delay(self, endings: u32, random: u64) -> Duration {
        match self.delays {
            Delays::Fixed(delay) => delay,
            Delays::Jittered if endings == 0 => uniform(Duration::ZERO, FIRST_MAX, random),
            Delays::Jittered => {
                // 2⁵ s lie above the cap already.
                let range_end = DELAY_UNIT * (1 << endings.min(5));
                uniform(DELAY_MIN, range_end.min(DELAY_MAX), random)
            }
        }
    }
}

/// A delay between `low` and `high`, `random` being a 64-bit fraction; whole milliseconds.
pub fn uniform(low: Duration, high: Duration, random: u64) -> Duration {
    let random = match planted::has(Bug::NoJitter) {
        true => u64::MAX / 2,
        false => random,
    };
    let range_ms = high.saturating_sub(low).as_millis();
    let part_ms = (range_ms * u128::from(random)) >> 64;
    low + Duration::from_millis(u64::try_from(part_ms).unwrap_or(u64::MAX))
}

/// What the server named, and up to a tenth more `[RETRY-2]`; within bounds, so that no server makes
/// a client spin or stay away for days.
pub fn named(delay: Duration, random: u64) -> Duration {
    let delay = delay.clamp(DELAY_MIN, NAMED_MAX);
    uniform(delay, delay + delay / 10, random)
}

/// A delay for what is to be tried again soon, though nobody said when.
pub fn soon(random: u64) -> Duration {
    uniform(DELAY_MIN, FIRST_MAX, random)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HALF: u64 = 1 << 63;
    const ANY: Cause = Cause::AtLeast(Duration::ZERO);

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn delays(backoff: &mut Backoff, random: u64) -> Vec<u64> {
        let mut delays = Vec::new();
        while let Next::Dial { after } = backoff.next(ANY, random) {
            delays.push(u64::try_from(after.as_millis()).unwrap());
            assert!(delays.len() < 100, "the attempts never end");
        }
        delays
    }

    fn after_a_stable_connection(policy: Reconnect) -> Backoff {
        let mut backoff = Backoff::new(policy);
        backoff.stable();
        backoff
    }

    #[test]
    fn the_range_doubles_up_to_its_cap_and_ends_after_twelve() {
        let mut backoff = after_a_stable_connection(Reconnect::default());
        let half = [
            1_500, 1_150, 2_150, 4_150, 8_150, 15_150, 15_150, 15_150, 15_150, 15_150, 15_150,
            15_150,
        ];
        assert_eq!(delays(&mut backoff, HALF), half);
        let mut backoff = after_a_stable_connection(Reconnect::default());
        assert_eq!(delays(&mut backoff, 0)[..3], [0, 300, 300]);
    }

    #[test]
    fn the_fixed_policy_dials_as_the_brief_does() {
        let policy = Reconnect::fixed(Duration::from_secs(5), 12);
        for mut backoff in [Backoff::new(policy), after_a_stable_connection(policy)] {
            assert_eq!(delays(&mut backoff, HALF), [5_000; 12]);
            assert_eq!(backoff.next(ANY, HALF), Next::Suspend { wake_in: None });
        }
    }

    #[test]
    fn a_suspended_link_tries_by_itself_around_every_five_minutes() {
        let mut backoff = Backoff::new(Reconnect::default().attempts(0));
        for (random, wake_ms) in [(0, 150_000), (HALF, 300_000), (u64::MAX, 449_999)] {
            let wake_in = Some(ms(wake_ms));
            assert_eq!(backoff.next(ANY, random), Next::Suspend { wake_in });
        }
    }

    #[test]
    fn unlimited_never_suspends() {
        let mut backoff = Backoff::new(Reconnect::default().unlimited());
        for _ in 0..10_000 {
            assert!(matches!(backoff.next(ANY, HALF), Next::Dial { .. }));
        }
    }

    #[test]
    fn the_servers_word_counts_no_attempt_and_is_spread_by_a_tenth() {
        let mut backoff = Backoff::new(Reconnect::default());
        for (random, after_ms) in [(0, 8_000), (HALF, 8_400), (u64::MAX, 8_799)] {
            let named = Cause::Named(Duration::from_secs(8));
            let after = ms(after_ms);
            assert_eq!(backoff.next(named, random), Next::Dial { after });
        }
        assert_eq!(backoff.attempts(), 0);
    }

    #[test]
    fn a_named_delay_has_bounds() {
        let mut backoff = Backoff::new(Reconnect::default());
        let after = |backoff: &mut Backoff, named| backoff.next(Cause::Named(named), 0);
        let least = after(&mut backoff, ms(1));
        assert_eq!(least, Next::Dial { after: DELAY_MIN });
        let most = after(&mut backoff, Duration::MAX);
        assert_eq!(most, Next::Dial { after: NAMED_MAX });
    }

    #[test]
    fn a_local_cause_waits_for_nothing() {
        let mut backoff = after_a_stable_connection(Reconnect::default());
        let after = Duration::ZERO;
        assert_eq!(backoff.next(Cause::Local, HALF), Next::Dial { after });
        assert_eq!(backoff.attempts(), 0);
    }

    #[test]
    fn an_overloaded_server_is_left_alone_for_a_while() {
        let mut backoff = after_a_stable_connection(Reconnect::default());
        let after = Duration::from_secs(1);
        assert_eq!(backoff.next(Cause::AtLeast(after), 0), Next::Dial { after });
        assert_eq!(backoff.attempts(), 1);
    }
}
