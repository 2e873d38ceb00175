//! What one segment holds, and where: gathered while it is written, or when it is scanned.
//!
//! Messages are noted one after the other, and sorted by topic in the end, when the index is encoded:
//! noting one touches no memory that belongs to its topic but a few numbers.

use std::collections::BTreeMap;

use heartwire_proto::{Epoch, Seq, Time};

use super::batch::SegmentId;
use super::bytes::Put as _;
use super::checksum::Hashes;
use super::envelope;
use super::files::Kind;
use super::keys::{Hashed, Keys};
use super::record::{Key, MessageView, View, epoch};
use super::view::{IndexRun, IndexView, PLACE_BYTES, PartView};
use crate::producer::ProducerId;

/// How many records are added together, at best.
pub(super) const GROUP: usize = 64;

type Producers = hashbrown::HashMap<ProducerId, (Seq, Time), foldhash::fast::FixedState>;

/// A message.
#[derive(Clone, Copy, Debug)]
struct Row {
    topic: u32,
    position: u32,
    bytes: u32,
}

/// What was noted of one topic.
#[derive(Clone, Copy, Debug)]
struct Tally {
    /// When its last message was appended, or it was said to be kept.
    last_append: Time,
    /// How many rows it has.
    rows: u32,
    /// The offset that follows that of its last row.
    next: u64,
}

impl Tally {
    const NOTHING: Self = Self {
        last_append: Time::ZERO,
        rows: 0,
        next: 0,
    };
}

/// Offsets of one topic that follow each other.
#[derive(Clone, Copy, Debug)]
struct Run {
    topic: u32,
    first: u64,
    /// How many rows the topic has before.
    start: u32,
}

/// A record, and where it stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct PlacedRecord<'a> {
    pub(super) view: View<'a>,
    pub(super) position: u32,
    pub(super) bytes: u32,
}

