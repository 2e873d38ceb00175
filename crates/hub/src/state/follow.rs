//! Following topics, those included that do not exist yet.

use heartwire_log::{Start, TopicId};
use heartwire_proto::TopicName;
use heartwire_proto::frame::{RefusedCode, SubFrom};
use heartwire_proto::id::TopicRef;
use smallvec::SmallVec;

use super::attendance::Register;
use super::follows::Follow;
use super::{ConnKey, HubState};
use crate::connection::{Reason, UNSUBSCRIBED};

/// A topic that somebody follows.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct FollowedTopic {
    pub(super) name: TopicName,
    /// The topic in the log, once anything was published to it.
    pub(super) id: Option<TopicId>,
    /// The places of the followers' records, in no order. Topics with one follower are many, and
    /// need no allocation.
    pub(super) followers: SmallVec<[u32; 4]>,
    /// The places of the records that wait until something is read back from disk.
    pub(super) waiting: Vec<u32>,
    /// It is told who is there.
    pub(super) has_presence: bool,
}

/// Why a topic is not followed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum FollowError {
    /// The connection, or all together, follow as many topics as they may.
    #[error("too many topics are followed")]
    Limit,
    /// The grant does not cover it, whether or not it exists.
    #[error("the topic is not granted")]
    Forbidden,
    /// The name is one of the server's, and there is no such topic.
    #[error("the server has no such topic")]
    BadTopic,
    /// The connection or reader was removed.
    #[error("the follower was removed")]
    Removed,
}

impl FollowError {
    /// The code of `refused`; nothing for a connection that is about to be closed.
    pub const fn code(self) -> Option<RefusedCode> {
        match self {
            Self::Limit => Some(RefusedCode::Limit),
            Self::Forbidden => Some(RefusedCode::Forbidden),
            Self::BadTopic => Some(RefusedCode::BadTopic),
            Self::Removed => None,
        }
    }
}

impl<H: Clone> HubState<H> {
    /// Follows a topic, or moves the cursor of one that is followed `[SUB-1]` `[SUB-13]`. The grant
    /// is looked at before the topic is `[SUB-11]`. The
    /// follower is to be filled, or read, next: it is not woken for what is there already.
    pub fn follow(
        &mut self,
        key: ConnKey,
        topic: TopicRef<'_>,
        from: SubFrom,
    ) -> Result<Start, FollowError> {
        let Some(record) = self.records.get(key.0) else {
            return Err(FollowError::Removed);
        };
        let who = record.who.as_ref();
        let grant = who.and_then(|who| who.grant());
        let may = self.may_subscribe(grant, topic);
        let id = self.log.find(topic);
        let enlisted = match may {
            true => self.enlist(key, topic, id),
            false => Err(FollowError::Forbidden),
        };
        if let Some(code) = enlisted.err().and_then(FollowError::code) {
            self.counts.refused_follows.count(code);
        }
        let number = enlisted?;
        let start = self.log.start(id, from);
        let gap = start.gap.map(|gap| gap.reason);
        self.counts.starts.count(from, gap);
        if let Some(reason) = gap {
            self.counts.gaps.count(reason);
        }
        let end = id
            .and_then(|id| self.log.topic(id))
            .map(|topic| topic.end());
        let record = self
            .records
            .get_mut(key.0)
            .expect("the record was there above");
        let offset = start.cursor.offset();
        if let Some(follow) = record.follows.get_mut(number) {
            follow.offset = offset.0;
            follow.knows_epoch = start.cursor.epoch().is_some();
            follow.moved = false;
            follow.waits = false;
        }
        if end.is_some_and(|end| end > offset) {
            record.follows.mark(number);
            record.awake = true;
        }
        Ok(start)
    }

    /// Follows a topic no longer; nothing happens if it was not followed.
    pub fn unfollow(&mut self, key: ConnKey, topic: TopicRef<'_>) {
        self.stop_following(key, topic, UNSUBSCRIBED);
    }

