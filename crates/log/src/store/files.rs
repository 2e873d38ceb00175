//! The folder's files by name, with errors that say what was done with which `[DISK-1]`.

use std::collections::BTreeSet;
use std::io;

use heartwire_disk::{
    Disk, DiskFile as _, FileError, LockError, TEMPORARY, is_unreadable, replace, replace_by,
};
use heartwire_proto::planted::{self, Bug};

use super::batch::SegmentId;

/// What the store is.
pub(super) const META: &str = "meta";
const LOCK: &str = "lock";
/// The file of a segment that was removed, for the next segment: its blocks are on the device
/// already. There is one at the most, and none outlives the process, as its name says.
const SPARE: &str = "spare.tmp";

/// The highest number that a file of a log is found with: as many are left for what is written from
/// then on, so that they never run out.
const NUMBER_MAX: u32 = 1 << 31;

/// What a numbered file holds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) enum Kind {
    /// Frames.
    Segment,
    /// What a segment holds, and where.
    Index,
    /// The index of a segment that was removed on purpose.
    Gone,
    /// Everything below a segment, folded.
    Checkpoint,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Segment, Self::Index, Self::Gone, Self::Checkpoint];

    const fn ending(self) -> &'static str {
        match self {
            Self::Segment => "seg",
            Self::Index => "idx",
            Self::Gone => "gone",
            Self::Checkpoint => "ckpt",
        }
    }

    /// The name of the file.
    pub(super) fn name(self, id: SegmentId) -> String {
        format!("{:08}.{}", id.0, self.ending())
    }
}

/// The files that a folder has.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Listing {
    pub(super) has_meta: bool,
    pub(super) numbered: BTreeSet<(Kind, SegmentId)>,
    /// Files that were being written when the process ended.
    pub(super) temporary: Vec<String>,
}

impl Listing {
    pub(super) fn of(&self, kind: Kind) -> impl DoubleEndedIterator<Item = SegmentId> {
        let range = (kind, SegmentId(0))..=(kind, SegmentId(u32::MAX));
        self.numbered.range(range).map(|(_, id)| *id)
    }

    pub(super) fn has(&self, kind: Kind, id: SegmentId) -> bool {
        self.numbered.contains(&(kind, id))
    }

    /// The name of a file whose number no log gets to.
    pub(super) fn too_high(&self) -> Option<String> {
        let mut numbered = self.numbered.iter();
        let found = numbered.find(|(_, id)| id.0 > NUMBER_MAX);
        found.map(|(kind, id)| kind.name(*id))
    }

    /// A number that no file has, nor has had as far as one can tell.
    pub(super) fn next_id(&self) -> SegmentId {
        let last = self.numbered.iter().map(|(_, id)| id.0).max();
        SegmentId(last.unwrap_or(0) + 1)
    }

    fn add(&mut self, name: String) {
        if name == META {
            self.has_meta = true;
        } else if is_temporary(&name) {
            self.temporary.push(name);
        } else if let Some(numbered) = numbered(&name) {
            self.numbered.insert(numbered);
        }
    }
}

/// What a file's name says of it, if it is one of a log's numbered files.
fn numbered(name: &str) -> Option<(Kind, SegmentId)> {
    let (number, ending) = name.split_once('.')?;
    let kind = Kind::ALL.into_iter().find(|kind| kind.ending() == ending)?;
    let id = SegmentId(number.parse().ok().filter(|id| *id > 0)?);
    (kind.name(id) == name).then_some((kind, id))
}

/// Whether the file was being made, or spared, by a log. Others have files of such names as well.
fn is_temporary(name: &str) -> bool {
    let made = name.strip_suffix(TEMPORARY);
    name == SPARE || made.is_some_and(|made| made == META || numbered(made).is_some())
}

/// The folder. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Files<D> {
    disk: D,
}

impl<D: Disk> Files<D> {
    pub(super) const fn new(disk: D) -> Self {
        Self { disk }
    }

    pub(super) fn describe(&self) -> String {
        self.disk.describe()
    }

    pub(super) fn lock(&self, holder: &str) -> Result<D::Lock, LockError> {
        self.disk.lock(LOCK, holder)
    }

    pub(super) fn lock_error(&self, source: io::Error) -> FileError {
        self.error("lock", LOCK, source)
    }

    pub(super) fn list(&self) -> Result<Listing, FileError> {
        let names = self.disk.list();
        let names = names.map_err(|source| FileError::of_folder(&self.disk, "list", source))?;
        let mut listing = Listing::default();
        names.into_iter().for_each(|name| listing.add(name));
        Ok(listing)
    }

