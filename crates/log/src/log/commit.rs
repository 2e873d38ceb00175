//! What becomes of appends: they are written, and then durable, or they have failed.

use std::collections::BTreeMap;

use heartwire_proto::planted::{self, Bug};
use heartwire_proto::{Offset, Seq};

use super::Log;
use crate::append::{Committed, Fate, Lsn, Pending, What};
use crate::entry::Entry;
use crate::producer::ProducerId;
use crate::store::{Batch, DiskPlace, Record};
use crate::topic::{TopicId, TopicLog, Trimmed};

impl Log {
    /// Everything up to `through` is durable: it becomes visible, and acknowledged. What has moved
    /// is added to `committed`. `places` says where the messages stand that were written, in the
    /// order of the [batch](Self::take_batch); a log in memory has none.
    pub fn commit(&mut self, through: Lsn, places: &[DiskPlace], committed: &mut Committed) {
        let mut places = places.iter().copied();
        while self.pending.front().is_some_and(|next| next.lsn <= through)
            && let Some(pending) = self.pending.pop_front()
        {
            self.taken = self.taken.saturating_sub(1);
            self.committed = pending.lsn;
            self.pending_bytes -= pending.bytes;
            if let Some((id, seq)) = pending.producer {
                self.producers.committed(id, seq, pending.payload_bytes);
                committed.producers.push(id);
            }
            let place = pending.gets_place.then(|| places.next()).flatten();
            match pending.what {
                What::Message { topic, offset, .. } => {
                    self.settle_message(topic, offset, place, committed);
                }
                What::Moved {
                    topic,
                    offset,
                    from,
                    ..
                } => {
                    self.moved();
                    self.settle_move(topic, offset, from, place);
                }
                What::Lost {
                    topic,
                    offset,
                    from,
                } => {
                    self.moved();
                    self.lose(topic, offset, from);
                }
                What::Skip | What::Kept { .. } => {}
            }
        }
        debug_assert_eq!(places.next(), None, "each place is that of a message");
        self.take_untold(committed);
        self.keep_within_bounds();
    }

