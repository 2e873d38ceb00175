//! An index as it stands in a file `[DISK-9]`, read without copying it.
//!
//! ```text
//!   valid u32 │ time u64 │ topics: key, epoch, last append, runs, places, moved, lost … │
//!             │ producers: id, seq, time … │ accepted damage: position, length …
//! ```

use heartwire_proto::{Epoch, Seq, Time};

use super::bytes::Take;
use super::index::GROUP;
use super::record::{Key, epoch};
use crate::producer::ProducerId;

/// The length of position and length of a message, in bytes.
pub(super) const PLACE_BYTES: usize = 8;
/// Position and length of a message as they stand in an index.
pub(super) type PackedPlace = [u8; PLACE_BYTES];
/// The length of what stands before the topics, in bytes.
const FIXED_BYTES: usize = 4 + 8;

/// What one segment holds of one topic.
#[derive(Clone, Copy, Debug)]
pub(super) struct PartView<'a> {
    pub(super) key: Key<'a>,
    pub(super) epoch: Option<Epoch>,
    pub(super) last_append: Time,
    runs_len: u64,
    runs: Take<'a>,
    /// Where in the index the places begin, in bytes.
    places_at: usize,
    places: Take<'a>,
    moved_len: u64,
    moved: Take<'a>,
    lost_len: u64,
    lost: Take<'a>,
}

/// Offsets that follow each other, and where their messages stand.
#[derive(Clone, Copy, Debug)]
pub(super) struct RunView<'a> {
    pub(super) first: u64,
    /// Where in the index the places begin, in bytes.
    pub(super) at: usize,
    places: &'a [PackedPlace],
}

impl<'a> RunView<'a> {
    /// How many messages there are.
    pub(super) const fn len(self) -> usize {
        self.places.len()
    }

    /// Position and length of each message.
    pub(super) fn places(
        self,
    ) -> impl ExactSizeIterator<Item = (u32, u32)> + DoubleEndedIterator + 'a {
        self.places.iter().copied().map(unpack)
    }
}

/// Position and length of a message.
#[inline]
pub(super) fn unpack(place: PackedPlace) -> (u32, u32) {
    let both = u64::from_le_bytes(place);
    (both as u32, (both >> 32) as u32)
}

impl<'a> PartView<'a> {
    /// Takes a part of the index `whole`.
    fn take(take: &mut Take<'a>, whole: &[u8]) -> Option<Self> {
        let key = Key::take(take)?;
        let epoch = match take.short()? {
            [] => None,
            text => Some(epoch(text)?),
        };
        let last_append = Time::from_millis(take.varint()?);
        let runs_len = take.varint()?;
        let runs = *take;
        let mut places_len = 0_usize;
        for _ in 0..runs_len {
            take.varint()?;
            places_len = places_len.checked_add(take.varint_u32()? as usize)?;
        }
        let places_at = whole.len() - take.0.len();
        let places = Take(take.bytes(places_len.checked_mul(PLACE_BYTES)?)?);
        let moved_len = take.varint()?;
        let moved = *take;
        for _ in 0..moved_len {
            take.varint()?;
            take.bytes(PLACE_BYTES)?;
        }
        let lost_len = take.varint()?;
        let lost = *take;
        for _ in 0..lost_len {
            take.varint()?;
            take.varint()?;
        }
        Some(Self {
            key,
            epoch,
            last_append,
            runs_len,
            runs,
            places_at,
            places,
            moved_len,
            moved,
            lost_len,
            lost,
        })
    }

    /// Its messages, in the order in which they were appended.
    pub(super) fn runs(self) -> impl Iterator<Item = RunView<'a>> {
        let (mut runs, mut places) = (self.runs, self.places);
        (0..self.runs_len).map_while(move |_| {
            let first = runs.varint()?;
            let count = runs.varint_u32()? as usize;
            let at = self.places_at + self.places.0.len() - places.0.len();
            let (places, _) = places.bytes(count * PLACE_BYTES)?.as_chunks();
            Some(RunView { first, at, places })
        })
    }

    /// Offset, position and length of messages written again.
    pub(super) fn moved(self) -> impl Iterator<Item = (u64, u32, u32)> + 'a {
        let mut moved = self.moved;
        (0..self.moved_len).map_while(move |_| Some((moved.varint()?, moved.u32()?, moved.u32()?)))
    }

    /// First and last offsets of what was lost here.
    pub(super) fn lost(self) -> impl Iterator<Item = (u64, u64)> + 'a {
        let mut lost = self.lost;
        (0..self.lost_len).map_while(move |_| Some((lost.varint()?, lost.varint()?)))
    }

    /// Whether it gives the topic something new, and is not only about what was there before.
    pub(super) const fn is_own(self) -> bool {
        self.runs_len > 0 || self.epoch.is_some()
    }

    /// Whether any message stands here.
    pub(super) const fn holds_messages(self) -> bool {
        self.runs_len > 0 || self.moved_len > 0
    }
}

