//! A log whose messages stand on a disk: what stays in memory, what is read back, and for whom. The
//! disk here is a shelf that keeps what it is given.

#![allow(clippy::unwrap_used)]

mod full_index;
mod reading;
mod segments;
mod shelf;
mod sweeping;
mod writing;
