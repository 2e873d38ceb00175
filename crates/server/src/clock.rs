//! The one place that reads clocks and the random source.
//!
//! The pure crates get both as arguments; everything in this crate that needs them asks here.

use std::cell::Cell;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use heartwire_hub::Now;
use heartwire_proto::{Time, WallTime};

/// A monotonic clock. It begins where the log's time ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: Instant,
    at_origin: Time,
}

impl Clock {
    /// A clock that shows this time now.
    pub(crate) fn start_at(time: Time) -> Self {
        Self {
            origin: Instant::now(),
            at_origin: time,
        }
    }

    /// The time.
    pub(crate) fn time(&self) -> Time {
        self.at_origin + self.origin.elapsed()
    }

    /// Everything that the pure crates ask of a moment.
    pub(crate) fn now(&self) -> Now {
        Now {
            time: self.time(),
            wall: wall_time(),
            random: random(),
        }
    }

    /// The runtime's instant for one of our moments.
    pub(crate) fn instant(&self, time: Time) -> tokio::time::Instant {
        (self.origin + time.since(self.at_origin)).into()
    }
}

/// What people's clocks show; it labels messages, nothing is decided by it.
fn wall_time() -> WallTime {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    let millis = since_epoch.map_or(0, |elapsed| elapsed.as_millis());
    WallTime::from_unix_millis(u64::try_from(millis).unwrap_or(u64::MAX))
}

/// A random number that need not be a secret: epochs, and moments of first pings. Each thread draws
/// its own, as a system call for each message would cost more than the message (wyrand, seeded by
/// the operating system).
pub(crate) fn random() -> u64 {
    thread_local! {
        static STATE: Cell<u64> = Cell::new(secret() as u64);
    }
    let state = STATE.get().wrapping_add(0xa076_1d64_78bd_642f);
    STATE.set(state);
    let product = u128::from(state) * u128::from(state ^ 0xe703_7ed1_a0b4_28db);
    (product >> 64) as u64 ^ product as u64
}

/// 128 random bits from the operating system, for what has to be a secret.
///
/// # Panics
///
/// When the operating system has no randomness to give, which on the platforms served means that
/// the process is not allowed the system call: it cannot work without.
pub(crate) fn secret() -> u128 {
    let mut bits = [0; 16];
    getrandom::fill(&mut bits).expect("the operating system gives random numbers");
    u128::from_ne_bytes(bits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn random_numbers_differ_within_and_between_threads() {
        let draw = || (0..1_000).map(|_| random()).collect::<Vec<_>>();
        let other = std::thread::spawn(draw).join().expect("it does not panic");
        let all: BTreeSet<u64> = draw().into_iter().chain(other).collect();
        assert_eq!(all.len(), 2_000);
    }
}
