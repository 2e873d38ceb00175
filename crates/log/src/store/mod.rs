//! The log on disk: segments of frames, and what is kept beside them. `docs/log-format.md` is the
//! format's text; its requirements are cited as `[DISK-n]`.

mod batch;
mod bytes;
mod checkpoint;
mod checksum;
mod config;
mod envelope;
mod error;
mod files;
mod frame;
mod frame_writer;
mod index;
mod inspect;
mod job;
mod keys;
mod load;
mod meta;
mod open;
mod reader;
mod record;
mod records;
mod recover;
mod recovered;
mod repair;
mod resolve;
mod scan;
mod state;
mod view;
mod writer;

pub use batch::{Batch, DiskPlace, Record, SegmentId};
pub use config::{Fresh, Opening, StoreConfig};
pub use error::{Damage, FileError, JobError, OpenError, ReadError, WriteError};
pub use inspect::{Checked, check, dump};
pub use job::{Done, Job};
pub use open::reset_epochs;
pub use reader::SegmentReader;
pub use recovered::{Lost, Recovered, RecoveredTopic, Report, SegmentInfo};
pub use writer::Store;
