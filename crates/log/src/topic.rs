//! One topic: its epoch, its messages, and where they begin and end.
//!
//! ```text
//!     trimmed        │ durable: visible to everybody      │ appended, not yet durable
//!   1 ……………… base    │ base+1 ……………………………………… end         │ end+1 …… appended
//! ```
//!
//! Offsets are dense: `base + n` is the n-th entry held. The end never falls back; what is appended
//! may be undone.

use std::collections::VecDeque;

use heartwire_proto::frame::{Gap, GapReason, SubFrom};
use heartwire_proto::{Cursor, Epoch, Offset, Time, TopicName};

use crate::config::{LogConfig, Retention};
use crate::entry::{Entry, Placed};
use crate::rate::Rate;
use crate::slab;

/// The key of a topic in its [`Log`](crate::Log); stale once the topic is forgotten.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TopicId(pub(crate) slab::Key);

impl TopicId {
    /// The number of the topic's place; among the topics of one time it is unique.
    pub const fn index(self) -> u32 {
        self.0.index()
    }
}

/// Where following begins, and what will never come.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Start {
    /// The next message is the one after it.
    pub cursor: Cursor,
    /// What the asker named and nobody can send.
    pub gap: Option<Gap>,
}

/// One topic.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct TopicLog {
    name: TopicName,
    epoch: Epoch,
    base: Offset,
    end: Offset,
    entries: VecDeque<Entry>,
    bytes: usize,
    /// The highest offset that anybody was given.
    read_end: Offset,
    last_append: Time,
    rate: Rate,
    /// Under which key the log's calendar holds the topic.
    pub(crate) due: Time,
    /// The size class under which the log holds the topic; 0 while it is empty.
    pub(crate) class: u32,
}

impl TopicLog {
    pub(crate) fn new(name: TopicName, epoch: Epoch, now: Time) -> Self {
        Self {
            name,
            epoch,
            base: Offset::ZERO,
            end: Offset::ZERO,
            entries: VecDeque::new(),
            bytes: 0,
            read_end: Offset::ZERO,
            last_append: now,
            rate: Rate::default(),
            due: now,
            class: 0,
        }
    }

    /// The topic's name.
    pub const fn name(&self) -> &TopicName {
        &self.name
    }

    /// The epoch in which its offsets count.
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The last offset that was trimmed; 0 when none was.
    pub const fn base(&self) -> Offset {
        self.base
    }

    /// The durable end: the offset of the last message that may be seen.
    pub const fn end(&self) -> Offset {
        self.end
    }

    /// The cursor of somebody who has handled everything up to `offset`.
    pub const fn cursor(&self, offset: Offset) -> Cursor {
        Cursor::At {
            epoch: self.epoch,
            offset,
        }
    }

    /// What the entries take of memory, in bytes; those that are not durable yet included.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Messages appended in the ten seconds before `now`.
    pub fn appends_per_ten_seconds(&self, now: Time) -> u32 {
        self.rate.per_ten_seconds(now)
    }

