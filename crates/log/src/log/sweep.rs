//! Emptying old segments: a few messages that are still retained would keep a whole one on disk.
//!
//! ```text
//!   sparse ──► sweep: its messages, topic by topic ──► Load ──► (the driver reads) ──► loaded
//!                 ▲                                                                      │
//!     go_on_sweeping, once all of them are                                               │
//!                 │                                                                      │
//!      unused ◄── released ◄── commit: they stand in the newest segment ◄── pending ◄────┘
//! ```
//!
//! A few loads are under way at a time, and the next are handed out when those have been written again:
//! so it goes as fast as the disk. Whatever holds it up (no room, a read that is refused, nothing that is
//! to be moved) ends that until the next call of `sweep`, so that nothing is tried in a circle.

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
    at: Option<At>,
    /// How many loads and moves are under way.
    under_way: usize,
    /// Whether it goes on as soon as nothing is under way any more.
    goes_on: bool,
    /// How large the writer's segments are, in bytes, as was said last.
    segment_bytes: u64,
    /// Segments that the system refused to read, and until when they are left alone.
    refused: BTreeMap<SegmentId, Time>,
}

/// How far it has come: the segment, and the topic to look at next, from which message on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct At {
    segment: SegmentId,
    topic: u32,
    after: Offset,
}

/// What one look may still do.
struct Budget {
    messages: usize,
    loads: usize,
}

impl Log {
    /// How many loads a sweep has under way at the most: with their size, what it keeps in memory.
    pub const SWEEP_LOADS_MAX: usize = 16;

    /// Goes on moving messages out of segments that hold too few, if there are such: goes through
    /// topics until they hold `messages_max` together, and adds what is to be read to `loads`.
    /// `segment_bytes` is how large the writer's segments are. Call it about once a second.
    pub fn sweep(&mut self, segment_bytes: u64, messages_max: usize, loads: &mut Vec<Load>) {
        self.sweep.segment_bytes = segment_bytes;
        self.hand_out(messages_max, loads);
    }

    /// The same between those calls, when what was handed out has been moved. Call it whenever something
    /// was [loaded](Self::loaded) or [committed](Self::commit), or oftener: it looks at topics only where
    /// a segment is being emptied, and nothing is under way.
    pub fn go_on_sweeping(&mut self, messages_max: usize, loads: &mut Vec<Load>) {
        if self.sweep.goes_on && self.sweep.under_way == 0 && self.has_spare_room() {
            self.hand_out(messages_max, loads);
        }
    }

    /// Whether new messages find room while the next segment is being made, however much is moved before.
    fn has_spare_room(&self) -> bool {
        self.room_left() >= self.sweep.segment_bytes / 2
    }

    /// Of a log that accepts nothing, nothing is moved: it is about to end, or nothing can be written.
    fn hand_out(&mut self, messages_max: usize, loads: &mut Vec<Load>) {
        if !self.accepting {
            return;
        }
        let is_over = |at: &mut At| !self.segments.holds(at.segment);
        self.sweep.at.take_if(is_over);
        if self.sweep.at.is_none() && self.sweep.under_way == 0 {
            self.sweep.at = self.next_sparse().map(|segment| At {
                segment,
                topic: 0,
                after: Offset::ZERO,
            });
        }
        self.look(messages_max, loads);
        self.sweep.goes_on = self.sweep.at.is_some() || self.sweep.under_way > 0;
    }

    /// Looks for messages that stand in the segment.
    fn look(&mut self, messages_max: usize, loads: &mut Vec<Load>) {
        let Some(at) = self.sweep.at else {
            return;
        };
        let mut budget = Budget {
            messages: messages_max,
            loads: Self::SWEEP_LOADS_MAX.saturating_sub(self.sweep.under_way),
        };
        let loads_before = loads.len();
        self.sweep.at = None;
        for (key, topic) in self.topics.iter_from(at.topic) {
            let next = At {
                topic: key.index(),
                after: match key.index() == at.topic {
                    true => at.after,
                    false => Offset::ZERO,
                },
                ..at
            };
            self.sweep.at = self.move_out(TopicId(key), topic, next, &mut budget, loads);
            if self.sweep.at.is_some() {
                break;
            }
        }
        self.sweep.under_way += loads.len() - loads_before;
    }

    /// The segment to empty next.
    fn next_sparse(&mut self) -> Option<SegmentId> {
        let (clock, refused) = (self.clock, &mut self.sweep.refused);
        refused.retain(|_, until| *until > clock);
        let may_empty = |id| !refused.contains_key(&id);
        let segment_bytes = self.sweep.segment_bytes;
        self.segments.sparse(&self.config, segment_bytes, may_empty)
    }

    /// The system refuses to read from a segment. Others are emptied meanwhile.
    fn leave_alone(&mut self, segment: SegmentId) {
        let until = self.clock + REFUSED_FOR;
        self.sweep.refused.insert(segment, until);
        self.sweep.goes_on = false;
        if self.sweep.at.is_some_and(|at| at.segment == segment) {
            self.sweep.at = None;
        }
    }

    /// Adds the messages of a topic that stand in the segment to `loads`. Returns where it has come to
    /// when the budget is spent.
    fn move_out(
        &self,
        id: TopicId,
        topic: &TopicLog,
        mut at: At,
        budget: &mut Budget,
        loads: &mut Vec<Load>,
    ) -> Option<At> {
        loop {
            if budget.messages == 0 || budget.loads == 0 {
                return Some(at);
            }
            let looked_max = budget.messages;
            let passed = topic.look_for(at.segment, at.after, looked_max);
            budget.messages = looked_max.saturating_sub(passed + 1);
            at.after = Offset(at.after.0.max(topic.base().0) + passed as u64);
            let mut places = topic.places_in(at.segment, at.after).peekable();
            if places.peek().is_none() {
                return (passed == looked_max).then_some(at);
            }
            let load = self.load_of(id, topic, at.after, places, Purpose::Move);
            budget.messages = budget.messages.saturating_sub(load.places.len());
            budget.loads -= 1;
            at.after = Offset(at.after.0 + load.places.len() as u64);
            loads.push(load);
        }
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
                self.sweep.goes_on = false;
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
