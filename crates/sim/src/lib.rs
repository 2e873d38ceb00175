//! A deterministic simulator of Heartwire.
//!
//! Clients, the server's core, its log and the network between them run in one thread on virtual
//! time, and everything follows from one seed. What runs is what users run: the client session of
//! `heartwire-proto`, the connections and the hub of `heartwire-hub`, the log of `heartwire-log`, the
//! decoder of `heartwire-websocket`; the client's end of the WebSocket is tungstenite, as in the Rust
//! client. Only the shells around them are written anew here, as they hold the sockets, clocks and
//! threads.
//!
//! [`run`] runs one seed. What must hold stands in the module `oracle`.

mod campaign;
mod client;
mod fault;
pub mod model;
mod oracle;
mod profile;
mod rng;
mod server;
mod socket;
mod storage;
mod trace;
mod wire;
mod world;

pub use campaign::{Summary, run_all};
pub use fault::{Counts, Fault};
pub use oracle::Violation;

use std::panic::{AssertUnwindSafe, catch_unwind};

use profile::{Backend, Profile};
use rng::Rng;
use trace::Trace;
use world::World;

/// What came of one seed.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// What was violated, if anything.
    pub violation: Option<Violation>,
    /// How often each fault struck.
    pub counts: Counts,
    /// How much time went by in the run, in milliseconds.
    pub simulated_ms: u64,
    /// How many things happened.
    pub steps: u64,
    /// Everything that happened, if it was to be kept.
    pub trace: String,
}

/// Runs one seed, and keeps its trace if that is asked for. A panic is a violation like others.
pub fn run(seed: u64, keeps_trace: bool) -> Outcome {
    let trace = match keeps_trace {
        true => Trace::kept(),
        false => Trace::default(),
    };
    let mut world = World::new(seed, trace);
    let ran = catch_unwind(AssertUnwindSafe(|| world.run()));
    let violation = ran.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        Some(Violation {
            invariant: "panic",
            at_ms: world.now,
            what: text.unwrap_or("without a word").to_owned(),
        })
    });
    Outcome {
        seed,
        violation,
        counts: world.counts,
        simulated_ms: world.now,
        steps: world.steps,
        trace: world.trace.into_text(),
    }
}

/// Whether the log of that seed is on a simulated disk, written by the real store.
pub fn has_disk(seed: u64) -> bool {
    let profile = Profile::draw(&mut Rng::new(seed));
    matches!(profile.backend, Backend::Disk { .. })
}

/// The seeds that once found something; they run always.
pub fn past_seeds() -> impl Iterator<Item = u64> {
    let lines = include_str!("../past-seeds.txt").lines();
    let seeds = lines.filter(|line| !line.starts_with('#'));
    seeds.filter_map(|line| line.split_whitespace().next()?.parse().ok())
}

/// Plants a bug and looks for a seed that finds it, among the first `seeds`.
#[cfg(heartwire_planted)]
pub fn hunt(bug: heartwire_proto::planted::Bug, seeds: u64, threads: usize) -> Option<Outcome> {
    campaign::first_failure(seeds, threads, || {
        heartwire_proto::planted::plant(Some(bug));
        // What a bug makes panic is found by that; nobody need read it.
        std::panic::set_hook(Box::new(|_| {}));
    })
}
