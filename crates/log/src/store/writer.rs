//! The store: writing batches, and what has to be done beside it.
//!
//! ```text
//!   prepared ──► active ──► full ──► indexed ──► removed
//!       ▲          │          │         │            │
//!    a job     frames, one    a job     a job writes a checkpoint without it first
//!       ▲      sync each                             │
//!       └──────────────── its file ──────────────────┘
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use heartwire_disk::{Disk, DiskFile as _, Spread};
use heartwire_proto::Time;
use heartwire_proto::planted::{self, Bug};

use super::batch::{Batch, DiskPlace, SegmentId};
use super::checksum::{Hashes, Salt};
use super::config::{Fresh, Opening, StoreConfig};
use super::error::{JobError, OpenError, WriteError};
use super::files::{Files, Kind};
use super::frame_writer::FrameWriter;
use super::index::SegmentIndex;
use super::job::{Done, Job, JobKind, Outcome, Prepared, Task, Unwritten};
use super::load::Loaded;
use super::meta::{Behind, Identity, SEGMENT_HEADER_BYTES};
use super::open;
use super::reader::SegmentReader;
use super::recover::Read;
use super::recovered::Recovered;

/// What stays of the buffer that frames are made in, in bytes.
const FRAME_BYTES_KEPT: usize = 2 << 20;
/// A checkpoint is due when as many bytes of indexes have gathered as the last one has, and at least
/// so many.
const CHECKPOINT_BYTES_MIN: u64 = 256 * 1024;

/// The files of a log, and the one place where they are written.
#[derive(Debug)]
pub struct Store<D: Disk> {
    files: Files<D>,
    identity: Identity,
    config: StoreConfig,
    reader: SegmentReader<D>,
    phase: Phase,
    active: Option<Open<D>>,
    prepared: Option<Open<D>>,
    /// Why the last job of a kind failed; nothing of those whose last one succeeded.
    failing: BTreeMap<JobKind, Failing>,
    /// Segments that are full, and whose index has not been written.
    full: BTreeMap<SegmentId, Unwritten>,
    /// Segments that have no index file: those above, and any whose index could not be written.
    unindexed: BTreeSet<SegmentId>,
    indexed: BTreeSet<SegmentId>,
    to_remove: BTreeSet<SegmentId>,
    next_id: SegmentId,
    /// How many segments were made of the files of others.
    reused: u64,
    time: Time,
    frame: FrameWriter,
    jobs: Jobs,
    _lock: D::Lock,
}

/// Whether anything may be written.
///
/// ```text
///   synced ──write──► written ──sync──► synced
///      └────── any failure ┴──────────► failed
/// ```
#[derive(Debug)]
enum Phase {
    Synced,
    Written,
    Failed { why: String },
}

/// A segment that is, or will be, written to.
#[derive(Debug)]
struct Open<D: Disk> {
    id: SegmentId,
    file: D::File,
    index: Box<SegmentIndex>,
    bytes: u32,
}

/// Why a job failed.
#[derive(Debug)]
struct Failing {
    why: Arc<str>,
    is_no_space: bool,
}