impl<'a> PlacedRecord<'a> {
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
    /// One for each topic.
    tallies: Vec<Tally>,
    rows: Vec<Row>,
    runs: Vec<Run>,
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
            tallies: Vec::new(),
            rows: Vec::new(),
            runs: Vec::new(),
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
        records: &[PlacedRecord<'_>],
        time: Time,
        mut refuse: impl FnMut(&PlacedRecord<'_>),
    ) {
        let mut found = std::mem::take(&mut self.found);
        found.clear();
        let mut keys: Vec<Hashed<'_>> = Vec::with_capacity(records.len());
        let named = records.iter().filter_map(PlacedRecord::key);
        keys.extend(named.map(|key| self.topics.hashed(key)));
        self.topics.numbers(&keys, &mut found);
        self.touch(&found);
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
    fn add_message(&mut self, topic: u32, message: &MessageView<'_>, record: &PlacedRecord<'_>) {
        let tally = self.tally(topic);
        tally.last_append = tally.last_append.max(message.at);
        let (offset, position) = (message.offset.0, record.position);
        self.add_row(topic, offset, position, record.bytes);
        if let Some((producer, seq)) = message.producer {
            self.add_producer(producer, seq, message.at);
        }
    }

    fn add_other(&mut self, view: View<'_>, record: &PlacedRecord<'_>, time: Time) -> Option<()> {
        match view {
            View::Message(_) => return None,
            View::Moved(message) => {
                let moved = (message.offset.0, record.position, record.bytes);
                self.rarity(message.key)?.moved.push(moved);
            }
            View::Number { producer, seq } => self.add_producer(producer, seq, time),
            View::Epoch { key, epoch: bytes } => {
                let epoch = epoch(bytes)?;
                let topic = self.topics.number(key)?;
                // It is remembered as long as after a message.
                let tally = self.tally(topic);
                tally.last_append = tally.last_append.max(time);
                self.rarity_of(topic).epoch = Some(epoch);
            }
            View::Lost { key, offset } => self.rarity(key)?.lose(offset.0),
        }
        Some(())
    }

    /// Reads what will be changed, so that the processor waits for the memory of all at once.
    fn touch(&self, topics: &[Option<u32>]) {
        let tallies = topics.iter().flatten();
        let tallies = tallies.filter_map(|topic| self.tallies.get(*topic as usize));
        std::hint::black_box(tallies.fold(0, |sum, tally| sum ^ tally.rows));
    }

    #[inline]
    fn tally(&mut self, topic: u32) -> &mut Tally {
        let at = topic as usize;
        if at >= self.tallies.len() {
            self.tallies.resize(at + 1, Tally::NOTHING);
        }
        &mut self.tallies[at]
    }

    #[inline]
    fn add_row(&mut self, topic: u32, offset: u64, position: u32, bytes: u32) {
        let tally = self.tally(topic);
        let (start, follows) = (tally.rows, tally.rows > 0 && tally.next == offset);
        (tally.rows, tally.next) = (start + 1, offset.wrapping_add(1));
        if !follows {
            self.runs.push(Run {
                topic,
                first: offset,
                start,
            });
        }
        self.rows.push(Row {
            topic,
            position,
            bytes,
        });
    }

    fn rarity(&mut self, key: Key<'_>) -> Option<&mut Rarity> {
        let topic = self.topics.number(key)?;
        Some(self.rarity_of(topic))
    }

    fn rarity_of(&mut self, topic: u32) -> &mut Rarity {
        self.tally(topic);
        self.rarities.entry(topic).or_default()
    }

    fn add_producer(&mut self, producer: ProducerId, seq: Seq, time: Time) {
        match self.producers.get_mut(&producer) {
            Some(known) => *known = (known.0.max(seq), known.1.max(time)),
            None => drop(self.producers.insert(producer, (seq, time))),
        }
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
        let topic = self.topics.number(from.key().key)?;
        self.tally(topic).last_append = from.last_append();
        let mut rarity = Rarity {
            epoch: from.epoch(),
            moved: Vec::new(),
            lost: from.lost().collect(),
        };
        for IndexRun { run, .. } in from.runs {
            for (offset, (position, bytes)) in (run.first..).zip(from.places(run)) {
                match is_bad(position) {
                    true => rarity.lose(offset),
                    false => self.add_row(topic, offset, position, bytes),
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

    /// The index as it stands in the file of its segment.
    pub(super) fn to_file(&self, store: u64, id: SegmentId) -> Vec<u8> {
        envelope::wrap(Kind::Index, store, id, |out| self.encode(out))
    }

    /// How much of the file are places of messages, in bytes.
    pub(super) const fn places_bytes(&self) -> usize {
        self.rows.len() * PLACE_BYTES
    }

    /// Whether a message stands in the segment.
    pub(super) fn has_messages(&self) -> bool {
        let mut rarities = self.rarities.values();
        !self.rows.is_empty() || rarities.any(|rarity| !rarity.moved.is_empty())
    }

    /// The index without what is around it in its file.
    fn encode(&self, out: &mut Vec<u8>) {
        let runs = self.runs_by_topic();
        let mut runs = runs.as_slice();
        out.reserve(self.places_bytes() + self.topics.len() * 64);
        out.put_u32(self.valid);
        out.put_u64(self.time.as_millis());
        out.put_varint(self.topics.len() as u64);
        let common = Rarity::default();
        let mut places_at = Vec::with_capacity(self.topics.len());
        for ((topic, key), tally) in (0..).zip(self.topics.iter()).zip(&self.tallies) {
            let rarity = self.rarities.get(&topic).unwrap_or(&common);
            let epoch = rarity.epoch.as_ref();
            out.put_bytes(key.0);
            out.put_short(epoch.map_or(b"", |epoch| epoch.as_str().as_bytes()));
            out.put_varint(tally.last_append.as_millis());
            let own = runs.iter().take_while(|run| run.topic == topic).count();
            let (own, others) = runs.split_at(own);
            encode_runs(own, tally.rows, out);
            places_at.push(out.len());
            out.resize(out.len() + tally.rows as usize * PLACE_BYTES, 0);
            rarity.encode(out);
            runs = others;
        }
        self.encode_places(&mut places_at, out);
        self.encode_producers(out);
        out.put_varint(self.accepted.len() as u64);
        for (position, bytes) in &self.accepted {
            out.put_u32(*position);
            out.put_u32(*bytes);
        }
    }

    /// The runs in the order of topics.
    fn runs_by_topic(&self) -> Vec<Run> {
        let mut runs = self.runs.clone();
        runs.sort_by_key(|run| run.topic);
        runs
    }

    /// Fills in where the messages stand: those of each topic go where `places_at` says.
    fn encode_places(&self, places_at: &mut [usize], out: &mut [u8]) {
        for row in &self.rows {
            let at = &mut places_at[row.topic as usize];
            let place = u64::from(row.position) | u64::from(row.bytes) << 32;
            out[*at..*at + PLACE_BYTES].copy_from_slice(&place.to_le_bytes());
            *at += PLACE_BYTES;
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

/// Appends the runs of a topic that has so many rows.
fn encode_runs(runs: &[Run], rows: u32, out: &mut Vec<u8>) {
    out.put_varint(runs.len() as u64);
    let ends = runs.iter().skip(1).map(|run| run.start).chain([rows]);
    for (run, end) in runs.iter().zip(ends) {
        out.put_varint(run.first);
        out.put_varint(u64::from(end - run.start));
    }
}
