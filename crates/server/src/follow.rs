//! Following a topic from inside the process: what embedders and server-sent events read.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use futures_util::Stream;
use futures_util::task::AtomicWaker;
use heartwire_hub::{ConnKey, Delivery as HubDelivery, Entry, FollowError, Full, Grant, Pattern};
use heartwire_proto::frame::{self, Gap, ServerFrame, SubFrom};
use heartwire_proto::id::TopicRef;
use heartwire_proto::{Cursor, Epoch, Offset, TopicName, WallTime};

use crate::shared::{Handle, Shared};
use crate::sync::lock;

/// How much a follower reads of the log at once, in bytes. Entries are shared, so that this bounds
/// what a follower that is slow keeps alive after the log has dropped it.
const READ_BYTES: usize = 64 * 1024;

/// What a follower is given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Delivery {
    /// The next message.
    Message(Message),
    /// Messages that will never come: retention trimmed them before they were read, or they belong
    /// to a log that is gone.
    Gap(Gap),
}

/// One message of a topic. Cheap to clone: its bytes are shared with all who read it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    epoch: Epoch,
    offset: Offset,
    entry: Entry,
}

impl Message {
    pub(crate) const fn new(epoch: Epoch, offset: Offset, entry: Entry) -> Self {
        Self {
            epoch,
            offset,
            entry,
        }
    }

    /// Its place in the topic.
    pub const fn offset(&self) -> Offset {
        self.offset
    }

    /// The cursor of somebody who has handled it: what [`Hub::follow`](crate::Hub::follow) takes to
    /// go on behind it.
    pub const fn cursor(&self) -> Cursor {
        Cursor::At {
            epoch: self.epoch,
            offset: self.offset,
        }
    }

    /// The payload.
    pub fn payload(&self) -> frame::Message<'_> {
        self.entry.payload()
    }

    /// The payload, if it is text.
    pub fn text(&self) -> Option<&str> {
        match self.payload() {
            frame::Message::Text(text) => Some(text),
            frame::Message::Binary(_) => None,
        }
    }

    /// When it was published, by the server's wall clock.
    pub fn time(&self) -> WallTime {
        match self.frame() {
            ServerFrame::Msg { time, .. } => time,
            _ => WallTime::default(),
        }
    }

    /// The publisher's identity, where it had one.
    pub fn from(&self) -> Option<String> {
        match self.frame() {
            ServerFrame::Msg { from, .. } => from.map(|from| from.decode().into_owned()),
            _ => None,
        }
    }

    pub(crate) fn frame(&self) -> ServerFrame<'_> {
        self.entry.frame()
    }
}

/// The hub's handle of a reader.
#[derive(Default)]
pub(crate) struct Reader {
    waker: AtomicWaker,
    /// For whom it reads, and what; nothing for a reader of the application's own.
    subject: Option<(Box<str>, TopicName)>,
    is_ended: AtomicBool,
}

impl Reader {
    /// Whether it reads for this identity, one of these topics or who is there on one.
    pub(crate) fn is_of(&self, subject: &str, topics: Option<&Pattern>) -> bool {
        self.subject.as_ref().is_some_and(|(known, topic)| {
            let topic = topic.as_topic();
            let is_one = |topics: &Pattern| {
                let of = topic.presence_of();
                topics.covers(topic) || of.is_some_and(|of| topics.covers(of))
            };
            **known == *subject && topics.is_none_or(is_one)
        })
    }

    /// Nothing more is read.
    pub(crate) fn end(&self) {
        self.is_ended.store(true, Ordering::Release);
        self.wake();
    }

    pub(crate) fn wake(&self) {
        self.waker.wake();
    }
}

/// The messages of one topic, live: a [`Stream`] that ends only when the hub drains.
///
/// It reads the log from its own cursor, so a slow one costs nobody else anything: when retention
/// has passed it by, it is given a [`Delivery::Gap`] and goes on at the oldest message retained.
pub struct Follower {
    shared: Arc<Shared>,
    reader: Arc<Reader>,
    key: ConnKey,
    /// What has been read and not been taken yet.
    ready: VecDeque<Delivery>,
    start: Cursor,
}

