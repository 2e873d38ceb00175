//! A histogram: one relaxed addition to a bucket and one to the sum for each observation.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Observations by size, in whole units: microseconds, or things.
pub(crate) struct Histogram {
    /// The upper ends of the buckets, in units; a last bucket has none.
    bounds: &'static [u64],
    buckets: Box<[AtomicU64]>,
    sum: AtomicU64,
    units_per_base: f64,
}

impl Histogram {
    /// Of durations; the bounds are in microseconds.
    pub(crate) fn of_durations(bounds_us: &'static [u64]) -> Self {
        Self::new(bounds_us, 1e6)
    }

    /// Of numbers of things.
    pub(crate) fn of_counts(bounds: &'static [u64]) -> Self {
        Self::new(bounds, 1.0)
    }

    fn new(bounds: &'static [u64], units_per_base: f64) -> Self {
        Self {
            bounds,
            buckets: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(),
            sum: AtomicU64::new(0),
            units_per_base,
        }
    }

    /// One more.
    pub(crate) fn observe(&self, units: u64) {
        let bucket = self.bounds.partition_point(|bound| *bound < units);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(units, Ordering::Relaxed);
    }

    /// One more, of a histogram of durations.
    pub(crate) fn observe_duration(&self, span: Duration) {
        self.observe(u64::try_from(span.as_micros()).unwrap_or(u64::MAX));
    }

    /// The buckets as the exposition format wants them: upper end (`None` for the last) and how many
    /// observations lie at it or below.
    pub(crate) fn cumulated(&self) -> Vec<(Option<f64>, u64)> {
        let ends = self.bounds.iter().map(|bound| Some(self.in_base(*bound)));
        let mut below = 0;
        let counts = self.buckets.iter().map(|bucket| {
            below += bucket.load(Ordering::Relaxed);
            below
        });
        ends.chain([None]).zip(counts).collect()
    }

    /// The sum of all observations, in seconds or things.
    pub(crate) fn sum(&self) -> f64 {
        self.in_base(self.sum.load(Ordering::Relaxed))
    }

    fn in_base(&self, units: u64) -> f64 {
        units as f64 / self.units_per_base
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_the_bucket_below_it() {
        let histogram = Histogram::of_durations(&[1_000, 500_000]);
        for ms in [0, 1, 2, 500, 501] {
            histogram.observe_duration(Duration::from_millis(ms));
        }
        assert_eq!(
            histogram.cumulated(),
            [(Some(0.001), 2), (Some(0.5), 4), (None, 5)]
        );
        assert!((histogram.sum() - 1.004).abs() < 1e-9);
    }
}
