//! From what was folded to what topics hold: which messages are retained, and where each stands.
//!
//! ```text
//!   runs of a share, as they were folded ──► by topic ──► Retained: which count, and what is lost
//!   (segment by segment)                                     └ places stay in the indexes
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use heartwire_disk::Spread;
use heartwire_proto::Offset;

use super::batch::{DiskPlace, SegmentId};
use super::envelope;
use super::load::Loaded;
use super::places::{IndexedRun, Places, SharedIndex};
use super::recovered::RecoveredTopic;
use super::share::{PlacedRun, Share, Topic};
use super::state::State;

/// What a topic holds.
#[derive(Clone, Debug, Default)]
pub(super) struct Retained {
    /// The offset before the oldest message that is there, or lost to damage.
    base: u64,
    /// Where the messages stand that are there.
    places: Places,
    /// First and last offsets of what is lost.
    gaps: Vec<(Offset, Offset)>,
}

/// The indexes that were folded, in the order of their segments.
struct Indexes(Vec<(SegmentId, SharedIndex)>);

impl Indexes {
    fn new(segments: &[Loaded]) -> Self {
        let files = segments.iter();
        let shared = files.map(|segment| (segment.id, Arc::new(Arc::clone(&segment.index.bytes))));
        Self(shared.collect())
    }

    /// The places of runs, one after the other.
    fn places(&self, runs: &[PlacedRun]) -> Places {
        Places::indexed(runs.iter().map(|placed| {
            let at = self.0.binary_search_by_key(&placed.segment, |(id, _)| *id);
            let at = at.expect("a run is of a segment that was folded");
            IndexedRun {
                segment: placed.segment,
                index: Arc::clone(&self.0[at].1),
                at: placed.run.at + envelope::BODY_AT as u32,
                len: placed.run.len,
                bytes: placed.run.bytes,
            }
        }))
    }
}

impl State {
    /// Finds what each topic holds, once all is folded. The indexes of the segments are the ones
    /// that were.
    pub(super) fn place(&mut self, segments: &[Loaded], spread: &impl Spread) {
        let shares = &self.shares;
        let retained = spread.map(shares.len(), |share| shares[share].retain(segments));
        for (share, retained) in self.shares.iter_mut().zip(retained) {
            share.retained = retained;
        }
    }

    /// What is told of all topics, in the order of their names.
    pub(super) fn take_topics(&mut self) -> Vec<RecoveredTopic> {
        let shares = self.shares.iter_mut();
        let told = shares.flat_map(|share| {
            let topics = std::mem::take(&mut share.topics);
            let retained = std::mem::take(&mut share.retained);
            topics.into_iter().zip(retained)
        });
        let mut told: Vec<RecoveredTopic> = told
            .map(|(topic, retained)| topic.recovered(retained))
            .collect();
        told.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        told
    }
}

impl Share {
    fn retain(&self, segments: &[Loaded]) -> Vec<Retained> {
        let indexes = Indexes::new(segments);
        let (runs, bounds) = self.runs_by_life();
        let topics = self.topics.iter();
        let retained = topics.map(|topic| {
            let life = topic.life as usize;
            let runs = &runs[bounds[life] as usize..bounds[life + 1] as usize];
            topic.retain(runs, &indexes)
        });
        retained.collect()
    }

    /// The runs in the order of lives, those of one life in the order in which they were folded, and
    /// where those of each life begin.
    fn runs_by_life(&self) -> (Vec<PlacedRun>, Vec<u32>) {
        let bounds = bounds(self.lives.len(), self.runs.iter().map(|placed| placed.life));
        let (mut next, mut sorted) = (bounds.clone(), self.runs.clone());
        for placed in &self.runs {
            let at = &mut next[placed.life as usize];
            sorted[*at as usize] = *placed;
            *at += 1;
        }
        (sorted, bounds)
    }
}

impl Topic {
    /// The messages up to its end without a hole. What lies below a hole was trimmed, and is still
    /// there only because its segment is.
    fn retain(&self, runs: &[PlacedRun], indexes: &Indexes) -> Retained {
        if !self.moved.is_empty() || !self.lost.is_empty() {
            return self.retain_between_losses(runs, indexes);
        }
        let (mut base, mut first) = (self.end, runs.len());
        while let Some(PlacedRun { run, .. }) = runs[..first].last()
            && run.last() == base
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
    fn retain_between_losses(&self, runs: &[PlacedRun], indexes: &Indexes) -> Retained {
        let offsets = runs
            .iter()
            .flat_map(|placed| placed.run.first..=placed.run.last());
        let places = indexes.places(runs);
        let mut there: BTreeMap<u64, DiskPlace> = offsets.zip(places.iter()).collect();
        there.extend(self.moved.iter().copied());
        Retained::below(self.end, there, merged(self.lost.clone()))
    }

    fn recovered(self, retained: Retained) -> RecoveredTopic {
        RecoveredTopic {
            name: self.name,
            origin: self.origin,
            epoch: self.epoch,
            base: Offset(retained.base),
            end: Offset(self.end),
            last_append: self.last_append,
            places: retained.places,
            gaps: retained.gaps,
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
            places: places.into_iter().collect(),
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
