//! Messages in the form in which they go to the sockets.
//!
//! ```text
//!   │ WebSocket header, plain │ WebSocket header, v1 │ msg TOPIC OFFSET TIME [FROM] LF │ payload │
//!   └──────────┬──────────────┘└─────────────────────────────┬────────────────────────┴────┬────┘
//!              └ for a plain follower, before the payload    └ for a v1 follower, in one   │
//!                                                              piece                       │
//!                                                              the same bytes for both ────┘
//! ```
//!
//! One allocation holds it all. It is made once, when the message is appended, and shared by
//! everybody who sends it.

use std::sync::Arc;

use heartwire_proto::frame::{Message, ServerFrame};
use heartwire_proto::server::websocket::{HEADER_BYTES_MAX, Header};
use heartwire_proto::{Time, WallTime};

/// What an entry costs beside its wire form: its place in the topic, and the counters of the shared
/// allocation.
const OVERHEAD_BYTES: usize = size_of::<Entry>() + 2 * size_of::<usize>();

/// Which followers a form is for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Form {
    /// A `msg` frame.
    V1,
    /// The payload alone.
    Plain,
}

/// One message in wire form. Cheap to clone: the bytes are shared.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Entry {
    wire: Arc<[u8]>,
    at: Time,
    payload_at: u32,
    plain_header_bytes: u8,
    v1_header_bytes: u8,
    /// How long FROM is; 0 if there is none.
    from_bytes: u8,
    is_text: bool,
}

/// What a header line tells beside the place, and the payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Parts<'a> {
    /// The time that followers are told.
    pub(crate) wall: WallTime,
    /// FROM as it stands in the line; empty if there is none.
    pub(crate) from: &'a [u8],
    /// The payload, whichever kind it is of.
    pub(crate) payload: &'a [u8],
}

impl Entry {
    /// Encodes a message. `frame` is a [`ServerFrame::Msg`]; `scratch` is empty, and is left empty.
    pub(crate) fn encode(frame: &ServerFrame<'_>, at: Time, scratch: &mut Vec<u8>) -> Self {
        let ServerFrame::Msg { payload, from, .. } = *frame else {
            unreachable!("only messages become entries");
        };
        const ROOM: usize = 2 * HEADER_BYTES_MAX;
        scratch.extend_from_slice(&[0; ROOM]);
        frame.encode_msg_header(scratch);
        scratch.push(b'\n');
        let line_bytes = scratch.len() - ROOM;
        scratch.extend_from_slice(payload.as_bytes());

        let opcode = payload.kind().into();
        let v1 = Header::new(opcode, line_bytes + payload.len());
        let plain = Header::new(opcode, payload.len());
        let (v1, plain) = (v1.as_bytes(), plain.as_bytes());
        let start = ROOM - v1.len() - plain.len();
        scratch[start..start + plain.len()].copy_from_slice(plain);
        scratch[start + plain.len()..ROOM].copy_from_slice(v1);

        let wire = Arc::from(&scratch[start..]);
        scratch.clear();
        Self {
            wire,
            at,
            payload_at: (plain.len() + v1.len() + line_bytes) as u32,
            plain_header_bytes: plain.len() as u8,
            v1_header_bytes: v1.len() as u8,
            from_bytes: from.map_or(0, |from| from.as_encoded().len() as u8),
            is_text: matches!(payload, Message::Text(_)),
        }
    }

    /// The two pieces to send, one after the other; the first is empty for [`Form::V1`].
    pub fn pieces(&self, form: Form) -> (&[u8], &[u8]) {
        let plain_header = usize::from(self.plain_header_bytes);
        match form {
            Form::V1 => (&[], &self.wire[plain_header..]),
            Form::Plain => (
                &self.wire[..plain_header],
                &self.wire[self.payload_at as usize..],
            ),
        }
    }

    /// The number of bytes to send, WebSocket header included.
    pub fn wire_bytes(&self, form: Form) -> usize {
        let (header, rest) = self.pieces(form);
        header.len() + rest.len()
    }

