//! Everything there is in a run, and the loop that lets it happen.
//!
//! ```text
//!   seed ─► Profile ─► World ── next: the earliest of a happening, a client's timer, a deadline
//!                        │
//!         ┌──────────────┼──────────────┬─────────────┐
//!      network        serving        driving        faults ─► oracle
//!    bytes arrive   server's turns  clients' turns
//! ```
//!
//! One thread, one clock, one source of chance. Nothing takes time but what is scheduled.

mod applying;
mod driving;
mod ending;
mod faults;
mod network;
mod recovering;
mod serving;
mod watching;
mod writing;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use heartwire_proto::{Attempt, Time, TopicName};

use crate::client::Client;
use crate::fault::{Counts, Fault};
use crate::oracle::{Oracle, Violation};
use crate::profile::{Backend, Profile};
use crate::rng::Rng;
use crate::server::Server;
use crate::trace::{Trace, note};
use crate::wire::{Way, Wire, WireId};

/// So many happenings make a run that goes round in circles.
const STEPS_MAX: u64 = 20_000_000;
/// So many topics there are at most.
pub(crate) const TOPICS: [&str; 4] = ["news", "task:1", "task:2", "chat.a-b"];

/// Something that happens at its time.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Happening {
    /// Pieces of a direction may have arrived.
    Arrive(WireId, Way),
    /// The receiver of a direction has read, and its sender has heard of it.
    Writable(WireId, Way),
    /// A dial reaches the server, or what stands for it.
    Dial {
        client: usize,
        life: u32,
        attempt: Attempt,
    },
    /// An application does something.
    Act { client: usize },
    /// A process whose link was closed for good begins anew.
    Rebirth { client: usize },
    /// The server's own publisher publishes.
    Publish,
    /// A second has passed.
    Tick,
    /// A fault strikes.
    Strike(Fault),
    /// A fault ends.
    Heal(Heal),
    /// The log's helper is done with a job.
    Helped { start: u32 },
    /// Messages were read back from the disk.
    Loaded { start: u32 },
    /// A reader that was refused has paused.
    Refused { start: u32 },
    /// The server's writer is done.
    Written { start: u32, succeeds: bool },
}

/// The end of a fault.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Heal {
    /// The latency of a client's network.
    Jitter(usize),
    /// Directions of a client's network, and of the connections that it had.
    Path(usize, Vec<Way>, Vec<WireId>),
    /// A stalled connection.
    Stall(WireId, Vec<Way>),
    /// The proxy that drops connections.
    Flap,
    /// One of them.
    Drop(WireId),
    /// A client sleeps or stands still.
    Wake(usize),
    /// A client that reads slowly.
    Reader(usize),
    /// The server stands still.
    Resume,
    /// The server is down.
    Start,
    /// The disk is full.
    Space,
    /// The disk refuses to be read.
    Reads,
}

/// A client's way to the server.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Path {
    up_blocks: u32,
    down_blocks: u32,
    /// Added to each latency, in milliseconds.
    extra_ms: u64,
}

impl Path {
    const fn blocks(&mut self, way: Way) -> &mut u32 {
        match way {
            Way::Up => &mut self.up_blocks,
            Way::Down => &mut self.down_blocks,
        }
    }

    const fn is_cut(self) -> bool {
        self.up_blocks > 0 || self.down_blocks > 0
    }
}

/// See the [module](self).
pub(crate) struct World {
    pub(crate) now: u64,
    pub(crate) rng: Rng,
    pub(crate) profile: Profile,
    queue: BinaryHeap<Reverse<(u64, u64, Happening)>>,
    /// Happenings scheduled so far: those of one moment keep their order.
    scheduled: u64,
    pub(crate) steps: u64,
    pub(crate) wires: BTreeMap<WireId, Wire>,
    wires_dialled: WireId,
    pub(crate) paths: Vec<Path>,
    pub(crate) clients: Vec<Client>,
    pub(crate) lives: u32,
    pub(crate) server: Server,
    pub(crate) topics: Vec<TopicName>,
    pub(crate) oracle: Oracle,
    pub(crate) counts: Counts,
    /// Faults strike.
    pub(crate) is_chaos: bool,
    /// The proxy drops what it accepts.
    pub(crate) flaps: bool,
    /// Since when the disk has been well; `u64::MAX` while it is not.
    pub(crate) disk_calm_since: u64,
    pub(crate) trace: Trace,
    /// The messages of the server's own publisher.
    pub(crate) published: u32,
}

