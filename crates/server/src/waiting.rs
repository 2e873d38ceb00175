//! Publishers in the process, and over HTTP, that wait until their message is stored.
//!
//! ```text
//!   append, under the hub's lock ──► ticket ──► queue, in the order of LSNs ◄── poll: their wakers
//!   writer thread: synced ──► stored ──► [`answer`], a task of the runtime ──► publishers' tasks
//!   upkeep, each second ──► expire
//! ```
//!
//! A task answers them, and not the writer: a task puts others into the queue of its own core, which
//! a foreign thread does through a lock and a wake-up for each.

use std::collections::VecDeque;
use std::sync::Weak;
use std::task::{Context, Poll, Waker};

use heartwire_log::{Fate, Lsn};
use heartwire_proto::Time;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::shared::Shared;

/// How many are answered before others have their turn.
const ANSWERED_AT_ONCE: usize = 128;

/// Those who wait, in the order of their appends, so that a commit finds them without asking each.
///
/// There are no more than appends may wait to become durable: nobody waits longer than its append.
pub(crate) struct Waiting {
    queue: Mutex<Queue>,
    /// Everything up to here is durable.
    stored: watch::Sender<Lsn>,
}

struct Queue {
    waiters: VecDeque<Waiter>,
    /// The number of the first waiter's ticket: so many have left the queue, all from its front.
    first: u64,
    /// Whoever has left is durable if it comes before this.
    failed: Lsn,
}

/// A place in the queue. Whoever gives up waiting leaves it to those who come by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket {
    number: u64,
    lsn: Lsn,
}

struct Waiter {
    lsn: Lsn,
    /// When it stops waiting.
    until: Time,
    state: State,
}

/// How a publisher waits; it leaves when its append is durable, or has failed.
///
/// ```text
///   New ──poll──► Asked ──┐
///    └────────────────────┴── its time is over ──► Over
/// ```
enum State {
    New,
    Asked(Waker),
    Over,
}

impl Default for Waiting {
    fn default() -> Self {
        Self {
            queue: Mutex::new(Queue {
                waiters: VecDeque::new(),
                first: 0,
                failed: Lsn(u64::MAX),
            }),
            stored: watch::Sender::new(Lsn(0)),
        }
    }
}

impl Waiting {
    /// Waits for an append until a moment, and as long after it as the upkeep takes to come round;
    /// then the answer is that it is pending. To be called under the hub's lock, under which it got
    /// its number.
    pub(crate) fn wait_for(&self, lsn: Lsn, until: Time) -> Ticket {
        let mut queue = self.queue.lock();
        let number = queue.first + queue.waiters.len() as u64;
        queue.waiters.push_back(Waiter {
            lsn,
            until,
            state: State::New,
        });
        Ticket { number, lsn }
    }

    /// What has become of an append, as soon as the answer is known.
    pub(crate) fn poll(&self, ticket: Ticket, context: &Context<'_>) -> Poll<Fate> {
        let mut queue = self.queue.lock();
        let failed = queue.failed;
        match queue.waiter(ticket) {
            None if ticket.lsn < failed => Poll::Ready(Fate::Durable),
            None => Poll::Ready(Fate::Failed),
            Some(waiter) => waiter.poll(context),
        }
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

    /// Everything that waits and is not durable has failed, as has whatever comes.
    pub(crate) fn failed(&self) {
        let durable = *self.stored.borrow();
        self.queue.lock().failed = Lsn(durable.0 + 1);
        while self.tell(Lsn(u64::MAX)) {}
    }

    /// Those whose time is over are told so.
    pub(crate) fn expire(&self, now: Time) {
        let over: Vec<State> = {
            let mut queue = self.queue.lock();
            let waiters = queue.waiters.iter_mut();
            let over = waiters.filter(|waiter| waiter.until <= now);
            over.map(|waiter| std::mem::replace(&mut waiter.state, State::Over))
                .collect()
        };
        over.into_iter().for_each(State::wake);
    }

    /// Tells some of those who wait for an append up to `through`; whether there may be more.
    fn tell(&self, through: Lsn) -> bool {
        let told = self.queue.lock().take(through);
        let is_full = told.len() == ANSWERED_AT_ONCE;
        for waiter in told {
            waiter.state.wake();
        }
        is_full
    }
}

impl Queue {
    /// The one with the ticket, unless it has left.
    fn waiter(&mut self, ticket: Ticket) -> Option<&mut Waiter> {
        let index = ticket.number.checked_sub(self.first)?;
        self.waiters.get_mut(index as usize)
    }

