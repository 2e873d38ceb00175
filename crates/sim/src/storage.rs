//! The server's log on a simulated disk: the real store, and what its threads would do beside it.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use heartwire_disk::{CrashDisk, Disk as _, DiskFile as _, Faults, InTurn};
use heartwire_hub::{HubState, ProducerKey};
use heartwire_log::store::{
    Batch, DiskPlace, Done, Fresh, Job, JobError, OpenError, Opening, ReadError, Recovered,
    SegmentId, SegmentReader, Store, StoreConfig, WriteError, reset_epochs,
};
use heartwire_log::{Entry, Load, LogConfig, ReadBack};
use heartwire_proto::LogId;

use crate::rng::Rng;
use crate::wire::WireId;

/// About how many changes of files and names the longest job makes: a checkpoint that lets segments go.
const JOB_CHANGES: u64 = 14;

/// About how many calls of whatever kind that is.
const JOB_CALLS: u64 = 40;
/// How much longer than the log the store remembers topics. The log looks at them each second.
const REMEMBERED: Duration = Duration::from_secs(10);
/// How long the header of a segment is, in bytes.
const SEGMENT_HEADER_BYTES: usize = 64;
/// How a frame begins, and how long its header is, in bytes.
const FRAME_MAGIC: &[u8] = b"HwF1";
const FRAME_HEADER_BYTES: usize = 24;

/// What the store's threads hold while a process lives.
#[derive(Debug)]
struct Running {
    store: Store<CrashDisk>,
    reader: SegmentReader<CrashDisk>,
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Storage {
    pub(crate) disk: CrashDisk,
    config: StoreConfig,
    running: Option<Running>,
    /// What was taken from the log and is not durable yet; empty in between.
    batch: Batch,
    places: Vec<DiskPlace>,
    jobs: VecDeque<Job<CrashDisk>>,
    loads: VecDeque<Load>,
    /// What was read only in part, as the system refused; its readers pause.
    refused: VecDeque<(Load, Vec<ReadBack>)>,
    /// What one reader has brought this process at the most, in bytes of memory.
    pub(crate) brought_bytes_max: usize,
    /// An older copy of the folder, and when it was made.
    pub(crate) copy: Option<(CrashDisk, u64)>,
}

/// How the writer's turn began.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Begun {
    /// There is nothing to write, or no room for it yet.
    Nothing,
    /// A batch is written and has to be synced.
    Written,
    /// Nothing more can be written.
    Failed,
}

/// What was done to the device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Hit {
    /// What, and where, for the trace.
    pub(crate) what: String,
    /// How many records the frames have that were hit; none if it was something else.
    pub(crate) records: u64,
}

/// How a reader's turn ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Loaded {
    /// The hub has what was read, if there was anything to read.
    Brought,
    /// The system refused to read; the reader pauses, and [brings](Storage::bring_refused) what it has.
    Refused,
}

impl Storage {
    /// An empty disk, for a log like that; the bounds of the store that depend on the log's are chosen
    /// here.
    pub(crate) fn new(log: &LogConfig, config: &StoreConfig) -> Self {
        Self {
            disk: CrashDisk::new(),
            config: StoreConfig {
                batch_bytes_max: config.segment_bytes / 2,
                topic_age_max: log.policy.retention.age_max + log.topic_age_max + REMEMBERED,
                // Twice as long as the log, as by default.
                producer_age_max: log.producer_age_max * 2,
                ..config.clone()
            },
            running: None,
            batch: Batch::default(),
            places: Vec::new(),
            jobs: VecDeque::new(),
            loads: VecDeque::new(),
            refused: VecDeque::new(),
            brought_bytes_max: 0,
            copy: None,
        }
    }

