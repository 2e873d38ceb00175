//! Reading back what stands on disk alone, for those who are behind.
//!
//! ```text
//!   read ──► cold ──► wanted ──► take_loads ──► Load ──► (the driver reads it) ──► loaded ──► warm
//!              ▲                                                                               │
//!              └────────── dropped, used longest ago first, when others need the room ◄────────┘
//! ```
//!
//! The log itself reads nothing: the driver takes what is wanted, reads it beside everything else,
//! and brings it.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use heartwire_disk::Disk;
use heartwire_proto::planted::{self, Bug};
use heartwire_proto::{Epoch, Offset, Time, TopicName};

use super::Log;
use crate::store::{DiskPlace, ReadError, SegmentReader};
use crate::topic::{ReadBack, TopicId, TopicLog, WarmRun};

/// For how long a run is kept in which a message could not be read: another time it may be read.
const DOUBTED_FOR: Duration = Duration::from_secs(60);
/// How many such runs are kept.
const DOUBTED_MAX: usize = 1_024;

/// Neighbouring messages of a topic that somebody waits for, and where they stand.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Load {
    /// The topic.
    pub topic: TopicId,
    /// Its name.
    pub name: TopicName,
    /// The epoch in which it was born, as its records have it.
    pub origin: Epoch,
    /// The first message is the one after it.
    pub after: Offset,
    /// Where the messages stand, in order.
    pub places: Vec<DiskPlace>,
    pub(super) purpose: Purpose,
}

impl Load {
    /// Reads the messages for [`Log::loaded`]: one for each place, `None` where the disk has lost it, up
    /// to where the system refuses to read, which loses nothing. What the device does not give back is
    /// lost to whoever waits for it, and stays where it is. `report` is told at which offset what was
    /// met.
    pub fn read<D: Disk>(
        &self,
        reader: &SegmentReader<D>,
        mut report: impl FnMut(Offset, ReadError),
    ) -> Vec<ReadBack> {
        let mut messages: Vec<ReadBack> = Vec::with_capacity(self.places.len());
        while messages.len() < self.places.len() {
            let rest = &self.places[messages.len()..];
            if rest[0].is_lost() {
                messages.push(None);
                continue;
            }
            let whole = rest.iter().position(DiskPlace::is_lost);
            let places = &rest[..whole.unwrap_or(rest.len())];
            let offset = |read: usize| Offset(self.after.0 + read as u64 + 1);
            let mut entries = Vec::with_capacity(places.len());
            let first = offset(messages.len());
            let outcome = reader.read(&self.name, self.origin, first, places, &mut entries);
            messages.extend(entries.into_iter().map(Some));
            if let Err(error) = outcome {
                let is_refused =
                    self.is_refused(&error) && !planted::has(Bug::RefusedReadTakenForLoss);
                report(offset(messages.len()), error);
                if is_refused {
                    break;
                }
                messages.push(None);
            }
        }
        messages
    }

    /// Whether followers wait for it. Otherwise its segment is being emptied.
    pub fn is_waited_for(&self) -> bool {
        self.purpose == Purpose::Follow
    }

    /// Whether an error leaves open what stands there.
    fn is_refused(&self, error: &ReadError) -> bool {
        match error {
            ReadError::File(_) => true,
            // A follower cannot wait for ever. A segment can, and is not given up for it.
            ReadError::Unreadable(_) => self.purpose == Purpose::Move,
            ReadError::Gone { .. } | ReadError::Damaged(_) => false,
        }
    }
}

/// What becomes of messages that are read.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Purpose {
    /// Followers wait for them.
    Follow,
    /// They are written again, so that their segment can go.
    Move,
}

/// What was read back, and what is on its way.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Warm {
    bytes: usize,
    uses: u64,
    /// All runs, the one used longest ago first.
    order: BTreeSet<(u64, TopicId, Offset)>,
    /// Those in which a message could not be read, and until when they are kept, the oldest first.
    doubted: VecDeque<(Time, TopicId, Offset)>,
    /// What followers wait for that nobody reads yet: by topic, after this offset.
    wanted: BTreeSet<(TopicId, Offset)>,
    /// What the driver is reading.
    loading: BTreeSet<(TopicId, Offset)>,
}

impl Warm {
    pub(crate) fn want(&mut self, topic: TopicId, after: Offset) {
        if !self.loading.contains(&(topic, after)) {
            self.wanted.insert((topic, after));
        }
    }

    fn next_use(&mut self) -> u64 {
        self.uses += 1;
        self.uses
    }
}

impl Log {
    /// What those take that were read back for followers, in bytes: no more than
    /// [`warm_bytes_max`](crate::LogConfig::warm_bytes_max), unless one read alone has more.
    pub const fn warm_bytes(&self) -> usize {
        self.warm.bytes
    }

    /// Moves out what is to be read back: the driver answers each with [`loaded`](Self::loaded). No
    /// more than [`loads_max`](crate::LogConfig::loads_max) are on their way at a time. Topics for
    /// which somebody waits although nothing is cold any more are added to `warm`.
    pub fn take_loads(&mut self, loads: &mut Vec<Load>, warm: &mut Vec<TopicId>) {
        while self.warm.loading.len() < self.config.loads_max
            && let Some((topic, after)) = self.warm.wanted.pop_first()
        {
            match self.load(topic, after) {
                // Several may wait for what is the same since retention has passed them.
                Some(load) => {
                    if self.warm.loading.insert((topic, load.after)) {
                        loads.push(load);
                    }
                }
                None => warm.push(topic),
            }
        }
    }

