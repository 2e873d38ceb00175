//! Where the messages of a topic stand, for as long as they are retained.
//!
//! ```text
//!     oldest                                              newest
//!   │ in the indexes that were read at the start │ noted since │
//!        │  └ a run of one segment │ a run of the next …
//!        └ shared memory: it goes with the last message of its segment that any topic retains
//! ```
//!
//! What a disk held is not copied: a log of many millions of messages opens without touching each.

use std::collections::VecDeque;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use super::batch::{DiskPlace, SegmentId};
use super::view::{PLACE_BYTES, unpack};

/// One place for each of many messages that follow each other, oldest first.
#[derive(Clone, Default)]
pub struct Places {
    /// The oldest, as the indexes of their segments have them. None of the runs is empty.
    indexed: VecDeque<IndexedRun>,
    indexed_len: usize,
    noted: VecDeque<DiskPlace>,
    /// How much of the disk all of them take.
    bytes: u64,
}

/// An index file in memory. The outer count is of one [share](super::share) of the topics: threads
/// that make runs at the same time do not count in the same memory.
pub(super) type SharedIndex = Arc<Arc<Vec<u8>>>;

/// Messages of one segment.
#[derive(Clone)]
pub(super) struct IndexedRun {
    pub(super) segment: SegmentId,
    pub(super) index: SharedIndex,
    /// Where in it position and length of each message begin, in bytes.
    pub(super) at: u32,
    /// How many messages there are.
    pub(super) len: u32,
    /// How much of the disk they take.
    pub(super) bytes: u32,
}

impl IndexedRun {
    const fn len(&self) -> usize {
        self.len as usize
    }

    fn iter_from(&self, index: usize) -> impl Iterator<Item = DiskPlace> + Clone {
        let at = self.at as usize;
        let (packed, _) = self.index[at..at + self.len() * PLACE_BYTES].as_chunks();
        let segment = self.segment;
        let packed = packed.get(index..).unwrap_or_default().iter();
        packed.map(move |packed| {
            let (position, bytes) = unpack(*packed);
            DiskPlace {
                segment,
                position,
                bytes,
            }
        })
    }

    fn pop_front(&mut self) -> Option<DiskPlace> {
        let front = self.iter_from(0).next()?;
        self.at += PLACE_BYTES as u32;
        self.len -= 1;
        self.bytes -= front.bytes;
        Some(front)
    }
}

impl Places {
    pub(super) fn indexed(runs: impl Iterator<Item = IndexedRun>) -> Self {
        let indexed: VecDeque<IndexedRun> = runs.filter(|run| run.len() > 0).collect();
        Self {
            indexed_len: indexed.iter().map(IndexedRun::len).sum(),
            bytes: indexed.iter().map(|run| u64::from(run.bytes)).sum(),
            indexed,
            noted: VecDeque::new(),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.indexed_len + self.noted.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How much of the disk all of them take, in bytes.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// All of them, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = DiskPlace> + Clone {
        self.iter_from(0)
    }

    /// A copy of all of them, oldest first.
    pub fn to_vec(&self) -> Vec<DiskPlace> {
        self.iter().collect()
    }

    /// Those from the one at `index` on.
    pub(crate) fn iter_from(&self, index: usize) -> impl Iterator<Item = DiskPlace> + Clone {
        let (mut first, mut skipped) = (0, index.min(self.indexed_len));
        while let Some(run) = self.indexed.get(first)
            && run.len() <= skipped
        {
            (first, skipped) = (first + 1, skipped - run.len());
        }
        let mut runs = self.indexed.range(first..);
        let begun = runs.next().map(|run| run.iter_from(skipped));
        let indexed = runs.flat_map(|run| run.iter_from(0));
        let skipped = index.saturating_sub(self.indexed_len).min(self.noted.len());
        let noted = self.noted.range(skipped..).copied();
        begun.into_iter().flatten().chain(indexed).chain(noted)
    }

    /// The oldest.
    pub(crate) fn front(&self) -> Option<DiskPlace> {
        match self.indexed.front() {
            Some(run) => run.iter_from(0).next(),
            None => self.noted.front().copied(),
        }
    }

    /// How many messages stand together in a segment, and how much of it they take, in bytes, from
    /// the oldest on. A segment may come more than once.
    pub(crate) fn by_segment(&self) -> impl Iterator<Item = (SegmentId, u64, u64)> {
        let indexed = self.indexed.iter();
        let indexed = indexed.map(|run| (run.segment, u64::from(run.len), u64::from(run.bytes)));
        let noted = self.noted.iter().filter(|place| !place.is_lost());
        indexed.chain(noted.map(|place| (place.segment, 1, u64::from(place.bytes))))
    }

    /// Adds the newest.
    pub(crate) fn push_back(&mut self, place: DiskPlace) {
        self.bytes += u64::from(place.bytes);
        self.noted.push_back(place);
    }

    /// Takes the oldest off.
    pub(crate) fn pop_front(&mut self) -> Option<DiskPlace> {
        let place = match self.indexed.front_mut() {
            Some(run) => {
                let place = run.pop_front();
                let is_over = run.len == 0;
                self.indexed_len -= 1;
                if is_over {
                    self.indexed.pop_front();
                }
                place
            }
            None => self.noted.pop_front(),
        };
        self.bytes -= place.map_or(0, |place| u64::from(place.bytes));
        self.release_memory();
        place
    }

    /// Puts another in place of the one at `index`, if that is there.
    pub(crate) fn replace(&mut self, index: usize, place: DiskPlace) {
        if index < self.indexed_len {
            self.note_all();
        }
        if let Some(held) = self.noted.get_mut(index - self.indexed_len) {
            self.bytes = self.bytes - u64::from(held.bytes) + u64::from(place.bytes);
            *held = place;
        }
    }

    /// Copies what is read from indexes otherwise: there nothing can be changed.
    fn note_all(&mut self) {
        self.noted = self.iter().collect();
        self.indexed.clear();
        self.indexed_len = 0;
    }

    /// Gives back what a burst made the queue grow to.
    fn release_memory(&mut self) {
        if self.noted.capacity() > 64 && self.noted.len() < self.noted.capacity() / 4 {
            self.noted.shrink_to(self.noted.len() * 2);
        }
    }
}

impl Extend<DiskPlace> for Places {
    fn extend<T: IntoIterator<Item = DiskPlace>>(&mut self, places: T) {
        places.into_iter().for_each(|place| self.push_back(place));
    }
}

impl FromIterator<DiskPlace> for Places {
    fn from_iter<T: IntoIterator<Item = DiskPlace>>(places: T) -> Self {
        let mut collected = Self::default();
        collected.extend(places);
        collected
    }
}

impl std::fmt::Debug for Places {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Places are the same wherever they are read from.
impl PartialEq for Places {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl Eq for Places {}

impl Hash for Places {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_usize(self.len());
        self.iter().for_each(|place| place.hash(state));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What may happen to places.
    #[derive(Clone, Debug)]
    enum Step {
        Push(u32),
        Pop,
        Replace(usize, u32),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            3 => (1_u32..100).prop_map(Step::Push),
            4 => Just(Step::Pop),
            1 => (0_usize..40, 0_u32..100).prop_map(|(index, bytes)| Step::Replace(index, bytes)),
        ];
        proptest::collection::vec(step, 0..60)
    }

