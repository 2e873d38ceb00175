//! Records: one message, or one fact, in the form in which it stands in a segment `[DISK-7]`.
//!
//! ```text
//!   │ crc u32 │ length u32 │ flags u8 │ topic │ origin │ offset │ at │ wall │ producer, seq │ from │ payload │
//!   └────────────── all ──────────────┘└──── key ─────┘└────── messages ─────┘└─ if flagged ─┘└─ if ─┘
//! ```
//!
//! A record can be read without the frame around it, so that a message is one read.

use heartwire_proto::frame::{Message, Publisher, ServerFrame};
use heartwire_proto::id::TopicRef;
use heartwire_proto::{Epoch, Offset, Seq, Time, TopicName, WallTime};

use super::batch::Record;
use super::bytes::{Put as _, Take};
use super::checksum::Salt;
use crate::entry::Entry;
use crate::producer::ProducerId;

/// What a record takes at the most beside its topic's name, its publisher and its payload, in bytes.
pub const RECORD_OVERHEAD_BYTES_MAX: usize = 128;

/// What stands before the flags, in bytes.
pub(super) const PREFIX_BYTES: usize = 8;
/// The least that a record takes, in bytes.
pub(super) const RECORD_BYTES_MIN: usize = PREFIX_BYTES + 2;

/// Where the key stands in a record that has one.
const KEY_AT: usize = PREFIX_BYTES + 1;

const KIND: u8 = 0b0010_0011;
const MESSAGE: u8 = 0;
const MOVED: u8 = 1;
const NUMBER: u8 = 2;
const EPOCH: u8 = 3;
const LOST: u8 = 0b0010_0000;
const IS_TEXT: u8 = 0b0000_0100;
const HAS_PRODUCER: u8 = 0b0000_1000;
const HAS_FROM: u8 = 0b0001_0000;
const KNOWN: u8 = KIND | IS_TEXT | HAS_PRODUCER | HAS_FROM;

/// Appends a record with room for its checksum, which [`seal`] fills in.
pub(super) fn encode(record: &Record, out: &mut Vec<u8>) {
    let start = out.len();
    out.put_u64(0);
    match record {
        Record::Message {
            topic,
            origin,
            offset,
            entry,
            producer,
        } => encode_message(MESSAGE, (topic, *origin), *offset, entry, *producer, out),
        Record::Moved {
            topic,
            origin,
            offset,
            entry,
        } => encode_message(MOVED, (topic, *origin), *offset, entry, None, out),
        Record::Number { producer, seq } => {
            out.put_u8(NUMBER);
            out.put_bytes(&producer.to_bytes());
            out.put_varint(seq.0);
        }
        Record::Epoch {
            topic,
            origin,
            epoch,
        } => {
            out.put_u8(EPOCH);
            put_key(topic, *origin, out);
            out.put_short(epoch.as_str().as_bytes());
        }
        Record::Lost {
            topic,
            origin,
            offset,
        } => {
            out.put_u8(LOST);
            put_key(topic, *origin, out);
            out.put_varint(offset.0);
        }
    }
    let length = (out.len() - start) as u32;
    out[start + 4..start + PREFIX_BYTES].copy_from_slice(&length.to_le_bytes());
}

fn encode_message(
    kind: u8,
    (topic, origin): (&TopicName, Epoch),
    offset: Offset,
    entry: &Entry,
    producer: Option<(ProducerId, Seq)>,
    out: &mut Vec<u8>,
) {
    let parts = entry.parts();
    let mut flags = kind;
    flags |= if entry.is_text() { IS_TEXT } else { 0 };
    flags |= if producer.is_some() { HAS_PRODUCER } else { 0 };
    flags |= if parts.from.is_empty() { 0 } else { HAS_FROM };
    out.put_u8(flags);
    put_key(topic, origin, out);
    out.put_varint(offset.0);
    out.put_varint(entry.at().as_millis());
    out.put_varint(parts.wall.as_unix_millis());
    if let Some((producer, seq)) = producer {
        out.put_bytes(&producer.to_bytes());
        out.put_varint(seq.0);
    }
    if !parts.from.is_empty() {
        out.put_short(parts.from);
    }
    out.put_bytes(parts.payload);
}

