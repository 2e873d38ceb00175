//! What a seed makes of a run: its size, its settings, and how often each fault strikes.

use std::sync::Arc;
use std::time::Duration;

use heartwire_hub::{HubConfig, LogConfig, Retention};
use heartwire_log::store::StoreConfig;
use heartwire_log::{Pattern, Policy};
use heartwire_proto::Limits;
use heartwire_proto::frame::Durability;
use heartwire_proto::heartbeat::HeartbeatConfig;

use crate::fault::Fault;
use crate::rng::Rng;
use crate::world::TOPICS;

/// Where the server keeps its log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Backend {
    /// In memory: everything is durable at once, and gone with the process.
    Memory,
    /// On a perfect disk: durable after a while, and exactly what is durable outlives a crash.
    Ideal,
    /// On a simulated disk, by the real store.
    Disk {
        /// How large a segment is.
        segment_bytes: u32,
        /// The zeros behind a frame end with a block of so many bytes.
        block_bytes: u32,
        /// How much of the segments with indexes is read when the log is opened, in bytes.
        verified_bytes_max: u64,
    },
}

/// The settings of one run.
#[derive(Clone, Debug)]
pub(crate) struct Profile {
    pub(crate) clients: usize,
    pub(crate) topics: usize,
    /// How long faults strike, in milliseconds.
    pub(crate) chaos_ms: u64,
    pub(crate) backend: Backend,
    /// The mean time between two faults of a timed kind, in milliseconds.
    mean_ms: [Option<u64>; Fault::ALL.len()],
    /// How often faults strike that are decided where they happen, of a thousand.
    per_mille: [u64; Fault::ALL.len()],
    pub(crate) latency_ms: u64,
    pub(crate) jitter_ms: u64,
    /// The mean time between two doings of one application, in milliseconds.
    pub(crate) act_every_ms: u64,
    /// The largest payload, in bytes.
    pub(crate) payload_max: u64,
    /// What one direction of a connection holds, in bytes.
    pub(crate) capacity: usize,
    /// How long a sync takes when nothing is wrong, at most, in milliseconds.
    pub(crate) sync_ms: u64,
    pub(crate) hub: Arc<HubConfig>,
}

impl Profile {
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        let mut profile = Self {
            clients: rng.between(1, 5) as usize,
            topics: rng.between(1, 4) as usize,
            chaos_ms: rng.between(20, 120) * 1_000,
            backend: draw_backend(rng),
            mean_ms: [None; Fault::ALL.len()],
            per_mille: [0; Fault::ALL.len()],
            latency_ms: rng.pick(&[0, 1, 20, 80, 300]),
            jitter_ms: rng.pick(&[0, 1, 10, 100]),
            act_every_ms: rng.pick(&[100, 500, 2_000, 10_000]),
            payload_max: rng.pick(&[0, 100, 2_000, 10_000]),
            capacity: rng.pick(&[4 * 1024, 16 * 1024, 256 * 1024]),
            sync_ms: rng.pick(&[0, 5, 50]),
            hub: Arc::new(HubConfig::default()),
        };
        // What is drawn from it leaves the other draws as they are.
        let mut aside = Rng::new(rng.clone().u64());
        if let Backend::Disk { segment_bytes, .. } = &mut profile.backend
            && aside.coin()
        {
            // Small messages fill small segments, so that there are many, and files are used again.
            *segment_bytes /= match profile.payload_max {
                0..=100 => 16,
                101..=2_000 => 4,
                _ => 1,
            };
        }
        profile.hub = Arc::new(hub_config(rng, profile.backend));
        let drawn_aside = |fault: &Fault| *fault == Fault::FailedRead;
        for fault in Fault::TIMED.into_iter().filter(|of| !drawn_aside(of)) {
            profile.mean_ms[fault.index()] = mean_ms(rng);
        }
        for fault in [
            Fault::DialRefused,
            Fault::DialSlow,
            Fault::DialHangs,
            Fault::Split,
            Fault::SlowSync,
        ] {
            profile.per_mille[fault.index()] = rng.pick(&[0, 0, 20, 200]);
        }
        if profile.backend != Backend::Memory {
            profile.per_mille[Fault::FailedSync.index()] = rng.pick(&[0, 0, 0, 2]);
            profile.per_mille[Fault::BitFlip.index()] = rng.pick(&[0, 0, 300]);
        }
        profile.per_mille[Fault::OlderCopy.index()] = match profile.hub.limits.unacked_max {
            1_024.. => rng.pick(&[0, 300]),
            // A draw that leaves those after it as they are, so that seeds of the past stand for the
            // same runs.
            _ => rng.clone().pick(&[0, 300]),
        };
        profile.per_mille[Fault::HelperCrash.index()] = aside.pick(&[0, 300]);
        if matches!(profile.backend, Backend::Disk { .. }) && aside.coin() {
            profile.mean_ms[Fault::FailedRead.index()] = Some(aside.pick(&[8_000, 30_000]));
        }
        profile.per_mille[Fault::CleanStop.index()] = aside.pick(&[0, 400]);
        profile.draw_log(&mut aside);
        profile.per_mille[Fault::FailedJob.index()] = aside.pick(&[0, 0, 200]);
        profile.draw_bounds(&mut aside);
        profile
    }

    /// Bounds of what the log remembers, and of what it writes at once.
    fn draw_bounds(&mut self, rng: &mut Rng) {
        let log = &mut Arc::make_mut(&mut self.hub).log;
        if rng.coin() {
            // Shorter than what a client's machine sleeps, or longer than what a server takes to come back.
            log.producer_age_max = Duration::from_secs(rng.pick(&[3, 20]));
        }
        let may_wear_out = self.per_mille[Fault::BitFlip.index()] > 0;
        if let Backend::Disk { block_bytes, .. } = &mut self.backend
            && !may_wear_out
        {
            // What stood in a file before stands closer behind the frames. (A block that cannot be read takes
            // nothing but all of a block.)
            *block_bytes = rng.pick(&[1, 64, *block_bytes]);
        }
        if rng.below(8) == 0 {
            log.index_max = rng.pick(&[5, 40]);
        }
    }

    /// How a log on a disk keeps its messages.
    fn draw_log(&mut self, rng: &mut Rng) {
        let Backend::Disk {
            segment_bytes,
            verified_bytes_max,
            ..
        } = &mut self.backend
        else {
            return;
        };
        let log = &mut Arc::make_mut(&mut self.hub).log;
        log.hot_bytes_max = rng.pick(&[0, 4_000, log.hot_bytes_max, log.hot_bytes_max]);
        *verified_bytes_max = draw_verified(*segment_bytes, rng);
        if rng.coin() {
            // Whatever is less than half full is emptied.
            (log.sweep_segments_min, log.sweep_live_percent_max) = (2, 100);
        }
        if rng.below(4) == 0 {
            let age_s = rng.pick(&[5, 20, 60]);
            log.policy.retention.age_max = Duration::from_secs(age_s);
            if rng.coin() {
                log.topic_age_max = Duration::from_secs(rng.pick(&[1, 10]));
                // No server stands still, or has no room, for the month by which the store remembers
                // topics longer.
                for fault in [Fault::ServerPause, Fault::DiskFull] {
                    self.mean_ms[fault.index()] = None;
                }
            }
        }
        if rng.below(4) == 0 {
            let in_memory = Policy {
                durability: Durability::Memory,
                ..log.policy
            };
            let name = Pattern::Topic(TOPICS[0].into());
            log.policies.push((name, in_memory));
        }
    }

    /// Whether topics are forgotten that are silent for long.
    pub(crate) fn forgets_topics(&self) -> bool {
        self.hub.log.topic_age_max < LogConfig::default().topic_age_max
    }

    /// How long the server remembers a producer, as clients reckon with it: a little less.
    pub(crate) fn producer_memory(&self) -> Duration {
        let server = self.hub.log.producer_age_max;
        server - server / 20
    }

    /// How long until the next fault of a timed kind; nothing where the seed has none.
    pub(crate) fn until_next(&self, fault: Fault, rng: &mut Rng) -> Option<u64> {
        let mean = self.mean_ms[fault.index()]?;
        Some(rng.between(1, 2 * mean))
    }

    /// Whether a fault strikes that is decided where it may happen.
    pub(crate) fn strikes(&self, fault: Fault, rng: &mut Rng) -> bool {
        let of = self.per_mille[fault.index()];
        of > 0 && rng.per_mille(of)
    }
}

