//! Writing.

use std::marker::PhantomData;

use heartwire_disk::{Disk, Spread};

use super::batch::{Batch, DiskPlace, SegmentId};
use super::config::{Fresh, Opening, StoreConfig};
use super::error::{JobError, OpenError, WriteError};
use super::job::{Done, Job};
use super::reader::SegmentReader;
use super::recovered::Recovered;

/// The files of a log, and the one place where they are written.
#[derive(Debug)]
pub struct Store<D: Disk> {
    disk: PhantomData<D>,
}

impl<D: Disk> Store<D> {
    /// Opens the log in a folder, or makes one of what `fresh` brings if there is none. `spread` says
    /// how reading several segments is spread over threads.
    ///
    /// A store that was just opened has no room until the first of its [jobs](Self::take_jobs) have
    /// run.
    pub fn open(
        disk: D,
        config: StoreConfig,
        fresh: Fresh,
        opening: Opening,
        spread: &impl Spread,
    ) -> Result<(Self, Recovered), OpenError> {
        let _ = (disk, config, fresh, opening, spread);
        Err(OpenError::SegmentBytes { min: 0, max: 0 })
    }

    /// A reader of the store's segments.
    pub fn reader(&self) -> SegmentReader<D> {
        unreachable!("skeleton")
    }

    /// Encodes a batch and writes it as one frame, to the prepared segment if the present one is
    /// full. `places` is emptied and gets the places of its messages, moved ones included, in order.
    /// The batch is durable once [`sync`](Self::sync) has returned.
    pub fn write(&mut self, batch: &Batch, places: &mut Vec<DiskPlace>) -> Result<(), WriteError> {
        let _ = (batch, places);
        Err(WriteError::NoRoom { bytes: 0 })
    }

    /// Makes durable what was written. After a failure the store has failed for good: every later
    /// call refuses, and nothing is tried again.
    pub fn sync(&mut self) -> Result<(), WriteError> {
        Ok(())
    }

    /// How many bytes of batches can be written for certain before another segment is prepared.
    /// A record takes at most [`Entry::wire_bytes`](crate::Entry::wire_bytes) of the v1 form and
    /// [`RECORD_OVERHEAD_BYTES_MAX`](Self::RECORD_OVERHEAD_BYTES_MAX) more.
    pub fn room_bytes(&self) -> u64 {
        0
    }

    /// What a record takes beside the wire form of its message, at the most, in bytes.
    pub const RECORD_OVERHEAD_BYTES_MAX: usize = 128;

    /// Whether a segment has to be prepared.
    pub fn needs_segment(&self) -> bool {
        true
    }

    /// Nothing in these segments is retained: they go, once a checkpoint has what else is in them.
    /// The one being written stays, whatever is asked.
    pub fn remove(&mut self, segments: &[SegmentId]) {
        let _ = segments;
    }

    /// Work for a helper, to be run in this order; each [`Job::run`] ends with a [`Done`] for
    /// [`done`](Self::done). What failed is offered again by the next call.
    pub fn take_jobs(&mut self) -> Vec<Job<D>> {
        Vec::new()
    }

    /// Takes the outcome of a job.
    pub fn done(&mut self, done: Done<D>) -> Result<(), JobError> {
        let Done { disk } = done;
        self.disk = disk;
        Ok(())
    }

    /// Why nothing can be written any more; `None` as long as it can.
    pub fn failure(&self) -> Option<&str> {
        None
    }

    /// Stops cleanly: the present segment is cut to its length and gets its index, so that the next
    /// start reads no segment.
    pub fn close(self) -> Result<(), WriteError> {
        Ok(())
    }
}
