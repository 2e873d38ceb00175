//! A bounded queue between the link and one consumer.
//!
//! The link never waits for a consumer: it would have to stop reading, and the heartbeat would
//! starve. So the queue tells when it is full, and the two kinds of stream each have their own
//! answer: a subscription pauses its topic, plain messages drop the oldest and say so.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use heartwire_proto::client::Ending;
use heartwire_proto::frame::RefusedCode;

/// How much may wait for one consumer. A queue is full when either bound is reached.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct QueueLimits {
    /// Messages.
    pub messages_max: usize,
    /// Bytes of payload. One message more than that always fits, however large it is.
    pub bytes_max: usize,
}

impl Default for QueueLimits {
    /// 1,024 messages or 1 MiB: enough that a consumer that keeps up on average never pauses its
    /// topic, and little enough to hold a thousand of them.
    fn default() -> Self {
        Self {
            messages_max: 1_024,
            bytes_max: 1 << 20,
        }
    }
}

/// Why a stream has ended.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum End {
    /// The server does not let the topic be followed.
    Refused(RefusedCode),
    /// The server stopped the topic on its own.
    Stopped(RefusedCode),
    /// The link is closed.
    LinkClosed(Ending),
}

/// See the [module](self).
pub(crate) struct Queue<T> {
    // A lock of its own, so that a consumer that takes message after message never competes for
    // the link's lock. It is taken while the link's lock is held, never the other way round.
    state: Mutex<State<T>>,
    limits: QueueLimits,
}

/// What waits.
pub(crate) struct State<T> {
    /// Items with the bytes that each counts for; none for marks, which count for nothing.
    items: VecDeque<(T, Option<usize>)>,
    messages: usize,
    bytes: usize,
    /// The queue was found full, and the consumer has not yet taken half of it.
    clogged: bool,
    consumer: Option<Waker>,
    end: Option<End>,
}

/// What taking an item found.
pub(crate) struct Taken<T> {
    pub(crate) item: T,
    /// The queue had been full and is half empty again.
    pub(crate) relieved: bool,
}

impl<T> Queue<T> {
    pub(crate) fn new(limits: QueueLimits) -> Self {
        Self {
            state: Mutex::new(State {
                items: VecDeque::new(),
                messages: 0,
                bytes: 0,
                clogged: false,
                consumer: None,
                end: None,
            }),
            limits,
        }
    }

    /// Appends an item. Returns whether the queue has become full.
    pub(crate) fn push(&self, item: T, bytes: usize) -> bool {
        let mut state = self.lock();
        state.append(item, Some(bytes));
        let became_full = !state.clogged && state.holds(self.limits);
        state.clogged |= became_full;
        became_full
    }

    /// Appends an item for which the oldest ones make room. Whatever these stand for is added up
    /// by `count`, and a `mark` of the sum takes their place.
    pub(crate) fn push_over(
        &self,
        item: T,
        bytes: usize,
        count: impl Fn(&T) -> u64,
        mark: impl FnOnce(u64) -> T,
    ) {
        let mut state = self.lock();
        let mut dropped = 0;
        while state.holds(self.limits)
            && let Some(oldest) = state.take_first()
        {
            dropped += count(&oldest);
        }
        if dropped > 0 {
            state.items.push_front((mark(dropped), None));
        }
        state.append(item, Some(bytes));
    }

    /// Appends a mark, unless `merge` finds that the last one can take it
    /// in. So between two messages there is one mark of a kind at most.
    pub(crate) fn push_mark(&self, mark: T, merge: impl FnOnce(&mut T) -> bool) {
        let mut state = self.lock();
        if state.items.back_mut().is_some_and(|(last, _)| merge(last)) {
            return;
        }
        state.append(mark, None);
    }

    /// No item follows the ones that are there.
    pub(crate) fn end(&self, end: End) {
        let mut state = self.lock();
        state.end.get_or_insert(end);
        state.wake();
    }

    /// Why no item follows, once that is so.
    pub(crate) fn ended(&self) -> Option<End> {
        self.lock().end.clone()
    }