    pub(super) fn open(&self, name: &str) -> Result<D::File, FileError> {
        let opened = self.disk.open(name);
        opened.map_err(|source| self.error("open", name, source))
    }

    /// All of a file that is read and written as a whole. One that the device does not give back is as
    /// good as one that is damaged, and is read as an empty one, which none of them is.
    pub(super) fn read(&self, name: &str) -> Result<Vec<u8>, FileError> {
        match self.disk.read(name) {
            Err(error) if is_unreadable(&error) => Ok(Vec::new()),
            read => read.map_err(|source| self.error("read", name, source)),
        }
    }

    /// Puts a whole file there, durably, in place of whatever has the name. A crash leaves the one or
    /// the other.
    pub(super) fn put(&self, name: &str, bytes: &[u8]) -> Result<(), FileError> {
        self.prepare(name, |file| file.write_at(bytes, 0))?;
        Ok(())
    }

    /// Puts a file there that `fill` has filled, durably; returns it.
    pub(super) fn prepare(
        &self,
        name: &str,
        fill: impl FnOnce(&D::File) -> io::Result<()>,
    ) -> Result<D::File, FileError> {
        replace(&self.disk, name, fill)
    }

    /// Fails where fewer bytes are free than a new file is about to take. Where nobody can tell, it is to
    /// be tried.
    pub(super) fn check_space(&self, name: &str, bytes: u64) -> Result<(), FileError> {
        match self.disk.free_bytes() {
            Some(free) if free < bytes => {
                let what = format!("it takes {bytes} bytes, and {free} are free");
                let source = io::Error::new(io::ErrorKind::StorageFull, what);
                Err(self.error("create", name, source))
            }
            _ => Ok(()),
        }
    }

    /// The same with the spare file, which holds anything; `None` if there is none.
    pub(super) fn prepare_spare(
        &self,
        name: &str,
        fill: impl FnOnce(&D::File) -> io::Result<()>,
    ) -> Result<Option<D::File>, FileError> {
        let file = match self.disk.open(SPARE) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(|source| self.error("open", SPARE, source))?,
        };
        // Nobody must find it by its old name once anything in it has changed.
        self.sync_folder()?;
        if planted::has(Bug::NamedBeforeHeader) {
            self.rename(SPARE, name)?;
            self.sync_folder()?;
            return replace_by(&self.disk, name, name, file, fill).map(Some);
        }
        replace_by(&self.disk, name, SPARE, file, fill).map(Some)
    }

    /// Removes a file, if it is there, and keeps it as the spare one, in place of the one before.
    pub(super) fn spare(&self, name: &str) -> Result<(), FileError> {
        match self.disk.rename(name, SPARE) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            renamed => renamed.map_err(|source| self.error("rename", name, source)),
        }
    }

    /// Removes the spare file, if there is one.
    pub(super) fn remove_spare(&self) -> Result<(), FileError> {
        self.remove(SPARE)
    }

    pub(super) fn rename(&self, from: &str, to: &str) -> Result<(), FileError> {
        let renamed = self.disk.rename(from, to);
        renamed.map_err(|source| self.error("rename", from, source))
    }

    /// Removes a file, if it is there.
    pub(super) fn remove(&self, name: &str) -> Result<(), FileError> {
        match self.disk.remove(name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed.map_err(|source| self.error("remove", name, source)),
        }
    }

    pub(super) fn sync_folder(&self) -> Result<(), FileError> {
        let synced = self.disk.sync_folder();
        synced.map_err(|source| FileError::of_folder(&self.disk, "sync", source))
    }

    pub(super) fn error(&self, doing: &'static str, name: &str, source: io::Error) -> FileError {
        FileError::new(&self.disk, doing, name, source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_are_written_here_are_read_here() {
        let mut listing = Listing::default();
        for name in [
            "meta",
            "lock",
            "00000007.seg",
            "7.seg",
            "00000007.idx",
            "x.seg",
            "00000009.ckpt",
            "00000008.seg.tmp",
            "00000008.ckpt.tmp",
            "meta.tmp",
            "spare.tmp",
            "notes.txt",
            "notes.tmp",
            "8.seg.tmp",
            "x.00000008.seg.tmp",
            "lock.tmp",
            ".tmp",
        ] {
            listing.add(name.to_owned());
        }
        assert!(listing.has_meta);
        let temporary = [
            "00000008.seg.tmp",
            "00000008.ckpt.tmp",
            "meta.tmp",
            "spare.tmp",
        ];
        assert_eq!(listing.temporary, temporary);
        assert_eq!(listing.numbered.len(), 3);
        assert!(listing.has(Kind::Segment, SegmentId(7)));
        assert_eq!(listing.next_id(), SegmentId(10));
    }
}
