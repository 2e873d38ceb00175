//! A folder in memory that crashes, fails and fills up on command.
//!
//! Nothing happens by itself: whoever drives it says when calls [fail](Faults), when the process
//! [dies](CrashDisk::kill) and when the power [goes](CrashDisk::crash); what a crash spares is drawn
//! from a seed. So the same calls end the same way each time.

mod content;
mod dice;
mod folder;

use std::collections::BTreeSet;
use std::io::{Error, ErrorKind, Result};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::error::unreadable;
use crate::{Disk, DiskFile, LockError};
use folder::{Folder, Node, content};

pub use dice::Dice;

/// What goes wrong; nothing by default.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Faults {
    /// Files have no more room than so many bytes, in all.
    pub capacity_bytes: Option<u64>,
    /// Nobody is told how much room is left.
    pub hide_free_bytes: bool,
    /// No file can be created or opened, as when the process has all the descriptors it may have.
    pub fail_opens: bool,
    /// Nothing can be changed.
    pub read_only: bool,
    /// So many calls, of whatever kind, pass; the next fails, and those after it pass again.
    pub calls_before_failure: Option<u64>,
    /// So many calls that change something pass; from then on every call fails, as when the power
    /// goes.
    pub changes_before_stop: Option<u64>,
    /// Writing fails.
    pub fail_writes: bool,
    /// Syncing a file fails, and what was to be synced counts as clean although it is not.
    pub fail_syncs: bool,
    /// Reading fails.
    pub fail_reads: bool,
    /// Reading ends in the middle.
    pub short_reads: bool,
}

/// How often each kind of call was made.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Calls {
    /// [`DiskFile::read_at`].
    pub reads: u64,
    /// [`DiskFile::write_at`].
    pub writes: u64,
    /// [`DiskFile::set_len`].
    pub cuts: u64,
    /// [`DiskFile::sync`].
    pub syncs: u64,
    /// [`Disk::sync_folder`].
    pub folder_syncs: u64,
    /// [`Disk::create`], [`Disk::rename`] and [`Disk::remove`].
    pub names: u64,
    /// [`Disk::list`], [`Disk::open`], [`Disk::lock`] and [`DiskFile::len`].
    pub others: u64,
}

impl Calls {
    /// All of them.
    pub const fn total(self) -> u64 {
        self.reads + self.others + self.changes()
    }

    /// Those that change something, or make a change durable.
    pub const fn changes(self) -> u64 {
        self.writes + self.cuts + self.syncs + self.folder_syncs + self.names
    }
}

/// What a call does, as far as failing and counting go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Call {
    Read,
    Write,
    Cut,
    Sync,
    FolderSync,
    Name,
    Other,
}

#[derive(Debug, Default)]
struct Inner {
    folder: Folder,
    faults: Faults,
    calls: Calls,
    locked: BTreeSet<String>,
    /// What a failed sync spares of a file.
    dice: Dice,
    /// Who had the folder before the last crash cannot reach it any more.
    life: u64,
}

/// A folder in memory. Clones are handles on the same folder.
#[derive(Clone, Debug, Default)]
pub struct CrashDisk {
    inner: Arc<Mutex<Inner>>,
    life: u64,
}

impl CrashDisk {
    /// What it reads and writes as a whole where it has [worn out](Self::wear_out), in bytes.
    pub const BLOCK_BYTES: u64 = content::BLOCK_BYTES as u64;

    /// An empty folder.
    pub fn new() -> Self {
        Self::default()
    }

