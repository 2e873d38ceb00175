//! Load through real links: what `heartwire bench` measures with, and what tests of many clients
//! check with.
//!
//! Messages say their number and when they were sent ([`Stamp`]); whoever follows a topic checks
//! that each number came once, in order ([`Sequence`]), and notes how long it took ([`Latencies`]).
//! Links are the ones that applications use, so that a figure holds what an application meets.

pub mod bench;
mod error;
mod figures;
mod links;
mod sequence;
mod stamp;

pub use error::LoadError;
pub use figures::Latencies;
pub use links::{Dial, open};
pub use sequence::{Faults, Sequence};
pub use stamp::Stamp;
