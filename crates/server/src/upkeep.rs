//! What a hub does by itself: deadlines, forgetting, and the graceful stop.

use std::sync::{Arc, Weak};
use std::time::Duration;

use heartwire_proto::{Close, CloseCode, Time};
use tokio::time::{Instant, sleep, sleep_until};

use crate::clock;
use crate::conn::Conn;
use crate::presence::{self, Unlisted};
use crate::shared::Shared;
use crate::shut_out;
use crate::sync::lock;

/// How often the log forgets what is too old.
const FORGET_EVERY: Duration = Duration::from_secs(1);
/// How long a drain waits for what was published to be stored.
const STORED_WITHIN: Duration = Duration::from_secs(10);
/// How many connections are told goodbye at once, and the pause until the next: 5,000 a second, as
/// fast as their goodbyes can be written without holding up anything else.
const BATCH: usize = 100;
const BATCH_EVERY: Duration = Duration::from_millis(20);
/// How often a drain looks whether everybody is gone.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// How long the next process is given to begin, before clients come back.
const BEGINS_WITHIN: Duration = Duration::from_secs(1);
/// How long a drain waits for the last to leave: longer than a close handshake takes.
const GONE_WITHIN: Duration = Duration::from_secs(5);

/// The hub's own task: it ends with the hub.
pub(crate) async fn run(shared: Weak<Shared>) {
    let mut forget_at = Time::ZERO;
    let mut unlisted = Unlisted::default();
    let Some(mut gate) = shared.upgrade().map(|shared| shared.config.gate.watch()) else {
        return;
    };
    loop {
        let next = match shared.upgrade() {
            Some(shared) => shared.clock.instant(lock(&shared.wheel).next_turn()),
            None => return,
        };
        let gate_has_moved = tokio::select! {
            () = sleep_until(next) => false,
            moved = gate.changed() => moved.is_ok(),
        };
        let Some(shared) = shared.upgrade() else {
            return;
        };
        if gate_has_moved {
            shared.store_all();
        }
        let now = shared.clock.time();
        turn(&shared, now);
        presence::tell_leaves(&shared, now);
        if now >= forget_at {
            forget_at = now + FORGET_EVERY;
            forget(&shared, now);
            unlisted.look(&shared, now);
            shared.note_round();
        }
    }
}

/// Asks those whose slot of the wheel has come.
fn turn(shared: &Arc<Shared>, now: Time) {
    let mut due: Vec<Weak<Conn>> = Vec::new();
    lock(&shared.wheel).turn(now, &mut due);
    for conn in due.iter().filter_map(Weak::upgrade) {
        conn.alarm(now);
    }
}

fn forget(shared: &Arc<Shared>, now: Time) {
    // Bounded per call, so that nobody waits long for the lock.
    while shared.hub(|hub| hub.expire(now)) {}
    shared.waiting.expire(now);
    shared.metrics.refusals.tell(now);
    if shared.shut_out.has_failed() {
        tokio::spawn(shut_out::save(shared.clone()));
    }
    if let Some(storage) = &shared.storage {
        let mut loads = Vec::new();
        shared.hub(|hub| hub.sweep(storage.segment_bytes(), &mut loads));
        storage.load(loads);
        // A segment of which nothing is retained any more goes, also when nobody publishes.
        storage.raise();
    }
}

/// See [`Hub::drain`](crate::Hub::drain).
pub(crate) async fn drain(shared: &Arc<Shared>, window: Duration) {
    shared.begin_drain();
    let stored_by = Instant::now() + STORED_WITHIN;
    while !shared.lock_hub().is_stored() && Instant::now() < stored_by {
        sleep(LOOK_EVERY).await;
    }
    // What was stored until here is posted now, or after the restart.
    tokio::join!(shared.webhooks.stop(), leave(shared, window));
    if let Some(storage) = &shared.storage {
        storage.close().await;
    }
}

/// Says goodbye to every connection, and waits until they are gone.
async fn leave(shared: &Arc<Shared>, window: Duration) {
    say_goodbye(shared, window).await;
    let gone_by = Instant::now() + GONE_WITHIN;
    while shared.seats.taken() > 0 && Instant::now() < gone_by {
        sleep(LOOK_EVERY).await;
        // Whoever was being asked in the moment of an earlier look was in no slot of the wheel.
        say_goodbye(shared, window).await;
    }
}

/// Closes, in paced batches, whoever the wheel holds and nobody is closing yet.
async fn say_goodbye(shared: &Arc<Shared>, window: Duration) {
    let filed: Vec<Weak<Conn>> = lock(&shared.wheel).iter().cloned().collect();
    let is_open = |conn: &&Weak<Conn>| conn.upgrade().is_some_and(|conn| !conn.is_closing());
    let open: Vec<&Weak<Conn>> = filed.iter().filter(is_open).collect();
    let (begun, mut told) = (Instant::now(), 0);
    let mut batches = open.chunks(BATCH);
    while let Some(batch) = batches.next() {
        // As many batches as are left take as long as those before took, on a busy machine too.
        let one_took = begun.elapsed().checked_div(told).unwrap_or_default();
        let others = one_took.max(BATCH_EVERY) * batches.len() as u32;
        told += 1;
        for conn in batch.iter().filter_map(|conn| conn.upgrade()) {
            // The wheel may hold a connection twice; the first goodbye counts.
            conn.close(goodbye(others, window));
        }
        sleep(BATCH_EVERY).await;
    }
}

/// Each has a delay of its own, so that they do not come back together `[CLOSE-5]`. The window begins
/// when the others have been told as well, and the next process has had time to begin: whoever came
/// before would find nobody, and wait for longer the next time.
fn goodbye(others: Duration, window: Duration) -> Close {
    // A client lengthens its delay by up to a tenth, and still comes within the window.
    let window_ms = u64::try_from(window.as_millis() * 10 / 11).unwrap_or(u64::MAX);
    let window_ms = window_ms.max(1);
    let drawn = (u128::from(clock::random()) * u128::from(window_ms)) >> 64;
    let delay = Duration::from_millis(drawn as u64 + 1);
    let delay = match window.is_zero() {
        true => delay,
        false => others + BEGINS_WITHIN + delay,
    };
    Close::new(CloseCode::DRAINING, "draining").retry_after(delay)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::hub::Hub;

    /// How long it may take on a machine that is busy.
    const PATIENCE: Duration = Duration::from_secs(60);

    fn wait_until(what: &str, is_so: impl Fn() -> bool) {
        let deadline = std::time::Instant::now() + PATIENCE;
        let (_silent, nothing) = mpsc::channel::<()>();
        while !is_so() {
            assert!(std::time::Instant::now() < deadline, "{what}");
            let _ = nothing.recv_timeout(Duration::from_millis(10));
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_hub_that_is_stuck_does_not_come_round() {
        let hub = Hub::builder().open().await.expect("sound defaults");
        let held = hub.shared().lock_hub();
        let limit = 3 * FORGET_EVERY;
        wait_until("it came round without its lock", || {
            hub.stalled_for() > limit
        });
        drop(held);
        wait_until("it came round no more", || hub.stalled_for() < FORGET_EVERY);
    }
}
