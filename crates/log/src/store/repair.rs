//! What is done to a folder before it is written to: what a crash left is cleared away, what can be
//! made again is, and damage that was accepted is written down, so that it is met once `[DISK-15]`.
//!
//! Every step leaves a folder that can be opened again, whatever happens before the next.

use std::io;

use heartwire_disk::{Disk, DiskFile as _};
use heartwire_proto::Epoch;

use super::batch::{Record, SegmentId};
use super::checkpoint;
use super::checksum::{Hashes, Salt};
use super::config::StoreConfig;
use super::envelope;
use super::error::FileError;
use super::files::{Files, Kind, META};
use super::frame_writer::FrameWriter;
use super::index::SegmentIndex;
use super::load::{IndexFile, Loaded};
use super::meta::{Behind, Identity, SEGMENT_HEADER_BYTES};
use super::recover::Read;
use super::scan::Region;
use super::share::Topic;
use super::state::{Depth, State, Step};

/// How many records a frame of a repair holds.
const RECORDS_PER_FRAME: usize = 4_096;

/// Does everything that the next start would have to do again. What counts for nothing goes first: on a
/// full disk it makes room for the rest.
pub(super) fn repair<D: Disk>(
    files: &Files<D>,
    read: &mut Read,
    config: &StoreConfig,
    epochs: u64,
) -> Result<Vec<Topic>, FileError> {
    // The process before may have died ahead of this: what was read by names that the device does not
    // have is not to be built upon.
    files.sync_folder()?;
    remove_temporary(files, read)?;
    if read.rebuilt.iter().any(|damage| damage.file == META) {
        files.put(META, &read.identity.encode_meta())?;
    }
    let torn = read.torn.map(|(id, _)| id);
    clear(files, read, |kind, id| {
        kind != Kind::Checkpoint && Some(id) != torn
    })?;
    settle_last(files, read)?;
    let mut renewed = Vec::new();
    if !read.damage.is_empty() {
        renewed = topics_in_doubt(read);
        renew_epochs(files, read, &renewed, epochs)?;
        write_checkpoint(files, read, config)?;
        accept_all(files, read)?;
        remove_missing(files, read)?;
    }
    clear(files, read, |_, _| true)?;
    Ok(renewed)
}

/// The last segment is cut behind its last frame, and that frame is written again: it may be in the
/// memory of the system alone, even after a sync that failed, and others are about to see it
/// `[DISK-16]`.
fn settle_last<D: Disk>(files: &Files<D>, read: &Read) -> Result<(), FileError> {
    let Some(last) = read.segments.last() else {
        return Ok(());
    };
    let Some(scan) = last.scanned.as_ref().filter(|_| !last.is_exact) else {
        return Ok(());
    };
    let view = last.view();
    let name = Kind::Segment.name(last.id);
    let file = files.open(&name)?;
    let valid = u64::from(view.valid);
    let rewrite = || -> io::Result<()> {
        if let Some(start) = scan.last_frame {
            let mut frame = vec![0; (valid - u64::from(start)) as usize];
            file.read_at(&mut frame, u64::from(start))?;
            file.write_at(&frame, u64::from(start))?;
        }
        if scan.file_bytes > valid && scan.bad.iter().all(|bad| u64::from(bad.end) <= valid) {
            file.set_len(valid)?;
        }
        file.sync()
    };
    rewrite().map_err(|source| files.error("write", &name, source))
}

/// Notes in the indexes which damage was accepted, so that nobody is asked again: the last of all, once
/// everything that the damage cost is durable. Until then whoever opens the log meets it as it was.
/// Other indexes can wait for a job.
fn accept_all<D: Disk>(files: &Files<D>, read: &mut Read) -> Result<(), FileError> {
    let store = read.identity.store;
    for segment in &mut read.segments {
        if accept(segment, store) {
            files.put(&Kind::Index.name(segment.id), &segment.index.bytes)?;
            segment.has_file = true;
        }
    }
    Ok(())
}

/// Whether there was anything to accept in the segment.
fn accept(segment: &mut Loaded, store: u64) -> bool {
    let bad: Vec<Region> = match &segment.scanned {
        Some(scan) if !scan.bad.is_empty() => scan.bad.clone(),
        _ => return false,
    };
    let view = segment.view();
    let mut index = SegmentIndex::new(Hashes::new(store), view.valid, view.time);
    index.take_over(view, |_| false);
    for region in bad {
        index.add_accepted(region.start, region.bytes());
    }
    segment.set_index(store, &index);
    true
}

/// Topics that may have lost their last messages, without anybody knowing how many.
fn topics_in_doubt(read: &Read) -> Vec<Topic> {
    let Some(last_mark) = read.marks.last() else {
        return match read.checkpoints_lost {
            true => read.state.topics().cloned().collect(),
            false => Vec::new(),
        };
    };
    let is_after_checkpoint = last_mark.0 >= read.checkpoint;
    let topics = read.state.topics();
    let in_doubt = topics.filter(|topic| {
        read.checkpoints_lost || (is_after_checkpoint && topic.last_message < *last_mark)
    });
    in_doubt.cloned().collect()
}