    /// The next item; `None` after the last.
    pub(crate) fn poll_take(&self, cx: &mut Context<'_>) -> Poll<Option<Taken<T>>> {
        let mut state = self.lock();
        if let Some(item) = state.take_first() {
            let relieved = state.clogged && state.is_half_empty(self.limits);
            state.clogged &= !relieved;
            return Poll::Ready(Some(Taken { item, relieved }));
        }
        if state.end.is_some() {
            return Poll::Ready(None);
        }
        state.consumer = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Asks the first item something.
    pub(crate) fn first<R>(&self, ask: impl FnOnce(&T) -> Option<R>) -> Option<R> {
        self.lock().items.front().and_then(|(item, _)| ask(item))
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Nothing here leaves the state half changed, so a panic elsewhere spoils nothing.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> State<T> {
    fn append(&mut self, item: T, bytes: Option<usize>) {
        if let Some(bytes) = bytes {
            self.messages += 1;
            self.bytes += bytes;
        }
        self.items.push_back((item, bytes));
        self.wake();
    }

    fn take_first(&mut self) -> Option<T> {
        let (item, bytes) = self.items.pop_front()?;
        if let Some(bytes) = bytes {
            self.messages -= 1;
            self.bytes -= bytes;
        }
        if self.items.is_empty() {
            // A burst does not keep its memory.
            self.items.shrink_to(16);
        }
        Some(item)
    }

    fn holds(&self, limits: QueueLimits) -> bool {
        self.messages >= limits.messages_max.max(1) || self.bytes >= limits.bytes_max.max(1)
    }

    fn is_half_empty(&self, limits: QueueLimits) -> bool {
        self.messages <= limits.messages_max / 2 && self.bytes <= limits.bytes_max / 2
    }

    fn wake(&mut self) {
        if let Some(consumer) = self.consumer.take() {
            consumer.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::task::noop_waker_ref;

    fn queue(messages_max: usize, bytes_max: usize) -> Queue<u32> {
        Queue::new(QueueLimits {
            messages_max,
            bytes_max,
        })
    }

    fn take(queue: &Queue<u32>) -> Option<(u32, bool)> {
        let mut cx = Context::from_waker(noop_waker_ref());
        match queue.poll_take(&mut cx) {
            Poll::Ready(taken) => taken.map(|taken| (taken.item, taken.relieved)),
            Poll::Pending => panic!("the queue is empty and has not ended"),
        }
    }

    #[test]
    fn fullness_is_told_once_and_relief_at_half() {
        let queue = queue(4, 1_000);
        let told: Vec<_> = (0..5).map(|item| queue.push(item, 1)).collect();
        assert_eq!(told, [false, false, false, true, false]);
        let relief: Vec<_> = (0..4).map(|_| take(&queue).map(|t| t.1)).collect();
        assert_eq!(relief, [Some(false), Some(false), Some(true), Some(false)]);
    }

    #[test]
    fn bytes_fill_a_queue_as_well() {
        let queue = queue(100, 10);
        assert!(queue.push(1, 11), "one message always fits, and fills");
        assert_eq!(take(&queue), Some((1, true)));
        assert!(!queue.push(2, 9));
        assert!(queue.push(3, 1));
    }

    #[test]
    fn the_oldest_make_room_and_are_counted() {
        // Items below 100 are messages; a mark is 100 and the number of messages it stands for.
        let queue = queue(3, 1_000);
        let count = |item: &u32| u64::from(item.saturating_sub(100).max(1));
        let push = |item, bytes| queue.push_over(item, bytes, count, |n| 100 + n as u32);
        for item in 1..=4 {
            push(item, 1);
        }
        assert_eq!(take(&queue), Some((101, false)), "message 1 made room");
        push(5, 1);
        push(6, 2_000);
        push(7, 1);
        let rest: Vec<_> = (0..2).map(|_| take(&queue).map(|t| t.0)).collect();
        assert_eq!(rest, [Some(105), Some(7)], "2 to 6 made room");
    }

    #[test]
    fn what_waited_comes_before_the_end() {
        let queue = queue(2, 1_000);
        queue.push(1, 1);
        queue.end(End::LinkClosed(Ending::Application));
        queue.end(End::Refused(RefusedCode::Limit));
        assert_eq!(take(&queue), Some((1, false)));
        assert_eq!(take(&queue), None);
        assert_eq!(queue.ended(), Some(End::LinkClosed(Ending::Application)));
    }
}
