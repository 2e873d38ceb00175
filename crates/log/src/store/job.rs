//! Work that runs beside writing.

use std::marker::PhantomData;

use heartwire_disk::Disk;

/// A piece of work for a helper. It takes as long as the disk takes, and no lock.
#[derive(Debug)]
pub struct Job<D: Disk> {
    disk: PhantomData<D>,
}

/// What became of a [`Job`].
#[derive(Debug)]
pub struct Done<D: Disk> {
    pub(super) disk: PhantomData<D>,
}

impl<D: Disk> Job<D> {
    /// Does the work; [`Store::done`](super::Store::done) takes the outcome.
    pub fn run(self) -> Done<D> {
        Done { disk: self.disk }
    }
}