/// Gives topics new epochs, durably.
pub(super) fn renew_epochs<D: Disk>(
    files: &Files<D>,
    read: &mut Read,
    topics: &[Topic],
    epochs: u64,
) -> Result<(), FileError> {
    if topics.is_empty() {
        return Ok(());
    }
    let identity = read.identity;
    let hashes = Hashes::new(identity.store ^ epochs);
    let records: Vec<Record> = topics
        .iter()
        .map(|topic| Record::Epoch {
            topic: topic.name.clone(),
            origin: topic.origin,
            epoch: Epoch::from_random(hashes.of(topic.name.as_str().as_bytes())),
        })
        .collect();
    let id = read.next_id();
    let (segment, index) = small_segment(identity, id, &records, &read.state);
    files.put(&Kind::Segment.name(id), &segment)?;
    let index = IndexFile::made(identity.store, id, &index);
    files.put(&Kind::Index.name(id), &index.bytes)?;
    let (index, depth) = (index.view(), Depth::Places);
    read.state.take_in(&Step::Index { id, index, depth });
    read.listing.numbered.insert((Kind::Segment, id));
    read.listing.numbered.insert((Kind::Index, id));
    Ok(())
}

/// A segment of just these records.
fn small_segment(
    identity: Identity,
    id: SegmentId,
    records: &[Record],
    state: &State,
) -> (Vec<u8>, SegmentIndex) {
    let hashes = Hashes::new(identity.store);
    let mut index = SegmentIndex::new(hashes, SEGMENT_HEADER_BYTES as u32, state.time);
    let mut segment = identity.encode_segment(id, Behind::Zeros);
    // The file ends with its last frame: no zeros are written behind any.
    let mut frame = FrameWriter::new(1);
    for records in records.chunks(RECORDS_PER_FRAME) {
        frame.encode(records);
        let salt = Salt::new(identity.store, id);
        let position = segment.len() as u32;
        frame.seal(records, salt, position, state.time, &mut index, |_, _| {});
        segment.extend_from_slice(frame.frame());
        index.valid = segment.len() as u32;
    }
    (segment, index)
}

/// A checkpoint of everything there is: what was accepted holds from here on.
fn write_checkpoint<D: Disk>(
    files: &Files<D>,
    read: &mut Read,
    config: &StoreConfig,
) -> Result<(), FileError> {
    let id = read.next_id();
    let store = read.identity.store;
    let missing: Vec<SegmentId> = read.missing().collect();
    for id in missing {
        read.state.segments.remove(&id);
    }
    let put = |out: &mut Vec<u8>| checkpoint::encode(&read.state, config, out);
    let file = envelope::wrap(Kind::Checkpoint, store, id, put);
    files.put(&Kind::Checkpoint.name(id), &file)?;
    read.listing.numbered.insert((Kind::Checkpoint, id));
    read.checkpoint = id;
    read.checkpoint_bytes = file.len() as u64;
    read.index_bytes = 0;
    Ok(())
}

/// Indexes whose segments are missing have nothing to say any more.
fn remove_missing<D: Disk>(files: &Files<D>, read: &Read) -> Result<(), FileError> {
    for id in read.missing() {
        files.remove(&Kind::Index.name(id))?;
    }
    Ok(())
}

/// Removes what was being made when a process ended, and the spare file.
fn remove_temporary<D: Disk>(files: &Files<D>, read: &mut Read) -> Result<(), FileError> {
    let temporary = std::mem::take(&mut read.listing.temporary);
    for name in &temporary {
        files.remove(name)?;
    }
    match temporary.is_empty() {
        true => Ok(()),
        false => files.sync_folder(),
    }
}

/// Removes what counts for nothing, as far as `may_go` says so. Checkpoints that cannot be read stay
/// until another is there: they show that there was one. So does a segment that holds a torn batch and
/// nothing else, until what is wrong with the one before it is settled: it shows that this one was not
/// the last. The index of a segment that a checkpoint let go stays, by another name: the checkpoint
/// before that one may need it.
fn clear<D: Disk>(
    files: &Files<D>,
    read: &mut Read,
    may_go: impl Fn(Kind, SegmentId) -> bool,
) -> Result<(), FileError> {
    let useless = std::mem::take(&mut read.useless).into_iter();
    let (useless, kept) = useless.partition(|(kind, id)| may_go(*kind, *id));
    let useless: Vec<(Kind, SegmentId)> = useless;
    read.useless = kept;
    if useless.is_empty() {
        return Ok(());
    }
    let (indexes, others): (Vec<_>, Vec<_>) = useless
        .into_iter()
        .partition(|(kind, _)| *kind == Kind::Index);
    for (kind, id) in &indexes {
        files.rename(&kind.name(*id), &Kind::Gone.name(*id))?;
    }
    if !indexes.is_empty() {
        files.sync_folder()?;
    }
    for (kind, id) in others {
        files.remove(&kind.name(id))?;
    }
    files.sync_folder()
}
