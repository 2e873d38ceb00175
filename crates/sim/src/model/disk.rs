//! What a disk holds, as the model has it: messages in the order in which they were written, in a
//! segment for each life of the server.

use std::collections::{BTreeMap, VecDeque};

use heartwire_hub::{HubState, ProducerKey};
use heartwire_log::store::{
    Batch, DiskPlace, Record, Recovered, RecoveredTopic, Report, SegmentId, SegmentInfo,
};
use heartwire_log::{Entry, Load, ProducerId, ReadBack};
use heartwire_proto::{Epoch, LogId, Offset, Seq, Time, TopicName};

/// There is always room for the few messages of a model.
const ROOM_BYTES: u64 = 1 << 20;

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Message {
    segment: SegmentId,
    topic: TopicName,
    origin: Epoch,
    offset: Offset,
    entry: Entry,
    producer: Option<(ProducerId, Seq)>,
}

/// The messages of all lives of the server.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Disk {
    log: LogId,
    /// What this life writes to.
    segment: SegmentId,
    durable: Vec<Message>,
    /// Written, in the order of the log's pending appends; a crash keeps any beginning.
    unsynced: VecDeque<Message>,
}

impl Disk {
    pub(super) const fn new(log: LogId) -> Self {
        Self {
            log,
            segment: SegmentId(0),
            durable: Vec::new(),
            unsynced: VecDeque::new(),
        }
    }

    /// How many messages are durable.
    pub(super) const fn durable(&self) -> u64 {
        self.durable.len() as u64
    }

    /// How many messages are written and not durable.
    pub(super) fn unsynced(&self) -> usize {
        self.unsynced.len()
    }

    /// Whether a segment holds messages.
    pub(super) fn is_used(&self, segment: SegmentId) -> bool {
        let mut all = self.durable.iter().chain(&self.unsynced);
        all.any(|message| message.segment == segment)
    }

    /// Writes what the hub has for it.
    pub(super) fn write(&mut self, hub: &mut HubState<u8>) {
        let mut batch = Batch::default();
        hub.take_batch(&mut batch);
        let records = batch.records.into_iter();
        self.unsynced
            .extend(records.map(|record| message(record, self.segment)));
    }

    /// The first messages are durable from here on; returns where they stand.
    pub(super) fn sync(&mut self, count: usize) -> Vec<DiskPlace> {
        let begin = self.durable.len();
        self.durable.extend(self.unsynced.drain(..count));
        (begin..self.durable.len())
            .map(|at| self.place(at))
            .collect()
    }

    /// The server dies when so many more messages have reached the disk, and a new one finds this.
    pub(super) fn restart(&mut self, written: usize) -> Recovered {
        self.sync(written);
        self.unsynced.clear();
        let segments = (1..=self.segment.0).map(SegmentId);
        let recovered = Recovered {
            log: self.log,
            key: ProducerKey::new(7),
            log_time: Time::ZERO,
            topics: self.topics(),
            producers: self.producers(),
            segments: segments.filter(|id| self.is_used(*id)).map(info).collect(),
            report: Report::default(),
        };
        self.segment = SegmentId(self.segment.0 + 1);
        recovered
    }

    fn topics(&self) -> Vec<RecoveredTopic> {
        let mut topics: BTreeMap<&TopicName, RecoveredTopic> = BTreeMap::new();
        for (at, message) in self.durable.iter().enumerate() {
            let (name, origin) = (&message.topic, message.origin);
            let topic = topics.entry(name).or_insert_with(|| RecoveredTopic {
                name: name.clone(),
                origin,
                epoch: origin,
                base: Offset(0),
                end: Offset(0),
                last_append: Time::ZERO,
                places: [].into_iter().collect(),
                gaps: Vec::new(),
            });
            topic.end = message.offset;
            topic.places.extend([self.place(at)]);
        }
        topics.into_values().collect()
    }

    fn producers(&self) -> Vec<(ProducerId, Seq, Time)> {
        let known = self.durable.iter().filter_map(|message| message.producer);
        let last: BTreeMap<ProducerId, Seq> = known.collect();
        let last = last.into_iter();
        last.map(|(id, seq)| (id, seq, Time::ZERO)).collect()
    }

    /// Reads back what a follower waits for.
    pub(super) fn read(&self, load: &Load) -> Vec<ReadBack> {
        let read = |place: &DiskPlace| {
            let found = self.durable.get(place.position as usize);
            let found = found.filter(|_| !place.is_lost());
            found.map(|message| message.entry.clone())
        };
        load.places.iter().map(read).collect()
    }

    /// The position is a number over all segments.
    fn place(&self, at: usize) -> DiskPlace {
        DiskPlace {
            segment: self.durable[at].segment,
            position: at as u32,
            bytes: 1,
        }
    }
}

/// Lets the hub write as much as it likes.
pub(super) fn give_room(hub: &mut HubState<u8>) {
    hub.set_room(ROOM_BYTES, false);
}

fn message(record: Record, segment: SegmentId) -> Message {
    match record {
        Record::Message {
            topic,
            origin,
            offset,
            entry,
            producer,
        } => Message {
            segment,
            topic,
            origin,
            offset,
            entry,
            producer,
        },
        other => unreachable!("nothing is skipped, moved or lost in the model: {other:?}"),
    }
}

const fn info(id: SegmentId) -> SegmentInfo {
    SegmentInfo {
        id,
        last_time: Time::ZERO,
        bytes: 1,
    }
}