impl World {
    pub(crate) fn new(seed: u64, trace: Trace) -> Self {
        let mut rng = Rng::new(seed);
        let profile = Profile::draw(&mut rng);
        let server = Server::new(profile.hub.clone(), profile.backend, &mut rng);
        let topics = TOPICS[..profile.topics]
            .iter()
            .map(|name| name.parse().expect("the names keep to the charset"))
            .collect();
        let mut world = Self {
            now: 0,
            rng,
            queue: BinaryHeap::new(),
            scheduled: 0,
            steps: 0,
            wires: BTreeMap::new(),
            wires_dialled: 0,
            paths: Vec::new(),
            clients: Vec::new(),
            lives: 0,
            server,
            topics,
            oracle: Oracle::default(),
            counts: Counts::default(),
            is_chaos: true,
            flaps: false,
            disk_calm_since: 0,
            trace,
            published: 0,
            profile,
        };
        let log = &world.profile.hub.log;
        let on_disk = matches!(world.profile.backend, Backend::Disk { .. });
        world.oracle.log_is_kept(log, &world.topics, on_disk);
        note!(world, "seed {seed}: {:?}", world.profile);
        world
    }

    /// The time on the server's clock.
    pub(crate) const fn server_time(&self) -> Time {
        Time::from_millis(self.now - self.server.behind_ms)
    }

    pub(crate) fn schedule(&mut self, after_ms: u64, happening: Happening) {
        self.scheduled += 1;
        let entry = (self.now + after_ms, self.scheduled, happening);
        self.queue.push(Reverse(entry));
    }

    /// Lets everything happen: first with faults, then without. Returns what was violated.
    pub(crate) fn run(&mut self) -> Option<Violation> {
        self.begin();
        let chaos_ms = self.profile.chaos_ms;
        self.run_until(chaos_ms, |_| false);
        self.calm_down();
        let deadline = self.now + ending::OPEN_WITHIN_MS;
        self.run_until(deadline, Self::is_settled);
        self.judge();
        self.oracle.violation().cloned()
    }

    fn begin(&mut self) {
        self.open_log();
        for _ in 0..self.profile.clients {
            self.add_client();
        }
        for fault in Fault::TIMED {
            self.schedule_next(fault);
        }
        self.schedule(1_000, Happening::Tick);
        self.schedule(1, Happening::Publish);
    }

    pub(crate) fn schedule_next(&mut self, fault: Fault) {
        if let Some(after_ms) = self.profile.until_next(fault, &mut self.rng) {
            self.schedule(after_ms, Happening::Strike(fault));
        }
    }

    /// Runs until `until`, or until `is_over` says so, or something is violated.
    fn run_until(&mut self, until: u64, is_over: impl Fn(&Self) -> bool) {
        while self.oracle.violation().is_none() && !is_over(self) {
            let next = self.next_at().filter(|at| *at <= until);
            self.now = self.now.max(next.unwrap_or(until));
            self.oracle.now = self.now;
            if next.is_none() {
                return;
            }
            self.steps += 1;
            if self.steps > STEPS_MAX {
                return self.oracle.violate("I8", "the run goes round in circles");
            }
            self.step();
        }
    }

    /// When the next thing happens.
    fn next_at(&self) -> Option<u64> {
        let scheduled = self.queue.peek().map(|Reverse((at, ..))| *at);
        let timers = self.clients.iter().filter_map(Client::due_at).min();
        let deadlines = self.server_due_at();
        [scheduled, timers, deadlines].into_iter().flatten().min()
    }

    /// Lets what is due happen: happenings first, then timers.
    fn step(&mut self) {
        let is_due = |at: u64| at <= self.now;
        if self
            .queue
            .peek()
            .is_some_and(|Reverse((at, ..))| is_due(*at))
        {
            if let Some(Reverse((.., happening))) = self.queue.pop() {
                self.happen(happening);
            }
            return;
        }
        let due = |client: &Client| client.due_at().is_some_and(is_due);
        if let Some(index) = self.clients.iter().position(due) {
            return self.drive(index);
        }
        if let Some(wire) = self.due_connection() {
            self.serve(wire, true);
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Arrive(wire, way) => self.arrive(wire, way),
            Happening::Writable(wire, way) => self.writable(wire, way),
            Happening::Dial {
                client,
                life,
                attempt,
            } => self.dial_arrives(client, life, attempt),
            Happening::Act { client } => self.act(client),
            Happening::Rebirth { client } => self.reborn(client),
            Happening::Publish => self.publish_at_server(),
            Happening::Tick => self.tick(),
            Happening::Strike(fault) => {
                if self.is_chaos {
                    self.strike(fault);
                    self.schedule_next(fault);
                }
            }
            Happening::Heal(heal) => self.heal(heal),
            Happening::Helped { start } => self.helped(start),
            Happening::Loaded { start } => self.loaded(start),
            Happening::Refused { start } => self.refused(start),
            Happening::Written { start, succeeds } => self.written(start, succeeds),
        }
    }

    pub(crate) fn count(&mut self, fault: Fault) {
        self.counts.count(fault);
        note!(self, "fault: {fault}");
    }
}
