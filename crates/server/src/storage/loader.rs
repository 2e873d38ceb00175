//! Threads that read messages back from disk.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, Weak};
use std::thread;
use std::time::Duration;

use heartwire_disk::Disk;
use heartwire_log::store::{ReadError, SegmentReader};
use heartwire_log::{Load, Log};
use heartwire_proto::Offset;

use crate::shared::Shared;
use crate::sync::lock;

/// How many threads read: one disk serves few at a time, and most of it is in the system's cache.
const THREADS: usize = 2;
/// How long a thread leaves a system alone that refused to read.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// Starts the threads; they end when the sender is dropped.
pub(super) fn start<D: Disk>(
    reader: &SegmentReader<D>,
    loads_max: usize,
    shared: &Weak<Shared>,
) -> SyncSender<Load> {
    let (sender, loads) = sync_channel(loads_max + Log::SWEEP_LOADS_MAX);
    let loads = Arc::new(Mutex::new(loads));
    for _ in 0..THREADS {
        let (reader, shared, loads) = (reader.clone(), shared.clone(), loads.clone());
        let thread = thread::Builder::new().name("heartwire-read".into());
        let spawned = thread.spawn(move || run(&reader, &shared, &loads));
        spawned.expect("the operating system starts threads");
    }
    sender
}

fn run<D: Disk>(reader: &SegmentReader<D>, shared: &Weak<Shared>, loads: &Mutex<Receiver<Load>>) {
    loop {
        let Ok(load) = lock(loads).recv() else {
            return;
        };
        let messages = load.read(reader, |offset, error| report(&load, offset, &error));
        // Of what is to be moved, the log itself leaves alone what was refused.
        if messages.len() < load.places.len() && load.is_waited_for() {
            thread::sleep(TRY_AGAIN);
        }
        let Some(shared) = shared.upgrade() else {
            return;
        };
        shared.hub(|hub| hub.loaded(&load, messages));
        shared.loaded.send_replace(());
    }
}

fn report(load: &Load, offset: Offset, error: &ReadError) {
    match error {
        // Trimmed while it was being read: the follower is told of the trimming.
        ReadError::Gone { .. } => {}
        ReadError::File(error) => {
            tracing::error!(topic = %load.name, %offset, %error, "a message could not be read, and is tried again");
        }
        ReadError::Damaged(error) | ReadError::Unreadable(error) => {
            tracing::error!(topic = %load.name, %offset, %error, "a message cannot be read");
        }
    }
}
