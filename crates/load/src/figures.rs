//! How long things took.

use std::time::Duration;

use hdrhistogram::Histogram;

/// The longest that is told apart, in microseconds: an hour.
const LONGEST_US: u64 = 3_600_000_000;
/// Digits that are right: a thousandth is more than any figure here deserves.
const DIGITS: u8 = 3;

/// A distribution of durations, in bounded memory.
#[derive(Clone, Debug)]
pub struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        let histogram = Histogram::new_with_bounds(1, LONGEST_US, DIGITS);
        Self(histogram.expect("the bounds are in order"))
    }
}

impl Latencies {
    /// One more.
    pub fn note(&mut self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.0.saturating_record(micros);
    }

    /// Those of another as well.
    pub fn add(&mut self, other: &Self) {
        self.0 += &other.0;
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// What this part of them stayed below or at: 0.5 for the median.
    pub fn quantile(&self, part: f64) -> Duration {
        Duration::from_micros(self.0.value_at_quantile(part))
    }

    /// The longest.
    pub fn max(&self) -> Duration {
        Duration::from_micros(self.0.max())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_what_was_noted() {
        let mut latencies = Latencies::default();
        for millis in 1..=100 {
            latencies.note(Duration::from_millis(millis));
        }
        let mut both = Latencies::default();
        both.add(&latencies);
        both.note(Duration::from_secs(2));
        assert_eq!(both.count(), 101);
        let median = both.quantile(0.5).as_millis();
        assert!((50..=52).contains(&median), "{median}");
        assert_eq!(latencies.quantile(1.0).as_millis(), 100);
        assert!(both.max() >= Duration::from_secs(2));
    }
}
