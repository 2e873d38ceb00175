//! Looking at a log without changing it: for the command line, and for whoever has to decide what to
//! do about damage.

use heartwire_disk::{Disk, LockError, Spread};
use heartwire_proto::id::TopicRef;
use heartwire_proto::{LogId, Offset};

use super::batch::{DiskPlace, SegmentId};
use super::error::{Damage, OpenError, ReadError};
use super::files::{Files, Kind};
use super::load::{INDEXES, Trust};
use super::open::{held, holder};
use super::reader::SegmentReader;
use super::recover::{self, Read};
use super::recovered::{RecoveredTopic, SegmentInfo};
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
    /// What is damaged of the files that are kept should others be: the older checkpoint, and what it
    /// needs. It goes with the next checkpoints.
    pub spare: Vec<Damage>,
    /// What is damaged. Unless empty, the server refuses to start.
    pub damage: Vec<Damage>,
}

/// Reads every byte of a log and says what it holds and what is wrong with it. Nothing is changed but
/// the lock file.
pub fn check<D: Disk>(disk: D, spread: &impl Spread) -> Result<Checked, OpenError> {
    let files = Files::new(disk);
    let _lock = lock_or_look(&files)?;
    let mut read = read(&files, Trust::Nothing, spread)?;
    let torn = read.torn_damage();
    let spare = read.damaged_spares(&files)?;
    let topics = read.state.take_topics();
    Ok(Checked {
        log: read.identity.log,
        producers: read.state.producers.len(),
        segments: read.state.segments.into_values().collect(),
        torn,
        rebuilt: read.rebuilt,
        spare,
        damage: read.damage,
        topics,
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
    let mut read = read(&files, INDEXES, spread)?;
    let topics = read.state.take_topics();
    let Some(topic) = topics.iter().find(|told| told.name.as_topic() == topic) else {
        return Ok(None);
    };
    let reader = SegmentReader::new(files, read.identity.store, MESSAGES_MAX);
    let mut damage = read.damage;
    for (first, places) in topic.stretches() {
        let shown = Stretch {
            topic,
            offset: first,
            places: &places,
        };
        if !shown.show(&reader, &mut damage, &mut take)? {
            break;
        }
    }
    Ok(Some(damage))
}

/// Messages that follow each other.
struct Stretch<'a> {
    topic: &'a RecoveredTopic,
    offset: Offset,
    places: &'a [DiskPlace],
}

impl Stretch<'_> {
    /// Shows them; whether there should be more.
    fn show<D: Disk>(
        mut self,
        reader: &SegmentReader<D>,
        damage: &mut Vec<Damage>,
        take: &mut impl FnMut(Offset, &Entry) -> bool,
    ) -> Result<bool, OpenError> {
        let RecoveredTopic { name, origin, .. } = self.topic;
        while !self.places.is_empty() {
            let places = &self.places[..self.places.len().min(MESSAGES_MAX)];
            let mut entries = Vec::new();
            let done = reader.read(name, *origin, self.offset, places, &mut entries);
            for entry in &entries {
                if !take(self.offset, entry) {
                    return Ok(false);
                }
                self.skip();
            }
            match done {
                Ok(()) => {}
                Err(ReadError::File(error)) => return Err(error.into()),
                Err(ReadError::Gone { segment }) => {
                    damage.push(missing(segment));
                    self.skip();
                }
                Err(ReadError::Damaged(found) | ReadError::Unreadable(found)) => {
                    damage.push(found);
                    self.skip();
                }
            }
        }
        Ok(true)
    }

    fn skip(&mut self) {
        self.places = &self.places[1..];
        self.offset = self.offset.next();
    }
}

fn missing(id: SegmentId) -> Damage {
    Damage {
        file: Kind::Segment.name(id),
        position: 0,
        bytes: 0,
        what: "the segment is missing",
    }
}

fn read<D: Disk>(files: &Files<D>, trust: Trust, spread: &impl Spread) -> Result<Read, OpenError> {
    let read = recover::read(files, trust, spread)?;
    read.ok_or_else(|| OpenError::NoLog {
        folder: files.describe(),
    })
}

/// Locks the folder, so that nobody writes meanwhile. A folder that can only be read needs no lock.
fn lock_or_look<D: Disk>(files: &Files<D>) -> Result<Option<D::Lock>, OpenError> {
    match files.lock(&holder()) {
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
