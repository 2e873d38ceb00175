//! Reading everything: what the folder holds, what is wrong with it, and what that costs. Nothing is
//! changed here `[DISK-12]`.
//!
//! ```text
//!   meta ─► newest checkpoint that is whole ─► indexes, or segments ─► folded in their order ─► state
//!                                                      └─► where messages stand, by topic ─►─┘
//! ```

use std::io::ErrorKind;

use heartwire_disk::{Disk, DiskFile as _, Spread, is_unreadable};

use super::batch::SegmentId;
use super::checkpoint::CheckpointView;
use super::checksum::Hashes;
use super::error::{Damage, FileError, OpenError};
use super::files::{Files, Kind, Listing, META};
use super::load::{Extent, IndexFile, Loaded, Trust, load, read_index};
use super::meta::{BadHeader, FORMAT_VERSION, Identity, SEGMENT_HEADER_BYTES};
use super::record::RECORD_BYTES_MIN;
use super::scan::Region;
use super::share::Hole;
use super::state::{Depth, Position, State, Step};

/// Everything that a folder holds.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) identity: Identity,
    pub(super) listing: Listing,
    pub(super) state: State,
    /// All segments that count, oldest first.
    pub(super) segments: Vec<Loaded>,
    /// The batch that was being written when the process or the machine died.
    pub(super) torn: Option<(SegmentId, Region)>,
    /// What is damaged, and can be made again without loss.
    pub(super) rebuilt: Vec<Damage>,
    /// What is damaged.
    pub(super) damage: Vec<Damage>,
    /// Where messages may be lost that no index names.
    pub(super) marks: Vec<Position>,
    /// The checkpoint that counts, 0 if none.
    pub(super) checkpoint: SegmentId,
    /// How long that is, in bytes.
    pub(super) checkpoint_bytes: u64,
    /// How long the indexes since are without the places of messages, in bytes.
    pub(super) index_bytes: u64,
    /// Whether there were checkpoints, and none could be read.
    pub(super) checkpoints_lost: bool,
    /// Files that count for nothing: checkpoints that cannot be read, segments that were removed, or
    /// never used.
    pub(super) useless: Vec<(Kind, SegmentId)>,
}

/// Reads a folder; `None` if there is no log in it.
pub(super) fn read<D: Disk>(
    files: &Files<D>,
    trust: Trust,
    spread: &impl Spread,
) -> Result<Option<Read>, OpenError> {
    let listing = files.list()?;
    if let Some(file) = listing.too_high() {
        let folder = files.describe();
        return Err(OpenError::Number { folder, file });
    }
    let Some((identity, meta_damage)) = read_identity(files, &listing)? else {
        return Ok(None);
    };
    let mut read = Read {
        listing,
        rebuilt: meta_damage.into_iter().collect(),
        ..Read::empty(identity)
    };
    let checkpoint = read.read_checkpoint(files)?;
    let view = checkpoint
        .as_ref()
        .and_then(|file| read.checkpoint_view(file));
    read.load_segments(files, view, trust, spread)?;
    read.judge_ends();
    read.judge_damage();
    read.fold(files, view, spread)?;
    read.judge_holes();
    read.state.place(&read.segments, spread);
    Ok(Some(read))
}

/// What the store is: from `meta`, or else from any segment's header.
fn read_identity<D: Disk>(
    files: &Files<D>,
    listing: &Listing,
) -> Result<Option<(Identity, Option<Damage>)>, OpenError> {
    let mut what = "the file is missing";
    if listing.has_meta {
        match Identity::parse_meta(&files.read(META)?) {
            Ok(identity) => return Ok(Some((identity, None))),
            Err(BadHeader::UnknownVersion(version)) => return Err(unknown(files, version)),
            Err(BadHeader::Damaged) => what = "the file is damaged",
        }
    } else if listing.numbered.is_empty() {
        return Ok(None);
    }
    let damage = damage(META.to_owned(), 0, 0, what);
    for id in listing.of(Kind::Segment) {
        let header = read_header(files, id)?;
        match Identity::parse_segment(&header) {
            Ok((identity, of)) if of == id => return Ok(Some((identity, Some(damage)))),
            Err(BadHeader::UnknownVersion(version)) => return Err(unknown(files, version)),
            Ok(_) | Err(BadHeader::Damaged) => {}
        }
    }
    Err(OpenError::NoIdentity {
        folder: files.describe(),
        what,
    })
}

