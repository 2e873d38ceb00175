//! What is kept between two reads: a frame cut in two, a message in fragments.

use heartwire_proto::frame::Message;

use super::decoder::{Caps, Control, Event};
use super::header::{self, HEADER_BYTES_MAX, Header, Opcode};
use super::text::{TextCheck, whole_text};
use super::violation::Violation;

/// The unfinished state of one connection's input. It exists only while something is unfinished.
#[derive(Default)]
pub(super) struct Unfinished {
    header: HeaderSoFar,
    /// The frame whose payload is arriving; its `length` counts what is still to come.
    frame: Option<Header>,
    control: Option<Control>,
    message: Option<Assembly>,
}

/// What [`Unfinished::advance`] completed.
pub(super) enum Done {
    Control(Control),
    /// The message; borrow it with [`Unfinished::lend`].
    Message,
}

impl Unfinished {
    /// Takes bytes until something is complete, or none are left.
    pub(super) fn advance(
        &mut self,
        input: &mut &mut [u8],
        caps: &Caps,
    ) -> Result<Option<Done>, Violation> {
        loop {
            if self.frame.is_none() {
                let Some(header) = self.header.take(input)? else {
                    return Ok(None);
                };
                self.begin(header, caps)?;
            }
            if !self.take_payload(input)? {
                return Ok(None);
            }
            if let Some(done) = self.end_frame()? {
                return Ok(Some(done));
            }
        }
    }

    /// The message that was just completed.
    pub(super) fn lend(&self) -> Result<Event<'_>, Violation> {
        let message = self.message.as_ref().expect("advance completed a message");
        message.event()
    }

    /// Drops a message that was lent; tells whether nothing is left to keep.
    pub(super) fn release(&mut self) -> bool {
        if self
            .message
            .as_ref()
            .is_some_and(|message| message.complete)
        {
            self.message = None;
        }
        self.header.length == 0 && self.frame.is_none() && self.message.is_none()
    }

    pub(super) fn held_bytes(&self) -> usize {
        size_of::<Self>()
            + self
                .message
                .as_ref()
                .map_or(0, |message| message.bytes.capacity())
    }

    fn begin(&mut self, header: Header, caps: &Caps) -> Result<(), Violation> {
        if header.opcode.is_control() {
            self.control = Some(Control::new(header.opcode));
        } else {
            match (&self.message, header.opcode) {
                (None, Opcode::Continue) => return Err(Violation::NothingToContinue),
                (Some(_), Opcode::Text | Opcode::Binary) => {
                    return Err(Violation::MessageUnfinished);
                }
                _ => {}
            }
            let is_text = header.opcode == Opcode::Text;
            let message = self.message.get_or_insert_with(|| Assembly::new(is_text));
            message.announce(header.length, caps)?;
        }
        self.frame = Some(header);
        Ok(())
    }

    /// Returns whether the frame's payload is complete.
    fn take_payload(&mut self, input: &mut &mut [u8]) -> Result<bool, Violation> {
        let frame = self.frame.as_mut().expect("advance begins a frame first");
        let taken = usize::try_from(frame.length)
            .unwrap_or(usize::MAX)
            .min(input.len());
        let (payload, rest) = std::mem::take(input).split_at_mut(taken);
        *input = rest;
        frame.mask.apply(payload);
        frame.length -= taken as u64;
        match (&mut self.control, &mut self.message) {
            (Some(control), _) => control.push(payload),
            (None, Some(message)) => message.push(payload, frame.length)?,
            (None, None) => unreachable!("begin prepares one of the two"),
        }
        Ok(frame.length == 0)
    }

    fn end_frame(&mut self) -> Result<Option<Done>, Violation> {
        let frame = self.frame.take().expect("its payload was just completed");
        if let Some(control) = self.control.take() {
            return Ok(Some(Done::Control(control)));
        }
        if !frame.is_final {
            return Ok(None);
        }
        let message = self.message.as_mut().expect("begin started it");
        message.complete = true;
        Ok(Some(Done::Message))
    }
}

/// The bytes of a header that was cut in two.
#[derive(Default)]
struct HeaderSoFar {
    bytes: [u8; HEADER_BYTES_MAX],
    length: u8,
}

impl HeaderSoFar {
    fn take(&mut self, input: &mut &mut [u8]) -> Result<Option<Header>, Violation> {
        if self.length == 0
            && let Some((header, length)) = header::parse(input)?
        {
            *input = &mut std::mem::take(input)[length..];
            return Ok(Some(header));
        }
        while let Some((first, rest)) = std::mem::take(input).split_first_mut() {
            *input = rest;
            self.bytes[usize::from(self.length)] = *first;
            self.length += 1;
            let so_far = &self.bytes[..usize::from(self.length)];
            if let Some((header, _)) = header::parse(so_far)? {
                self.length = 0;
                return Ok(Some(header));
            }
        }
        Ok(None)
    }
}

/// A message that did not come in one piece.
struct Assembly {
    is_text: bool,
    bytes: Vec<u8>,
    text: TextCheck,
    /// Length of all frames announced so far.
    announced: u64,
    /// The message is above the size that is handed on: only its head is kept.
    oversized: bool,
    head_max: usize,
    complete: bool,
}

impl Assembly {
    const fn new(is_text: bool) -> Self {
        Self {
            is_text,
            bytes: Vec::new(),
            text: TextCheck::new(),
            announced: 0,
            oversized: false,
            head_max: 0,
            complete: false,
        }
    }

    /// Another frame of this length follows: sizes are judged here, before a byte is kept for it.
    fn announce(&mut self, length: u64, caps: &Caps) -> Result<(), Violation> {
        self.announced = self.announced.saturating_add(length);
        if self.announced > caps.hard_max as u64 {
            return Err(Violation::TooLarge);
        }
        if self.announced > caps.whole_max as u64 && !self.oversized {
            self.oversized = true;
            self.head_max = caps.head_max;
            self.bytes.truncate(self.head_max);
            self.bytes.shrink_to_fit();
        }
        Ok(())
    }

    /// Adds payload, already unmasked. Memory grows with what has arrived, never with what was
    /// merely announced.
    fn push(&mut self, payload: &[u8], still_to_come: u64) -> Result<(), Violation> {
        if self.oversized {
            let room = self.head_max.saturating_sub(self.bytes.len());
            self.bytes
                .extend_from_slice(&payload[..payload.len().min(room)]);
            return Ok(());
        }
        self.reserve(payload.len(), still_to_come);
        self.bytes.extend_from_slice(payload);
        if self.is_text {
            self.text.advance(&self.bytes)?;
        }
        Ok(())
    }

    fn reserve(&mut self, more: usize, still_to_come: u64) {
        let needed = self.bytes.len() + more;
        if needed > self.bytes.capacity() {
            let announced = usize::try_from(still_to_come).unwrap_or(usize::MAX);
            let ahead = announced.min(self.bytes.len());
            self.bytes.reserve_exact(more + ahead);
        }
    }

    fn event(&self) -> Result<Event<'_>, Violation> {
        if self.oversized {
            return Ok(Event::Oversized { head: &self.bytes });
        }
        Ok(Event::Message(if self.is_text {
            // Its characters were checked as they came, but the last may be incomplete.
            Message::Text(whole_text(&self.bytes)?)
        } else {
            Message::Binary(&self.bytes)
        }))
    }
}