    fn indexed(segment: u32, lengths: &[u32]) -> IndexedRun {
        let packed = (0_u32..).zip(lengths).flat_map(|(at, bytes)| {
            let place = u64::from(at) | u64::from(*bytes) << 32;
            place.to_le_bytes()
        });
        IndexedRun {
            segment: SegmentId(segment),
            index: Arc::new(Arc::new([7; 3].into_iter().chain(packed).collect())),
            at: 3,
            len: lengths.len() as u32,
            bytes: lengths.iter().sum(),
        }
    }

    fn noted(bytes: u32) -> DiskPlace {
        DiskPlace {
            segment: SegmentId(99),
            position: bytes,
            bytes,
        }
    }

    #[test]
    fn an_index_goes_with_the_last_message_in_it() {
        let (old, new) = (indexed(1, &[10, 20]), indexed(2, &[30]));
        let (old_index, new_index) = (Arc::downgrade(&old.index), Arc::downgrade(&new.index));
        let mut places = Places::indexed([old, new].into_iter());
        places.pop_front();
        assert!(old_index.upgrade().is_some(), "one message of it is left");
        places.pop_front();
        assert!(old_index.upgrade().is_none(), "none is");
        places.replace(0, noted(40));
        assert!(new_index.upgrade().is_none(), "what it held was copied");
        assert_eq!(places.to_vec(), [noted(40)]);
    }

    proptest! {
        #[test]
        fn what_indexes_hold_is_as_good_as_what_was_noted(
            runs in proptest::collection::vec(proptest::collection::vec(1_u32..100, 0..8), 0..6),
            steps in steps(),
        ) {
            let runs = (1_u32..).zip(&runs).map(|(segment, lengths)| indexed(segment, lengths));
            let mut places = Places::indexed(runs);
            let mut model: VecDeque<DiskPlace> = places.iter().collect();
            for step in steps {
                match step {
                    Step::Push(bytes) => {
                        places.push_back(noted(bytes));
                        model.push_back(noted(bytes));
                    }
                    Step::Pop => prop_assert_eq!(places.pop_front(), model.pop_front()),
                    Step::Replace(index, bytes) => {
                        places.replace(index, noted(bytes));
                        if let Some(held) = model.get_mut(index) {
                            *held = noted(bytes);
                        }
                    }
                }
                prop_assert_eq!(places.len(), model.len());
                for index in 0..=model.len() {
                    prop_assert!(places.iter_from(index).eq(model.range(index..).copied()));
                }
                let bytes = model.iter().map(|place| u64::from(place.bytes)).sum::<u64>();
                prop_assert_eq!(places.bytes(), bytes);
                let (live, live_bytes) = places.by_segment()
                    .fold((0, 0), |sum, (_, count, bytes)| (sum.0 + count, sum.1 + bytes));
                let is_live = |place: &&DiskPlace| !place.is_lost();
                prop_assert_eq!(live, model.iter().filter(is_live).count() as u64);
                prop_assert_eq!(live_bytes, bytes);
                prop_assert_eq!(&places, &model.iter().copied().collect());
            }
        }
    }
}
