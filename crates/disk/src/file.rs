//! A folder of the file system.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::{Disk, DiskFile, LockError};

/// What is read of a lock file to say who holds it, in bytes.
const HOLDER_BYTES_MAX: u64 = 200;

/// A folder of the file system. Cheap to clone.
#[derive(Clone, Debug)]
pub struct FileDisk {
    folder: Arc<Path>,
}

impl FileDisk {
    /// The folder, which must exist.
    pub fn open(folder: impl Into<PathBuf>) -> io::Result<Self> {
        let folder = folder.into();
        if !fs::metadata(&folder)?.is_dir() {
            return Err(io::Error::from(io::ErrorKind::NotADirectory));
        }
        Ok(Self {
            folder: folder.into(),
        })
    }

    /// The folder, which is made, with those above it, if it does not exist. What is made is durable
    /// then; one that was there is, as far as the folder around it may be synced.
    pub fn create(folder: impl Into<PathBuf>) -> io::Result<Self> {
        let folder = folder.into();
        make_durable(&folder, sync_names)?;
        Self::open(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

impl Disk for FileDisk {
    type File = OsFile;
    type Lock = FileLock;

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            if entry.file_type()?.is_file()
                && let Ok(name) = entry.file_name().into_string()
            {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn open(&self, name: &str) -> io::Result<OsFile> {
        let path = self.path(name);
        match OpenOptions::new().read(true).write(true).open(&path) {
            Err(error) if is_read_only(&error) => File::open(&path),
            opened => opened,
        }
        .map(OsFile)
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        fs::read(self.path(name))
    }

    fn create(&self, name: &str) -> io::Result<OsFile> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true);
        restrict(&mut options);
        options.open(self.path(name)).map(OsFile)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path(name))
    }

    fn sync_folder(&self) -> io::Result<()> {
        sync_names(&self.folder)
    }

    fn free_bytes(&self) -> Option<u64> {
        free_bytes(&self.folder)
    }

    fn lock(&self, name: &str, holder: &str) -> Result<FileLock, LockError> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true);
        restrict(&mut options);
        let mut file = match options.open(self.path(name)) {
            Err(error) if is_read_only(&error) => File::open(self.path(name)),
            opened => opened,
        }
        .map_err(LockError::Io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(LockError::Held {
                    by: holder_in(&file),
                });
            }
            Err(TryLockError::Error(error)) => return Err(LockError::Io(error)),
        }
        // What stands in the file helps people and is relied on by nobody: a folder that can only
        // be read is locked all the same.
        let _ = file
            .set_len(0)
            .and_then(|()| file.write_all(holder.as_bytes()));
        Ok(FileLock { _file: file })
    }

    fn describe(&self) -> String {
        self.folder.display().to_string()
    }
}

/// A locked file of the file system.
#[derive(Debug)]
pub struct FileLock {
    _file: File,
}

/// A file of the file system.
#[derive(Debug)]
pub struct OsFile(File);

impl DiskFile for OsFile {
    fn read_at(&self, bytes: &mut [u8], position: u64) -> io::Result<()> {
        positioned::read(&self.0, bytes, position)
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        positioned::write(&self.0, bytes, position)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}

fn is_read_only(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
    )
}

fn holder_in(mut file: &File) -> String {
    let mut bytes = Vec::new();
    let read = file
        .rewind()
        .and_then(|()| file.take(HOLDER_BYTES_MAX).read_to_end(&mut bytes));
    match read {
        Ok(_) => String::from_utf8_lossy(&bytes).trim().to_owned(),
        Err(_) => String::new(),
    }
}

/// What is logged is nobody's business but the owner's.
#[cfg(unix)]
fn restrict(options: &mut OpenOptions) {
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
}

#[cfg(not(unix))]
fn restrict(_: &mut OpenOptions) {}

/// Makes a folder, and those above it, one after the other, each of which is durable before there is
/// anything in it; `sync` makes the names in a folder durable.
fn make_durable(folder: &Path, sync: impl Fn(&Path) -> io::Result<()>) -> io::Result<()> {
    let is_missing = |folder: &&Path| !folder.as_os_str().is_empty() && !folder.exists();
    let missing: Vec<&Path> = folder.ancestors().take_while(is_missing).collect();
    let found = missing
        .last()
        .map_or(folder, |outermost| outermost.parent().unwrap_or(folder));
    // Whoever made it may have been interrupted before this. Where it may not be done, nobody of ours has
    // made it: the folder around may be closed to us, be read-only, or lie on another device.
    let _ = sync(&found.join(".."));
    for new in missing.into_iter().rev() {
        fs::create_dir_all(new)?;
        sync(new.parent().unwrap_or(Path::new("")))?;
    }
    Ok(())
}

