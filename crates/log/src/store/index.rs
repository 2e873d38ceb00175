//! What one segment holds, and where: gathered while it is written, or when it is scanned.
//!
//! Messages are noted one after the other, and sorted by topic in the end, when the index is encoded:
//! noting one touches no memory that belongs to its topic but a number.

use std::collections::BTreeMap;

use heartwire_proto::{Epoch, Seq, Time};

use super::bytes::Put as _;
use super::checksum::Hashes;
use super::keys::Keys;
use super::record::{Key, MessageView, View, epoch};
use super::view::{IndexView, PartView};
use crate::producer::ProducerId;

/// How many records are added together, at best.
pub(super) const GROUP: usize = 64;

type Producers = hashbrown::HashMap<ProducerId, (Seq, Time), foldhash::fast::FixedState>;

/// A message.
#[derive(Clone, Copy, Debug)]
struct Row {
    offset: u64,
    topic: u32,
    position: u32,
    bytes: u32,
}

/// A record, and where it stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed<'a> {
    pub(super) view: View<'a>,
    pub(super) position: u32,
    pub(super) bytes: u32,
}

impl<'a> Placed<'a> {
    fn key(&self) -> Option<Key<'a>> {
        match self.view {
            View::Message(message) => Some(message.key),
            _ => None,
        }
    }
}

/// What few segments have of few topics.
#[derive(Clone, Debug, Default)]
struct Rarity {
    /// The epoch that it was given here.
    epoch: Option<Epoch>,
    /// Offset, position and length of messages written here again.
    moved: Vec<(u64, u32, u32)>,
    /// First and last offsets of what was here and is damaged, or was named so here.
    lost: Vec<(u64, u64)>,
}

