//! Bytes in, messages and control frames out.
//!
//! ```text
//!   read buffer ──▶ a whole message in one frame? ──▶ unmasked in place, lent to the caller
//!                        │ no
//!                        ▼
//!                   Unfinished (boxed): a header's first bytes, a frame's payload so far,
//!                   a message's fragments so far ──▶ lent when complete, freed by the next call
//! ```

use heartwire_proto::frame::Message;

use super::header::{self, Header, Opcode};
use super::text::whole_text;
use super::unfinished::{Done, Unfinished};
use super::violation::Violation;

/// How large a message may be, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Caps {
    /// The largest message that is handed on whole. Of a larger one only the head is kept.
    pub whole_max: usize,
    /// How much of the beginning of a larger one is handed on, so that it can be answered.
    pub head_max: usize,
    /// The largest message that is read at all: beyond it the connection ends.
    pub hard_max: usize,
}

/// What the peer said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event<'a> {
    /// One whole message.
    Message(Message<'a>),
    /// A message above [`Caps::whole_max`] has gone by; this is how it began, unchecked.
    Oversized {
        /// The first [`Caps::head_max`] bytes.
        head: &'a [u8],
    },
    /// A ping, pong or close frame.
    Control(Control),
}

/// A control frame, by value: it is small, and rare.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Control {
    pub(super) opcode: Opcode,
    pub(super) length: u8,
    pub(super) bytes: [u8; header::CONTROL_BYTES_MAX],
}

/// Which control frame it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ControlKind {
    /// A ping.
    Ping,
    /// A pong.
    Pong,
    /// A close frame.
    Close,
}

impl Control {
    pub(super) const fn new(opcode: Opcode) -> Self {
        Self {
            opcode,
            length: 0,
            bytes: [0; header::CONTROL_BYTES_MAX],
        }
    }

    /// Adds payload; its length was checked with the header.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let start = usize::from(self.length);
        self.bytes[start..start + bytes.len()].copy_from_slice(bytes);
        self.length += bytes.len() as u8;
    }

    /// Which of the three it is.
    pub const fn kind(&self) -> ControlKind {
        match self.opcode {
            Opcode::Ping => ControlKind::Ping,
            Opcode::Pong => ControlKind::Pong,
            _ => ControlKind::Close,
        }
    }

    /// At most 125 bytes.
    pub fn payload(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

/// Turns what a client sends into [`Event`]s. An idle one is a null pointer.
#[derive(Default)]
pub struct Decoder {
    unfinished: Option<Box<Unfinished>>,
}

impl Decoder {
    /// Takes the next event from the front of `input`, unmasking it in place; `None` once
    /// everything has been taken. An event that needed earlier bytes is lent from the decoder, and
    /// its memory is given back by the call after it: so call until `None`.
    ///
    /// After a [`Violation`] the stream means nothing any more, and the decoder is not to be used.
    pub fn next<'s, 'a: 's>(
        &'s mut self,
        input: &mut &'a mut [u8],
        caps: &Caps,
    ) -> Result<Option<Event<'s>>, Violation> {
        self.release();
        if input.is_empty() {
            return Ok(None);
        }
        if self.unfinished.is_none()
            && let Some(event) = whole(input, caps)?
        {
            return Ok(Some(event));
        }
        let unfinished = self.unfinished.get_or_insert_default();
        match unfinished.advance(input, caps)? {
            None => Ok(None),
            Some(Done::Control(control)) => Ok(Some(Event::Control(control))),
            Some(Done::Message) => unfinished.lend().map(Some),
        }
    }

    /// Memory held for what is unfinished, in bytes.
    pub fn held_bytes(&self) -> usize {
        self.unfinished.as_deref().map_or(0, Unfinished::held_bytes)
    }

    fn release(&mut self) {
        if self
            .unfinished
            .as_mut()
            .is_some_and(|unfinished| unfinished.release())
        {
            self.unfinished = None;
        }
    }
}

/// The way nearly every frame goes: all of it is in the buffer, and it is a message of its own.
fn whole<'a>(input: &mut &'a mut [u8], caps: &Caps) -> Result<Option<Event<'a>>, Violation> {
    let Some((header, header_length)) = header::parse(input)? else {
        return Ok(None);
    };
    let Ok(length) = usize::try_from(header.length) else {
        return Ok(None);
    };
    let complete = input.len() - header_length >= length;
    let alone = header.is_final && header.opcode != Opcode::Continue && length <= caps.whole_max;
    if !complete || !(alone || header.opcode.is_control()) {
        return Ok(None);
    }
    let (frame, rest) = std::mem::take(input).split_at_mut(header_length + length);
    *input = rest;
    event(header, &mut frame[header_length..]).map(Some)
}

fn event(header: Header, payload: &mut [u8]) -> Result<Event<'_>, Violation> {
    let Header {
        opcode, mut mask, ..
    } = header;
    mask.apply(payload);
    Ok(match opcode {
        Opcode::Text => Event::Message(Message::Text(whole_text(payload)?)),
        Opcode::Binary | Opcode::Continue => Event::Message(Message::Binary(payload)),
        Opcode::Ping | Opcode::Pong | Opcode::Close => {
            let mut control = Control::new(opcode);
            control.push(payload);
            Event::Control(control)
        }
    })
}
