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

mod client;
mod fault;
mod oracle;
mod profile;
mod rng;
mod server;
mod socket;
mod trace;
mod wire;
mod world;

pub use fault::{Counts, Fault};
pub use oracle::Violation;

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

/// Runs one seed, and keeps its trace if that is asked for.
pub fn run(seed: u64, keeps_trace: bool) -> Outcome {
    let trace = match keeps_trace {
        true => Trace::kept(),
        false => Trace::default(),
    };
    let mut world = World::new(seed, trace);
    let violation = world.run();
    Outcome {
        seed,
        violation,
        counts: world.counts,
        simulated_ms: world.now,
        steps: world.steps,
        trace: world.trace.into_text(),
    }
}