fn read_header<D: Disk>(files: &Files<D>, id: SegmentId) -> Result<Vec<u8>, FileError> {
    let name = Kind::Segment.name(id);
    let file = files.open(&name)?;
    let mut header = vec![0; SEGMENT_HEADER_BYTES];
    match file.read_at(&mut header, 0) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof || is_unreadable(&error) => {
            Ok(Vec::new())
        }
        read => read
            .map(|()| header)
            .map_err(|source| files.error("read", &name, source)),
    }
}

fn unknown<D: Disk>(files: &Files<D>, version: u32) -> OpenError {
    OpenError::UnknownVersion {
        folder: files.describe(),
        version,
        known: FORMAT_VERSION,
    }
}

fn damage(file: String, position: u64, bytes: u64, what: &'static str) -> Damage {
    Damage {
        file,
        position,
        bytes,
        what,
    }
}

impl Read {
    /// A log that holds nothing.
    pub(super) fn empty(identity: Identity) -> Self {
        Self {
            identity,
            state: State::new(&Hashes::new(identity.store), true),
            listing: Listing::default(),
            segments: Vec::new(),
            torn: None,
            rebuilt: Vec::new(),
            damage: Vec::new(),
            marks: Vec::new(),
            checkpoint: SegmentId(0),
            checkpoint_bytes: 0,
            index_bytes: 0,
            checkpoints_lost: false,
            useless: Vec::new(),
        }
    }

    /// The batch that was being written, as damage.
    pub(super) fn torn_damage(&self) -> Option<Damage> {
        self.torn.map(|(id, region)| {
            let name = Kind::Segment.name(id);
            damage(
                name,
                u64::from(region.start),
                u64::from(region.bytes()),
                region.what,
            )
        })
    }

    /// A number that no file has, nor has had.
    pub(super) fn next_id(&self) -> SegmentId {
        self.listing.next_id()
    }

    /// Segments that should be there and are not, but for their indexes.
    pub(super) fn missing(&self) -> impl Iterator<Item = SegmentId> {
        let segments = self.segments.iter().map(|segment| segment.id);
        segments.filter(|id| !self.listing.has(Kind::Segment, *id))
    }

