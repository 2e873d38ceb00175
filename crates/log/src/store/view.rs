//! An index as it stands in a file `[DISK-9]`, read without copying it.
//!
//! ```text
//!   valid u32 │ time u64 │ topics: key, epoch, last append, runs, places, moved, lost … │
//!             │ producers: id, seq, time … │ accepted damage: position, length …
//! ```
//!
//! It is gone through once, when it is checked: the [`Layout`] then tells where everything is, and
//! the messages' places are not looked at again.

use std::ops::Range;

use heartwire_proto::{Epoch, Seq, Time};

use super::bytes::Take;
use super::checksum::Hashes;
use super::keys::Hashed;
use super::record::{Key, epoch};
use crate::producer::ProducerId;

/// The length of position and length of a message, in bytes.
pub(super) const PLACE_BYTES: usize = 8;
/// Position and length of a message as they stand in an index.
pub(super) type PackedPlace = [u8; PLACE_BYTES];
/// The length of what stands before the topics, in bytes.
const FIXED_BYTES: usize = 4 + 8;
/// The least that a part takes: its key, no epoch, its time, three counts.
const PART_BYTES_MIN: usize = 4 + 1 + 1 + 3;

/// In so many shares topics are folded: more than threads, so that none waits long for the others.
pub(super) const SHARES: usize = 4;

/// The share of all topics of that name, whatever their origin.
pub(super) fn share_of(name: &[u8], hashes: &Hashes) -> usize {
    // The table of keys uses the lowest bits.
    (hashes.of(name) >> 32) as usize % SHARES
}

/// Position and length of a message.
#[inline]
pub(super) fn unpack(place: PackedPlace) -> (u32, u32) {
    let both = u64::from_le_bytes(place);
    (both as u32, (both >> 32) as u32)
}

/// Offsets of one topic that follow each other in one segment, and where their places stand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Run {
    pub(super) first: u64,
    /// How many messages there are; never none.
    pub(super) len: u32,
    /// Where in the index their places begin, in bytes.
    pub(super) at: u32,
    /// How much of the disk they take.
    pub(super) bytes: u32,
}

impl Run {
    /// The offset of the last message.
    pub(super) const fn last(&self) -> u64 {
        self.first + (self.len as u64 - 1)
    }

    /// Where in the index the places stand, in bytes.
    pub(super) const fn range(&self) -> Range<usize> {
        let at = self.at as usize;
        at..at + self.len as usize * PLACE_BYTES
    }
}

/// A run as an index has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct IndexRun {
    pub(super) run: Run,
    /// Where the first of its messages and the last stand.
    pub(super) ends: (u32, u32),
}

impl IndexRun {
    /// Of these places, which begin in the index where `at` says; `None` without any.
    fn of(first: u64, at: usize, places: &[PackedPlace]) -> Option<Self> {
        let (start, end) = (places.first()?, places.last()?);
        let bytes: u64 = places.iter().map(|place| u64::from(unpack(*place).1)).sum();
        let len = first.checked_add(places.len() as u64);
        let run = Run {
            first,
            len: len.and(u32::try_from(places.len()).ok())?,
            at: u32::try_from(at).ok()?,
            bytes: u32::try_from(bytes).ok()?,
        };
        let ends = (unpack(*start).0, unpack(*end).0);
        Some(Self { run, ends })
    }
}

/// Where one part is, and what it says of most topics.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Part {
    key_at: u32,
    key_bytes: u16,
    /// How long the epoch is that stands behind the key; 0 if none does.
    epoch_bytes: u8,
    key_hash: u64,
    last_append: Time,
    /// Its runs among those of all parts.
    runs_at: u32,
    runs_len: u32,
    moved: Section,
    lost: Section,
}

impl Part {
    /// Takes a part of the index `whole`.
    fn take(
        take: &mut Take<'_>,
        whole: &[u8],
        hashes: &Hashes,
        shares: &mut [Parts; SHARES],
    ) -> Option<()> {
        let key_at = u32::try_from(whole.len() - take.0.len()).ok()?;
        let key = Key::take(take)?;
        let Parts { parts, runs } = &mut shares[share_of(key.name()?, hashes)];
        let epoch_text = take.short()?;
        if !epoch_text.is_empty() {
            epoch(epoch_text)?;
        }
        let last_append = Time::from_millis(take.varint()?);
        let runs_at = u32::try_from(runs.len()).ok()?;
        take_runs(take, whole, runs)?;
        let moved = Section::check(take, whole, |take| take_moved(take).map(drop))?;
        let lost = Section::check(take, whole, |take| take_lost(take).map(drop))?;
        parts.push(Self {
            key_at,
            key_bytes: u16::try_from(key.0.len()).ok()?,
            epoch_bytes: epoch_text.len() as u8,
            key_hash: hashes.of(key.0),
            last_append,
            runs_at,
            runs_len: u32::try_from(runs.len()).ok()? - runs_at,
            moved,
            lost,
        });
        Some(())
    }
}

