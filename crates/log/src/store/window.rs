//! Reading a file from front to back, a piece at a time.

use std::collections::BTreeSet;
use std::io;

use heartwire_disk::{DiskFile, is_unreadable};

/// How much is read at once, in bytes: it fits the caches next to the processor.
const WINDOW_BYTES: usize = 512 * 1024;
/// How much is read at once where the device does not give back all of that, in bytes.
const BLOCK_BYTES: usize = 4 * 1024;
/// What stands for bytes that cannot be read: neither zeros, which end a log, nor anything that a log
/// is made of.
const UNREAD: u8 = 0xff;

/// A piece of a file in memory.
pub(super) struct Window<'f, F> {
    file: &'f F,
    pub(super) file_bytes: u32,
    start: u32,
    bytes: Vec<u8>,
    /// How much of `bytes` is filled.
    filled: usize,
    /// The numbers of the blocks that the device did not give back.
    unread: BTreeSet<usize>,
}

impl<'f, F: DiskFile> Window<'f, F> {
    pub(super) fn new(file: &'f F) -> io::Result<Self> {
        let length = file.len()?;
        Ok(Self {
            file,
            file_bytes: u32::try_from(length).unwrap_or(u32::MAX),
            start: 0,
            bytes: Vec::new(),
            filled: 0,
            unread: BTreeSet::new(),
        })
    }

    /// So many bytes from `position` on; `None` when the file ends before.
    pub(super) fn get(&mut self, position: u32, count: usize) -> io::Result<Option<&[u8]>> {
        let left = (self.file_bytes as usize).saturating_sub(position as usize);
        if count > left {
            return Ok(None);
        }
        let is_inside =
            position >= self.start && (position - self.start) as usize + count <= self.filled;
        if !is_inside {
            self.fill(position, count.max(WINDOW_BYTES.min(left)))?;
        }
        let at = (position - self.start) as usize;
        Ok(Some(&self.bytes[at..at + count]))
    }

    /// Some bytes from `position` on; `None` at the end of the file.
    pub(super) fn some(&mut self, position: u32) -> io::Result<Option<&[u8]>> {
        if position >= self.file_bytes {
            return Ok(None);
        }
        self.get(position, 1)?;
        let at = (position - self.start) as usize;
        Ok(Some(&self.bytes[at..self.filled]))
    }

    /// Whether any of these bytes was met and could not be read.
    pub(super) fn has_unread(&self, start: u32, end: u32) -> bool {
        let first = start as usize / BLOCK_BYTES;
        let behind = (end as usize).div_ceil(BLOCK_BYTES).max(first);
        self.unread.range(first..behind).next().is_some()
    }

    /// Reads `count` bytes from `position` on, keeping those that are there.
    fn fill(&mut self, position: u32, count: usize) -> io::Result<()> {
        let filled_end = self.start as usize + self.filled;
        let kept = match position >= self.start {
            true => filled_end.saturating_sub(position as usize).min(count),
            false => 0,
        };
        if kept > 0 && position > self.start {
            let from = (position - self.start) as usize;
            self.bytes.copy_within(from..from + kept, 0);
        }
        if self.bytes.len() < count {
            self.bytes.resize(count, 0);
        }
        (self.start, self.filled) = (position, kept);
        let read_at = position as usize + kept;
        let wanted = &mut self.bytes[kept..count];
        match self.file.read_at(wanted, read_at as u64) {
            Err(error) if is_unreadable(&error) => {
                read_blocks(self.file, wanted, read_at, &mut self.unread)?;
            }
            read => read?,
        }
        self.filled = count;
        Ok(())
    }
}

/// Reads what can be read, block by block; those that cannot are added to `unread`.
fn read_blocks<F: DiskFile>(
    file: &F,
    bytes: &mut [u8],
    position: usize,
    unread: &mut BTreeSet<usize>,
) -> io::Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        let at = position + done;
        let block = at / BLOCK_BYTES;
        let count = ((block + 1) * BLOCK_BYTES - at).min(bytes.len() - done);
        let piece = &mut bytes[done..done + count];
        match file.read_at(piece, at as u64) {
            Err(error) if is_unreadable(&error) => {
                piece.fill(UNREAD);
                unread.insert(block);
            }
            read => read?,
        }
        done += count;
    }
    Ok(())
}
