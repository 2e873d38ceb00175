//! Token buckets: how much may come in a second, and how much at once.

use std::num::NonZeroU64;
use std::time::Duration;

use crate::time::Time;

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// How fast a bucket fills, and how much it holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Rate {
    per_second: NonZeroU64,
    burst: u64,
}

impl Rate {
    /// So much in each second, and `burst` more at once after a quiet time.
    pub const fn new(per_second: NonZeroU64, burst: u64) -> Self {
        Self { per_second, burst }
    }

    fn nanos(self, amount: u64) -> u64 {
        let nanos = u128::from(amount) * u128::from(NANOS_PER_SECOND);
        let nanos = nanos / u128::from(self.per_second.get());
        u64::try_from(nanos).unwrap_or(u64::MAX)
    }
}

/// What is left of a rate. It is full at first.
///
/// What is larger than the bucket is let through once it is not empty, and whoever comes then waits
/// until all of it has been paid for: so the bound holds on average whatever comes.
///
/// ```
/// use heartwire_proto::Time;
/// use heartwire_proto::bucket::{Bucket, Rate};
///
/// let rate = Rate::new(10.try_into()?, 2);
/// let mut bucket = Bucket::default();
/// let now = Time::from_millis(0);
/// assert!(bucket.take(3, rate, now).is_ok());
/// let wait = bucket.take(1, rate, now).unwrap_err();
/// assert_eq!(wait.as_millis(), 100);
/// assert!(bucket.take(1, rate, now + wait).is_ok());
/// # Ok::<(), std::num::TryFromIntError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Bucket {
    /// When it is full again, in nanoseconds.
    full_at: u64,
}

impl Bucket {
    /// A bucket from which nothing has been taken.
    pub const FULL: Self = Self { full_at: 0 };

    /// Takes so much out. An error says how long to wait; then nothing was taken.
    pub fn take(&mut self, amount: u64, rate: Rate, now: Time) -> Result<(), Duration> {
        let now = now.as_millis().saturating_mul(1_000_000);
        let full_at = self.full_at.max(now);
        let empty_at = now.saturating_add(rate.nanos(rate.burst));
        if full_at > empty_at {
            return Err(Duration::from_nanos(full_at - empty_at));
        }
        self.full_at = full_at.saturating_add(rate.nanos(amount));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(per_second: u64, burst: u64) -> Rate {
        Rate::new(NonZeroU64::new(per_second).expect("not zero"), burst)
    }

    #[test]
    fn whoever_keeps_to_the_rate_never_waits() {
        let (rate, mut bucket) = (rate(100, 0), Bucket::default());
        for millis in (0..100_000).step_by(10) {
            assert_eq!(bucket.take(1, rate, Time::from_millis(millis)), Ok(()));
        }
    }

    #[test]
    fn over_a_long_time_no_more_passes_than_rate_and_burst_allow() {
        for (per_second, burst, amount) in [(7, 3, 1), (1_000, 0, 1), (1_000_000, 5_000, 3_333)] {
            let (rate, mut bucket) = (rate(per_second, burst), Bucket::default());
            let mut passed = 0;
            for millis in 0..10_000 {
                let now = Time::from_millis(millis);
                while bucket.take(amount, rate, now).is_ok() {
                    passed += amount;
                }
            }
            let most = per_second * 10 + burst + 2 * amount;
            assert!(passed <= most, "{passed} of {most}");
            assert!(passed >= per_second * 9, "{passed}");
        }
    }

    #[test]
    fn the_wait_that_is_told_is_long_enough() {
        let (rate, mut bucket) = (rate(3, 1), Bucket::default());
        let now = Time::from_millis(5_000);
        assert_eq!(bucket.take(100, rate, now), Ok(()));
        let wait = bucket.take(1, rate, now).expect_err("it is empty");
        assert_eq!(
            bucket.take(1, rate, now + wait + Duration::from_millis(1)),
            Ok(())
        );
    }

    #[test]
    fn huge_numbers_end_at_the_end_of_time() {
        let (rate, mut bucket) = (rate(1, u64::MAX), Bucket::default());
        assert_eq!(
            bucket.take(u64::MAX, rate, Time::from_millis(u64::MAX)),
            Ok(())
        );
        assert_eq!(bucket.take(1, rate, Time::from_millis(u64::MAX)), Ok(()));
    }
}
