//! Which segments still hold a message that is retained.

use std::collections::BTreeMap;

use heartwire_proto::Time;

use super::DiskUsage;
use crate::config::LogConfig;
use crate::store::{DiskPlace, SegmentId};

/// One segment, as the index sees it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
struct Segment {
    /// How many retained messages stand in it.
    live: u64,
    /// How many bytes they take.
    live_bytes: u64,
    /// When the newest of them was appended.
    last_append: Time,
}

impl Segment {
    fn hold(&mut self, place: DiskPlace, appended: Time) {
        self.live += 1;
        self.live_bytes += u64::from(place.bytes);
        self.last_append = self.last_append.max(appended);
    }
}

/// The segments in which retained messages stand, and those that were seen to hold none any more.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Segments {
    by_id: BTreeMap<SegmentId, Segment>,
    unused: Vec<SegmentId>,
}

impl Segments {
    /// A message stands there from now on.
    pub(crate) fn hold(&mut self, place: DiskPlace, appended: Time) {
        if let Some(mut newest) = self.by_id.last_entry()
            && *newest.key() == place.segment
        {
            newest.get_mut().hold(place, appended);
            return;
        }
        let newest = self.by_id.last_key_value().map(|(id, _)| *id);
        let segment = self.by_id.entry(place.segment).or_default();
        segment.hold(place, appended);
        if newest.is_some_and(|newest| newest < place.segment) {
            self.leave(newest);
        }
    }

    /// A segment that a disk held, with the time of its last message.
    pub(crate) fn add(&mut self, id: SegmentId, last_append: Time) {
        self.by_id.entry(id).or_default().last_append = last_append;
    }

    /// So many messages were found in it, which take so many bytes together.
    pub(crate) fn hold_restored(&mut self, id: SegmentId, count: u64, bytes: u64) {
        let segment = self.by_id.entry(id).or_default();
        segment.live += count;
        segment.live_bytes += bytes;
    }

    /// Everything that a disk held has been told. What is written comes to newer segments.
    pub(crate) fn settle(&mut self) {
        let ids: Vec<SegmentId> = self.by_id.keys().copied().collect();
        for id in ids {
            self.leave(Some(id));
        }
    }

    /// A message that stood there is retained no longer.
    pub(crate) fn release(&mut self, place: DiskPlace) {
        let Some(segment) = self.by_id.get_mut(&place.segment) else {
            return;
        };
        segment.live -= 1;
        segment.live_bytes -= u64::from(place.bytes);
        let is_newest = self.by_id.last_key_value().map(|(id, _)| *id) == Some(place.segment);
        if !is_newest {
            self.leave(Some(place.segment));
        }
    }

    /// By when the message at a place was appended.
    pub(crate) fn appended_by(&self, place: DiskPlace) -> Time {
        self.by_id
            .get(&place.segment)
            .map_or(Time::ZERO, |segment| segment.last_append)
    }

    /// The segment to empty, if all together hold little enough of what they take of the disk: of those
    /// that hold less than half and that `may_empty` allows, the oldest. The newest is the one that is
    /// written to.
    pub(crate) fn sparse(
        &self,
        config: &LogConfig,
        segment_bytes: u64,
        may_empty: impl Fn(SegmentId) -> bool,
    ) -> Option<SegmentId> {
        let on_disk = self.by_id.len() as u64 * segment_bytes;
        let live: u64 = self.by_id.values().map(|segment| segment.live_bytes).sum();
        let live_max = on_disk.saturating_mul(config.sweep_live_percent_max) / 100;
        if self.by_id.len() < config.sweep_segments_min || live >= live_max {
            return None;
        }
        let mut written = self.by_id.iter().rev().skip(1).rev();
        let sparse =
            written.find(|(id, segment)| segment.live_bytes < segment_bytes / 2 && may_empty(**id));
        sparse.map(|(id, _)| *id)
    }

    /// Whether any message that is retained stands in it.
    pub(crate) fn holds(&self, id: SegmentId) -> bool {
        self.by_id.get(&id).is_some_and(|segment| segment.live > 0)
    }

    /// What is held, all together.
    pub(crate) fn usage(&self) -> DiskUsage {
        DiskUsage {
            segments: self.by_id.len(),
            retained_bytes: self.by_id.values().map(|segment| segment.live_bytes).sum(),
        }
    }

    /// Moves the segments out that hold no message any more and get no new ones.
    pub(crate) fn take_unused(&mut self, unused: &mut Vec<SegmentId>) {
        unused.append(&mut self.unused);
    }

    fn leave(&mut self, id: Option<SegmentId>) {
        if let Some(id) = id.filter(|id| self.by_id.get(id).is_some_and(|one| one.live == 0)) {
            self.by_id.remove(&id);
            self.unused.push(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(segment: u32) -> DiskPlace {
        DiskPlace {
            segment: SegmentId(segment),
            position: 0,
            bytes: 1,
        }
    }

    fn unused(segments: &mut Segments) -> Vec<SegmentId> {
        let mut unused = Vec::new();
        segments.take_unused(&mut unused);
        unused
    }

    #[test]
    fn the_segment_that_is_written_to_stays_though_it_holds_nothing() {
        let mut segments = Segments::default();
        segments.hold(place(1), Time::ZERO);
        segments.release(place(1));
        assert_eq!(unused(&mut segments), []);
        segments.hold(place(2), Time::ZERO);
        assert_eq!(unused(&mut segments), [SegmentId(1)]);
        assert_eq!(unused(&mut segments), []);
    }

    #[test]
    fn a_segment_is_unused_when_its_last_message_goes() {
        let mut segments = Segments::default();
        for segment in [1, 1, 2] {
            segments.hold(place(segment), Time::from_millis(u64::from(segment)));
        }
        segments.release(place(1));
        assert_eq!(unused(&mut segments), []);
        assert_eq!(segments.appended_by(place(1)), Time::from_millis(1));
        segments.release(place(1));
        assert_eq!(unused(&mut segments), [SegmentId(1)]);
    }
}
