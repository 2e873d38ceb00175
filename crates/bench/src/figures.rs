//! Measuring one round, and the table that comes of several.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::child::Server;

/// How often each server is measured; the median counts.
pub(crate) const ROUNDS: usize = 5;

/// How long one measurement takes at least.
const MEASURE_FOR: Duration = Duration::from_secs(2);

/// What runs before a measurement: caches, pages and branch predictors settle.
const WARM_UP_FOR: Duration = Duration::from_millis(500);

/// What one round cost per unit, in microseconds.
#[derive(Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) wall_us: f64,
    pub(crate) cpu_us: f64,
}

/// Repeats `batch`, which returns how many units it did, and tells what one unit cost: time on the
/// clock, and processor time of the server's process.
pub(crate) fn measure(server: &Server, mut batch: impl FnMut() -> Result<usize>) -> Result<Cost> {
    let warm = Instant::now() + WARM_UP_FOR;
    while Instant::now() < warm {
        batch()?;
    }
    let (start, cpu_start) = (Instant::now(), server.cpu_time()?);
    let mut units = 0;
    while start.elapsed() < MEASURE_FOR {
        units += batch()?;
    }
    let per_unit = |time: Duration| time.as_secs_f64() * 1e6 / units as f64;
    Ok(Cost {
        wall_us: per_unit(start.elapsed()),
        cpu_us: per_unit(server.cpu_time()? - cpu_start),
    })
}

/// The rows of one table; the first is what the others are compared with.
pub(crate) struct Table {
    rows: Vec<(&'static str, Vec<Cost>)>,
}

impl Table {
    pub(crate) fn new(names: &[&'static str]) -> Self {
        Self {
            rows: names.iter().map(|name| (*name, Vec::new())).collect(),
        }
    }

    pub(crate) fn add(&mut self, row: usize, cost: Cost) {
        self.rows[row].1.push(cost);
    }

    /// Prints the medians, and their ratio to the first row.
    pub(crate) fn print(&self, unit: &str) {
        println!(
            "{:28} {:>16} {:>8} {:>18} {:>8}",
            "",
            format!("µs / {unit}"),
            "ratio",
            "server CPU µs",
            "ratio"
        );
        let base = self.medians(0);
        for (row, (name, _)) in self.rows.iter().enumerate() {
            let cost = self.medians(row);
            println!(
                "{name:28} {:16.3} {:8.2} {:18.3} {:8.2}",
                cost.wall_us,
                cost.wall_us / base.wall_us,
                cost.cpu_us,
                cost.cpu_us / base.cpu_us,
            );
        }
    }

    fn medians(&self, row: usize) -> Cost {
        let costs = &self.rows[row].1;
        Cost {
            wall_us: median(costs.iter().map(|cost| cost.wall_us)),
            cpu_us: median(costs.iter().map(|cost| cost.cpu_us)),
        }
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_one() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), 2.0);
        assert!(median(std::iter::empty()).is_nan());
    }
}