fn put_key(topic: &TopicName, origin: Epoch, out: &mut Vec<u8>) {
    out.put_short(topic.as_str().as_bytes());
    out.put_short(origin.as_bytes());
}

/// Fills in the checksum of an encoded record that will stand at `position`.
pub(super) fn seal(record: &mut [u8], salt: Salt, position: u32) {
    let checksum = salt.checksum(position, &record[4..]);
    record[..4].copy_from_slice(&checksum.to_le_bytes());
}

/// How long the record is that begins here, in bytes, if that is possible at all.
#[inline]
pub(super) fn length_of(bytes: &[u8]) -> Option<usize> {
    let length = claimed_length(bytes)? as usize;
    (length <= bytes.len()).then_some(length)
}

/// How long the record says it is that begins here, in bytes.
#[inline]
pub(super) fn claimed_length(bytes: &[u8]) -> Option<u32> {
    let length = Take(bytes.get(4..)?).u32()?;
    (length as usize >= RECORD_BYTES_MIN).then_some(length)
}

/// Whether the checksum of a whole record at `position` is right.
#[inline]
pub(super) fn is_whole(record: &[u8], salt: Salt, position: u32) -> bool {
    match record.split_first_chunk::<4>() {
        Some((checksum, rest)) => u32::from_le_bytes(*checksum) == salt.checksum(position, rest),
        None => false,
    }
}

/// A topic's name and origin as they stand in a record: the key of everything that is kept by topic.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Key<'a>(pub(super) &'a [u8]);

impl<'a> Key<'a> {
    #[inline]
    pub(super) fn take(take: &mut Take<'a>) -> Option<Self> {
        let whole = *take;
        take.short()?;
        take.short()?;
        Some(Self(take.taken_of(whole)))
    }

    /// The name, if there are a name and an origin in it.
    pub(super) fn name(self) -> Option<&'a [u8]> {
        let mut take = Take(self.0);
        let name = take.short().filter(|name| TopicRef::is_name(name))?;
        take.short().and_then(epoch).map(|_| name)
    }

    /// The name and the origin, if they are such.
    pub(super) fn parse(self) -> Option<(TopicRef<'a>, Epoch)> {
        let mut take = Take(self.0);
        let name = std::str::from_utf8(take.short()?).ok()?;
        let name = TopicRef::parse(name).ok()?;
        Some((name, epoch(take.short()?)?))
    }
}

pub(super) fn epoch(bytes: &[u8]) -> Option<Epoch> {
    Epoch::from_ascii(bytes).ok()
}

/// What a record says, borrowed from it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum View<'a> {
    Message(MessageView<'a>),
    Moved(MessageView<'a>),
    Number { producer: ProducerId, seq: Seq },
    Epoch { key: Key<'a>, epoch: &'a [u8] },
    Lost { key: Key<'a>, offset: Offset },
}

/// A message's place, and whatever is kept beside it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct MessageView<'a> {
    pub(super) key: Key<'a>,
    pub(super) offset: Offset,
    pub(super) at: Time,
    pub(super) producer: Option<(ProducerId, Seq)>,
}

/// What a message's readers get beside that.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Body<'a> {
    wall: WallTime,
    flags: u8,
    /// FROM, if there is one, and the payload.
    rest: &'a [u8],
}

impl<'a> View<'a> {
    /// Reads a whole record whose checksum is right.
    #[inline]
    pub(super) fn parse(record: &'a [u8]) -> Option<Self> {
        let mut take = Take(record.get(PREFIX_BYTES..)?);
        let flags = take.u8()?;
        if flags & !KNOWN != 0 {
            return None;
        }
        match flags & KIND {
            NUMBER => Some(Self::Number {
                producer: ProducerId::from_bytes(take.array16()?),
                seq: Seq(take.varint()?),
            }),
            EPOCH => Some(Self::Epoch {
                key: Key::take(&mut take)?,
                epoch: take.short()?,
            }),
            LOST => Some(Self::Lost {
                key: Key::take(&mut take)?,
                offset: Offset(take.offset()?),
            }),
            MESSAGE => MessageView::take(flags, &mut take).map(|(view, _)| Self::Message(view)),
            MOVED => MessageView::take(flags, &mut take).map(|(view, _)| Self::Moved(view)),
            _ => None,
        }
    }

