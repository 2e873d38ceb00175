//! The WebSocket read loop: how the network cuts a stream must not matter.

use std::io::{self, Read, Write};

use arbitrary::Unstructured;
use heartwire_proto::frame::Message;
use heartwire_websocket::{Caps, ClosePayload, ControlKind, Decoder, Event, Violation};
use tungstenite::protocol::{Role, WebSocket};

/// The least that a decoder which holds nothing but a cut frame may hold beside its payload, in bytes.
const STATE_BYTES_MAX: usize = 512;
/// So many cuts are drawn.
const CUTS_MAX: usize = 64;

/// What was read of a stream.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Seen {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Oversized(Vec<u8>),
    Close(Vec<u8>),
}

impl From<Event<'_>> for Seen {
    fn from(event: Event<'_>) -> Self {
        match event {
            Event::Message(Message::Text(text)) => Self::Text(text.to_owned()),
            Event::Message(Message::Binary(bytes)) => Self::Binary(bytes.to_vec()),
            Event::Oversized { head } => Self::Oversized(head.to_vec()),
            Event::Control(control) => {
                let payload = control.payload().to_vec();
                match control.kind() {
                    ControlKind::Ping => Self::Ping(payload),
                    ControlKind::Pong => Self::Pong(payload),
                    ControlKind::Close => Self::Close(payload),
                }
            }
        }
    }
}

/// The beginning draws the caps and the cuts; the rest is the stream. Read whole, cut at random and
/// byte by byte it says the same; and what breaks no rule, tungstenite reads alike.
pub fn websocket(data: &[u8]) {
    let mut draws = Unstructured::new(data);
    let Ok((caps, cuts)) = draw(&mut draws) else {
        return;
    };
    let stream = draws.take_rest();
    let whole = decode(stream, &[], &caps);
    assert_eq!(whole, decode(stream, &cuts, &caps), "cut at {cuts:?}");
    let bytewise: Vec<usize> = (1..stream.len()).collect();
    assert_eq!(whole, decode(stream, &bytewise, &caps), "byte by byte");
    // A text that is too large is passed over unread, where tungstenite may find it wrong.
    let is_all_read = stream.len() <= caps.whole_max;
    like_tungstenite(stream, &whole, is_all_read);
}

fn draw(draws: &mut Unstructured<'_>) -> arbitrary::Result<(Caps, Vec<usize>)> {
    let head_max = draws.int_in_range(0..=32_usize)?;
    let whole_max = head_max + usize::from(draws.arbitrary::<u16>()?);
    let hard_max = whole_max + usize::from(draws.arbitrary::<u16>()?);
    let caps = Caps {
        whole_max,
        head_max,
        hard_max,
    };
    let count = draws.int_in_range(0..=CUTS_MAX)?;
    let mut cuts = Vec::new();
    let mut at = 0;
    for _ in 0..count {
        at += usize::from(draws.arbitrary::<u8>()?);
        cuts.push(at);
    }
    Ok((caps, cuts))
}

/// Reads the stream in parts that end at the given places.
fn decode(stream: &[u8], cuts: &[usize], caps: &Caps) -> (Vec<Seen>, Option<Violation>) {
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
                Err(violation) => return (seen, Some(violation)),
            }
        }
        start = end;
        // Memory grows with what has arrived, and at most doubles it.
        let bound = 2 * start.min(caps.whole_max + 1) + STATE_BYTES_MAX;
        assert!(
            decoder.held_bytes() <= bound,
            "{} are held",
            decoder.held_bytes()
        );
    }
    (seen, None)
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

/// Up to the first close frame, and to the first violation, both saw the same. A message that was
/// too large for the caps tungstenite has read whole.
fn like_tungstenite(
    stream: &[u8],
    (ours, violation): &(Vec<Seen>, Option<Violation>),
    is_all_read: bool,
) {
    let is_whole = |seen: &&Seen| !matches!(seen, Seen::Close(_));
    let until_close: Vec<&Seen> = ours.iter().take_while(is_whole).collect();
    let theirs = by_tungstenite(stream);
    let is_bad_close =
        |seen: &Seen| matches!(seen, Seen::Close(bytes) if ClosePayload::parse(bytes).is_err());
    if violation.is_none() && is_all_read && !ours.iter().any(is_bad_close) {
        assert_eq!(theirs.len(), until_close.len(), "{ours:?} {theirs:?}");
    }
    for (one, other) in until_close.into_iter().zip(&theirs) {
        match one {
            Seen::Oversized(head) => match other {
                Seen::Text(text) => assert!(text.as_bytes().starts_with(head)),
                Seen::Binary(bytes) => assert!(bytes.starts_with(head)),
                other => panic!("{other:?} is no message"),
            },
            one => assert_eq!(one, other),
        }
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
            tungstenite::Message::Close(_) => break,
            tungstenite::Message::Frame(_) => unreachable!("reading yields no raw frames"),
        });
    }
    seen
}
