//! Publishing, and telling those whom it concerns.

use heartwire_log::{Append, AppendError, Appended, Committed, Lsn, Now, Place, ProducerId};
use heartwire_proto::Seq;

use super::HubState;

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

    pub(crate) fn append(&mut self, append: Append<'_>, now: Now) -> Result<Appended, AppendError> {
        self.log.append(append, now)
    }

    pub(crate) fn skip(&mut self, id: ProducerId, seq: Seq, now: Now) -> Result<(), AppendError> {
        self.log.skip(id, seq, now)
    }

    /// Everything appended up to `through` is durable: followers see it, publishers hear of it.
    pub fn commit(&mut self, through: Lsn) {
        let mut committed = std::mem::take(&mut self.committed);
        self.log.commit(through, &mut committed);
        self.tell(&committed);
        committed.clear();
        self.committed = committed;
    }

    /// Everything appended is durable: for a log in memory.
    pub fn commit_all(&mut self) {
        if self.log.pending().next().is_some() {
            self.commit(self.log.last_lsn());
        }
    }

    /// The append `from` and all later ones did not become durable. Their clients get a `nack` for
    /// the lowest `[PUB-10]`; whoever else waits for such an LSN is told by the driver.
    pub fn fail(&mut self, from: Lsn) {
        for (producer, seq) in self.log.fail(from) {
            let Some(key) = self.clients.get(&producer).copied() else {
                continue;
            };
            let lowest = self.failed.entry(key).or_insert(seq);
            *lowest = seq.min(*lowest);
            self.notify(producer);
        }
    }

    fn tell(&mut self, committed: &Committed) {
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
        for producer in &committed.producers {
            self.notify(*producer);
        }
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
