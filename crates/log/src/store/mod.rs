//! The log on disk: segments, and what is written to them.

mod batch;

pub use batch::{Batch, DiskPlace, Record, SegmentId};
