//! What a disk holds, as the model has it: records in the order in which they were written.

use std::collections::{BTreeMap, VecDeque};

use heartwire_hub::{HubState, ProducerKey};
use heartwire_log::store::{
    Batch, DiskPlace, Record, Recovered, RecoveredTopic, Report, SegmentId, SegmentInfo,
};
use heartwire_log::{Load, ProducerId, ReadBack};
use heartwire_proto::{LogId, Offset, Seq, Time, TopicName};

/// There is always room for the few messages of a model.
const ROOM_BYTES: u64 = 1 << 20;
/// All records stand in one segment, each one byte after the one before.
const SEGMENT: SegmentId = SegmentId(1);

/// The appends of all lives of the server.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Disk {
    log: LogId,
    durable: Vec<Record>,
    /// Written, in the order of the log's pending appends; a crash keeps any beginning.
    unsynced: VecDeque<Record>,
}

impl Disk {
    pub(super) const fn new(log: LogId) -> Self {
        Self {
            log,
            durable: Vec::new(),
            unsynced: VecDeque::new(),
        }
    }

    /// Writes what the hub has for it.
    pub(super) fn write(&mut self, hub: &mut HubState<u8>) {
        let mut batch = Batch::default();
        hub.take_batch(&mut batch);
        self.unsynced.extend(batch.records);
    }

    /// How many records are written and not durable.
    pub(super) fn unsynced(&self) -> usize {
        self.unsynced.len()
    }

    /// The first records are durable from here on; returns where they stand.
    pub(super) fn sync(&mut self, count: usize) -> Vec<DiskPlace> {
        let begin = self.durable.len();
        self.durable.extend(self.unsynced.drain(..count));
        (begin..self.durable.len()).map(place).collect()
    }

    /// The server dies when so many more records have reached the disk, and begins anew.
    pub(super) fn restart(&mut self, written: usize) -> Recovered {
        self.sync(written);
        self.unsynced.clear();
        Recovered {
            log: self.log,
            key: ProducerKey::new(7),
            log_time: Time::ZERO,
            topics: self.topics(),
            producers: self.producers(),
            segments: vec![SegmentInfo {
                id: SEGMENT,
                last_time: Time::ZERO,
                bytes: self.durable.len() as u64,
            }],
            report: Report::default(),
        }
    }

    fn topics(&self) -> Vec<RecoveredTopic> {
        let mut topics: BTreeMap<&TopicName, RecoveredTopic> = BTreeMap::new();
        for (position, record) in self.durable.iter().enumerate() {
            let Record::Message {
                topic: name,
                origin,
                offset,
                ..
            } = record
            else {
                continue;
            };
            let topic = topics.entry(name).or_insert_with(|| RecoveredTopic {
                name: name.clone(),
                origin: *origin,
                epoch: *origin,
                base: Offset(0),
                end: Offset(0),
                last_append: Time::ZERO,
                places: [].into_iter().collect(),
                gaps: Vec::new(),
            });
            topic.end = *offset;
            topic.places.extend([place(position)]);
        }
        topics.into_values().collect()
    }

    fn producers(&self) -> Vec<(ProducerId, Seq, Time)> {
        let mut last = BTreeMap::new();
        for record in &self.durable {
            if let Record::Message {
                producer: Some((id, seq)),
                ..
            } = record
            {
                last.insert(*id, *seq);
            }
        }
        let last = last.into_iter();
        last.map(|(id, seq)| (id, seq, Time::ZERO)).collect()
    }

    /// Reads back what a follower waits for.
    pub(super) fn read(&self, load: &Load) -> Vec<ReadBack> {
        let read = |place: &DiskPlace| match &self.durable[place.position as usize] {
            Record::Message { entry, .. } => Some(entry.clone()),
            _ => None,
        };
        load.places.iter().map(read).collect()
    }
}

/// Lets the hub write as much as it likes.
pub(super) fn give_room(hub: &mut HubState<u8>) {
    hub.set_room(ROOM_BYTES, false);
}

fn place(position: usize) -> DiskPlace {
    DiskPlace {
        segment: SEGMENT,
        position: position as u32,
        bytes: 1,
    }
}