/// What one segment holds. See [`view`](super::view) for its form on disk.
#[derive(Clone, Debug)]
pub(super) struct SegmentIndex {
    topics: Keys,
    /// When each topic had its last message here.
    last_appends: Vec<Time>,
    rows: Vec<Row>,
    /// The topics of the records that are being added; empty between calls.
    found: Vec<Option<u32>>,
    rarities: BTreeMap<u32, Rarity>,
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
        Self {
            producers: Producers::with_hasher(hashes.state()),
            topics: Keys::new(hashes),
            last_appends: Vec::new(),
            rows: Vec::new(),
            found: Vec::new(),
            rarities: BTreeMap::new(),
            accepted: BTreeMap::new(),
            valid,
            time,
        }
    }

    /// Takes in records of one frame. Those that name no topic are refused.
    pub(super) fn add(
        &mut self,
        records: &[Placed<'_>],
        time: Time,
        mut refuse: impl FnMut(&Placed<'_>),
    ) {
        let mut found = std::mem::take(&mut self.found);
        found.clear();
        let keys: Vec<Key<'_>> = records.iter().filter_map(Placed::key).collect();
        self.topics.numbers(&keys, &mut found);
        let mut topics = found.drain(..);
        for record in records {
            let added = match record.view {
                View::Message(message) => topics.next().flatten().map(|topic| {
                    self.add_message(topic, &message, record);
                }),
                view => self.add_other(view, record, time),
            };
            if added.is_none() {
                refuse(record);
            }
        }
        drop(topics);
        self.found = found;
    }

    #[inline]
    fn add_message(&mut self, topic: u32, message: &MessageView<'_>, record: &Placed<'_>) {
        self.note_time(topic, message.at);
        self.rows.push(Row {
            offset: message.offset.0,
            topic,
            position: record.position,
            bytes: record.bytes,
        });
        if let Some((producer, seq)) = message.producer {
            self.add_producer(producer, seq, message.at);
        }
    }

    fn add_other(&mut self, view: View<'_>, record: &Placed<'_>, time: Time) -> Option<()> {
        match view {
            View::Message(_) => return None,
            View::Moved(message) => {
                let moved = (message.offset.0, record.position, record.bytes);
                self.rarity(message.key)?.moved.push(moved);
            }
            View::Number { producer, seq } => self.add_producer(producer, seq, time),
            View::Epoch { key, epoch: bytes } => {
                let epoch = epoch(bytes)?;
                self.rarity(key)?.epoch = Some(epoch);
            }
            View::Lost { key, offset } => self.rarity(key)?.lose(offset.0),
        }
        Some(())
    }

    /// The topic has had a message at that time.
    #[inline]
    fn note_time(&mut self, topic: u32, at: Time) {
        let topic = topic as usize;
        if topic >= self.last_appends.len() {
            self.last_appends.resize(topic + 1, Time::ZERO);
        }
        self.last_appends[topic] = self.last_appends[topic].max(at);
    }

    fn rarity(&mut self, key: Key<'_>) -> Option<&mut Rarity> {
        let topic = self.topics.number(key)?;
        self.note_time(topic, Time::ZERO);
        Some(self.rarities.entry(topic).or_default())
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

    fn take_part(&mut self, from: PartView<'_>, is_bad: impl Fn(u32) -> bool) -> Option<()> {
        let topic = self.topics.number(from.key)?;
        self.note_time(topic, from.last_append);
        let mut rarity = Rarity {
            epoch: from.epoch,
            moved: Vec::new(),
            lost: from.lost().collect(),
        };
        for run in from.runs() {
            for (offset, (position, bytes)) in (run.first..).zip(run.places()) {
                match is_bad(position) {
                    true => rarity.lose(offset),
                    false => self.rows.push(Row {
                        offset,
                        topic,
                        position,
                        bytes,
                    }),
                }
            }
        }
        for (offset, position, bytes) in from.moved() {
            match is_bad(position) {
                true => rarity.lose(offset),
                false => rarity.moved.push((offset, position, bytes)),
            }
        }
        self.rarities.insert(topic, rarity);
        Some(())
    }

    /// The index as it stands in a file, without what is around it.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let sorted = Sorted::new(&self.rows, self.topics.len());
        out.reserve(self.rows.len() * 8 + self.topics.len() * 64);
        out.put_u32(self.valid);
        out.put_u64(self.time.as_millis());
        out.put_varint(self.topics.len() as u64);
        let common = Rarity::default();
        for (topic, (key, last_append)) in self.topics.iter().zip(&self.last_appends).enumerate() {
            let rarity = self.rarities.get(&(topic as u32)).unwrap_or(&common);
            out.put_bytes(key.0);
            out.put_short(
                rarity
                    .epoch
                    .as_ref()
                    .map_or(b"", |epoch| epoch.as_str().as_bytes()),
            );
            out.put_varint(last_append.as_millis());
            sorted.encode(topic, out);
            rarity.encode(out);
        }
        self.encode_producers(out);
        out.put_varint(self.accepted.len() as u64);
        for (position, bytes) in &self.accepted {
            out.put_u32(*position);
            out.put_u32(*bytes);
        }
    }

    fn encode_producers(&self, out: &mut Vec<u8>) {
        out.put_varint(self.producers.len() as u64);
        let mut producers: Vec<_> = self.producers.iter().collect();
        producers.sort_unstable_by_key(|(id, _)| **id);
        for (id, (seq, time)) in producers {
            out.put_bytes(&id.to_bytes());
            out.put_varint(seq.0);
            out.put_varint(time.as_millis());
        }
    }
}

impl Rarity {
    fn lose(&mut self, offset: u64) {
        match self.lost.last_mut() {
            Some(before) if before.1 + 1 == offset => before.1 = offset,
            _ => self.lost.push((offset, offset)),
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
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

/// Messages sorted by topic, those of one topic in the order in which they were written.
struct Sorted {
    /// Position in the lower half, length in the upper.
    places: Vec<u64>,
    /// Where the messages of each topic begin, and where the last topic's end.
    bounds: Vec<u32>,
    /// Offsets that follow each other: topic, first offset, where their messages begin.
    runs: Vec<(u32, u64, u32)>,
    /// Where the runs of each topic begin, and where the last topic's end.
    run_bounds: Vec<u32>,
}

impl Sorted {
    /// Sorts by counting: once over the messages to count them, once to put them in place.
    fn new(rows: &[Row], topics: usize) -> Self {
        let bounds = bounds(topics, rows.iter().map(|row| row.topic));
        let mut places = vec![0; rows.len()];
        let mut next: Vec<(u32, u64)> = bounds.iter().map(|start| (*start, u64::MAX)).collect();
        let mut runs = Vec::with_capacity(topics);
        for row in rows {
            let (at, offset) = &mut next[row.topic as usize];
            if row.offset != *offset {
                runs.push((row.topic, row.offset, *at));
            }
            places[*at as usize] = u64::from(row.position) | u64::from(row.bytes) << 32;
            (*at, *offset) = (*at + 1, row.offset + 1);
        }
        runs.sort_by_key(|(topic, ..)| *topic);
        let run_bounds = self::bounds(topics, runs.iter().map(|(topic, ..)| *topic));
        Self {
            places,
            bounds,
            runs,
            run_bounds,
        }
    }

    fn encode(&self, topic: usize, out: &mut Vec<u8>) {
        let range = |bounds: &[u32]| bounds[topic] as usize..bounds[topic + 1] as usize;
        let (places, runs) = (range(&self.bounds), &self.runs[range(&self.run_bounds)]);
        out.put_varint(runs.len() as u64);
        let ends = runs.iter().skip(1).map(|(_, _, start)| *start);
        let ends = ends.chain([places.end as u32]);
        for ((_, first, start), end) in runs.iter().zip(ends) {
            out.put_varint(*first);
            out.put_varint(u64::from(end - start));
        }
        for place in &self.places[places] {
            out.put_u64(*place);
        }
    }
}

/// Where each group begins in the order of groups, and where the last one ends.
fn bounds(groups: usize, members: impl Iterator<Item = u32>) -> Vec<u32> {
    let mut bounds = vec![0; groups + 1];
    for group in members {
        bounds[group as usize + 1] += 1;
    }
    for group in 0..groups {
        bounds[group + 1] += bounds[group];
    }
    bounds
}
