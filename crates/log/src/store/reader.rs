//! Reading messages back.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use heartwire_disk::{Disk, DiskFile as _, is_unreadable};
use heartwire_proto::{Epoch, Offset, TopicName};

use super::batch::{DiskPlace, SegmentId};
use super::bytes::Put as _;
use super::checksum::Salt;
use super::error::{Damage, ReadError};
use super::files::{Files, Kind};
use super::record::{self, Key, MessageView};
use crate::entry::Entry;

/// What is read at once, in bytes, when messages stand close to each other.
const READ_BYTES_MAX: u64 = 256 * 1024;
/// What is read without being asked for to save another read, in bytes.
const SKIP_BYTES_MAX: u64 = 4 * 1024;

/// Reads messages back from segments, beside the store that writes them. Clones share open files.
#[derive(Debug)]
pub struct SegmentReader<D: Disk> {
    files: Files<D>,
    store: u64,
    open: Arc<Mutex<OpenFiles<D::File>>>,
}

impl<D: Disk> Clone for SegmentReader<D> {
    fn clone(&self) -> Self {
        Self {
            files: self.files.clone(),
            store: self.store,
            open: Arc::clone(&self.open),
        }
    }
}

/// The segments that are open, and when each was used last.
#[derive(Debug)]
struct OpenFiles<F> {
    by_id: BTreeMap<SegmentId, (Arc<F>, u64)>,
    uses: u64,
    /// How often one was [forgotten](SegmentReader::forget).
    forgets: u64,
    count_max: usize,
    /// Segments whose files are not to be used again.
    distrusted: BTreeSet<SegmentId>,
}

impl<D: Disk> SegmentReader<D> {
    pub(super) fn new(files: Files<D>, store: u64, open_files_max: usize) -> Self {
        Self {
            files,
            store,
            open: Arc::new(Mutex::new(OpenFiles {
                by_id: BTreeMap::new(),
                uses: 0,
                forgets: 0,
                count_max: open_files_max.max(1),
                distrusted: BTreeSet::new(),
            })),
        }
    }

    /// Reads the messages at `places`, which are those of the topic from the offset `first` on, one
    /// after the other, and adds them to `entries`. Each is checked against its checksum and must be
    /// the message that is asked for. Neighbours are read together.
    pub fn read(
        &self,
        topic: &TopicName,
        origin: Epoch,
        first: Offset,
        places: &[DiskPlace],
        entries: &mut Vec<Entry>,
    ) -> Result<(), ReadError> {
        let mut key = Vec::new();
        key.put_short(topic.as_str().as_bytes());
        key.put_short(origin.as_str().as_bytes());
        let mut wanted = Wanted {
            topic,
            key: Key(&key),
            offset: first,
            scratch: Vec::new(),
        };
        let (mut rest, mut bytes) = (places, Vec::new());
        while let Some(start) = rest.first() {
            let group = group_bytes(rest);
            let (now, later) = rest.split_at(group.count);
            bytes.resize(group.bytes, 0);
            let read = match self.read_bytes(*start, &mut bytes) {
                // Only some of them may be unreadable.
                Err(ReadError::Unreadable(_)) => self.read_singly(now, &mut wanted, entries),
                read => read.and_then(|()| wanted.take_all(now, &bytes, self.store, entries)),
            };
            read.map_err(|error| self.unless_gone(start.segment, error))?;
            rest = later;
        }
        Ok(())
    }

    fn read_singly(
        &self,
        places: &[DiskPlace],
        wanted: &mut Wanted<'_>,
        entries: &mut Vec<Entry>,
    ) -> Result<(), ReadError> {
        for place in places {
            let mut bytes = vec![0; place.bytes as usize];
            self.read_bytes(*place, &mut bytes)?;
            wanted.take_all(&[*place], &bytes, self.store, entries)?;
        }
        Ok(())
    }

    /// What to say of a segment that does not hold what it should: if it was removed meanwhile, others
    /// may be writing to its file, and nothing of it is damaged. Where the system does not say, nobody
    /// knows.
    fn unless_gone(&self, id: SegmentId, error: ReadError) -> ReadError {
        if !matches!(error, ReadError::Damaged(_) | ReadError::Unreadable(_)) {
            return error;
        }
        self.forget(id);
        self.file(id).err().unwrap_or(error)
    }