    /// Opens the folder, as a new process does.
    pub(crate) fn open(&mut self, opening: Opening, rng: &mut Rng) -> Result<Recovered, OpenError> {
        let fresh = Fresh {
            store: rng.u64(),
            log: LogId::from_random(rng.u64()),
            key: ProducerKey::new(rng.u128()),
            epochs: rng.u64(),
        };
        let opened = Store::open(
            self.disk.clone(),
            self.config.clone(),
            fresh,
            opening,
            &InTurn,
        );
        let (store, recovered) = opened?;
        let reader = store.reader();
        self.running = Some(Running { store, reader });
        Ok(recovered)
    }

    /// Gives all topics new epochs, as whoever restores an older copy does.
    pub(crate) fn reset_epochs(&self, rng: &mut Rng) -> Result<usize, OpenError> {
        reset_epochs(self.disk.clone(), &self.config, rng.u64(), &InTurn)
    }

    /// How many segments this process has made of the files of removed ones.
    pub(crate) fn segments_reused(&self) -> u64 {
        let running = self.running.as_ref();
        running.map_or(0, |running| running.store.segments_reused())
    }

    pub(crate) const fn segment_bytes(&self) -> u64 {
        self.config.segment_bytes as u64
    }

    // ---- Writing ----

    /// Takes what the store wants to have done; how many jobs there are.
    pub(crate) fn take_jobs(&mut self) -> usize {
        let Some(running) = &mut self.running else {
            return 0;
        };
        let jobs = running.store.take_jobs();
        let count = jobs.len();
        self.jobs.extend(jobs);
        count
    }

    /// The helper does the next job.
    pub(crate) fn help(&mut self, hub: &mut HubState<WireId>) -> Result<(), JobError> {
        let Some(done) = self.jobs.pop_front().map(Job::run) else {
            return Ok(());
        };
        self.done(done, hub)
    }

    /// The same, and the system refuses one of the calls that it makes, if it makes so many.
    pub(crate) fn help_failing(
        &mut self,
        hub: &mut HubState<WireId>,
        rng: &mut Rng,
    ) -> Result<(), JobError> {
        let calls = rng.below(JOB_CALLS);
        let set = |calls| move |faults: &mut Faults| faults.calls_before_failure = calls;
        self.disk.set_faults(set(Some(calls)));
        let helped = self.help(hub);
        self.disk.set_faults(set(None));
        helped
    }

    /// The helper does everything that there is to do; whether anything of it was done.
    pub(crate) fn help_all(&mut self, hub: &mut HubState<WireId>) -> bool {
        self.take_jobs();
        let mut is_done = false;
        for _ in 0..self.jobs.len() {
            is_done |= self.help(hub).is_ok();
        }
        is_done
    }

    /// Whether a batch waits for room.
    pub(crate) fn is_held_up(&self) -> bool {
        self.batch.is_taken()
    }

    fn done(&mut self, done: Done<CrashDisk>, hub: &mut HubState<WireId>) -> Result<(), JobError> {
        let Some(running) = &mut self.running else {
            return Ok(());
        };
        let outcome = running.store.done(done);
        hub.set_room(running.store.room_bytes(), running.store.is_full());
        outcome
    }

    /// Writes the next batch, if there is one.
    pub(crate) fn begin(&mut self, hub: &mut HubState<WireId>) -> Begun {
        let Some(running) = &mut self.running else {
            return Begun::Nothing;
        };
        let mut unused: Vec<SegmentId> = Vec::new();
        hub.take_unused(&mut unused);
        running.store.remove(&unused);
        if !self.batch.is_taken() && !hub.take_batch(&mut self.batch) {
            return Begun::Nothing;
        }
        if self.batch.is_empty() {
            self.places.clear();
            return Begun::Written;
        }
        match running.store.write(&self.batch, &mut self.places) {
            Ok(()) => Begun::Written,
            Err(WriteError::NoRoom { .. }) => Begun::Nothing,
            Err(_) => Begun::Failed,
        }
    }

