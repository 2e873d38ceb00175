//! Publishers in the process, and over HTTP, that wait until their message is stored.
//!
//! ```text
//!   append, under the hub's lock ──► wait_for ──► queue, in the order of LSNs
//!   writer thread: synced ──► stored ──► [`answer`], a task of the runtime ──► publishers' tasks
//!   upkeep, each second ──► expire
//! ```
//!
//! A task answers them, and not the writer: a task puts others into the queue of its own core, which
//! a foreign thread does through a lock and a wake-up for each.

use std::collections::VecDeque;
use std::sync::{Mutex, Weak};

use heartwire_log::{Fate, Lsn};
use heartwire_proto::Time;
use tokio::sync::{oneshot, watch};

use crate::shared::Shared;
use crate::sync::lock;

/// How many are answered before others have their turn.
const ANSWERED_AT_ONCE: usize = 128;

/// Those who wait, in the order of their appends, so that a commit finds them without asking each.
///
/// There are no more than appends may wait to become durable: nobody waits longer than its append.
pub(crate) struct Waiting {
    queue: Mutex<VecDeque<Waiter>>,
    /// Everything up to here is durable.
    stored: watch::Sender<Lsn>,
}

struct Waiter {
    lsn: Lsn,
    /// When it stops waiting.
    until: Time,
    answer: oneshot::Sender<Fate>,
}

impl Default for Waiting {
    fn default() -> Self {
        Self {
            queue: Mutex::default(),
            stored: watch::Sender::new(Lsn(0)),
        }
    }
}

impl Waiting {
    /// Waits for an append until a moment, and as long after it as the upkeep takes to come round;
    /// then the answer is that it is pending. To be called under the hub's lock, under which it got
    /// its number.
    pub(crate) fn wait_for(&self, lsn: Lsn, until: Time) -> oneshot::Receiver<Fate> {
        let (answer, receiver) = oneshot::channel();
        let waiter = Waiter { lsn, until, answer };
        lock(&self.queue).push_back(waiter);
        receiver
    }

    /// Everything up to `through` is durable. To be called without the hub's lock, after it was
    /// committed under it.
    pub(crate) fn stored(&self, through: Lsn) {
        self.stored.send_if_modified(|before| {
            let is_news = through > *before;
            *before = through.max(*before);
            is_news
        });
    }

    /// Everything that waits has failed.
    pub(crate) fn failed(&self) {
        while self.tell(Lsn(u64::MAX), Fate::Failed) {}
    }

    /// Those whose time is over are told so.
    pub(crate) fn expire(&self, now: Time) {
        let mut queue = lock(&self.queue);
        let waiters = std::mem::take(&mut *queue);
        for waiter in waiters {
            if waiter.until > now {
                queue.push_back(waiter);
            } else {
                let _ = waiter.answer.send(Fate::Pending);
            }
        }
    }

    /// Tells some of those who wait for an append up to `through`; whether there may be more.
    fn tell(&self, through: Lsn, fate: Fate) -> bool {
        let told: Vec<Waiter> = {
            let mut queue = lock(&self.queue);
            let count = queue.partition_point(|waiter| waiter.lsn <= through);
            queue.drain(..count.min(ANSWERED_AT_ONCE)).collect()
        };
        let is_full = told.len() == ANSWERED_AT_ONCE;
        for waiter in told {
            // Whoever gave up waiting need not know.
            let _ = waiter.answer.send(fate);
        }
        is_full
    }
}

/// The task that answers publishers; it ends with the hub.
pub(crate) async fn answer(shared: Weak<Shared>) {
    let Some(mut stored) = shared
        .upgrade()
        .map(|shared| shared.waiting.stored.subscribe())
    else {
        return;
    };
    // Whoever published before the task had its first turn is answered as well.
    stored.mark_changed();
    while stored.changed().await.is_ok() {
        let through = *stored.borrow_and_update();
        while let Some(shared) = shared.upgrade()
            && shared.waiting.tell(through, Fate::Durable)
        {
            tokio::task::yield_now().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAR: Time = Time::from_millis(1_000);

    #[test]
    fn only_those_whose_append_is_durable_are_answered() {
        let waiting = Waiting::default();
        let mut first = waiting.wait_for(Lsn(1), FAR);
        let mut second = waiting.wait_for(Lsn(3), FAR);
        assert!(!waiting.tell(Lsn(2), Fate::Durable));
        assert_eq!(first.try_recv(), Ok(Fate::Durable));
        assert!(second.try_recv().is_err());
        waiting.failed();
        assert_eq!(second.try_recv(), Ok(Fate::Failed));
    }

    #[test]
    fn many_are_answered_in_turns() {
        let waiting = Waiting::default();
        let count = 2 * ANSWERED_AT_ONCE + 1;
        let mut waiters: Vec<_> = (1..=count)
            .map(|n| waiting.wait_for(Lsn(n as u64), FAR))
            .collect();
        let mut turns = 1;
        while waiting.tell(Lsn(count as u64), Fate::Durable) {
            turns += 1;
        }
        assert_eq!(turns, 3);
        for waiter in &mut waiters {
            assert_eq!(waiter.try_recv(), Ok(Fate::Durable));
        }
    }

    #[test]
    fn nobody_waits_beyond_its_own_time() {
        let waiting = Waiting::default();
        let mut patient = waiting.wait_for(Lsn(1), FAR);
        let mut hasty = waiting.wait_for(Lsn(2), Time::from_millis(10));
        waiting.expire(Time::from_millis(9));
        assert!(hasty.try_recv().is_err());
        waiting.expire(Time::from_millis(10));
        assert_eq!(hasty.try_recv(), Ok(Fate::Pending));
        assert!(patient.try_recv().is_err());
        assert!(!waiting.tell(Lsn(2), Fate::Durable));
        assert_eq!(patient.try_recv(), Ok(Fate::Durable));
    }
}