/// What is kept for the system's administrator counts as taken: who runs as one leaves it alone as well.
#[cfg(unix)]
fn free_bytes(folder: &Path) -> Option<u64> {
    let told = rustix::fs::statvfs(folder).ok()?;
    // A file system that does not count its blocks has none.
    (told.f_blocks > 0).then(|| told.f_bavail.saturating_mul(told.f_frsize))
}

#[cfg(not(unix))]
fn free_bytes(_: &Path) -> Option<u64> {
    None
}

#[cfg(unix)]
fn sync_names(folder: &Path) -> io::Result<()> {
    let folder = match folder.as_os_str().is_empty() {
        true => Path::new("."),
        false => folder,
    };
    File::open(folder)?.sync_all()
}

/// Elsewhere a folder cannot be opened as a file; its names are journalled.
#[cfg(not(unix))]
fn sync_names(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(unix)]
mod positioned {
    use std::fs::File;
    use std::io;
    use std::os::unix::fs::FileExt as _;

    pub(super) fn read(file: &File, bytes: &mut [u8], position: u64) -> io::Result<()> {
        file.read_exact_at(bytes, position)
    }

    pub(super) fn write(file: &File, bytes: &[u8], position: u64) -> io::Result<()> {
        file.write_all_at(bytes, position)
    }
}

#[cfg(windows)]
mod positioned {
    use std::fs::File;
    use std::io;
    use std::os::windows::fs::FileExt as _;

    pub(super) fn read(file: &File, mut bytes: &mut [u8], mut position: u64) -> io::Result<()> {
        while !bytes.is_empty() {
            let count = file.seek_read(bytes, position)?;
            if count == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
            }
            bytes = &mut bytes[count..];
            position += count as u64;
        }
        Ok(())
    }

    pub(super) fn write(file: &File, mut bytes: &[u8], mut position: u64) -> io::Result<()> {
        while !bytes.is_empty() {
            let count = file.seek_write(bytes, position)?;
            bytes = &bytes[count..];
            position += count as u64;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// What became of making a folder in an empty one.
    struct Made {
        outcome: io::Result<()>,
        /// What was synced, in order, by its path in the empty folder.
        synced: Vec<String>,
    }

    impl Made {
        /// `there` was there before; syncing fails if `fails` says so.
        fn new(there: &str, folder: &str, fails: bool) -> Self {
            let temporary = tempfile::tempdir().expect("it can be made");
            let root = fs::canonicalize(temporary.path()).expect("it is there");
            fs::create_dir_all(root.join(there)).expect("it can be made");
            let synced = RefCell::new(Vec::new());
            let outcome = make_durable(&root.join(folder), |folder| {
                let path = fs::canonicalize(folder).expect("it is there");
                let path = path.strip_prefix(&root).map_or("above", text);
                synced.borrow_mut().push(path.to_owned());
                match fails {
                    true => Err(io::Error::from(io::ErrorKind::PermissionDenied)),
                    false => Ok(()),
                }
            });
            let synced = synced.into_inner();
            Self { outcome, synced }
        }
    }

    fn text(path: &Path) -> &str {
        path.to_str().expect("UTF-8")
    }

    #[test]
    fn a_folder_that_an_earlier_start_made_is_durable_before_it_is_used() {
        let made = Made::new("a/b", "a/b", false);
        made.outcome.expect("it is there");
        assert_eq!(made.synced, ["a"]);
    }

    #[test]
    fn folders_that_are_made_are_durable_one_after_the_other_and_so_is_the_one_around_them() {
        let made = Made::new("a", "a/b/c", false);
        made.outcome.expect("they can be made");
        assert_eq!(made.synced, ["", "a", "a/b"]);
    }

    #[test]
    fn the_folder_around_one_that_is_there_may_be_closed_and_around_a_new_one_not() {
        let made = Made::new("a", "a", true);
        made.outcome.expect("it is there");
        let made = Made::new("", "a", true);
        let error = made.outcome.expect_err("it would not be durable");
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        assert_eq!(made.synced, ["above", ""]);
    }

    #[test]
    fn the_system_tells_what_is_free() {
        let disk = FileDisk::open(std::env::temp_dir()).expect("it is there");
        assert_eq!(disk.free_bytes().is_some(), cfg!(unix));
    }
}
