//! Checkpoints: everything below one segment, folded `[DISK-10]`.
//!
//! ```text
//!   time u64 │ segments: id, used, last time … │ topics: key, epoch, end, last append, last segment, lost … │
//!            │ producers: id, seq, time …
//! ```

use heartwire_proto::{Epoch, Seq, Time};

use super::batch::SegmentId;
use super::bytes::{Put as _, Take};
use super::config::StoreConfig;
use super::envelope;
use super::files::Kind;
use super::record::{Key, epoch};
use super::recovered::SegmentInfo;
use super::share::Topic;
use super::state::State;
use super::view::{take_lost, take_producer};
use crate::producer::{ProducerId, keep_latest};

/// A topic as a checkpoint knows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct CheckpointTopic<'a> {
    pub(super) key: Key<'a>,
    pub(super) epoch: Epoch,
    pub(super) end: u64,
    pub(super) last_append: Time,
    pub(super) last_segment: SegmentId,
    lost_len: u64,
    lost: Take<'a>,
}

impl<'a> CheckpointTopic<'a> {
    /// First and last offsets of what damage took.
    pub(super) fn lost(self) -> impl Iterator<Item = (u64, u64)> + 'a {
        let mut lost = self.lost;
        (0..self.lost_len).map_while(move |_| take_lost(&mut lost))
    }
}

/// A checkpoint, checked to be one.
#[derive(Clone, Copy, Debug)]
pub(super) struct CheckpointView<'a> {
    pub(super) time: Time,
    segments_len: u64,
    segments: Take<'a>,
    topics_len: u64,
    topics: Take<'a>,
    producers_len: u64,
    producers: Take<'a>,
}

impl<'a> CheckpointView<'a> {
    /// Reads the file of a checkpoint; `None` if it is damaged.
    pub(super) fn of_file(store: u64, id: SegmentId, file: &'a [u8]) -> Option<Self> {
        envelope::unwrap(Kind::Checkpoint, store, id, file).and_then(Self::parse)
    }

    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut take = Take(bytes);
        let time = Time::from_millis(take.u64()?);
        let segments_len = take.varint()?;
        let segments = take;
        for _ in 0..segments_len {
            take_segment(&mut take)?;
        }
        let topics_len = take.varint()?;
        let topics = take;
        for _ in 0..topics_len {
            take_topic(&mut take)?.key.parse()?;
        }
        let producers_len = take.varint()?;
        let producers = take;
        for _ in 0..producers_len {
            take_producer(&mut take)?;
        }
        take.is_empty().then_some(Self {
            time,
            segments_len,
            segments,
            topics_len,
            topics,
            producers_len,
            producers,
        })
    }

    /// The segments below it that exist.
    pub(super) fn segments(self) -> impl Iterator<Item = SegmentInfo> + 'a {
        let mut segments = self.segments;
        (0..self.segments_len).map_while(move |_| take_segment(&mut segments))
    }

    pub(super) fn topics(self) -> impl Iterator<Item = CheckpointTopic<'a>> {
        let mut topics = self.topics;
        (0..self.topics_len).map_while(move |_| take_topic(&mut topics))
    }

    pub(super) fn producers(self) -> impl Iterator<Item = (ProducerId, Seq, Time)> + 'a {
        let mut producers = self.producers;
        (0..self.producers_len).map_while(move |_| take_producer(&mut producers))
    }
}

fn take_segment(take: &mut Take<'_>) -> Option<SegmentInfo> {
    Some(SegmentInfo {
        id: SegmentId(take.u32()?),
        bytes: take.u64()?,
        last_time: Time::from_millis(take.u64()?),
    })
}

fn take_topic<'a>(take: &mut Take<'a>) -> Option<CheckpointTopic<'a>> {
    let mut topic = CheckpointTopic {
        key: Key::take(take)?,
        epoch: epoch(take.short()?)?,
        end: take.varint().filter(|end| *end < u64::MAX)?,
        last_append: Time::from_millis(take.varint()?),
        last_segment: SegmentId(take.varint_u32()?),
        lost_len: take.varint()?,
        lost: *take,
    };
    topic.lost = *take;
    for _ in 0..topic.lost_len {
        take_lost(take)?;
    }
    Some(topic)
}

/// Appends a checkpoint of the state. Left out are producers who have been silent for too long, or
/// longest if there are too many, and
/// topics whose last message is as old and stands in no segment any more.
pub(super) fn encode(state: &State, config: &StoreConfig, out: &mut Vec<u8>) {
    out.put_u64(state.time.as_millis());
    out.put_varint(state.segments.len() as u64);
    for info in state.segments.values() {
        out.put_u32(info.id.0);
        out.put_u64(info.bytes);
        out.put_u64(info.last_time.as_millis());
    }
    let is_kept = |topic: &&Topic| {
        state.segments.contains_key(&topic.last_segment)
            || topic.last_append + config.topic_age_max > state.time
    };
    let topics: Vec<&Topic> = state.topics().filter(is_kept).collect();
    out.put_varint(topics.len() as u64);
    for topic in topics {
        topic.with_key(|key| out.put_bytes(key.0));
        out.put_short(topic.epoch.as_str().as_bytes());
        out.put_varint(topic.end);
        out.put_varint(topic.last_append.as_millis());
        out.put_varint(u64::from(topic.last_segment.0));
        out.put_varint(topic.lost.len() as u64);
        for (first, last) in &topic.lost {
            out.put_varint(*first);
            out.put_varint(*last);
        }
    }
    let mut producers: Vec<_> = state.producers.iter().collect();
    producers.retain(|(_, (_, time))| *time + config.producer_age_max > state.time);
    keep_latest(&mut producers, config.producers_max, |(_, (_, time))| *time);
    producers.sort_unstable_by_key(|(id, _)| **id);
    out.put_varint(producers.len() as u64);
    for (id, (seq, time)) in producers {
        out.put_bytes(&id.to_bytes());
        out.put_varint(seq.0);
        out.put_varint(time.as_millis());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A checkpoint of one topic, with one range that was lost.
    fn checkpoint(end: u64, lost: (u64, u64)) -> Vec<u8> {
        let mut bytes = vec![0; 8];
        bytes.put_varint(0);
        bytes.put_varint(1);
        bytes.put_short(b"topic");
        bytes.put_short(b"zzz");
        bytes.put_short(b"zzz");
        for number in [end, 0, 1, 1, lost.0, lost.1, 0] {
            bytes.put_varint(number);
        }
        bytes
    }

    #[test]
    fn offsets_that_no_message_has_are_damage() {
        let is_one = |end, lost| CheckpointView::parse(&checkpoint(end, lost)).is_some();
        assert!(is_one(0, (1, 1)) && is_one(u64::MAX - 1, (1, u64::MAX - 1)));
        assert!(!is_one(u64::MAX, (1, 1)));
        assert!(!is_one(9, (0, 1)) && !is_one(9, (1, u64::MAX)) && !is_one(9, (3, 2)));
    }
}