fn take_runs(take: &mut Take<'_>, whole: &[u8], runs: &mut Vec<IndexRun>) -> Option<()> {
    let count = take.varint()?;
    let mut heads = *take;
    let mut places_len = 0_usize;
    for _ in 0..count {
        take.varint()?;
        places_len = places_len.checked_add(take.varint_u32()? as usize)?;
    }
    let mut at = whole.len() - take.0.len();
    let (mut places, _) = take
        .bytes(places_len.checked_mul(PLACE_BYTES)?)?
        .as_chunks();
    for _ in 0..count {
        let (first, len) = (heads.offset()?, heads.varint_u32()? as usize);
        let own;
        (own, places) = places.split_at(len);
        runs.push(IndexRun::of(first, at, own)?);
        at += len * PLACE_BYTES;
    }
    Some(())
}

/// Offset, position and length of a message written again.
fn take_moved(take: &mut Take<'_>) -> Option<(u64, u32, u32)> {
    Some((take.offset()?, take.u32()?, take.u32()?))
}

/// First and last offsets of what was lost.
pub(super) fn take_lost(take: &mut Take<'_>) -> Option<(u64, u64)> {
    let (first, last) = (take.offset()?, take.offset()?);
    (first <= last).then_some((first, last))
}

/// What one segment holds of one topic.
#[derive(Clone, Copy, Debug)]
pub(super) struct PartView<'a> {
    index: &'a [u8],
    part: &'a Part,
    /// Its messages, in the order in which they were appended.
    pub(super) runs: &'a [IndexRun],
}

impl<'a> PartView<'a> {
    pub(super) fn key(self) -> Hashed<'a> {
        let at = self.part.key_at as usize;
        Hashed {
            key: Key(&self.index[at..at + usize::from(self.part.key_bytes)]),
            hash: self.part.key_hash,
        }
    }

    /// The epoch that the topic was given here.
    pub(super) fn epoch(self) -> Option<Epoch> {
        let at = self.part.key_at as usize + usize::from(self.part.key_bytes) + 1;
        match self.part.epoch_bytes {
            0 => None,
            bytes => epoch(&self.index[at..at + usize::from(bytes)]),
        }
    }

    /// When the topic's last message was appended, or it was said to be kept.
    pub(super) const fn last_append(self) -> Time {
        self.part.last_append
    }

    /// Position and length of each message of a run.
    pub(super) fn places(self, run: &Run) -> impl Iterator<Item = (u32, u32)> + 'a {
        let (places, _) = self.index[run.range()].as_chunks();
        places.iter().copied().map(unpack)
    }

    /// Offset, position and length of messages written again.
    pub(super) fn moved(self) -> impl Iterator<Item = (u64, u32, u32)> + 'a {
        self.part.moved.items(self.index, take_moved)
    }

    /// First and last offsets of what was lost here.
    pub(super) fn lost(self) -> impl Iterator<Item = (u64, u64)> + 'a {
        self.part.lost.items(self.index, take_lost)
    }

    /// Whether it gives the topic something new, and is not only about what was there before.
    pub(super) const fn is_own(self) -> bool {
        !self.runs.is_empty() || self.part.epoch_bytes > 0
    }

    /// Whether any message stands here.
    pub(super) const fn holds_messages(self) -> bool {
        !self.runs.is_empty() || self.part.moved.len > 0
    }
}

/// Where the sections of an index begin, once it was checked.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Layout {
    shares: [Parts; SHARES],
    producers: Section,
    accepted: Section,
    /// How much of it are places of messages, in bytes.
    pub(super) places_bytes: usize,
}

/// The parts that fall to a share, and their runs, one after the other.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Parts {
    parts: Vec<Part>,
    runs: Vec<IndexRun>,
}

/// How many items there are, and where in the index the first begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Section {
    at: u32,
    len: u32,
}

