//! The log on disk: segments, and what is written to them.

mod batch;
mod config;
mod error;
mod job;
mod reader;
mod recovered;
mod writer;

pub use batch::{Batch, DiskPlace, Record, SegmentId};
pub use config::{Fresh, Opening, StoreConfig};
pub use error::{Damage, FileError, JobError, OpenError, ReadError, WriteError};
pub use job::{Done, Job};
pub use reader::SegmentReader;
pub use recovered::{Lost, Recovered, RecoveredTopic, Report, SegmentInfo};
pub use writer::Store;
