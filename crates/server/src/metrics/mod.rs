//! What the server measures, and how it is published.
//!
//! ```text
//!   hub, log: plain numbers, counted under the lock that is held anyway ─┐
//!   connections, requests, writer: relaxed atomics here ─────────────────┼─► collect ─► text
//!   followers' lag, the process: looked at when somebody asks ───────────┘
//! ```
//!
//! A message costs no atomic: what is counted for each of them is counted in the hub. What is here
//! happens once for a connection, a ping, a request, or a batch of the log.

mod collect;
mod histogram;
mod lag;
#[cfg(target_os = "linux")]
mod process;
mod refusals;
mod text;
mod webhooks;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use heartwire_hub::{Death, Mode, Outcome, Reason};

use crate::sync::lock;

pub(crate) use collect::collect;
pub(crate) use histogram::Histogram;
pub(crate) use refusals::{Over, Refusals, Weight};
pub(crate) use text::MEDIA_TYPE;

const MS: u64 = 1_000;
const SECOND: u64 = 1_000 * MS;

/// From a cable to a bad mobile network; the core's clock counts milliseconds.
const ROUND_TRIPS_US: &[u64] = &[
    MS,
    2 * MS,
    5 * MS,
    10 * MS,
    25 * MS,
    50 * MS,
    100 * MS,
    250 * MS,
    500 * MS,
    SECOND,
    2_500 * MS,
    5 * SECOND,
    10 * SECOND,
    30 * SECOND,
];
/// Fine around the bound of 20 s that the default heartbeat promises.
const DETECTION_US: &[u64] = &[
    2 * SECOND,
    3 * SECOND,
    5 * SECOND,
    10 * SECOND,
    15 * SECOND,
    18 * SECOND,
    20 * SECOND,
    20_500 * MS,
    21 * SECOND,
    22 * SECOND,
    25 * SECOND,
    30 * SECOND,
    45 * SECOND,
    60 * SECOND,
    120 * SECOND,
    300 * SECOND,
];
/// From a disk with a battery to one that is ill.
const SYNCS_US: &[u64] = &[
    100,
    250,
    500,
    MS,
    2_500,
    5 * MS,
    10 * MS,
    25 * MS,
    50 * MS,
    100 * MS,
    250 * MS,
    500 * MS,
    SECOND,
    2_500 * MS,
    10 * SECOND,
];
/// Up to the largest batch.
const BATCHES: &[u64] = &[1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024, 2_048, 4_096];

/// Who publishes, when it is not a WebSocket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Origin {
    Http,
    Embedded,
}

impl Origin {
    const ALL: [Self; 2] = [Self::Http, Self::Embedded];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Embedded => "embedded",
        }
    }
}

/// Everything that is counted outside the hub.
pub(crate) struct Metrics {
    opened: [AtomicU64; 2],
    ended: Mutex<BTreeMap<(&'static str, &'static str), u64>>,
    dead: [AtomicU64; 2],
    detection: [Histogram; 2],
    pub(crate) round_trips: Histogram,
    publishes: [[AtomicU64; Outcome::ALL.len()]; 2],
    pub(crate) refusals: Refusals,
    /// Errors of the accept loop that were no connection's own.
    pub(crate) accept_errors: AtomicU64,
    pub(crate) syncs: Histogram,
    pub(crate) batch_messages: Histogram,
    written_bytes: AtomicU64,
    /// How many WebSockets there were when the drain began.
    pub(crate) drain_began_with: AtomicUsize,
    /// The record at which the next look at followers' lag begins.
    lag_place: AtomicU32,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            opened: Default::default(),
            ended: Mutex::default(),
            dead: Default::default(),
            detection: [(); 2].map(|()| Histogram::of_durations(DETECTION_US)),
            round_trips: Histogram::of_durations(ROUND_TRIPS_US),
            publishes: Default::default(),
            refusals: Refusals::default(),
            accept_errors: AtomicU64::new(0),
            syncs: Histogram::of_durations(SYNCS_US),
            batch_messages: Histogram::of_counts(BATCHES),
            written_bytes: AtomicU64::new(0),
            drain_began_with: AtomicUsize::new(0),
            lag_place: AtomicU32::new(0),
        }
    }
}

impl Metrics {
    /// A connection was upgraded.
    pub(crate) fn opened(&self, mode: Mode) {
        self.opened[mode as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// A connection is over.
    pub(crate) fn ended(&self, (by, reason): Reason) {
        *lock(&self.ended).entry((by.as_str(), reason)).or_default() += 1;
    }

    /// A peer was declared dead so long after its last sign of life.
    pub(crate) fn died(&self, death: Death, delay: Duration) {
        self.dead[death as usize].fetch_add(1, Ordering::Relaxed);
        self.detection[death as usize].observe_duration(delay);
    }

    /// A message came over HTTP or from inside the process.
    pub(crate) fn published(&self, origin: Origin, outcome: Outcome) {
        self.publishes[origin as usize][outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// The log's writer has made a batch durable.
    pub(crate) fn wrote(&self, messages: usize, bytes: usize, sync: Duration) {
        self.batch_messages.observe(messages as u64);
        self.written_bytes
            .fetch_add(bytes as u64, Ordering::Relaxed);
        self.syncs.observe_duration(sync);
    }
}