    /// What the entry takes of memory, in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.wire.len() + OVERHEAD_BYTES
    }

    /// When it was appended, on the monotonic clock.
    pub const fn at(&self) -> Time {
        self.at
    }

    /// Whether the payload is text.
    pub(crate) const fn is_text(&self) -> bool {
        self.is_text
    }

    /// The payload, as it was appended.
    pub fn payload(&self) -> Message<'_> {
        self.message(self.payload_at as usize)
    }

    /// The message as a frame, with topic, offset, time and publisher.
    pub fn frame(&self) -> ServerFrame<'_> {
        let at = usize::from(self.plain_header_bytes) + usize::from(self.v1_header_bytes);
        ServerFrame::parse(self.message(at)).expect("an entry holds a frame that was encoded here")
    }

    /// Time, publisher and payload, without taking the whole frame apart: who writes the log asks for
    /// them with every message, and has topic and offset from elsewhere.
    pub(crate) fn parts(&self) -> Parts<'_> {
        let (header, payload) = self.wire.split_at(self.payload_at as usize);
        // From the end of the line on: LF, FROM and the space before it, the digits of the time.
        let line = &header[..header.len() - 1];
        let (line, from) = line.split_at(line.len() - usize::from(self.from_bytes));
        let line = match from.is_empty() {
            true => line,
            false => &line[..line.len() - 1],
        };
        let (mut millis, mut worth) = (0, 1);
        let mut rest = line;
        while let [before @ .., digit] = rest
            && *digit != b' '
        {
            millis += u64::from(digit - b'0') * worth;
            worth *= 10;
            rest = before;
        }
        Parts {
            wall: WallTime::from_unix_millis(millis),
            from,
            payload,
        }
    }

    fn message(&self, at: usize) -> Message<'_> {
        let bytes = &self.wire[at..];
        if self.is_text {
            Message::Text(std::str::from_utf8(bytes).expect("it was text when it was appended"))
        } else {
            Message::Binary(bytes)
        }
    }
}

#[cfg(test)]
mod tests {
    use heartwire_proto::Offset;
    use heartwire_proto::frame::{PUBLISHER_BYTES_MAX, Publisher};
    use heartwire_proto::id::TopicRef;
    use proptest::prelude::*;

    use super::*;

    fn encoded(payload: Message<'_>) -> Entry {
        let frame = ServerFrame::Msg {
            topic: TopicRef::parse("task:42").unwrap(),
            offset: Offset(7),
            prev: Offset(6),
            time: WallTime::from_unix_millis(1_790_000_000_000),
            from: None,
            payload,
        };
        let mut scratch = Vec::new();
        let entry = Entry::encode(&frame, Time::ZERO, &mut scratch);
        assert!(scratch.is_empty());
        assert_eq!(entry.frame(), frame);
        assert_eq!(entry.payload(), payload);
        entry
    }

    #[test]
    fn one_allocation_serves_both_kinds_of_followers() {
        let entry = encoded(Message::Text("50 %"));
        let (none, v1) = entry.pieces(Form::V1);
        assert!(none.is_empty());
        assert_eq!(v1, b"\x81\x20msg task:42 7 1790000000000\n50 %".as_slice());
        assert_eq!(
            entry.pieces(Form::Plain),
            (b"\x81\x04".as_slice(), b"50 %".as_slice())
        );
        assert_eq!(entry.wire_bytes(Form::Plain), 6);
    }

    #[test]
    fn headers_of_any_length_fit_and_binary_stays_binary() {
        for bytes in [0, 97, 98, 125, 126, 65_500, 65_536, 70_000] {
            let payload = vec![b'x'; bytes];
            let entry = encoded(Message::Binary(&payload));
            let (header, rest) = entry.pieces(Form::Plain);
            assert_eq!((header[0], rest.len()), (0x82, bytes));
            assert_eq!(entry.pieces(Form::V1).1[0], 0x82);
        }
    }

    #[test]
    fn an_entry_is_small_and_a_publisher_fits_its_byte() {
        assert_eq!(size_of::<Entry>(), 32);
        assert!(PUBLISHER_BYTES_MAX <= usize::from(u8::MAX));
    }

    proptest! {
        #[test]
        fn the_parts_are_those_of_the_frame(
            topic in "[a-z0-9_][a-z0-9_.:@~-]{0,199}",
            offset in 1..(1_u64 << 53),
            before in 0..3_u64,
            wall in 0..(1_u64 << 53),
            from in proptest::option::of("[a-z0-9]{1,240}"),
            text: Option<String>,
            binary: Vec<u8>,
        ) {
            let payload = text.as_deref().map_or(Message::Binary(&binary), Message::Text);
            let frame = ServerFrame::Msg {
                topic: TopicRef::parse(&topic).unwrap(),
                offset: Offset(offset),
                prev: Offset(offset.saturating_sub(1 + before)),
                time: WallTime::from_unix_millis(wall),
                from: from.as_deref().map(|from| Publisher::parse(from).unwrap()),
                payload,
            };
            let entry = Entry::encode(&frame, Time::ZERO, &mut Vec::new());
            prop_assert_eq!(entry.frame(), frame);
            let parts = Parts {
                wall: WallTime::from_unix_millis(wall),
                from: from.as_deref().unwrap_or_default().as_bytes(),
                payload: payload.as_bytes(),
            };
            prop_assert_eq!(entry.parts(), parts);
        }
    }
}
