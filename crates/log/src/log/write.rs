//! Appending, and what becomes of it.

use std::collections::BTreeMap;

use heartwire_proto::frame::ServerFrame;
use heartwire_proto::id::TopicRef;
use heartwire_proto::{Epoch, Offset, Seq};

use super::Log;
use crate::Now;
use crate::append::{Append, AppendError, Appended, Committed, Lsn, Pending, Place};
use crate::entry::Entry;
use crate::producer::{Admission, ProducerId};
use crate::topic::{TopicId, TopicLog, Trimmed};

/// What stays of the buffer that entries are encoded in, in bytes.
const SCRATCH_BYTES_MAX: usize = 64 * 1024;

impl Log {
    /// Gives a message its place. It is neither visible nor acknowledged before
    /// [`commit`](Self::commit).
    pub fn append(&mut self, append: Append<'_>, now: Now) -> Result<Appended, AppendError> {
        self.clock = self.clock.max(now.time);
        let appended_before = match self.admit(append.producer)? {
            Admission::New { appended_before } => appended_before,
            Admission::Repeated => return Ok(Appended::Repeated),
        };
        self.check(&append)?;
        if append.producer.is_some() && appended_before.is_none() {
            self.producers.make_room(&self.config)?;
        }
        let topic = self.topic_for(append.topic, now)?;
        Ok(Appended::Pending(self.place(
            append,
            topic,
            appended_before,
            now,
        )))
    }

    /// Gives up a refused number: the producer's *appended* moves to it `[PUB-7]`. It is
    /// acknowledged in its turn, after what was appended before it.
    pub fn skip(&mut self, id: ProducerId, seq: Seq, now: Now) -> Result<(), AppendError> {
        self.clock = self.clock.max(now.time);
        let appended_before = match self.producers.admit(id, seq, self.config.window)? {
            Admission::New { appended_before } => appended_before,
            Admission::Repeated => return Ok(()),
        };
        if appended_before.is_none() {
            self.producers.make_room(&self.config)?;
        }
        self.producers.appended(id, seq, self.clock);
        self.push_pending(None, Some((id, seq)), appended_before, 0);
        Ok(())
    }

    /// Everything up to `through` is durable: it becomes visible, and acknowledged. What has moved
    /// is added to `committed`.
    pub fn commit(&mut self, through: Lsn, committed: &mut Committed) {
        while self.pending.front().is_some_and(|next| next.lsn <= through)
            && let Some(pending) = self.pending.pop_front()
        {
            self.committed = pending.lsn;
            self.pending_bytes -= pending.bytes;
            if let Some((id, seq)) = pending.producer {
                self.producers.committed(id, seq);
                committed.producers.push(id);
            }
            if let Some((id, offset)) = pending.message {
                self.stats.committed += 1;
                committed.topics.push(id);
                if offset == Offset(1) {
                    committed.born.push(id);
                }
                let retention = self.config.retention;
                self.change(id, |topic| {
                    topic.commit(offset);
                    topic.trim(&retention)
                });
            }
        }
        committed.settle();
        self.keep_within_hot_bytes();
    }

    /// The append `from` and all later ones did not become durable: they are undone. Returns the
    /// lowest number of each producer that failed, which its `nack` names `[PUB-10]`.
    pub fn fail(&mut self, from: Lsn) -> BTreeMap<ProducerId, Seq> {
        let mut lowest = BTreeMap::new();
        while self.pending.back().is_some_and(|last| last.lsn >= from)
            && let Some(pending) = self.pending.pop_back()
        {
            self.pending_bytes -= pending.bytes;
            if let Some((id, seq)) = pending.producer {
                self.producers.undo(id, pending.appended_before);
                lowest.insert(id, seq);
            }
            if let Some((id, _)) = pending.message {
                self.change(id, |topic| {
                    topic.pop();
                    Trimmed::default()
                });
                if self.topics.get(id.0).is_some_and(TopicLog::is_unborn) {
                    self.forget(id);
                }
            }
        }
        lowest
    }

    /// What is not durable yet, in the order of LSNs: what a writer has to write.
    pub fn pending(&self) -> impl Iterator<Item = (&Pending, Option<&Entry>)> {
        self.pending.iter().map(|pending| {
            let entry = pending
                .message
                .and_then(|(id, offset)| self.topics.get(id.0)?.entry(offset));
            (pending, entry)
        })
    }

