//! Emptying old segments: a few messages that are still retained would keep a whole one on disk.
//!
//! ```text
//!   sparse ──► sweep: its messages, topic by topic ──► Load ──► (the driver reads) ──► loaded
//!                                                                                        │
//!      unused ◄── released ◄── commit: they stand in the newest segment ◄── pending ◄────┘
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use heartwire_proto::{Offset, Time};

use super::Log;
use super::warm::{Load, Purpose};
use crate::Entry;
use crate::append::What;
use crate::store::{DiskPlace, SegmentId};
use crate::topic::{ReadBack, TopicId, TopicLog};

/// How long a segment is left alone that the system refused to read, while others are emptied.
const REFUSED_FOR: Duration = Duration::from_secs(60);

/// A segment whose messages are being moved.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Sweep {
    /// The segment, and the topic to look at next.
    at: Option<(SegmentId, u32)>,
    /// How many loads and moves are under way.
    under_way: usize,
    /// Segments that the system refused to read, and until when they are left alone.
    refused: BTreeMap<SegmentId, Time>,
}

impl Log {
    /// How many loads a sweep has under way at the most: with their size, what it keeps in memory.
    pub const SWEEP_LOADS_MAX: usize = 16;

    /// Goes on moving messages out of segments that hold too few, if there are such: goes through
    /// topics until they hold `messages_max` together, and adds what is to be read to `loads`.
    /// `segment_bytes` is how large the writer's segments are. Call it about once a second.
    pub fn sweep(&mut self, segment_bytes: u64, messages_max: usize, loads: &mut Vec<Load>) {
        if self.sweep.at.is_none() && self.sweep.under_way == 0 {
            self.sweep.at = self.next_sparse(segment_bytes).map(|segment| (segment, 0));
        }
        let Some((segment, from)) = self.sweep.at else {
            return;
        };
        let room = Self::SWEEP_LOADS_MAX.saturating_sub(self.sweep.under_way);
        let (mut next, mut looked, mut found) = (None, 0, 0);
        for (key, topic) in self.topics.iter_from(from) {
            if looked >= messages_max || found >= room {
                next = Some((segment, key.index()));
                break;
            }
            looked += topic.retained_len() + 1;
            if let Some(load) = self.move_out(TopicId(key), topic, segment) {
                loads.push(load);
                found += 1;
            }
        }
        self.sweep.under_way += found;
        self.sweep.at = next;
    }

    /// The segment to empty next.
    fn next_sparse(&mut self, segment_bytes: u64) -> Option<SegmentId> {
        let (clock, refused) = (self.clock, &mut self.sweep.refused);
        refused.retain(|_, until| *until > clock);
        let may_empty = |id| !refused.contains_key(&id);
        self.segments.sparse(segment_bytes, may_empty)
    }

    /// The system refuses to read from a segment. Others are emptied meanwhile.
    fn leave_alone(&mut self, segment: SegmentId) {
        let until = self.clock + REFUSED_FOR;
        self.sweep.refused.insert(segment, until);
        if self.sweep.at.is_some_and(|(at, _)| at == segment) {
            self.sweep.at = None;
        }
    }

    /// The first messages of a topic that stand in the segment. More of them are moved by the next
    /// sweep of the same segment.
    fn move_out(&self, id: TopicId, topic: &TopicLog, segment: SegmentId) -> Option<Load> {
        let (before, places) = topic.places_in(segment)?;
        Some(self.load_of(id, topic, before, places, Purpose::Move))
    }

    /// The messages have been read and are written again. Of those that the disk has lost it is
    /// written that they are: once their segment is gone, nothing else would tell them from what
    /// retention has trimmed, with everything before them.
    pub(super) fn move_read(&mut self, load: &Load, messages: Vec<ReadBack>) {
        self.sweep.under_way -= 1;
        if let Some(refused) = load.places.get(messages.len()) {
            self.leave_alone(refused.segment);
        }
        let topic = load.topic;
        for (index, (message, from)) in messages.into_iter().zip(&load.places).enumerate() {
            let (offset, from) = (Offset(load.after.0 + index as u64 + 1), *from);
            let stands = self
                .topics
                .get(topic.0)
                .and_then(|held| held.place_of(offset));
            if stands != Some(from) {
                continue;
            }
            let bytes = message.as_ref();
            let bytes = bytes.map_or(load.name.as_topic().as_str().len(), Entry::memory_bytes);
            if !self.has_room(bytes) {
                return;
            }
            let what = match message {
                Some(entry) => What::Moved {
                    topic,
                    offset,
                    entry,
                    from,
                },
                None => What::Lost {
                    topic,
                    offset,
                    from,
                },
            };
            self.sweep.under_way += 1;
            self.push_pending(what, None, None, bytes, 0);
        }
    }

    pub(super) fn moved(&mut self) {
        self.sweep.under_way -= 1;
    }

    /// It is durable that a message is lost: it holds no segment any more.
    pub(super) fn lose(&mut self, id: TopicId, offset: Offset, from: DiskPlace) {
        let topic = self.topics.get_mut(id.0);
        if let Some(topic) = topic.filter(|topic| topic.place_of(offset) == Some(from)) {
            topic.lose_place(offset);
            self.index_len -= 1;
            self.segments.release(from);
        }
    }
}
