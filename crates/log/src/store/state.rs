//! Everything that a log holds, folded from the indexes of its segments in their order, and from the
//! checkpoint between them.
//!
//! ```text
//!   indexes below the checkpoint ──► places ─┐
//!   checkpoint ─────────────────────────────►├─ topics as they were ──► indexes after it ──► topics
//! ```
//!
//! What is told of topics is folded by several threads, each of which has a [`Share`] of them.

use std::collections::BTreeMap;

use hashbrown::HashMap;
use heartwire_disk::Spread;
use heartwire_proto::{Seq, Time};

use super::batch::SegmentId;
use super::checkpoint::CheckpointView;
use super::checksum::Hashes;
use super::recovered::SegmentInfo;
use super::share::{Hole, Share, Topic};
use super::view::{IndexView, SHARES};
use crate::producer::ProducerId;

/// A position in the log as a whole.
pub(super) type Position = (SegmentId, u32);

/// How much of the indexes is taken in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Depth {
    /// Everything.
    Places,
    /// All but where messages stand: what a checkpoint needs.
    Topics,
    /// What stays of a segment that was removed.
    Gone,
}

/// What is taken in next.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step<'a> {
    /// The index of a segment.
    Index {
        id: SegmentId,
        index: IndexView<'a>,
        depth: Depth,
    },
    /// The checkpoint that covers everything taken in so far: it knows all topics and all producers;
    /// of what was folded, only where messages stand counts.
    Checkpoint {
        id: SegmentId,
        checkpoint: CheckpointView<'a>,
    },
}

impl Step<'_> {
    /// The number of the segment, or of the checkpoint.
    pub(super) const fn id(&self) -> SegmentId {
        match self {
            Self::Index { id, .. } | Self::Checkpoint { id, .. } => *id,
        }
    }

    /// How many runs of messages it brings to a share.
    const fn runs_len(&self, share: usize) -> usize {
        match self {
            Self::Index { index, .. } => index.runs_len(share),
            Self::Checkpoint { .. } => 0,
        }
    }
}

/// Everything that a log holds.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) shares: Vec<Share>,
    pub(super) producers: HashMap<ProducerId, (Seq, Time), foldhash::fast::FixedState>,
    pub(super) segments: BTreeMap<SegmentId, SegmentInfo>,
    pub(super) time: Time,
}

impl State {
    /// Nothing yet. `is_complete` says that nothing lies before what is taken in next.
    pub(super) fn new(hashes: &Hashes, is_complete: bool) -> Self {
        Self {
            shares: (0..SHARES)
                .map(|number| Share::new(number, hashes.clone(), is_complete))
                .collect(),
            producers: HashMap::with_hasher(hashes.state()),
            segments: BTreeMap::new(),
            time: Time::ZERO,
        }
    }

    /// What all these say, in the order in which they were written.
    pub(super) fn of(
        steps: &[Step<'_>],
        hashes: &Hashes,
        is_complete: bool,
        spread: &impl Spread,
    ) -> Self {
        let mut state = Self::new(hashes, is_complete);
        for step in steps {
            state.note(step);
        }
        state.shares = spread.map(SHARES, |number| {
            let mut share = Share::new(number, hashes.clone(), is_complete);
            let runs = steps.iter().map(|step| step.runs_len(number));
            share.runs.reserve(runs.sum());
            steps.iter().for_each(|step| share.take_in(step));
            share
        });
        state
    }

    /// Takes in what comes next.
    pub(super) fn take_in(&mut self, step: &Step<'_>) {
        self.note(step);
        for share in &mut self.shares {
            share.take_in(step);
        }
    }

    /// Segments go. A topic whose last message stood there counts as appended to by now: until now
    /// whoever reads the log has known it, however old it is, and may do so for a while.
    pub(super) fn let_go(&mut self, segments: &[SegmentId]) {
        for id in segments {
            self.segments.remove(id);
        }
        let topics = self.shares.iter_mut().flat_map(|share| &mut share.topics);
        for topic in topics.filter(|topic| segments.contains(&topic.last_segment)) {
            topic.last_append = topic.last_append.max(self.time);
        }
    }

    /// All topics, in no order.
    pub(super) fn topics(&self) -> impl Iterator<Item = &Topic> {
        self.shares.iter().flat_map(|share| &share.topics)
    }

    /// Moves out all holes, each with the share of its topic, in the order of the messages after them.
    pub(super) fn take_holes(&mut self) -> Vec<(usize, Hole)> {
        let shares = self.shares.iter_mut().enumerate();
        let holes = shares.flat_map(|(at, share)| {
            let holes = std::mem::take(&mut share.holes);
            holes.into_iter().map(move |hole| (at, hole))
        });
        let mut holes: Vec<(usize, Hole)> = holes.collect();
        holes.sort_unstable_by_key(|(_, hole)| hole.until);
        holes
    }

    /// Takes in what is told of anything but topics.
    fn note(&mut self, step: &Step<'_>) {
        match step {
            Step::Index { id, index, depth } => {
                for (producer, seq, time) in index.producers() {
                    let known = self.producers.entry(producer).or_insert((seq, time));
                    *known = (known.0.max(seq), known.1.max(time));
                }
                self.time = self.time.max(index.time);
                if *depth != Depth::Gone {
                    let info = SegmentInfo {
                        id: *id,
                        last_time: index.time,
                        bytes: u64::from(index.valid),
                    };
                    self.segments.insert(*id, info);
                }
            }
            Step::Checkpoint { checkpoint, .. } => {
                let producers = checkpoint.producers();
                self.producers.clear();
                self.producers
                    .extend(producers.map(|(id, seq, time)| (id, (seq, time))));
                self.time = self.time.max(checkpoint.time);
            }
        }
    }
}
