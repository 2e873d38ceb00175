//! What is around an index and a checkpoint in their files `[DISK-8]`.
//!
//! ```text
//!   │ magic │ version u32 │ length u64 │ body │ crc u32 │
//! ```

use super::batch::SegmentId;
use super::bytes::{Put as _, Take};
use super::checksum::Salt;
use super::files::Kind;
use super::meta::FORMAT_VERSION;

const MAGIC_BYTES: usize = 8;
/// Where the body begins, in bytes.
pub(super) const BODY_AT: usize = MAGIC_BYTES + 4 + 8;

const fn magic(kind: Kind) -> &'static [u8; MAGIC_BYTES] {
    match kind {
        Kind::Segment | Kind::Index | Kind::Gone => b"HwLogIdx",
        Kind::Checkpoint => b"HwLogCkp",
    }
}

/// The file around the body that `put` appends.
pub(super) fn wrap(
    kind: Kind,
    store: u64,
    id: SegmentId,
    put: impl FnOnce(&mut Vec<u8>),
) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.put_bytes(magic(kind));
    bytes.put_u32(FORMAT_VERSION);
    bytes.put_u64(0);
    put(&mut bytes);
    let length = (bytes.len() - BODY_AT) as u64;
    bytes[BODY_AT - 8..BODY_AT].copy_from_slice(&length.to_le_bytes());
    let checksum = Salt::new(store, id).checksum(0, &bytes);
    bytes.put_u32(checksum);
    bytes
}

/// The body of a file that is whole, and belongs to this store, this segment and this version.
pub(super) fn unwrap(kind: Kind, store: u64, id: SegmentId, bytes: &[u8]) -> Option<&[u8]> {
    let (checked, checksum) = bytes.split_last_chunk::<4>()?;
    let mut take = Take(checked);
    let is_right = take.bytes(MAGIC_BYTES)? == magic(kind)
        && take.u32()? == FORMAT_VERSION
        && take.u64()? == take.0.len() as u64
        && Salt::new(store, id).checksum(0, checked) == u32::from_le_bytes(*checksum);
    is_right.then_some(take.0)
}

/// The body of a file that [`unwrap`] has passed, or [`wrap`] has made.
pub(super) fn body(bytes: &[u8]) -> &[u8] {
    &bytes[BODY_AT..bytes.len() - 4]
}
