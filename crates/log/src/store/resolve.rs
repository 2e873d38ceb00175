//! From what was folded to what topics hold: which messages are retained, and where each stands.
//!
//! ```text
//!   runs, as they were folded ──► by topic ──► a share of the topics each: ──► Retained
//!   (segment by segment)                       places, read from the indexes
//! ```

use std::collections::BTreeMap;

use heartwire_disk::Spread;
use heartwire_proto::Offset;

use super::batch::{DiskPlace, SegmentId};
use super::load::Loaded;
use super::recovered::RecoveredTopic;
use super::state::{Run, State, Topic, place};
use super::view::{IndexView, PLACE_BYTES, PackedPlace, unpack};

/// How many topics a thread takes on at once.
const TOPICS_PER_SHARE: usize = 256;
/// How much memory comes to the processor at once, in bytes.
const LINE_BYTES: usize = 64;

/// What a topic holds.
#[derive(Clone, Debug, Default)]
pub(super) struct Retained {
    /// The offset before the oldest message that is there, or lost to damage.
    base: u64,
    /// Where the messages stand that are there.
    places: Vec<DiskPlace>,
    /// First and last offsets of what is lost.
    gaps: Vec<(Offset, Offset)>,
}

/// The indexes that were folded, in the order of their segments.
struct Indexes<'a>(Vec<(SegmentId, IndexView<'a>)>);

impl Indexes<'_> {
    fn of(&self, run: &Run) -> &[PackedPlace] {
        let at = self.0.binary_search_by_key(&run.segment, |(id, _)| *id);
        let at = at.expect("a run is of a segment that was folded");
        self.0[at].1.places_at(run.at, run.len)
    }

    /// The places of runs, one after the other.
    fn places(&self, runs: &[Run]) -> Vec<DiskPlace> {
        let mut places = Vec::with_capacity(runs.iter().map(|run| run.len).sum());
        let found: Vec<_> = runs.iter().map(|run| (run.segment, self.of(run))).collect();
        touch(&found);
        for (segment, packed) in found {
            let unpacked = packed.iter().copied().map(unpack);
            places.extend(unpacked.map(|(position, bytes)| place(segment, position, bytes)));
        }
        places
    }
}

/// Reads a little of every line of memory: the runs of one topic are far from each other, and so the
/// processor waits for all of them at once.
fn touch(found: &[(SegmentId, &[PackedPlace])]) {
    let lines = found
        .iter()
        .flat_map(|(_, packed)| packed.chunks(LINE_BYTES / PLACE_BYTES));
    std::hint::black_box(lines.fold(0, |sum, line| sum ^ line[0][0]));
}

impl State {
    /// Finds what each topic holds, once all is folded. The indexes of the segments are the ones
    /// that were.
    pub(super) fn place(&mut self, segments: &[Loaded], spread: &impl Spread) {
        let views = segments.iter().map(|segment| (segment.id, segment.view()));
        let indexes = Indexes(views.collect());
        let (runs, bounds) = self.take_runs();
        let shares: Vec<&[Topic]> = self.topics.chunks(TOPICS_PER_SHARE).collect();
        let retained = spread.map(shares.len(), |share| {
            let topics = shares[share].iter();
            let retained = topics.map(|topic| {
                let life = topic.life as usize;
                let runs = &runs[bounds[life] as usize..bounds[life + 1] as usize];
                topic.retain(runs, &indexes)
            });
            retained.collect::<Vec<_>>()
        });
        for (topic, retained) in self.topics.iter_mut().zip(retained.into_iter().flatten()) {
            topic.retained = retained;
        }
    }

    /// The runs in the order of lives, those of one life in the order in which they were folded, and
    /// where those of each life begin.
    fn take_runs(&mut self) -> (Vec<Run>, Vec<u32>) {
        let runs = std::mem::take(&mut self.runs);
        let bounds = bounds(self.lives.len(), runs.iter().map(|run| run.life));
        let (mut next, mut sorted) = (bounds.clone(), runs.clone());
        for run in runs {
            let at = &mut next[run.life as usize];
            sorted[*at as usize] = run;
            *at += 1;
        }
        (sorted, bounds)
    }
}

impl Topic {
    /// The messages up to its end without a hole. What lies below a hole was trimmed, and is still
    /// there only because its segment is.
    fn retain(&self, runs: &[Run], indexes: &Indexes<'_>) -> Retained {
        if !self.moved.is_empty() || !self.lost.is_empty() {
            return self.retain_between_losses(runs, indexes);
        }
        let (mut base, mut first) = (self.end, runs.len());
        while let Some(run) = runs[..first].last()
            && run.first + run.len as u64 == base + 1
        {
            (base, first) = (run.first - 1, first - 1);
        }
        Retained {
            base,
            places: indexes.places(&runs[first..]),
            gaps: Vec::new(),
        }
    }

    /// The same where messages were written again, or lost, which is rare.
    fn retain_between_losses(&self, runs: &[Run], indexes: &Indexes<'_>) -> Retained {
        let offsets = runs.iter().flat_map(|run| (run.first..).take(run.len));
        let mut there: BTreeMap<u64, DiskPlace> = offsets.zip(indexes.places(runs)).collect();
        there.extend(self.moved.iter().copied());
        Retained::below(self.end, there, merged(self.lost.clone()))
    }

    /// What is told of it.
    pub(super) fn recovered(self) -> RecoveredTopic {
        RecoveredTopic {
            name: self.name,
            origin: self.origin,
            epoch: self.epoch,
            base: Offset(self.retained.base),
            end: Offset(self.end),
            last_append: self.last_append,
            places: self.retained.places,
            gaps: self.retained.gaps,
        }
    }
}

impl Retained {
    /// Walks down from the end, over messages that are there and ranges that are lost.
    fn below(end: u64, mut there: BTreeMap<u64, DiskPlace>, mut lost: Vec<(u64, u64)>) -> Self {
        let (mut places, mut gaps) = (Vec::new(), Vec::new());
        let mut next = end;
        while next > 0 {
            if let Some(place) = there.remove(&next) {
                places.push(place);
                next -= 1;
                continue;
            }
            while lost.last().is_some_and(|(first, _)| *first > next) {
                lost.pop();
            }
            let Some((first, _)) = lost.last().filter(|(_, last)| *last >= next) else {
                break;
            };
            // A message that was written again is there, although it was lost elsewhere.
            let before = there.range(*first..next).next_back();
            let first = before.map_or(*first, |(offset, _)| offset + 1);
            gaps.push((Offset(first), Offset(next)));
            next = first - 1;
        }
        places.reverse();
        gaps.reverse();
        Self {
            base: next,
            places,
            gaps,
        }
    }
}

/// The same ranges, in order, those that touch made one.
fn merged(mut ranges: Vec<(u64, u64)>) -> Vec<(u64, u64)> {
    ranges.sort_unstable();
    let mut merged: Vec<(u64, u64)> = Vec::new();
    for (first, last) in ranges {
        match merged.last_mut() {
            Some(before) if first <= before.1 + 1 => before.1 = before.1.max(last),
            _ => merged.push((first, last)),
        }
    }
    merged
}

/// Where each group begins in the order of groups, and where the last one ends.
fn bounds(groups: usize, members: impl Iterator<Item = u32>) -> Vec<u32> {
    let mut bounds = vec![0; groups + 1];
    for group in members {
        bounds[group as usize + 1] += 1;
    }
    for group in 0..groups {
        bounds[group + 1] += bounds[group];
    }
    bounds
}
