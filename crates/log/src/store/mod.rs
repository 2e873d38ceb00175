//! The log on disk: segments of frames, and what is kept beside them. `docs/log-format.md` is the
//! format's text; its requirements are cited as `[DISK-n]`.
//!
//! [`Store`] writes; [`SegmentReader`] reads single messages back; [`check`], [`dump`] and
//! [`reset_epochs`] are for the command line. Nothing here knows what a topic retains: whoever owns
//! the topics keeps the [places](DiskPlace) of their messages, and says which segments may go. No
//! threads, no clock: slow work comes out as [`Job`]s, for a thread of the caller's.
//!
//! ```
//! use heartwire_disk::{CrashDisk, InTurn};
//! use heartwire_log::ProducerKey;
//! use heartwire_log::store::{Batch, Fresh, Opening, Record, Store, StoreConfig};
//! use heartwire_proto::{LogId, Seq};
//!
//! let disk = CrashDisk::new();
//! let key = ProducerKey::new(0x5EED);
//! let fresh = Fresh { store: 1, log: LogId::from_random(2), key, epochs: 3 };
//! let config = StoreConfig { segment_bytes: 4_096, ..StoreConfig::default() };
//! let open = || Store::open(disk.clone(), config.clone(), fresh, Opening::Careful, &InTurn);
//!
//! let (mut store, _) = open()?;
//! for job in store.take_jobs() {
//!     store.done(job.run())?;
//! }
//! let producer = key.producer(None, &"3f9c2a7e51b04d68".parse()?);
//! let number = Record::Number { producer, seq: Seq(7) };
//! store.write(&Batch { records: vec![number], ..Batch::default() }, &mut Vec::new())?;
//! store.sync()?;
//! drop(store);
//!
//! let (_, recovered) = open()?;
//! assert_eq!(recovered.producers[0].1, Seq(7));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

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
mod places;
mod reader;
mod record;
mod records;
mod recover;
mod recovered;
mod repair;
mod resolve;
mod scan;
mod share;
mod state;
mod view;
mod window;
mod writer;

pub use batch::{Batch, DiskPlace, Record, SegmentId};
pub use config::{Fresh, Opening, StoreConfig};
pub use error::{Damage, FileError, JobError, OpenError, ReadError, WriteError};
pub use inspect::{Checked, check, dump};
pub use job::{Done, Job};
pub use open::reset_epochs;
pub use places::Places;
pub use reader::SegmentReader;
pub use record::RECORD_OVERHEAD_BYTES_MAX;
pub use recovered::{Lost, Recovered, RecoveredTopic, Report, SegmentInfo};
pub use writer::Store;