    /// Syncs what was written, and tells the hub.
    pub(crate) fn finish(
        &mut self,
        hub: &mut HubState<WireId>,
        fails: bool,
    ) -> Result<(), WriteError> {
        let Some(running) = &mut self.running else {
            return Ok(());
        };
        self.disk.set_faults(|faults| faults.fail_syncs = fails);
        let synced = match self.batch.is_empty() {
            true => Ok(()),
            false => running.store.sync(),
        };
        self.disk.set_faults(|faults| faults.fail_syncs = false);
        synced?;
        let through = std::mem::take(&mut self.batch.through);
        hub.commit(through, &self.places);
        hub.set_room(running.store.room_bytes(), running.store.is_full());
        self.batch.clear();
        Ok(())
    }

    // ---- Reading back ----

    /// Takes what followers wait for, and what a sweep goes on with; how many loads there are.
    pub(crate) fn take_loads(&mut self, hub: &mut HubState<WireId>) -> usize {
        let mut loads = Vec::new();
        hub.take_loads(&mut loads);
        self.add_loads(loads)
    }

    /// Goes on emptying segments that hold few messages; how many loads that takes.
    pub(crate) fn sweep(&mut self, hub: &mut HubState<WireId>) -> usize {
        let mut loads = Vec::new();
        hub.sweep(self.segment_bytes(), &mut loads);
        self.add_loads(loads)
    }

    fn add_loads(&mut self, loads: Vec<Load>) -> usize {
        let count = loads.len();
        self.loads.extend(loads);
        count
    }

    /// Reads everything that was asked for, by whomever; whether there was anything.
    pub(crate) fn load_all(&mut self, hub: &mut HubState<WireId>) -> bool {
        self.take_loads(hub);
        let has_loads = !self.loads.is_empty() || !self.refused.is_empty();
        while !self.loads.is_empty() && self.running.is_some() {
            self.load(hub);
        }
        while !self.refused.is_empty() {
            self.bring_refused(hub);
        }
        has_loads
    }

    /// Reads what was asked for first. Tells what could not be read.
    pub(crate) fn load(&mut self, hub: &mut HubState<WireId>) -> (Loaded, Vec<ReadError>) {
        let mut errors = Vec::new();
        let (Some(load), Some(running)) = (self.loads.pop_front(), &self.running) else {
            return (Loaded::Brought, errors);
        };
        let messages = load.read(&running.reader, |_, error| errors.push(error));
        if messages.len() < load.places.len() {
            self.refused.push_back((load, messages));
            return (Loaded::Refused, errors);
        }
        self.bring(&load, messages, hub);
        (Loaded::Brought, errors)
    }

    /// The reader that was refused first brings what it has.
    pub(crate) fn bring_refused(&mut self, hub: &mut HubState<WireId>) {
        if let Some((load, messages)) = self.refused.pop_front() {
            self.bring(&load, messages, hub);
        }
    }

    fn bring(&mut self, load: &Load, messages: Vec<ReadBack>, hub: &mut HubState<WireId>) {
        let entries = messages.iter().flatten();
        let bytes = entries.map(Entry::memory_bytes).sum();
        self.brought_bytes_max = self.brought_bytes_max.max(bytes);
        hub.loaded(load, messages);
    }

    /// How many jobs wait for the helper, and how many loads for the readers.
    pub(crate) fn queued(&self) -> (usize, usize) {
        (self.jobs.len(), self.loads.len() + self.refused.len())
    }

    // ---- Ends ----

    /// The helper is in the middle of the next job, if there is one, and comes no further: a crash
    /// follows.
    pub(crate) fn cut_job(&mut self, rng: &mut Rng) {
        if let Some(job) = self.jobs.pop_front() {
            let stop = self.disk.calls().changes() + rng.length(JOB_CHANGES);
            self.disk
                .set_faults(|faults| faults.changes_before_stop = Some(stop));
            drop(job.run());
        }
    }

    /// The process ends in good order: the job that is under way is done, others are not begun, and the log
    /// is closed. What fails costs the next start nothing but time.
    pub(crate) fn stop(&mut self) -> Result<(), WriteError> {
        let Some(Running { mut store, .. }) = self.running.take() else {
            return Ok(());
        };
        if let Some(job) = self.jobs.pop_front() {
            // What it could not do, the next start does.
            let _ = store.done(job.run());
        }
        self.jobs.clear();
        match store.failure() {
            Some(_) => Ok(()),
            None => store.close(),
        }
    }

