//! Reading a segment from its first byte to its last.
//!
//! ```text
//!   frame │ frame │ bad … │ frame │ frame │ torn … │ 0 0 0 0
//!                  └ damage: a frame       └ the last batch, when the segment is the last;
//!                    follows                 damage when it is not
//! ```
//!
//! In the file of a removed segment anything may stand behind the frames, but for zeros where the next
//! one would begin:
//!
//! ```text
//!   frame │ frame │ 0 0 0 │ what an earlier segment left: none of it is right here
//!   frame │ torn … │ the same
//! ```

use std::io;

use heartwire_disk::DiskFile;
use heartwire_proto::Time;
use heartwire_proto::planted::{self, Bug};
use memchr::memmem;

use super::batch::SegmentId;
use super::checksum::{Hashes, Salt};
use super::frame::{END_BYTES, FRAME_HEADER_BYTES, FrameHeader, MAGIC};
use super::index::SegmentIndex;
use super::meta::{Behind, Identity, SEGMENT_HEADER_BYTES};
use super::record;
use super::records::Records;
use super::window::Window;

/// What is wrong with bytes that the device does not give back: damage, wherever they stand.
const UNREADABLE: &str = "the disk cannot read these bytes";

/// A part of a segment that is no frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Region {
    pub(super) start: u32,
    pub(super) end: u32,
    pub(super) what: &'static str,
}

impl Region {
    pub(super) const fn bytes(self) -> u32 {
        self.end - self.start
    }

    pub(super) const fn holds(self, position: u32) -> bool {
        self.start <= position && position < self.end
    }
}

/// What a segment turned out to hold.
#[derive(Clone, Debug)]
pub(super) struct Scanned {
    pub(super) index: SegmentIndex,
    /// How many frames are whole.
    pub(super) frames: u64,
    /// Where the last of them begins.
    pub(super) last_frame: Option<u32>,
    /// Damage, for certain.
    pub(super) bad: Vec<Region>,
    /// What stands after the last frame of a batch that was begun.
    pub(super) tail: Option<Region>,
    /// How far frames behind the last whole one can have gone, where that cannot be told from what an
    /// earlier segment left.
    pub(super) reach: u32,
}

/// Reads a whole segment.
pub(super) fn scan<F: DiskFile>(
    file: &F,
    identity: &Identity,
    id: SegmentId,
) -> io::Result<Scanned> {
    let mut scan = Scan::new(file, identity, id)?;
    scan.check_header(identity, id)?;
    let mut position = SEGMENT_HEADER_BYTES as u32;
    loop {
        position = match scan.frame(position)? {
            Found::Frame { end } => end,
            Found::Bad { declared_end } => match scan.next_frame(position)? {
                Some(next) => {
                    scan.bad(position, next, "the frame is damaged");
                    next
                }
                None => {
                    scan.tail(position, declared_end)?;
                    return Ok(scan.scanned);
                }
            },
        };
    }
}

/// Whether a segment holds whole frames up to `valid`, and nothing behind them. It takes a fraction of
/// what a scan does, and tells nothing else.
pub(super) fn is_intact<F: DiskFile>(
    file: &F,
    identity: &Identity,
    id: SegmentId,
    valid: u32,
) -> io::Result<bool> {
    let mut scan = Scan::new(file, identity, id)?;
    scan.check_header(identity, id)?;
    let mut position = SEGMENT_HEADER_BYTES as u32;
    while position < valid {
        let Some(header) = scan.header(position)? else {
            return Ok(false);
        };
        if whole_body(&mut scan.window, scan.salt, position, header)?.is_none() {
            return Ok(false);
        }
        position += header.frame_bytes() as u32;
    }
    scan.tail(position, None)?;
    let Scanned { bad, tail, .. } = scan.scanned;
    Ok(position == valid && bad.is_empty() && tail.is_none())
}

enum Found {
    Frame {
        end: u32,
    },
    Bad {
        /// Where it should end, when its header is whole.
        declared_end: Option<u32>,
    },
}

struct Scan<'f, F> {
    salt: Salt,
    behind: Behind,
    window: Window<'f, F>,
    scanned: Scanned,
}

impl<'f, F: DiskFile> Scan<'f, F> {
    fn new(file: &'f F, identity: &Identity, id: SegmentId) -> io::Result<Self> {
        let (hashes, start) = (Hashes::new(identity.store), SEGMENT_HEADER_BYTES as u32);
        Ok(Self {
            salt: Salt::new(identity.store, id),
            behind: Behind::Zeros,
            window: Window::new(file)?,
            scanned: Scanned {
                index: SegmentIndex::new(hashes, start, Time::ZERO),
                frames: 0,
                last_frame: None,
                bad: Vec::new(),
                tail: None,
                reach: 0,
            },
        })
    }

