//! One frame's header, checked.

use std::io::Cursor;

use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use super::mask::Mask;
use super::violation::Violation;

/// The longest header a client can send: two bytes, eight of length, four of mask.
pub(super) const HEADER_BYTES_MAX: usize = 14;

/// The largest payload of a control frame (RFC 6455 section 5.5).
pub(super) const CONTROL_BYTES_MAX: usize = 125;

/// What a frame is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Opcode {
    Text,
    Binary,
    Continue,
    Ping,
    Pong,
    Close,
}

impl Opcode {
    pub(super) const fn is_control(self) -> bool {
        matches!(self, Self::Ping | Self::Pong | Self::Close)
    }
}

/// A header that kept every rule that concerns a single frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Header {
    pub(super) opcode: Opcode,
    /// Whether this is the last frame of its message.
    pub(super) is_final: bool,
    pub(super) mask: Mask,
    /// Length of the payload, in bytes.
    pub(super) length: u64,
}

/// Reads the header at the beginning of `bytes`, and its own length; `None` when it is not all
/// there yet. What can be known to be wrong from the first two bytes is refused at once.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Header, usize)>, Violation> {
    let [first, second, ..] = *bytes else {
        return Ok(None);
    };
    check_first_two(first, second)?;
    let mut cursor = Cursor::new(bytes);
    let Ok(parsed) = FrameHeader::parse(&mut cursor) else {
        return Err(Violation::ReservedOpcode);
    };
    let Some((header, length)) = parsed else {
        return Ok(None);
    };
    let key = header.mask.ok_or(Violation::Unmasked)?;
    let header_length = cursor.position() as usize;
    if header_length != header.len(length) || i64::try_from(length).is_err() {
        return Err(Violation::Length);
    }
    let header = Header {
        opcode: opcode(header.opcode)?,
        is_final: header.is_final,
        mask: Mask::new(key),
        length,
    };
    Ok(Some((header, header_length)))
}

fn check_first_two(first: u8, second: u8) -> Result<(), Violation> {
    if first & 0x70 != 0 {
        return Err(Violation::ReservedBits);
    }
    let opcode = opcode(OpCode::from(first & 0x0f))?;
    if second & 0x80 == 0 {
        return Err(Violation::Unmasked);
    }
    if opcode.is_control() {
        if first & 0x80 == 0 {
            return Err(Violation::ControlFragmented);
        }
        if usize::from(second & 0x7f) > CONTROL_BYTES_MAX {
            return Err(Violation::ControlTooLong);
        }
    }
    Ok(())
}

const fn opcode(code: OpCode) -> Result<Opcode, Violation> {
    Ok(match code {
        OpCode::Data(Data::Text) => Opcode::Text,
        OpCode::Data(Data::Binary) => Opcode::Binary,
        OpCode::Data(Data::Continue) => Opcode::Continue,
        OpCode::Control(Control::Ping) => Opcode::Ping,
        OpCode::Control(Control::Pong) => Opcode::Pong,
        OpCode::Control(Control::Close) => Opcode::Close,
        OpCode::Data(Data::Reserved(_)) | OpCode::Control(Control::Reserved(_)) => {
            return Err(Violation::ReservedOpcode);
        }
    })
}