/// Why nothing is followed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FollowRefused {
    /// The name is no topic's.
    #[error(transparent)]
    Topic(#[from] heartwire_proto::id::IdError),
    /// The grant does not cover it.
    #[error("the topic is not granted")]
    Forbidden,
    /// The topic is one of the server's own, and does not exist.
    #[error("the server has no such topic")]
    NoSuchTopic,
    /// The hub is at its limit of followers.
    #[error("the hub is at its limit of followers")]
    Limit,
    /// The hub is being stopped.
    #[error("the server is being stopped")]
    Draining,
}

impl From<Full> for FollowRefused {
    fn from(_: Full) -> Self {
        Self::Limit
    }
}

impl From<FollowError> for FollowRefused {
    fn from(error: FollowError) -> Self {
        match error {
            FollowError::Forbidden => Self::Forbidden,
            FollowError::BadTopic => Self::NoSuchTopic,
            FollowError::Limit | FollowError::Removed => Self::Limit,
        }
    }
}

impl Follower {
    pub(crate) fn open(
        shared: &Arc<Shared>,
        topic: TopicRef<'_>,
        from: SubFrom,
    ) -> Result<Self, FollowRefused> {
        Self::granted(shared, topic, from, None)
    }

    /// The same for somebody with a grant.
    pub(crate) fn granted(
        shared: &Arc<Shared>,
        topic: TopicRef<'_>,
        from: SubFrom,
        grant: Option<&Arc<Grant>>,
    ) -> Result<Self, FollowRefused> {
        if shared.is_draining() {
            return Err(FollowRefused::Draining);
        }
        let grant = grant.map(|grant| &**grant);
        let subject = grant.and_then(Grant::subject);
        let reader = Arc::new(Reader {
            subject: subject.map(|subject| (subject.into(), topic.to_name())),
            ..Reader::default()
        });
        let handle = Handle::Reader(reader.clone());
        let (key, start) = shared.hub(|hub| {
            let is_granted = hub.admits(grant).is_ok() && hub.may_subscribe(grant, topic);
            if !is_granted {
                return Err(FollowRefused::Forbidden);
            }
            let key = hub.open_reader(handle)?;
            match hub.follow(key, topic, from) {
                Ok(start) => {
                    // Before the hub is unlocked: whoever shuts the subject out finds it here.
                    lock(&shared.readers).insert(key, reader.clone());
                    Ok((key, start))
                }
                Err(error) => {
                    hub.leave(key);
                    Err(FollowRefused::from(error))
                }
            }
        })?;
        Ok(Self {
            shared: shared.clone(),
            reader,
            key,
            ready: start.gap.map(Delivery::Gap).into_iter().collect(),
            start: start.cursor,
        })
    }

    /// The cursor at which following began: the first message is the one after it.
    pub const fn start(&self) -> Cursor {
        self.start
    }

    fn read(&mut self) {
        let ready = &mut self.ready;
        let mut sink = |delivery: HubDelivery<'_>| match delivery {
            HubDelivery::Epoch { .. } => {}
            HubDelivery::Gap { gap, .. } => ready.push_back(Delivery::Gap(gap)),
            HubDelivery::Message {
                epoch,
                offset,
                entry,
                ..
            } => {
                let message = Message::new(epoch, offset, entry.clone());
                ready.push_back(Delivery::Message(message));
            }
        };
        self.shared.hub(|hub| {
            // Whether there is more shows when this has been taken: then it is read again.
            let _ = hub.read(self.key, READ_BYTES, &mut sink);
        });
    }
}

impl Stream for Follower {
    type Item = Delivery;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        if self.reader.is_ended.load(Ordering::Acquire) {
            return Poll::Ready(None);
        }
        if let Some(delivery) = self.ready.pop_front() {
            return Poll::Ready(Some(delivery));
        }
        self.ready = VecDeque::new();
        // Registered before reading, so that what comes in between wakes.
        self.reader.waker.register(cx.waker());
        self.read();
        match self.ready.pop_front() {
            Some(delivery) => Poll::Ready(Some(delivery)),
            None if self.shared.is_draining() => Poll::Ready(None),
            None if self.reader.is_ended.load(Ordering::Acquire) => Poll::Ready(None),
            None => Poll::Pending,
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        lock(&self.shared.readers).remove(&self.key);
        self.shared.hub(|hub| hub.leave(self.key));
    }
}
