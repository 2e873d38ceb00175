//! Appending: a message gets its place.

use heartwire_proto::frame::{Durability, ServerFrame};
use heartwire_proto::id::TopicRef;
use heartwire_proto::planted::{self, Bug};
use heartwire_proto::{Epoch, Offset, Seq, Time};

use super::{Backing, Log};
use crate::Now;
use crate::append::{Append, AppendError, Appended, Lsn, Pending, Place, What};
use crate::entry::Entry;
use crate::producer::{Admission, ProducerId};
use crate::store::RECORD_OVERHEAD_BYTES_MAX;
use crate::topic::{TopicId, TopicLog, Trimmed};

/// What stays of the buffer that entries are encoded in, in bytes.
const SCRATCH_BYTES_MAX: usize = 64 * 1024;

impl Log {
    /// Gives a message its place. It is neither visible nor acknowledged before
    /// [`commit`](Self::commit).
    pub fn append(&mut self, append: Append<'_>, now: Now) -> Result<Appended, AppendError> {
        self.clock = self.clock.max(now.time);
        let appended_before = match self.admit(&append)? {
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
    /// acknowledged in its turn, after what was appended before it. It is refused where a message
    /// without payload would be.
    pub fn skip(&mut self, id: ProducerId, seq: Seq, now: Now) -> Result<(), AppendError> {
        self.clock = self.clock.max(now.time);
        let appended_before = match self.producers.admit(id, seq, 0, &self.config)? {
            Admission::New { appended_before } => appended_before,
            Admission::Repeated => return Ok(()),
        };
        self.check_queue(0)?;
        self.check_room(RECORD_OVERHEAD_BYTES_MAX)?;
        if appended_before.is_none() {
            self.producers.make_room(&self.config)?;
        }
        self.producers.appended(id, seq, 0, self.clock);
        self.push_pending(What::Skip, Some((id, seq)), appended_before, 0, 0);
        Ok(())
    }
}

/// Appending, step by step.
impl Log {
    fn admit(&mut self, append: &Append<'_>) -> Result<Admission, AppendError> {
        let Some((id, seq)) = append.producer else {
            return Ok(Admission::New {
                appended_before: None,
            });
        };
        let (producers, bytes) = (&self.producers, append.payload_bytes());
        let admission = producers.admit(id, seq, bytes, &self.config)?;
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
        self.check_queue(append.payload.len())?;
        if !self.is_on_disk() {
            return Ok(());
        }
        let name = append.topic.as_str().len();
        let from = append.from.map_or(0, |from| from.as_encoded().len());
        self.check_room(match self.durability(append.topic) {
            // Its producer's number, at the most.
            Durability::Memory => RECORD_OVERHEAD_BYTES_MAX,
            _ => append.payload.len() + name + from + RECORD_OVERHEAD_BYTES_MAX,
        })
    }

    /// Whether anything is accepted, and may wait to become durable.
    fn check_queue(&self, payload_bytes: usize) -> Result<(), AppendError> {
        if !self.accepting {
            return Err(AppendError::NotAccepting);
        }
        let pending_bytes = self.pending_bytes + payload_bytes;
        if self.pending.len() >= self.config.pending_max
            || pending_bytes > self.config.pending_bytes_max
        {
            return Err(AppendError::Congested);
        }
        Ok(())
    }

    /// Whether the disk has room for a record behind everything that waits to be written.
    fn check_room(&self, record_bytes: usize) -> Result<(), AppendError> {
        let Backing::Disk {
            room_bytes,
            is_full,
        } = self.backing
        else {
            return Ok(());
        };
        match self.waiting_bytes() + record_bytes as u64 > room_bytes {
            true if is_full => Err(AppendError::DiskFull),
            true => Err(AppendError::Congested),
            false => Ok(()),
        }
    }

    /// Whether a message that is written again has room: half of what there is stays for new ones.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        let Backing::Disk { room_bytes, .. } = self.backing else {
            return false;
        };
        let record = (bytes + RECORD_OVERHEAD_BYTES_MAX) as u64;
        self.waiting_bytes() + record <= room_bytes / 2
            && self.pending.len() < self.config.pending_max / 2
            && self.pending_bytes + bytes <= self.config.pending_bytes_max / 2
    }

