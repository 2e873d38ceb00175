//! A small file beside the log: lines of text, under a name for their form and over a checksum.
//!
//! ```text
//!   heartwire webhook cursors 1       what it is, and the version of its form
//!   …                                 the lines
//!   crc32c 0a1b2c3d                   of everything before
//! ```
//!
//! It is replaced as a whole: a crash leaves the one before or the new one. One that cannot be read is
//! an error, and never taken for an empty one.

use std::io;

use heartwire_disk::{Disk, DiskFile as _, TEMPORARY, replace};

const CHECKSUM: &str = "crc32c ";

/// Which file.
pub(crate) struct Sealed {
    /// Its name.
    pub(crate) name: &'static str,
    /// Its first line.
    pub(crate) head: &'static str,
    /// The largest that is read, in bytes.
    pub(crate) bytes_max: u64,
    /// What somebody may do who finds it damaged.
    pub(crate) remedy: &'static str,
}

impl Sealed {
    /// Its lines; none when there is no file. Whoever asks has the folder for itself: what a process was
    /// writing when it ended is removed.
    pub(crate) fn read(&self, disk: &impl Disk) -> io::Result<String> {
        // It is usually not there, and only takes space.
        let _ = disk.remove(&format!("{}{TEMPORARY}", self.name));
        let file = match disk.open(self.name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(String::new()),
            opened => opened?,
        };
        let length = file.len()?;
        if length > self.bytes_max {
            return Err(self.damaged("it is too large"));
        }
        let mut bytes = vec![0; length as usize];
        file.read_at(&mut bytes, 0)?;
        self.parse(bytes)
    }

    /// Puts these lines there, durably, in place of those before.
    pub(crate) fn write(&self, disk: &impl Disk, lines: &str) -> io::Result<()> {
        let text = self.encode(lines);
        replace(disk, self.name, |file| file.write_at(text.as_bytes(), 0))?;
        Ok(())
    }

    fn encode(&self, lines: &str) -> String {
        let mut text = format!("{}\n{lines}", self.head);
        let checksum = crc32c::crc32c(text.as_bytes());
        text.push_str(&format!("{CHECKSUM}{checksum:08x}\n"));
        text
    }

    fn parse(&self, bytes: Vec<u8>) -> io::Result<String> {
        let text = String::from_utf8(bytes).map_err(|_| self.damaged("it is not text"))?;
        let end = text
            .trim_end_matches('\n')
            .rfind('\n')
            .map_or(0, |at| at + 1);
        let (body, checksum) = text.split_at(end);
        if checksum != format!("{CHECKSUM}{:08x}\n", crc32c::crc32c(body.as_bytes())) {
            return Err(self.damaged("its checksum is wrong"));
        }
        let lines = body
            .strip_prefix(self.head)
            .and_then(|rest| rest.strip_prefix('\n'));
        let lines = lines.ok_or_else(|| self.damaged("it is of another version"))?;
        Ok(lines.to_owned())
    }

    /// The error that says so.
    pub(crate) fn damaged(&self, how: &str) -> io::Error {
        let Self { name, remedy, .. } = self;
        let message = format!("{name} is damaged: {how}; restore it, or remove it: {remedy}");
        io::Error::new(io::ErrorKind::InvalidData, message)
    }
}

#[cfg(test)]
mod tests {
    use heartwire_disk::CrashDisk;

    use super::*;

    const FILE: Sealed = Sealed {
        name: "file",
        head: "a file 1",
        bytes_max: 1_000,
        remedy: "then there is none",
    };

    #[test]
    fn every_flipped_bit_is_noticed() {
        let whole = FILE.encode("one\ntwo\n").into_bytes();
        assert_eq!(FILE.parse(whole.clone()).expect("whole"), "one\ntwo\n");
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(FILE.parse(flipped).is_err(), "bit {bit}");
        }
        for length in 0..whole.len() {
            assert!(
                FILE.parse(whole[..length].to_vec()).is_err(),
                "{length} bytes"
            );
        }
    }

    #[test]
    fn what_is_another_file_or_too_large_is_refused() {
        let disk = CrashDisk::new();
        assert_eq!(FILE.read(&disk).expect("there is none"), "");
        let other = Sealed {
            head: "a file 2",
            ..FILE
        };
        for (written, lines) in [(&other, String::new()), (&FILE, "x".repeat(1_000))] {
            written.write(&disk, &lines).expect("it is written");
            let error = FILE.read(&disk).expect_err("it is not read").to_string();
            let remedy = "restore it, or remove it: then there is none";
            assert!(error.ends_with(remedy), "{error}");
        }
    }

    /// Wherever the process ends or the machine loses its power, there is the file before or the new
    /// one; once it is said to be written, it is the new one.
    #[test]
    fn a_crash_leaves_the_one_or_the_other() {
        let mut seen = [false; 2];
        for (changes, seed) in (0..8).flat_map(|changes| (0..50).map(move |seed| (changes, seed))) {
            let disk = CrashDisk::new();
            FILE.write(&disk, "1\n").expect("it is written");
            let stop = disk.calls().changes() + changes;
            disk.set_faults(|faults| faults.changes_before_stop = Some(stop));
            let is_written = FILE.write(&disk, "2\n").is_ok();
            let disk = match seed {
                0 => disk.kill(),
                _ => disk.crash(seed),
            };
            let is_new = FILE.read(&disk).expect("it is whole") == "2\n";
            assert!(is_new || !is_written, "{changes} changes, seed {seed}");
            seen[usize::from(is_new)] = true;
            assert!(!disk.list().expect("it works").contains(&"file.tmp".into()));
            FILE.write(&disk, "3\n")
                .expect("what was left over is no hindrance");
        }
        assert_eq!(seen, [true; 2]);
    }
}
