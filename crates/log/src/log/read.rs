//! Reading: durable ends and what lies before them.

use heartwire_proto::frame::SubFrom;
use heartwire_proto::id::TopicRef;
use heartwire_proto::planted::{self, Bug};
use heartwire_proto::{Offset, Seq};

use super::Log;
use crate::entry::Entry;
use crate::producer::ProducerId;
use crate::topic::{Read, Start, TopicId, TopicLog, start_of_nothing};

impl Log {
    /// The topic with this name, if anything of it was ever durable.
    pub fn find(&self, name: TopicRef<'_>) -> Option<TopicId> {
        let id = self.names.get(name, &self.topics)?;
        self.topic(id).map(|_| id)
    }

    /// The topic, if anything of it was ever durable.
    pub fn topic(&self, id: TopicId) -> Option<&TopicLog> {
        self.topics
            .get(id.0)
            .filter(|topic| topic.end() > Offset::ZERO)
    }

    /// Topics in the order of their names, from the first after `name` on.
    pub fn topics_after<'a>(
        &'a self,
        name: Option<TopicRef<'a>>,
    ) -> impl Iterator<Item = (TopicId, &'a TopicLog)> {
        let named = self.names.after(name);
        named.filter_map(|id| Some((id, self.topic(id)?)))
    }

    /// Where a follower of the topic begins that asks for `from`, whether the topic exists or not.
    pub fn start(&self, topic: Option<TopicId>, from: SubFrom) -> Start {
        match topic.and_then(|id| self.topic(id)) {
            Some(topic) => topic.start(from),
            None => start_of_nothing(from),
        }
    }

    /// Shows durable messages after `offset`, oldest first, as long as `take` says so, and remembers
    /// that they were seen; see [`TopicLog::read`]. What stands on disk alone is asked for: who
    /// wants it reads again when it has been [loaded](Self::loaded).
    pub fn read(
        &mut self,
        id: TopicId,
        offset: Offset,
        take: impl FnMut(Offset, Option<&Entry>) -> bool,
    ) -> Option<Read> {
        let topic = self.topics.get_mut(id.0)?;
        let read = topic.read(offset, take);
        topic.mark_read(read.last);
        if let Some(run) = read.run {
            self.use_run(id, run);
        }
        if read.is_cold {
            self.warm.want(id, read.last);
        }
        Some(read)
    }

    /// What is known of a producer: the last durable number, or nothing.
    pub fn durable(&self, id: ProducerId) -> Option<Seq> {
        if planted::has(Bug::AckBeforeSync) {
            return self.appended(id);
        }
        self.producers.get(id).map(|producer| producer.durable)
    }

    /// The last number appended by a producer, durable or not.
    pub fn appended(&self, id: ProducerId) -> Option<Seq> {
        self.producers.get(id).map(|producer| producer.appended)
    }
}
