//! What one segment holds, and where: gathered while it is written, or when it is scanned.

use std::collections::BTreeMap;

use hashbrown::HashTable;
use heartwire_proto::{Epoch, Seq, Time};

use super::bytes::Put as _;
use super::checksum::Hashes;
use super::record::{Key, MessageView, View, epoch};
use super::view::{IndexView, PartView};
use crate::producer::ProducerId;

type Producers = hashbrown::HashMap<ProducerId, (Seq, Time), foldhash::fast::FixedState>;

/// What one segment holds of one topic.
#[derive(Clone, Debug)]
struct Part {
    key: Box<[u8]>,
    hash: u64,
    /// The epoch that it was given here.
    epoch: Option<Epoch>,
    last_append: Time,
    /// Offsets that follow each other: the first, and how many.
    runs: Vec<(u64, u32)>,
    /// Position and length of each message of the runs.
    places: Vec<(u32, u32)>,
    /// Offset, position and length of messages written here again.
    moved: Vec<(u64, u32, u32)>,
    /// First and last offsets of what was here and is damaged.
    lost: Vec<(u64, u64)>,
}

/// What one segment holds. See [`view`](super::view) for its form on disk.
#[derive(Clone, Debug)]
pub(super) struct SegmentIndex {
    hashes: Hashes,
    table: HashTable<u32>,
    parts: Vec<Part>,
    producers: Producers,
    /// Damage that was accepted: position and length.
    accepted: BTreeMap<u32, u32>,
    /// Where the last frame ends.
    pub(super) valid: u32,
    /// The time of the last frame.
    pub(super) time: Time,
}

impl SegmentIndex {
    pub(super) fn new(hashes: Hashes, valid: u32, time: Time) -> Self {
        let producers = Producers::with_hasher(hashes.state());
        Self {
            hashes,
            table: HashTable::new(),
            parts: Vec::new(),
            producers,
            accepted: BTreeMap::new(),
            valid,
            time,
        }
    }

    /// Takes in a record; `None` if it names no topic.
    #[inline]
    pub(super) fn add(
        &mut self,
        view: View<'_>,
        position: u32,
        bytes: u32,
        time: Time,
    ) -> Option<()> {
        match view {
            View::Message(message) => {
                let index = self.part(message.key)?;
                self.parts[index].add_message(&message, position, bytes);
                if let Some((producer, seq)) = message.producer {
                    self.add_producer(producer, seq, message.at);
                }
            }
            View::Moved(message) => {
                let index = self.part(message.key)?;
                let moved = (message.offset.0, position, bytes);
                self.parts[index].moved.push(moved);
            }
            View::Number { producer, seq } => self.add_producer(producer, seq, time),
            View::Epoch { key, epoch: bytes } => {
                let epoch = epoch(bytes)?;
                let index = self.part(key)?;
                self.parts[index].epoch = Some(epoch);
            }
        }
        Some(())
    }

    fn add_producer(&mut self, producer: ProducerId, seq: Seq, time: Time) {
        let known = self.producers.entry(producer).or_insert((seq, time));
        *known = (known.0.max(seq), known.1.max(time));
    }

    pub(super) fn add_accepted(&mut self, position: u32, bytes: u32) {
        self.accepted.insert(position, bytes);
    }

    /// Takes over another index of the same segment. Messages at places that are bad are lost.
    pub(super) fn take_over(&mut self, view: IndexView<'_>, is_bad: impl Fn(u32) -> bool) {
        for part in view.parts() {
            let taken = self.take_part(part, &is_bad);
            debug_assert!(taken.is_some(), "a whole index names topics");
        }
        for (producer, seq, time) in view.producers() {
            self.add_producer(producer, seq, time);
        }
        self.accepted.extend(view.accepted());
    }

