//! What the server itself has to say, on topics of its own.

use heartwire_proto::frame::Message;
use heartwire_proto::id::TopicRef;

use super::Log;
use crate::Now;
use crate::append::{Append, AppendError, Place};

impl Log {
    /// Appends a text to one of the server's own topics, which nobody else may append to. They are in
    /// memory, so that a disk that is full, has failed, or is behind holds nothing up.
    ///
    /// # Errors
    ///
    /// When there are as many such topics as there may be, or too much waits to be committed; then
    /// nothing has changed.
    pub fn announce(
        &mut self,
        topic: TopicRef<'_>,
        text: &str,
        now: Now,
    ) -> Result<Place, AppendError> {
        debug_assert!(topic.is_reserved(), "{topic} is not the server's");
        self.clock = self.clock.max(now.time);
        let is_new = self.names.get(topic, &self.topics).is_none();
        if is_new && self.own_topics >= self.config.own_topics_max {
            return Err(AppendError::Full {
                what: "topics of the server's own",
            });
        }
        if !self.is_on_disk() && self.pending.len() >= self.config.pending_max {
            return Err(AppendError::Congested);
        }
        let id = self.topic_for(topic, now)?;
        let append = Append {
            topic,
            payload: Message::Text(text),
            from: None,
            producer: None,
        };
        Ok(self.place(append, id, None, now))
    }
}
