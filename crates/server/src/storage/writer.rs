//! The thread that writes: what was appended while the last sync ran is the next batch.

use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use heartwire_disk::Disk;
use heartwire_log::store::{Batch, DiskPlace, SegmentId, Store, WriteError};
use tokio::sync::watch;

use super::Signal;
use super::helper::Helper;
use super::open::Ready;
use super::room::Room;
use crate::shared::{HubGuard, Shared};
use crate::sync::lock;

/// How soon a job that failed is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// How long the writer sleeps when nobody raises the signal.
const IDLE: Duration = Duration::from_secs(3_600);

pub(super) fn start<D: Disk>(
    ready: Ready<D>,
    shared: Weak<Shared>,
    signal: Arc<Signal>,
    failure: Arc<OnceLock<String>>,
    room: Arc<Mutex<Room>>,
    closed: watch::Sender<bool>,
) -> JoinHandle<()> {
    let thread = thread::Builder::new().name("heartwire-write".into());
    let spawned = thread.spawn(move || {
        let _ = signal.writer.set(thread::current());
        let mut helper = Helper::start(signal.clone());
        helper.add(ready.jobs);
        Writer {
            helper,
            store: ready.store,
            shared,
            signal,
            failure,
            room,
            batch: Batch::default(),
            places: Vec::new(),
            unused: Vec::new(),
            try_again_at: None,
        }
        .run();
        closed.send_replace(true);
    });
    spawned.expect("the operating system starts threads")
}

struct Writer<D: Disk> {
    store: Store<D>,
    helper: Helper<D>,
    shared: Weak<Shared>,
    signal: Arc<Signal>,
    failure: Arc<OnceLock<String>>,
    room: Arc<Mutex<Room>>,
    /// What was taken from the log and is not durable yet; empty in between.
    batch: Batch,
    places: Vec<DiskPlace>,
    unused: Vec<SegmentId>,
    try_again_at: Option<Instant>,
}

/// Whether there is more to do at once.
#[derive(PartialEq, Eq)]
enum Turn {
    Wrote,
    Idle,
    Failed,
}

impl<D: Disk> Writer<D> {
    fn run(mut self) {
        loop {
            let turn = self.turn();
            match turn {
                Turn::Wrote => {}
                Turn::Failed => break self.refuse(),
                Turn::Idle if self.signal.is_stopping() => break,
                Turn::Idle => self.rest(),
            }
        }
        for done in self.helper.finish() {
            if let Err(error) = self.store.done(done) {
                tracing::warn!(%error, "the log's upkeep failed at the end");
            }
        }
        if self.store.failure().is_some() {
            return;
        }
        if let Err(error) = self.store.close() {
            tracing::error!(%error, "the log was not closed cleanly; the next start reads it");
        }
    }

    fn turn(&mut self) -> Turn {
        self.help();
        self.take();
        if !self.batch.is_taken() {
            return Turn::Idle;
        }
        match self.write() {
            Ok(()) => {
                self.commit();
                Turn::Wrote
            }
            // A segment is on its way, and the batch comes again.
            Err(WriteError::NoRoom { .. }) => Turn::Idle,
            Err(error) => {
                self.fail(&error);
                Turn::Failed
            }
        }
    }

    /// Gives the helper what the store wants done, and takes what is.
    fn help(&mut self) {
        let mut has_changed = false;
        for done in self.helper.done() {
            has_changed = true;
            if let Err(error) = self.store.done(done) {
                self.try_again_at = Some(Instant::now() + TRY_AGAIN);
                tracing::warn!(%error, "the log's upkeep failed, and is tried again");
            }
        }
        self.offer_jobs();
        if has_changed && let Some(shared) = self.shared.upgrade() {
            shared.hub(|hub| self.tell_room(hub));
        }
    }

    /// Gives the helper what the store wants done, unless something has failed just now.
    fn offer_jobs(&mut self) {
        let now = Instant::now();
        if self.try_again_at.is_none_or(|at| at <= now) {
            self.try_again_at = None;
            let jobs = self.store.take_jobs();
            self.helper.add(jobs);
        }
    }

    /// Tells the hub what room is left, and whoever asks why it is no more.
    fn tell_room(&self, hub: &mut HubGuard<'_>) {
        hub.set_room(self.store.room_bytes(), self.store.is_full());
        *lock(&self.room) = Room::of(&self.store);
    }

    /// Takes from the log what is to be written next, unless a batch waits to be written again; and in
    /// every case the segments that may go, as that batch may wait for their space.
    fn take(&mut self) {
        let Some(shared) = self.shared.upgrade() else {
            return;
        };
        let mut hub = shared.lock_hub();
        hub.take_unused(&mut self.unused);
        if !self.batch.is_taken() && shared.config.gate.is_open() {
            hub.take_batch(&mut self.batch);
        }
        drop(hub);
        if !self.unused.is_empty() {
            self.store.remove(&self.unused);
            self.unused.clear();
            // The next turn may come only after a long rest.
            self.offer_jobs();
        }
    }

    fn write(&mut self) -> Result<(), WriteError> {
        if self.batch.is_empty() {
            self.places.clear();
            return Ok(());
        }
        let began = Instant::now();
        self.store.write(&self.batch, &mut self.places)?;
        self.store.sync()?;
        if let Some(shared) = self.shared.upgrade() {
            let (records, bytes) = (self.batch.records.len(), self.batch.bytes);
            shared.metrics.wrote(records, bytes, began.elapsed());
        }
        Ok(())
    }

    /// The batch is durable: followers are woken, publishers answered. Their own tasks do it, so
    /// that the next batch need not wait.
    fn commit(&mut self) {
        let through = self.batch.through;
        if let Some(shared) = self.shared.upgrade() {
            shared.hub_calling(|hub| {
                hub.commit(through, &self.places);
                self.tell_room(hub);
            });
            shared.waiting.stored(through);
        }
        self.batch.clear();
    }

    /// Nothing more is written: what waits has failed, and what comes is refused.
    fn fail(&mut self, error: &WriteError) {
        tracing::error!(%error, "the log takes no more messages; restart the server once the disk is well");
        let _ = self.failure.set(error.to_string());
        if let Some(shared) = self.shared.upgrade() {
            shared.hub_calling(|hub| {
                hub.set_accepting(false);
                hub.fail_all();
            });
            shared.waiting.failed();
        }
        self.batch.clear();
    }

    /// Stays until the hub ends: what is on disk is still read.
    fn refuse(&self) {
        while !self.signal.is_stopping() && self.shared.strong_count() > 0 {
            thread::park_timeout(TRY_AGAIN);
        }
    }

    fn rest(&self) {
        let now = Instant::now();
        let again = self
            .try_again_at
            .map(|at| at.saturating_duration_since(now));
        thread::park_timeout(again.unwrap_or(IDLE));
    }
}
