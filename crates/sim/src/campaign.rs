//! Many seeds, on all cores.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::fault::{Counts, Fault};
use crate::{Outcome, run};

/// So many failing seeds are enough for one campaign.
const FAILURES_MAX: usize = 20;

/// What came of many seeds.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// How many seeds were run.
    pub seeds: u64,
    /// How much time went by in them, in milliseconds.
    pub simulated_ms: u64,
    /// How many things happened in them.
    pub steps: u64,
    /// How often each fault struck.
    pub counts: Counts,
    /// The seeds in which something was violated, in their order; few of them, where it is many.
    pub failures: Vec<Outcome>,
    /// How long it took.
    pub took: Duration,
}

impl Summary {
    /// Seeds a second.
    pub fn seeds_per_second(&self) -> f64 {
        self.seeds as f64 / self.took.as_secs_f64().max(0.001)
    }

    /// The kinds of faults that no seed has met, though all are enabled in some: the simulator has
    /// lost them.
    pub fn missing(&self) -> Vec<Fault> {
        self.counts.missing()
    }

    fn add(&mut self, outcome: Outcome) {
        self.seeds += 1;
        self.simulated_ms += outcome.simulated_ms;
        self.steps += outcome.steps;
        self.counts.add(&outcome.counts);
        if outcome.violation.is_some() {
            self.failures.push(outcome);
        }
    }
}

/// Runs the seeds `from`, `from` + 1 and so on, `count` of them, on so many threads. `progress` is
/// told each `every` how far it has come, `failed` each seed in which something was violated.
pub fn run_all(
    from: u64,
    count: u64,
    threads: usize,
    every: Duration,
    progress: impl Fn(&Summary) + Sync,
    failed: impl Fn(&Outcome) + Sync,
) -> Summary {
    let start = Instant::now();
    let next = AtomicU64::new(from);
    let is_over = AtomicBool::new(false);
    let told = Mutex::new((Summary::default(), start));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed - from >= count {
                        return;
                    }
                    let outcome = run(seed, false);
                    if outcome.violation.is_some() {
                        failed(&outcome);
                    }
                    let mut held = told.lock().expect("adding numbers does not panic");
                    let (summary, told_at) = &mut *held;
                    summary.add(outcome);
                    summary.took = start.elapsed();
                    let is_enough = summary.failures.len() >= FAILURES_MAX;
                    is_over.fetch_or(is_enough, Ordering::Relaxed);
                    if told_at.elapsed() >= every {
                        *told_at = Instant::now();
                        progress(summary);
                    }
                }
            });
        }
    });
    let (mut summary, _) = told.into_inner().expect("adding numbers does not panic");
    summary.took = start.elapsed();
    summary.failures.sort_by_key(|outcome| outcome.seed);
    summary
}

/// Runs seeds from 0 on until one fails; the lowest of those that were under way. Each thread is
/// prepared before its first.
#[cfg(heartwire_planted)]
pub(crate) fn first_failure(
    seeds: u64,
    threads: usize,
    prepare: impl Fn() + Sync,
) -> Option<Outcome> {
    let next = AtomicU64::new(0);
    let found = Mutex::new(None::<Outcome>);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                prepare();
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let is_over = found.lock().is_ok_and(|found| found.is_some());
                    if seed >= seeds || is_over {
                        return;
                    }
                    let outcome = run(seed, false);
                    if outcome.violation.is_some()
                        && let Ok(mut found) = found.lock()
                        && found.as_ref().is_none_or(|other| other.seed > seed)
                    {
                        *found = Some(outcome);
                    }
                }
            });
        }
    });
    found.into_inner().ok().flatten()
}
