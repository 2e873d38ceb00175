//! What all connections of a hub share.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use heartwire_hub::{ConnKey, HubConfig, HubState, ProducerKey};
use heartwire_log::store::Recovered;
use heartwire_proto::{Close, CloseCode, LogId, Time};
use tokio::sync::watch;

use crate::admission::Seats;
use crate::api::{IdempotencyKeys, Stored};
use crate::builder::Config;
use crate::clock::{self, Clock};
use crate::conn::Conn;
use crate::ended::EndedConnections;
use crate::follow::Reader;
use crate::gate::Gate;
use crate::metrics::Metrics;
use crate::shut_out::{Kept, ShutOut};
use crate::storage::{Opened, Storage};
use crate::sync::lock;
use crate::waiting::Waiting;
use crate::webhook::{Prepared, Running, Webhooks};
use crate::wheel::{Ticks, Wheel};

/// Whoever the hub can wake.
#[derive(Clone)]
pub(crate) enum Handle {
    Connection(Arc<Conn>),
    Reader(Arc<Reader>),
    Webhook(Arc<Running>),
}

/// How many connections are written to by whoever woke them, before the others' own tasks are
/// woken instead.
///
/// Measured on two cores, one message at a time: with 8 followers, writing to them from the
/// publisher's side takes 91 µs of the server's CPU time, waking their tasks 134 µs. With 1,000
/// followers the CPU time is the same (10–11 µs a delivery), but the tasks share the cores: 17 µs
/// until the next delivery against 20 µs, and with 32 messages in flight 0.58 µs against 0.81 µs.
const WRITTEN_AT_ONCE: usize = 16;

/// Handles to be woken once no lock is held.
#[derive(Default)]
#[must_use = "whoever is not woken waits for ever"]
pub(crate) struct Wakes(Vec<Handle>);

impl Wakes {
    /// Lets each of them take what has come for it. No lock of the hub or of a connection may be
    /// held: writing to one connection must not wait for another.
    pub(crate) fn run(self) {
        for (number, handle) in self.0.into_iter().enumerate() {
            match handle {
                Handle::Connection(connection) if number < WRITTEN_AT_ONCE => connection.pump(),
                Handle::Connection(connection) => connection.call(),
                Handle::Reader(reader) => reader.wake(),
                Handle::Webhook(webhook) => webhook.wake(),
            }
        }
    }

    /// The same by everybody's own task, for a thread that has more urgent things to do.
    pub(crate) fn call(self) {
        for handle in self.0 {
            match handle {
                Handle::Connection(connection) => connection.call(),
                Handle::Reader(reader) => reader.wake(),
                Handle::Webhook(webhook) => webhook.wake(),
            }
        }
    }
}

/// The hub, locked.
pub(crate) struct HubGuard<'a> {
    state: parking_lot::MutexGuard<'a, HubState<Handle>>,
    clock: &'a Clock,
    gate: &'a Gate,
    storage: Option<&'a Storage>,
}

impl HubGuard<'_> {
    /// What was appended is stored at once where it is kept in memory, unless the gate is closed. It
    /// is looked at under the lock: whoever opens it takes the lock afterwards. What is kept on disk
    /// is for the writer.
    pub(crate) fn store(&mut self) {
        if self.gate.is_open() {
            self.state.commit_memory();
        }
    }

    /// Whether nothing waits to be stored.
    pub(crate) fn is_stored(&self) -> bool {
        self.state.log().pending().next().is_none()
    }

    /// Tells those who follow it who came and who has left by now; whether there is more to tell.
    pub(crate) fn tell_presence(&mut self) -> bool {
        let has_more = self.state.settle_presence(self.clock.now());
        self.store();
        has_more
    }

    /// Unlocks the hub; whom the work has woken is added to `wakes`. What is for the disk is handed
    /// to its threads.
    pub(crate) fn settle(mut self, wakes: &mut Wakes) {
        if self.state.has_presence_news() {
            // What is left over is due, and told in the wheel's next slot.
            self.tell_presence();
        }
        let mut loads = Vec::new();
        self.state.take_loads(&mut loads);
        self.state.take_wakes(&mut wakes.0);
        let has_batch = self.state.log().has_batch();
        drop(self.state);
        if let Some(storage) = self.storage {
            if has_batch {
                storage.raise();
            }
            storage.load(loads);
        }
    }
}

impl Deref for HubGuard<'_> {
    type Target = HubState<Handle>;

    fn deref(&self) -> &Self::Target {
        &self.state
    }
}

impl DerefMut for HubGuard<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.state
    }
}

/// The state behind a [`Hub`](crate::Hub).
pub(crate) struct Shared {
    pub(crate) config: Config,
    /// Lock order: a connection, then this, then the wheel. Two cores that publish all the time wait
    /// for it often and briefly. The standard library's lock, once somebody sleeps for it, lets
    /// everybody who comes sleep as well.
    state: parking_lot::Mutex<HubState<Handle>>,
    /// Nothing for a log in memory.
    pub(crate) storage: Option<Storage>,
    pub(crate) hub_config: Arc<HubConfig>,
    pub(crate) clock: Clock,
    pub(crate) ticks: Ticks,
    pub(crate) wheel: Mutex<Wheel<Weak<Conn>>>,
    pub(crate) seats: Seats,
    pub(crate) idempotency: IdempotencyKeys<Stored>,
    pub(crate) metrics: Metrics,
    pub(crate) ended: EndedConnections,
    /// Publishers whose message is not stored yet.
    pub(crate) waiting: Waiting,
    /// Moves whenever something was read back from disk.
    pub(crate) loaded: watch::Sender<()>,
    /// Bytes of half-received messages, over all connections.
    partial_bytes: AtomicUsize,
    draining: AtomicBool,
    /// When the upkeep last came round, in milliseconds of the clock.
    came_round_ms: AtomicU64,
    /// Followers inside the process, to be told when the hub drains.
    pub(crate) readers: Mutex<BTreeMap<ConnKey, Arc<Reader>>>,
    pub(crate) webhooks: Webhooks,
    pub(crate) shut_out: ShutOut,
}

