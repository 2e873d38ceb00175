//! A folder of files, as the log sees it.
//!
//! [`Disk`] is one folder, [`DiskFile`] one file in it. What is written may be lost by a crash until
//! it is synced: the bytes of a file by [`DiskFile::sync`], the names in the folder (created, renamed,
//! removed) by [`Disk::sync_folder`]. Nothing else is promised, and the log relies on nothing else.
//!
//! [`FileDisk`] is a folder of the file system; [`CrashDisk`] is one in memory that crashes, fails
//! and fills up on command, the same way each time. [`Spread`] says how work on several files is
//! spread over threads, [`replace()`] puts a whole file in place of another.

mod crash;
mod error;
mod file;
mod replace;
mod spread;

use std::{fmt, io};

pub use crash::{Calls, CrashDisk, CrashFile, CrashLock, Dice, Faults};
pub use error::{FileError, is_unreadable};
pub use file::{FileDisk, FileLock, OsFile};
pub use replace::{TEMPORARY, replace, replace_by};
pub use spread::{InTurn, Spread, Threads};

/// One folder of files.
pub trait Disk: fmt::Debug + Clone + Send + Sync + 'static {
    /// A file of the folder.
    type File: DiskFile;
    /// Keeps others from locking the same file, as long as it lives.
    type Lock: fmt::Debug + Send + Sync + 'static;

    /// The names of all files, in no order.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Opens a file to read and, unless it may only be read, to write.
    fn open(&self, name: &str) -> io::Result<Self::File>;

    /// All that a file holds.
    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let file = self.open(name)?;
        let mut bytes = vec![0; file.len()? as usize];
        file.read_at(&mut bytes, 0)?;
        Ok(bytes)
    }

    /// Creates an empty file; an existing one is an error.
    fn create(&self, name: &str) -> io::Result<Self::File>;

    /// Gives a file another name, in place of whatever had that name.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file; who has it open may go on reading it.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes the folder's names durable.
    fn sync_folder(&self) -> io::Result<()>;

    /// How many bytes files of the folder may still take, as far as anybody can tell: a quota may be
    /// smaller, and somebody else may take them first. `None` where nobody tells.
    fn free_bytes(&self) -> Option<u64>;

    /// Locks a file, which is created if need be, and leaves `holder` in it for others to read. The
    /// lock ends with the process at the latest.
    fn lock(&self, name: &str, holder: &str) -> Result<Self::Lock, LockError>;

    /// The folder's name, for messages.
    fn describe(&self) -> String;
}

/// One open file. Reading and writing say where, so that many may do it at once.
pub trait DiskFile: fmt::Debug + Send + Sync + 'static {
    /// Fills `bytes` from `position` on; less than that is there is an error of the kind
    /// [`UnexpectedEof`](io::ErrorKind::UnexpectedEof).
    fn read_at(&self, bytes: &mut [u8], position: u64) -> io::Result<()>;

    /// Writes all of `bytes` at `position`, making the file longer if need be.
    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()>;

    /// The file's length, in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Cuts the file, or makes it longer by zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Makes durable what was written, and what reading it back needs (as `fdatasync` does).
    fn sync(&self) -> io::Result<()>;

    /// Whether the file holds nothing.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// Why a file was not locked.
#[derive(Debug)]
pub enum LockError {
    /// Somebody has it.
    Held {
        /// What they left in the file; empty when that cannot be read.
        by: String,
    },
    /// The file could not be made or opened.
    Io(io::Error),
}
