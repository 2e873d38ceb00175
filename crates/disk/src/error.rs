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

/// What the system calls bytes that the device does not give back: a broken sector, or one that does
/// not match its checksum. It has tried again by itself before it says so.
#[cfg(target_os = "linux")]
const UNREADABLE: &[i32] = &[
    5,  /* EIO */
    61, /* ENODATA */
    74, /* EBADMSG */
    84, /* EILSEQ */
];
#[cfg(all(unix, not(target_os = "linux")))]
const UNREADABLE: &[i32] = &[5 /* EIO */];
#[cfg(not(unix))]
const UNREADABLE: &[i32] = &[1117 /* ERROR_IO_DEVICE */, 23 /* ERROR_CRC */];

/// Whether an error of reading says that the device has lost these bytes, whoever asks for them. All
/// else (no file handle left, no permission) says nothing of what stands there.
pub fn is_unreadable(error: &io::Error) -> bool {
    error
        .raw_os_error()
        .is_some_and(|code| UNREADABLE.contains(&code))
}

/// Such an error.
pub(crate) fn unreadable() -> io::Error {
    io::Error::from_raw_os_error(UNREADABLE[0])
}

impl From<FileError> for io::Error {
    /// Of the same kind, and with the same words.
    fn from(error: FileError) -> Self {
        Self::new(error.source.kind(), error)
    }
}
