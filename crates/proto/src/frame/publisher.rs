//! FROM: who published a message, in a form that fits a header line.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::FrameError;

/// The longest FROM, in bytes as encoded: with it, a header line stays below 512.
pub const PUBLISHER_BYTES_MAX: usize = 240;

const PUBLISHER: FrameError =
    FrameError::new("FRAME-12", "FROM is 1-240 bytes, percent-encoded UTF-8");

/// A publisher's identity as it stands in a `msg`: percent-encoded, checked `[FRAME-12]`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Publisher<'a>(&'a str);

impl<'a> Publisher<'a> {
    /// Checks the length, the charset and that it decodes to UTF-8.
    pub fn parse(encoded: &'a str) -> Result<Self, FrameError> {
        if encoded.is_empty() || encoded.len() > PUBLISHER_BYTES_MAX {
            return Err(PUBLISHER);
        }
        match decode(encoded) {
            Some(_) => Ok(Self(encoded)),
            None => Err(PUBLISHER),
        }
    }

    /// The text as it stands in the frame.
    pub const fn as_encoded(self) -> &'a str {
        self.0
    }

    /// The identity itself.
    pub fn decode(self) -> Cow<'a, str> {
        decode(self.0).expect("it was decoded once, when it was checked")
    }
}

/// Percent-encodes an identity for FROM; `None` when it is empty or too long for a header line.
///
/// ```
/// use heartwire_proto::frame::{Publisher, encode_publisher};
///
/// let encoded = encode_publisher("user 7").expect("it is short");
/// assert_eq!(encoded, "user%207");
/// assert_eq!(Publisher::parse(&encoded)?.decode(), "user 7");
/// # Ok::<(), heartwire_proto::frame::FrameError>(())
/// ```
pub fn encode_publisher(identity: &str) -> Option<String> {
    let mut encoded = String::with_capacity(identity.len());
    for byte in identity.bytes() {
        if is_plain(byte) {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("writing to a String cannot fail");
        }
    }
    (1..=PUBLISHER_BYTES_MAX)
        .contains(&encoded.len())
        .then_some(encoded)
}

/// Bytes that stand for themselves: RFC 3986's unreserved ones, and those that identities often have.
const fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b':' | b'@')
}

fn decode(encoded: &str) -> Option<Cow<'_, str>> {
    if encoded.bytes().all(is_plain) {
        return Some(Cow::Borrowed(encoded));
    }
    let mut decoded = Vec::with_capacity(encoded.len());
    let mut bytes = encoded.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let (high, low) = (bytes.next()?, bytes.next()?);
                decoded.push(hex_digit(high)? << 4 | hex_digit(low)?);
            }
            plain if is_plain(plain) => decoded.push(plain),
            _ => return None,
        }
    }
    String::from_utf8(decoded).ok().map(Cow::Owned)
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}
