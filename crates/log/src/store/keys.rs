//! Numbers for keys: every topic of a segment has a small one, and finding it touches little memory,
//! because that is done for every record.

use hashbrown::HashTable;

use super::checksum::Hashes;
use super::record::Key;

/// A key, and the hash that finds it in the tables of its store.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hashed<'a> {
    pub(super) key: Key<'a>,
    pub(super) hash: u64,
}

/// Keys in the order in which they were met.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    hashes: Hashes,
    table: HashTable<u32>,
    /// Where each key begins in `bytes`, and where the last one ends.
    bounds: Vec<u32>,
    bytes: Vec<u8>,
}

impl Keys {
    pub(super) fn new(hashes: Hashes) -> Self {
        Self {
            hashes,
            table: HashTable::new(),
            bounds: vec![0],
            bytes: Vec::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.bounds.len() - 1
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Key<'_>> {
        (0..self.len() as u32).map(|number| Key(key(&self.bounds, &self.bytes, number)))
    }

    /// The number of a key, a new one if it has none; `None` if it names no topic.
    #[inline]
    pub(super) fn number(&mut self, wanted: Key<'_>) -> Option<u32> {
        self.number_hashed(self.hashed(wanted))
    }

    pub(super) fn hashed<'a>(&self, key: Key<'a>) -> Hashed<'a> {
        let hash = self.hashes.of(key.0);
        Hashed { key, hash }
    }

    #[inline]
    fn number_hashed(&mut self, wanted: Hashed<'_>) -> Option<u32> {
        let is_it = |number: &u32| key(&self.bounds, &self.bytes, *number) == wanted.key.0;
        match self.table.find(wanted.hash, is_it) {
            Some(number) => Some(*number),
            None => self.add(wanted),
        }
    }

    /// The numbers of several keys, as [`number`](Self::number) gives them, added to `numbers`. One
    /// step is made for all before the next is made for any, so that the processor waits for the
    /// memory of many at once.
    pub(super) fn numbers(&mut self, wanted: &[Hashed<'_>], numbers: &mut Vec<Option<u32>>) {
        let start = numbers.len();
        let candidates = wanted.iter();
        numbers.extend(candidates.map(|key| self.table.iter_hash(key.hash).next().copied()));
        let candidates = numbers[start..].iter().flatten();
        let first_bytes =
            candidates.map(|number| self.bytes[self.bounds[*number as usize] as usize]);
        std::hint::black_box(first_bytes.fold(0, |sum, byte| sum ^ byte));
        for (number, wanted) in numbers[start..].iter_mut().zip(wanted) {
            let is_it = |number: &u32| key(&self.bounds, &self.bytes, *number) == wanted.key.0;
            *number = number.filter(is_it);
        }
        for (number, wanted) in numbers[start..].iter_mut().zip(wanted) {
            if number.is_none() {
                *number = self.number_hashed(*wanted);
            }
        }
    }

    #[cold]
    fn add(&mut self, new: Hashed<'_>) -> Option<u32> {
        new.key.parse()?;
        let number = self.len() as u32;
        self.bytes.extend_from_slice(new.key.0);
        self.bounds.push(self.bytes.len() as u32);
        let (hashes, bounds, bytes) = (&self.hashes, &self.bounds, &self.bytes);
        let hash_of = |number: &u32| hashes.of(key(bounds, bytes, *number));
        self.table.insert_unique(new.hash, number, hash_of);
        Some(number)
    }
}

#[inline]
fn key<'a>(bounds: &[u32], bytes: &'a [u8], number: u32) -> &'a [u8] {
    let number = number as usize;
    &bytes[bounds[number] as usize..bounds[number + 1] as usize]
}
