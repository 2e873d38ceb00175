//! Interval and timeout, and the range they are in.

use std::time::Duration;

/// Interval and timeout, checked. In whole milliseconds, as the wire tells them, so that a server
/// with very many connections keeps a heartbeat in few bytes.
///
/// A timeout of a second or two is for peers that keep up. A reader that does not is alive as long
/// as its TCP acknowledges bytes `[LIVE-5]`, but a full TCP opens its window in steps of a segment,
/// which on loopback is 64 KiB, and acknowledges nothing in between: at 50 KB a second that takes
/// longer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct HeartbeatConfig {
    interval_ms: u32,
    timeout_ms: u32,
}

/// A heartbeat outside the allowed range.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
#[error("a heartbeat's {what} is between {min:?} and {max:?}, not {given:?}", min = Self::MIN, max = Self::MAX)]
pub struct HeartbeatRange {
    /// `interval` or `timeout`.
    pub what: &'static str,
    /// What was asked for.
    pub given: Duration,
}

impl HeartbeatRange {
    /// The least interval and the least timeout.
    pub const MIN: Duration = Duration::from_secs(1);
    /// The greatest interval and the greatest timeout.
    pub const MAX: Duration = Duration::from_secs(3_600);
}

impl HeartbeatConfig {
    /// Checks the range: 1 s to 1 h each `[LIVE-8]`. Parts of a millisecond are dropped.
    ///
    /// ```
    /// use heartwire_proto::heartbeat::HeartbeatConfig;
    /// use std::time::Duration;
    ///
    /// assert!(HeartbeatConfig::new(Duration::from_secs(10), Duration::from_secs(10)).is_ok());
    /// assert!(HeartbeatConfig::new(Duration::from_millis(10), Duration::from_secs(10)).is_err());
    /// ```
    pub fn new(interval: Duration, timeout: Duration) -> Result<Self, HeartbeatRange> {
        for (what, given) in [("interval", interval), ("timeout", timeout)] {
            if !(HeartbeatRange::MIN..=HeartbeatRange::MAX).contains(&given) {
                return Err(HeartbeatRange { what, given });
            }
        }
        Ok(Self {
            interval_ms: interval.as_millis() as u32,
            timeout_ms: timeout.as_millis() as u32,
        })
    }

    /// Silence after which the peer is asked.
    pub const fn interval(self) -> Duration {
        Duration::from_millis(self.interval_ms as u64)
    }

    /// How long it may take to answer.
    pub const fn timeout(self) -> Duration {
        Duration::from_millis(self.timeout_ms as u64)
    }

    /// The time within which a dead link is noticed, counted from the last byte that arrived.
    pub fn bound(self) -> Duration {
        self.interval() + self.timeout()
    }

    /// What a v1 client uses beside a server with this configuration: a quarter more of interval,
    /// so that it asks only when the server is late `[LIVE-2]`.
    #[must_use]
    pub fn for_client(self) -> Self {
        let longest_ms = HeartbeatRange::MAX.as_millis() as u32;
        Self {
            interval_ms: (self.interval_ms * 5 / 4).min(longest_ms),
            timeout_ms: self.timeout_ms,
        }
    }
}

impl Default for HeartbeatConfig {
    /// 10 s and 10 s, so 20 s in all.
    fn default() -> Self {
        Self {
            interval_ms: 10_000,
            timeout_ms: 10_000,
        }
    }
}