    /// How much of the disk's room nothing waits for, in bytes; none without a disk.
    pub(super) fn room_left(&self) -> u64 {
        match self.backing {
            Backing::Disk { room_bytes, .. } => room_bytes.saturating_sub(self.waiting_bytes()),
            Backing::Memory => 0,
        }
    }

    /// What waits to be written takes so much of the disk at the most.
    fn waiting_bytes(&self) -> u64 {
        (self.pending_bytes + self.pending.len() * RECORD_OVERHEAD_BYTES_MAX) as u64
    }

    /// The topic with this name, created if need be.
    pub(super) fn topic_for(
        &mut self,
        name: TopicRef<'_>,
        now: Now,
    ) -> Result<TopicId, AppendError> {
        if let Some(id) = self.names.get(name, &self.topics) {
            return Ok(id);
        }
        if self.topics.len() >= self.config.topics_max {
            return Err(AppendError::Full { what: "topics" });
        }
        let on_disk = self.durability(name) != Durability::Memory;
        let epoch = Epoch::from_random(now.random);
        let topic = TopicLog::new(name.to_name(), epoch, on_disk, self.clock);
        Ok(self.add_topic(topic))
    }

    /// Lists a topic under its name, and when it has something to forget.
    pub(super) fn add_topic(&mut self, topic: TopicLog) -> TopicId {
        let (name, due) = (topic.name().clone(), topic.due);
        self.own_topics += usize::from(name.as_topic().is_reserved());
        let id = TopicId(self.topics.insert(topic));
        self.calendar.insert((due, id));
        self.names.insert(name, id, &self.topics);
        id
    }

    pub(super) fn place(
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
        let (bytes, payload_bytes) = (entry.memory_bytes(), append.payload_bytes());
        let (was_cold, on_disk) = (topic.is_cold(), topic.is_on_disk());
        let mut waits = on_disk || topic.in_flight > 0 || !self.is_on_disk();
        if let Some((producer, seq)) = append.producer {
            waits |= self.producers.is_in_flight(producer) && !planted::has(Bug::MemoryPassesDisk);
            self.producers
                .appended(producer, seq, payload_bytes, self.clock);
        }
        self.change(id, |topic, _| {
            topic.push(entry);
            topic.in_flight += u32::from(waits);
            if planted::has(Bug::DeliverBeforeSync) {
                topic.commit(offset, None);
            }
            Trimmed::default()
        });
        if was_cold {
            self.rearm(id);
        }
        let lsn = if waits {
            let what = What::Message {
                topic: id,
                offset,
                on_disk,
            };
            let before = appended_before;
            self.push_pending(what, append.producer, before, bytes, payload_bytes)
        } else {
            self.settle_at_once(id, offset, append.producer, payload_bytes);
            Lsn(0)
        };
        Place {
            lsn,
            topic: id,
            epoch,
            offset,
        }
    }

    pub(super) fn push_pending(
        &mut self,
        what: What,
        producer: Option<(ProducerId, Seq)>,
        appended_before: Option<Seq>,
        bytes: usize,
        payload_bytes: u32,
    ) -> Lsn {
        self.last_lsn = Lsn(self.last_lsn.0 + 1);
        self.pending_bytes += bytes;
        self.pending.push_back(Pending {
            lsn: self.last_lsn,
            what,
            producer,
            appended_before,
            bytes,
            payload_bytes,
            gets_place: false,
        });
        self.last_lsn
    }

    /// The topic has something to forget earlier than it had.
    pub(super) fn rearm(&mut self, id: TopicId) {
        if let Some(due) = self.next_due(id) {
            self.list_due(id, due);
        }
    }

    /// When a topic has something to forget.
    pub(super) fn next_due(&self, id: TopicId) -> Option<Time> {
        let topic = self.topics.get(id.0)?;
        let policy = self.config.policy(topic.name().as_topic());
        let appended_by = |place| self.segments.appended_by(place);
        Some(topic.next_due(policy, &self.config, appended_by))
    }

    /// The calendar lists the topic at this time, and at no other.
    pub(super) fn list_due(&mut self, id: TopicId, due: Time) {
        if let Some(topic) = self.topics.get_mut(id.0) {
            self.calendar.remove(&(topic.due, id));
            self.calendar.insert((due, id));
            topic.due = due;
        }
    }
}
