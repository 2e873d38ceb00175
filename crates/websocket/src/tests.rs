//! The decoder against the letter of RFC 6455, and against two other implementations.

use std::io::{self, Read, Write};

use bytes::BytesMut;
use heartwire_proto::frame::Message;
use proptest::prelude::*;
use tungstenite::protocol::{Role, WebSocket};

use super::violation::Violation;
use super::{Caps, ControlKind, Decoder, Event};

const CAPS: Caps = Caps {
    whole_max: 100_000,
    head_max: 16,
    hard_max: 200_000,
};

const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CONTINUE: u8 = 0;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
const FINAL: u8 = 0x80;

/// What any of the three implementations made of a stream.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Seen {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Oversized(Vec<u8>),
    Close,
}

impl From<Event<'_>> for Seen {
    fn from(event: Event<'_>) -> Self {
        match event {
            Event::Message(Message::Text(text)) => Self::Text(text.to_owned()),
            Event::Message(Message::Binary(bytes)) => Self::Binary(bytes.to_vec()),
            Event::Oversized { head } => Self::Oversized(head.to_vec()),
            Event::Control(control) => match control.kind() {
                ControlKind::Ping => Self::Ping(control.payload().to_vec()),
                ControlKind::Pong => Self::Pong(control.payload().to_vec()),
                ControlKind::Close => Self::Close,
            },
        }
    }
}