    fn checkpoint_view<'a>(&self, file: &'a [u8]) -> Option<CheckpointView<'a>> {
        CheckpointView::of_file(self.identity.store, self.checkpoint, file)
    }

    /// The newest checkpoint that is whole.
    fn read_checkpoint<D: Disk>(&mut self, files: &Files<D>) -> Result<Option<Vec<u8>>, FileError> {
        let ids: Vec<SegmentId> = self.listing.of(Kind::Checkpoint).rev().collect();
        let mut bad = Vec::new();
        for id in ids {
            let name = Kind::Checkpoint.name(id);
            let file = files.read(&name)?;
            self.checkpoint = id;
            if self.checkpoint_view(&file).is_some() {
                self.checkpoint_bytes = file.len() as u64;
                self.rebuilt.append(&mut bad);
                return Ok(Some(file));
            }
            self.useless.push((Kind::Checkpoint, id));
            let found = damage(name, 0, file.len() as u64, "the checkpoint is damaged");
            bad.push(found);
        }
        self.checkpoint = SegmentId(0);
        // Without any, what only a checkpoint knows is gone: ends of topics without messages, producers.
        self.checkpoints_lost = !bad.is_empty();
        self.damage.append(&mut bad);
        Ok(None)
    }

    /// Reads the segments that the checkpoint names, and those after it.
    fn load_segments<D: Disk>(
        &mut self,
        files: &Files<D>,
        checkpoint: Option<CheckpointView<'_>>,
        trust: Trust,
        spread: &impl Spread,
    ) -> Result<(), FileError> {
        let mut ids: Vec<SegmentId> = checkpoint
            .iter()
            .flat_map(|c| c.segments())
            .map(|s| s.id)
            .collect();
        for (kind, id) in &self.listing.numbered {
            let is_named = ids.binary_search(id).is_ok();
            match kind {
                Kind::Segment | Kind::Index if *id < self.checkpoint && !is_named => {
                    self.useless.push((*kind, *id));
                }
                Kind::Segment if *id >= self.checkpoint => ids.push(*id),
                Kind::Index if self.is_missing(*id) => ids.push(*id),
                _ => {}
            }
        }
        ids.sort_unstable();
        ids.dedup();
        let (there, missing): (Vec<_>, Vec<_>) = ids
            .into_iter()
            .partition(|id| self.listing.has(Kind::Segment, *id));
        let (identity, listing) = (&self.identity, &self.listing);
        let (verified_from, verified) = match trust {
            Trust::Nothing => (0, Extent::All),
            Trust::Indexes { verified_bytes_max } => {
                let from = verified_from(files, listing, &there, verified_bytes_max)?;
                (from, Extent::Frames)
            }
        };
        // The newest first: of those most is read, and whoever works beside would wait for them.
        let loaded = spread.map(there.len(), |behind| {
            let index = there.len() - 1 - behind;
            let extent = match index < verified_from {
                true => Extent::Index,
                false => verified,
            };
            let id = there[index];
            load(files, identity, id, listing.has(Kind::Index, id), extent)
        });
        self.segments = loaded.into_iter().collect::<Result<_, _>>()?;
        for id in missing {
            self.miss(files, id)?;
        }
        self.segments.sort_unstable_by_key(|segment| segment.id);
        Ok(())
    }

    /// Whether a segment has an index, was not removed on purpose, and is not there.
    fn is_missing(&self, id: SegmentId) -> bool {
        !self.listing.has(Kind::Segment, id) && !self.listing.has(Kind::Gone, id)
    }

    /// A segment that should be there is not. Its index tells what it held, if there is one.
    fn miss<D: Disk>(&mut self, files: &Files<D>, id: SegmentId) -> Result<(), FileError> {
        if self.listing.has(Kind::Gone, id) {
            return Ok(());
        }
        let name = Kind::Segment.name(id);
        let what = "the segment is missing";
        self.damage.push(damage(name, 0, 0, what));
        let index = match self.listing.has(Kind::Index, id) {
            true => read_index(files, self.identity.store, Kind::Index, id)?,
            false => None,
        };
        let Some(index) = index else {
            self.marks.push((id, 0));
            return Ok(());
        };
        let mut loaded = Loaded::by_index(id, index);
        loaded.lose_all(self.identity.store);
        self.segments.push(loaded);
        Ok(())
    }

    /// Finds the segment that was being written, and the batch that was: only there may the end be
    /// torn `[DISK-13]`. Segments that were only prepared count for nothing.
    fn judge_ends(&mut self) {
        let useless = &mut self.useless;
        self.segments.retain(|segment| {
            if !segment.is_used() {
                useless.push((Kind::Segment, segment.id));
            }
            segment.is_used()
        });
        let last = self.segments.last().map(|segment| segment.id);
        for segment in &mut self.segments {
            let Some(scan) = &mut segment.scanned else {
                continue;
            };
            // It gets an index when it takes no more frames: what is wrong then is no torn batch, even if
            // the index is damaged too.
            let is_open = Some(segment.id) == last && !segment.index_is_bad;
            match scan.tail.take() {
                Some(tail) if is_open && scan.bad.is_empty() => {
                    self.torn = Some((segment.id, tail));
                }
                tail => scan.bad.extend(tail),
            }
        }
        if let Some((id, _)) = self.torn
            && let Some(last) = self.segments.last()
            && last.scanned.as_ref().is_some_and(|scan| scan.frames == 0)
        {
            // Its first batch was torn: the segment has never held anything.
            self.segments.pop();
            self.useless.push((Kind::Segment, id));
        }
    }

    /// Names what is not as it was written `[DISK-14]`.
    fn judge_damage(&mut self) {
        for segment in &self.segments {
            if segment.index_is_bad {
                let name = Kind::Index.name(segment.id);
                let found = damage(name, 0, 0, "the index is damaged");
                self.rebuilt.push(found);
            }
            for region in segment.scanned.iter().flat_map(|scan| &scan.bad) {
                let name = Kind::Segment.name(segment.id);
                let (start, bytes) = (u64::from(region.start), u64::from(region.bytes()));
                self.damage.push(damage(name, start, bytes, region.what));
                if !segment.is_exact && region.start > 0 {
                    self.marks.push((segment.id, region.start));
                }
            }
        }
        self.marks.sort_unstable();
    }

    /// Folds everything, in the order in which it was written.
    fn fold<D: Disk>(
        &mut self,
        files: &Files<D>,
        checkpoint: Option<CheckpointView<'_>>,
        spread: &impl Spread,
    ) -> Result<(), FileError> {
        let at = self.checkpoint;
        let gone = self.read_gone(files)?;
        let below = self.segments.partition_point(|segment| segment.id < at);
        let (below, after) = self.segments.split_at(below);
        self.index_bytes = after
            .iter()
            .map(|segment| segment.index.facts_bytes())
            .sum();
        let gone = gone.iter().map(|(id, index)| Step::Index {
            id: *id,
            index: index.view(),
            depth: Depth::Gone,
        });
        let mut since: Vec<Step<'_>> = after.iter().map(step_of).chain(gone).collect();
        since.sort_by_key(Step::id);
        let checkpoint = checkpoint.map(|checkpoint| Step::Checkpoint { id: at, checkpoint });
        let steps = below.iter().map(step_of).chain(checkpoint);
        let steps: Vec<Step<'_>> = steps.chain(since).collect();
        let is_complete = checkpoint.is_none() && !self.checkpoints_lost;
        let hashes = Hashes::new(self.identity.store);
        self.state = State::of(&steps, &hashes, is_complete, spread);
        Ok(())
    }

    /// What is damaged of the files that nothing is read from as long as the newest checkpoint is whole.
    pub(super) fn damaged_spares<D: Disk>(
        &self,
        files: &Files<D>,
    ) -> Result<Vec<Damage>, FileError> {
        let store = self.identity.store;
        let mut damaged = Vec::new();
        let mut note = |kind: Kind, id| {
            let what =
                "the file is damaged, and not needed as long as the newest checkpoint is whole";
            damaged.push(damage(kind.name(id), 0, 0, what));
        };
        let older = |id: &SegmentId| *id < self.checkpoint;
        for id in self.listing.of(Kind::Checkpoint).filter(older) {
            let file = files.read(&Kind::Checkpoint.name(id))?;
            if CheckpointView::of_file(store, id, &file).is_none() {
                note(Kind::Checkpoint, id);
            }
        }
        for id in self.listing.of(Kind::Gone).filter(older) {
            if read_index(files, store, Kind::Gone, id)?.is_none() {
                note(Kind::Gone, id);
            }
        }
        Ok(damaged)
    }

    /// The indexes of removed segments that no checkpoint covers.
    fn read_gone<D: Disk>(
        &mut self,
        files: &Files<D>,
    ) -> Result<Vec<(SegmentId, IndexFile)>, FileError> {
        let (store, at) = (self.identity.store, self.checkpoint);
        let mut gone = Vec::new();
        for id in self.listing.of(Kind::Gone).filter(|id| *id >= at) {
            match read_index(files, store, Kind::Gone, id)? {
                Some(index) => gone.push((id, index)),
                None => {
                    let what = "the index of a removed segment is damaged";
                    self.damage.push(damage(Kind::Gone.name(id), 0, 0, what));
                    self.marks.push((id, 0));
                }
            }
        }
        self.marks.sort_unstable();
        Ok(gone)
    }

    /// Between two messages of a topic that are there, others are not. Where damage lies between
    /// them, it took them; where everything between is known, something is wrong that showed nowhere
    /// else. Otherwise their segment was removed, and they had been trimmed, with all before them, or
    /// moved: where damage lies behind, it may have taken them there.
    fn judge_holes(&mut self) {
        let mut unexplained = Vec::new();
        for (share, hole) in self.state.take_holes() {
            let marks = &self.marks;
            let is_between = |mark: &Position| hole.since < *mark && *mark < hole.until;
            let is_damaged = marks.iter().any(is_between);
            let first = match is_damaged || hole.is_unexplained {
                true => Some(self.first_lost(share, &hole)),
                false => self.has_moved(share, &hole).then_some(hole.first),
            };
            if let Some(first) = first {
                let topic = &mut self.state.shares[share].topics[hole.topic];
                topic.lost.push((first, hole.last));
            }
            if !is_damaged && hole.is_unexplained {
                let (id, position) = hole.until;
                let is_within = hole.since.0 == id;
                let before = if is_within {
                    position.saturating_sub(1)
                } else {
                    0
                };
                unexplained.push((id, before));
                let what = "messages before this one are missing";
                let name = Kind::Segment.name(id);
                self.damage.push(damage(name, u64::from(position), 0, what));
            }
        }
        // What took them may have taken others, with nothing after them to show it.
        self.marks.append(&mut unexplained);
        self.marks.sort_unstable();
    }

    /// The first message of a hole that damage can have taken: no more than the damaged bytes had room
    /// for.
    fn first_lost(&self, share: usize, hole: &Hole) -> u64 {
        let is_before = |mark: &&Position| **mark < hole.until;
        match hole.is_begun {
            true => hole.first,
            false => self.first_in_room(share, hole, self.marks.iter().filter(is_before)),
        }
    }

    /// Whether all of a hole may have been moved to where damage took it. If that had no room for it, or
    /// if there is nothing before, it counts as trimmed: at least a part of it was, and with that what
    /// stands before.
    fn has_moved(&self, share: usize, hole: &Hole) -> bool {
        let is_behind = |mark: &&Position| hole.since < **mark;
        let mut marks = self.marks.iter().filter(is_behind).peekable();
        let is_possible = hole.is_begun && marks.peek().is_some();
        is_possible && self.first_in_room(share, hole, marks) == hole.first
    }

    /// The first of the last messages of a hole for which there was room in what is damaged at these
    /// places.
    fn first_in_room<'a>(
        &self,
        share: usize,
        hole: &Hole,
        marks: impl Iterator<Item = &'a Position>,
    ) -> u64 {
        let mut room_bytes = 0;
        for mark in marks {
            let Some(bytes) = self.room_at(mark) else {
                return hole.first;
            };
            room_bytes += bytes;
        }
        let topic = &self.state.shares[share].topics[hole.topic];
        let record_bytes = topic.with_key(|key| RECORD_BYTES_MIN + key.0.len());
        let count_max = (room_bytes / record_bytes as u64).max(1);
        hole.first.max((hole.last + 1).saturating_sub(count_max))
    }

    /// How many bytes are damaged there; `None` of a segment of which nobody knows how long it was.
    fn room_at(&self, (id, start): &Position) -> Option<u64> {
        let at = self.segments.binary_search_by_key(id, |segment| segment.id);
        let scan = self.segments[at.ok()?].scanned.as_ref()?;
        let bad = scan.bad.iter().find(|bad| bad.start == *start)?;
        let reach = match scan.last_frame < Some(*start) {
            true => scan.reach,
            false => 0,
        };
        Some(u64::from(bad.end.max(reach) - bad.start))
    }
}

/// From which of the segments on all are read, so that of those with an index it is not more than so
/// many bytes. Those without one are read anyway.
fn verified_from<D: Disk>(
    files: &Files<D>,
    listing: &Listing,
    segments: &[SegmentId],
    bytes_max: u64,
) -> Result<usize, FileError> {
    let mut left = bytes_max;
    let indexed = segments.iter().enumerate();
    let indexed = indexed.filter(|(_, id)| listing.has(Kind::Index, **id));
    for (at, id) in indexed.rev() {
        let name = Kind::Segment.name(*id);
        let length = files.open(&name)?.len();
        let length = length.map_err(|source| files.error("read", &name, source))?;
        if length > left {
            return Ok(at + 1);
        }
        left -= length;
    }
    Ok(0)
}

/// What the index of a segment says.
fn step_of(segment: &Loaded) -> Step<'_> {
    Step::Index {
        id: segment.id,
        index: segment.view(),
        depth: Depth::Places,
    }
}
