//! How work on several files is spread over threads.

use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Does the same work for each of several numbers. What comes out does not depend on how.
pub trait Spread {
    /// The results for 0, 1, … `count` − 1, in this order.
    fn map<T: Send>(&self, count: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T>;
}

/// One after the other, by who asks.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct InTurn;

impl Spread for InTurn {
    fn map<T: Send>(&self, count: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
        (0..count).map(work).collect()
    }
}

/// By so many threads, which end with the work.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Threads(pub NonZeroUsize);

impl Threads {
    /// As many as the machine runs at once, but at most `threads_max`.
    pub fn available(threads_max: NonZeroUsize) -> Self {
        let available = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        Self(available.min(threads_max))
    }
}

impl Spread for Threads {
    fn map<T: Send>(&self, count: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
        let threads = self.0.get().min(count);
        if threads <= 1 {
            return InTurn.map(count, work);
        }
        let next = AtomicUsize::new(0);
        let results = Mutex::new(Vec::with_capacity(count));
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    loop {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        if index >= count {
                            return;
                        }
                        let result = work(index);
                        let mut results = results.lock().expect("pushing does not panic");
                        results.push((index, result));
                    }
                });
            }
        });
        let mut results = results.into_inner().expect("pushing does not panic");
        results.sort_unstable_by_key(|(index, _)| *index);
        results.into_iter().map(|(_, result)| result).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_whoever_does_the_work() {
        let squares: Vec<usize> = (0..100).map(|n| n * n).collect();
        let threads = Threads(NonZeroUsize::new(3).expect("3 is not 0"));
        assert_eq!(InTurn.map(100, |n| n * n), squares);
        assert_eq!(threads.map(100, |n| n * n), squares);
        assert_eq!(threads.map(0, |n| n), Vec::new());
    }
}
