//! Checksums that hold only for the place they were made for `[DISK-4]`.

use std::hash::{BuildHasher as _, Hasher as _};

use foldhash::fast::FixedState;
use heartwire_proto::planted::{self, Bug};

use super::batch::SegmentId;

/// Salts the checksums of one file, so that the same bytes at another position, in another file or
/// of another log do not pass.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Salt(u32);

impl Salt {
    pub(super) fn new(store: u64, segment: SegmentId) -> Self {
        let mut bytes = [0; 12];
        bytes[..8].copy_from_slice(&store.to_le_bytes());
        if !planted::has(Bug::SegmentNotInSalt) {
            bytes[8..].copy_from_slice(&segment.0.to_le_bytes());
        }
        Self(crc32c::crc32c(&bytes))
    }

    /// The checksum of bytes that stand at a position of the file. For the same bytes it differs
    /// between any two positions.
    #[inline]
    pub(super) fn checksum(self, position: u32, bytes: &[u8]) -> u32 {
        crc32c::crc32c_append(self.0 ^ position, bytes)
    }
}

/// Hashes for the tables of a store. Their seed is the store's random number, so that nobody who
/// chooses topics can make them collide.
#[derive(Clone, Debug)]
pub(super) struct Hashes(FixedState);

impl Hashes {
    pub(super) const fn new(store: u64) -> Self {
        Self(FixedState::with_seed(store))
    }

    #[inline]
    pub(super) fn of(&self, bytes: &[u8]) -> u64 {
        let mut hasher = self.0.build_hasher();
        hasher.write(bytes);
        hasher.finish()
    }

    pub(super) fn state(&self) -> FixedState {
        self.0.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_holds_for_its_place_alone() {
        let salt = |store, segment| Salt::new(store, SegmentId(segment));
        let here = salt(1, 2).checksum(64, b"frame");
        assert_eq!(here, salt(1, 2).checksum(64, b"frame"));
        assert_ne!(here, salt(1, 2).checksum(65, b"frame"));
        assert_ne!(here, salt(1, 3).checksum(64, b"frame"));
        assert_ne!(here, salt(2, 2).checksum(64, b"frame"));
        assert_ne!(here, salt(1, 2).checksum(64, b"frame "));
    }
}
