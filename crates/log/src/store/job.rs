//! Work that runs beside writing: preparing the next segment, writing the indexes of full ones,
//! checkpoints, and removing what nobody retains.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use heartwire_disk::{Disk, DiskFile};
use heartwire_proto::planted::{self, Bug};

use super::batch::SegmentId;
use super::checkpoint::{self, CheckpointView};
use super::checksum::Hashes;
use super::config::StoreConfig;
use super::envelope;
use super::error::{Damage, FileError, JobError};
use super::files::{Files, Kind, Listing};
use super::frame::end_of_zeros;
use super::index::SegmentIndex;
use super::load::{Extent, IndexFile, Scan, load, read_index};
use super::meta::{Behind, Identity};
use super::state::{Depth, State, Step};

/// How many zeros are written, and synced, at once, in bytes: few, so that the writer's syncs meanwhile
/// do not wait behind a whole segment.
const ZEROS_BYTES: usize = 4 << 20;

/// A new segment is not begun where it would leave less than this part of itself free, 1 MiB of 64: the
/// file system's own books take some, and so do indexes and checkpoints.
const SPARED_PART: u32 = 64;

/// A piece of work for a helper. It takes as long as the disk takes, and needs no lock.
#[derive(Debug)]
pub struct Job<D: Disk> {
    pub(super) files: Files<D>,
    pub(super) identity: Identity,
    pub(super) task: Task,
}

#[derive(Debug)]
pub(super) enum Task {
    /// A segment of its full length, for when the present one is full.
    Prepare { id: SegmentId, config: StoreConfig },
    /// The index of a full segment.
    Seal { id: SegmentId, index: Unwritten },
    /// Everything below a segment, folded; then what the checkpoint lets go.
    Checkpoint {
        id: SegmentId,
        remove: Vec<SegmentId>,
        /// Which of these has a file that may be used again.
        spare: Option<SegmentId>,
        config: StoreConfig,
    },
}

/// An index that has no file yet.
#[derive(Debug)]
pub(super) enum Unwritten {
    /// As it was gathered while the segment was written.
    Gathered(Box<SegmentIndex>),
    /// As it will stand in its file.
    Encoded(Encoded),
}

/// An index as it will stand in its file.
#[derive(Debug)]
pub(super) struct Encoded {
    pub(super) file: Arc<Vec<u8>>,
    /// How long it is without the places of messages, in bytes.
    pub(super) facts_bytes: u64,
}

impl Unwritten {
    pub(super) fn encode(self, store: u64, id: SegmentId) -> Encoded {
        match self {
            Self::Gathered(index) => {
                let file = index.to_file(store, id);
                Encoded {
                    facts_bytes: (file.len() - index.places_bytes()) as u64,
                    file: Arc::new(file),
                }
            }
            Self::Encoded(encoded) => encoded,
        }
    }
}

impl From<&IndexFile> for Unwritten {
    fn from(index: &IndexFile) -> Self {
        Self::Encoded(Encoded {
            file: Arc::clone(&index.bytes),
            facts_bytes: index.facts_bytes(),
        })
    }
}

/// Which of the three a job is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) enum JobKind {
    Prepare,
    Seal,
    Checkpoint,
}

/// What became of a [`Job`].
#[derive(Debug)]
pub struct Done<D: Disk>(pub(super) Outcome<D>);

#[derive(Debug)]
pub(super) enum Outcome<D: Disk> {
    Prepared {
        id: SegmentId,
        made: Result<Prepared<D>, FileError>,
    },
    Sealed {
        id: SegmentId,
        /// The index, to be written another time if it was not.
        index: Encoded,
        made: Result<(), FileError>,
    },
    Checkpointed {
        id: SegmentId,
        removed: Vec<SegmentId>,
        /// How long the checkpoint is, in bytes.
        made: Result<u64, JobError>,
    },
}

impl<D: Disk> Outcome<D> {
    pub(super) const fn kind(&self) -> JobKind {
        match self {
            Self::Prepared { .. } => JobKind::Prepare,
            Self::Sealed { .. } => JobKind::Seal,
            Self::Checkpointed { .. } => JobKind::Checkpoint,
        }
    }
}

/// The file of a segment that takes frames.
#[derive(Debug)]
pub(super) struct Prepared<D: Disk> {
    pub(super) file: D::File,
    pub(super) behind: Behind,
}