    /// A damaged header costs nothing, as frames are checked by themselves; it is named all the same.
    fn check_header(&mut self, identity: &Identity, id: SegmentId) -> io::Result<()> {
        let header = self.window.get(0, SEGMENT_HEADER_BYTES)?;
        let header = header.unwrap_or_default();
        let behind = Behind::of(header);
        let is_right = header == identity.encode_segment(id, behind);
        self.behind = behind;
        if !is_right {
            let end = SEGMENT_HEADER_BYTES as u32;
            self.bad(0, end, "the segment's header is damaged");
        }
        Ok(())
    }

    fn bad(&mut self, start: u32, end: u32, what: &'static str) {
        let what = match self.window.has_unread(start, end) {
            true => UNREADABLE,
            false => what,
        };
        self.scanned.bad.push(Region { start, end, what });
    }

    fn header(&mut self, position: u32) -> io::Result<Option<FrameHeader>> {
        let bytes = self.window.get(position, FRAME_HEADER_BYTES)?;
        Ok(bytes.and_then(|bytes| FrameHeader::parse(bytes, self.salt, position)))
    }

    /// Takes in the frame at `position`, wholly or not at all.
    fn frame(&mut self, position: u32) -> io::Result<Found> {
        let Some(header) = self.header(position)? else {
            return Ok(Found::Bad { declared_end: None });
        };
        let frame_bytes = u32::try_from(header.frame_bytes()).unwrap_or(u32::MAX);
        let declared_end = Some(position.saturating_add(frame_bytes));
        let body_at = position + FRAME_HEADER_BYTES as u32;
        let Some(body) = whole_body(&mut self.window, self.salt, position, header)? else {
            return Ok(Found::Bad { declared_end });
        };
        let Scanned { index, bad, .. } = &mut self.scanned;
        // Its checksum is right and it makes no sense: written so, or by somebody else.
        let mut refuse = |(start, bytes)| {
            bad.push(Region {
                start,
                end: start + bytes,
                what: "the record is not one",
            });
        };
        let mut records = Records::new(body, body_at);
        while let Some(group) = records.group() {
            index.add(group, header.time, |record| {
                refuse((record.position, record.bytes));
            });
        }
        records.senseless.into_iter().for_each(refuse);
        let end = body_at + header.body_bytes;
        self.scanned.frames += 1;
        self.scanned.last_frame = Some(position);
        self.scanned.index.valid = end;
        self.scanned.index.time = self.scanned.index.time.max(header.time);
        Ok(Found::Frame { end })
    }

    /// Where the next frame begins after `position`, as far as its header tells.
    fn next_frame(&mut self, position: u32) -> io::Result<Option<u32>> {
        let finder = memmem::Finder::new(&MAGIC);
        let mut from = position + 1;
        while let Some(bytes) = self.window.some(from)? {
            let mut candidates = finder.find_iter(bytes);
            if let Some(at) = candidates.next() {
                let candidate = from + at as u32;
                if self.header(candidate)?.is_some() {
                    return Ok(Some(candidate));
                }
                from = candidate + 1;
            } else {
                // The mark may begin in this piece and end in the next.
                let step = bytes.len().saturating_sub(MAGIC.len() - 1).max(1);
                from += step as u32;
            }
        }
        Ok(None)
    }

    /// What stands after the last frame. A batch torn while it was written ends where its header
    /// says at the latest.
    fn tail(&mut self, position: u32, declared_end: Option<u32>) -> io::Result<()> {
        let end = match (self.behind, declared_end) {
            (Behind::Zeros, _) => self.zeros_from(position)?,
            (Behind::Stale, None) => self.begun_until(position)?,
            // Whole records behind it can only be those of another frame.
            (Behind::Stale, Some(declared)) => match self.records_until(declared)? {
                None => declared.min(self.window.file_bytes),
                Some(end) => end,
            },
        };
        if self.behind == Behind::Stale && declared_end.is_none() && end > position {
            self.scanned.reach = self.window.file_bytes;
        }
        match declared_end {
            Some(declared) if end > declared => {
                self.bad(position, declared, "the frame is damaged");
                self.bad(declared, end, "these bytes are no frame");
            }
            // It may have been whole, and synced.
            _ if self.window.has_unread(position, end) => self.bad(position, end, UNREADABLE),
            _ if end > position => {
                self.scanned.tail = Some(Region {
                    start: position,
                    end,
                    what: "the batch is incomplete",
                });
            }
            _ => {}
        }
        Ok(())
    }

