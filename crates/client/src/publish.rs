//! What becomes of a publish.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use heartwire_proto::Seq;
use heartwire_proto::client::PublishError as NotAccepted;
use heartwire_proto::frame::{Durability, NackCode};
use heartwire_proto::id::IdError;
use heartwire_proto::outbox::OutboxFull;
use tokio::sync::oneshot;

/// The server has stored a message.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Stored {
    /// The number that this link had given to the message.
    pub seq: Seq,
    /// What storing means at this server.
    pub durability: Durability,
}

/// Why a message was not stored, or is not known to be.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum PublishError {
    /// The caller's: this is no name of a topic.
    #[error(transparent)]
    Topic(#[from] IdError),
    /// The caller's: topics that begin with `$` belong to the server.
    #[error("topics that begin with $ belong to the server")]
    Reserved,
    /// The caller's: the payload is larger than the server takes.
    #[error("the message has {bytes} bytes, and the server takes {bytes_max}")]
    TooLarge {
        /// The payload.
        bytes: usize,
        /// The bound of the latest server.
        bytes_max: u64,
    },
    /// Too much waits for the server already. Wait for earlier publishes, or drop the message;
    /// the link never drops one by itself.
    #[error(transparent)]
    OutboxFull(#[from] OutboxFull),
    /// The server refused the message for good; those behind it go on.
    #[error("the server refused the message: {0}")]
    Refused(NackCode),
    /// The server cannot tell any more whether it has stored the message, which had been on its
    /// way for longer than a server remembers a client. It is not sent again.
    #[error("the message may or may not have been stored; the server does not remember any more")]
    InDoubt,
    /// The link was closed before the server had confirmed the message. It may have been stored.
    #[error("the link was closed before the server confirmed the message")]
    Closed,
}

impl From<NotAccepted> for PublishError {
    fn from(error: NotAccepted) -> Self {
        match error {
            NotAccepted::Full(full) => Self::OutboxFull(full),
            NotAccepted::TooLarge { bytes, bytes_max } => Self::TooLarge { bytes, bytes_max },
            NotAccepted::Reserved => Self::Reserved,
            NotAccepted::Plain | NotAccepted::Closed => Self::Closed,
        }
    }
}

/// A message on its way, returned by [`Link::publish`](crate::Link::publish).
///
/// The message is in the outbox already, and stays there when this future is dropped: it is sent,
/// and sent again after a lost connection, until the server has it. Waiting only tells what came
/// of it.
#[must_use = "the message is on its way, but only waiting tells whether it was stored"]
#[derive(Debug)]
pub struct Publish(State);

#[derive(Debug)]
enum State {
    Failed(PublishError),
    Waiting {
        seq: Seq,
        outcome: oneshot::Receiver<Outcome>,
    },
}

/// What the link tells the one who waits.
pub(crate) type Outcome = Result<Stored, PublishError>;

impl Publish {
    pub(crate) const fn failed(error: PublishError) -> Self {
        Self(State::Failed(error))
    }

    pub(crate) const fn waiting(seq: Seq, outcome: oneshot::Receiver<Outcome>) -> Self {
        Self(State::Waiting { seq, outcome })
    }

    /// The number of the message, by which [events](crate::Link::events) name it; `None` if it was
    /// not accepted.
    pub const fn seq(&self) -> Option<Seq> {
        match &self.0 {
            State::Failed(_) => None,
            State::Waiting { seq, .. } => Some(*seq),
        }
    }
}

impl Future for Publish {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        match &mut self.0 {
            State::Failed(error) => Poll::Ready(Err(*error)),
            State::Waiting { outcome, .. } => Pin::new(outcome)
                .poll(cx)
                .map(|told| told.unwrap_or(Err(PublishError::Closed))),
        }
    }
}
