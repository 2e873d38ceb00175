//! One topic: its epoch, its messages, and where they begin and end.
//!
//! ```text
//!     trimmed        │ durable: visible to everybody      │ appended, not yet durable
//!   1 ……………… base    │ base+1 ……… hot │ hot+1 ……… end     │ end+1 …… appended
//!                    │ on disk alone  │ in memory
//! ```
//!
//! Offsets are dense: `hot + n` is the n-th entry in memory. The end never falls back; what is
//! appended may be undone. A topic in memory has nothing on disk alone: its `hot` is its `base`.

mod age;
mod on_disk;

use std::collections::VecDeque;

use heartwire_proto::frame::{Gap, GapReason, SubFrom};
use heartwire_proto::{Cursor, Epoch, Offset, Time, TopicName};

use crate::config::Retention;
use crate::entry::Entry;
use crate::rate::Rate;
use crate::slab;
use crate::store::{DiskPlace, RecoveredTopic, SegmentId};

pub use on_disk::ReadBack;
pub(crate) use on_disk::{OnDisk, WarmRun};

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

/// How far reading came.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[must_use = "what is cold comes only when somebody asks for it"]
pub struct Read {
    /// The offset of the last message taken, or where reading began.
    pub last: Offset,
    /// The next message stands on disk alone.
    pub is_cold: bool,
    /// The last run of messages read back that was used.
    pub(crate) run: Option<Offset>,
}

/// Where a durable message can be had.
enum Held<'a> {
    Hot(&'a Entry),
    Warm {
        run: Offset,
        message: Option<&'a Entry>,
    },
    Cold,
}

