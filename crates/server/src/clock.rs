//! The one place that reads clocks and the random source.
//!
//! The pure crates get both as arguments; everything in this crate that needs them asks here.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use heartwire_proto::{Time, WallTime};

/// A monotonic clock whose origin is the start of the hub.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self {
            origin: Instant::now(),
        }
    }

    /// The time since the origin.
    pub(crate) fn now(&self) -> Time {
        Time::ZERO + self.origin.elapsed()
    }

    /// The runtime's instant for one of our moments.
    pub(crate) fn instant(&self, time: Time) -> tokio::time::Instant {
        (self.origin + Duration::from_millis(time.as_millis())).into()
    }
}

/// What people's clocks show; it labels messages, nothing is decided by it.
pub(crate) fn wall_time() -> WallTime {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    let millis = since_epoch.map_or(0, |elapsed| elapsed.as_millis());
    WallTime::from_unix_millis(u64::try_from(millis).unwrap_or(u64::MAX))
}

/// 128 random bits from the operating system.
///
/// # Panics
///
/// When the operating system has no randomness to give, which on the platforms served means that
/// the process is not allowed the system call: it cannot work without.
pub(crate) fn random() -> u128 {
    let mut bits = [0; 16];
    getrandom::fill(&mut bits).expect("the operating system gives random numbers");
    u128::from_ne_bytes(bits)
}
