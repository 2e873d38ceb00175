//! Making frames.

use heartwire_proto::Time;
use heartwire_proto::planted::{self, Bug};

use super::batch::Record;
use super::checksum::Salt;
use super::frame::{END_BYTES, FRAME_HEADER_BYTES, FrameHeader, end_of_zeros};
use super::index::{GROUP, PlacedRecord, SegmentIndex};
use super::record::{self, View};

/// One frame: encoded first, which tells how long it is, and sealed when its place is known.
#[derive(Debug)]
pub(super) struct FrameWriter {
    /// The frame, and as many zeros as are ever written behind one.
    bytes: Vec<u8>,
    /// The zeros behind a frame end with a block of so many bytes.
    block_bytes: u32,
    records: u32,
    /// When its latest message was appended.
    time: Time,
}

impl FrameWriter {
    pub(super) const fn new(block_bytes: u32) -> Self {
        Self {
            bytes: Vec::new(),
            block_bytes,
            records: 0,
            time: Time::ZERO,
        }
    }

    const fn zeros_bytes_max(&self) -> usize {
        END_BYTES + self.block_bytes as usize
    }

    /// Encodes records, in place of those before; returns the frame's length in bytes.
    pub(super) fn encode(&mut self, records: &[Record]) -> usize {
        self.bytes.clear();
        self.bytes.resize(FRAME_HEADER_BYTES, 0);
        self.time = Time::ZERO;
        for record in records {
            record::encode(record, &mut self.bytes);
            if let Record::Message { entry, .. } = record {
                self.time = self.time.max(entry.at());
            }
        }
        self.records = records.len() as u32;
        self.bytes
            .resize(self.bytes.len() + self.zeros_bytes_max(), 0);
        self.frame_bytes()
    }

    fn frame_bytes(&self) -> usize {
        self.bytes.len().saturating_sub(self.zeros_bytes_max())
    }

    /// The frame, once it is sealed.
    pub(super) fn frame(&self) -> &[u8] {
        &self.bytes[..self.frame_bytes()]
    }

    /// The frame, which will stand at `position`, and the zeros behind it, as far as there is room.
    pub(super) fn frame_and_end(&self, position: u32, room_bytes: u64) -> &[u8] {
        if planted::has(Bug::NoZerosBehindFrame) {
            return self.frame();
        }
        let room = usize::try_from(room_bytes).unwrap_or(usize::MAX);
        let position = position as usize;
        let bytes = end_of_zeros(position + self.frame_bytes(), self.block_bytes) - position;
        &self.bytes[..bytes.min(room)]
    }

    /// Fills in the checksums for a position, and takes the records, which are those that were encoded,
    /// in the index. `place` is told where each message stands and how long its record is. The time is
    /// no earlier than `after`.
    pub(super) fn seal(
        &mut self,
        records: &[Record],
        salt: Salt,
        position: u32,
        after: Time,
        index: &mut SegmentIndex,
        mut place: impl FnMut(u32, u32),
    ) {
        let time = self.time.max(after);
        let end = self.frame_bytes();
        let header = FrameHeader {
            body_bytes: (end - FRAME_HEADER_BYTES) as u32,
            records: self.records,
            time,
        };
        self.bytes[..FRAME_HEADER_BYTES].copy_from_slice(&header.encode(salt, position));
        let mut at = FRAME_HEADER_BYTES;
        while let Some(length) = self.bytes.get(at..end).and_then(record::length_of) {
            record::seal(&mut self.bytes[at..at + length], salt, position + at as u32);
            at += length;
        }
        let mut rest = &self.bytes[FRAME_HEADER_BYTES..end];
        let mut position = position + FRAME_HEADER_BYTES as u32;
        let mut group = Vec::with_capacity(GROUP);
        for records in records.chunks(GROUP) {
            group.clear();
            for record in records {
                let placed = take_placed(record, &mut rest, &mut position);
                if matches!(placed.view, View::Message(_) | View::Moved(_)) {
                    place(placed.position, placed.bytes);
                }
                group.push(placed);
            }
            index.add(&group, time, |_| unreachable!("records name topics"));
        }
        index.time = time;
    }

    /// Gives back memory that one large batch took.
    pub(super) fn shrink_to(&mut self, bytes_max: usize) {
        self.bytes.clear();
        self.bytes.shrink_to(bytes_max);
    }
}

/// Takes a record that was encoded from the front of `rest`, which stands at `position`.
fn take_placed<'a>(record: &Record, rest: &mut &'a [u8], position: &mut u32) -> PlacedRecord<'a> {
    let length = record::length_of(rest).expect("it was encoded here");
    let (bytes, behind) = rest.split_at(length);
    let placed = PlacedRecord {
        view: View::of(record, bytes).expect("it was encoded here"),
        position: *position,
        bytes: length as u32,
    };
    (*rest, *position) = (behind, *position + placed.bytes);
    placed
}
