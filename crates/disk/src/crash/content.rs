//! The bytes of one file, as programs see them and as the device holds them.
//!
//! ```text
//!   write ──► cache ──► pending ──► sync ──► durable
//!               ▲          │
//!   read ───────┘          └──► crash, or a sync that fails: any part of it, in any order
//! ```

use std::collections::BTreeSet;
use std::ops::Range;

use super::dice::Dice;

/// What a device reads and writes as a whole, in bytes.
pub(super) const BLOCK_BYTES: usize = 4 * 1024;

/// The numbers of the blocks in which these bytes are.
fn blocks(range: &Range<usize>) -> Range<usize> {
    match range.is_empty() {
        true => 0..0,
        false => range.start / BLOCK_BYTES..range.end.div_ceil(BLOCK_BYTES),
    }
}

/// A change that no sync has made durable.
#[derive(Clone, Debug)]
enum Change {
    Write { position: usize, bytes: Vec<u8> },
    Length(usize),
}

/// The bytes of one file.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    cache: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Change>,
    /// The numbers of blocks that the device does not give back until they are written to as a whole, and
    /// synced: it puts others in their place.
    worn_out: BTreeSet<usize>,
    /// Those of them that the system has in memory, as they were written to.
    rewritten: BTreeSet<usize>,
}

impl Content {
    pub(super) fn of(bytes: Vec<u8>) -> Self {
        Self {
            durable: bytes.clone(),
            cache: bytes,
            ..Self::default()
        }
    }

    pub(super) fn cached(&self) -> &[u8] {
        &self.cache
    }

    /// Whether all that this writes to can be written: a system reads what it keeps of a block.
    pub(super) fn takes(&self, range: Range<usize>) -> bool {
        let mut unreadable = self.unreadable(&range);
        unreadable.all(|block| self.replaces(&range, block))
    }

    /// The blocks of a range that neither the system has nor the device gives back.
    fn unreadable(&self, range: &Range<usize>) -> impl Iterator<Item = usize> {
        let worn_out = self.worn_out.range(blocks(range)).copied();
        worn_out.filter(|block| !self.rewritten.contains(block))
    }

    /// Whether nothing of a block stays that is written to there.
    fn replaces(&self, range: &Range<usize>, block: usize) -> bool {
        let start = block * BLOCK_BYTES;
        let end = (start + BLOCK_BYTES).min(self.cache.len().max(range.end));
        range.start <= start && end <= range.end
    }

    pub(super) fn write(&mut self, position: usize, bytes: &[u8]) {
        let change = Change::Write {
            position,
            bytes: bytes.to_vec(),
        };
        change.apply(&mut self.cache);
        self.pending.push(change);
        let written = position..position + bytes.len();
        let replaced = self.unreadable(&written);
        let replaced: Vec<usize> = replaced
            .filter(|block| self.replaces(&written, *block))
            .collect();
        self.rewritten.extend(replaced);
    }

    pub(super) fn set_len(&mut self, len: usize) {
        self.cache.resize(len, 0);
        self.pending.push(Change::Length(len));
        let behind = blocks(&(0..len)).end;
        for known in [&mut self.worn_out, &mut self.rewritten] {
            known.retain(|block| *block < behind);
        }
    }

    pub(super) fn sync(&mut self) {
        for change in self.pending.drain(..) {
            change.apply(&mut self.durable);
        }
        let rewritten = std::mem::take(&mut self.rewritten);
        self.worn_out.retain(|block| !rewritten.contains(block));
    }

    /// The device kept some of what was to be synced, and the system forgets that there was more.
    pub(super) fn fail_sync(&mut self, dice: &mut Dice) {
        self.durable = self.survivor(dice);
        self.pending.clear();
    }

    /// What the device holds is all there is.
    pub(super) fn crash(&mut self, dice: &mut Dice) {
        self.fail_sync(dice);
        self.cache.clone_from(&self.durable);
        self.rewritten.clear();
    }

