//! The topics of Heartwire and the log that holds them.
//!
//! A [`Log`] holds topics by name. What is appended becomes an [`Entry`]: encoded once, in the form
//! in which it goes to the sockets, and shared by all who read it. The crate is pure: it reads no
//! clock, draws no random number and touches no file; [`Now`] brings time and randomness along.
//!
//! # Appended, then durable
//!
//! ```text
//!   append ──► pending, in the order of LSNs ──► commit(through) ──► visible, acknowledged
//!                       │
//!                       └──► fail(from) ──► undone: offsets and producers fall back
//! ```
//!
//! [`Log::append`] gives an entry its place and an [`Lsn`], and nothing more: nobody reads the entry
//! before [`Log::commit`] has moved the durable end over it. Everything that tells a position reads
//! the durable end ([`TopicLog::end`]), so that a crash never un-writes what somebody has seen
//! `[SUB-5]` `[MSG-6]`.
//!
//! **The contract with whatever makes entries durable.** A log in memory calls [`Log::commit`] right
//! after [`Log::append`]. A writer to disk takes [`Log::pending`] in the order of LSNs, writes them,
//! waits for the disk, and then calls [`Log::commit`] with the last LSN of the batch, or
//! [`Log::fail`] with the first that may not have reached the disk. `fail` undoes that append and
//! every later one, those included that the writer has not seen: offsets and the producers'
//! *appended* fall back, and the LSNs are not used again. A writer whose disk has failed also calls
//! [`Log::set_accepting`], so that appends are refused until somebody has looked.
//!
//! # What is bounded
//!
//! Every topic by [`Retention`]; all topics together by [`LogConfig::hot_bytes_max`], taken from the
//! largest; topics, producers and pending appends by number. [`Log::expire`] and
//! [`Log::expire_producers`] forget by age.

mod append;
mod config;
mod entry;
mod log;
mod pattern;
mod producer;
mod rate;
pub mod slab;
pub mod store;
mod topic;

use heartwire_proto::{Time, WallTime};

pub use append::{Append, AppendError, Appended, Committed, Fate, Lsn, Pending, Place, What};
pub use config::{LogConfig, Policy, Retention};
pub use entry::{Entry, Form};
pub use log::{DiskUsage, Load, Log, Stats};
pub use pattern::Pattern;
pub use producer::{ProducerId, ProducerKey};
pub use topic::{Read, ReadBack, Start, TopicId, TopicLog};

/// What the moment brings: the time on both clocks, and a random number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Now {
    /// On the driver's monotonic clock; everything is decided by it.
    pub time: Time,
    /// On the wall clock; it labels messages and decides nothing.
    pub wall: WallTime,
    /// Drawn anew for each call. Epochs are made from it, and the moment of a first ping.
    pub random: u64,
}
