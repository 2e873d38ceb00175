//! The thread that prepares segments, and does what else would keep the writer waiting.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;

use heartwire_disk::Disk;
use heartwire_log::store::{Done, Job};

use super::Signal;

/// How many jobs wait: a store has a few at a time, and offers again what found no place.
const JOBS_MAX: usize = 64;

/// The helper, as the writer sees it.
pub(super) struct Helper<D: Disk> {
    jobs: SyncSender<Job<D>>,
    done: Receiver<Done<D>>,
    /// Jobs that found no place in the channel, in their order.
    waiting: VecDeque<Job<D>>,
    is_over: Arc<AtomicBool>,
}

impl<D: Disk> Helper<D> {
    /// Starts the thread; it ends when this is dropped.
    pub(super) fn start(signal: Arc<Signal>) -> Self {
        let (jobs, to_do) = sync_channel::<Job<D>>(JOBS_MAX);
        let (finished, done) = sync_channel(JOBS_MAX);
        let is_over = Arc::new(AtomicBool::new(false));
        let has_ended = is_over.clone();
        let thread = thread::Builder::new().name("heartwire-help".into());
        let spawned = thread.spawn(move || {
            for job in to_do {
                if has_ended.load(Ordering::Acquire) || finished.send(job.run()).is_err() {
                    return;
                }
                signal.raise();
            }
        });
        spawned.expect("the operating system starts threads");
        Self {
            jobs,
            done,
            waiting: VecDeque::new(),
            is_over,
        }
    }

    /// Takes jobs, to be done in their order.
    pub(super) fn add(&mut self, jobs: Vec<Job<D>>) {
        self.waiting.extend(jobs);
        while let Some(job) = self.waiting.pop_front() {
            if let Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) =
                self.jobs.try_send(job)
            {
                self.waiting.push_front(job);
                return;
            }
        }
    }

    /// Waits until nothing is being done any more, and hands over what was: as long as a job runs,
    /// nobody else may have the folder. Jobs that were not begun are dropped.
    pub(super) fn finish(self) -> impl Iterator<Item = Done<D>> {
        self.is_over.store(true, Ordering::Release);
        drop(self.jobs);
        self.done.into_iter()
    }

    /// What has been done since the last call.
    pub(super) fn done(&self) -> impl Iterator<Item = Done<D>> {
        self.done.try_iter()
    }
}
