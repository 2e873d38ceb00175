//! What holds against identities, in a file beside the log: a restart lets nobody back in.
//!
//! ```text
//!   {"kept_out_until_ms":1790000000000,"revoked":[["task:*",1790000000000]],"subject":"ann"}
//! ```
//!
//! It is written before an operator is answered. Ends are told by the wall clock, as the time during
//! which no server runs counts as well. A file that cannot be read stops the start: without it
//! somebody would be let in again unnoticed.

use std::io;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use heartwire_disk::{Disk, FileDisk};
use heartwire_hub::{Now, Pattern, SubjectInfo};
use heartwire_proto::Time;
use serde::{Deserialize, Serialize};

use crate::sealed::Sealed;
use crate::shared::Shared;
use crate::storage::{Place, Storage};
use crate::sync::lock;

const FILE: Sealed = Sealed {
    name: "shut-out",
    head: "heartwire shut out 1",
    // Ten thousand identities, each with as many topics taken from it as are remembered.
    bytes_max: 512 << 20,
    remedy: "then nobody is kept out, and no topic is taken from anybody",
};

/// The longest span that is kept, in milliseconds: what is for ever lasts some 280,000 years.
const SPAN_MS_MAX: u64 = 1 << 53;

/// One line of the file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Held {
    kept_out_until_ms: Option<u64>,
    revoked: Vec<(Topics, u64)>,
    subject: String,
}

/// Topics as they stand in the file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
struct Topics(Pattern);

impl TryFrom<String> for Topics {
    type Error = <Pattern as FromStr>::Err;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse().map(Self)
    }
}

impl From<Topics> for String {
    fn from(topics: Topics) -> Self {
        topics.0.to_string()
    }
}

/// What was read at the start.
pub(crate) struct Kept {
    disk: FileDisk,
    held: Vec<Held>,
}

/// Reads what held when the last process ended; nothing for a log in memory. Blocks.
pub(crate) fn read(place: Option<&Place>) -> io::Result<Option<Kept>> {
    let Some(place) = place else { return Ok(None) };
    let disk = FileDisk::create(place.folder.clone())?;
    let held = lines(&disk)?;
    Ok(Some(Kept { disk, held }))
}

fn lines(disk: &impl Disk) -> io::Result<Vec<Held>> {
    let wrong = |_| FILE.damaged("a line makes no sense");
    let text = FILE.read(disk)?;
    let lines = text.lines().map(serde_json::from_str);
    lines.collect::<Result<_, _>>().map_err(wrong)
}

fn write(disk: &impl Disk, held: &[Held]) -> io::Result<()> {
    let mut lines = String::new();
    for held in held {
        let line = serde_json::to_string(held).map_err(io::Error::other)?;
        lines.push_str(&line);
        lines.push('\n');
    }
    FILE.write(disk, &lines)
}

impl Kept {
    /// What still holds.
    pub(crate) fn subjects(&self, now: Now) -> impl Iterator<Item = SubjectInfo> {
        self.held.iter().filter_map(move |held| held.as_of(now))
    }
}

impl Held {
    fn of(info: &SubjectInfo, now: Now) -> Self {
        let until = |until: Time| now.wall.as_unix_millis() + millis(until.since(now.time));
        let revoked = info.revoked.iter();
        Self {
            kept_out_until_ms: info.kept_out_until.map(until),
            revoked: revoked
                .map(|(topics, end)| (Topics(topics.clone()), until(*end)))
                .collect(),
            subject: info.subject.to_string(),
        }
    }

    /// What has not ended by now, if anything.
    fn as_of(&self, now: Now) -> Option<SubjectInfo> {
        let until = |wall_ms: u64| {
            let left = wall_ms.checked_sub(now.wall.as_unix_millis())?;
            (left > 0).then(|| now.time + Duration::from_millis(left))
        };
        let revoked = self.revoked.iter();
        let info = SubjectInfo {
            subject: self.subject.as_str().into(),
            kept_out_until: self.kept_out_until_ms.and_then(until),
            revoked: revoked
                .filter_map(|(topics, end)| Some((topics.0.clone(), until(*end)?)))
                .collect(),
        };
        (info.kept_out_until.is_some() || !info.revoked.is_empty()).then_some(info)
    }
}

/// A span as it is kept: so long at most that sums have room.
fn millis(span: Duration) -> u64 {
    let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    millis.min(SPAN_MS_MAX)
}

/// The file of a running hub.
#[derive(Default)]
pub(crate) struct ShutOut {
    /// Nothing for a log in memory.
    disk: Option<FileDisk>,
    /// How often something has changed.
    changes: AtomicU64,
    /// How many of the changes are in the file; locked by whoever writes it.
    written: Mutex<u64>,
    /// The file could not be written, and that was logged.
    has_failed: AtomicBool,
}