/// Where the sections of an index begin, once it was checked.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Layout {
    /// Where each part begins. They can be found from each other alone; known beforehand, the processor
    /// waits for the memory of many at once.
    parts: Vec<u32>,
    producers: Section,
    accepted: Section,
    /// How much of it are places of messages, in bytes.
    pub(super) places_bytes: usize,
}

/// How many items there are, and where the first begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Section {
    at: usize,
    len: u64,
}

impl Section {
    /// Goes over the items of a section.
    fn check(
        take: &mut Take<'_>,
        whole: &[u8],
        mut item: impl FnMut(&mut Take<'_>) -> Option<()>,
    ) -> Option<Self> {
        let len = take.varint()?;
        let at = whole.len() - take.0.len();
        for _ in 0..len {
            item(take)?;
        }
        Some(Self { at, len })
    }
}

impl Layout {
    /// Checks that it is what [`SegmentIndex::encode`](super::index::SegmentIndex::encode) wrote.
    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        let mut take = Take(bytes);
        take.bytes(FIXED_BYTES)?;
        let (mut parts, mut places_bytes) = (Vec::new(), 0);
        Section::check(&mut take, bytes, |take| {
            parts.push(u32::try_from(bytes.len() - take.0.len()).ok()?);
            let part = PartView::take(take, bytes)?;
            places_bytes += part.places.0.len();
            part.key.parse().map(drop)
        })?;
        let producers = Section::check(&mut take, bytes, |take| take_producer(take).map(drop))?;
        let accepted = Section::check(&mut take, bytes, |take| take.bytes(PLACE_BYTES).map(drop))?;
        take.is_empty().then_some(Self {
            parts,
            producers,
            accepted,
            places_bytes,
        })
    }
}

/// An index, checked to be one.
#[derive(Clone, Copy, Debug)]
pub(super) struct IndexView<'a> {
    pub(super) valid: u32,
    pub(super) time: Time,
    bytes: &'a [u8],
    layout: &'a Layout,
}

impl<'a> IndexView<'a> {
    /// An index that was checked before.
    pub(super) fn new(bytes: &'a [u8], layout: &'a Layout) -> Option<Self> {
        let mut take = Take(bytes);
        Some(Self {
            valid: take.u32()?,
            time: Time::from_millis(take.u64()?),
            bytes,
            layout,
        })
    }

    fn items<T>(
        self,
        section: Section,
        mut item: impl FnMut(&mut Take<'a>) -> Option<T>,
    ) -> impl Iterator<Item = T> {
        let mut take = Take(&self.bytes[section.at..]);
        (0..section.len).map_while(move |_| item(&mut take))
    }

    /// What it holds, by topic.
    pub(super) fn parts(self) -> impl Iterator<Item = PartView<'a>> {
        let groups = self.layout.parts.chunks(GROUP);
        groups.flat_map(move |starts| {
            self.touch(starts);
            starts.iter().filter_map(move |at| {
                let mut take = Take(self.bytes.get(*at as usize..)?);
                PartView::take(&mut take, self.bytes)
            })
        })
    }

    /// Reads where parts begin, so that the processor waits for the memory of all at once.
    fn touch(self, starts: &[u32]) {
        let first_bytes = starts.iter().filter_map(|at| self.bytes.get(*at as usize));
        std::hint::black_box(first_bytes.fold(0, |sum, byte| sum ^ byte));
    }

    /// Position and length of each of `len` messages whose places begin so many bytes from the
    /// index's first.
    pub(super) fn places_at(self, at: usize, len: usize) -> &'a [PackedPlace] {
        let (places, _) = self.bytes.get(at..).unwrap_or_default().as_chunks();
        &places[..len.min(places.len())]
    }

    /// The last number of each producer, and when it was published.
    pub(super) fn producers(self) -> impl Iterator<Item = (ProducerId, Seq, Time)> {
        self.items(self.layout.producers, take_producer)
    }

    /// Damage that was accepted: position and length.
    pub(super) fn accepted(self) -> impl Iterator<Item = (u32, u32)> {
        let accepted = self.layout.accepted;
        self.items(accepted, |take| Some((take.u32()?, take.u32()?)))
    }
}

pub(super) fn take_producer(take: &mut Take<'_>) -> Option<(ProducerId, Seq, Time)> {
    Some((
        ProducerId::from_bytes(take.array16()?),
        Seq(take.varint()?),
        Time::from_millis(take.varint()?),
    ))
}
