//! What an application receives: [`Subscription`] in v1, [`Messages`] in plain mode.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use heartwire_proto::client::TopicMessage;
use heartwire_proto::frame::{Gap, Payload};
use heartwire_proto::{Cursor, TopicName};

use crate::queue::{End, Queue};
use crate::shared::Shared;

/// What a [`Subscription`] yields.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Delivery {
    /// The next message of the topic.
    Message(TopicMessage),
    /// Messages that will never come, and why. They stand between the deliveries before and after.
    Gap(Gap),
}

/// One step of a topic: where it leads, and what the application sees of it.
pub(crate) struct Step {
    /// The place of the topic after this step, as far as it is known.
    pub(crate) cursor: Option<Cursor>,
    /// Nothing for a step that only names the place.
    pub(crate) delivery: Option<Delivery>,
}

impl Step {
    /// Takes in a change of place, if this step is nothing else.
    pub(crate) fn move_to(&mut self, cursor: Cursor) -> bool {
        let takes = self.delivery.is_none();
        if takes {
            self.cursor = Some(cursor);
        }
        takes
    }
}

/// A followed topic: a stream of messages in order, once each, over any number of connections.
///
/// It ends when the link is closed or the server does not let the topic be followed;
/// [`end`](Self::end) then tells which. Dropping it stops following the topic.
///
/// At most [`QueueLimits`](crate::QueueLimits) wait for the application. When it is slower than
/// that, the topic is paused at the server and resumed from its cursor once half of the queue has
/// been taken: nothing is lost by being slow, unless the server's retention passes by, which is
/// told as a [`Delivery::Gap`]. The heartbeat and other topics go on meanwhile.
#[must_use = "dropping a subscription stops following the topic"]
pub struct Subscription {
    topic: TopicName,
    queue: Arc<Queue<Step>>,
    shared: Arc<Shared>,
    /// The place after what was last yielded.
    cursor: Option<Cursor>,
}

impl Subscription {
    pub(crate) fn new(topic: TopicName, queue: Arc<Queue<Step>>, shared: Arc<Shared>) -> Self {
        Self {
            topic,
            queue,
            shared,
            cursor: None,
        }
    }

    /// The next delivery; `None` once the subscription has [ended](Self::end). Cancelling it loses
    /// nothing.
    pub async fn next(&mut self) -> Option<Delivery> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    /// The topic followed.
    pub fn topic(&self) -> &TopicName {
        &self.topic
    }

    /// The place after everything yielded so far; `None` until the server has named it. A program
    /// that saves it after handling each delivery, and restarts with
    /// [`subscribe_from`](crate::Link::subscribe_from), sees every message at least once.
    ///
    /// It is known as soon as the topic is followed, before the first message, so that a quiet
    /// topic resumes as well.
    pub fn cursor(&self) -> Option<Cursor> {
        self.queue
            .first(|step| step.cursor.filter(|_| step.delivery.is_none()))
            .or(self.cursor)
    }

    /// Why the stream ends after what waits in it; `None` as long as it does not.
    pub fn end(&self) -> Option<End> {
        self.queue.ended()
    }
}

impl Stream for Subscription {
    type Item = Delivery;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        loop {
            let Some(taken) = ready!(self.queue.poll_take(cx)) else {
                return Poll::Ready(None);
            };
            if taken.relieved {
                self.shared.resume(&self.topic, &self.queue);
            }
            self.cursor = taken.item.cursor.or(self.cursor);
            if let Some(delivery) = taken.item.delivery {
                return Poll::Ready(Some(delivery));
            }
        }
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("topic", &self.topic)
            .field("cursor", &self.cursor())
            .field("end", &self.end())
            .finish_non_exhaustive()
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.shared.unsubscribe(&self.topic, &self.queue);
    }
}

/// What [`Messages`] yields.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum PlainDelivery {
    /// A message, as the server sent it.
    Message(Payload),
    /// Messages may be missing here.
    Gap(PlainGap),
}

/// Why messages may be missing in plain mode, which has no offsets to tell how many.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum PlainGap {
    /// The link was lost and is open again. What the server sent meanwhile is gone; whoever keeps
    /// a copy of the server's state takes a new one.
    Reconnected,
    /// The application was slow, and this many of the oldest messages made room for newer ones.
    Overflow {
        /// How many.
        messages: u64,
    },
}

/// The messages of a plain link, in order.
///
/// At most [`QueueLimits`](crate::QueueLimits) wait for the application. When it is slower than
/// that, the oldest make room, told as [`PlainGap::Overflow`]: a plain server cannot be asked to
/// wait, and a link that stopped reading would not notice its death. All streams of one link share
/// one queue; each message goes to one of them.
pub struct Messages {
    queue: Arc<Queue<PlainDelivery>>,
}

impl Messages {
    pub(crate) fn new(queue: Arc<Queue<PlainDelivery>>) -> Self {
        Self { queue }
    }

    /// The next delivery; `None` once the link is closed. Cancelling it loses nothing.
    pub async fn next(&mut self) -> Option<PlainDelivery> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

impl fmt::Debug for Messages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Messages").finish_non_exhaustive()
    }
}

impl Stream for Messages {
    type Item = PlainDelivery;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<PlainDelivery>> {
        let taken = ready!(self.queue.poll_take(cx));
        Poll::Ready(taken.map(|taken| taken.item))
    }
}

/// Hands a message to the application.
pub(crate) fn push_message(queue: &Queue<PlainDelivery>, payload: Payload) {
    let bytes = payload.len();
    let count = |oldest: &PlainDelivery| match oldest {
        PlainDelivery::Message(_) => 1,
        PlainDelivery::Gap(PlainGap::Overflow { messages }) => *messages,
        PlainDelivery::Gap(PlainGap::Reconnected) => 0,
    };
    let mark = |messages| PlainDelivery::Gap(PlainGap::Overflow { messages });
    queue.push_over(PlainDelivery::Message(payload), bytes, count, mark);
}

/// Marks that the link was lost in between. Two marks with nothing between them say no more than
/// one.
pub(crate) fn push_reconnected(queue: &Queue<PlainDelivery>) {
    let mark = PlainDelivery::Gap(PlainGap::Reconnected);
    queue.push_mark(mark.clone(), |last| *last == mark);
}