    /// Takes over a topic's part of another index of the same segment. Messages at places that are
    /// bad are lost.
    fn take_part(&mut self, from: PartView<'_>, is_bad: impl Fn(u32) -> bool) -> Option<()> {
        let index = self.part(from.key)?;
        let part = &mut self.parts[index];
        part.epoch = from.epoch;
        part.last_append = from.last_append;
        for run in from.runs() {
            for (offset, (position, bytes)) in (run.first..).zip(run.places()) {
                match is_bad(position) {
                    true => part.add_lost(offset, offset),
                    false => part.add_place(offset, position, bytes),
                }
            }
        }
        for (offset, position, bytes) in from.moved() {
            match is_bad(position) {
                true => part.add_lost(offset, offset),
                false => part.moved.push((offset, position, bytes)),
            }
        }
        from.lost()
            .for_each(|(first, last)| part.add_lost(first, last));
        Some(())
    }

    #[inline]
    fn part(&mut self, key: Key<'_>) -> Option<usize> {
        let hash = self.hashes.of(key.0);
        let parts = &self.parts;
        let found = self
            .table
            .find(hash, |index| &*parts[*index as usize].key == key.0);
        match found {
            Some(index) => Some(*index as usize),
            None => self.new_part(key, hash),
        }
    }

    #[cold]
    fn new_part(&mut self, key: Key<'_>, hash: u64) -> Option<usize> {
        key.parse()?;
        let index = self.parts.len();
        self.parts.push(Part {
            key: key.0.into(),
            hash,
            epoch: None,
            last_append: Time::ZERO,
            runs: Vec::new(),
            places: Vec::new(),
            moved: Vec::new(),
            lost: Vec::new(),
        });
        let parts = &self.parts;
        let hash_of = |index: &u32| parts[*index as usize].hash;
        self.table.insert_unique(hash, index as u32, hash_of);
        Some(index)
    }

    /// How much of its file are places of messages, in bytes.
    pub(super) fn places_bytes(&self) -> u64 {
        let count: usize = self.parts.iter().map(|part| part.places.len()).sum();
        count as u64 * 8
    }

    /// The index as it stands in a file, without what is around it.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u32(self.valid);
        out.put_u64(self.time.as_millis());
        out.put_varint(self.parts.len() as u64);
        for part in &self.parts {
            part.encode(out);
        }
        out.put_varint(self.producers.len() as u64);
        let mut producers: Vec<_> = self.producers.iter().collect();
        producers.sort_unstable_by_key(|(id, _)| **id);
        for (id, (seq, time)) in producers {
            out.put_bytes(&id.to_bytes());
            out.put_varint(seq.0);
            out.put_varint(time.as_millis());
        }
        out.put_varint(self.accepted.len() as u64);
        for (position, bytes) in &self.accepted {
            out.put_u32(*position);
            out.put_u32(*bytes);
        }
    }
}

impl Part {
    #[inline]
    fn add_message(&mut self, message: &MessageView<'_>, position: u32, bytes: u32) {
        self.add_place(message.offset.0, position, bytes);
        self.last_append = self.last_append.max(message.at);
    }

    #[inline]
    fn add_place(&mut self, offset: u64, position: u32, bytes: u32) {
        match self.runs.last_mut() {
            Some((first, count)) if *first + u64::from(*count) == offset => *count += 1,
            _ => self.runs.push((offset, 1)),
        }
        self.places.push((position, bytes));
    }

    fn add_lost(&mut self, first: u64, last: u64) {
        match self.lost.last_mut() {
            Some(before) if before.1 + 1 == first => before.1 = last,
            _ => self.lost.push((first, last)),
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.put_bytes(&self.key);
        match self.epoch {
            Some(epoch) => out.put_short(epoch.as_str().as_bytes()),
            None => out.put_short(b""),
        }
        out.put_varint(self.last_append.as_millis());
        out.put_varint(self.runs.len() as u64);
        for (first, count) in &self.runs {
            out.put_varint(*first);
            out.put_varint(u64::from(*count));
        }
        for (position, bytes) in &self.places {
            out.put_u32(*position);
            out.put_u32(*bytes);
        }
        out.put_varint(self.moved.len() as u64);
        for (offset, position, bytes) in &self.moved {
            out.put_varint(*offset);
            out.put_u32(*position);
            out.put_u32(*bytes);
        }
        out.put_varint(self.lost.len() as u64);
        for (first, last) in &self.lost {
            out.put_varint(*first);
            out.put_varint(*last);
        }
    }
}
