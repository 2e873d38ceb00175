//! The cursors of webhooks in a file beside the log.
//!
//! ```text
//!   heartwire webhook cursors 1
//!   HOOK                              the webhook is known, whether or not it has topics
//!   HOOK <tab> TOPIC <tab> CURSOR     what its receiver has taken of a topic
//!   crc32c 0a1b2c3d                   of everything before
//! ```
//!
//! The file is replaced as a whole: a crash leaves the one before, and what was delivered since is
//! delivered again. One that cannot be read stops the start: to begin anywhere else would lose
//! messages, or say so of ones that are not lost.

use std::collections::BTreeMap;
use std::io;

use heartwire_disk::{Disk, DiskFile as _};
use heartwire_proto::{Cursor, TopicName};

/// The name of the file.
pub(super) const FILE: &str = "webhook-cursors";
/// While it is being written. The log removes files that end like this when it is opened.
const TEMPORARY: &str = "webhook-cursors.tmp";
const HEAD: &str = "heartwire webhook cursors 1";
const CHECKSUM: &str = "crc32c ";
/// The largest file that is read, in bytes: ten webhooks with a hundred thousand topics each.
const FILE_BYTES_MAX: u64 = 512 << 20;

/// The cursors of each webhook, by its name. Webhooks that are not configured any more are among
/// them: who configures one again goes on where it was.
pub(crate) type Cursors = BTreeMap<String, Vec<(TopicName, Cursor)>>;

/// Reads the cursors; none when there is no file.
pub(crate) fn read(disk: &impl Disk) -> io::Result<Cursors> {
    let file = match disk.open(FILE) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Cursors::new()),
        opened => opened?,
    };
    let length = file.len()?;
    if length > FILE_BYTES_MAX {
        return Err(damaged("it is too large"));
    }
    let mut bytes = vec![0; length as usize];
    file.read_at(&mut bytes, 0)?;
    parse(&bytes)
}

/// Puts them there, durably, in place of those before.
pub(crate) fn write(disk: &impl Disk, cursors: &Cursors) -> io::Result<()> {
    let file = match disk.create(TEMPORARY) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            disk.remove(TEMPORARY)?;
            disk.create(TEMPORARY)?
        }
        created => created?,
    };
    file.write_at(encode(cursors).as_bytes(), 0)?;
    file.sync()?;
    disk.rename(TEMPORARY, FILE)?;
    disk.sync_folder()
}

fn encode(cursors: &Cursors) -> String {
    let mut text = format!("{HEAD}\n");
    for (hook, topics) in cursors {
        text.push_str(&format!("{hook}\n"));
        for (topic, cursor) in topics {
            text.push_str(&format!("{hook}\t{}\t{cursor}\n", topic.as_str()));
        }
    }
    let checksum = crc32c::crc32c(text.as_bytes());
    text.push_str(&format!("{CHECKSUM}{checksum:08x}\n"));
    text
}

fn parse(bytes: &[u8]) -> io::Result<Cursors> {
    let text = str::from_utf8(bytes).map_err(|_| damaged("it is not text"))?;
    let end = text
        .trim_end_matches('\n')
        .rfind('\n')
        .map_or(0, |at| at + 1);
    let (body, checksum) = text.split_at(end);
    if checksum != format!("{CHECKSUM}{:08x}\n", crc32c::crc32c(body.as_bytes())) {
        return Err(damaged("its checksum is wrong"));
    }
    let mut lines = body.lines();
    if lines.next() != Some(HEAD) {
        return Err(damaged("it is of another version"));
    }
    let mut cursors = Cursors::new();
    for line in lines {
        let wrong = || damaged("a line makes no sense");
        let mut parts = line.split('\t');
        let hook = parts.next().ok_or_else(wrong)?;
        let topics = cursors.entry(hook.to_owned()).or_default();
        if let Some(topic) = parts.next() {
            let topic = topic.parse().map_err(|_| wrong())?;
            let cursor = parts.next().ok_or_else(wrong)?;
            topics.push((topic, cursor.parse().map_err(|_| wrong())?));
        }
    }
    Ok(cursors)
}

fn damaged(how: &str) -> io::Error {
    let message = format!(
        "{FILE} is damaged: {how}; restore it, or remove it: then every webhook begins as a new one, \
         with what comes"
    );
    io::Error::new(io::ErrorKind::InvalidData, message)
}

#[cfg(test)]
mod tests {
    use heartwire_disk::CrashDisk;

    use super::*;

    fn cursors(offset: u64) -> Cursors {
        let cursor = format!("zl4soiwp.{offset}").parse().expect("a cursor");
        let topics = ["inbox", "news:a"].map(|name| (name.parse().expect("a topic"), cursor));
        [
            ("*".to_owned(), topics.to_vec()),
            ("news:*".to_owned(), Vec::new()),
        ]
        .into()
    }

    #[test]
    fn what_was_written_is_read() {
        let disk = CrashDisk::new();
        assert_eq!(read(&disk).expect("no file"), Cursors::new());
        for offset in [1, 12_345] {
            write(&disk, &cursors(offset)).expect("it is written");
            assert_eq!(read(&disk).expect("it is read"), cursors(offset));
        }
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let whole = encode(&cursors(7)).into_bytes();
        assert!(parse(&whole).is_ok());
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(parse(&flipped).is_err(), "bit {bit}");
        }
        for length in 0..whole.len() {
            assert!(parse(&whole[..length]).is_err(), "{length} bytes");
        }
    }

    /// Wherever the process ends or the machine loses its power, there is the file before or the new
    /// one; once it is said to be written, it is the new one.
    #[test]
    fn a_crash_leaves_the_one_or_the_other() {
        let mut seen = [false; 2];
        for (changes, seed) in (0..8).flat_map(|changes| (0..50).map(move |seed| (changes, seed))) {
            let disk = CrashDisk::new();
            write(&disk, &cursors(1)).expect("it is written");
            let stop = disk.calls().changes() + changes;
            disk.set_faults(|faults| faults.changes_before_stop = Some(stop));
            let is_written = write(&disk, &cursors(2)).is_ok();
            let disk = match seed {
                0 => disk.kill(),
                _ => disk.crash(seed),
            };
            let is_new = read(&disk).expect("it is whole") == cursors(2);
            assert!(is_new || !is_written, "{changes} changes, seed {seed}");
            seen[usize::from(is_new)] = true;
            write(&disk, &cursors(3)).expect("what was left over is no hindrance");
        }
        assert_eq!(seen, [true; 2]);
    }
}
