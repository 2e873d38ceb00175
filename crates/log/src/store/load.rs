//! Reading one segment: its index, or all of it where there is none.

use std::collections::BTreeSet;
use std::sync::Arc;

use heartwire_disk::{Disk, DiskFile as _};

use super::batch::SegmentId;
use super::checksum::Hashes;
use super::envelope;
use super::error::FileError;
use super::files::{Files, Kind};
use super::index::SegmentIndex;
use super::meta::Identity;
use super::scan::{Region, Scanned, is_intact, scan};
use super::view::{IndexView, Layout};

/// How much is believed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Trust {
    /// What an index says, if it is whole; but the newest segments are read, as far as so many bytes go.
    Indexes {
        /// The bytes.
        verified_bytes_max: u64,
    },
    /// Nothing that was not read.
    Nothing,
}

/// How much of a segment is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Extent {
    /// Its index alone, if there is a whole one.
    Index,
    /// Its frames as well, to see that they are whole.
    Frames,
    /// All of it: what it holds is told without the index.
    All,
}

/// What the indexes say, wherever there are any.
pub(super) const INDEXES: Trust = Trust::Indexes {
    verified_bytes_max: 0,
};

/// A segment that was read.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) id: SegmentId,
    /// Its index, as it stands, or should stand, in a file.
    pub(super) index: IndexFile,
    /// Whether it does stand in a file like that.
    pub(super) has_file: bool,
    pub(super) scanned: Option<Scan>,
    /// Whether it has an index file that cannot be used.
    pub(super) index_is_bad: bool,
    /// Whether the index tells exactly what the damage took.
    pub(super) is_exact: bool,
}

/// What reading all of a segment showed.
#[derive(Debug)]
pub(super) struct Scan {
    pub(super) frames: u64,
    pub(super) last_frame: Option<u32>,
    /// Damage that nobody has accepted yet.
    pub(super) bad: Vec<Region>,
    pub(super) tail: Option<Region>,
    /// How far frames behind the last whole one can have gone, where nobody can tell.
    pub(super) reach: u32,
    /// The file's length, in bytes.
    pub(super) file_bytes: u64,
}

impl Loaded {
    pub(super) fn view(&self) -> IndexView<'_> {
        self.index.view()
    }

    /// Whether anything was ever written to it. What has a whole index was, even if nothing of it can
    /// be read any more: the index knows what is lost.
    pub(super) fn is_used(&self) -> bool {
        let has_any = |scan: &Scan| scan.frames > 0 || scan.tail.is_some() || !scan.bad.is_empty();
        self.is_exact || self.scanned.as_ref().is_none_or(has_any)
    }

    /// All that it held is lost.
    pub(super) fn lose_all(&mut self, store: u64) {
        let view = self.view();
        let mut lost = SegmentIndex::new(Hashes::new(store), view.valid, view.time);
        lost.take_over(view, |_| true);
        self.set_index(store, &lost);
    }

    pub(super) fn set_index(&mut self, store: u64, index: &SegmentIndex) {
        self.index = IndexFile::made(store, self.id, index);
    }

    /// A segment that is known by its index alone.
    pub(super) const fn by_index(id: SegmentId, index: IndexFile) -> Self {
        Self {
            id,
            index,
            has_file: true,
            scanned: None,
            index_is_bad: false,
            is_exact: true,
        }
    }
}

/// An index file that was read and is whole, or that was made here.
#[derive(Debug, Default)]
pub(super) struct IndexFile {
    pub(super) bytes: Arc<Vec<u8>>,
    layout: Layout,
}

impl IndexFile {
    pub(super) fn made(store: u64, id: SegmentId, index: &SegmentIndex) -> Self {
        let bytes = Arc::new(index.to_file(store, id));
        let layout = Layout::of(envelope::body(&bytes), &Hashes::new(store)).unwrap_or_default();
        Self { bytes, layout }
    }

