//! Identities that were shut out, and topics that were taken from them, while they are connected
//! and for a time after.
//!
//! ```text
//!              kick                         readmit, or the time is over
//!   (anybody) ──────► kept out: no connection joins ──────────────────────► (anybody)
//!
//!              revoke                        readmit, or the time is over
//!   (anybody) ──────► less than its grant: followers hear `ended` ────────► (anybody)
//! ```
//!
//! A grant that somebody carries in a token cannot be called back, so that the hub remembers what
//! no longer holds. Whoever drives it may write it down, and put it back after a restart.

use std::sync::Arc;

use heartwire_proto::id::TopicRef;
use heartwire_proto::{Close, CloseCode, Time, TopicName};

use super::{ConnKey, HubState, Identity};
use heartwire_log::Pattern;

use crate::connection::FORBIDDEN;
use crate::grant::Grant;

/// As many as this are remembered of one identity.
const REVOKED_MAX: usize = 64;

/// What holds against one identity.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Subject {
    kept_out_until: Option<Time>,
    revoked: Vec<(Pattern, Time)>,
}

/// What holds against one identity, as operators see it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct SubjectInfo {
    /// The identity.
    pub subject: Arc<str>,
    /// Until when it is kept out.
    pub kept_out_until: Option<Time>,
    /// What was taken from it, and until when.
    pub revoked: Vec<(Pattern, Time)>,
}

/// Nothing more can be remembered of identities, or of this one; nothing was done.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
#[error("as many identities are shut out, or topics revoked, as can be remembered")]
pub struct SubjectsFull;

impl<H: Clone> HubState<H> {
    /// Closes every connection of an identity, and lets none of it join before `until`. Returns how
    /// many were closed. Time that has passed already keeps nobody out.
    pub fn kick(
        &mut self,
        subject: &str,
        until: Time,
        close: &Close,
        now: Time,
    ) -> Result<usize, SubjectsFull> {
        if until > now {
            self.remember(subject)?.kept_out_until = Some(until);
        }
        let keys = self.connections_of(subject);
        for key in &keys {
            self.evict(*key, close.clone());
        }
        Ok(keys.len())
    }

    /// Takes topics from an identity, whatever its grants say, until then. Its followers of them
    /// hear `ended`. Returns how many that were.
    pub fn revoke(
        &mut self,
        subject: &str,
        topics: &Pattern,
        until: Time,
    ) -> Result<usize, SubjectsFull> {
        let held = self.remember(subject)?;
        held.revoked.retain(|(known, _)| known != topics);
        if held.revoked.len() >= REVOKED_MAX {
            return Err(SubjectsFull);
        }
        held.revoked.push((topics.clone(), until));
        let mut ended = 0;
        for key in self.connections_of(subject) {
            ended += self.end_what_is_not_granted(key);
        }
        Ok(ended)
    }

    /// Forgets everything that holds against an identity; whether there was anything.
    pub fn readmit(&mut self, subject: &str) -> bool {
        self.subjects.remove(subject).is_some()
    }