impl Section {
    /// Goes over the items of a section.
    fn check(
        take: &mut Take<'_>,
        whole: &[u8],
        mut item: impl FnMut(&mut Take<'_>) -> Option<()>,
    ) -> Option<Self> {
        let len = take.varint_u32()?;
        let at = u32::try_from(whole.len() - take.0.len()).ok()?;
        for _ in 0..len {
            item(take)?;
        }
        Some(Self { at, len })
    }

    /// The items of a section that was checked.
    fn items<T>(
        self,
        index: &[u8],
        mut item: impl FnMut(&mut Take<'_>) -> Option<T>,
    ) -> impl Iterator<Item = T> {
        let mut take = Take(&index[self.at as usize..]);
        (0..self.len).map_while(move |_| item(&mut take))
    }
}

impl Parts {
    /// Room for a share of so many topics, most of which have one run; as far as an index of so many
    /// bytes can hold them.
    fn with_capacity(topics: u64, index_bytes: usize) -> Self {
        let topics = topics.min((index_bytes / PART_BYTES_MIN) as u64) as usize;
        let own = topics / SHARES + topics / (8 * SHARES);
        Self {
            parts: Vec::with_capacity(own),
            runs: Vec::with_capacity(own),
        }
    }

    fn places_bytes(&self) -> usize {
        self.runs.iter().map(|one| one.run.range().len()).sum()
    }
}

impl Layout {
    /// Checks that it is what [`SegmentIndex::encode`](super::index::SegmentIndex::encode) wrote.
    pub(super) fn of(bytes: &[u8], hashes: &Hashes) -> Option<Self> {
        let mut take = Take(bytes);
        take.bytes(FIXED_BYTES)?;
        let len = { take }.varint()?;
        let mut shares = std::array::from_fn(|_| Parts::with_capacity(len, bytes.len()));
        Section::check(&mut take, bytes, |take| {
            Part::take(take, bytes, hashes, &mut shares)
        })?;
        let producers = Section::check(&mut take, bytes, |take| take_producer(take).map(drop))?;
        let accepted = Section::check(&mut take, bytes, |take| take.bytes(PLACE_BYTES).map(drop))?;
        take.is_empty().then_some(Self {
            places_bytes: shares.iter().map(Parts::places_bytes).sum(),
            shares,
            producers,
            accepted,
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

    /// What it holds, by topic, in its own order.
    pub(super) fn parts(self) -> Vec<PartView<'a>> {
        let mut parts: Vec<_> = (0..SHARES).flat_map(|share| self.parts_of(share)).collect();
        parts.sort_unstable_by_key(|view| view.part.key_at);
        parts
    }

    /// How many runs of messages it holds of the topics of a share.
    pub(super) const fn runs_len(self, share: usize) -> usize {
        self.layout.shares[share].runs.len()
    }

    /// What it holds of the topics of a share.
    pub(super) fn parts_of(self, share: usize) -> impl ExactSizeIterator<Item = PartView<'a>> {
        let Parts { parts, runs } = &self.layout.shares[share];
        parts.iter().map(move |part| {
            let runs_at = part.runs_at as usize;
            PartView {
                index: self.bytes,
                part,
                runs: &runs[runs_at..runs_at + part.runs_len as usize],
            }
        })
    }

    /// The last number of each producer, and when it was published.
    pub(super) fn producers(self) -> impl Iterator<Item = (ProducerId, Seq, Time)> {
        self.layout.producers.items(self.bytes, take_producer)
    }

    /// Damage that was accepted: position and length.
    pub(super) fn accepted(self) -> impl Iterator<Item = (u32, u32)> {
        let accepted = self.layout.accepted;
        accepted.items(self.bytes, |take| Some((take.u32()?, take.u32()?)))
    }
}

pub(super) fn take_producer(take: &mut Take<'_>) -> Option<(ProducerId, Seq, Time)> {
    Some((
        ProducerId::from_bytes(take.array16()?),
        Seq(take.varint()?),
        Time::from_millis(take.varint()?),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::bytes::Put as _;

    /// An index of one topic: one message, one that moved, one range that was lost.
    fn index(first: u64, moved: u64, lost: (u64, u64)) -> Vec<u8> {
        let mut bytes = vec![0; FIXED_BYTES];
        bytes.put_varint(1);
        bytes.put_short(b"topic");
        bytes.put_short(b"zzz");
        bytes.put_short(b"");
        for number in [0, 1, first, 1] {
            bytes.put_varint(number);
        }
        bytes.put_u64(0);
        bytes.put_varint(1);
        bytes.put_varint(moved);
        bytes.put_u64(0);
        for number in [1, lost.0, lost.1, 0, 0] {
            bytes.put_varint(number);
        }
        bytes
    }

    fn is_index(bytes: &[u8]) -> bool {
        Layout::of(bytes, &Hashes::new(1)).is_some()
    }

    #[test]
    fn offsets_that_no_message_has_are_damage() {
        const LAST: u64 = u64::MAX - 1;
        assert!(is_index(&index(1, 1, (1, 1))));
        assert!(is_index(&index(LAST, LAST, (LAST, LAST))));
        for wrong in [0, u64::MAX] {
            assert!(!is_index(&index(wrong, 1, (1, 1))), "{wrong} is there");
            assert!(!is_index(&index(1, wrong, (1, 1))), "{wrong} moved");
            assert!(!is_index(&index(1, 1, (wrong, 1))), "{wrong} is lost");
            assert!(!is_index(&index(1, 1, (1, wrong))), "{wrong} is lost");
        }
        assert!(!is_index(&index(1, 1, (3, 2))), "from its end to its start");
    }
}
