//! The headers of WebSocket frames as servers write them: final, and not masked (RFC 6455, 5.2).

use crate::close::{Close, CloseCode};
use crate::frame::Kind;

/// The longest header of an unmasked frame, in bytes.
pub const HEADER_BYTES_MAX: usize = 10;

/// The longest payload of a control frame, in bytes.
pub const CONTROL_BYTES_MAX: usize = 125;

/// What a frame is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Opcode {
    /// A text message.
    Text = 0x1,
    /// A binary message.
    Binary = 0x2,
    /// The end of the connection.
    Close = 0x8,
    /// A question of RFC 6455.
    Ping = 0x9,
    /// Its answer.
    Pong = 0xA,
}

impl From<Kind> for Opcode {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Text => Self::Text,
            Kind::Binary => Self::Binary,
        }
    }
}

/// A header, in place.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Header {
    bytes: [u8; HEADER_BYTES_MAX],
    length: u8,
}

impl Header {
    /// The header of a whole message, or control frame, with that many bytes of payload.
    ///
    /// ```
    /// use heartwire_proto::server::websocket::{Header, Opcode};
    ///
    /// assert_eq!(Header::new(Opcode::Text, 5).as_bytes(), [0x81, 5]);
    /// assert_eq!(Header::new(Opcode::Binary, 300).as_bytes(), [0x82, 126, 1, 44]);
    /// ```
    pub fn new(opcode: Opcode, payload_bytes: usize) -> Self {
        let mut bytes = [0; HEADER_BYTES_MAX];
        bytes[0] = 0x80 | opcode as u8;
        let length = match payload_bytes {
            short @ 0..=125 => {
                bytes[1] = short as u8;
                2
            }
            medium @ 126..=0xFFFF => {
                bytes[1] = 126;
                bytes[2..4].copy_from_slice(&(medium as u16).to_be_bytes());
                4
            }
            long => {
                bytes[1] = 127;
                bytes[2..10].copy_from_slice(&(long as u64).to_be_bytes());
                10
            }
        };
        Self { bytes, length }
    }

    /// The header as it goes to the socket.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

/// Appends a whole frame to `out`: what `write` appends is the payload, and the header is put before
/// it. `write` returns what the frame is.
pub fn write_frame(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> Opcode) {
    let start = out.len();
    out.extend_from_slice(&[0; 2]);
    let opcode = write(out);
    let header = Header::new(opcode, out.len() - start - 2);
    // Most control frames are short and their header fits the two bytes kept free.
    out.splice(start..start + 2, header.as_bytes().iter().copied());
}

/// Appends a close frame. A delay leads the reason as `retry MS` where `with_retry` says so, which
/// is plain mode `[PLAIN-8]`; the reason is cut to what fits, at the end of a character
/// `[CLOSE-6]`.
pub fn write_close(out: &mut Vec<u8>, close: &Close, with_retry: bool) {
    write_frame(out, |out| {
        if close.code == CloseCode::NO_STATUS {
            return Opcode::Close;
        }
        out.extend_from_slice(&close.code.0.to_be_bytes());
        let retry = close.retry.filter(|_| with_retry);
        let reason = match retry {
            Some(delay) => format!("retry {} {}", delay.as_millis(), close.reason),
            None => close.reason.to_string(),
        };
        out.extend_from_slice(cut(&reason, CONTROL_BYTES_MAX - 2).trim_end().as_bytes());
        Opcode::Close
    });
}

/// The longest beginning of `text` of at most `bytes_max` bytes that ends with a whole character.
fn cut(text: &str, bytes_max: usize) -> &str {
    let mut end = bytes_max.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn lengths_take_their_shortest_form() {
        let header = |bytes| Header::new(Opcode::Text, bytes).as_bytes().to_vec();
        assert_eq!(header(0), [0x81, 0]);
        assert_eq!(header(125), [0x81, 125]);
        assert_eq!(header(126), [0x81, 126, 0, 126]);
        assert_eq!(header(0xFFFF), [0x81, 126, 0xFF, 0xFF]);
        assert_eq!(header(0x1_0000), [0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
    }

    #[test]
    fn a_frame_is_written_behind_what_stands_there() {
        let mut out = b"before".to_vec();
        write_frame(&mut out, |out| {
            out.extend_from_slice(&[b'x'; 200]);
            Opcode::Pong
        });
        assert_eq!(out[..10], *b"before\x8a\x7e\x00\xc8");
        assert_eq!(out.len(), 6 + 4 + 200);
    }

    /// `[CLOSE-6]`
    #[test]
    fn a_close_reason_is_cut_at_the_end_of_a_character() {
        let close = Close::new(CloseCode::PROTOCOL, "ä".repeat(100));
        let mut out = Vec::new();
        write_close(&mut out, &close, false);
        let reason = std::str::from_utf8(&out[4..]).expect("it was cut between characters");
        assert_eq!(reason, "ä".repeat(61));
        assert_eq!(out[..4], [0x88, 2 + 122, 0x0F, 0xA0]);
    }

    #[test]
    fn a_delay_leads_the_reason_where_there_is_no_bye() {
        let close = Close::new(CloseCode::DRAINING, "draining");
        let close = close.retry_after(Duration::from_secs(5));
        let (mut plain, mut v1) = (Vec::new(), Vec::new());
        write_close(&mut plain, &close, true);
        write_close(&mut v1, &close, false);
        assert_eq!(plain[4..], *b"retry 5000 draining");
        assert_eq!(v1[4..], *b"draining");
    }
}
