//! Opening the log of a folder.

use std::io;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Weak;

use heartwire_disk::{Disk, FileDisk, Threads};
use heartwire_hub::HubConfig;
use heartwire_log::ProducerKey;
use heartwire_log::store::{self, Batch, Fresh, Job, JobError, Recovered, Store, StoreConfig};
use heartwire_proto::LogId;
use heartwire_proto::limits::HEADER_BYTES_MAX;

use super::{Place, Storage};
use crate::clock;
use crate::shared::Shared;

/// On how many threads a log is read when it is opened: more wait for the same disk.
const THREADS_MAX: NonZeroUsize = NonZeroUsize::new(8).expect("8 is not 0");
/// What a record on disk takes beside its message's payload and header, in bytes.
const RECORD_BYTES: usize = 1_024;

/// Why a log on disk was not opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The folder cannot be made, or used.
    #[error("cannot use the folder {}: {source}", .folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The log in it cannot be opened.
    #[error(transparent)]
    Log(#[from] store::OpenError),
    /// It can be read, and nothing can be added to it, for another reason than want of space.
    #[error("nothing can be written: {0}")]
    NotWritable(JobError),
}

/// A log on disk, opened: what the hub knows of it, whatever disk it is on.
pub(crate) struct Opened {
    /// What can be written at once.
    pub(crate) room_bytes: u64,
    /// There is no space for more.
    pub(crate) is_full: bool,
    /// Starts the threads that write and read it.
    pub(crate) start: Start,
}

type Start = Box<dyn FnOnce(&Weak<Shared>) -> Storage + Send>;

/// What the threads begin with.
pub(super) struct Ready<D: Disk> {
    pub(super) store: Store<D>,
    pub(super) loads_max: usize,
    pub(super) segment_bytes: u64,
    /// Jobs of the store that have not run yet.
    pub(super) jobs: Vec<Job<D>>,
}

/// Opens the log in a folder, or makes a new one, and says what it held. Takes as long as reading takes:
/// the indexes, what was not closed cleanly, and the newest of what was.
pub(crate) fn open(place: &Place, config: &HubConfig) -> Result<(Opened, Recovered), StoreError> {
    let disk = FileDisk::create(&place.folder).map_err(|source| StoreError::Folder {
        folder: place.folder.clone(),
        source,
    })?;
    open_on(disk, place, config)
}

pub(super) fn open_on<D: Disk>(
    disk: D,
    place: &Place,
    config: &HubConfig,
) -> Result<(Opened, Recovered), StoreError> {
    let fresh = Fresh {
        store: clock::secret() as u64,
        log: LogId::from_random(clock::secret() as u64),
        key: ProducerKey::new(clock::secret()),
        epochs: clock::secret() as u64,
    };
    let spread = Threads::available(THREADS_MAX);
    let bounds = store_config(config);
    let segment_bytes = u64::from(bounds.segment_bytes);
    let (store, recovered) = Store::open(disk, bounds, fresh, place.opening, &spread)?;
    for line in recovered.report.to_string().lines() {
        tracing::warn!(folder = %place.folder.display(), "{line}");
    }
    let mut ready = Ready {
        store,
        loads_max: config.log.loads_max,
        segment_bytes,
        jobs: Vec::new(),
    };
    ready.make_room()?;
    let opened = Opened {
        room_bytes: ready.store.room_bytes(),
        is_full: ready.store.is_full(),
        start: Box::new(|shared| Storage::start(ready, shared)),
    };
    Ok((opened, recovered))
}

impl<D: Disk> Ready<D> {
    /// Runs the store's jobs until something can be written, so that the first message is not
    /// refused; the helper runs the others. A full disk may have space again later.
    fn make_room(&mut self) -> Result<(), StoreError> {
        let mut jobs = self.store.take_jobs().into_iter();
        while self.store.room_bytes() == 0
            && let Some(job) = jobs.next()
        {
            match self.store.done(job.run()) {
                Ok(()) => {}
                Err(error @ JobError::NoSpace(_)) => {
                    tracing::warn!(%error, "the log has no room yet");
                }
                Err(error) => return Err(StoreError::NotWritable(error)),
            }
        }
        self.jobs = jobs.collect();
        Ok(())
    }
}

/// Segments that hold the largest message with room to spare.
fn store_config(config: &HubConfig) -> StoreConfig {
    let defaults = StoreConfig::default();
    let record = config.limits.message_bytes_max + HEADER_BYTES_MAX + RECORD_BYTES;
    let batch = u32::try_from(record + Batch::BYTES_MAX + Batch::RECORDS_MAX * RECORD_BYTES);
    let batch_bytes_max = batch.unwrap_or(StoreConfig::SEGMENT_BYTES_MAX / 4);
    let policies = config.log.policies.iter().map(|(_, policy)| policy);
    let ages = policies.chain([&config.log.policy]);
    let age_max = ages.map(|policy| policy.retention.age_max).max();
    StoreConfig {
        topic_age_max: age_max
            .unwrap_or_default()
            .saturating_add(config.log.topic_age_max.saturating_mul(2)),
        batch_bytes_max,
        segment_bytes: defaults
            .segment_bytes
            .max(batch_bytes_max.saturating_mul(4))
            .min(StoreConfig::SEGMENT_BYTES_MAX)
            .next_multiple_of(defaults.block_bytes),
        producers_max: config.log.producers_max.saturating_mul(2),
        ..defaults
    }
}
