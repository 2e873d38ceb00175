//! Frames: what one commit writes `[DISK-6]`.
//!
//! ```text
//!   │ magic u32 │ body length u32 │ records u32 │ time u64 │ crc u32 │ record │ record │ …
//! ```

use heartwire_proto::Time;

use super::bytes::{Put as _, Take};
use super::checksum::Salt;
use super::record;

/// What begins a frame. No byte of it is 0, as segments are full of zeros.
pub(super) const MAGIC: [u8; 4] = *b"HwF1";
/// The length of a frame's header, in bytes.
pub(super) const FRAME_HEADER_BYTES: usize = 24;
/// How much behind a frame is zeros, in bytes, if the file is as long: where the header of the next
/// frame will stand. It tells a batch that was begun from what an earlier segment left in the file.
pub(super) const END_BYTES: usize = FRAME_HEADER_BYTES;
const CHECKED_BYTES: usize = FRAME_HEADER_BYTES - 4;

/// Where the zeros end behind what ends here: with a block of so many bytes, so that what stands behind
/// them has not to be read to write them `[DISK-6]`.
pub(super) const fn end_of_zeros(end: usize, block_bytes: u32) -> usize {
    (end + END_BYTES).next_multiple_of(block_bytes as usize)
}

/// What a frame says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct FrameHeader {
    /// The length of its records, in bytes.
    pub(super) body_bytes: u32,
    /// Their number.
    pub(super) records: u32,
    /// The latest time at which any message up to it was appended, or a topic was said to be kept.
    pub(super) time: Time,
}

impl FrameHeader {
    /// The header as it stands at `position`.
    pub(super) fn encode(self, salt: Salt, position: u32) -> [u8; FRAME_HEADER_BYTES] {
        let mut bytes = Vec::with_capacity(FRAME_HEADER_BYTES);
        bytes.put_bytes(&MAGIC);
        bytes.put_u32(self.body_bytes);
        bytes.put_u32(self.records);
        bytes.put_u64(self.time.as_millis());
        bytes.put_u32(salt.checksum(position, &bytes));
        bytes.try_into().expect("the fields are 24 bytes")
    }

    /// Reads the header at `position`; `None` if there is none.
    pub(super) fn parse(bytes: &[u8], salt: Salt, position: u32) -> Option<Self> {
        let (checked, mut rest) = Take(bytes).split(CHECKED_BYTES)?;
        if !checked.starts_with(&MAGIC) || rest.u32()? != salt.checksum(position, checked) {
            return None;
        }
        let mut take = Take(&checked[MAGIC.len()..]);
        Some(Self {
            body_bytes: take.u32()?,
            records: take.u32()?,
            time: Time::from_millis(take.u64()?),
        })
    }

    /// The length of header and records, in bytes.
    pub(super) const fn frame_bytes(self) -> usize {
        FRAME_HEADER_BYTES + self.body_bytes as usize
    }

    /// Whether the body at `position` is what the frame was written with: every record is whole, and
    /// they are as many, and as long, as the header says.
    pub(super) fn matches(self, body: &[u8], salt: Salt, position: u32) -> bool {
        let (mut at, mut records) = (0, 0);
        while at < body.len() {
            let Some(length) = record::length_of(&body[at..]) else {
                return false;
            };
            if !record::is_whole(&body[at..at + length], salt, position + at as u32) {
                return false;
            }
            at += length;
            records += 1;
        }
        body.len() == self.body_bytes as usize && records == self.records
    }
}
