//! The cursors of webhooks in a file beside the log.
//!
//! ```text
//!   HOOK                              the webhook is known, whether or not it has topics
//!   HOOK <tab> TOPIC <tab> CURSOR     what its receiver has taken of a topic
//! ```
//!
//! A crash leaves the file before, and what was delivered since is delivered again. One that cannot be
//! read stops the start: to begin anywhere else would lose messages, or say so of ones that are not
//! lost.

use std::collections::BTreeMap;
use std::io;

use heartwire_disk::Disk;
use heartwire_proto::{Cursor, TopicName};

use crate::sealed::Sealed;

const FILE: Sealed = Sealed {
    name: "webhook-cursors",
    head: "heartwire webhook cursors 1",
    // Ten webhooks with a hundred thousand topics each.
    bytes_max: 512 << 20,
    remedy: "then every webhook begins as a new one, with what comes",
};

/// The cursors of each webhook, by its name. Webhooks that are not configured any more are among
/// them: who configures one again goes on where it was.
pub(crate) type Cursors = BTreeMap<String, Vec<(TopicName, Cursor)>>;

/// Reads the cursors; none when there is no file.
pub(crate) fn read(disk: &impl Disk) -> io::Result<Cursors> {
    let mut cursors = Cursors::new();
    for line in FILE.read(disk)?.lines() {
        let wrong = || FILE.damaged("a line makes no sense");
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

/// Puts them there, durably, in place of those before.
pub(crate) fn write(disk: &impl Disk, cursors: &Cursors) -> io::Result<()> {
    let mut lines = String::new();
    for (hook, topics) in cursors {
        lines.push_str(&format!("{hook}\n"));
        for (topic, cursor) in topics {
            lines.push_str(&format!("{hook}\t{}\t{cursor}\n", topic.as_str()));
        }
    }
    FILE.write(disk, &lines)
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
    fn a_line_that_makes_no_sense_is_damage() {
        let disk = CrashDisk::new();
        for line in ["*\tinbox\n", "*\t-\tzl4soiwp.1\n", "*\tinbox\tzl4soiwp\n"] {
            FILE.write(&disk, line).expect("it is written");
            assert!(read(&disk).is_err(), "{line:?}");
        }
    }
}
