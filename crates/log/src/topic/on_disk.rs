//! What a topic on disk has beside its newest messages: where all of them stand, and those that
//! were read back for somebody who is behind.
//!
//! ```text
//!     base+1 ……………………………… hot │ hot+1 ……… end │ appended, not yet durable
//!     on disk alone              │ in memory too  │ in memory
//!         └ warm runs: read back, and dropped again when others need the room
//! ```

use std::collections::BTreeMap;

use heartwire_proto::{Offset, Time};

use crate::entry::Entry;
use crate::store::{DiskPlace, Places};

/// A message that was read back; `None` where the disk has lost it.
pub type ReadBack = Option<Entry>;

/// The part of a topic that stands on disk.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct OnDisk {
    /// Where the messages stand, oldest retained first: one for each durable message.
    places: Places,
    /// By the offset before their first message. Runs that were asked for from different places may
    /// hold the same messages.
    warm: BTreeMap<Offset, WarmRun>,
}

/// Neighbouring messages that were read back.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct WarmRun {
    pub(crate) messages: Vec<ReadBack>,
    pub(crate) bytes: usize,
    /// When it was last read, as a count of uses: what was used longest ago goes first.
    pub(crate) used: u64,
}

impl OnDisk {
    pub(crate) fn new(places: Places) -> Self {
        Self {
            places,
            warm: BTreeMap::new(),
        }
    }

    pub(crate) const fn bytes(&self) -> u64 {
        self.places.bytes()
    }

    /// How many messages damage took before the first that is there, and its place; nothing without any.
    pub(crate) fn oldest(&self) -> Option<(usize, Option<DiskPlace>)> {
        let first = self.places.front()?;
        if !first.is_lost() {
            return Some((0, Some(first)));
        }
        let mut places = self.places.iter_from(0).enumerate();
        let there = places.find(|(_, place)| !place.is_lost());
        Some(there.map_or((0, None), |(lost, place)| (lost, Some(place))))
    }

    pub(crate) fn push(&mut self, place: DiskPlace) {
        self.places.push_back(place);
    }

    /// Takes the oldest place off; it was that of the message after `base`.
    pub(crate) fn pop(&mut self) -> Option<DiskPlace> {
        self.places.pop_front()
    }

    /// The places of the messages after `offset`, where `base` is the last one trimmed.
    pub(crate) fn places_after(
        &self,
        base: Offset,
        offset: Offset,
    ) -> impl Iterator<Item = DiskPlace> {
        let first = offset.0.saturating_sub(base.0) as usize;
        self.places.iter_from(first)
    }

    /// The message at `offset` stands somewhere else.
    pub(crate) fn replace(&mut self, base: Offset, offset: Offset, place: DiskPlace) {
        if let Some(index) = offset.0.checked_sub(base.0 + 1) {
            self.places.replace(index as usize, place);
        }
    }

    /// The run that holds the message after `offset`, with that message's index in it.
    pub(crate) fn run_after(&self, offset: Offset) -> Option<(Offset, &WarmRun, usize)> {
        let (before, run) = self.warm.range(..=offset).next_back()?;
        let index = (offset.0 - before.0) as usize;
        (index < run.messages.len()).then_some((*before, run, index))
    }

    /// Whether a run begins between `offset` and `end`: the offset before its first message.
    pub(crate) fn next_run(&self, offset: Offset) -> Option<Offset> {
        self.warm.range(offset..).next().map(|(before, _)| *before)
    }

    /// When the first message behind `base` was appended of those that were read back.
    pub(crate) fn first_read_at(&self, base: Offset) -> Option<Time> {
        let mut runs = self.warm.iter();
        runs.find_map(|(before, run)| {
            let trimmed = base.0.saturating_sub(before.0) as usize;
            let mut messages = run.messages.iter().skip(trimmed).flatten();
            messages.next().map(Entry::at)
        })
    }

    /// The last message that was read back and was appended early enough. Those before it were as well.
    pub(crate) fn last_read(&self, is_early: impl Fn(Time) -> bool) -> Option<Offset> {
        let is_early = |entry: &Entry| is_early(entry.at());
        let begins_early = |run: &WarmRun| {
            let first = run.messages.iter().flatten().next();
            first.is_some_and(is_early)
        };
        let early = self.warm.iter().filter(|(_, run)| begins_early(run));
        let last = early.filter_map(|(before, run)| {
            let mut messages = run.messages.iter();
            let last = messages.rposition(|message| message.as_ref().is_some_and(is_early))?;
            Some(Offset(before.0 + last as u64 + 1))
        });
        last.max()
    }

    pub(crate) fn run_mut(&mut self, before: Offset) -> Option<&mut WarmRun> {
        self.warm.get_mut(&before)
    }

    pub(crate) fn insert_run(&mut self, before: Offset, run: WarmRun) -> Option<WarmRun> {
        self.warm.insert(before, run)
    }

    /// Everything: the places, and what was read back.
    pub(crate) fn into_parts(self) -> (Places, impl Iterator<Item = (Offset, WarmRun)>) {
        (self.places, self.warm.into_iter())
    }

    pub(crate) fn remove_run(&mut self, before: Offset) -> Option<WarmRun> {
        self.warm.remove(&before)
    }
}
