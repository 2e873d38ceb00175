//! Publishing, and telling those whom it concerns.

use heartwire_log::store::{Batch, DiskPlace, SegmentId};
use heartwire_log::{
    Append, AppendError, Appended, Committed, Load, Lsn, Now, Place, ProducerId, ReadBack, TopicId,
};
use heartwire_proto::Seq;

use super::HubState;
use crate::counts::Outcome;

/// How many messages a sweep looks at under the hub's lock once a second: about a millisecond.
const SWEEP_MESSAGES_MAX: usize = 1 << 18;
/// How many it looks at with whatever else is done, while it is under way: about 60 µs.
const SWEEP_ON_MESSAGES_MAX: usize = 1 << 14;

impl<H: Clone> HubState<H> {
    /// Appends a message that does not come from a client with numbers of its own: over HTTP, or
    /// from inside the process. It is stored once the log is committed through its place's LSN.
    pub fn publish(&mut self, append: Append<'_>, now: Now) -> Result<Place, AppendError> {
        let anonymous = Append {
            producer: None,
            ..append
        };
        match self.log.append(anonymous, now)? {
            Appended::Pending(place) => Ok(place),
            Appended::Repeated => unreachable!("only producers repeat themselves"),
        }
    }

    /// Appends what came over a WebSocket.
    pub(crate) fn append(&mut self, append: Append<'_>, now: Now) -> Result<Appended, AppendError> {
        let answer = self.log.append(append, now);
        self.counts.publishes.count_answer(&answer);
        answer
    }

    /// A publish was refused because its publisher may not.
    pub(crate) const fn note_forbidden(&mut self) {
        self.counts.publishes.count(Outcome::Forbidden);
    }

    pub(crate) fn skip(&mut self, id: ProducerId, seq: Seq, now: Now) -> Result<(), AppendError> {
        self.log.skip(id, seq, now)
    }

    /// Everything appended up to `through` is durable: followers see it, publishers hear of it.
    /// `places` says where the messages of the [batch](Self::take_batch) stand.
    pub fn commit(&mut self, through: Lsn, places: &[DiskPlace]) {
        let mut committed = std::mem::take(&mut self.committed);
        self.log.commit(through, places, &mut committed);
        self.tell(committed);
    }

    /// Everything that need not wait for a disk is stored: in a log in memory all that was
    /// appended, beside a disk what was appended to topics in memory.
    pub fn commit_memory(&mut self) {
        if !self.log.is_on_disk() {
            if self.log.has_batch() {
                self.commit(self.log.last_lsn(), &[]);
            }
            return;
        }
        let mut committed = std::mem::take(&mut self.committed);
        self.log.take_untold(&mut committed);
        self.tell(committed);
    }

    /// What a writer is to write next; see [`Log::take_batch`](heartwire_log::Log::take_batch).
    pub fn take_batch(&mut self, batch: &mut Batch) -> bool {
        self.log.take_batch(batch)
    }

    /// The writer has so much room; see [`Log::set_room`](heartwire_log::Log::set_room).
    pub fn set_room(&mut self, room_bytes: u64, is_full: bool) {
        self.log.set_room(room_bytes, is_full);
    }

    /// Moves the segments out in which no retained message stands any more.
    pub fn take_unused(&mut self, unused: &mut Vec<SegmentId>) {
        self.log.take_unused(unused);
    }

    /// Moves out what is to be read back from disk, for followers that are behind and for a sweep that is
    /// under way; each is answered with [`loaded`](Self::loaded). Call it after everything else.
    pub fn take_loads(&mut self, loads: &mut Vec<Load>) {
        let mut warm = Vec::new();
        self.log.take_loads(loads, &mut warm);
        self.log.go_on_sweeping(SWEEP_ON_MESSAGES_MAX, loads);
        for id in warm {
            self.wake_waiting(id);
        }
    }

    /// What was to be read back has been read: one message for each place of the load, `None` where
    /// the disk has lost it. Those who waited are woken.
    pub fn loaded(&mut self, load: &Load, messages: Vec<ReadBack>) {
        self.log.loaded(load, messages);
        self.wake_waiting(load.topic);
    }

    /// Begins to empty segments that hold few messages, or goes on with it; see
    /// [`Log::sweep`](heartwire_log::Log::sweep). Call it about once a second; in between,
    /// [`take_loads`](Self::take_loads) goes on.
    pub fn sweep(&mut self, segment_bytes: u64, loads: &mut Vec<Load>) {
        self.log.sweep(segment_bytes, SWEEP_MESSAGES_MAX, loads);
    }

    fn wake_waiting(&mut self, id: TopicId) {
        let number = self.by_log.get(id.index() as usize).copied();
        let Some(number) = number.filter(|number| *number != u32::MAX) else {
            return;
        };
        let topic = self.topics.at_mut(number);
        let waiting = topic.map(|topic| std::mem::take(&mut topic.waiting));
        for index in waiting.into_iter().flatten() {
            let Some(record) = self.records.at_mut(index) else {
                continue;
            };
            if let Some(follow) = record.follows.get_mut(number) {
                follow.waits = false;
            }
            if record.follows.mark(number) {
                record.wake(&mut self.wakes);
            }
        }
    }

    /// The append `from` and all later ones did not become durable. Their clients get a `nack` for
    /// the lowest `[PUB-10]`; whoever else waits for such an LSN is told by the driver.
    pub fn fail(&mut self, from: Lsn) {
        for (producer, seq) in self.log.fail(from) {
            self.counts.publishes.count(Outcome::Failed);
            let Some(key) = self.clients.get(&producer).copied() else {
                continue;
            };
            let lowest = self.failed.entry(key).or_insert(seq);
            *lowest = seq.min(*lowest);
            self.notify(producer);
        }
    }

    /// The disk has failed: nothing that is not durable becomes so.
    pub fn fail_all(&mut self) {
        let first = self.log.pending().next().map(|(pending, _)| pending.lsn);
        if let Some(first) = first {
            self.fail(first);
        }
    }

    fn tell(&mut self, mut committed: Committed) {
        for id in &committed.born {
            let name = self.log.topic(*id).map(|topic| topic.name());
            let number = name.and_then(|name| self.names.get(name)).copied();
            if let Some(number) = number {
                self.link(*id, number);
                if let Some(topic) = self.topics.at_mut(number) {
                    topic.id = Some(*id);
                }
            }
        }
        for id in &committed.topics {
            let number = self.by_log.get(id.index() as usize).copied();
            if let Some(number) = number.filter(|number| *number != u32::MAX) {
                self.mark_followers(number);
            }
        }
        for watch in &mut self.watches {
            watch.note(&committed.topics, &self.log, &mut self.wakes);
        }
        for producer in &committed.producers {
            self.notify(*producer);
        }
        committed.clear();
        self.committed = committed;
    }

    fn mark_followers(&mut self, number: u32) {
        let Some(topic) = self.topics.at(number) else {
            return;
        };
        for index in &topic.followers {
            let Some(record) = self.records.at_mut(*index) else {
                continue;
            };
            if record.follows.mark(number) {
                record.wake(&mut self.wakes);
            }
        }
    }

    /// Wakes the connection of a producer whose publishes have become durable, or failed.
    fn notify(&mut self, producer: ProducerId) {
        let key = self.clients.get(&producer);
        if let Some(record) = key.and_then(|key| self.records.get_mut(key.0)) {
            record.noticed = true;
            record.wake(&mut self.wakes);
        }
    }
}