/// One masked frame as a client sends it.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let key = [0x37, 0xfa, 0x21, 0x3d];
    let mut bytes = vec![first];
    match payload.len() {
        length @ 0..126 => bytes.push(0x80 | length as u8),
        length @ 126..65_536 => {
            bytes.push(0x80 | 126);
            bytes.extend((length as u16).to_be_bytes());
        }
        length => {
            bytes.push(0x80 | 127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    bytes.extend(key);
    bytes.extend(payload.iter().zip(key.iter().cycle()).map(|(b, k)| b ^ k));
    bytes
}

/// Feeds the stream in parts that end at the given places.
fn decode(stream: &[u8], cuts: &[usize], caps: &Caps) -> Result<Vec<Seen>, (Vec<Seen>, Violation)> {
    let mut decoder = Decoder::default();
    let mut seen = Vec::new();
    let mut start = 0;
    for end in cuts.iter().copied().chain([stream.len()]) {
        let end = end.clamp(start, stream.len());
        let mut part = stream[start..end].to_vec();
        let mut input = &mut part[..];
        loop {
            match decoder.next(&mut input, caps) {
                Ok(Some(event)) => seen.push(event.into()),
                Ok(None) => break,
                Err(violation) => return Err((seen, violation)),
            }
        }
        start = end;
    }
    if decoder.held_bytes() == 0 {
        Ok(seen)
    } else {
        panic!("the stream ended inside a frame or message")
    }
}

fn violation(stream: &[u8]) -> Violation {
    let (_, whole) = decode(stream, &[], &CAPS).expect_err("the stream breaks a rule");
    let bytewise: Vec<usize> = (1..stream.len()).collect();
    let (_, split) = decode(stream, &bytewise, &CAPS).expect_err("the stream breaks a rule");
    assert_eq!(whole, split, "the way it was cut must not matter");
    whole
}

/// Serves a byte string, swallows what is written.
struct Stream<'a>(&'a [u8]);

impl Read for Stream<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Stream<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn by_tungstenite(stream: &[u8]) -> Vec<Seen> {
    let mut socket = WebSocket::from_raw_socket(Stream(stream), Role::Server, None);
    let mut seen = Vec::new();
    while let Ok(message) = socket.read() {
        seen.push(match message {
            tungstenite::Message::Text(text) => Seen::Text(text.to_string()),
            tungstenite::Message::Binary(bytes) => Seen::Binary(bytes.to_vec()),
            tungstenite::Message::Ping(bytes) => Seen::Ping(bytes.to_vec()),
            tungstenite::Message::Pong(bytes) => Seen::Pong(bytes.to_vec()),
            tungstenite::Message::Close(_) => Seen::Close,
            tungstenite::Message::Frame(_) => unreachable!("reading yields no raw frames"),
        });
    }
    seen
}

fn by_sockudo(stream: &[u8], cuts: &[usize]) -> Vec<Seen> {
    use sockudo_ws::protocol::{Message, Protocol, Role};

    let mut protocol = Protocol::new(Role::Server, CAPS.hard_max, CAPS.hard_max);
    let mut buffer = BytesMut::new();
    let mut seen = Vec::new();
    let mut start = 0;
    for end in cuts.iter().copied().chain([stream.len()]) {
        let end = end.clamp(start, stream.len());
        buffer.extend_from_slice(&stream[start..end]);
        start = end;
        for message in protocol.process(&mut buffer).expect("the stream is valid") {
            seen.push(match message {
                Message::Text(text) => {
                    Seen::Text(String::from_utf8(text.to_vec()).expect("texts are UTF-8"))
                }
                Message::Binary(bytes) => Seen::Binary(bytes.to_vec()),
                Message::Ping(bytes) => Seen::Ping(bytes.to_vec()),
                Message::Pong(bytes) => Seen::Pong(bytes.to_vec()),
                Message::Close(_) => Seen::Close,
            });
        }
    }
    seen
}

/// One message in fragments, with control frames between them.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let text = "[a-z\u{e9}\u{6f22}\u{1f642}]{0,200}".prop_map(|text| (TEXT, text.into_bytes()));
    let long = (100..3_000_usize).prop_map(|length| (TEXT, "é漢".repeat(length).into_bytes()));
    let binary = prop::collection::vec(any::<u8>(), 0..70_000).prop_map(|bytes| (BINARY, bytes));
    let payload = prop_oneof![4 => text, 1 => long, 1 => binary];
    let control = (PING..=PONG, prop::collection::vec(any::<u8>(), 0..=125));
    let fragments = prop::collection::vec((any::<prop::sample::Index>(), control), 0..4);
    (payload, fragments).prop_map(|((opcode, payload), fragments)| {
        let mut rest = &payload[..];
        let mut stream = Vec::new();
        let mut first = opcode;
        for (cut, (control, control_payload)) in &fragments {
            let (part, after) = rest.split_at(cut.index(rest.len() + 1));
            stream.extend(frame(first, part));
            stream.extend(frame(FINAL | control, control_payload));
            rest = after;
            first = CONTINUE;
        }
        stream.extend(frame(FINAL | first, rest));
        stream
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn valid_streams_mean_the_same_to_three_implementations(
        messages in prop::collection::vec(message(), 1..5),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let stream = messages.concat();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len())).collect();
        cuts.sort_unstable();
        let seen = decode(&stream, &cuts, &CAPS).expect("the stream is valid");
        prop_assert_eq!(&seen, &by_tungstenite(&stream));
        prop_assert_eq!(&seen, &by_sockudo(&stream, &cuts));
    }

    #[test]
    fn random_bytes_never_panic_and_cuts_never_matter(
        stream in prop::collection::vec(any::<u8>(), 0..600),
        cuts in prop::collection::vec(0..600_usize, 0..8),
    ) {
        let outcome = |cuts: &[usize]| {
            let mut decoder = Decoder::default();
            let mut seen = Vec::new();
            let mut start = 0;
            for end in cuts.iter().copied().chain([stream.len()]) {
                let mut part = stream[start..end].to_vec();
                let mut input = &mut part[..];
                while let Some(event) = decoder.next(&mut input, &CAPS).map_err(|_| seen.len())? {
                    seen.push(Seen::from(event));
                }
                start = end;
            }
            Ok::<_, usize>(seen)
        };
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| (*cut).min(stream.len())).collect();
        cuts.sort_unstable();
        prop_assert_eq!(outcome(&cuts), outcome(&[]));
    }
}

fn check(breaches: &[(&[u8], Violation)], code: u16) {
    for (stream, expected) in breaches {
        assert_eq!(violation(stream), *expected);
        assert_eq!(expected.code().0, code, "{expected}");
    }
}

#[test]
fn a_frame_that_must_not_be_closes_with_1002() {
    let unmasked = [FINAL | TEXT, 2, b'h', b'i'];
    let not_minimal_16 = [FINAL | TEXT, 0x80 | 126, 0, 5, 0, 0, 0, 0, 1, 2, 3, 4, 5];
    let not_minimal_64 = [
        FINAL | TEXT,
        0x80 | 127,
        0,
        0,
        0,
        0,
        0,
        0,
        255,
        255,
        0,
        0,
        0,
        0,
    ];
    let above_63_bits = [
        FINAL | BINARY,
        0x80 | 127,
        128,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
    ];
    check(
        &[
            (&unmasked, Violation::Unmasked),
            (&frame(FINAL | 0x40 | TEXT, b"x"), Violation::ReservedBits),
            (&frame(FINAL | 0x20 | TEXT, b"x"), Violation::ReservedBits),
            (&frame(FINAL | 0x10 | PING, b""), Violation::ReservedBits),
            (&frame(FINAL | 3, b"x"), Violation::ReservedOpcode),
            (&frame(FINAL | 15, b"x"), Violation::ReservedOpcode),
            (&frame(FINAL | PING, &[0; 126]), Violation::ControlTooLong),
            (&frame(PING, b"x"), Violation::ControlFragmented),
            (&not_minimal_16, Violation::Length),
            (&not_minimal_64, Violation::Length),
            (&above_63_bits, Violation::Length),
        ],
        1002,
    );
}

