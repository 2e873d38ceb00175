//! Opening a folder: locked, read, repaired, and what it held handed out.

use heartwire_disk::{Disk, LockError, Spread};

use super::config::{Fresh, Opening, StoreConfig};
use super::error::{FileError, OpenError};
use super::files::{Files, META};
use super::load::{INDEXES, Trust};
use super::meta::Identity;
use super::recover::{self, Read};
use super::recovered::{Lost, Recovered, RecoveredTopic, Report};
use super::repair::{renew_epochs, repair};
use super::share::Topic;
use super::writer::Store;

/// Locks the folder for this process `[DISK-3]`.
fn lock<D: Disk>(files: &Files<D>) -> Result<D::Lock, OpenError> {
    files.lock(&holder()).map_err(|error| match error {
        LockError::Held { by } => held(files, by),
        LockError::Io(source) => files.lock_error(source).into(),
    })
}

/// What the lock file says of this process.
pub(super) fn holder() -> String {
    format!("process {}", std::process::id())
}

pub(super) fn held<D: Disk>(files: &Files<D>, by: String) -> OpenError {
    OpenError::Held {
        folder: files.describe(),
        by: match by.is_empty() {
            true => "another process".to_owned(),
            false => by,
        },
    }
}

pub(super) fn open<D: Disk>(
    disk: D,
    config: StoreConfig,
    fresh: Fresh,
    opening: Opening,
    spread: &impl Spread,
) -> Result<(Store<D>, Recovered), OpenError> {
    config.check()?;
    let files = Files::new(disk);
    let lock = lock(&files)?;
    let trust = match opening {
        Opening::Careful => Trust::Indexes {
            verified_bytes_max: config.verified_bytes_max,
        },
        Opening::AcceptDataLoss => Trust::Nothing,
    };
    let mut read = match recover::read(&files, trust, spread)? {
        Some(read) => read,
        None => create(&files, fresh)?,
    };
    if !read.damage.is_empty() && opening == Opening::Careful {
        return Err(OpenError::Damaged {
            folder: files.describe(),
            damage: read.damage,
        });
    }
    let renewed = repair(&files, &mut read, &config, fresh.epochs)?;
    let store = Store::new(files, lock, config, &read);
    Ok((store, recovered(read, &renewed)))
}

/// Makes a new log.
fn create<D: Disk>(files: &Files<D>, fresh: Fresh) -> Result<Read, FileError> {
    let identity = Identity::from(fresh);
    files.put(META, &identity.encode_meta())?;
    Ok(Read::empty(identity))
}

fn recovered(mut read: Read, renewed: &[Topic]) -> Recovered {
    let is_accepted = !read.damage.is_empty();
    let torn = read.torn_damage();
    let topics = read.state.take_topics();
    let mut producers: Vec<_> = read.state.producers.into_iter().collect();
    producers.sort_unstable_by_key(|(id, _)| *id);
    let lost = match is_accepted {
        true => topics.iter().flat_map(losses).collect(),
        false => Vec::new(),
    };
    Recovered {
        log: read.identity.log,
        key: read.identity.key,
        log_time: read.state.time,
        producers: producers
            .into_iter()
            .map(|(id, (seq, time))| (id, seq, time))
            .collect(),
        segments: read.state.segments.into_values().collect(),
        report: Report {
            torn,
            rebuilt: read.rebuilt,
            producers_lost: !read.marks.is_empty() || read.checkpoints_lost,
            accepted: read.damage,
            lost,
            new_epochs: renewed.iter().map(|topic| topic.name.clone()).collect(),
        },
        topics,
    }
}

fn losses(topic: &RecoveredTopic) -> impl Iterator<Item = Lost> {
    let gaps = topic.gaps.iter();
    gaps.map(|(first, last)| Lost {
        topic: topic.name.clone(),
        first: *first,
        last: *last,
    })
}

/// Gives every topic of a log a new epoch, for a folder that was restored from an older copy: what
/// its clients have seen since must not be taken for what comes next `[DISK-18]`. `random` is drawn anew for
/// each call. Returns how many topics there are.
pub fn reset_epochs<D: Disk>(
    disk: D,
    config: &StoreConfig,
    random: u64,
    spread: &impl Spread,
) -> Result<usize, OpenError> {
    config.check()?;
    let files = Files::new(disk);
    let _lock = lock(&files)?;
    let Some(mut read) = recover::read(&files, INDEXES, spread)? else {
        return Ok(0);
    };
    if !read.damage.is_empty() {
        return Err(OpenError::Damaged {
            folder: files.describe(),
            damage: read.damage,
        });
    }
    repair(&files, &mut read, config, random)?;
    let topics: Vec<Topic> = read.state.topics().cloned().collect();
    renew_epochs(&files, &mut read, &topics, random)?;
    Ok(topics.len())
}