    /// The durable messages after `offset`, oldest first; from the oldest retained if that one lies
    /// behind `offset`. The caller compares `offset` with [`base`](Self::base) to name the gap.
    pub fn after(&self, offset: Offset) -> impl Iterator<Item = Placed<'_>> {
        let durable = (self.end.0 - self.base.0) as usize;
        let first = (offset.0.saturating_sub(self.base.0) as usize).min(durable);
        let offsets = (self.base.0 + first as u64 + 1..).map(Offset);
        offsets.zip(self.entries.range(first..durable))
    }

    /// What was trimmed behind a follower that has handled everything up to `offset`.
    pub fn trimmed_after(&self, offset: Offset) -> Option<Gap> {
        (offset < self.base).then(|| Gap {
            epoch: self.epoch,
            first: offset.next(),
            last: Some(self.base),
            reason: GapReason::Retention,
        })
    }

    /// Where a follower begins that asks for `from` `[SUB-1]` `[SUB-8]` `[SUB-9]` `[SUB-10]`.
    pub fn start(&self, from: SubFrom) -> Start {
        let plain = |offset| Start {
            cursor: self.cursor(offset),
            gap: None,
        };
        match from {
            SubFrom::Tail => plain(self.end),
            SubFrom::Head => plain(self.base),
            SubFrom::Last(n) => plain(Offset(self.end.0.saturating_sub(n)).max(self.base)),
            SubFrom::After(Cursor::At { epoch, offset }) if epoch != self.epoch => Start {
                gap: Some(lost_epoch(epoch, offset)),
                ..plain(self.base)
            },
            SubFrom::After(cursor) if cursor.offset() > self.end => Start {
                gap: Some(Gap {
                    epoch: self.epoch,
                    first: self.end.next(),
                    last: Some(cursor.offset()),
                    reason: GapReason::Epoch,
                }),
                ..plain(self.end)
            },
            SubFrom::After(cursor) => Start {
                gap: self.trimmed_after(cursor.offset()),
                ..plain(cursor.offset().max(self.base))
            },
        }
    }

    /// Somebody was given everything up to `offset`.
    pub(crate) fn mark_read(&mut self, offset: Offset) {
        self.read_end = self.read_end.max(offset);
    }

    /// The place that the next append takes.
    pub(crate) fn next_offset(&self) -> Offset {
        Offset(self.base.0 + self.entries.len() as u64 + 1)
    }

    /// Whether nobody can know of it: nothing was ever durable, and nothing is about to be.
    pub(crate) fn is_unborn(&self) -> bool {
        self.end == Offset::ZERO && self.entries.is_empty()
    }

    /// Whether it holds nothing, not even what is not durable yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn push(&mut self, entry: Entry) {
        self.last_append = entry.at();
        self.rate.count(entry.at());
        self.bytes += entry.memory_bytes();
        self.entries.push_back(entry);
    }

    /// Undoes the latest append.
    pub(crate) fn pop(&mut self) {
        debug_assert!(self.next_offset().0 > self.end.0 + 1, "durable stays");
        if let Some(entry) = self.entries.pop_back() {
            self.bytes -= entry.memory_bytes();
        }
    }

    /// The entry at `offset`, durable or not.
    pub(crate) fn entry(&self, offset: Offset) -> Option<&Entry> {
        let index = offset.0.checked_sub(self.base.0 + 1)?;
        self.entries.get(index as usize)
    }

    pub(crate) fn commit(&mut self, offset: Offset) {
        self.end = self.end.max(offset);
    }

    /// Trims by count and bytes; the newest durable message stays.
    pub(crate) fn trim(&mut self, retention: &Retention) -> Trimmed {
        self.trim_while(|topic| {
            let durable = topic.end.0 - topic.base.0;
            durable > 1
                && (durable > retention.count_max as u64 || topic.bytes > retention.bytes_max)
        })
    }

    /// Trims what was appended so long ago.
    pub(crate) fn trim_older(&mut self, config: &LogConfig, now: Time) -> Trimmed {
        let age_max = config.retention.age_max;
        self.trim_while(|topic| {
            let oldest = topic.entries.front();
            oldest.is_some_and(|entry| entry.at() + age_max <= now)
        })
    }

    /// Trims the oldest messages down to `bytes`, all durable ones if need be.
    pub(crate) fn trim_to(&mut self, bytes: usize) -> Trimmed {
        self.trim_while(|topic| topic.bytes > bytes)
    }

    fn trim_while(&mut self, more: impl Fn(&Self) -> bool) -> Trimmed {
        let mut trimmed = Trimmed::default();
        while self.base < self.end && more(self) {
            let Some(entry) = self.entries.pop_front() else {
                break;
            };
            self.base = self.base.next();
            self.bytes -= entry.memory_bytes();
            trimmed.count += 1;
            trimmed.unread += u64::from(self.base > self.read_end);
        }
        self.release_memory();
        trimmed
    }

    /// Gives back what a burst made the queue grow to.
    fn release_memory(&mut self) {
        if self.entries.capacity() > 64 && self.entries.len() < self.entries.capacity() / 4 {
            self.entries.shrink_to(self.entries.len() * 2);
        }
    }

    /// When there is something to forget at the earliest.
    pub(crate) fn next_due(&self, config: &LogConfig) -> Time {
        match self.entries.front() {
            Some(oldest) => oldest.at() + config.retention.age_max,
            None => self.last_append + config.topic_age_max,
        }
    }

    /// Whether even its name, epoch and offsets may be forgotten.
    pub(crate) fn is_forgotten(&self, config: &LogConfig, now: Time) -> bool {
        self.entries.is_empty() && self.last_append + config.topic_age_max <= now
    }
}

/// Where a follower begins of a topic that does not exist `[SUB-6]` `[SUB-8]`.
pub(crate) fn start_of_nothing(from: SubFrom) -> Start {
    let gap = match from {
        SubFrom::After(Cursor::At { epoch, offset }) => Some(lost_epoch(epoch, offset)),
        _ => None,
    };
    Start {
        cursor: Cursor::Start,
        gap,
    }
}

/// Everything after `offset` of an epoch that is gone.
fn lost_epoch(epoch: Epoch, offset: Offset) -> Gap {
    Gap {
        epoch,
        first: offset.next(),
        last: None,
        reason: GapReason::Epoch,
    }
}

/// What trimming took away.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Trimmed {
    pub(crate) count: u64,
    /// Those that nobody had been given.
    pub(crate) unread: u64,
}