impl<D: Disk> Job<D> {
    /// What it is about, for people.
    pub const fn what(&self) -> &'static str {
        match self.task {
            Task::Prepare { .. } => "prepare a segment",
            Task::Seal { .. } => "write an index",
            Task::Checkpoint { .. } => "write a checkpoint",
        }
    }

    /// Does the work; [`Store::done`](super::Store::done) takes the outcome.
    pub fn run(self) -> Done<D> {
        let Self {
            files,
            identity,
            task,
        } = self;
        Done(match task {
            Task::Prepare { id, config } => Outcome::Prepared {
                id,
                made: prepare(&files, identity, id, &config),
            },
            Task::Seal { id, index } => {
                let index = index.encode(identity.store, id);
                let made = files.put(&Kind::Index.name(id), &index.file);
                Outcome::Sealed { id, index, made }
            }
            Task::Checkpoint {
                id,
                remove,
                spare,
                config,
            } => Outcome::Checkpointed {
                id,
                made: checkpoint(&files, identity, id, &remove, &config)
                    .and_then(|bytes| let_go(&files, identity, id, &remove, spare).map(|()| bytes)),
                removed: remove,
            },
        })
    }
}

/// Makes a segment of the spare file, or of a new one. What does not fit is not begun where that can be
/// told: each attempt would fill the disk, for everybody who uses it.
fn prepare<D: Disk>(
    files: &Files<D>,
    identity: Identity,
    id: SegmentId,
    config: &StoreConfig,
) -> Result<Prepared<D>, FileError> {
    let name = Kind::Segment.name(id);
    let bytes = config.segment_bytes;
    let fill = |behind| {
        let header = identity.encode_segment(id, behind);
        move |file: &D::File| lay_out(file, header, config)
    };
    let reused = files.prepare_spare(&name, fill(Behind::Stale));
    let prepared = match reused {
        Ok(None) => files
            .check_space(&name, u64::from(bytes + bytes / SPARED_PART))
            .and_then(|()| files.prepare(&name, fill(Behind::Zeros)))
            .map(|file| (file, Behind::Zeros)),
        Ok(Some(file)) => Ok((file, Behind::Stale)),
        Err(error) => Err(error),
    };
    if prepared.is_err() {
        // It may have its name already; nobody will use it, and the next start would remove it. The
        // next attempt does not depend on a file that made trouble.
        let _ = files.remove(&name);
        let _ = files.remove_spare();
    }
    prepared.map(|(file, behind)| Prepared { file, behind })
}

/// Gives a file a segment's header and its full length. What it holds already stays, but where the
/// first frame will begin.
fn lay_out<F: DiskFile>(file: &F, header: Vec<u8>, config: &StoreConfig) -> io::Result<()> {
    let bytes = config.segment_bytes;
    let mut start = header;
    let end = end_of_zeros(start.len(), config.block_bytes);
    start.resize(end.min(bytes as usize), 0);
    let held = file.len()?;
    if held > u64::from(bytes) {
        file.set_len(u64::from(bytes))?;
    }
    file.write_at(&start, 0)?;
    let zeros = vec![0; ZEROS_BYTES.min(bytes as usize)];
    // What was cut off in the middle of a block is continued with all of that block.
    let block_bytes = config.block_bytes as usize;
    let mut at = start.len().max(held as usize / block_bytes * block_bytes);
    while at < bytes as usize {
        let count = zeros.len().min(bytes as usize - at);
        file.write_at(&zeros[..count], at as u64)?;
        file.sync()?;
        at += count;
    }
    Ok(())
}

/// Folds the checkpoint before and the indexes since, and writes what comes out; returns how long that
/// is, in bytes. From then on the segments to be removed count for nothing, whether their files are there
/// or not `[DISK-11]`.
fn checkpoint<D: Disk>(
    files: &Files<D>,
    identity: Identity,
    id: SegmentId,
    remove: &[SegmentId],
    config: &StoreConfig,
) -> Result<u64, JobError> {
    let listing = files.list()?;
    let mut state = fold_below(files, identity, id, &listing)?;
    state.let_go(remove);
    let put = |out: &mut Vec<u8>| checkpoint::encode(&state, config, out);
    let file = envelope::wrap(Kind::Checkpoint, identity.store, id, put);
    files.put(&Kind::Checkpoint.name(id), &file)?;
    for id in remove.iter().filter(|id| listing.has(Kind::Index, **id)) {
        files.rename(&Kind::Index.name(*id), &Kind::Gone.name(*id))?;
    }
    files.sync_folder()?;
    Ok(file.len() as u64)
}

/// Removes the segments that a checkpoint has let go, but for one whose file stays for the next, and what
/// no checkpoint needs any more.
fn let_go<D: Disk>(
    files: &Files<D>,
    identity: Identity,
    id: SegmentId,
    remove: &[SegmentId],
    spare: Option<SegmentId>,
) -> Result<(), JobError> {
    for id in remove.iter().filter(|id| Some(**id) != spare) {
        files.remove(&Kind::Segment.name(*id))?;
    }
    if let Some(spare) = spare {
        files.spare(&Kind::Segment.name(spare))?;
    }
    remove_old(files, identity, id)?;
    Ok(files.sync_folder()?)
}