/// Half of the kinds do not strike in a run; the others every few seconds to every few minutes.
fn mean_ms(rng: &mut Rng) -> Option<u64> {
    rng.coin().then(|| rng.pick(&[8_000, 30_000, 90_000]))
}

fn draw_backend(rng: &mut Rng) -> Backend {
    let segment_bytes = rng.pick(&[64 * 1024, 256 * 1024]);
    match rng.below(6) {
        0 => Backend::Memory,
        1 => Backend::Ideal,
        _ => Backend::Disk {
            segment_bytes,
            block_bytes: StoreConfig::default().block_bytes,
            verified_bytes_max: 0,
        },
    }
}

/// Damage behind an index is met when somebody comes by, or at a start, in the newest segments or in all.
fn draw_verified(segment_bytes: u32, rng: &mut Rng) -> u64 {
    let newest = rng.between(1, 3) * u64::from(segment_bytes);
    rng.pick(&[0, newest, u64::MAX])
}

fn hub_config(rng: &mut Rng, backend: Backend) -> HubConfig {
    let limits = Limits {
        message_bytes_max: 8 * 1024,
        frame_bytes_max: 32 * 1024,
        topics_max: rng.pick(&[3, 100]),
        unacked_max: rng.pick(&[4, 32, 1_024]),
        unacked_bytes_max: rng.pick(&[2_000, 4 << 20]),
        output_bytes_max: rng.pick(&[512, 8 * 1024, 64 * 1024]),
        ..Limits::default()
    };
    let second = Duration::from_secs(1);
    let heartbeat = match rng.below(3) {
        0 => HeartbeatConfig::new(
            second * rng.between(2, 20) as u32,
            second * rng.between(3, 10) as u32,
        ),
        _ => Ok(HeartbeatConfig::default()),
    };
    let mut config = HubConfig::new(limits, heartbeat.unwrap_or_default());
    config.log = LogConfig {
        policy: Policy {
            retention: Retention {
                count_max: rng.pick(&[8, 60, 100_000, 100_000]),
                bytes_max: 1 << 30,
                ..Retention::default()
            },
            ..Policy::default()
        },
        hot_age_max: second * rng.pick(&[1, 10, 600]),
        warm_bytes_max: rng.pick(&[4_000, 64 << 20]),
        load_bytes_max: rng.pick(&[2_000, 256 * 1024]),
        ..LogConfig::default()
    };
    if let Backend::Disk { segment_bytes, .. } = backend {
        // A segment takes a few batches, as the server sees to with larger numbers.
        config.log.pending_max = 100;
        config.log.pending_bytes_max = segment_bytes as usize / 4;
    }
    config.durability = match backend {
        Backend::Memory => Durability::Memory,
        Backend::Ideal | Backend::Disk { .. } => Durability::Disk,
    };
    config
}