    /// Where nothing but zeros follows, from `position` on.
    fn zeros_from(&mut self, position: u32) -> io::Result<u32> {
        let mut end = position;
        let mut from = position;
        while let Some(bytes) = self.window.some(from)? {
            if let Some(last) = bytes.iter().rposition(|byte| *byte != 0) {
                end = from + last as u32 + 1;
            }
            from += bytes.len() as u32;
        }
        Ok(end)
    }

    /// Where a batch without a right header ends, as far as it can be told from stale bytes;
    /// `position` if none was begun there.
    fn begun_until(&mut self, position: u32) -> io::Result<u32> {
        if let Some(end) = self.records_until(position)? {
            return Ok(end);
        }
        let left = self.window.file_bytes.saturating_sub(position);
        let header_bytes = left.min(END_BYTES as u32);
        let header = self.window.get(position, header_bytes as usize)?;
        let is_begun = header.is_some_and(|bytes| bytes.iter().any(|byte| *byte != 0));
        Ok(if is_begun {
            position + header_bytes
        } else {
            position
        })
    }

    /// Where the records end that are whole in a frame at `position`, whatever its header is; `None`
    /// if not even the first is.
    fn records_until(&mut self, position: u32) -> io::Result<Option<u32>> {
        let mut end = None;
        let mut at = position.saturating_add(FRAME_HEADER_BYTES as u32);
        while let Some(bytes) = self.whole_record(at)? {
            at += bytes;
            end = Some(at);
        }
        Ok(end)
    }

    /// The length of the record at `position`, if it is whole.
    fn whole_record(&mut self, position: u32) -> io::Result<Option<u32>> {
        let salt = self.salt;
        let Some(prefix) = self.window.get(position, record::PREFIX_BYTES)? else {
            return Ok(None);
        };
        let Some(length) = record::claimed_length(prefix) else {
            return Ok(None);
        };
        let record = self.window.get(position, length as usize)?;
        let is_whole = record.is_some_and(|record| record::is_whole(record, salt, position));
        Ok(is_whole.then_some(length))
    }
}

/// The body of the frame at `position`, if that is whole.
fn whole_body<'w, F: DiskFile>(
    window: &'w mut Window<'_, F>,
    salt: Salt,
    position: u32,
    header: FrameHeader,
) -> io::Result<Option<&'w [u8]>> {
    let Some(frame) = window.get(position, header.frame_bytes())? else {
        return Ok(None);
    };
    let body = &frame[FRAME_HEADER_BYTES..];
    let body_at = position + FRAME_HEADER_BYTES as u32;
    let is_whole = header.matches(body, salt, body_at) || planted::has(Bug::TornTailAccepted);
    Ok(is_whole.then_some(body))
}

#[cfg(test)]
mod tests {
    use heartwire_disk::{CrashDisk, Disk as _};
    use heartwire_proto::LogId;

    use super::*;
    use crate::producer::ProducerKey;

    #[test]
    fn a_frame_that_says_it_is_longer_than_any_file_ends_with_its_file() {
        let identity = Identity {
            store: 1,
            log: LogId::from_random(2),
            key: ProducerKey::new(3),
        };
        let (id, at) = (SegmentId(1), SEGMENT_HEADER_BYTES as u32);
        for behind in [Behind::Zeros, Behind::Stale] {
            for body_bytes in [u32::MAX, u32::MAX - FRAME_HEADER_BYTES as u32 + 1] {
                let header = FrameHeader {
                    body_bytes,
                    records: 1,
                    time: Time::ZERO,
                };
                let mut bytes = identity.encode_segment(id, behind);
                bytes.extend(header.encode(Salt::new(identity.store, id), at));
                bytes.extend([7; 300]);
                let disk = CrashDisk::new();
                disk.put("segment", bytes.clone());
                let file = disk.open("segment").expect("it was put there");
                let scanned = scan(&file, &identity, id).expect("it can be read");
                let tail = scanned.tail.map(|tail| (tail.start, tail.end));
                assert_eq!(tail, Some((at, bytes.len() as u32)), "{:?}", scanned.bad);
                assert_eq!(scanned.bad, []);
            }
        }
    }
}
