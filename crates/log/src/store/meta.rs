//! What a store is: the file `meta`, and the header of every segment, from which `meta` can be made
//! again `[DISK-2]` `[DISK-5]`.

use heartwire_proto::LogId;

use super::batch::SegmentId;
use super::bytes::{Put as _, Take};
use super::config::Fresh;
use crate::producer::ProducerKey;

/// The version of the format that is written and read here.
pub(super) const FORMAT_VERSION: u32 = 1;
/// The length of a segment's header, in bytes.
pub(super) const SEGMENT_HEADER_BYTES: usize = 64;

const META_MAGIC: &[u8; 8] = b"HwLogDir";
const SEGMENT_MAGIC: &[u8; 8] = b"HwLogSeg";
const REUSED_MAGIC: &[u8; 8] = b"HwLogReu";
const ID_BYTES: usize = 16;

/// What is the same in all files of a store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Identity {
    pub(super) store: u64,
    pub(super) log: LogId,
    pub(super) key: ProducerKey,
}

/// What a segment's file held before the segment, and holds behind its frames.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Behind {
    /// Zeros: the file was made for the segment.
    Zeros,
    /// Anything: it was the file of a segment that was removed.
    Stale,
}

impl Behind {
    const fn magic(self) -> &'static [u8; 8] {
        match self {
            Self::Zeros => SEGMENT_MAGIC,
            Self::Stale => REUSED_MAGIC,
        }
    }

    /// What a segment's header says. From one that is damaged, nothing is concluded about zeros.
    pub(super) fn of(header: &[u8]) -> Self {
        match header.starts_with(SEGMENT_MAGIC) {
            true => Self::Zeros,
            false => Self::Stale,
        }
    }
}

/// Why a header cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum BadHeader {
    UnknownVersion(u32),
    Damaged,
}

impl From<Fresh> for Identity {
    fn from(fresh: Fresh) -> Self {
        Self {
            store: fresh.store,
            log: fresh.log,
            key: fresh.key,
        }
    }
}

impl Identity {
    /// The contents of `meta`.
    pub(super) fn encode_meta(self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.put_bytes(META_MAGIC);
        put_version(&mut bytes);
        self.put(&mut bytes);
        let checksum = crc32c::crc32c(&bytes);
        bytes.put_u32(checksum);
        bytes
    }

    pub(super) fn parse_meta(bytes: &[u8]) -> Result<Self, BadHeader> {
        let mut take = Take(bytes);
        check_version(&mut take, META_MAGIC)?;
        let identity = Self::take(&mut take).ok_or(BadHeader::Damaged)?;
        check_end(take, bytes)?;
        Ok(identity)
    }

    /// The header of a segment.
    pub(super) fn encode_segment(self, segment: SegmentId, behind: Behind) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.put_bytes(behind.magic());
        put_version(&mut bytes);
        self.put(&mut bytes);
        bytes.put_u32(segment.0);
        let checksum = crc32c::crc32c(&bytes);
        bytes.put_u32(checksum);
        debug_assert_eq!(bytes.len(), SEGMENT_HEADER_BYTES);
        bytes
    }

    pub(super) fn parse_segment(bytes: &[u8]) -> Result<(Self, SegmentId), BadHeader> {
        let mut take = Take(bytes);
        check_version(&mut take, Behind::of(bytes).magic())?;
        let identity = Self::take(&mut take).ok_or(BadHeader::Damaged)?;
        let segment = take.u32().ok_or(BadHeader::Damaged)?;
        check_end(take, bytes)?;
        Ok((identity, SegmentId(segment)))
    }

    fn put(self, out: &mut Vec<u8>) {
        out.put_u64(self.store);
        let mut log = [0; ID_BYTES];
        let text = self.log.as_str().as_bytes();
        log[..text.len()].copy_from_slice(text);
        out.put_bytes(&log);
        out.put_bytes(&self.key.to_bytes());
    }

    fn take(take: &mut Take<'_>) -> Option<Self> {
        let store = take.u64()?;
        let log = take.bytes(ID_BYTES)?;
        let length = log.iter().position(|byte| *byte == 0).unwrap_or(ID_BYTES);
        Some(Self {
            store,
            log: std::str::from_utf8(&log[..length]).ok()?.parse().ok()?,
            key: ProducerKey::from_bytes(take.array16()?),
        })
    }
}

/// The version has a checksum of its own, which every later version keeps, so that an unknown version
/// is never taken for damage.
fn put_version(out: &mut Vec<u8>) {
    out.put_u32(FORMAT_VERSION);
    let checksum = crc32c::crc32c(out);
    out.put_u32(checksum);
}

fn check_version(take: &mut Take<'_>, magic: &[u8; 8]) -> Result<(), BadHeader> {
    let whole = *take;
    let found = take.bytes(magic.len()).ok_or(BadHeader::Damaged)?;
    let version = take.u32().ok_or(BadHeader::Damaged)?;
    let checked = take.taken_of(whole);
    let checksum = take.u32().ok_or(BadHeader::Damaged)?;
    if found != magic || checksum != crc32c::crc32c(checked) {
        Err(BadHeader::Damaged)
    } else if version != FORMAT_VERSION {
        Err(BadHeader::UnknownVersion(version))
    } else {
        Ok(())
    }
}

fn check_end(mut take: Take<'_>, whole: &[u8]) -> Result<(), BadHeader> {
    let checked = take.taken_of(Take(whole));
    let checksum = take.u32().ok_or(BadHeader::Damaged)?;
    let right = checksum == crc32c::crc32c(checked) && take.is_empty();
    right.then_some(()).ok_or(BadHeader::Damaged)
}
