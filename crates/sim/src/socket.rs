//! A client's socket: tungstenite, as the Rust client uses it, over bytes in memory.
//!
//! tungstenite draws its masking keys itself; they are the one thing in a run that does not follow
//! from the seed, and change nothing but bytes that are unmasked before anybody looks at them.

use std::collections::VecDeque;
use std::io::{self, Read, Write};

use heartwire_proto::client::Transmit;
use heartwire_proto::frame::Payload;
use heartwire_proto::{Attempt, Close, CloseCode};
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tungstenite::{Error, Message, WebSocket};

use crate::wire::{Over, WireId};

/// What one read takes, in bytes, and what is gathered before a write, as in the Rust client.
const READ_BUFFER_BYTES: usize = 8 * 1024;
const WRITE_BATCH_BYTES: usize = 64 * 1024;
const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// As much of a reason fits into a close frame, whatever its characters.
const REASON_CHARS_MAX: usize = 30;

/// The kernel's side of a socket, as tungstenite sees it.
#[derive(Debug, Default)]
pub(crate) struct Kernel {
    incoming: VecDeque<u8>,
    outgoing: Vec<u8>,
    /// How much it takes.
    room: usize,
    over: Option<Over>,
}

impl Read for Kernel {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match (self.incoming.is_empty(), self.over) {
            (false, _) => self.incoming.read(buffer),
            (true, None) => Err(io::ErrorKind::WouldBlock.into()),
            (true, Some(Over::End)) => Ok(0),
            (true, Some(Over::Reset)) => Err(io::ErrorKind::ConnectionReset.into()),
        }
    }
}

impl Write for Kernel {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.over == Some(Over::Reset) {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let count = bytes.len().min(self.room);
        if count == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.outgoing.extend_from_slice(&bytes[..count]);
        self.room -= count;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What reading brought.
#[derive(Debug)]
pub(crate) enum Arrival {
    Message(Message),
    /// Bytes that do not complete a message.
    Bytes,
    Ended {
        code: Option<CloseCode>,
        reason: String,
    },
}

/// How writing went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Written {
    /// There was nothing to write, or nothing moved.
    Nothing,
    /// The kernel took bytes again after it had been full.
    Moved,
    /// Everything was taken.
    All,
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) wire: WireId,
    pub(crate) attempt: Attempt,
    /// The server has answered the upgrade.
    pub(crate) is_open: bool,
    websocket: WebSocket<Kernel>,
    /// Bytes have come that were not told as life.
    heard: bool,
    standing: usize,
    unwritten: bool,
    was_full: bool,
    /// What the peer's TCP had acknowledged when that was last asked, in bytes.
    acknowledged: u64,
    /// Everything that has arrived is to be read, and then told so.
    pub(crate) looks: bool,
}

impl Socket {
    pub(crate) fn new(wire: WireId, attempt: Attempt) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            .write_buffer_size(WRITE_BATCH_BYTES)
            .max_message_size(Some(MESSAGE_BYTES_MAX))
            .max_frame_size(Some(MESSAGE_BYTES_MAX));
        Self {
            wire,
            attempt,
            is_open: false,
            websocket: WebSocket::from_raw_socket(Kernel::default(), Role::Client, Some(config)),
            heard: false,
            standing: 0,
            unwritten: false,
            was_full: false,
            acknowledged: 0,
            looks: false,
        }
    }

    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.heard |= !bytes.is_empty();
        self.websocket.get_mut().incoming.extend(bytes);
    }

    pub(crate) fn end(&mut self, over: Over) {
        self.websocket.get_mut().over = Some(over);
    }

    /// Sets how much the kernel takes; what it took earlier is fetched by [`take`](Self::take).
    pub(crate) fn set_room(&mut self, room: usize) {
        self.websocket.get_mut().room = room;
    }

    pub(crate) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.websocket.get_mut().outgoing)
    }

    pub(crate) const fn has_room(&self) -> bool {
        self.standing < WRITE_BATCH_BYTES
    }

    /// Bytes that wait for the kernel.
    pub(crate) const fn standing(&self) -> usize {
        self.standing
    }

    pub(crate) fn send(&mut self, transmit: Transmit) {
        let message = match transmit {
            Transmit::Message(Payload::Text(text)) => Message::Text(text.into()),
            Transmit::Message(Payload::Binary(bytes)) => Message::Binary(bytes.into()),
            Transmit::Ping => Message::Ping(Vec::new().into()),
        };
        self.write(message);
    }

    /// A message that cannot be written says nothing yet: what the peer said before is still to be
    /// read, and the read that follows ends with the same error.
    fn write(&mut self, message: Message) {
        self.standing += message.len();
        self.unwritten = true;
        let _ = self.websocket.write(message);
    }

    /// Says goodbye, as far as the kernel takes it.
    pub(crate) fn say_close(&mut self, close: &Close) {
        let reason: String = close.reason.chars().take(REASON_CHARS_MAX).collect();
        let frame = CloseFrame {
            code: close.code.0.into(),
            reason: reason.into(),
        };
        self.write(Message::Close(Some(frame)));
        let _ = self.websocket.flush();
    }

    pub(crate) fn flush(&mut self) -> Written {
        if !self.unwritten {
            return Written::Nothing;
        }
        let before = self.websocket.get_ref().outgoing.len();
        match self.websocket.flush() {
            Ok(()) => {
                self.unwritten = false;
                self.standing = 0;
                self.was_full = false;
                Written::All
            }
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                let moved = self.websocket.get_ref().outgoing.len() > before;
                match std::mem::replace(&mut self.was_full, true) && moved {
                    true => Written::Moved,
                    false => Written::Nothing,
                }
            }
            Err(_) => {
                self.unwritten = false;
                Written::Nothing
            }
        }
    }

    /// The next arrival, if there is one.
    pub(crate) fn read(&mut self) -> Option<Arrival> {
        let read = self.websocket.read();
        let heard = std::mem::take(&mut self.heard);
        match read {
            Ok(Message::Close(frame)) => {
                let _ = self.websocket.flush();
                let code = frame.as_ref().map(|frame| CloseCode(frame.code.into()));
                let reason = frame
                    .map(|frame| frame.reason.to_string())
                    .unwrap_or_default();
                Some(Arrival::Ended { code, reason })
            }
            Ok(message) => Some(Arrival::Message(message)),
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                heard.then_some(Arrival::Bytes)
            }
            Err(error) => Some(Arrival::Ended {
                code: None,
                reason: error.to_string(),
            }),
        }
    }

    /// Whether the peer's TCP has acknowledged bytes since this was last asked, and others wait.
    pub(crate) fn has_progressed(&mut self, acknowledged: u64, unacknowledged: usize) -> bool {
        let before = std::mem::replace(&mut self.acknowledged, acknowledged);
        unacknowledged > 0 && acknowledged > before
    }
}
