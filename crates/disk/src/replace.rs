//! Putting a whole file there, durably, in place of another or of none.
//!
//! ```text
//!   create NAME.tmp ──► fill ──► sync ──► rename to NAME ──► sync of the folder
//! ```
//!
//! A crash leaves the file before or the new one, and perhaps one with the ending of [`TEMPORARY`],
//! which nobody needs.

use std::io;

use crate::{Disk, DiskFile as _, FileError};

/// How the name of a file ends that is being made.
pub const TEMPORARY: &str = ".tmp";

/// Puts a file there that `fill` has filled, durably, in place of whatever has the name; returns it.
///
/// After an error the file before may be there or the new one, as after a crash.
pub fn replace<D: Disk>(
    disk: &D,
    name: &str,
    fill: impl FnOnce(&D::File) -> io::Result<()>,
) -> Result<D::File, FileError> {
    let temporary = format!("{name}{TEMPORARY}");
    let error = |doing, source| FileError::new(disk, doing, &temporary, source);
    let created = match disk.create(&temporary) {
        Err(left) if left.kind() == io::ErrorKind::AlreadyExists => {
            disk.remove(&temporary)
                .map_err(|source| error("remove", source))?;
            disk.create(&temporary)
        }
        created => created,
    };
    let file = created.map_err(|source| error("create", source))?;
    replace_by(disk, name, &temporary, file, fill)
}

/// The same by a file that is there already, and open: under the name `by`, which nobody looks for
/// after a crash.
pub fn replace_by<D: Disk>(
    disk: &D,
    name: &str,
    by: &str,
    file: D::File,
    fill: impl FnOnce(&D::File) -> io::Result<()>,
) -> Result<D::File, FileError> {
    if let Err(source) = fill(&file).and_then(|()| file.sync()) {
        // A file that was not finished only takes room.
        let _ = disk.remove(by);
        return Err(FileError::new(disk, "write", by, source));
    }
    let renamed = disk.rename(by, name);
    renamed.map_err(|source| FileError::new(disk, "rename", by, source))?;
    let synced = disk.sync_folder();
    synced.map_err(|source| FileError::of_folder(disk, "sync", source))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CrashDisk;

    /// Wherever the process ends or the machine loses its power, there is the file before or the new
    /// one; once it is said to be there, it is the new one.
    #[test]
    fn a_crash_leaves_the_one_or_the_other() {
        let put = |disk: &CrashDisk, bytes: &[u8]| {
            replace(disk, "file", |file| file.write_at(bytes, 0)).is_ok()
        };
        let mut seen = [false; 2];
        for (changes, seed) in (0..8).flat_map(|changes| (0..50).map(move |seed| (changes, seed))) {
            let disk = CrashDisk::new();
            assert!(put(&disk, b"before"));
            let stop = disk.calls().changes() + changes;
            disk.set_faults(|faults| faults.changes_before_stop = Some(stop));
            let is_put = put(&disk, b"new");
            let disk = match seed {
                0 => disk.kill(),
                _ => disk.crash(seed),
            };
            let held = disk.contents("file").expect("it is there");
            let is_new = held == b"new";
            assert!(
                is_new || held == b"before",
                "{changes} changes, seed {seed}"
            );
            assert!(is_new || !is_put, "{changes} changes, seed {seed}");
            seen[usize::from(is_new)] = true;
            assert!(put(&disk, b"next"), "what was left over is no hindrance");
            assert_eq!(disk.list().expect("a folder"), ["file"]);
        }
        assert_eq!(seen, [true; 2]);
    }

    #[test]
    fn what_does_not_fit_is_not_left_half_made() {
        let disk = CrashDisk::new();
        disk.put("file", b"before".to_vec());
        disk.set_faults(|faults| faults.capacity_bytes = Some(100));
        let error = replace(&disk, "file", |file| file.write_at(&[1; 95], 0)).expect_err("no room");
        assert!(error.is_no_space(), "{error}");
        assert_eq!(error.file, "memory/file.tmp");
        assert_eq!(disk.list().expect("a folder"), ["file"]);
        assert_eq!(disk.contents("file"), Some(b"before".to_vec()));
    }
}
