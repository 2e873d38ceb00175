//! Time as the core sees it: numbers that the caller brings along.

use std::fmt;
use std::ops::Add;
use std::time::Duration;

/// A moment on a monotonic clock, in milliseconds since an origin that the driver chose.
///
/// Two moments compare only when they come from the same driver. The core never asks what time it
/// is; it is told.
///
/// ```
/// use heartwire_proto::Time;
/// use std::time::Duration;
///
/// let start = Time::from_millis(1_000);
/// let later = start + Duration::from_secs(2);
/// assert_eq!(later.since(start), Duration::from_secs(2));
/// assert_eq!(start.since(later), Duration::ZERO);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(u64);

impl Time {
    /// The origin of the driver's clock.
    pub const ZERO: Self = Self(0);

    /// The moment that many milliseconds after the origin.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the origin.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// How long ago `earlier` was; zero when it lies ahead.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Self;

    /// Saturates at the end of time instead of wrapping around.
    fn add(self, span: Duration) -> Self {
        let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(millis))
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.0)
    }
}

/// A moment on the wall clock, in milliseconds since 1970-01-01 UTC.
///
/// It labels messages for people. Wall clocks jump, and so a monotonic one decides wherever it can: it
/// cannot tell of a sleep of the machine, nor of the time between two processes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct WallTime(u64);

impl WallTime {
    /// The moment that many milliseconds after 1970-01-01 UTC.
    pub const fn from_unix_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since 1970-01-01 UTC.
    pub const fn as_unix_millis(self) -> u64 {
        self.0
    }
}

/// One moment on both clocks. A monotonic one may stand still while the machine sleeps, and a wall clock
/// may be set back: together they miss time that has passed only if both do.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Clocks {
    /// On the monotonic clock.
    pub time: Time,
    /// On the wall clock.
    pub wall: WallTime,
}

impl Clocks {
    /// How long ago `earlier` was, by the clock that says longer.
    ///
    /// ```
    /// use heartwire_proto::{Clocks, Time, WallTime};
    /// use std::time::Duration;
    ///
    /// let at = |time, wall| Clocks {
    ///     time: Time::from_millis(time),
    ///     wall: WallTime::from_unix_millis(wall),
    /// };
    /// let hour = 3_600_000;
    /// let slept = at(1_000, hour).since(at(0, 0));
    /// assert_eq!(slept, Duration::from_secs(3_600));
    /// let set_back = at(hour, 0).since(at(0, hour));
    /// assert_eq!(set_back, Duration::from_secs(3_600));
    /// ```
    pub fn since(self, earlier: Self) -> Duration {
        let wall_ms = self.wall.0.saturating_sub(earlier.wall.0);
        let by_wall = Duration::from_millis(wall_ms);
        self.time.since(earlier.time).max(by_wall)
    }
}