    pub(super) fn flip(&mut self, position: usize, mask: u8) {
        for bytes in [&mut self.cache, &mut self.durable] {
            if let Some(byte) = bytes.get_mut(position) {
                *byte ^= mask;
            }
        }
    }

    pub(super) fn wear_out(&mut self, position: usize) {
        self.worn_out.insert(position / BLOCK_BYTES);
        self.rewritten.remove(&(position / BLOCK_BYTES));
    }

    pub(super) fn is_worn_out(&self, range: Range<usize>) -> bool {
        self.unreadable(&range).next().is_some()
    }

    /// A sector goes to the device as it stood after any of the changes to it, each sector for
    /// itself; one is torn within, at any byte. The length is that after any of the changes.
    fn survivor(&self, dice: &mut Dice) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        let changes = self.pending.len() as u64;
        if changes == 0 {
            return bytes;
        }
        let sector_bytes = [16, 64, 512, 4_096, usize::MAX][dice.below(5) as usize];
        let length_after = dice.below(changes + 1) as usize;
        let mut length = self.durable.len();
        for change in &self.pending[..length_after] {
            length = change.length_after(length);
        }
        let longest = self.cache.len().max(length).max(bytes.len());
        bytes.resize(longest, 0);
        let sectors = longest.div_ceil(sector_bytes);
        let torn = dice.below(sectors as u64) as usize;
        for sector in 0..sectors {
            let start = sector * sector_bytes;
            let end = start.saturating_add(sector_bytes).min(longest);
            let spared = dice.below(changes + 1) as usize;
            for change in &self.pending[..spared] {
                change.apply_within(&mut bytes, start, end);
            }
            if sector == torn
                && let Some(change) = self.pending.get(spared)
            {
                let cut = start + dice.below((end - start) as u64 + 1) as usize;
                change.apply_within(&mut bytes, start, cut);
            }
        }
        bytes.truncate(length);
        bytes
    }
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write {
                position,
                bytes: written,
            } => {
                let end = position + written.len();
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[*position..end].copy_from_slice(written);
            }
            Self::Length(len) => bytes.resize(*len, 0),
        }
    }

    /// Applies the part that lies in `start..end`, which `bytes` has.
    fn apply_within(&self, bytes: &mut [u8], start: usize, end: usize) {
        match self {
            Self::Write {
                position,
                bytes: written,
            } => {
                let from = start.max(*position);
                let to = end.min(position + written.len());
                if from < to {
                    bytes[from..to].copy_from_slice(&written[from - position..to - position]);
                }
            }
            Self::Length(len) if *len < end => bytes[start.max(*len)..end].fill(0),
            Self::Length(_) => {}
        }
    }

    fn length_after(&self, before: usize) -> usize {
        match self {
            Self::Write { position, bytes } => before.max(position + bytes.len()),
            Self::Length(len) => *len,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_spares_what_was_synced_and_any_part_of_the_rest() {
        let (mut whole, mut none, mut torn) = (false, false, false);
        for seed in 0..200 {
            let mut content = Content::default();
            content.write(0, &[1; 100]);
            content.sync();
            content.write(100, &[2; 100]);
            content.crash(&mut Dice::new(seed));
            let survived = content.cached();
            assert_eq!(&survived[..100], [1; 100]);
            assert!(survived[100..].iter().all(|byte| matches!(byte, 0 | 2)));
            let twos = survived.iter().filter(|byte| **byte == 2).count();
            whole |= twos == 100;
            none |= survived.len() == 100;
            torn |= (1..100).contains(&twos);
        }
        assert!(whole && none && torn);
    }

    #[test]
    fn a_failed_sync_is_forgotten_by_the_next_and_shows_in_a_crash() {
        let lost = (0..50).any(|seed| {
            let mut content = Content::of(vec![0; 64]);
            content.write(0, &[7; 64]);
            content.fail_sync(&mut Dice::new(seed));
            assert_eq!(content.cached(), [7; 64]);
            content.sync();
            content.crash(&mut Dice::new(seed));
            content.cached() != [7; 64]
        });
        assert!(lost);
    }
}