    /// The LSN of the latest append; commit through it to make everything durable.
    pub const fn last_lsn(&self) -> Lsn {
        self.last_lsn
    }

    /// Whether an append that did not fail is durable.
    pub fn is_committed(&self, lsn: Lsn) -> bool {
        lsn <= self.committed
    }
}

/// Appending, step by step.
impl Log {
    fn admit(&mut self, producer: Option<(ProducerId, Seq)>) -> Result<Admission, AppendError> {
        let Some((id, seq)) = producer else {
            return Ok(Admission::New {
                appended_before: None,
            });
        };
        let admission = self.producers.admit(id, seq, self.config.window)?;
        self.stats.repeated += u64::from(admission == Admission::Repeated);
        Ok(admission)
    }

    fn check(&self, append: &Append<'_>) -> Result<(), AppendError> {
        if append.topic.is_reserved() {
            return Err(AppendError::Reserved);
        }
        let bytes_max = self.config.message_bytes_max;
        if append.payload.len() > bytes_max {
            return Err(AppendError::TooLarge { bytes_max });
        }
        if !self.accepting {
            return Err(AppendError::NotAccepting);
        }
        let pending_bytes = self.pending_bytes + append.payload.len();
        if self.pending.len() >= self.config.pending_max
            || pending_bytes > self.config.pending_bytes_max
        {
            return Err(AppendError::Congested);
        }
        Ok(())
    }

    /// The topic with this name, created if need be.
    fn topic_for(&mut self, name: TopicRef<'_>, now: Now) -> Result<TopicId, AppendError> {
        if let Some(id) = self.names.get(name.as_str()) {
            return Ok(*id);
        }
        if self.topics.len() >= self.config.topics_max {
            return Err(AppendError::Full { what: "topics" });
        }
        let name = name.to_name();
        let epoch = Epoch::from_random(now.random);
        let topic = TopicLog::new(name.clone(), epoch, self.clock);
        let due = topic.due;
        let id = TopicId(self.topics.insert(topic));
        self.calendar.insert((due, id));
        self.names.insert(name, id);
        Ok(id)
    }

    fn place(
        &mut self,
        append: Append<'_>,
        id: TopicId,
        appended_before: Option<Seq>,
        now: Now,
    ) -> Place {
        let topic = self
            .topics
            .get_mut(id.0)
            .expect("the topic was just looked up, or created");
        let offset = topic.next_offset();
        let epoch = topic.epoch();
        let frame = ServerFrame::Msg {
            topic: append.topic,
            offset,
            prev: Offset(offset.0 - 1),
            time: now.wall,
            from: append.from,
            payload: append.payload,
        };
        let entry = Entry::encode(&frame, self.clock, &mut self.scratch);
        self.scratch.shrink_to(SCRATCH_BYTES_MAX);
        let bytes = entry.memory_bytes();
        let was_empty = topic.is_empty();
        self.change(id, |topic| {
            topic.push(entry);
            Trimmed::default()
        });
        if was_empty {
            self.rearm(id);
        }
        if let Some((producer, seq)) = append.producer {
            self.producers.appended(producer, seq, self.clock);
        }
        let lsn = self.push_pending(Some((id, offset)), append.producer, appended_before, bytes);
        Place {
            lsn,
            topic: id,
            epoch,
            offset,
        }
    }

    fn push_pending(
        &mut self,
        message: Option<(TopicId, Offset)>,
        producer: Option<(ProducerId, Seq)>,
        appended_before: Option<Seq>,
        bytes: usize,
    ) -> Lsn {
        self.last_lsn = Lsn(self.last_lsn.0 + 1);
        self.pending_bytes += bytes;
        self.pending.push_back(Pending {
            lsn: self.last_lsn,
            message,
            producer,
            appended_before,
            bytes,
        });
        self.last_lsn
    }

    /// The topic's first message is due earlier than the empty topic was.
    fn rearm(&mut self, id: TopicId) {
        let Some(topic) = self.topics.get_mut(id.0) else {
            return;
        };
        let due = topic.next_due(&self.config);
        self.calendar.remove(&(topic.due, id));
        topic.due = due;
        self.calendar.insert((due, id));
    }
}
