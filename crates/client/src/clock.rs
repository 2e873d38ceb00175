//! Time and randomness for the session, and the one thing a monotonic clock does not tell: that the
//! machine has slept.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use heartwire_proto::client::Now;
use heartwire_proto::{Time, WallTime};
use tokio::time::Instant;

/// How often the clocks are compared and the socket is asked for progress. No portable system call
/// tells of either, and the bounds that depend on them are counted in seconds.
pub(crate) const TICK: Duration = Duration::from_secs(1);

/// What the wall clock must have gained on the monotonic clock between two looks to count as
/// sleep. Corrections by NTP are far smaller or, rarely, a step, which then costs one ping.
const SLEEP_MIN: Duration = Duration::from_secs(2);

/// The driver's clock; its origin is the moment the link was made.
pub(crate) struct Clock {
    origin: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self {
            origin: Instant::now(),
        }
    }

    /// Milliseconds since the origin.
    pub(crate) fn time(&self) -> Time {
        Time::from_millis(millis(self.origin.elapsed()))
    }

    /// The moment on both clocks, and randomness, for a call that asks for them.
    pub(crate) fn now(&self) -> Now {
        Now {
            time: self.time(),
            wall: wall_time(SystemTime::now()),
            random: random(),
        }
    }

    /// The same moment on tokio's clock, for timers. Rounded up, so that a timer never fires a
    /// fraction before the moment that the session asked for.
    pub(crate) fn instant(&self, time: Time) -> Instant {
        self.origin + Duration::from_millis(time.as_millis())
    }
}

/// 128 random bits from the operating system. A generator in this process would hand the same
/// numbers to two copies of a restored virtual machine, whose very purpose is then to differ
/// `[HELLO-11]`.
pub(crate) fn random() -> u128 {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the operating system has random numbers once it is up");
    u128::from_ne_bytes(bytes)
}

/// Compares the clocks `[RETRY-8]`.
pub(crate) struct SleepWatch {
    /// What the wall clock was ahead of the monotonic one at the last look, in milliseconds.
    lead_ms: i128,
}

impl SleepWatch {
    pub(crate) fn new(now: Time, wall: SystemTime) -> Self {
        Self {
            lead_ms: lead_ms(now, wall),
        }
    }

    /// Whether the machine has slept since the last look.
    pub(crate) fn slept(&mut self, now: Time, wall: SystemTime) -> bool {
        let lead_ms = lead_ms(now, wall);
        let gained_ms = lead_ms - self.lead_ms;
        self.lead_ms = lead_ms;
        gained_ms >= SLEEP_MIN.as_millis().cast_signed()
    }
}

fn lead_ms(now: Time, wall: SystemTime) -> i128 {
    let wall_ms = match wall.duration_since(UNIX_EPOCH) {
        Ok(after) => i128::from(millis(after)),
        Err(before) => -i128::from(millis(before.duration())),
    };
    wall_ms - i128::from(now.as_millis())
}

/// The moment on the wall clock; 1970 for everything before.
fn wall_time(wall: SystemTime) -> WallTime {
    let since = wall.duration_since(UNIX_EPOCH);
    WallTime::from_unix_millis(since.map_or(0, millis))
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(wall_s: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(wall_s)
    }

    /// `[RETRY-8]`
    #[test]
    fn only_a_leap_of_the_wall_clock_is_sleep() {
        let second = |s: u64| Time::from_millis(s * 1_000);
        let mut watch = SleepWatch::new(second(10), at(1_000));
        assert!(!watch.slept(second(11), at(1_001)), "both went on");
        assert!(!watch.slept(second(12), at(1_003)), "a small correction");
        assert!(watch.slept(second(13), at(1_603)), "ten minutes asleep");
        assert!(!watch.slept(second(14), at(1_604)), "told once");
        assert!(!watch.slept(second(15), at(4)), "a clock set back");
        assert!(!watch.slept(second(75), at(64)), "a stopped process");
    }

    #[test]
    fn the_wall_clock_is_told_in_milliseconds_since_1970() {
        let told = |wall| wall_time(wall).as_unix_millis();
        assert_eq!(told(at(1_800_000_000)), 1_800_000_000_000);
        assert_eq!(told(UNIX_EPOCH - Duration::from_secs(5)), 0);
        let hour_ms = 3_600_000;
        let now_ms = Clock::start().now().wall.as_unix_millis();
        assert!(now_ms.abs_diff(told(SystemTime::now())) < hour_ms);
    }

    #[test]
    fn random_numbers_differ() {
        assert_ne!(random(), random());
    }
}