    /// The same, for whom it concerns why.
    pub(super) fn stop_following(&mut self, key: ConnKey, topic: TopicRef<'_>, reason: Reason) {
        let Some(number) = self.names.get(topic.as_str()).copied() else {
            return;
        };
        let Some(record) = self.records.get_mut(key.0) else {
            return;
        };
        let Some(follow) = record.follows.remove(number) else {
            return;
        };
        let mut register = Register {
            presence: &mut self.presence,
            topics: &self.topics,
        };
        register.left(key, record.who.as_deref(), number, reason);
        self.release(&follow);
    }

    /// Sees to it that the record follows the topic; returns the topic's number. Topics of the
    /// server's own are not made by following them; those that tell who is there need not have been
    /// told anything yet.
    fn enlist(
        &mut self,
        key: ConnKey,
        topic: TopicRef<'_>,
        id: Option<TopicId>,
    ) -> Result<u32, FollowError> {
        if topic.is_reserved() && id.is_none() && !self.tells_presence(topic) {
            return Err(FollowError::BadTopic);
        }
        let known = self.names.get(topic.as_str()).copied();
        let Some(record) = self.records.get_mut(key.0) else {
            return Err(FollowError::Removed);
        };
        if let Some(number) = known
            && record.follows.get(number).is_some()
        {
            return Ok(number);
        }
        let is_full = record.follows.len() >= self.config.limits.topics_max;
        if is_full || self.follows >= self.config.follows_max {
            return Err(FollowError::Limit);
        }
        let number = known.unwrap_or_else(|| self.add_topic(topic, id));
        let followed = self
            .topics
            .at_mut(number)
            .expect("named topics are in the slab");
        let follow = Follow::new(number, followed.followers.len() as u32);
        followed.followers.push(key.0.index());
        self.follows += 1;
        if let Some(record) = self.records.get_mut(key.0) {
            record.follows.insert(follow);
            let mut register = Register {
                presence: &mut self.presence,
                topics: &self.topics,
            };
            register.came(key, record.who.as_deref(), number);
        }
        Ok(number)
    }

    fn add_topic(&mut self, topic: TopicRef<'_>, id: Option<TopicId>) -> u32 {
        let name = topic.to_name();
        let number = self
            .topics
            .insert(FollowedTopic {
                name: name.clone(),
                id,
                followers: SmallVec::new(),
                waiting: Vec::new(),
                has_presence: self.presence.config().covers(topic),
            })
            .index();
        self.names.insert(name, number);
        if let Some(id) = id {
            self.link(id, number);
        }
        number
    }

    /// Notes which followed topic a topic of the log is; `u32::MAX` for none.
    pub(super) fn link(&mut self, id: TopicId, number: u32) {
        let index = id.index() as usize;
        if index >= self.by_log.len() {
            self.by_log.resize(index + 1, u32::MAX);
        }
        self.by_log[index] = number;
    }

    /// Takes a follower off its topic's list, and forgets a topic without followers.
    pub(super) fn release(&mut self, follow: &Follow) {
        self.follows -= 1;
        let Some(topic) = self.topics.at_mut(follow.topic) else {
            return;
        };
        topic.followers.swap_remove(follow.slot as usize);
        if let Some(moved) = topic.followers.get(follow.slot as usize) {
            let record = self.records.at_mut(*moved);
            if let Some(other) = record.and_then(|record| record.follows.get_mut(follow.topic)) {
                other.slot = follow.slot;
            }
        } else if topic.followers.is_empty() {
            self.forget_topic(follow.topic);
        }
    }

    fn forget_topic(&mut self, number: u32) {
        let topic = self
            .topics
            .key_at(number)
            .and_then(|key| self.topics.remove(key));
        let Some(topic) = topic else {
            return;
        };
        self.names.remove(&topic.name);
        if let Some(id) = topic.id {
            self.link(id, u32::MAX);
        }
    }
}