    /// Changes what goes wrong.
    pub fn set_faults(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.inner().faults);
    }

    /// How often it was called, since it was made.
    pub fn calls(&self) -> Calls {
        self.inner().calls
    }

    /// The power goes: of what was not synced an arbitrary part survives, drawn from the seed.
    /// Whoever had the folder has lost it; the handle returned has what is left. Nothing is wrong
    /// with the device after that, but that it is as small as it was.
    pub fn crash(&self, seed: u64) -> Self {
        let mut inner = self.inner();
        inner.folder.crash(&mut Dice::new(seed));
        self.next_life(inner)
    }

    /// The process dies and the machine does not: all that was written is there, synced or not.
    pub fn kill(&self) -> Self {
        self.next_life(self.inner())
    }

    fn next_life(&self, mut inner: MutexGuard<'_, Inner>) -> Self {
        inner.life += 1;
        inner.locked.clear();
        inner.faults = Faults {
            capacity_bytes: inner.faults.capacity_bytes,
            ..Faults::default()
        };
        Self {
            inner: Arc::clone(&self.inner),
            life: inner.life,
        }
    }

    /// Another folder with the same files, everything in it durable: a backup.
    pub fn copy(&self) -> Self {
        let folder = self.inner().folder.copy();
        Self {
            inner: Arc::new(Mutex::new(Inner {
                folder,
                ..Inner::default()
            })),
            life: 0,
        }
    }

    /// Flips one bit of a file, on the device; what lies beyond its end is left alone.
    pub fn flip_bit(&self, name: &str, position: u64, bit: u8) {
        if let Some(node) = self.inner().folder.get(name) {
            content(node).flip(position as usize, 1 << (bit % 8));
        }
    }

    /// The device does not give the block of 4 KiB back any more in which a byte of a file is, until
    /// somebody writes all of it. To write a part of it, a system would read the rest first, and fails.
    pub fn wear_out(&self, name: &str, position: u64) {
        if let Some(node) = self.inner().folder.get(name) {
            content(node).wear_out(position as usize);
        }
    }

    /// What a file holds; `None` if there is none of that name.
    pub fn contents(&self, name: &str) -> Option<Vec<u8>> {
        let inner = self.inner();
        let node = inner.folder.get(name)?;
        let bytes = content(node).cached().to_vec();
        Some(bytes)
    }

    /// Puts a file there, durable, in place of whatever had the name.
    pub fn put(&self, name: &str, bytes: Vec<u8>) {
        self.inner().folder.put(name, bytes);
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no call of a disk panics")
    }

    fn call(&self, call: Call) -> Result<MutexGuard<'_, Inner>> {
        let mut inner = self.inner();
        inner.call(call, self.life)?;
        Ok(inner)
    }
}

impl Inner {
    fn call(&mut self, call: Call, life: u64) -> Result<()> {
        if life != self.life {
            return Err(Error::other("the machine has crashed since"));
        }
        let changes = self.calls.changes();
        let is_stopped = |stop: u64| changes >= stop && !matches!(call, Call::Read | Call::Other);
        if self.faults.changes_before_stop.is_some_and(is_stopped) {
            self.life += 1;
            return Err(Error::other("the power has gone"));
        }
        self.count(call);
        if let Some(calls) = &mut self.faults.calls_before_failure {
            let Some(left) = calls.checked_sub(1) else {
                self.faults.calls_before_failure = None;
                return Err(Error::other("an input/output error on command"));
            };
            *calls = left;
        }
        let fails = match call {
            Call::Read => self.faults.fail_reads,
            Call::Write => self.faults.fail_writes,
            Call::Cut | Call::Sync | Call::FolderSync | Call::Name | Call::Other => false,
        };
        if fails {
            return Err(Error::other("an input/output error on command"));
        }
        let changes_something = !matches!(call, Call::Read | Call::Other | Call::Sync);
        if self.faults.read_only && changes_something {
            return Err(Error::from(ErrorKind::ReadOnlyFilesystem));
        }
        Ok(())
    }

    const fn count(&mut self, call: Call) {
        let count = match call {
            Call::Read => &mut self.calls.reads,
            Call::Write => &mut self.calls.writes,
            Call::Cut => &mut self.calls.cuts,
            Call::Sync => &mut self.calls.syncs,
            Call::FolderSync => &mut self.calls.folder_syncs,
            Call::Name => &mut self.calls.names,
            Call::Other => &mut self.calls.others,
        };
        *count += 1;
    }

    /// Refuses a file's growth that does not fit.
    fn grow(&self, before: usize, after: usize) -> Result<()> {
        match self.free_bytes() {
            Some(free) if after > before && (after - before) as u64 > free => {
                Err(Error::from(ErrorKind::StorageFull))
            }
            _ => Ok(()),
        }
    }

    fn free_bytes(&self) -> Option<u64> {
        let capacity = self.faults.capacity_bytes?;
        let used: usize = self.folder.nodes().map(|n| content(n).cached().len()).sum();
        Some(capacity.saturating_sub(used as u64))
    }

    fn check_opens(&self) -> Result<()> {
        match self.faults.fail_opens {
            true => Err(Error::other("too many open files")),
            false => Ok(()),
        }
    }
}

impl Disk for CrashDisk {
    type File = CrashFile;
    type Lock = CrashLock;

    fn list(&self) -> Result<Vec<String>> {
        Ok(self.call(Call::Other)?.folder.names().cloned().collect())
    }

    fn open(&self, name: &str) -> Result<CrashFile> {
        let inner = self.call(Call::Other)?;
        let node = inner.folder.get(name).ok_or(ErrorKind::NotFound)?;
        inner.check_opens()?;
        Ok(self.file(node))
    }

    fn create(&self, name: &str) -> Result<CrashFile> {
        let mut inner = self.call(Call::Name)?;
        inner.check_opens()?;
        if inner.folder.get(name).is_some() {
            return Err(Error::from(ErrorKind::AlreadyExists));
        }
        let node = inner.folder.create(name);
        Ok(self.file(&node))
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        let mut inner = self.call(Call::Name)?;
        inner.folder.get(from).ok_or(ErrorKind::NotFound)?;
        inner.folder.rename(from, to);
        Ok(())
    }