impl ShutOut {
    pub(crate) fn after(kept: Option<Kept>) -> Self {
        Self {
            disk: kept.map(|kept| kept.disk),
            ..Self::default()
        }
    }

    /// Whether a change is not in the file, as it could not be written.
    pub(crate) fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::Relaxed)
    }

    /// Writes what holds, unless the file says so already. Whoever comes while it is written is served
    /// by one more write, together with all the others.
    fn save(&self, shared: &Shared) -> io::Result<()> {
        let Some(disk) = &self.disk else {
            return Ok(());
        };
        let mut written = lock(&self.written);
        let changes = self.changes.load(Ordering::SeqCst);
        // After the stop the folder may be another process's.
        let is_closed = shared.storage.as_ref().is_some_and(Storage::is_closed);
        if *written == changes || is_closed {
            return Ok(());
        }
        let now = shared.clock.now();
        let infos = shared.lock_hub().subjects(None, usize::MAX);
        let held: Vec<Held> = infos.iter().map(|info| Held::of(info, now)).collect();
        write(disk, &held)?;
        *written = changes;
        Ok(())
    }
}

/// Something has changed: returns when it is in the file. If it cannot be written, that is logged,
/// and tried again by the upkeep.
pub(crate) async fn changed(shared: &Arc<Shared>) {
    shared.shut_out.changes.fetch_add(1, Ordering::SeqCst);
    save(shared.clone()).await;
}

/// Writes what is not in the file.
pub(crate) async fn save(shared: Arc<Shared>) {
    let saving = tokio::task::spawn_blocking(move || {
        let outcome = shared.shut_out.save(&shared);
        let has_failed = &shared.shut_out.has_failed;
        let had_failed = has_failed.swap(outcome.is_err(), Ordering::Relaxed);
        if let (Err(error), false) = (outcome, had_failed) {
            tracing::error!(
                %error,
                "who is shut out cannot be written down: it holds, but a restart would forget it"
            );
        }
    });
    if let Err(error) = saving.await {
        tracing::error!(%error, "who is shut out was not written down");
    }
}

#[cfg(test)]
mod tests {
    use heartwire_disk::CrashDisk;
    use heartwire_proto::WallTime;

    use super::*;

    fn at(time_ms: u64, wall_ms: u64) -> Now {
        Now {
            time: Time::from_millis(time_ms),
            wall: WallTime::from_unix_millis(wall_ms),
            random: 0,
        }
    }

    fn ann() -> SubjectInfo {
        SubjectInfo {
            subject: "ann\n\t\"Ä\"".into(),
            kept_out_until: Some(Time::from_millis(61_000)),
            revoked: vec![("task:*".parse().expect("topics"), Time::from_millis(2_000))],
        }
    }

    #[test]
    fn ends_are_kept_by_the_wall_clock() {
        let disk = CrashDisk::new();
        assert_eq!(lines(&disk).expect("there is none"), []);
        let held = Held::of(&ann(), at(1_000, 1_790_000_000_000));
        write(&disk, std::slice::from_ref(&held)).expect("it is written");
        let read = lines(&disk).expect("it is read");
        assert_eq!(read, [held]);
        // Ten seconds without a server, whose log goes on where it ended.
        let again = read[0].as_of(at(1_500, 1_790_000_010_000));
        let expected = SubjectInfo {
            kept_out_until: Some(Time::from_millis(51_500)),
            revoked: Vec::new(),
            ..ann()
        };
        assert_eq!(again, Some(expected));
        assert_eq!(read[0].as_of(at(1_500, 1_790_000_060_000)), None);
    }

    #[test]
    fn for_ever_is_kept_as_well() {
        let ever = SubjectInfo {
            kept_out_until: Some(Time::from_millis(u64::MAX)),
            ..ann()
        };
        let now = at(1_000, 1_790_000_000_000);
        let again = Held::of(&ever, now).as_of(now).expect("it holds");
        assert!(again.kept_out_until > Some(Time::from_millis(1 << 42)));
    }

    #[test]
    fn a_line_that_makes_no_sense_is_damage() {
        let disk = CrashDisk::new();
        for line in [
            "{}",
            "x",
            r#"{"kept_out_until_ms":null,"revoked":[["a b",1]],"subject":"ann"}"#,
        ] {
            FILE.write(&disk, &format!("{line}\n"))
                .expect("it is written");
            assert!(lines(&disk).is_err(), "{line}");
        }
    }
}
