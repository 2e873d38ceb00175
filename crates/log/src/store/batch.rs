//! What a commit writes, and where it stands afterwards.

use heartwire_proto::{Epoch, Offset, Seq, Time, TopicName};

use crate::append::Lsn;
use crate::entry::Entry;
use crate::producer::ProducerId;

/// The number of a segment: rising, and never used again by the same store.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct SegmentId(pub u32);

/// Where a message stands on disk. The index holds one for each message retained, hence its size.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DiskPlace {
    /// The segment.
    pub segment: SegmentId,
    /// Where in it the record begins, in bytes.
    pub position: u32,
    /// How long the record is, in bytes.
    pub bytes: u32,
}

impl DiskPlace {
    /// The place of a message that damage took: nothing stands there.
    pub const LOST: Self = Self {
        segment: SegmentId(0),
        position: 0,
        bytes: 0,
    };

    /// Whether damage took the message.
    pub const fn is_lost(&self) -> bool {
        self.bytes == 0
    }

    /// Whether the message stands in that segment.
    pub(crate) fn stands_in(&self, segment: SegmentId) -> bool {
        self.segment == segment && !self.is_lost()
    }
}

/// What one commit writes, in the order of LSNs: what was appended while the commit before it was
/// on its way.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Batch {
    /// Everything up to this number becomes durable with the batch; 0 as long as nothing was taken into
    /// it.
    pub through: Lsn,
    /// What is to be written.
    pub records: Vec<Record>,
    /// About how many bytes that is.
    pub bytes: usize,
    /// It was written no earlier, as far as its messages do not tell; 0 if it does not matter.
    pub time: Time,
}

impl Batch {
    /// At most so many records go into one batch.
    pub const RECORDS_MAX: usize = 4_096;
    /// A batch that has so many bytes takes no more: 1 MiB, which a disk writes in about the time
    /// that its sync takes anyway.
    pub const BYTES_MAX: usize = 1 << 20;

    /// Whether something was taken into it. It may hold no record all the same, and is then to be
    /// committed without writing.
    pub fn is_taken(&self) -> bool {
        self.through != Lsn(0)
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Whether it takes no more.
    pub fn is_full(&self) -> bool {
        self.records.len() >= Self::RECORDS_MAX || self.bytes >= Self::BYTES_MAX
    }

    /// Empties it, to be used again.
    pub fn clear(&mut self) {
        self.through = Lsn(0);
        self.records.clear();
        self.bytes = 0;
        self.time = Time::ZERO;
    }
}

/// One thing that is written.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Record {
    /// A message.
    Message {
        /// Its topic.
        topic: TopicName,
        /// The epoch in which the topic was born; it tells the topic from others that had its name.
        origin: Epoch,
        /// Its place in the topic.
        offset: Offset,
        /// The message.
        entry: Entry,
        /// Who published it, under which number.
        producer: Option<(ProducerId, Seq)>,
    },
    /// A message that is durable already, written once more so that its old segment can go.
    Moved {
        /// Its topic.
        topic: TopicName,
        /// The epoch in which the topic was born.
        origin: Epoch,
        /// Its place in the topic.
        offset: Offset,
        /// The message.
        entry: Entry,
    },
    /// A producer's number without a message: it was given up, or its message is kept in memory.
    Number {
        /// The producer.
        producer: ProducerId,
        /// The number.
        seq: Seq,
    },
    /// From here on the topic's offsets count in this epoch. It may be the one in which they did before:
    /// then it says that there still is such a topic.
    Epoch {
        /// The topic.
        topic: TopicName,
        /// The epoch in which it was born.
        origin: Epoch,
        /// The epoch that clients are told.
        epoch: Epoch,
    },
    /// Damage took a durable message, which is not to be looked for where it stood.
    Lost {
        /// Its topic.
        topic: TopicName,
        /// The epoch in which the topic was born.
        origin: Epoch,
        /// Its place in the topic.
        offset: Offset,
    },
}

impl Record {
    /// Whether a message stands where it is written.
    pub const fn is_message(&self) -> bool {
        matches!(self, Self::Message { .. } | Self::Moved { .. })
    }
}
