//! What stands ready for one socket.

use std::collections::VecDeque;
use std::io::IoSlice;

use heartwire_log::{Entry, Form};

/// How long a run of control frames grows before another is begun, in bytes.
const CONTROL_RUN_BYTES: usize = 16 * 1024;

/// A run of bytes: frames of the connection's own, or a message that many share.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Chunk {
    Control(Vec<u8>),
    Message { entry: Entry, form: Form },
}

impl Chunk {
    fn pieces(&self) -> (&[u8], &[u8]) {
        match self {
            Self::Control(bytes) => (&[], bytes),
            Self::Message { entry, form } => entry.pieces(*form),
        }
    }

    fn bytes(&self) -> usize {
        let (first, second) = self.pieces();
        first.len() + second.len()
    }
}

/// Whole WebSocket frames in the order in which they are to be written. Owns no memory while it is
/// empty. It is bounded, far below 4 GiB, by those who fill it: a connection with more than
/// `Limits::output_bytes_max` of answers standing here takes no further message.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Outgoing {
    chunks: VecDeque<Chunk>,
    /// How much of the first chunk is written.
    begun: u32,
    bytes: u32,
    /// How many of the chunks' bytes are the connection's own frames.
    control_bytes: u32,
}

impl Outgoing {
    /// How many bytes stand here.
    pub const fn bytes(&self) -> usize {
        self.bytes as usize
    }

    /// How many bytes of the connection's own frames stand here: answers, not messages.
    pub(crate) const fn control_bytes(&self) -> usize {
        self.control_bytes as usize
    }

    /// Whether nothing stands here.
    pub const fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Sets `slices` for one vectored write; returns how many of them hold something. What does not
    /// fit stays for the next write.
    pub fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut used = 0;
        let mut skip = self.begun as usize;
        for chunk in &self.chunks {
            let (first, second) = chunk.pieces();
            for piece in [first, second] {
                let rest = &piece[skip.min(piece.len())..];
                skip = skip.saturating_sub(piece.len());
                if rest.is_empty() {
                    continue;
                }
                let Some(slice) = slices.get_mut(used) else {
                    return used;
                };
                *slice = IoSlice::new(rest);
                used += 1;
            }
        }
        used
    }

    /// All of it in one piece, for tests and simulators.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.bytes());
        for chunk in &self.chunks {
            let (first, second) = chunk.pieces();
            bytes.extend_from_slice(first);
            bytes.extend_from_slice(second);
        }
        bytes.drain(..self.begun as usize);
        bytes
    }

    /// Adds a message.
    pub(crate) fn push(&mut self, entry: &Entry, form: Form) {
        self.bytes += entry.wire_bytes(form) as u32;
        let entry = entry.clone();
        self.chunks.push_back(Chunk::Message { entry, form });
    }

    /// Adds what `write` appends: whole frames, headers included.
    pub(crate) fn push_control(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let run = match self.chunks.back_mut() {
            Some(Chunk::Control(run)) if run.len() < CONTROL_RUN_BYTES => run,
            _ => {
                self.chunks.push_back(Chunk::Control(Vec::new()));
                match self.chunks.back_mut() {
                    Some(Chunk::Control(run)) => run,
                    _ => unreachable!("a run was just added"),
                }
            }
        };
        let before = run.len();
        write(run);
        let written = (run.len() - before) as u32;
        self.bytes += written;
        self.control_bytes += written;
    }

    /// The socket took that many bytes.
    pub(crate) fn advance(&mut self, bytes: usize) {
        debug_assert!(bytes <= self.bytes(), "no more is written than stands here");
        self.bytes -= (bytes as u32).min(self.bytes);
        let mut taken = self.begun as usize + bytes;
        while let Some(first) = self.chunks.front() {
            let whole = first.bytes();
            if taken < whole {
                break;
            }
            taken -= whole;
            if let Some(Chunk::Control(run)) = self.chunks.pop_front() {
                self.control_bytes -= run.len() as u32;
            }
        }
        self.begun = taken as u32;
        if self.chunks.is_empty() {
            *self = Self::default();
        }
    }

    /// Drops the messages whose first byte has not been written: the connection ends.
    pub(crate) fn drop_messages(&mut self) {
        let begun = self.begun > 0;
        let mut index = 0;
        self.chunks.retain(|chunk| {
            index += 1;
            matches!(chunk, Chunk::Control(_)) || (begun && index == 1)
        });
        let whole: usize = self.chunks.iter().map(Chunk::bytes).sum();
        self.bytes = whole as u32 - self.begun;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn control(outgoing: &mut Outgoing, text: &[u8]) {
        outgoing.push_control(|out| out.extend_from_slice(text));
    }

    #[test]
    fn what_is_taken_goes_in_order_and_leaves_no_memory_behind() {
        let mut outgoing = Outgoing::default();
        control(&mut outgoing, b"first");
        control(&mut outgoing, b"second");
        outgoing.advance(3);
        assert_eq!(outgoing.to_bytes(), b"stsecond");
        let mut slices = [IoSlice::new(&[]); 2];
        assert_eq!(outgoing.slices(&mut slices), 1);
        assert_eq!(&*slices[0], b"stsecond");
        outgoing.advance(8);
        assert!(outgoing.is_empty());
        assert_eq!(outgoing.chunks.capacity(), 0);
    }

    #[test]
    fn a_long_run_of_control_frames_is_split() {
        let mut outgoing = Outgoing::default();
        for _ in 0..3 {
            control(&mut outgoing, &[b'x'; CONTROL_RUN_BYTES]);
        }
        let mut slices = [IoSlice::new(&[]); 2];
        assert_eq!(
            outgoing.slices(&mut slices),
            2,
            "the rest waits for the next write"
        );
        assert_eq!(outgoing.bytes(), 3 * CONTROL_RUN_BYTES);
        outgoing.advance(CONTROL_RUN_BYTES + 5);
        assert_eq!(outgoing.to_bytes().len(), 2 * CONTROL_RUN_BYTES - 5);
    }
}
