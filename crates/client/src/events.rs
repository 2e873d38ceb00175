//! The story of a link, for logs and status displays.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use futures_util::StreamExt as _;
use heartwire_proto::client::Event;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

/// How many events wait for a listener before it misses the oldest. Events are rare beside
/// messages: a lost connection and its return make about five.
pub(crate) const EVENTS_MAX: usize = 256;

/// A listener was slow and has missed events; the next ones follow.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
#[error("{events} events were missed")]
pub struct Missed {
    /// How many.
    pub events: u64,
}

/// The events of a link from the moment of [`Link::events`](crate::Link::events) on.
///
/// Messages, and publishes that were stored, are not among them: they have their own ways. The
/// stream ends when the link is closed.
pub struct Events(Pin<Box<dyn Stream<Item = Result<Event, Missed>> + Send>>);

impl Events {
    pub(crate) fn new(receiver: broadcast::Receiver<Event>) -> Self {
        // Whoever asks again after the end, as a loop over several sources does, is told again.
        Self(Box::pin(
            futures_util::stream::unfold(receiver, step).fuse(),
        ))
    }

    /// The next event; `None` once the link is closed.
    pub async fn next(&mut self) -> Option<Result<Event, Missed>> {
        std::future::poll_fn(|cx| self.0.as_mut().poll_next(cx)).await
    }
}

async fn step(
    mut receiver: broadcast::Receiver<Event>,
) -> Option<(Result<Event, Missed>, broadcast::Receiver<Event>)> {
    let item = match receiver.recv().await {
        Ok(event) => Ok(event),
        Err(RecvError::Lagged(events)) => Err(Missed { events }),
        Err(RecvError::Closed) => return None,
    };
    Some((item, receiver))
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

impl Stream for Events {
    type Item = Result<Event, Missed>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(cx)
    }
}

/// Whether an event belongs to the story, or is one of the messages themselves.
pub(crate) const fn is_told(event: &Event) -> bool {
    !matches!(
        event,
        Event::Message(_) | Event::Received(_) | Event::Stored { .. }
    )
}
