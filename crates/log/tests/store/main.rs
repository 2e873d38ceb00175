//! The log on disk, as its users see it: what is durable stays, what is damaged is named.

#![allow(clippy::unwrap_used)]

mod support;

mod accepting;
mod ages;
mod crashes;
mod damage;
mod failing_calls;
mod files;
mod interrupted_openings;
mod moving;
mod reuse;
mod round_trips;
mod segments;
mod unreadable;
mod upkeep;
