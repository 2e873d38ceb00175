//! How far followers are behind, looked at in parts: there may be very many of them.

use super::{HubState, Record};

/// What was found of some followers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct LagPart {
    /// How many followed topics were looked at.
    pub looked_at: usize,
    /// How many messages they are behind, all together.
    pub sum: u64,
    /// How many messages one follower is behind at one topic, at most.
    pub max: u64,
    /// The place of the first record that was not looked at; `None` when that was the last.
    pub next: Option<u32>,
}

impl<H: Clone> HubState<H> {
    /// Looks at connections and readers from a place on, until about `follows_max` followed topics
    /// have been looked at, or as many places: a connection is looked at as a whole.
    pub fn lag_from(&self, place: u32, follows_max: usize) -> LagPart {
        let mut part = LagPart::default();
        for (places, (key, record)) in self.records.iter_from(place).enumerate() {
            if part.looked_at >= follows_max || places >= follows_max {
                part.next = Some(key.index());
                break;
            }
            for behind in self.lags(record) {
                part.looked_at += 1;
                part.sum += behind;
                part.max = part.max.max(behind);
            }
        }
        part
    }

    pub(super) fn lag(&self, record: &Record<H>) -> u64 {
        self.lags(record).sum()
    }

    /// How many messages the record is behind at each topic that it follows.
    fn lags(&self, record: &Record<H>) -> impl Iterator<Item = u64> {
        record.follows.iter().map(|follow| {
            let followed = self.topics.at(follow.topic);
            let topic = followed.and_then(|followed| self.log.topic(followed.id?));
            topic.map_or(0, |topic| topic.end().0.saturating_sub(follow.offset))
        })
    }
}