    fn read_bytes(&self, place: DiskPlace, bytes: &mut [u8]) -> Result<(), ReadError> {
        let file = self.file(place.segment)?;
        match file.read_at(bytes, u64::from(place.position)) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(damaged(place, "the segment ends before"))
            }
            Err(error) if is_unreadable(&error) => {
                self.distrust(place.segment);
                let found = damage(place, "the disk cannot read the record");
                Err(ReadError::Unreadable(found))
            }
            read => {
                let name = Kind::Segment.name(place.segment);
                read.map_err(|source| self.files.error("read", &name, source).into())
            }
        }
    }

    fn file(&self, id: SegmentId) -> Result<Arc<D::File>, ReadError> {
        let forgets = match self.open_file(id) {
            Ok(file) => return Ok(file),
            Err(forgets) => forgets,
        };
        // Nobody waits for the disk while others, the writer among them, wait for the lock.
        let opened = self.files.open(&Kind::Segment.name(id));
        let file = match opened {
            Err(error) if error.source.kind() == io::ErrorKind::NotFound => {
                return Err(ReadError::Gone { segment: id });
            }
            opened => Arc::new(opened?),
        };
        drop(self.keep_open(id, &file, forgets));
        Ok(file)
    }

    /// The file if it is open, or else how many were forgotten before.
    fn open_file(&self, id: SegmentId) -> Result<Arc<D::File>, u64> {
        let mut open = self.lock();
        open.uses += 1;
        let now = open.uses;
        let forgets = open.forgets;
        let (file, used) = open.by_id.get_mut(&id).ok_or(forgets)?;
        *used = now;
        Ok(Arc::clone(file))
    }

    /// Keeps a file open, unless one was forgotten since: it may be this one. Returns the one that makes
    /// room for it: closing a file may take long, and is for whoever holds no lock.
    fn keep_open(&self, id: SegmentId, file: &Arc<D::File>, forgets: u64) -> Option<Arc<D::File>> {
        let mut open = self.lock();
        if open.forgets != forgets {
            return None;
        }
        let now = open.uses;
        let is_full = open.by_id.len() >= open.count_max && !open.by_id.contains_key(&id);
        let by_use = open.by_id.iter().min_by_key(|(_, (_, used))| *used);
        let oldest = by_use.map(|(id, _)| *id).filter(|_| is_full);
        let closed = oldest.and_then(|oldest| open.by_id.remove(&oldest));
        let twin = open.by_id.insert(id, (Arc::clone(file), now));
        closed.or(twin).map(|(file, _)| file)
    }

    /// Bytes of it were met that the device did not give back, or damage in it was accepted: its file is
    /// not to be used again.
    pub(super) fn distrust(&self, id: SegmentId) {
        self.lock().distrusted.insert(id);
    }

    pub(super) fn is_trusted(&self, id: SegmentId) -> bool {
        !self.lock().distrusted.contains(&id)
    }

    fn lock(&self) -> MutexGuard<'_, OpenFiles<D::File>> {
        self.open.lock().expect("keeping files open does not panic")
    }

    /// A segment is removed: its room is free when the last reader is done.
    pub(super) fn let_go(&self, id: SegmentId) {
        self.lock().distrusted.remove(&id);
        self.forget(id);
    }

    /// Closes a segment, whose file may be another's by now.
    fn forget(&self, id: SegmentId) {
        let mut open = self.lock();
        let closed = open.by_id.remove(&id);
        open.forgets += 1;
        drop(open);
        drop(closed);
    }
}

struct Group {
    count: usize,
    bytes: usize,
}

/// How many of the places are read at once: those that follow each other closely.
fn group_bytes(places: &[DiskPlace]) -> Group {
    let Some(start) = places.first() else {
        return Group { count: 0, bytes: 0 };
    };
    let first = u64::from(start.position);
    let mut end = first + u64::from(start.bytes);
    let mut count = 1;
    for place in &places[1..] {
        let (position, bytes) = (u64::from(place.position), u64::from(place.bytes));
        let is_close = place.segment == start.segment
            && position >= end
            && position - end <= SKIP_BYTES_MAX
            && position + bytes - first <= READ_BYTES_MAX;
        if !is_close {
            break;
        }
        end = position + bytes;
        count += 1;
    }
    Group {
        count,
        bytes: (end - first) as usize,
    }
}

/// The message that is asked for next.
struct Wanted<'a> {
    topic: &'a TopicName,
    key: Key<'a>,
    offset: Offset,
    scratch: Vec<u8>,
}

impl Wanted<'_> {
    /// Takes messages of one segment, of which `bytes` is what stands from the first of them on.
    fn take_all(
        &mut self,
        places: &[DiskPlace],
        bytes: &[u8],
        store: u64,
        entries: &mut Vec<Entry>,
    ) -> Result<(), ReadError> {
        let start = places.first().map_or(0, |place| place.position);
        for place in places {
            let at = (place.position - start) as usize;
            let record = &bytes[at..at + place.bytes as usize];
            let salt = Salt::new(store, place.segment);
            entries.push(self.take(*place, record, salt)?);
        }
        Ok(())
    }

    fn take(&mut self, place: DiskPlace, bytes: &[u8], salt: Salt) -> Result<Entry, ReadError> {
        let is_whole = record::length_of(bytes) == Some(bytes.len())
            && record::is_whole(bytes, salt, place.position);
        if !is_whole {
            return Err(damaged(place, "the record is damaged"));
        }
        let Some((message, body)) = MessageView::parse(bytes) else {
            return Err(damaged(place, "the record is no message"));
        };
        if message.key != self.key || message.offset != self.offset {
            return Err(damaged(place, "the record is another message"));
        }
        let entry = message.to_entry(body, self.topic.as_topic(), &mut self.scratch);
        self.offset = self.offset.next();
        entry.ok_or_else(|| damaged(place, "the record is no message"))
    }
}

fn damaged(place: DiskPlace, what: &'static str) -> ReadError {
    ReadError::Damaged(damage(place, what))
}

fn damage(place: DiskPlace, what: &'static str) -> Damage {
    Damage {
        file: Kind::Segment.name(place.segment),
        position: u64::from(place.position),
        bytes: u64::from(place.bytes),
        what,
    }
}

#[cfg(test)]
mod tests {
    use heartwire_disk::CrashDisk;

    use super::*;

    /// Otherwise whoever opens a segment just before it is removed keeps its file open, and its room taken,
    /// with nobody left to close it.
    #[test]
    fn a_file_that_was_opened_before_one_was_forgotten_is_not_kept() {
        let disk = CrashDisk::new();
        let id = SegmentId(1);
        disk.put(&Kind::Segment.name(id), vec![0]);
        let files = Files::new(disk);
        let opened = files.open(&Kind::Segment.name(id));
        let file = Arc::new(opened.expect("it was put there"));
        let reader = SegmentReader::new(files, 1, 8);
        let forgets = reader.open_file(id).expect_err("nothing is open");
        reader.forget(id);
        reader.keep_open(id, &file, forgets);
        let forgets = reader.open_file(id).expect_err("nothing stays open");
        reader.keep_open(id, &file, forgets);
        reader.open_file(id).expect("nothing was forgotten since");
    }
}
