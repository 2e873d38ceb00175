//! The server's memory and descriptors over the run.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::child::Server;

/// What memory may grow by in the second half of the run, whatever its size: pages that an
/// allocator touches for the first time.
const GROWTH_BYTES_MAX: f64 = (8 << 20) as f64;
/// And in proportion to its size.
const GROWTH_PART_MAX: f64 = 0.05;

/// Readings of resident memory.
#[derive(Default)]
pub(super) struct Memory {
    readings: Vec<(Instant, u64)>,
}

impl Memory {
    /// Reads once more.
    pub(super) fn read(&mut self, server: &Server) -> Result<()> {
        self.readings
            .push((Instant::now(), server.resident_bytes()?));
        Ok(())
    }

    /// The most that was read, in bytes.
    pub(super) fn most(&self) -> u64 {
        let bytes = self.readings.iter().map(|(_, bytes)| *bytes);
        bytes.max().unwrap_or_default()
    }

    /// What the straight line through the readings of the second half rises by over that half, in
    /// bytes, and what it may.
    pub(super) fn growth(&self) -> (f64, f64) {
        let half = &self.readings[self.readings.len() / 2..];
        let Some((begin, _)) = half.first() else {
            return (0.0, GROWTH_BYTES_MAX);
        };
        let points: Vec<(f64, f64)> = half
            .iter()
            .map(|(at, bytes)| (at.duration_since(*begin).as_secs_f64(), *bytes as f64))
            .collect();
        let mean = points.iter().map(|(_, bytes)| bytes).sum::<f64>() / points.len() as f64;
        let span = points.last().map_or(0.0, |(seconds, _)| *seconds);
        (
            slope(&points) * span,
            GROWTH_BYTES_MAX.max(mean * GROWTH_PART_MAX),
        )
    }
}

/// How often memory is read in a run of this length: every ten seconds, or twenty times.
pub(super) fn read_every(run: Duration) -> Duration {
    Duration::from_secs(10).min(run / 20)
}

/// Of the line with the least squares through these points.
fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let (x_mean, y_mean) = (
        points.iter().map(|(x, _)| x).sum::<f64>() / count,
        points.iter().map(|(_, y)| y).sum::<f64>() / count,
    );
    let (mut covariance, mut variance) = (0.0, 0.0);
    for (x, y) in points {
        covariance += (x - x_mean) * (y - y_mean);
        variance += (x - x_mean).powi(2);
    }
    if variance > 0.0 {
        covariance / variance
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_its_slope_and_a_flat_one_none() {
        let rising: Vec<(f64, f64)> = (0..10)
            .map(|x| (f64::from(x), f64::from(3 * x + 1)))
            .collect();
        assert!((slope(&rising) - 3.0).abs() < 1e-9);
        assert!(slope(&[(0.0, 5.0), (1.0, 7.0), (2.0, 5.0)]).abs() < 1e-9);
        assert_eq!(slope(&[(1.0, 1.0)]), 0.0);
    }

    #[test]
    fn the_first_half_may_grow() {
        let begin = Instant::now();
        let second = Duration::from_secs(1);
        let mut memory = Memory::default();
        for number in 0..10_u32 {
            let bytes = u64::from(number.min(5)) << 24;
            memory.readings.push((begin + second * number, bytes));
        }
        let (growth, most) = memory.growth();
        assert!(growth.abs() < 1.0 && most >= GROWTH_BYTES_MAX);
    }
}