    /// What a record says that [`encode`] has made these bytes of: a message is not read again.
    pub(super) fn of(record: &Record, bytes: &'a [u8]) -> Option<Self> {
        let Record::Message {
            offset,
            entry,
            producer,
            ..
        } = record
        else {
            return Self::parse(bytes);
        };
        let view = Self::Message(MessageView {
            key: Key::take(&mut Take(bytes.get(KEY_AT..)?))?,
            offset: *offset,
            at: entry.at(),
            producer: *producer,
        });
        debug_assert_eq!(Some(view), Self::parse(bytes));
        Some(view)
    }
}

impl<'a> MessageView<'a> {
    #[inline]
    fn take(flags: u8, take: &mut Take<'a>) -> Option<(Self, WallTime)> {
        let (key, offset) = (Key::take(take)?, Offset(take.offset()?));
        let at = Time::from_millis(take.varint()?);
        let wall = WallTime::from_unix_millis(take.varint()?);
        let producer = match flags & HAS_PRODUCER {
            0 => None,
            _ => Some((ProducerId::from_bytes(take.array16()?), Seq(take.varint()?))),
        };
        let view = Self {
            key,
            offset,
            at,
            producer,
        };
        Some((view, wall))
    }

    /// Reads a whole message whose checksum is right; `None` if it is none.
    pub(super) fn parse(record: &'a [u8]) -> Option<(Self, Body<'a>)> {
        let mut take = Take(record.get(PREFIX_BYTES..)?);
        let flags = take.u8()?;
        if flags & !KNOWN != 0 || !matches!(flags & KIND, MESSAGE | MOVED) {
            return None;
        }
        let (view, wall) = Self::take(flags, &mut take)?;
        let rest = take.0;
        Some((view, Body { wall, flags, rest }))
    }

    /// The message in wire form; `scratch` is empty, and is left empty. `None` if it is none.
    pub(super) fn to_entry(
        self,
        body: Body<'_>,
        topic: TopicRef<'_>,
        scratch: &mut Vec<u8>,
    ) -> Option<Entry> {
        let mut take = Take(body.rest);
        let from = match body.flags & HAS_FROM {
            0 => None,
            _ => Some(std::str::from_utf8(take.short()?).ok()?),
        };
        let from = from.map(Publisher::parse).transpose().ok()?;
        let payload = match body.flags & IS_TEXT {
            0 => Message::Binary(take.0),
            _ => Message::Text(std::str::from_utf8(take.0).ok()?),
        };
        let frame = ServerFrame::Msg {
            topic,
            offset: self.offset,
            prev: Offset(self.offset.0.checked_sub(1)?),
            time: body.wall,
            from,
            payload,
        };
        Some(Entry::encode(&frame, self.at, scratch))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_that_no_message_has_makes_no_record() {
        for (offset, is_one) in [
            (0, false),
            (1, true),
            (u64::MAX - 1, true),
            (u64::MAX, false),
        ] {
            let mut bytes = Vec::new();
            let lost = Record::Lost {
                topic: "topic".parse().expect("a name"),
                origin: Epoch::from_random(1),
                offset: Offset(offset),
            };
            encode(&lost, &mut bytes);
            assert_eq!(View::parse(&bytes).is_some(), is_one, "{offset} is lost");
            let mut bytes = vec![0; PREFIX_BYTES];
            bytes.put_u8(MESSAGE);
            put_key(
                &"topic".parse().expect("a name"),
                Epoch::from_random(1),
                &mut bytes,
            );
            [offset, 0, 0]
                .into_iter()
                .for_each(|number| bytes.put_varint(number));
            assert_eq!(View::parse(&bytes).is_some(), is_one, "{offset} is there");
            let message = MessageView::parse(&bytes);
            assert_eq!(message.is_some(), is_one, "{offset} is read back");
        }
    }
}