    /// Nothing if the topic, or the message, is not cold any more.
    fn load(&self, id: TopicId, after: Offset) -> Option<Load> {
        let topic = self.topics.get(id.0)?;
        let after = after.max(topic.base());
        let load = self.load_of(id, topic, after, topic.cold_places(after), Purpose::Follow);
        (!load.places.is_empty()).then_some(load)
    }

    /// As many of the messages at these places as are read at once.
    pub(super) fn load_of(
        &self,
        id: TopicId,
        topic: &TopicLog,
        after: Offset,
        places: impl Iterator<Item = DiskPlace>,
        purpose: Purpose,
    ) -> Load {
        let mut bytes = 0;
        let fits = |place: &DiskPlace| {
            let fits = bytes < self.config.load_bytes_max;
            bytes += place.bytes as usize;
            fits
        };
        let places = places.take(self.config.load_messages_max);
        Load {
            topic: id,
            name: topic.name().clone(),
            origin: topic.origin(),
            after,
            places: places.take_while(fits).collect(),
            purpose,
        }
    }

    /// The driver has read what it [took](Self::take_loads): one message for each place, `None`
    /// where the disk has lost it; fewer when the rest could not be read now, and is asked for again.
    pub fn loaded(&mut self, load: &Load, messages: Vec<ReadBack>) {
        self.trim_read(load, &messages);
        if load.purpose == Purpose::Move {
            return self.move_read(load, messages);
        }
        self.warm.loading.remove(&(load.topic, load.after));
        let used = self.warm.next_use();
        let topic = self.topics.get_mut(load.topic.0);
        let Some(topic) = topic.filter(|topic| topic.is_on_disk()) else {
            return;
        };
        let messages = without_moved(topic, load, messages);
        if messages.is_empty() {
            return;
        }
        let bytes = messages.iter().flatten();
        let bytes = bytes.map(crate::Entry::memory_bytes).sum();
        let is_doubted = messages.iter().any(Option::is_none);
        let run = WarmRun {
            messages,
            bytes,
            used,
        };
        let replaced = topic.keep_run(load.after, run);
        self.warm.order.insert((used, load.topic, load.after));
        self.warm.bytes += bytes;
        if let Some(replaced) = replaced {
            self.forget_run(&replaced, load.topic, load.after);
        }
        if is_doubted {
            self.doubt(load.topic, load.after);
        }
        self.keep_within_warm_bytes();
        // How old they are is known more exactly now.
        self.rearm(load.topic);
    }

    /// On disk a segment is as old as its newest message. Whoever reads a message knows better how old
    /// it is: what has outlived its topic's retention is given to nobody, and not kept any longer.
    fn trim_read(&mut self, load: &Load, messages: &[ReadBack]) {
        let age_max = self.config.policy(load.name.as_topic()).retention.age_max;
        let is_over = |message: &ReadBack| {
            let entry = message.as_ref();
            entry.is_some_and(|entry| entry.at() + age_max <= self.clock)
        };
        if let Some(last) = messages.iter().rposition(is_over) {
            let last = Offset(load.after.0 + last as u64 + 1);
            self.change(load.topic, |topic, _| topic.trim_through(last));
            self.rearm(load.topic);
        }
    }

    fn doubt(&mut self, id: TopicId, before: Offset) {
        let until = self.clock + DOUBTED_FOR;
        self.warm.doubted.push_back((until, id, before));
        self.drop_doubted();
    }

    /// Lets go of what could not be read a while ago.
    pub(super) fn drop_doubted(&mut self) {
        while let Some((until, id, before)) = self.warm.doubted.front().copied()
            && (until <= self.clock || self.warm.doubted.len() > DOUBTED_MAX)
        {
            self.warm.doubted.pop_front();
            self.drop_run(id, before);
        }
    }

    fn drop_run(&mut self, id: TopicId, before: Offset) {
        let topic = self.topics.get_mut(id.0);
        if let Some(run) = topic.and_then(|topic| topic.drop_run(before)) {
            self.forget_run(&run, id, before);
        }
    }

    /// Somebody has read from a run.
    pub(super) fn use_run(&mut self, id: TopicId, before: Offset) {
        let used = self.warm.next_use();
        let Some(topic) = self.topics.get_mut(id.0) else {
            return;
        };
        if let Some(run) = topic.run_mut(before) {
            self.warm.order.remove(&(run.used, id, before));
            run.used = used;
            self.warm.order.insert((used, id, before));
        }
    }

    /// The newest run stays whatever its size: somebody waits for it.
    fn keep_within_warm_bytes(&mut self) {
        while self.warm.bytes > self.config.warm_bytes_max && self.warm.order.len() > 1 {
            let Some((_, id, before)) = self.warm.order.first().copied() else {
                return;
            };
            let topic = self.topics.get_mut(id.0);
            match topic.and_then(|topic| topic.drop_run(before)) {
                Some(run) => self.forget_run(&run, id, before),
                None => drop(self.warm.order.pop_first()),
            }
        }
    }

    pub(super) fn forget_run(&mut self, run: &WarmRun, id: TopicId, before: Offset) {
        self.warm.order.remove(&(run.used, id, before));
        self.warm.bytes -= run.bytes;
    }
}

/// What was read, up to a message that was not where it had been: moved while it was being read, and
/// its old segment gone. It is lost to nobody, and asked for again at its new place.
fn without_moved(topic: &TopicLog, load: &Load, mut messages: Vec<ReadBack>) -> Vec<ReadBack> {
    let offsets = (load.after.0 + 1..).map(Offset);
    let mut read = messages.iter().zip(offsets.zip(&load.places));
    let moved = read.position(|(message, (offset, place))| {
        message.is_none() && topic.place_of(offset) != Some(*place)
    });
    messages.truncate(moved.unwrap_or(messages.len()));
    messages
}
