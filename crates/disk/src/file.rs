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

    /// The folder, which is made, with those above it, if it does not exist.
    pub fn create(folder: impl Into<PathBuf>) -> io::Result<Self> {
        let folder = folder.into();
        let is_new = |folder: &&Path| !folder.as_os_str().is_empty() && !folder.exists();
        let new: Vec<&Path> = folder.ancestors().take_while(is_new).collect();
        fs::create_dir_all(&folder)?;
        for made in new.iter().rev() {
            sync_names(made.parent().unwrap_or(Path::new("")))?;
        }
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