/// What the helper has been given, and what is due.
#[derive(Debug, Default)]
struct Jobs {
    is_preparing: bool,
    is_checkpointing: bool,
    /// The segment below which the last checkpoint covers everything.
    checkpoint: SegmentId,
    checkpoint_bytes: u64,
    /// What indexes written since say beside the places of messages, in bytes.
    index_bytes: u64,
    /// The checkpoint that was not written because something damaged lies below it.
    met_damage: Option<SegmentId>,
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
        open::open(disk, config, fresh, opening, spread)
    }

    pub(super) fn new(files: Files<D>, lock: D::Lock, config: StoreConfig, read: &Read) -> Self {
        let identity = read.identity;
        let unwritten = read.segments.iter().filter(|segment| !segment.has_file);
        let full: BTreeMap<SegmentId, Unwritten> = unwritten
            .map(|segment| (segment.id, Unwritten::from(&segment.index)))
            .collect();
        let is_indexed = |id: &SegmentId| !full.contains_key(id);
        let reader = SegmentReader::new(files.clone(), identity.store, config.open_files_max);
        let is_damaged = |segment: &&Loaded| segment.view().accepted().next().is_some();
        let damaged = read.segments.iter().filter(is_damaged);
        damaged.for_each(|segment| reader.distrust(segment.id));
        let frame = FrameWriter::new(config.block_bytes);
        Self {
            reader,
            config,
            identity,
            phase: Phase::Synced,
            active: None,
            prepared: None,
            failing: BTreeMap::new(),
            unindexed: full.keys().copied().collect(),
            indexed: read
                .state
                .segments
                .keys()
                .copied()
                .filter(is_indexed)
                .collect(),
            full,
            to_remove: BTreeSet::new(),
            next_id: read.next_id(),
            reused: 0,
            time: read.state.time,
            frame,
            jobs: Jobs {
                checkpoint: read.checkpoint,
                checkpoint_bytes: read.checkpoint_bytes,
                index_bytes: read.index_bytes,
                ..Jobs::default()
            },
            files,
            _lock: lock,
        }
    }

    /// A reader of the store's segments.
    pub fn reader(&self) -> SegmentReader<D> {
        self.reader.clone()
    }

    /// Encodes a batch and writes it as one frame, to the prepared segment if the present one is
    /// full. `places` is emptied and gets the places of its messages, moved ones included, in order.
    /// The batch is durable once [`sync`](Self::sync) has returned.
    pub fn write(&mut self, batch: &Batch, places: &mut Vec<DiskPlace>) -> Result<(), WriteError> {
        places.clear();
        // At most the last frame may ever be torn: a second one is not begun before the first is
        // durable.
        self.sync()?;
        if batch.is_empty() {
            return Ok(());
        }
        let bytes = self.frame.encode(&batch.records);
        self.make_room(bytes)?;
        let Some(active) = &mut self.active else {
            return Err(WriteError::NoRoom { bytes });
        };
        let (segment, position) = (active.id, active.index.valid);
        let salt = Salt::new(self.identity.store, segment);
        let place = |position, bytes| {
            places.push(DiskPlace {
                segment,
                position,
                bytes,
            });
        };
        let room = active.room();
        let index = &mut active.index;
        let records = &batch.records;
        self.frame.seal(
            records,
            salt,
            position,
            self.time.max(batch.time),
            index,
            place,
        );
        let frame = self.frame.frame_and_end(position, room);
        let written = active.file.write_at(frame, u64::from(position));
        active.index.valid += bytes as u32;
        self.time = active.index.time;
        self.phase = Phase::Written;
        self.frame.shrink_to(FRAME_BYTES_KEPT);
        written.map_err(|source| self.fail("write", segment, source))
    }

    /// Makes durable what was written. After a failure the store has failed for good: every later
    /// call refuses, and nothing is tried again `[DISK-17]`.
    pub fn sync(&mut self) -> Result<(), WriteError> {
        match (&self.phase, &self.active) {
            (Phase::Failed { why }, _) => Err(WriteError::Stopped { why: why.clone() }),
            (Phase::Written, Some(active)) => {
                let (segment, mut synced) = (active.id, active.file.sync());
                if planted::has(Bug::SyncRetried) {
                    // The system takes what it could not write for clean, and has nothing to do.
                    synced = Ok(());
                }
                synced.map_err(|source| self.fail("sync", segment, source))?;
                self.phase = Phase::Synced;
                Ok(())
            }
            (Phase::Written | Phase::Synced, _) => Ok(()),
        }
    }

    fn fail(&mut self, doing: &'static str, id: SegmentId, source: std::io::Error) -> WriteError {
        let error = self.files.error(doing, &Kind::Segment.name(id), source);
        self.phase = Phase::Failed {
            why: error.to_string(),
        };
        WriteError::Failed(error)
    }

    /// Sees to it that the active segment takes so many bytes.
    fn make_room(&mut self, bytes: usize) -> Result<(), WriteError> {
        let segment_bytes = self.config.segment_bytes as usize - SEGMENT_HEADER_BYTES;
        if bytes > segment_bytes {
            return Err(WriteError::TooLarge {
                bytes,
                segment_bytes,
            });
        }
        if self
            .active
            .as_ref()
            .is_some_and(|active| active.room() >= bytes as u64)
        {
            return Ok(());
        }
        let Some(next) = self.prepared.take() else {
            return Err(WriteError::NoRoom { bytes });
        };
        if let Some(full) = self.active.replace(next) {
            self.unindexed.insert(full.id);
            if !full.index.has_messages() {
                // Whoever counts what is retained never hears of it.
                self.to_remove.insert(full.id);
            }
            self.full.insert(full.id, Unwritten::Gathered(full.index));
        }
        Ok(())
    }

    /// How many bytes of batches can be written for certain before another segment is prepared.
    /// A record takes at most [`Entry::wire_bytes`](crate::Entry::wire_bytes) of the v1 form and
    /// [`RECORD_OVERHEAD_BYTES_MAX`](super::RECORD_OVERHEAD_BYTES_MAX) more.
    pub fn room_bytes(&self) -> u64 {
        let rest = self.active.as_ref().map_or(0, Open::room);
        match &self.prepared {
            None => rest,
            // What is left of the active segment is wasted when a batch does not fit it.
            Some(prepared) => {
                let rest_used = rest.saturating_sub(u64::from(self.config.batch_bytes_max));
                rest.max(prepared.room() + rest_used)
            }
        }
    }

    /// Whether a segment has to be prepared.
    pub fn needs_segment(&self) -> bool {
        self.prepared.is_none()
    }

    /// Whether the disk is full: the last attempt to prepare a segment found no space. What becomes of
    /// other jobs says nothing of the room for a segment.
    pub fn is_full(&self) -> bool {
        let failing = self.failing.get(&JobKind::Prepare);
        failing.is_some_and(|failing| failing.is_no_space)
    }

    /// Why no segment stands ready, if the last attempt to prepare one failed, for want of space or
    /// otherwise. There may be room in the present one.
    pub fn prepare_failure(&self) -> Option<&Arc<str>> {
        let failing = self.failing.get(&JobKind::Prepare);
        failing.map(|failing| &failing.why)
    }

    /// Whether there is a kind of job of which the last one failed.
    pub fn is_upkeep_failing(&self) -> bool {
        !self.failing.is_empty()
    }

    /// Nothing in these segments is retained: they go, once a checkpoint has what else is in them.
    /// The one being written stays, whatever is asked.
    pub fn remove(&mut self, segments: &[SegmentId]) {
        let is_active = |id: &SegmentId| self.active.as_ref().is_some_and(|open| open.id == *id);
        let known = segments.iter().filter(|id| {
            self.indexed.contains(id) || (self.unindexed.contains(id) && !is_active(id))
        });
        self.to_remove.extend(known);
    }

    /// Work for a helper, to be run in this order; each [`Job::run`] ends with a [`Done`] for
    /// [`done`](Self::done). What failed is offered again by the next call.
    pub fn take_jobs(&mut self) -> Vec<Job<D>> {
        if self.failure().is_some() {
            return Vec::new();
        }
        let mut tasks = Vec::new();
        if self.prepared.is_none() && !self.jobs.is_preparing {
            self.jobs.is_preparing = true;
            let (id, config) = (self.next_id, self.config.clone());
            self.next_id = SegmentId(id.0 + 1);
            tasks.push(Task::Prepare { id, config });
        }
        let full = std::mem::take(&mut self.full);
        tasks.extend(full.into_iter().map(|(id, index)| Task::Seal { id, index }));
        if let Some(task) = self.due_checkpoint() {
            self.jobs.is_checkpointing = true;
            tasks.push(task);
        }
        let job = |task| Job {
            files: self.files.clone(),
            identity: self.identity,
            task,
        };
        tasks.into_iter().map(job).collect()
    }

    /// The checkpoint that should be written, if any: when segments are to be removed, or enough has
    /// happened since the last one, so that a start does not read more of indexes than of it. Where one
    /// met damage, the next is tried when another segment is full, or while none can be prepared: looking
    /// takes long, and helps little.
    fn due_checkpoint(&self) -> Option<Task> {
        let id = self.checkpoint_id();
        if self.jobs.is_checkpointing || self.jobs.met_damage == Some(id) {
            return None;
        }
        let is_below = |segment: &&SegmentId| **segment < id && self.indexed.contains(*segment);
        let remove: Vec<SegmentId> = self.to_remove.iter().filter(is_below).copied().collect();
        let enough = self.jobs.checkpoint_bytes.max(CHECKPOINT_BYTES_MIN);
        let is_due = self.jobs.index_bytes >= enough && id > self.jobs.checkpoint;
        let is_trusted = |segment: &&SegmentId| self.reader.is_trusted(**segment);
        let spare = remove.iter().rev().find(is_trusted).copied();
        (is_due || !remove.is_empty()).then(|| Task::Checkpoint {
            id,
            remove,
            spare,
            config: self.config.clone(),
        })
    }

    /// The first segment that a checkpoint cannot cover yet.
    fn checkpoint_id(&self) -> SegmentId {
        if planted::has(Bug::CheckpointBeforeData) {
            return self.next_id;
        }
        let active = self.active.as_ref().map(|active| active.id);
        let prepared = self.prepared.as_ref().map(|prepared| prepared.id);
        let unindexed = self.unindexed.first().copied();
        let first = [active, prepared, unindexed].into_iter().flatten().min();
        let after_all = self
            .indexed
            .last()
            .map_or(SegmentId(1), |last| SegmentId(last.0 + 1));
        first.unwrap_or(after_all).max(self.jobs.checkpoint)
    }

    /// Takes the outcome of a job.
    pub fn done(&mut self, done: Done<D>) -> Result<(), JobError> {
        let kind = done.0.kind();
        let outcome = self.settle(done.0);
        match &outcome {
            Ok(()) => self.failing.remove(&kind),
            Err(error) => self.failing.insert(kind, Failing::of(error)),
        };
        outcome
    }

    fn settle(&mut self, outcome: Outcome<D>) -> Result<(), JobError> {
        match outcome {
            Outcome::Prepared { id, made } => {
                self.jobs.is_preparing = false;
                if made.is_err() {
                    // What a checkpoint lets go may be the room that is wanting.
                    self.jobs.met_damage = None;
                }
                self.prepare(id, made?);
            }
            Outcome::Sealed { id, index, made } => {
                let facts_bytes = index.facts_bytes;
                if made.is_err() {
                    self.full.insert(id, Unwritten::Encoded(index));
                }
                made?;
                self.jobs.index_bytes += facts_bytes;
                self.unindexed.remove(&id);
                self.indexed.insert(id);
            }
            Outcome::Checkpointed { id, removed, made } => {
                self.jobs.is_checkpointing = false;
                self.jobs.met_damage = matches!(made, Err(JobError::Damaged(_))).then_some(id);
                self.jobs.checkpoint_bytes = made?;
                self.jobs.checkpoint = id;
                self.jobs.index_bytes = 0;
                for id in removed {
                    self.to_remove.remove(&id);
                    self.indexed.remove(&id);
                    self.reader.let_go(id);
                }
            }
        }
        Ok(())
    }

    fn prepare(&mut self, id: SegmentId, prepared: Prepared<D>) {
        self.reused += u64::from(prepared.behind == Behind::Stale);
        let hashes = Hashes::new(self.identity.store);
        let index = SegmentIndex::new(hashes, SEGMENT_HEADER_BYTES as u32, self.time);
        let open = Open {
            id,
            file: prepared.file,
            index: Box::new(index),
            bytes: self.config.segment_bytes,
        };
        match self.active {
            None => self.active = Some(open),
            Some(_) => self.prepared = Some(open),
        }
    }

    /// How many segments were made of the files of removed ones since the store was opened.
    pub const fn segments_reused(&self) -> u64 {
        self.reused
    }

    /// Why nothing can be written any more; `None` as long as it can.
    pub fn failure(&self) -> Option<&str> {
        match &self.phase {
            Phase::Failed { why } => Some(why),
            Phase::Synced | Phase::Written => None,
        }
    }

    /// Stops cleanly: what was written is synced, the present segment is cut to its length, and all
    /// get their indexes, so that the next start reads no segment. Jobs that were taken are done
    /// before. After a sync that succeeded, an error costs nothing but a longer start.
    pub fn close(mut self) -> Result<(), WriteError> {
        self.sync()?;
        let files = &self.files;
        if let Some(active) = self.active.take_if(|active| !active.is_unused()) {
            let name = Kind::Segment.name(active.id);
            let cut = active.file.set_len(u64::from(active.index.valid));
            let cut = cut.and_then(|()| active.file.sync());
            cut.map_err(|source| files.error("cut", &name, source))?;
            self.full
                .insert(active.id, Unwritten::Gathered(active.index));
        }
        for (id, index) in std::mem::take(&mut self.full) {
            let index = index.encode(self.identity.store, id);
            files.put(&Kind::Index.name(id), &index.file)?;
        }
        for unused in self.active.iter().chain(&self.prepared) {
            files.remove(&Kind::Segment.name(unused.id))?;
        }
        files.remove_spare()?;
        files.sync_folder()?;
        Ok(())
    }
}

impl Failing {
    fn of(error: &JobError) -> Self {
        Self {
            why: error.to_string().into(),
            is_no_space: matches!(error, JobError::NoSpace(_)),
        }
    }
}

impl<D: Disk> Open<D> {
    /// How much it takes, in bytes.
    fn room(&self) -> u64 {
        u64::from(self.bytes.saturating_sub(self.index.valid))
    }

    fn is_unused(&self) -> bool {
        self.index.valid as usize == SEGMENT_HEADER_BYTES
    }
}