    pub(super) fn view(&self) -> IndexView<'_> {
        let view = IndexView::new(envelope::body(&self.bytes), &self.layout);
        view.expect("an index is checked when it is read, and whole when it is made")
    }

    /// How long it is without the places of messages, in bytes: what a checkpoint folds.
    pub(super) fn facts_bytes(&self) -> u64 {
        (self.bytes.len() - self.layout.places_bytes) as u64
    }
}

/// Reads an index file; `None` if it cannot be used.
pub(super) fn read_index<D: Disk>(
    files: &Files<D>,
    store: u64,
    kind: Kind,
    id: SegmentId,
) -> Result<Option<IndexFile>, FileError> {
    let bytes = files.read(&kind.name(id))?;
    let body = envelope::unwrap(kind, store, id, &bytes);
    let layout = body.and_then(|body| Layout::of(body, &Hashes::new(store)));
    let bytes = Arc::new(bytes);
    Ok(layout.map(|layout| IndexFile { bytes, layout }))
}

/// Reads a segment: as much as is asked for, or all of it if it is not as its index says.
pub(super) fn load<D: Disk>(
    files: &Files<D>,
    identity: &Identity,
    id: SegmentId,
    has_index: bool,
    extent: Extent,
) -> Result<Loaded, FileError> {
    let index = match has_index {
        true => read_index(files, identity.store, Kind::Index, id)?,
        false => None,
    };
    let is_whole = index.is_some();
    let mut loaded = Loaded {
        index_is_bad: has_index && !is_whole,
        is_exact: is_whole,
        has_file: is_whole,
        ..Loaded::by_index(id, index.unwrap_or_default())
    };
    let name = Kind::Segment.name(id);
    let file = files.open(&name)?;
    if loaded.is_exact && extent != Extent::All {
        let valid = loaded.view().valid;
        let is_enough = extent == Extent::Index
            || is_intact(&file, identity, id, valid)
                .map_err(|source| files.error("read", &name, source))?;
        if is_enough {
            return Ok(loaded);
        }
    }
    let read = file
        .len()
        .and_then(|len| Ok((len, scan(&file, identity, id)?)));
    let (file_bytes, mut scanned) = read.map_err(|source| files.error("read", &name, source))?;
    if loaded.is_exact {
        let amended = amend(loaded.view(), &mut scanned, Hashes::new(identity.store));
        loaded.set_index(identity.store, &amended);
    } else {
        loaded.set_index(identity.store, &scanned.index);
    }
    loaded.scanned = Some(Scan {
        frames: scanned.frames,
        last_frame: scanned.last_frame,
        bad: scanned.bad,
        tail: scanned.tail,
        reach: scanned.reach,
        file_bytes,
    });
    Ok(loaded)
}

/// The index of a segment of which not all could be read: what stood in the bad parts is lost, by
/// name. Parts that were accepted before are no news.
fn amend(view: IndexView<'_>, scanned: &mut Scanned, hashes: Hashes) -> SegmentIndex {
    let valid = scanned.index.valid.max(view.valid);
    // The index knows better than the scan where the last frame ends.
    scanned.bad.extend(scanned.tail.take().map(|tail| Region {
        end: tail.end.max(view.valid),
        ..tail
    }));
    // Whatever else is damaged: what does not reach so far does not tell of the last frames.
    let told = scanned.bad.iter().map(|region| region.end);
    let told = told.fold(scanned.index.valid, u32::max);
    if told < view.valid {
        scanned.bad.push(Region {
            start: told,
            end: view.valid,
            what: "frames are missing",
        });
    }
    let mut amended = SegmentIndex::new(hashes, valid, view.time);
    let is_bad = |position: u32| scanned.bad.iter().any(|region| region.holds(position));
    amended.take_over(view, is_bad);
    let known: BTreeSet<(u32, u32)> = view.accepted().collect();
    let is_news = |region: &Region| !known.contains(&(region.start, region.bytes()));
    scanned.bad.retain(is_news);
    amended
}