    fn remove(&self, name: &str) -> Result<()> {
        let mut inner = self.call(Call::Name)?;
        inner.folder.get(name).ok_or(ErrorKind::NotFound)?;
        inner.folder.remove(name);
        Ok(())
    }

    fn sync_folder(&self) -> Result<()> {
        self.call(Call::FolderSync)?.folder.sync();
        Ok(())
    }

    /// Asking counts as no call, and never fails.
    fn free_bytes(&self) -> Option<u64> {
        let inner = self.inner();
        match inner.faults.hide_free_bytes {
            true => None,
            false => inner.free_bytes(),
        }
    }

    fn lock(&self, name: &str, holder: &str) -> std::result::Result<CrashLock, LockError> {
        let mut inner = self.call(Call::Other).map_err(LockError::Io)?;
        if inner.faults.read_only && inner.folder.get(name).is_none() {
            return Err(LockError::Io(Error::from(ErrorKind::ReadOnlyFilesystem)));
        }
        if !inner.locked.insert(name.to_owned()) {
            let by = inner.folder.get(name).map(|node| {
                let by = content(node).cached().to_vec();
                String::from_utf8_lossy(&by).into_owned()
            });
            return Err(LockError::Held {
                by: by.unwrap_or_default(),
            });
        }
        if !inner.faults.read_only {
            inner.folder.put(name, holder.as_bytes().to_vec());
        }
        Ok(CrashLock {
            disk: self.clone(),
            name: name.to_owned(),
        })
    }

    fn describe(&self) -> String {
        "memory".to_owned()
    }
}

impl CrashDisk {
    fn inner_of_this_life(&self) -> Result<MutexGuard<'_, Inner>> {
        let inner = self.inner();
        if inner.life == self.life {
            Ok(inner)
        } else {
            Err(Error::other("the machine has crashed since"))
        }
    }

    fn file(&self, node: &Node) -> CrashFile {
        CrashFile {
            disk: self.clone(),
            node: Arc::clone(node),
        }
    }
}

/// A locked file of a [`CrashDisk`].
#[derive(Debug)]
pub struct CrashLock {
    disk: CrashDisk,
    name: String,
}

impl Drop for CrashLock {
    fn drop(&mut self) {
        let mut inner = self.disk.inner();
        if inner.life == self.disk.life {
            inner.locked.remove(&self.name);
        }
    }
}

/// A file of a [`CrashDisk`].
#[derive(Debug)]
pub struct CrashFile {
    disk: CrashDisk,
    node: Node,
}

impl DiskFile for CrashFile {
    fn read_at(&self, bytes: &mut [u8], position: u64) -> Result<()> {
        let inner = self.disk.call(Call::Read)?;
        let content = content(&self.node);
        let position_end = (position as usize).saturating_add(bytes.len());
        if content.is_worn_out(position as usize..position_end) {
            return Err(unreadable());
        }
        let there = content.cached().get(position as usize..).unwrap_or(&[]);
        let mut count = there.len().min(bytes.len());
        if inner.faults.short_reads {
            count /= 2;
        }
        bytes[..count].copy_from_slice(&there[..count]);
        if count < bytes.len() {
            return Err(Error::from(ErrorKind::UnexpectedEof));
        }
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> Result<()> {
        let position = position as usize;
        let inner = match self.disk.call(Call::Write) {
            Ok(inner) => inner,
            Err(error) => {
                let _inner = self.disk.inner_of_this_life()?;
                content(&self.node).write(position, &bytes[..bytes.len() / 2]);
                return Err(error);
            }
        };
        if !content(&self.node).takes(position..position + bytes.len()) {
            return Err(unreadable());
        }
        let before = content(&self.node).cached().len();
        inner.grow(before, before.max(position + bytes.len()))?;
        content(&self.node).write(position, bytes);
        Ok(())
    }

    fn len(&self) -> Result<u64> {
        let _inner = self.disk.call(Call::Other)?;
        Ok(content(&self.node).cached().len() as u64)
    }

    fn set_len(&self, len: u64) -> Result<()> {
        let inner = self.disk.call(Call::Cut)?;
        let before = content(&self.node).cached().len();
        inner.grow(before, len as usize)?;
        content(&self.node).set_len(len as usize);
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        let called = self.disk.call(Call::Sync).map(drop);
        let mut inner = self.disk.inner_of_this_life()?;
        if called.is_err() || inner.faults.fail_syncs {
            let mut dice = Dice::new(inner.dice.roll());
            content(&self.node).fail_sync(&mut dice);
            return called.and(Err(Error::other("syncing fails on command")));
        }
        content(&self.node).sync();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