    /// What holds against whom, in the order of the identities, after `after`.
    pub fn subjects(&self, after: Option<&str>, count_max: usize) -> Vec<SubjectInfo> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, Excluded);
        let held = self.subjects.range::<str, _>((from, Unbounded));
        let infos = held.map(|(subject, held)| SubjectInfo {
            subject: subject.clone(),
            kept_out_until: held.kept_out_until,
            revoked: held.revoked.clone(),
        });
        infos.take(count_max).collect()
    }

    /// Puts back what held against identities when the last process ended. All of it is taken, also
    /// beyond what may be added: somebody has decided it.
    pub fn restore_subjects(&mut self, subjects: impl IntoIterator<Item = SubjectInfo>) {
        for info in subjects {
            let held = Subject {
                kept_out_until: info.kept_out_until,
                revoked: info.revoked,
            };
            self.subjects.insert(info.subject, held);
        }
    }

    /// Whether somebody with this grant may come in.
    pub fn admits(&self, grant: Option<&Grant>) -> Result<(), Close> {
        let held = self.held_against(grant);
        if held.is_none_or(|held| held.kept_out_until.is_none()) {
            return Ok(());
        }
        Err(Close::new(
            CloseCode::FORBIDDEN,
            "this identity is kept out",
        ))
    }

    /// Whether somebody may follow and read a topic. Nothing of the topic itself is looked at. Who is
    /// there on a topic is taken along with the topic, or by itself.
    pub fn may_subscribe(&self, grant: Option<&Grant>, topic: TopicRef<'_>) -> bool {
        let of = topic.presence_of();
        grant.is_none_or(|grant| grant.may_subscribe(topic))
            && !self.is_revoked(grant, topic)
            && !of.is_some_and(|of| self.is_revoked(grant, of))
    }

    /// Whether somebody may publish to a topic. Nothing of the topic itself is looked at.
    pub fn may_publish(&self, grant: Option<&Grant>, topic: TopicRef<'_>) -> bool {
        grant.is_none_or(|grant| grant.may_publish(topic)) && !self.is_revoked(grant, topic)
    }

    /// Who a connection is, if its grant says so.
    pub fn subject_of(&self, key: ConnKey) -> Option<&str> {
        self.who(key)?.grant()?.subject()
    }

    /// What a connection does not follow any more, and has not been told of.
    pub(crate) fn take_ended(&mut self, key: ConnKey) -> Vec<TopicName> {
        self.ended.remove(&key).unwrap_or_default()
    }

    /// A connection shows a grant in place of the one that it came with.
    pub(crate) fn regrant(&mut self, key: ConnKey, grant: Arc<Grant>) {
        if let Some(who) = self.who_mut(key) {
            who.identity = Some(Arc::new(Identity {
                from: who.from().map(Into::into),
                grant: Some(grant),
            }));
        }
        self.end_what_is_not_granted(key);
    }

    /// Forgets what has held long enough.
    pub(super) fn expire_subjects(&mut self, now: Time) {
        self.subjects.retain(|_, held| {
            held.kept_out_until = held.kept_out_until.filter(|until| *until > now);
            held.revoked.retain(|(_, until)| *until > now);
            held.kept_out_until.is_some() || !held.revoked.is_empty()
        });
    }

    fn held_against(&self, grant: Option<&Grant>) -> Option<&Subject> {
        self.subjects.get(grant?.subject()?)
    }

    fn is_revoked(&self, grant: Option<&Grant>, topic: TopicRef<'_>) -> bool {
        let held = self.held_against(grant);
        held.is_some_and(|held| held.revoked.iter().any(|(topics, _)| topics.covers(topic)))
    }

    fn remember(&mut self, subject: &str) -> Result<&mut Subject, SubjectsFull> {
        let is_full = self.subjects.len() >= self.config.subjects_max;
        if is_full && !self.subjects.contains_key(subject) {
            return Err(SubjectsFull);
        }
        Ok(self.subjects.entry(subject.into()).or_default())
    }

    fn connections_of(&self, subject: &str) -> Vec<ConnKey> {
        let records = self.records.iter_from(0).filter(|(_, record)| {
            let grant = record.who.as_ref().and_then(|who| who.grant());
            grant.and_then(Grant::subject) == Some(subject)
        });
        records.map(|(key, _)| ConnKey(key)).collect()
    }

    /// Ends what a connection follows without being allowed to; how many topics that were.
    fn end_what_is_not_granted(&mut self, key: ConnKey) -> usize {
        let Some(record) = self.records.get(key.0) else {
            return 0;
        };
        let grant = record.who.as_ref().and_then(|who| who.grant());
        let followed = record.follows.iter().filter_map(|follow| {
            let topic = self.topics.at(follow.topic)?;
            let is_ended = !self.may_subscribe(grant, topic.name.as_topic());
            is_ended.then(|| topic.name.clone())
        });
        let ended: Vec<TopicName> = followed.collect();
        for topic in &ended {
            self.stop_following(key, topic.as_topic(), FORBIDDEN);
        }
        let count = ended.len();
        if count > 0 {
            self.ended.entry(key).or_default().extend(ended);
            self.notice(key);
        }
        count
    }

    /// Wakes a connection that has something to say which no topic holds.
    fn notice(&mut self, key: ConnKey) {
        if let Some(record) = self.records.get_mut(key.0) {
            record.noticed = true;
            record.wake(&mut self.wakes);
        }
    }
}