    /// Lets some leave of those who wait for an append up to `through`.
    fn take(&mut self, through: Lsn) -> Vec<Waiter> {
        let count = self.waiters.partition_point(|waiter| waiter.lsn <= through);
        let count = count.min(ANSWERED_AT_ONCE);
        self.first += count as u64;
        self.waiters.drain(..count).collect()
    }
}

impl Waiter {
    fn poll(&mut self, context: &Context<'_>) -> Poll<Fate> {
        match &mut self.state {
            State::Over => return Poll::Ready(Fate::Pending),
            State::Asked(waker) => waker.clone_from(context.waker()),
            State::New => self.state = State::Asked(context.waker().clone()),
        }
        Poll::Pending
    }
}

impl State {
    /// Whoever has not asked yet will find the answer when it does.
    fn wake(self) {
        if let Self::Asked(waker) = self {
            waker.wake();
        }
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
            && shared.waiting.tell(through)
        {
            tokio::task::yield_now().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAR: Time = Time::from_millis(1_000);

    fn ask(waiting: &Waiting, ticket: Ticket) -> Poll<Fate> {
        waiting.poll(ticket, &Context::from_waker(Waker::noop()))
    }

    #[test]
    fn only_those_whose_append_is_durable_are_answered() {
        let waiting = Waiting::default();
        let first = waiting.wait_for(Lsn(1), FAR);
        let second = waiting.wait_for(Lsn(3), FAR);
        assert_eq!(ask(&waiting, first), Poll::Pending);
        waiting.stored(Lsn(2));
        assert!(!waiting.tell(Lsn(2)));
        assert_eq!(ask(&waiting, first), Poll::Ready(Fate::Durable));
        assert_eq!(ask(&waiting, second), Poll::Pending);
        waiting.failed();
        assert_eq!(ask(&waiting, second), Poll::Ready(Fate::Failed));
    }

    #[test]
    fn what_is_durable_has_not_failed_though_nobody_was_told_before() {
        let waiting = Waiting::default();
        let [durable, other] = [1, 2].map(|lsn| waiting.wait_for(Lsn(lsn), FAR));
        waiting.stored(Lsn(1));
        waiting.failed();
        assert_eq!(ask(&waiting, durable), Poll::Ready(Fate::Durable));
        assert_eq!(ask(&waiting, other), Poll::Ready(Fate::Failed));
    }

    #[test]
    fn many_are_answered_in_turns() {
        let waiting = Waiting::default();
        let count = 2 * ANSWERED_AT_ONCE + 1;
        let tickets: Vec<_> = (1..=count)
            .map(|n| waiting.wait_for(Lsn(n as u64), FAR))
            .collect();
        let mut turns = 1;
        while waiting.tell(Lsn(count as u64)) {
            turns += 1;
        }
        assert_eq!(turns, 3);
        for ticket in tickets {
            assert_eq!(ask(&waiting, ticket), Poll::Ready(Fate::Durable));
        }
    }

    #[test]
    fn nobody_waits_beyond_its_own_time() {
        let waiting = Waiting::default();
        let patient = waiting.wait_for(Lsn(1), FAR);
        let hasty = waiting.wait_for(Lsn(2), Time::from_millis(10));
        waiting.expire(Time::from_millis(9));
        assert_eq!(ask(&waiting, hasty), Poll::Pending);
        waiting.expire(Time::from_millis(10));
        assert_eq!(ask(&waiting, hasty), Poll::Ready(Fate::Pending));
        assert_eq!(ask(&waiting, patient), Poll::Pending);
        assert!(!waiting.tell(Lsn(2)));
        assert_eq!(ask(&waiting, patient), Poll::Ready(Fate::Durable));
    }
}
