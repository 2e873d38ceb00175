//! Reading topics from followers' cursors: there is no queue for anybody `[MSG-7]`.

use heartwire_log::{Entry, Form, Log, TopicLog};
use heartwire_proto::frame::{Gap, GapReason, Tails};
use heartwire_proto::id::TopicRef;
use heartwire_proto::{Epoch, Offset};

use super::follow::FollowedTopic;
use super::follows::{Follow, Follows};
use super::{ConnKey, HubState};

/// How much of one topic a follower is given before its next topic has its turn, in bytes.
const TURN_BYTES: usize = 16 * 1024;

/// What a `gap` or `epoch` counts for in a budget, in bytes.
const NOTE_BYTES: usize = 64;

/// How much of a ping positions may fill, in bytes. What does not fit is told by a later ping.
const TAILS_BYTES_MAX: usize = 16 * 1024;

/// So many positions fit whatever the topics are called.
const TAILS_THAT_FIT: usize = 64;

/// One thing for a follower.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Delivery<'a> {
    /// A topic that had never been published to has been `[SUB-7]`.
    Epoch {
        /// The topic.
        topic: TopicRef<'a>,
        /// Its epoch.
        epoch: Epoch,
    },
    /// Messages that will never come.
    Gap {
        /// The topic.
        topic: TopicRef<'a>,
        /// Which.
        gap: Gap,
    },
    /// A message.
    Message {
        /// The topic.
        topic: TopicRef<'a>,
        /// Its epoch.
        epoch: Epoch,
        /// The message's place.
        offset: Offset,
        /// The message.
        entry: &'a Entry,
    },
}

/// Whether there is more.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[must_use = "whoever is not drained is not woken again"]
pub enum Filled {
    /// Nothing is left; a wake comes with the next.
    Drained,
    /// The budget is used up: call again when there is room. No wake will come before.
    More,
}

impl<H: Clone> HubState<H> {
    /// Hands to `sink` what lies between a follower's cursors and the durable ends, topic by topic
    /// in turns, up to about `bytes_max`.
    pub fn read(
        &mut self,
        key: ConnKey,
        bytes_max: usize,
        sink: &mut impl FnMut(Delivery<'_>),
    ) -> Filled {
        let Some(record) = self.records.get_mut(key.0) else {
            return Filled::Drained;
        };
        let mut bytes = 0;
        while bytes < bytes_max {
            let Some(number) = record.follows.take_mark() else {
                break;
            };
            let turn = TURN_BYTES.min(bytes_max - bytes);
            let (Some(topic), Some(follow)) =
                (self.topics.at_mut(number), record.follows.get_mut(number))
            else {
                continue;
            };
            if follow.waits {
                continue;
            }
            let (used, place) = deliver(&mut self.log, topic, follow, turn, sink);
            bytes += used;
            match place {
                Reached::End => {}
                Reached::TurnEnd => {
                    record.follows.mark(number);
                }
                Reached::Cold => {
                    follow.waits = true;
                    topic.waiting.push(key.0.index());
                }
            }
        }
        if record.follows.has_marks() {
            return Filled::More;
        }
        record.awake = record.noticed;
        Filled::Drained
    }

    /// The positions that a ping tells `[LIVE-9]`: of topics that moved since they were told last,
    /// as many as fit, beginning anywhere. A topic whose end lies beyond what was sent is marked,
    /// whether or not a mark was lost.
    pub(crate) fn tails(&mut self, key: ConnKey, random: u64) -> String {
        let Some(record) = self.records.get_mut(key.0) else {
            return String::new();
        };
        let mut lines = String::new();
        let mut behind = Vec::new();
        for follow in from_anywhere(&mut record.follows, random) {
            let Some((name, topic)) = followed(&self.log, self.topics.at(follow.topic)) else {
                continue;
            };
            if topic.end().0 > follow.offset {
                behind.push(follow.topic);
            }
            if follow.moved && lines.len() < TAILS_BYTES_MAX {
                follow.moved = false;
                Tails::push(&mut lines, name, topic.cursor(Offset(follow.offset)));
            }
        }
        for number in behind {
            record.follows.mark(number);
            record.awake = true;
        }
        lines
    }
}

/// The follows in their order; where they may not all fit, beginning anywhere, so that none is
/// always the last.
fn from_anywhere(follows: &mut Follows, random: u64) -> impl Iterator<Item = &mut Follow> {
    let count = follows.len();
    let start = match count {
        0..=TAILS_THAT_FIT => 0,
        _ => (random % count as u64) as usize,
    };
    let mut all: Vec<_> = follows.iter_mut().collect();
    all.rotate_left(start);
    all.into_iter()
}

fn followed<'a>(
    log: &'a Log,
    topic: Option<&'a FollowedTopic>,
) -> Option<(TopicRef<'a>, &'a TopicLog)> {
    let topic = topic?;
    Some((topic.name.as_topic(), log.topic(topic.id?)?))
}

/// How far a follower's turn at one topic came.
enum Reached {
    /// The durable end.
    End,
    /// The turn was over before.
    TurnEnd,
    /// What stands on disk alone, and has to be read back first.
    Cold,
}

/// One follower's turn at one topic. Returns the bytes used, and how far it came.
fn deliver(
    log: &mut Log,
    topic: &FollowedTopic,
    follow: &mut Follow,
    bytes_max: usize,
    sink: &mut impl FnMut(Delivery<'_>),
) -> (usize, Reached) {
    let nothing = (0, Reached::End);
    let Some(id) = topic.id else {
        return nothing;
    };
    let Some(held) = log.topic(id) else {
        return nothing;
    };
    let (name, epoch, end) = (topic.name.as_topic(), held.epoch(), held.end());
    let mut bytes = 0;
    if let Some(gap) = held.trimmed_after(Offset(follow.offset)) {
        follow.offset = held.base().0;
        bytes += NOTE_BYTES;
        sink(Delivery::Gap { topic: name, gap });
    } else if !follow.knows_epoch {
        bytes += NOTE_BYTES;
        sink(Delivery::Epoch { topic: name, epoch });
    }
    follow.knows_epoch = true;
    follow.moved = true;
    let read = log.read(id, Offset(follow.offset), |offset, entry| {
        if bytes >= bytes_max {
            return false;
        }
        let Some(entry) = entry else {
            bytes += NOTE_BYTES;
            let gap = lost(epoch, offset);
            sink(Delivery::Gap { topic: name, gap });
            return true;
        };
        bytes += entry.wire_bytes(Form::V1);
        sink(Delivery::Message {
            topic: name,
            epoch,
            offset,
            entry,
        });
        true
    });
    let Some(read) = read else {
        return nothing;
    };
    follow.offset = read.last.0;
    let reached = match (read.is_cold, read.last < end) {
        (true, _) => Reached::Cold,
        (false, true) => Reached::TurnEnd,
        (false, false) => Reached::End,
    };
    (bytes, reached)
}

/// A message that was stored and cannot be read any more.
pub(super) const fn lost(epoch: Epoch, offset: Offset) -> Gap {
    Gap {
        epoch,
        first: offset,
        last: Some(offset),
        reason: GapReason::Damage,
    }
}
