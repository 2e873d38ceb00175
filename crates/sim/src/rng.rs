//! The one source of chance: everything that happens in a run follows from its seed.

use heartwire_disk::Dice;

/// Random numbers from a seed.
#[derive(Clone, Debug)]
pub(crate) struct Rng(fastrand::Rng);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        // Seeds are small numbers, one after the other: their bits are spread first.
        let spread = Dice::new(seed).roll();
        Self(fastrand::Rng::with_seed(spread))
    }

    pub(crate) fn u64(&mut self) -> u64 {
        self.0.u64(..)
    }

    pub(crate) fn u128(&mut self) -> u128 {
        self.0.u128(..)
    }

    /// A number below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0.u64(..end)
    }

    /// A number of the range, both ends included.
    pub(crate) fn between(&mut self, first: u64, last: u64) -> u64 {
        self.0.u64(first..=last)
    }

    /// Yes, `of` a thousand times.
    pub(crate) fn per_mille(&mut self, of: u64) -> bool {
        self.below(1_000) < of
    }

    pub(crate) fn coin(&mut self) -> bool {
        self.0.bool()
    }

    /// One of the choices, of which there is at least one.
    pub(crate) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.0.usize(..choices.len())]
    }

    /// A length that is often small and sometimes as large as `max`: each power of two is equally
    /// likely.
    pub(crate) fn length(&mut self, max: u64) -> u64 {
        let bits = self.below(u64::from(u64::BITS - max.leading_zeros()) + 1);
        self.below((1 << bits).min(max) + 1)
    }
}
