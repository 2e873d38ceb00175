//! An index as it stands in a file `[DISK-9]`, read without copying it.
//!
//! ```text
//!   valid u32 │ time u64 │ topics: key, epoch, last append, runs, places, moved, lost … │
//!             │ producers: id, seq, time … │ accepted damage: position, length …
//! ```

use heartwire_proto::{Epoch, Seq, Time};

use super::bytes::Take;
use super::record::{Key, epoch};
use crate::producer::ProducerId;

/// The length of position and length of a message, in bytes.
const PLACE_BYTES: usize = 8;

/// What one segment holds of one topic.
#[derive(Clone, Copy, Debug)]
pub(super) struct PartView<'a> {
    pub(super) key: Key<'a>,
    pub(super) epoch: Option<Epoch>,
    pub(super) last_append: Time,
    runs_len: u64,
    runs: Take<'a>,
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
    places: &'a [u8],
}

impl<'a> RunView<'a> {
    /// Position and length of each message.
    pub(super) fn places(self) -> impl ExactSizeIterator<Item = (u32, u32)> + 'a {
        let (places, _) = self.places.as_chunks::<PLACE_BYTES>();
        places.iter().map(|place| {
            let both = u64::from_le_bytes(*place);
            (both as u32, (both >> 32) as u32)
        })
    }
}

impl<'a> PartView<'a> {
    fn take(take: &mut Take<'a>) -> Option<Self> {
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
            let places = places.bytes(count * PLACE_BYTES)?;
            Some(RunView { first, places })
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

    /// How much of it are places of messages, in bytes.
    pub(super) const fn places_bytes(self) -> usize {
        self.places.0.len()
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

/// An index, checked to be one.
#[derive(Clone, Copy, Debug)]
pub(super) struct IndexView<'a> {
    pub(super) valid: u32,
    pub(super) time: Time,
    parts_len: u64,
    parts: Take<'a>,
    producers_len: u64,
    producers: Take<'a>,
    accepted_len: u64,
    accepted: Take<'a>,
}

impl<'a> IndexView<'a> {
    /// Reads what [`SegmentIndex::encode`](super::index::SegmentIndex::encode) wrote.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut take = Take(bytes);
        let (valid, time) = (take.u32()?, Time::from_millis(take.u64()?));
        let parts_len = take.varint()?;
        let parts = take;
        for _ in 0..parts_len {
            PartView::take(&mut take)?.key.parse()?;
        }
        let producers_len = take.varint()?;
        let producers = take;
        for _ in 0..producers_len {
            take_producer(&mut take)?;
        }
        let accepted_len = take.varint()?;
        let accepted = take;
        take.bytes(
            usize::try_from(accepted_len)
                .ok()?
                .checked_mul(PLACE_BYTES)?,
        )?;
        take.is_empty().then_some(Self {
            valid,
            time,
            parts_len,
            parts,
            producers_len,
            producers,
            accepted_len,
            accepted,
        })
    }

    /// What it holds, by topic.
    pub(super) fn parts(self) -> impl Iterator<Item = PartView<'a>> {
        let mut parts = self.parts;
        (0..self.parts_len).map_while(move |_| PartView::take(&mut parts))
    }

    /// The last number of each producer, and when it was published.
    pub(super) fn producers(self) -> impl Iterator<Item = (ProducerId, Seq, Time)> + 'a {
        let mut producers = self.producers;
        (0..self.producers_len).map_while(move |_| take_producer(&mut producers))
    }

    /// Damage that was accepted: position and length.
    pub(super) fn accepted(self) -> impl Iterator<Item = (u32, u32)> + 'a {
        let mut accepted = self.accepted;
        (0..self.accepted_len).map_while(move |_| Some((accepted.u32()?, accepted.u32()?)))
    }
}

pub(super) fn take_producer(take: &mut Take<'_>) -> Option<(ProducerId, Seq, Time)> {
    Some((
        ProducerId::from_bytes(take.array16()?),
        Seq(take.varint()?),
        Time::from_millis(take.varint()?),
    ))
}
