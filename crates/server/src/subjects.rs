//! Shutting identities out, and taking topics from them.
//!
//! The hub remembers what holds against whom and tells its connections; a file keeps it. Event streams are followers
//! inside the process, and are ended here: under the hub's lock, so that nobody slips in between.

use std::sync::Arc;
use std::time::Duration;

use heartwire_hub::{Pattern, SubjectsFull};
use heartwire_proto::{Close, CloseCode};

use crate::shared::Shared;
use crate::shut_out;
use crate::sync::lock;

impl Shared {
    /// See [`Hub::kick`](crate::Hub::kick).
    pub(crate) async fn kick(
        self: &Arc<Self>,
        subject: &str,
        span: Duration,
    ) -> Result<usize, SubjectsFull> {
        let now = self.clock.time();
        let close = if span.is_zero() {
            Close::new(CloseCode::CLOSED_BY_OPERATOR, "closed by the operator")
        } else {
            Close::new(CloseCode::FORBIDDEN, "this identity is kept out")
        };
        let closed = self.hub(|hub| {
            let closed = hub.kick(subject, now + span, &close, now)?;
            Ok(closed + self.end_readers(subject, None))
        })?;
        shut_out::changed(self).await;
        Ok(closed)
    }

    /// See [`Hub::revoke`](crate::Hub::revoke).
    pub(crate) async fn revoke(
        self: &Arc<Self>,
        subject: &str,
        topics: &Pattern,
        span: Duration,
    ) -> Result<usize, SubjectsFull> {
        let until = self.clock.time() + span;
        let ended = self.hub(|hub| {
            let ended = hub.revoke(subject, topics, until)?;
            Ok(ended + self.end_readers(subject, Some(topics)))
        })?;
        shut_out::changed(self).await;
        Ok(ended)
    }

    /// See [`Hub::readmit`](crate::Hub::readmit).
    pub(crate) async fn readmit(self: &Arc<Self>, subject: &str) -> bool {
        let was_held = self.hub(|hub| hub.readmit(subject));
        if was_held {
            shut_out::changed(self).await;
        }
        was_held
    }

    /// Ends event streams of an identity: all, or those of certain topics.
    fn end_readers(&self, subject: &str, topics: Option<&Pattern>) -> usize {
        let readers = lock(&self.readers);
        let ended = readers
            .values()
            .filter(|reader| reader.is_of(subject, topics));
        ended.map(|reader| reader.end()).count()
    }
}