/// Everything below a segment, but where messages stand.
fn fold_below<D: Disk>(
    files: &Files<D>,
    identity: Identity,
    id: SegmentId,
    listing: &Listing,
) -> Result<State, JobError> {
    let store = identity.store;
    let mut state = State::new(&Hashes::new(store), true);
    let before = checkpoint_before(files, store, id, listing)?;
    if let Some((id, file)) = &before
        && let Some(checkpoint) = CheckpointView::of_file(store, *id, file)
    {
        let id = *id;
        state.take_in(&Step::Checkpoint { id, checkpoint });
        // A checkpoint in between, which cannot be read any more, may have let some go.
        let named = checkpoint.segments();
        let is_gone = |id| listing.has(Kind::Gone, id) && !listing.has(Kind::Segment, id);
        let there = named.filter(|info| !is_gone(info.id));
        state.segments = there.map(|info| (info.id, info)).collect();
    }
    let since = before.map_or(SegmentId(0), |(id, _)| id);
    let is_between = |segment: &SegmentId| (since..id).contains(segment);
    let ids: BTreeSet<SegmentId> = [Kind::Segment, Kind::Index, Kind::Gone]
        .into_iter()
        .flat_map(|kind| listing.of(kind).filter(is_between))
        .collect();
    for segment in ids {
        let (kind, depth) = if listing.has(Kind::Index, segment) {
            (Kind::Index, Depth::Topics)
        } else if listing.has(Kind::Gone, segment) {
            (Kind::Gone, Depth::Gone)
        } else if planted::has(Bug::CheckpointBeforeData) {
            continue;
        } else {
            return Err(damaged(Kind::Index, segment));
        };
        let index = match read_index(files, store, kind, segment)? {
            None if kind == Kind::Index => index_again(files, identity, segment)?,
            index => index.ok_or_else(|| damaged(kind, segment))?,
        };
        let (id, index) = (segment, index.view());
        state.take_in(&Step::Index { id, index, depth });
    }
    Ok(state)
}

/// The newest checkpoint that is whole, up to a segment; the one before it stays for when it is not.
fn checkpoint_before<D: Disk>(
    files: &Files<D>,
    store: u64,
    id: SegmentId,
    listing: &Listing,
) -> Result<Option<(SegmentId, Vec<u8>)>, JobError> {
    let mut newest_damaged = None;
    for before in listing.of(Kind::Checkpoint).rev().filter(|at| *at <= id) {
        let file = files.read(&Kind::Checkpoint.name(before))?;
        if CheckpointView::of_file(store, before, &file).is_some() {
            return Ok(Some((before, file)));
        }
        newest_damaged = newest_damaged.or(Some(before));
    }
    match newest_damaged {
        Some(id) => Err(damaged(Kind::Checkpoint, id)),
        None => Ok(None),
    }
}

/// The index of a segment of which the file cannot be used any more: made of the segment once more,
/// as long as nothing of that is damaged too.
fn index_again<D: Disk>(
    files: &Files<D>,
    identity: Identity,
    id: SegmentId,
) -> Result<IndexFile, JobError> {
    let loaded = load(files, &identity, id, true, Extent::All)?;
    let is_whole = |scan: &Scan| scan.bad.is_empty() && scan.tail.is_none();
    if !loaded.scanned.as_ref().is_some_and(is_whole) {
        return Err(damaged(Kind::Index, id));
    }
    files.put(&Kind::Index.name(id), &loaded.index.bytes)?;
    Ok(loaded.index)
}

fn damaged(kind: Kind, id: SegmentId) -> JobError {
    JobError::Damaged(Damage {
        file: kind.name(id),
        position: 0,
        bytes: 0,
        what: "the file is damaged, or missing",
    })
}

/// Two checkpoints are kept, should the newer be damaged, and what the older needs: the indexes of
/// segments that were there when it was written. One that is damaged is not kept.
fn remove_old<D: Disk>(
    files: &Files<D>,
    identity: Identity,
    newest: SegmentId,
) -> Result<(), JobError> {
    let listing = files.list()?;
    let below = SegmentId(newest.0.saturating_sub(1));
    let (kept, file) = match checkpoint_before(files, identity.store, below, &listing) {
        Err(JobError::Damaged(_)) => None,
        found => found?,
    }
    .unwrap_or_default();
    let older = listing.of(Kind::Checkpoint).filter(|id| *id < newest);
    for id in older.filter(|id| *id != kept) {
        files.remove(&Kind::Checkpoint.name(id))?;
    }
    let named: Vec<SegmentId> = match CheckpointView::of_file(identity.store, kept, &file) {
        Some(view) => view.segments().map(|info| info.id).collect(),
        None => Vec::new(),
    };
    let is_needed = |id: &SegmentId| *id >= kept || named.contains(id);
    for id in listing.of(Kind::Gone).filter(|id| !is_needed(id)) {
        files.remove(&Kind::Gone.name(id))?;
    }
    Ok(())
}
