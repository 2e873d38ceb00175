//! Round-trip times.

use std::time::Duration;

/// Round-trip times, from answered pings.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Rtt {
    /// The latest, in milliseconds.
    pub last_ms: u32,
    /// Smoothed as TCP does (RFC 6298: an eighth of each new sample), in milliseconds.
    pub smoothed_ms: u32,
    /// The least so far, in milliseconds.
    pub min_ms: u32,
}

impl Rtt {
    pub(super) fn with(previous: Option<Self>, sample: Duration) -> Self {
        let last_ms = u32::try_from(sample.as_millis()).unwrap_or(u32::MAX);
        match previous {
            None => Self {
                last_ms,
                smoothed_ms: last_ms,
                min_ms: last_ms,
            },
            Some(rtt) => Self {
                last_ms,
                smoothed_ms: ((u64::from(rtt.smoothed_ms) * 7 + u64::from(last_ms)) / 8) as u32,
                min_ms: rtt.min_ms.min(last_ms),
            },
        }
    }
}
