//! Random numbers that are the same for the same seed.

/// A generator of random numbers (SplitMix64), good enough to choose what a crash spares.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Dice(u64);

impl Dice {
    /// The numbers of this seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Any number.
    pub const fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Any number of twice the width.
    pub const fn roll_wide(&mut self) -> u128 {
        (self.roll() as u128) << 64 | self.roll() as u128
    }

    /// A number below `count`; 0 when there is none.
    pub const fn below(&mut self, count: u64) -> u64 {
        if count == 0 { 0 } else { self.roll() % count }
    }

    /// Yes in one of `count` cases.
    pub const fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }
}