    /// The process is gone; without power, an arbitrary part of what was not synced is gone too, and
    /// perhaps a job was in the middle.
    pub(crate) fn crash(&mut self, has_power: bool, rng: &mut Rng) {
        if rng.coin() {
            self.cut_job(rng);
        }
        self.disk = match has_power {
            true => self.disk.kill(),
            false => self.disk.crash(rng.u64()),
        };
        self.running = None;
        self.batch = Batch::default();
        self.places.clear();
        self.jobs.clear();
        self.loads.clear();
        self.refused.clear();
        self.brought_bytes_max = 0;
    }

    /// Whether the disk has room for so much and no more.
    pub(crate) fn is_bounded(&self) -> bool {
        let mut is_bounded = false;
        self.disk
            .set_faults(|faults| is_bounded = faults.capacity_bytes.is_some());
        is_bounded
    }

    /// How many bytes the files take.
    pub(crate) fn used_bytes(&self) -> u64 {
        let files = self.disk.list().unwrap_or_default();
        let lengths = files
            .iter()
            .filter_map(|name| self.disk.open(name).ok()?.len().ok());
        lengths.sum()
    }

    /// The files that may be damaged: segments and indexes that are not the newest, or else all that sums
    /// them up.
    fn damageable(&self, sums_up: bool) -> Vec<String> {
        let mut files = self.disk.list().unwrap_or_default();
        let endings = match sums_up {
            true => [".ckpt", ".gone"],
            false => [".seg", ".idx"],
        };
        files.retain(|name| endings.iter().any(|ending| name.ends_with(ending)));
        files.sort();
        if !sums_up {
            files.truncate(files.len().saturating_sub(2));
        }
        files
    }

    /// Flips a bit somewhere in a file, or lets the device not give it back any more, if there is one.
    pub(crate) fn damage(&self, rng: &mut Rng) -> Option<Hit> {
        // Draws that leave those after them as they are.
        let sums_up = Rng::new(rng.clone().u64()).below(4) == 3;
        let mut files = self.damageable(sums_up);
        if files.is_empty() {
            files = self.damageable(false);
        }
        if files.is_empty() {
            return None;
        }
        let name = &files[rng.below(files.len() as u64) as usize];
        let bytes = self.disk.contents(name)?;
        if bytes.is_empty() {
            return None;
        }
        let position = rng.below(bytes.len() as u64);
        // A draw that leaves those after it as they are.
        let mut aside = Rng::new(rng.clone().u64());
        let bit = rng.below(8) as u8;
        let (hit, what) = if aside.below(3) == 0 {
            self.disk.wear_out(name, position);
            let bytes = CrashDisk::BLOCK_BYTES;
            let block = position / bytes * bytes;
            (block..block + bytes, "cannot be read any more")
        } else {
            self.disk.flip_bit(name, position, bit);
            (position..position + 1, "has a flipped bit")
        };
        Some(Hit {
            what: format!("{name} {what} at {position}"),
            records: match name.ends_with(".seg") {
                true => records_in(&bytes, hit),
                false => 0,
            },
        })
    }
}

/// How many records the frames of a segment have that any of these bytes are of; none beside the frames
/// `[DISK-5]` `[DISK-6]`.
fn records_in(segment: &[u8], hit: Range<u64>) -> u64 {
    let (mut start, mut records) = (SEGMENT_HEADER_BYTES, 0);
    while let Some(header) = segment.get(start..start + FRAME_HEADER_BYTES)
        && header.starts_with(FRAME_MAGIC)
    {
        let number = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|byte| header[at + byte]));
        let end = start + FRAME_HEADER_BYTES + number(4) as usize;
        if (start as u64) < hit.end && hit.start < end as u64 {
            records += u64::from(number(8));
        }
        start = end;
    }
    records
}
