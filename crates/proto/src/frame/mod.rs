//! Frames: what travels in one WebSocket message of `heartwire.v1`.
//!
//! A message is one frame: a header line of ASCII, then, if there is a payload, one LF and the
//! payload, untouched. Parsing borrows everything from the message, and accepts exactly what
//! PROTOCOL.md allows; what it refuses names the requirement that was broken.
//!
//! ```
//! use heartwire_proto::frame::{ClientFrame, Message, ServerFrame};
//! use heartwire_proto::Seq;
//!
//! let frame = ClientFrame::parse(Message::Text("pub inbox 1\nplease hurry"))?;
//! let ClientFrame::Pub { topic, seq, payload } = frame else { panic!("it is a pub") };
//! assert_eq!((topic.as_str(), seq), ("inbox", Seq(1)));
//! assert_eq!(payload, Message::Text("please hurry"));
//!
//! let mut answer = Vec::new();
//! ServerFrame::Ack { seq }.encode(&mut answer);
//! assert_eq!(answer, b"ack 1");
//! # Ok::<(), heartwire_proto::frame::FrameError>(())
//! ```
//!
//! The requirements kept here:
//!
//! | id | rule |
//! |---|---|
//! | FRAME-1 | a frame is `verb SP field SP field …`, one SP between fields, then optionally LF and a payload; the header line is ASCII |
//! | FRAME-2 | the header line has at most 512 bytes |
//! | FRAME-3 | a client sends known verbs only; it ignores the server's unknown ones |
//! | FRAME-4 | a verb has its fields, no fewer and no more |
//! | FRAME-5 | topic names keep to their length and charset |
//! | FRAME-6 | numbers are decimal, without leading zeros, below 2⁵³; SEQ and OFFSET begin at 1 |
//! | FRAME-7 | epochs and the ids of pings are 1–16 of `0–9 a–z` |
//! | FRAME-8 | cursors are `EPOCH.OFFSET` or `0` |
//! | FRAME-9 | `hello`, `welcome` and `token` carry a JSON object of at most 16 KiB, after LF or SP |
//! | FRAME-10 | only `pub`, `msg`, the server's `ping` and the JSON verbs have a payload |
//! | FRAME-11 | codes and reasons are among those listed for their verb |
//! | FRAME-12 | FROM is 1–240 bytes, percent-encoded UTF-8 |

mod client;
mod code;
mod parse;
mod publisher;
mod server;
mod welcome;
mod write;

use std::borrow::Cow;

use crate::close::Close;

pub use client::{ClientFrame, FreshToken, Hello, SubFrom};
pub use code::{GapReason, NackCode, RefusedCode};
pub use publisher::{PUBLISHER_BYTES_MAX, Publisher, encode_publisher};
pub use server::{Gap, ServerFrame, Tails};
pub use welcome::{Durability, HeartbeatMillis, Welcome, WelcomeLimits};

/// Whether a message is text or binary.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Kind {
    /// UTF-8.
    Text,
    /// Any bytes.
    Binary,
}

/// One WebSocket message, or the payload of one frame, borrowed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Message<'a> {
    /// UTF-8.
    Text(&'a str),
    /// Any bytes.
    Binary(&'a [u8]),
}

impl<'a> Message<'a> {
    /// The bytes, whatever the kind.
    pub const fn as_bytes(self) -> &'a [u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }

    /// Text or binary.
    pub const fn kind(self) -> Kind {
        match self {
            Self::Text(_) => Kind::Text,
            Self::Binary(_) => Kind::Binary,
        }
    }

    /// The number of bytes.
    pub const fn len(self) -> usize {
        self.as_bytes().len()
    }

    /// Whether there are no bytes.
    pub const fn is_empty(self) -> bool {
        self.as_bytes().is_empty()
    }

    /// A copy that owns its bytes.
    pub fn to_payload(self) -> Payload {
        match self {
            Self::Text(text) => Payload::Text(text.to_owned()),
            Self::Binary(bytes) => Payload::Binary(bytes.to_owned()),
        }
    }

    /// The part from byte `at` on; `at` follows an ASCII byte of this message.
    fn suffix(self, at: usize) -> Self {
        match self {
            Self::Text(text) => Self::Text(&text[at..]),
            Self::Binary(bytes) => Self::Binary(&bytes[at..]),
        }
    }

    /// An empty message of the same kind.
    const fn emptied(self) -> Self {
        match self {
            Self::Text(_) => Self::Text(""),
            Self::Binary(_) => Self::Binary(&[]),
        }
    }
}

/// One WebSocket message, or the payload of one frame, owned.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Payload {
    /// UTF-8.
    Text(String),
    /// Any bytes.
    Binary(Vec<u8>),
}

impl Payload {
    /// The same, borrowed.
    pub fn as_message(&self) -> Message<'_> {
        match self {
            Self::Text(text) => Message::Text(text),
            Self::Binary(bytes) => Message::Binary(bytes),
        }
    }

    /// The bytes, whatever the kind.
    pub fn as_bytes(&self) -> &[u8] {
        self.as_message().as_bytes()
    }

    /// The number of bytes.
    pub fn len(&self) -> usize {
        self.as_bytes().len()
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.as_bytes().is_empty()
    }

    /// Joins what an encoder wrote with the kind that it returned.
    fn from_encoded(bytes: Vec<u8>, kind: Kind) -> Self {
        match kind {
            Kind::Binary => Self::Binary(bytes),
            Kind::Text => Self::Text(
                String::from_utf8(bytes).expect("an ASCII header and a text payload are UTF-8"),
            ),
        }
    }
}

/// A text message equals its text, and a binary one no text.
impl PartialEq<str> for Message<'_> {
    fn eq(&self, text: &str) -> bool {
        *self == Message::Text(text)
    }
}

impl PartialEq<&str> for Message<'_> {
    fn eq(&self, text: &&str) -> bool {
        *self == Message::Text(text)
    }
}

impl From<&str> for Payload {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Payload {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&[u8]> for Payload {
    fn from(bytes: &[u8]) -> Self {
        Self::Binary(bytes.to_owned())
    }
}

impl From<Vec<u8>> for Payload {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Binary(bytes)
    }
}

/// A frame that breaks a rule. Displayed, it fits the reason of a close frame (123 bytes).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
#[error("{requirement}: {reason}")]
pub struct FrameError {
    /// The requirement of PROTOCOL.md, such as `FRAME-3`.
    pub requirement: &'static str,
    /// The rule, for people.
    pub reason: &'static str,
}

impl FrameError {
    /// An error for the requirement with this id; together at most 121 bytes.
    pub const fn new(requirement: &'static str, reason: &'static str) -> Self {
        Self {
            requirement,
            reason,
        }
    }
}

impl From<FrameError> for Close {
    fn from(error: FrameError) -> Self {
        Self::protocol(Cow::Owned(error.to_string()))
    }
}