/// One topic.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct TopicLog {
    name: TopicName,
    /// The epoch in which it was born; on disk it tells the topic from others that had its name.
    origin: Epoch,
    epoch: Epoch,
    base: Offset,
    hot: Offset,
    end: Offset,
    entries: VecDeque<Entry>,
    bytes: usize,
    /// Nothing for a topic in memory.
    disk: Option<Box<OnDisk>>,
    /// How many of its appends wait to become durable.
    pub(crate) in_flight: u32,
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
    pub(crate) fn new(name: TopicName, epoch: Epoch, on_disk: bool, now: Time) -> Self {
        Self {
            name,
            origin: epoch,
            epoch,
            base: Offset::ZERO,
            hot: Offset::ZERO,
            end: Offset::ZERO,
            entries: VecDeque::new(),
            bytes: 0,
            disk: on_disk.then(Box::default),
            in_flight: 0,
            read_end: Offset::ZERO,
            last_append: now,
            rate: Rate::default(),
            due: now,
            class: 0,
        }
    }

    /// A topic that a disk held. Nobody knows any more what of it was read, so that nothing of it
    /// counts as trimmed unread.
    pub(crate) fn restore(recovered: RecoveredTopic, disk: OnDisk) -> Self {
        Self {
            origin: recovered.origin,
            base: recovered.base,
            hot: recovered.end,
            end: recovered.end,
            read_end: recovered.end,
            disk: Some(Box::new(disk)),
            ..Self::new(recovered.name, recovered.epoch, true, recovered.last_append)
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

    /// The epoch in which it was born.
    pub(crate) const fn origin(&self) -> Epoch {
        self.origin
    }

    /// Whether its messages are kept on disk.
    pub const fn is_on_disk(&self) -> bool {
        self.disk.is_some()
    }

    /// How much of the disk its messages take, in bytes.
    pub fn disk_bytes(&self) -> u64 {
        self.disk.as_ref().map_or(0, |disk| disk.bytes())
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

    /// Shows durable messages after `offset`, oldest first, as long as `take` says so; from the
    /// oldest retained if that one lies behind `offset`. `None` stands for a message that the disk
    /// has lost. The caller compares `offset` with [`base`](Self::base) to name the gap.
    pub fn read(
        &self,
        offset: Offset,
        mut take: impl FnMut(Offset, Option<&Entry>) -> bool,
    ) -> Read {
        let mut read = Read {
            last: offset.max(self.base),
            is_cold: false,
            run: None,
        };
        while read.last < self.end {
            let place = read.last.next();
            let held = match self.held(read.last) {
                Held::Hot(entry) => Some(entry),
                Held::Warm { run, message } => {
                    read.run = Some(run);
                    message
                }
                Held::Cold => {
                    read.is_cold = true;
                    break;
                }
            };
            if !take(place, held) {
                break;
            }
            read.last = place;
        }
        read
    }

    /// Where the durable message after `offset` can be had.
    fn held(&self, offset: Offset) -> Held<'_> {
        if let Some(index) = offset.0.checked_sub(self.hot.0) {
            return match self.entries.get(index as usize) {
                Some(entry) => Held::Hot(entry),
                None => Held::Cold,
            };
        }
        let run = self.disk.as_ref().and_then(|disk| disk.run_after(offset));
        run.map_or(Held::Cold, |(before, run, index)| Held::Warm {
            run: before,
            message: run.messages[index].as_ref(),
        })
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

    /// Where the messages after `offset` stand that are neither in memory nor read back, up to the
    /// first one that is.
    pub(crate) fn cold_places(&self, offset: Offset) -> impl Iterator<Item = DiskPlace> {
        let disk = self.disk.as_deref();
        let is_warm = disk.is_some_and(|disk| disk.run_after(offset).is_some());
        let next_run = disk.and_then(|disk| disk.next_run(offset));
        let stop = next_run.map_or(self.hot, |next| next.min(self.hot));
        let count = if is_warm {
            0
        } else {
            stop.0.saturating_sub(offset.0)
        };
        let places = disk.map(|disk| disk.places_after(self.base, offset));
        places.into_iter().flatten().take(count as usize)
    }

    /// Where the message at `offset` stands.
    pub(crate) fn place_of(&self, offset: Offset) -> Option<DiskPlace> {
        let before = Offset(offset.0.checked_sub(1)?);
        let disk = self.disk.as_ref().filter(|_| before >= self.base)?;
        disk.places_after(self.base, before).next()
    }

    /// How many of so many messages after `after` come before the first that stands in the segment.
    pub(crate) fn look_for(&self, segment: SegmentId, after: Offset, count_max: usize) -> usize {
        let disk = self.disk.as_deref();
        let places = disk.map(|disk| disk.places_after(self.base, after));
        let places = places.into_iter().flatten().take(count_max);
        places.take_while(|place| !place.stands_in(segment)).count()
    }

    /// The places of the messages after `after` that stand one after the other in the segment.
    pub(crate) fn places_in(
        &self,
        segment: SegmentId,
        after: Offset,
    ) -> impl Iterator<Item = DiskPlace> {
        let disk = self.disk.as_deref();
        let places = disk.map(|disk| disk.places_after(self.base, after));
        let places = places.into_iter().flatten();
        places.take_while(move |place| place.stands_in(segment))
    }

    /// Nothing stands any more where the message at `offset` did.
    pub(crate) fn lose_place(&mut self, offset: Offset) {
        self.move_place(offset, DiskPlace::LOST);
    }

    /// The message at `offset` stands somewhere else.
    pub(crate) fn move_place(&mut self, offset: Offset, place: DiskPlace) {
        if let Some(disk) = &mut self.disk {
            disk.replace(self.base, offset, place);
        }
    }

    /// Keeps messages that were read back. Returns a run that began at the same place.
    pub(crate) fn keep_run(&mut self, before: Offset, run: WarmRun) -> Option<WarmRun> {
        let disk = self.disk.as_mut()?;
        disk.insert_run(before, run)
    }

    pub(crate) fn run_mut(&mut self, before: Offset) -> Option<&mut WarmRun> {
        self.disk.as_mut()?.run_mut(before)
    }

    pub(crate) fn drop_run(&mut self, before: Offset) -> Option<WarmRun> {
        self.disk.as_mut()?.remove_run(before)
    }

    /// The topic goes: where its messages stood, and what was read back of them.
    pub(crate) fn take_disk(&mut self) -> Option<OnDisk> {
        self.disk.take().map(|disk| *disk)
    }

    /// Somebody was given everything up to `offset`.
    pub(crate) fn mark_read(&mut self, offset: Offset) {
        self.read_end = self.read_end.max(offset);
    }

    /// The place that the next append takes.
    pub(crate) fn next_offset(&self) -> Offset {
        Offset(self.hot.0 + self.entries.len() as u64 + 1)
    }

    /// Whether nobody can know of it: nothing was ever durable, and nothing is about to be.
    pub(crate) fn is_unborn(&self) -> bool {
        self.end == Offset::ZERO && self.entries.is_empty()
    }

    /// Whether it holds nothing, not even what is not durable yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.base == self.end
    }

    /// Whether nothing of it is in memory that was not read back.
    pub(crate) fn is_cold(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn push(&mut self, entry: Entry) {
        self.last_append = entry.at();
        self.rate.count(entry.at());
        self.bytes += entry.memory_bytes();
        self.entries.push_back(entry);
    }

    /// Its time begins anew, as if something had been appended.
    pub(crate) fn touch(&mut self, now: Time) {
        self.last_append = self.last_append.max(now);
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
        let index = offset.0.checked_sub(self.hot.0 + 1)?;
        self.entries.get(index as usize)
    }

    /// The message at `offset` is durable; `place` is where, on disk.
    pub(crate) fn commit(&mut self, offset: Offset, place: Option<DiskPlace>) {
        self.end = self.end.max(offset);
        if let (Some(disk), Some(place)) = (&mut self.disk, place) {
            disk.push(place);
        }
    }

    /// Trims by count and bytes; the newest durable message stays.
    pub(crate) fn trim(&mut self, retention: &Retention) -> Trimmed {
        self.trim_while(|topic| {
            let durable = topic.end.0 - topic.base.0;
            durable > 1
                && (durable > retention.count_max as u64
                    || topic.retained_bytes() > retention.bytes_max as u64)
        })
    }

    /// What counts against [`Retention::bytes_max`].
    fn retained_bytes(&self) -> u64 {
        match &self.disk {
            Some(disk) => disk.bytes(),
            None => self.bytes as u64,
        }
    }

    /// Trims everything up to `offset`, which is durable.
    pub(crate) fn trim_through(&mut self, offset: Offset) -> Trimmed {
        self.trim_while(|topic| topic.base < offset)
    }

    /// Trims so many of the oldest messages; the newest durable message stays.
    pub(crate) fn trim_oldest(&mut self, count: usize) -> Trimmed {
        let newest = Offset(self.end.0.saturating_sub(1));
        self.trim_through(Offset(self.base.0 + count as u64).min(newest))
    }

    /// How many messages are retained.
    pub(crate) const fn retained_len(&self) -> usize {
        (self.end.0 - self.base.0) as usize
    }

    /// Makes room in memory by `bytes_max`: the oldest messages of a topic in memory are trimmed,
    /// those of one on disk are left to the disk.
    pub(crate) fn shrink_to(&mut self, bytes_max: usize) -> Trimmed {
        if self.is_on_disk() {
            self.cool_while(|topic| topic.bytes > bytes_max);
            return Trimmed::default();
        }
        self.trim_while(|topic| topic.bytes > bytes_max)
    }

    fn cool_while(&mut self, more: impl Fn(&Self) -> bool) {
        while self.is_on_disk() && self.hot < self.end && more(self) {
            self.pop_hot();
        }
        self.release_memory();
    }

    /// Whether memory can be had from it.
    pub(crate) fn can_shrink(&self) -> bool {
        self.hot < self.end
    }

    fn pop_hot(&mut self) {
        if let Some(entry) = self.entries.pop_front() {
            self.hot = self.hot.next();
            self.bytes -= entry.memory_bytes();
        }
    }

    fn trim_while(&mut self, more: impl Fn(&Self) -> bool) -> Trimmed {
        let mut trimmed = Trimmed::default();
        while self.base < self.end && more(self) {
            if self.hot == self.base {
                self.pop_hot();
            }
            self.base = self.base.next();
            trimmed.count += 1;
            trimmed.unread += u64::from(self.base > self.read_end);
            let place = self.disk.as_mut().and_then(|disk| disk.pop());
            trimmed.places.extend(place);
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
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Trimmed {
    pub(crate) count: u64,
    /// Those that nobody had been given.
    pub(crate) unread: u64,
    /// Where those stood that were on disk.
    pub(crate) places: Vec<DiskPlace>,
}
