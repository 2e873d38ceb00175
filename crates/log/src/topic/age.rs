//! What becomes of a topic with time: messages leave memory, then they are too old, then the topic is.
//!
//! ```text
//!   appended ──hot_age_max──► on disk alone ──age_max──► trimmed ──topic_age_max──► forgotten
//! ```
//!
//! Of a message in memory it is known when it was appended; of one on disk alone, by when its segment was
//! full. So one that is in memory may be too old although others before it are not yet known to be.

use std::cell::Cell;
use std::time::Duration;

use heartwire_proto::{Offset, Time};

use super::{Held, TopicLog, Trimmed};
use crate::config::{LogConfig, Policy};
use crate::store::DiskPlace;

impl TopicLog {
    /// Trims what was appended so long ago. `written` tells by when a message on disk alone was, at the
    /// latest: one in memory behind it, whose age is known, may be too old already.
    pub(crate) fn trim_older(
        &mut self,
        age_max: Duration,
        now: Time,
        written: impl Fn(DiskPlace) -> Time,
    ) -> Trimmed {
        let is_over = |at: Time| at + age_max <= now;
        let last = Cell::new(self.last_in_memory(is_over));
        self.trim_while(|topic| {
            if topic.base >= last.get()
                && let Some((offset, at)) = topic.oldest(&written)
                && is_over(at)
            {
                last.set(offset);
            }
            topic.base < last.get()
        })
    }

    /// The last durable message in memory that was appended early enough; 0 without any.
    fn last_in_memory(&self, is_early: impl Fn(Time) -> bool) -> Offset {
        let hot = self.entries.partition_point(|entry| is_early(entry.at()));
        if hot > 0 {
            return self.end.min(Offset(self.hot.0 + hot as u64));
        }
        let disk = self.disk.as_ref();
        let last = disk.and_then(|disk| disk.last_read(is_early));
        last.unwrap_or(Offset::ZERO)
    }

    /// The oldest message that is there, and when it was appended: exactly if it is in memory, else by when
    /// at the latest. What damage took before it is as old as that, or as the topic where none is there.
    fn oldest(&self, written: impl Fn(DiskPlace) -> Time) -> Option<(Offset, Time)> {
        match self.held(self.base) {
            Held::Hot(entry)
            | Held::Warm {
                message: Some(entry),
                ..
            } => Some((self.base.next(), entry.at())),
            Held::Warm { .. } | Held::Cold => {
                let (lost, there) = self.disk.as_ref()?.oldest()?;
                Some(match there {
                    Some(place) => (Offset(self.base.0 + lost as u64 + 1), written(place)),
                    None => (self.end, self.last_append),
                })
            }
        }
    }

    /// Leaves to the disk what was appended so long ago.
    pub(crate) fn cool_older(&mut self, age_max: Duration, now: Time) {
        self.cool_while(|topic| {
            let oldest = topic.entries.front();
            oldest.is_some_and(|entry| entry.at() + age_max <= now)
        });
    }

    /// When there is something to forget at the earliest.
    pub(crate) fn next_due(
        &self,
        policy: &Policy,
        config: &LogConfig,
        written: impl Fn(DiskPlace) -> Time,
    ) -> Time {
        let Some((_, oldest)) = self.oldest(written) else {
            return self.forgotten_at(policy, config);
        };
        let age_max = policy.retention.age_max;
        let Some(disk) = &self.disk else {
            return oldest + age_max;
        };
        let read_back = disk.first_read_at(self.base).map(|at| at + age_max);
        let hot = self.entries.front();
        let hot = hot.map(|entry| entry.at() + age_max.min(config.hot_age_max));
        let in_memory = read_back.into_iter().chain(hot);
        in_memory.fold(oldest + age_max, Time::min)
    }

    /// However early its last message went, by its number or size: its age might have taken it later.
    fn forgotten_at(&self, policy: &Policy, config: &LogConfig) -> Time {
        self.last_append + policy.retention.age_max + config.topic_age_max
    }

    /// Whether even its name, epoch and offsets may be forgotten.
    pub(crate) fn is_forgotten(&self, policy: &Policy, config: &LogConfig, now: Time) -> bool {
        let is_old = self.forgotten_at(policy, config) <= now;
        self.is_empty() && (is_old || self.name.as_topic().is_reserved())
    }
}
