//! Who is there on the topics for which that is told `[PRES-1]`: what happens to followers goes to
//! [`Presence`], and what that has to say is appended to the log.

use heartwire_log::slab::Slab;
use heartwire_log::{Now, TopicLog};
use heartwire_proto::id::TopicRef;
use heartwire_proto::{Cursor, Time, TopicName};
use serde_json::json;

use super::follow::FollowedTopic;
use super::{ConnKey, HubState, Role, Who};
use crate::connection::Reason;
use crate::presence::{Attendance, MemberId, Presence, PresenceCounts, Told};

/// How many leaves one settling tells, so that nobody waits long for the hub.
const LEAVES_AT_ONCE: usize = 1_024;

impl<H: Clone> HubState<H> {
    /// Whether somebody came or left and that was not [settled](Self::settle_presence): to be asked
    /// before the hub is unlocked.
    pub fn has_presence_news(&self) -> bool {
        self.presence.has_stirred()
    }

    /// When somebody who is away will have left; then settle, and again while that answers yes.
    pub fn presence_deadline(&self) -> Option<Time> {
        self.presence.deadline()
    }

    /// Tells who joined and left, on `$presence:TOPIC`. What it appends is to be
    /// [committed](Self::commit_memory). Returns whether there is more to do at once.
    pub fn settle_presence(&mut self, now: Now) -> bool {
        let Self { presence, log, .. } = self;
        let mut tell = |topic: &TopicName, member: &MemberId, told: Told| {
            let name = topic.as_topic().presence();
            let announced =
                name.map(|name| log.announce(name.as_topic(), &text(member, told), now));
            announced.is_some_and(|announced| announced.is_ok())
        };
        presence.settle((now.time, now.wall), LEAVES_AT_ONCE, &mut tell)
    }

    /// The server is being stopped: nobody's leave is told from here on, as all leave with it
    /// `[PRES-6]`.
    pub fn end_presence(&mut self) {
        self.presence.end();
    }

    /// Who is there on a topic; nothing where that is not kept. Nothing that is
    /// [to be settled](Self::has_presence_news) is in it.
    pub fn attendance(&self, topic: TopicRef<'_>) -> Option<Attendance> {
        if !self.presence.config().covers(topic) {
            return None;
        }
        let name = topic.presence()?;
        let told = self.log.find(name.as_topic());
        let told = told.and_then(|id| self.log.topic(id));
        let (members, unlisted) = self.presence.present(topic);
        Some(Attendance {
            cursor: told.map_or(Cursor::Start, |told: &TopicLog| told.cursor(told.end())),
            members,
            unlisted,
        })
    }

    /// What presence has counted.
    pub const fn presence_counts(&self) -> &PresenceCounts {
        self.presence.counts()
    }

    /// How many members are there, and on how many topics.
    pub fn presence_len(&self) -> (usize, usize) {
        (self.presence.members_len(), self.presence.rooms_len())
    }

    /// Whether a topic of the server's own is one on which joins and leaves are told.
    pub(super) fn tells_presence(&self, topic: TopicRef<'_>) -> bool {
        let of = topic.presence_of();
        of.is_some_and(|topic| self.presence.config().covers(topic))
    }
}

/// Where those are noted who come and go.
pub(super) struct Register<'a> {
    pub(super) presence: &'a mut Presence,
    pub(super) topics: &'a Slab<FollowedTopic>,
}

impl Register<'_> {
    /// Somebody follows a topic who did not before; readers inside the process are nobody.
    pub(super) fn came(&mut self, key: ConnKey, who: Option<&Who>, topic: u32) {
        if let Some((name, member)) = self.spot(key, who, topic) {
            self.presence.came(name, member, key);
        }
    }

    /// Somebody follows a topic no longer.
    pub(super) fn left(&mut self, key: ConnKey, who: Option<&Who>, topic: u32, reason: Reason) {
        if let Some((name, member)) = self.spot(key, who, topic) {
            self.presence.left(name, member, key, reason);
        }
    }

    fn spot(&self, key: ConnKey, who: Option<&Who>, topic: u32) -> Option<(TopicName, MemberId)> {
        let topic = self.topics.at(topic).filter(|topic| topic.has_presence)?;
        Some((topic.name.clone(), member(who?, key)))
    }
}

/// Who a connection is to those who follow the same topics: as FROM, where its token says.
fn member(who: &Who, key: ConnKey) -> MemberId {
    let subject = who.grant().and_then(|grant| grant.subject());
    match (who.from().filter(|_| subject.is_some()), who.role) {
        (Some(from), _) => MemberId::Subject(from.into()),
        (None, Role::V1 { producer, .. }) => MemberId::Client(producer.public()),
        (None, Role::Plain) => MemberId::Connection(key),
    }
}

/// The message `[PRES-2]`.
fn text(member: &MemberId, told: Told) -> String {
    let (name, kind) = (member.name(), member.kind());
    let message = match told {
        Told::Join => json!({ "event": "join", "member": name, "kind": kind }),
        Told::Leave((by, reason)) => json!({
            "event": "leave",
            "member": name,
            "kind": kind,
            "by": by.as_str(),
            "reason": reason,
        }),
    };
    message.to_string()
}
