//! What can go wrong with a file.

use std::io;

use crate::Disk;

/// What was done with which file when the system refused.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing} {file}: {source}")]
pub struct FileError {
    /// What was to be done: `read`, `write`, `create`.
    pub doing: &'static str,
    /// The file's name, with its folder; the folder alone where that is what it was done with.
    pub file: String,
    /// What the system says.
    pub source: io::Error,
}

impl FileError {
    /// That was to be done with that file of the folder.
    pub fn new(disk: &impl Disk, doing: &'static str, name: &str, source: io::Error) -> Self {
        Self {
            doing,
            file: format!("{}/{name}", disk.describe()),
            source,
        }
    }

    /// That was to be done with the folder.
    pub fn of_folder(disk: &impl Disk, doing: &'static str, source: io::Error) -> Self {
        Self {
            doing,
            file: disk.describe(),
            source,
        }
    }

    /// Whether there is no room for it.
    pub fn is_no_space(&self) -> bool {
        matches!(
            self.source.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
        )
    }

    /// Whether the folder, or the file, may only be read.
    pub fn is_read_only(&self) -> bool {
        matches!(
            self.source.kind(),
            io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied
        )
    }
}

impl From<FileError> for io::Error {
    /// Of the same kind, and with the same words.
    fn from(error: FileError) -> Self {
        Self::new(error.source.kind(), error)
    }
}
