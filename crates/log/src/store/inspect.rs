//! Looking at a log without changing it: for the command line, and for whoever has to decide what to
//! do about damage.

use heartwire_disk::{Disk, LockError, Spread};
use heartwire_proto::id::TopicRef;
use heartwire_proto::{LogId, Offset};

use super::error::{Damage, OpenError, ReadError};
use super::files::Files;
use super::load::Trust;
use super::open::held;
use super::reader::SegmentReader;
use super::recover::{self, Read};
use super::recovered::{RecoveredTopic, SegmentInfo};
use super::state::Topic;
use crate::entry::Entry;

/// How many messages are read at once.
const MESSAGES_MAX: usize = 256;

/// What a folder holds, every byte of it read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Checked {
    /// The log's id.
    pub log: LogId,
    /// All topics, in the order of their names. Messages that are lost are gaps.
    pub topics: Vec<RecoveredTopic>,
    /// How many producers are remembered.
    pub producers: usize,
    /// All segments, oldest first.
    pub segments: Vec<SegmentInfo>,
    /// A batch that was being written when the process or the machine died: the next start cuts it
    /// off.
    pub torn: Option<Damage>,
    /// What is damaged, and will be made again without loss by the next start.
    pub rebuilt: Vec<Damage>,
    /// What is damaged. Unless empty, the server refuses to start.
    pub damage: Vec<Damage>,
}

/// Reads every byte of a log and says what it holds and what is wrong with it. Nothing is changed but
/// the lock file.
pub fn check<D: Disk>(disk: D, spread: &impl Spread) -> Result<Checked, OpenError> {
    let files = Files::new(disk);
    let _lock = lock_or_look(&files)?;
    let read = read(&files, Trust::Nothing, spread)?;
    let torn = read.torn_damage();
    Ok(Checked {
        log: read.identity.log,
        producers: read.state.producers.len(),
        segments: read.state.segments.into_values().collect(),
        torn,
        rebuilt: read.rebuilt,
        damage: read.damage,
        topics: {
            let topics = read.state.topics.into_iter().map(Topic::resolve);
            let mut topics: Vec<RecoveredTopic> = topics.collect();
            topics.sort_unstable_by(|a, b| a.name.cmp(&b.name));
            topics
        },
    })
}

/// Shows a topic's messages, oldest first, as long as `take` says so. Damaged messages are passed
/// over; returned is where they stand. `None` if there is no such topic.
pub fn dump<D: Disk>(
    disk: D,
    topic: TopicRef<'_>,
    spread: &impl Spread,
    mut take: impl FnMut(Offset, &Entry) -> bool,
) -> Result<Option<Vec<Damage>>, OpenError> {
    let files = Files::new(disk);
    let _lock = lock_or_look(&files)?;
    let mut read = read(&files, Trust::Indexes, spread)?;
    let Some(at) = read.state.find(topic.as_str()) else {
        return Ok(None);
    };
    let topic = read.state.topics.swap_remove(at).resolve();
    let reader = SegmentReader::new(files, read.identity.store, MESSAGES_MAX);
    let mut damage = read.damage;
    let mut entries = Vec::new();
    let (mut offset, mut places) = (topic.base.next(), topic.places.as_slice());
    let mut gaps = topic.gaps.iter();
    let mut gap = gaps.next();
    while !places.is_empty() {
        if let Some((first, last)) = gap
            && *first == offset
        {
            offset = last.next();
            gap = gaps.next();
            continue;
        }
        let until_gap = gap.map_or(usize::MAX, |(first, _)| (first.0 - offset.0) as usize);
        let count = places.len().min(until_gap).min(MESSAGES_MAX);
        entries.clear();
        let done = reader.read(
            &topic.name,
            topic.origin,
            offset,
            &places[..count],
            &mut entries,
        );
        for entry in &entries {
            if !take(offset, entry) {
                return Ok(Some(damage));
            }
            offset = offset.next();
        }
        places = &places[entries.len()..];
        match done {
            Ok(()) => {}
            Err(ReadError::File(error)) => return Err(error.into()),
            Err(ReadError::Gone { .. }) => break,
            Err(ReadError::Damaged(found)) => {
                damage.push(found);
                (places, offset) = (&places[1..], offset.next());
            }
        }
    }
    Ok(Some(damage))
}

fn read<D: Disk>(files: &Files<D>, trust: Trust, spread: &impl Spread) -> Result<Read, OpenError> {
    let read = recover::read(files, trust, spread)?;
    read.ok_or_else(|| OpenError::NoLog {
        folder: files.describe(),
    })
}

/// Locks the folder, so that nobody writes meanwhile. A folder that can only be read needs no lock.
fn lock_or_look<D: Disk>(files: &Files<D>) -> Result<Option<D::Lock>, OpenError> {
    match files.lock(&super::open::holder()) {
        Ok(lock) => Ok(Some(lock)),
        Err(LockError::Held { by }) => Err(held(files, by)),
        Err(LockError::Io(source)) => {
            let error = files.lock_error(source);
            match error.is_read_only() {
                true => Ok(None),
                false => Err(error.into()),
            }
        }
    }
}
