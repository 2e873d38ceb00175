//! The log's disk, beside the hub: threads that write, prepare and read back.
//!
//! ```text
//!   append, under the hub's lock ──► Log: pending
//!                                      │ take_batch
//!   writer thread ◄────────────────────┘         helper thread
//!     write, sync (no lock held)  ◄── segments ──  prepares, seals, checkpoints, removes
//!     │ commit, under the hub's lock
//!     └──► durable: followers woken, publishers answered
//!
//!   a follower behind ──► Log: wanted ──► reader threads ──► loaded, under the hub's lock ──► woken
//! ```
//!
//! **Invariant**: one thread writes and syncs segments; nobody waits for a disk while holding a lock.

mod helper;
mod loader;
mod open;
mod room;
#[cfg(test)]
mod tests;
mod writer;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

use heartwire_disk::Disk;
use heartwire_log::Load;
use heartwire_log::store::Opening;
use tokio::sync::watch;

use crate::shared::Shared;
use crate::sync::lock;

use open::Ready;
pub use open::StoreError;
pub(crate) use open::{Opened, open};
use room::Room;

/// How long a stop waits until what was appended is on disk.
const STOPPED_WITHIN: Duration = Duration::from_secs(10);

/// Where a hub keeps its log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    pub(crate) folder: PathBuf,
    pub(crate) opening: Opening,
}

/// The threads of a log on disk, as the hub sees them.
pub(crate) struct Storage {
    signal: Arc<Signal>,
    loads: SyncSender<Load>,
    segment_bytes: u64,
    writer: Mutex<Option<JoinHandle<()>>>,
    /// Why nothing is written any more.
    failure: Arc<OnceLock<String>>,
    room: Arc<Mutex<Room>>,
    is_closed: watch::Receiver<bool>,
}

/// How the writer is told that there is something for it.
#[derive(Default)]
pub(super) struct Signal {
    writer: OnceLock<Thread>,
    is_stopping: AtomicBool,
}

impl Signal {
    fn raise(&self) {
        if let Some(writer) = self.writer.get() {
            writer.unpark();
        }
    }

    fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Acquire)
    }
}

impl Storage {
    /// Starts the threads. They end with the hub.
    fn start<D: Disk>(ready: Ready<D>, shared: &Weak<Shared>) -> Self {
        let signal = Arc::new(Signal::default());
        let failure = Arc::new(OnceLock::new());
        let room = Arc::new(Mutex::new(Room::of(&ready.store)));
        let (closed, is_closed) = watch::channel(false);
        let segment_bytes = ready.segment_bytes;
        let loads = loader::start(&ready.store.reader(), ready.loads_max, shared);
        let writer = writer::start(
            ready,
            shared.clone(),
            signal.clone(),
            failure.clone(),
            room.clone(),
            closed,
        );
        Self {
            signal,
            loads,
            segment_bytes,
            writer: Mutex::new(Some(writer)),
            failure,
            room,
            is_closed,
        }
    }

    /// Something was appended, or may have left a segment without a message.
    pub(crate) fn raise(&self) {
        self.signal.raise();
    }

    /// Whether the writer has ended, after which nothing is to be written to the folder.
    pub(crate) fn is_closed(&self) -> bool {
        *self.is_closed.borrow()
    }

    /// How large a segment is.
    pub(crate) const fn segment_bytes(&self) -> u64 {
        self.segment_bytes
    }

    /// Reads messages back; each load is answered with `loaded`.
    pub(crate) fn load(&self, loads: Vec<Load>) {
        for load in loads {
            // The log has no more under way than the channel holds, and the threads outlive it: a load
            // that finds no place is a fault of ours, and its followers wait until they come again.
            if let Err(error) = self.loads.try_send(load) {
                let (TrySendError::Full(load) | TrySendError::Disconnected(load)) = error;
                tracing::error!(topic = %load.name, after = %load.after, "nobody reads back what is behind");
            }
        }
    }

    /// Why nothing is written any more, if that is so.
    pub(crate) fn failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }

    /// Why there is no room for a message that takes so many bytes of the log, if more cannot be made at
    /// the moment.
    pub(crate) fn room_failure(&self, bytes: u64) -> Option<Arc<str>> {
        lock(&self.room).wanting_for(bytes)
    }

    /// Whether anything that is done beside writing has failed, and not succeeded since: it is tried
    /// again every second.
    pub(crate) fn is_upkeep_failing(&self) -> bool {
        lock(&self.room).is_upkeep_failing()
    }

    /// Writes what was appended, and ends the log cleanly, so that the next start is quick.
    pub(crate) async fn close(&self) {
        self.signal.is_stopping.store(true, Ordering::Release);
        self.signal.raise();
        let mut is_closed = self.is_closed.clone();
        let closed = is_closed.wait_for(|closed| *closed);
        if tokio::time::timeout(STOPPED_WITHIN, closed).await.is_err() {
            tracing::error!("the log could not be closed in time; the next start reads it in full");
        }
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        self.signal.is_stopping.store(true, Ordering::Release);
        self.signal.raise();
        let writer = lock(&self.writer).take();
        // The writer itself may hold the last handle of the hub.
        let others = writer.filter(|writer| writer.thread().id() != std::thread::current().id());
        if let Some(writer) = others {
            let _ = writer.join();
        }
    }
}