impl Shared {
    /// With an empty log in memory, or going on from one that was opened on disk.
    pub(crate) fn start(
        config: Config,
        opened: Option<(Opened, Recovered)>,
        webhooks: Option<Prepared>,
        kept: Option<Kept>,
    ) -> Arc<Self> {
        Arc::new_cyclic(|shared| Self::new(config, opened, webhooks, kept, shared))
    }

    fn new(
        config: Config,
        opened: Option<(Opened, Recovered)>,
        webhooks: Option<Prepared>,
        kept: Option<Kept>,
        shared: &Weak<Self>,
    ) -> Self {
        let hub_config = Arc::new(config.hub.clone());
        let (mut state, storage) = match opened {
            None => {
                let log = LogId::from_random(clock::secret() as u64);
                let key = ProducerKey::new(clock::secret());
                (HubState::new(hub_config.clone(), log, key), None)
            }
            Some((disk, recovered)) => {
                let mut state = HubState::recover(hub_config.clone(), recovered);
                state.set_room(disk.room_bytes, disk.is_full);
                (state, Some((disk.start)(shared)))
            }
        };
        let clock = Clock::start_at(state.log().clock());
        if let Some(kept) = &kept {
            state.restore_subjects(kept.subjects(clock.now()));
        }
        let ticks = Ticks::new(config.tick());
        Self {
            state: parking_lot::Mutex::new(state),
            storage,
            ticks,
            wheel: Mutex::new(Wheel::new(ticks, clock.time())),
            seats: Seats::new(config.connections),
            idempotency: IdempotencyKeys::default(),
            metrics: Metrics::default(),
            ended: EndedConnections::new(config.observation.ended_max),
            waiting: Waiting::default(),
            loaded: watch::Sender::new(()),
            partial_bytes: AtomicUsize::new(0),
            draining: AtomicBool::new(false),
            came_round_ms: AtomicU64::new(clock.time().as_millis()),
            readers: Mutex::default(),
            webhooks: Webhooks::new(&config.webhooks, webhooks),
            shut_out: ShutOut::after(kept),
            hub_config,
            clock,
            config,
        }
    }

    /// Locks the hub. No lock may be held but that of one connection.
    pub(crate) fn lock_hub(&self) -> HubGuard<'_> {
        HubGuard {
            state: self.state.lock(),
            clock: &self.clock,
            gate: &self.config.gate,
            storage: self.storage.as_ref(),
        }
    }

    /// Works on the hub for somebody who holds no lock, and lets those run whom that wakes.
    pub(crate) fn hub<T>(&self, work: impl FnOnce(&mut HubGuard<'_>) -> T) -> T {
        let (outcome, wakes) = self.work(work);
        wakes.run();
        outcome
    }

    /// The same for a thread that leaves what it wakes to others.
    pub(crate) fn hub_calling<T>(&self, work: impl FnOnce(&mut HubGuard<'_>) -> T) -> T {
        let (outcome, wakes) = self.work(work);
        wakes.call();
        outcome
    }

    fn work<T>(&self, work: impl FnOnce(&mut HubGuard<'_>) -> T) -> (T, Wakes) {
        let mut wakes = Wakes::default();
        let mut hub = self.lock_hub();
        let outcome = work(&mut hub);
        hub.settle(&mut wakes);
        (outcome, wakes)
    }

    /// The gate has opened: what waited is stored.
    pub(crate) fn store_all(&self) {
        let through = self.hub(|hub| {
            hub.store();
            hub.log().committed()
        });
        self.waiting.stored(through);
    }

    /// A connection's half-received bytes have changed; false when there are too many in all.
    pub(crate) fn account_partial(&self, before: usize, after: usize) -> bool {
        if after <= before {
            self.partial_bytes
                .fetch_sub(before - after, Ordering::Relaxed);
            return true;
        }
        let more = after - before;
        let all = self.partial_bytes.fetch_add(more, Ordering::Relaxed) + more;
        all <= self.config.connections.partial_bytes_max
    }

    /// Bytes of half-received messages.
    pub(crate) fn partial_bytes(&self) -> usize {
        self.partial_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// The upkeep has come round.
    pub(crate) fn note_round(&self) {
        let now_ms = self.clock.time().as_millis();
        self.came_round_ms.store(now_ms, Ordering::Relaxed);
    }

    /// How long ago that was.
    pub(crate) fn stalled_for(&self) -> Duration {
        let last = Time::from_millis(self.came_round_ms.load(Ordering::Relaxed));
        self.clock.time().since(last)
    }

    /// What a connection is told that comes while the server is being stopped.
    pub(crate) fn draining(&self) -> Close {
        Close::new(CloseCode::DRAINING, "draining").retry_after(self.config.hub.overload_retry)
    }

    /// From here on nothing new is taken: no connection, no message.
    pub(crate) fn begin_drain(&self) {
        let began_with = &self.metrics.drain_began_with;
        began_with.store(self.seats.taken(), Ordering::Relaxed);
        self.draining.store(true, Ordering::Release);
        self.hub(|hub| {
            hub.set_accepting(false);
            hub.end_presence();
        });
        for reader in lock(&self.readers).values() {
            reader.wake();
        }
    }
}
