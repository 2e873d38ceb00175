//! What can go wrong with a log on disk, by whose fault.

use std::fmt;

pub use heartwire_disk::FileError;

use super::batch::SegmentId;

/// A place where a file does not hold what was written to it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Damage {
    /// The file's name.
    pub file: String,
    /// Where in it, in bytes.
    pub position: u64,
    /// How many bytes cannot be made sense of; 0 when nobody knows.
    pub bytes: u64,
    /// What is wrong.
    pub what: &'static str,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            position,
            bytes,
            what,
        } = self;
        write!(f, "{file} at byte {position}: {what}")?;
        match bytes {
            0 => Ok(()),
            bytes => write!(f, " ({bytes} bytes)"),
        }
    }
}

/// Why a log was not opened. Nothing that counts has been changed: opening it again meets the same.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The caller's: another process has the folder.
    #[error("{folder} is in use by {by}")]
    Held {
        /// The folder.
        folder: String,
        /// What the other says of itself.
        by: String,
    },
    /// The caller's: there is no log in the folder.
    #[error("there is no log in {folder}")]
    NoLog {
        /// The folder.
        folder: String,
    },
    /// The caller's: the log was written by a later version of this program, or is none.
    #[error("{folder} holds a log of format {version}, and this program reads format {known}")]
    UnknownVersion {
        /// The folder.
        folder: String,
        /// The format found.
        version: u32,
        /// The format that this program knows.
        known: u32,
    },
    /// Nobody's, or the device's: `meta` cannot be read, and there is no segment from which it could be
    /// made again. Nothing can be read without it; it never changes, so that any copy will do.
    #[error(
        "`meta` in {folder}: {what}, and no segment tells what it held: \
         put a copy of it back, however old, or move the files away to begin a new log"
    )]
    NoIdentity {
        /// The folder.
        folder: String,
        /// What is wrong with the file.
        what: &'static str,
    },
    /// The caller's: a file's number leaves too few for what will be written. No log gets so far.
    #[error("{file} in {folder} is none of the log's, as its number shows: move it away")]
    Number {
        /// The folder.
        folder: String,
        /// The file's name.
        file: String,
    },
    /// The caller's: a bound makes no sense.
    #[error("a segment has between {min} and {max} bytes")]
    SegmentBytes {
        /// The least.
        min: u32,
        /// The most.
        max: u32,
    },
    /// The caller's: a bound makes no sense.
    #[error("a block has between 1 and {max} bytes")]
    BlockBytes {
        /// The most.
        max: u32,
    },
    /// Nobody's, or the device's: something that was durable cannot be read back.
    /// [`Opening::AcceptDataLoss`](super::Opening::AcceptDataLoss) keeps what is whole.
    #[error("{folder} is damaged: {}", Listed(.damage))]
    Damaged {
        /// The folder.
        folder: String,
        /// Where; at least one.
        damage: Vec<Damage>,
    },
    /// Ours: the system refused.
    #[error(transparent)]
    File(#[from] FileError),
}

/// So many places are told; a check of the log tells all.
const TOLD_MAX: usize = 10;

struct Listed<'a>(&'a [Damage]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, damage) in self.0.iter().take(TOLD_MAX).enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            damage.fmt(f)?;
        }
        match self.0.len().saturating_sub(TOLD_MAX) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

/// Why a batch was not written, or not made durable.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Ours, and soon over: there is no room until a job has prepared a segment. Nothing was
    /// written, and the same batch may come again.
    #[error("there is no segment prepared that takes {bytes} bytes")]
    NoRoom {
        /// What the batch takes, in bytes.
        bytes: usize,
    },
    /// The caller's: no segment would ever take the batch. Nothing was written.
    #[error("a batch of {bytes} bytes does not fit a segment of {segment_bytes}")]
    TooLarge {
        /// What the batch takes, in bytes.
        bytes: usize,
        /// What a segment takes, in bytes.
        segment_bytes: usize,
    },
    /// Ours, and final: what was written may or may not be durable, and nothing more is written.
    #[error("the log stopped: {0}")]
    Failed(#[from] FileError),
    /// Ours: the log has failed before.
    #[error("the log has stopped: {why}")]
    Stopped {
        /// The failure.
        why: String,
    },
}

impl WriteError {
    /// Whether nothing can be written to this store any more.
    pub const fn is_final(&self) -> bool {
        matches!(self, Self::Failed(_) | Self::Stopped { .. })
    }
}

/// Why messages were not read back. Those before the failing one were.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Nobody's: the segment was removed, as nothing in it is retained.
    #[error("segment {} is gone", .segment.0)]
    Gone {
        /// The segment.
        segment: SegmentId,
    },
    /// The device's: the record does not hold what was written.
    #[error("damaged: {0}")]
    Damaged(Damage),
    /// The device's: it does not give the record back. Another time it may, where the device is not a
    /// disk but something that stands for one.
    #[error("unreadable: {0}")]
    Unreadable(Damage),
    /// Ours: the system refused.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Why a job failed. The store offers it again; nothing is lost meanwhile.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The disk is full.
    #[error("no space: {0}")]
    NoSpace(FileError),
    /// The system refused.
    #[error(transparent)]
    File(FileError),
    /// A file that the job reads is damaged; the next start will say more.
    #[error("damaged: {0}")]
    Damaged(Damage),
}

impl From<FileError> for JobError {
    fn from(error: FileError) -> Self {
        if error.is_no_space() {
            Self::NoSpace(error)
        } else {
            Self::File(error)
        }
    }
}