    /// What has become durable without waiting for anything: messages of topics in memory, beside
    /// a disk. Adds it to `committed`.
    pub fn take_untold(&mut self, committed: &mut Committed) {
        committed.topics.append(&mut self.untold.topics);
        committed.born.append(&mut self.untold.born);
        committed.producers.append(&mut self.untold.producers);
        committed.settle();
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
                let (before, bytes) = (pending.appended_before, pending.payload_bytes);
                self.producers.undo(id, before, bytes);
                lowest.insert(id, seq);
            }
            match pending.what {
                What::Message { topic, .. } => self.undo_message(topic),
                What::Moved { .. } | What::Lost { .. } => self.moved(),
                What::Skip | What::Kept { .. } => {}
            }
        }
        self.taken = self.taken.min(self.pending.len());
        self.failed = (from, self.last_lsn);
        lowest
    }

    /// Copies into `batch`, which is empty, what a writer is to write next: appends in the order of
    /// their numbers, those left out that were taken before. Returns whether there was anything;
    /// the batch may hold no record all the same, and is then to be committed without writing.
    pub fn take_batch(&mut self, batch: &mut Batch) -> bool {
        let before = self.taken;
        while !batch.is_full()
            && let Some(pending) = self.pending.get(self.taken)
        {
            batch.through = pending.lsn;
            if let What::Kept { at, .. } = pending.what {
                batch.time = batch.time.max(at);
            }
            if let Some(record) = self.record(pending) {
                batch.bytes += pending.bytes;
                self.pending[self.taken].gets_place = record.is_message();
                batch.records.push(record);
            }
            self.taken += 1;
        }
        self.taken > before
    }

    /// Whether a writer has something to [take](Self::take_batch).
    pub fn has_batch(&self) -> bool {
        self.taken < self.pending.len()
    }

    /// What is written for it: nothing for a message that was to be moved, whose topic has been
    /// forgotten meanwhile.
    fn record(&self, pending: &Pending) -> Option<Record> {
        match &pending.what {
            What::Message {
                topic,
                offset,
                on_disk: true,
            } => {
                let held = self.topics.get(topic.0)?;
                Some(Record::Message {
                    topic: held.name().clone(),
                    origin: held.origin(),
                    offset: *offset,
                    entry: held.entry(*offset)?.clone(),
                    producer: pending.producer,
                })
            }
            What::Moved {
                topic,
                offset,
                entry,
                ..
            } => {
                let held = self.topics.get(topic.0)?;
                Some(Record::Moved {
                    topic: held.name().clone(),
                    origin: held.origin(),
                    offset: *offset,
                    entry: entry.clone(),
                })
            }
            What::Lost { topic, offset, .. } => {
                let held = self.topics.get(topic.0)?;
                Some(Record::Lost {
                    topic: held.name().clone(),
                    origin: held.origin(),
                    offset: *offset,
                })
            }
            What::Kept { topic, .. } => {
                let held = self.topics.get(topic.0)?;
                Some(Record::Epoch {
                    topic: held.name().clone(),
                    origin: held.origin(),
                    epoch: held.epoch(),
                })
            }
            What::Skip | What::Message { .. } => {
                let (producer, seq) = pending.producer?;
                Some(Record::Number { producer, seq })
            }
        }
    }

    /// What is not durable yet, in the order of LSNs.
    pub fn pending(&self) -> impl Iterator<Item = (&Pending, Option<&Entry>)> {
        self.pending.iter().map(|pending| {
            let entry = match &pending.what {
                What::Message { topic, offset, .. } => {
                    let topic = self.topics.get(topic.0);
                    topic.and_then(|topic| topic.entry(*offset))
                }
                What::Moved { entry, .. } => Some(entry),
                What::Skip | What::Lost { .. } | What::Kept { .. } => None,
            };
            (pending, entry)
        })
    }

    /// The LSN of the latest append; commit through it to make everything durable.
    pub const fn last_lsn(&self) -> Lsn {
        self.last_lsn
    }

    /// Everything up to here was committed.
    pub const fn committed(&self) -> Lsn {
        self.committed
    }

    /// What has become of an append.
    pub fn fate(&self, lsn: Lsn) -> Fate {
        let (failed_from, failed_through) = self.failed;
        if failed_from <= lsn && lsn <= failed_through && lsn > Lsn(0) {
            Fate::Failed
        } else if lsn <= self.committed {
            Fate::Durable
        } else {
            Fate::Pending
        }
    }

    /// A message of a topic in memory that nothing on disk has to come before.
    pub(super) fn settle_at_once(
        &mut self,
        id: TopicId,
        offset: Offset,
        producer: Option<(ProducerId, Seq)>,
        payload_bytes: u32,
    ) {
        let mut untold = std::mem::take(&mut self.untold);
        if let Some((producer, seq)) = producer {
            self.producers.committed(producer, seq, payload_bytes);
            untold.producers.push(producer);
        }
        self.move_end(id, offset, None, &mut untold);
        self.untold = untold;
        self.keep_within_bounds();
    }

    fn settle_message(
        &mut self,
        id: TopicId,
        offset: Offset,
        place: Option<DiskPlace>,
        committed: &mut Committed,
    ) {
        if let Some(topic) = self.topics.get_mut(id.0) {
            topic.in_flight -= 1;
        }
        self.move_end(id, offset, place, committed);
    }

    fn move_end(
        &mut self,
        id: TopicId,
        offset: Offset,
        place: Option<DiskPlace>,
        committed: &mut Committed,
    ) {
        self.stats.committed += 1;
        committed.note_topic(id);
        if offset == Offset(1) {
            committed.born.push(id);
        }
        if let Some(place) = place {
            self.index_len += 1;
            self.segments.hold(place, self.clock);
        }
        let retention = match self.topics.get(id.0) {
            Some(topic) => self.config.policy(topic.name().as_topic()).retention,
            None => return,
        };
        self.change(id, |topic, _| {
            topic.commit(offset, place);
            topic.trim(&retention)
        });
    }

    /// The message stands in its new place, unless it has been trimmed meanwhile.
    fn settle_move(
        &mut self,
        id: TopicId,
        offset: Offset,
        from: DiskPlace,
        place: Option<DiskPlace>,
    ) {
        let topic = self.topics.get_mut(id.0);
        let Some((topic, place)) = topic.zip(place) else {
            return;
        };
        if topic.place_of(offset) == Some(from) {
            if !planted::has(Bug::PlaceNotMoved) {
                topic.move_place(offset, place);
            }
            let appended = self.segments.appended_by(from);
            self.segments.hold(place, appended);
            self.segments.release(from);
        }
    }

    fn undo_message(&mut self, id: TopicId) {
        self.change(id, |topic, _| {
            topic.in_flight -= 1;
            topic.pop();
            Trimmed::default()
        });
        if self.topics.get(id.0).is_some_and(TopicLog::is_unborn) {
            self.forget(id);
        }
    }
}
