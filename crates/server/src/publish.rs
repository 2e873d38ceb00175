//! Publishing from inside the process and over HTTP.

use std::fmt;
use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::time::Duration;

use heartwire_hub::{Append, AppendError, Outcome};
use heartwire_log::Fate;
use heartwire_log::store::RECORD_OVERHEAD_BYTES_MAX;
use heartwire_proto::frame::{Message, Publisher};
use heartwire_proto::id::TopicRef;
use heartwire_proto::limits::HEADER_BYTES_MAX;
use heartwire_proto::{Cursor, Epoch, Offset};

use crate::metrics::Origin;
use crate::shared::Shared;
use crate::waiting::Ticket;

/// How long a publisher waits for its message to be stored.
pub(crate) const STORED_WITHIN: Duration = Duration::from_secs(30);

/// Where a stored message stands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Position {
    /// The topic's epoch.
    pub epoch: Epoch,
    /// The message's offset.
    pub offset: Offset,
}

impl Position {
    /// The cursor of somebody who has handled everything up to this message.
    pub const fn cursor(self) -> Cursor {
        Cursor::At {
            epoch: self.epoch,
            offset: self.offset,
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.cursor(), f)
    }
}

/// Why a message was not published.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The name is no topic's.
    #[error(transparent)]
    Topic(#[from] heartwire_proto::id::IdError),
    /// The topic is one of the server's own.
    #[error("topics that begin with $ belong to the server")]
    Reserved,
    /// The message is too large.
    #[error("a message has at most {bytes_max} bytes")]
    TooLarge {
        /// The bound in force.
        bytes_max: usize,
    },
    /// The hub is being stopped.
    #[error("the server is being stopped and takes no more messages")]
    Draining,
    /// The log cannot take it at the moment; nothing was stored.
    #[error("the log cannot take the message at the moment: {0}")]
    Unavailable(AppendError),
    /// There is no room for it, and more cannot be made at the moment, for another reason than want of
    /// space; it is tried again every second. Nothing was stored.
    #[error("the log has no room for the message until its next segment can be made: {reason}")]
    NoRoom {
        /// What failed, and what the system said.
        reason: Arc<str>,
    },
    /// The disk failed while it was being stored. Whether it is there shows when the log is opened
    /// again.
    #[error(
        "the disk failed while the message was being stored; the server takes no more messages"
    )]
    Failed,
    /// The disk had failed before: nothing was stored, and nothing will be until the log is opened
    /// again.
    #[error("the disk has failed, and the server takes no more messages: {reason}")]
    DiskFailed {
        /// What failed, and what the system said.
        reason: Arc<str>,
    },
    /// It was not stored within 30 s. It may be stored yet.
    #[error("the message was not stored within 30 s; it may be stored yet")]
    Slow,
}

impl From<AppendError> for PublishError {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Reserved => Self::Reserved,
            AppendError::TooLarge { bytes_max } => Self::TooLarge { bytes_max },
            other => Self::Unavailable(other),
        }
    }
}

impl Shared {
    /// Appends a message at once; the future is ready when it is stored, or `within` has passed.
    /// Messages are stored in the order of the calls, whatever becomes of the futures.
    pub(crate) fn publish(
        self: &Arc<Self>,
        origin: Origin,
        topic: TopicRef<'_>,
        payload: Message<'_>,
        from: Option<Publisher<'_>>,
        within: Duration,
    ) -> Result<impl Future<Output = Result<Position, PublishError>> + Send + use<>, PublishError>
    {
        if self.is_draining() {
            self.metrics.published(origin, Outcome::NotAccepting);
            return Err(PublishError::Draining);
        }
        let append = Append {
            topic,
            payload,
            from,
            producer: None,
        };
        let now = self.clock.now();
        let answer = self.hub(|hub| {
            let place = hub.publish(append, now)?;
            hub.store();
            let is_stored = hub.log().fate(place.lsn) == Fate::Durable;
            let until = now.time + within;
            let waiting = (!is_stored).then(|| self.waiting.wait_for(place.lsn, until));
            Ok::<_, AppendError>((place, waiting))
        });
        self.metrics.published(origin, Outcome::of(&answer));
        let (place, waiting) = answer.map_err(|error| self.refusal(error))?;
        let shared = self.clone();
        Ok(async move {
            if let Some(waiting) = waiting {
                let stored = shared.wait_until_stored(waiting).await;
                if stored == Err(PublishError::Failed) {
                    shared.metrics.published(origin, Outcome::Failed);
                }
                stored?;
            }
            Ok(Position {
                epoch: place.epoch,
                offset: place.offset,
            })
        })
    }

    /// Why the log refuses a message. It accepts nothing for one of two reasons, and has no room for one
    /// of two, and knows neither.
    fn refusal(&self, error: AppendError) -> PublishError {
        match error {
            AppendError::NotAccepting => self.disk_failure().unwrap_or(PublishError::Draining),
            AppendError::Congested => self.room_failure().unwrap_or(error.into()),
            other => other.into(),
        }
    }

    /// What whoever publishes a large message is told while there is no room for it and no more can be
    /// made.
    pub(crate) fn room_failure(&self) -> Option<PublishError> {
        let largest = self.hub_config.limits.message_bytes_max + HEADER_BYTES_MAX;
        let bytes = (largest + RECORD_OVERHEAD_BYTES_MAX) as u64;
        let reason = self.storage.as_ref()?.room_failure(bytes)?;
        Some(PublishError::NoRoom { reason })
    }

    /// What whoever publishes is told since the disk has failed; nothing as long as it works.
    pub(crate) fn disk_failure(&self) -> Option<PublishError> {
        let reason = self.storage.as_ref()?.failure()?.into();
        Some(PublishError::DiskFailed { reason })
    }

    async fn wait_until_stored(&self, ticket: Ticket) -> Result<(), PublishError> {
        match poll_fn(|context| self.waiting.poll(ticket, context)).await {
            Fate::Durable => Ok(()),
            Fate::Failed => Err(PublishError::Failed),
            // An append is pending when the time is over.
            Fate::Pending => Err(PublishError::Slow),
        }
    }
}