#[test]
fn a_frame_out_of_place_closes_with_1002() {
    let inside = [frame(TEXT, b"a"), frame(FINAL | TEXT, b"b")].concat();
    let after_the_end = [frame(FINAL | TEXT, b"a"), frame(FINAL, b"b")].concat();
    check(
        &[
            (&frame(FINAL, b"x"), Violation::NothingToContinue),
            (&after_the_end, Violation::NothingToContinue),
            (&inside, Violation::MessageUnfinished),
        ],
        1002,
    );
}

#[test]
fn what_is_not_utf8_closes_with_1007_and_what_is_too_large_with_1009() {
    let cut = "é".as_bytes().split_at(1).0;
    check(
        &[
            (&frame(FINAL | TEXT, b"\xff"), Violation::InvalidText),
            (&frame(TEXT, b"\xed\xa0\x80"), Violation::InvalidText),
            (&frame(FINAL | TEXT, cut), Violation::InvalidText),
        ],
        1007,
    );
    let too_large = frame(FINAL | BINARY, &vec![0; 200_001]);
    check(&[(&too_large, Violation::TooLarge)], 1009);
}

#[test]
fn the_size_is_refused_by_the_header_alone() {
    let announced = [
        FINAL | BINARY,
        0x80 | 127,
        0,
        0,
        0,
        1,
        0,
        0,
        0,
        0,
        9,
        9,
        9,
        9,
    ];
    let (seen, violation) = decode(&announced, &[], &CAPS).expect_err("4 GiB are announced");
    assert_eq!((seen, violation), (vec![], Violation::TooLarge));
}

#[test]
fn fragments_add_up_to_the_cap() {
    let part = frame(CONTINUE, &[7; 50_000]);
    let stream = [
        frame(BINARY, &[7; 50_000]),
        part.clone(),
        part.clone(),
        part,
        frame(FINAL, &[7]),
    ]
    .concat();
    assert_eq!(violation(&stream), Violation::TooLarge);
}

#[test]
fn of_an_oversized_message_only_the_head_is_kept() {
    let payload = b"pub task:42 7\n"
        .iter()
        .copied()
        .chain([b'x'; 150_000])
        .collect::<Vec<_>>();
    let head = Seen::Oversized(payload[..16].to_vec());
    let one_frame = frame(FINAL | TEXT, &payload);
    let (first, second) = payload.split_at(90_000);
    let two_frames = [frame(TEXT, first), frame(FINAL, second)].concat();
    let next = frame(FINAL | TEXT, b"next");
    for stream in [one_frame, two_frames] {
        let stream = [stream, next.clone()].concat();
        let cuts: Vec<usize> = (0..stream.len()).step_by(7_919).collect();
        let expected = vec![head.clone(), Seen::Text("next".into())];
        assert_eq!(decode(&stream, &cuts, &CAPS), Ok(expected.clone()));
        assert_eq!(decode(&stream, &[], &CAPS), Ok(expected));
    }
}

#[test]
fn memory_follows_what_arrived_not_what_was_announced() {
    let mut decoder = Decoder::default();
    let mut stream = frame(FINAL | BINARY, &[7; 90_000]);
    let (first, rest) = stream.split_at_mut(1_000);
    let mut input = first;
    assert_eq!(decoder.next(&mut input, &CAPS), Ok(None));
    assert!(
        decoder.held_bytes() < 4_000,
        "{} bytes held",
        decoder.held_bytes()
    );
    let mut input = rest;
    assert!(matches!(
        decoder.next(&mut input, &CAPS),
        Ok(Some(Event::Message(_)))
    ));
    assert_eq!(decoder.next(&mut input, &CAPS), Ok(None));
    assert_eq!(decoder.held_bytes(), 0, "a burst leaves nothing behind");
}

#[test]
fn an_idle_decoder_is_one_pointer() {
    assert_eq!(size_of::<Decoder>(), size_of::<usize>());
}

#[test]
fn a_close_frame_is_an_event() {
    let stream = frame(FINAL | CLOSE, b"\x03\xe8done");
    assert_eq!(decode(&stream, &[], &CAPS), Ok(vec![Seen::Close]));
}
