//! The hub and its connections, driven as the server drives them, in virtual time.

#![allow(clippy::unwrap_used)]

mod closing;
mod counts;
mod following;
mod grants;
mod housekeeping;
mod life;
mod plain;
mod presence;
mod publishing;
mod random_schedules;
mod rates;
mod transcripts;
mod visibility;
mod watching;
mod world;
