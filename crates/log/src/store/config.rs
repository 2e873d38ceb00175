//! What a store is made of, and its bounds.

use std::time::Duration;

use heartwire_proto::LogId;

use super::error::OpenError;
use crate::producer::ProducerKey;

/// The bounds of a store.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct StoreConfig {
    /// How large a segment is, in bytes: 64 MiB, of which a few hundred make a usual log, and which
    /// is zeroed in a fraction of a second. At least [`SEGMENT_BYTES_MIN`](Self::SEGMENT_BYTES_MIN);
    /// no batch is larger than a segment.
    pub segment_bytes: u32,
    /// How large one batch may get on disk, in bytes: 1 MiB of records, or one that is larger alone.
    /// [`Store::room_bytes`](super::Store::room_bytes) reckons with it.
    pub batch_bytes_max: u32,
    /// Behind a frame zeros are written to the end of a block of so many bytes: 4 KiB, which file systems
    /// and devices read and write as a whole. Of a block that is written to in part, the rest is read
    /// first, unless it is in memory, as in a file that is used again it seldom is.
    pub block_bytes: u32,
    /// How long checkpoints keep a topic's epoch and offsets after its last message was published, at
    /// the least: 60 days, more than the log does, so that nothing is forgotten here that is known
    /// there. Where messages live longer than 30 days, it has to be more.
    pub topic_age_max: Duration,
    /// How long checkpoints keep a producer's number after its last publish: 48 h, for the same reason. (The
    /// log remembers longer who is connected: nobody is when it is opened.)
    pub producer_age_max: Duration,
    /// How many producers checkpoints keep, those that published last: 2,000,000, twice what the log
    /// remembers.
    pub producers_max: usize,
    /// When a log is opened, the newest segments with an index are read as well, as long as they come
    /// to no more bytes than these together: so damage in a short log is met before it is served.
    /// 16 MiB, a hundredth of a second. Others are opened by their indexes, and what is damaged in them
    /// is met when it is read.
    pub verified_bytes_max: u64,
    /// How many segments a reader keeps open: 128.
    pub open_files_max: usize,
}

impl StoreConfig {
    /// The smallest segment, in bytes: room for its header and a few records.
    pub const SEGMENT_BYTES_MIN: u32 = 1_024;
    /// The largest block, in bytes: 64 KiB.
    pub const BLOCK_BYTES_MAX: u32 = 64 << 10;
    /// The largest segment, in bytes: 1 GiB.
    pub const SEGMENT_BYTES_MAX: u32 = 1 << 30;

    pub(super) const fn check(&self) -> Result<(), OpenError> {
        let (min, max) = (Self::SEGMENT_BYTES_MIN, Self::SEGMENT_BYTES_MAX);
        if self.segment_bytes < min || self.segment_bytes > max {
            return Err(OpenError::SegmentBytes { min, max });
        }
        let max = Self::BLOCK_BYTES_MAX;
        if self.block_bytes == 0 || self.block_bytes > max {
            return Err(OpenError::BlockBytes { max });
        }
        Ok(())
    }
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            batch_bytes_max: (1 << 20) + (2 << 20),
            block_bytes: 4 << 10,
            topic_age_max: Duration::from_secs(60 * 24 * 3_600),
            producer_age_max: Duration::from_secs(48 * 3_600),
            producers_max: 2_000_000,
            verified_bytes_max: 16 << 20,
            open_files_max: 128,
        }
    }
}

/// What a new store is made of, drawn at random by the caller.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Fresh {
    /// Salts every checksum, so that bytes of another store are never taken for its own.
    pub store: u64,
    /// The log's id.
    pub log: LogId,
    /// The key by which producers are named.
    pub key: ProducerKey,
    /// Whence new epochs are drawn, should damage be accepted.
    pub epochs: u64,
}

/// What to do about damage.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Opening {
    /// Refuse to open.
    #[default]
    Careful,
    /// Read every byte, keep what is whole, report what is lost, and give topics that may have lost
    /// more than can be named a new epoch.
    AcceptDataLoss,
}
