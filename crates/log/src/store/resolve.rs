//! From what was folded to what a topic holds: which messages are retained, and where each stands.

use std::collections::BTreeMap;

use heartwire_proto::Offset;

use super::batch::DiskPlace;
use super::recovered::RecoveredTopic;
use super::state::Topic;

impl Topic {
    /// What the topic holds: the messages up to its end without a hole. What lies below a hole was
    /// trimmed, and is still there only because its segment is.
    pub(super) fn resolve(self) -> RecoveredTopic {
        let mut resolved = RecoveredTopic {
            base: Offset(self.end),
            end: Offset(self.end),
            name: self.name,
            origin: self.origin,
            epoch: self.epoch,
            last_append: self.last_append,
            places: Vec::new(),
            gaps: Vec::new(),
        };
        let mut runs = self.runs;
        let is_simple = self.moved.is_empty() && self.lost.is_empty();
        match runs.pop() {
            Some(last) if is_simple => {
                if last.first + last.places.len() as u64 == self.end + 1 {
                    resolved.base = Offset(last.first - 1);
                    resolved.places = last.places;
                }
            }
            last => {
                let mut places = BTreeMap::new();
                for run in runs.into_iter().chain(last) {
                    places.extend((run.first..).zip(run.places));
                }
                places.extend(self.moved);
                resolved.fill(places, merged(self.lost));
            }
        }
        resolved
    }
}

impl RecoveredTopic {
    /// Walks down from the end, over messages that are there and ranges that are lost.
    fn fill(&mut self, mut places: BTreeMap<u64, DiskPlace>, mut lost: Vec<(u64, u64)>) {
        let mut next = self.end.0;
        while next > 0 {
            if let Some(place) = places.remove(&next) {
                self.places.push(place);
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
            let there = places.range(*first..next).next_back();
            let first = there.map_or(*first, |(offset, _)| offset + 1);
            self.gaps.push((Offset(first), Offset(next)));
            next = first - 1;
        }
        self.base = Offset(next);
        self.places.reverse();
        self.gaps.reverse();
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
