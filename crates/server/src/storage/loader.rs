//! Threads that read messages back from disk.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, Weak};
use std::thread;
use std::time::Duration;

use heartwire_disk::FileDisk;
use heartwire_log::store::{DiskPlace, ReadError, SegmentReader};
use heartwire_log::{Entry, Load, Log, ReadBack};
use heartwire_proto::Offset;

use crate::shared::Shared;
use crate::sync::lock;

/// How many threads read: one disk serves few at a time, and most of it is in the system's cache.
const THREADS: usize = 2;
/// How long a thread leaves a system alone that refused to read.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// Starts the threads; they end when the sender is dropped.
pub(super) fn start(
    reader: &SegmentReader<FileDisk>,
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

fn run(reader: &SegmentReader<FileDisk>, shared: &Weak<Shared>, loads: &Mutex<Receiver<Load>>) {
    loop {
        let Ok(load) = lock(loads).recv() else {
            return;
        };
        let messages = read(reader, &load);
        let Some(shared) = shared.upgrade() else {
            return;
        };
        shared.hub(|hub| hub.loaded(&load, messages));
        shared.loaded.send_replace(());
    }
}

/// One message for each place; what is damaged is lost, and the log says so. What the system refuses
/// to read is not: the messages end before it, and whoever needs the rest asks again.
fn read(reader: &SegmentReader<FileDisk>, load: &Load) -> Vec<ReadBack> {
    let mut messages: Vec<ReadBack> = Vec::with_capacity(load.places.len());
    while messages.len() < load.places.len() {
        let rest = &load.places[messages.len()..];
        if rest[0].is_lost() {
            messages.push(None);
            continue;
        }
        let whole = rest.iter().position(DiskPlace::is_lost);
        let places = &rest[..whole.unwrap_or(rest.len())];
        let first = Offset(load.after.0 + messages.len() as u64 + 1);
        let mut entries: Vec<Entry> = Vec::with_capacity(places.len());
        let outcome = reader.read(&load.name, load.origin, first, places, &mut entries);
        messages.extend(entries.into_iter().map(Some));
        if let Err(error) = outcome {
            report(
                load,
                Offset(load.after.0 + messages.len() as u64 + 1),
                &error,
            );
            if matches!(error, ReadError::File(_)) {
                thread::sleep(TRY_AGAIN);
                break;
            }
            messages.push(None);
        }
    }
    messages
}

fn report(load: &Load, offset: Offset, error: &ReadError) {
    match error {
        // Trimmed while it was being read: the follower is told of the trimming.
        ReadError::Gone { .. } => {}
        ReadError::File(error) => {
            tracing::error!(topic = %load.name, %offset, %error, "a message could not be read, and is tried again");
        }
        ReadError::Damaged(error) => {
            tracing::error!(topic = %load.name, %offset, %error, "a message cannot be read");
        }
    }
}
