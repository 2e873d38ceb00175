//! After the faults: everything comes back, and the log is read.

use heartwire_hub::{Delivery, Filled};
use heartwire_proto::client::Status;
use heartwire_proto::frame::{GapReason, SubFrom};
use heartwire_proto::{Cursor, Offset, TopicName};

use super::{Heal, World};
use crate::client::Client;
use crate::oracle::{Extent, FinalTopic};
use crate::server::Process;
use crate::trace::note;

/// Within this everything is open again: a suspended link tries by itself after 7.5 min at most,
/// and has its attempts then; a dead connection is noticed before, in milliseconds.
pub(crate) const OPEN_WITHIN_MS: u64 = 600_000;
/// How much one reading of the log takes, in bytes.
const READ_BYTES: usize = 1 << 20;

impl World {
    /// All faults end.
    pub(crate) fn calm_down(&mut self) {
        note!(self, "the faults are over");
        self.is_chaos = false;
        self.flaps = false;
        let heals = std::mem::take(&mut self.queue);
        for entry in heals.into_sorted_vec().into_iter().rev() {
            let std::cmp::Reverse((at, order, happening)) = entry;
            match happening {
                super::Happening::Heal(Heal::Start) | super::Happening::Strike(_) => {}
                super::Happening::Heal(heal) => self.heal(heal),
                happening => self.queue.push(std::cmp::Reverse((at, order, happening))),
            }
        }
        if self.server.fails_at.is_some() {
            self.crash(true);
        }
        if matches!(self.server.process, Process::Down { .. }) {
            self.heal(Heal::Start);
        }
        for client in 0..self.clients.len() {
            self.unpause(client);
        }
    }

    fn unpause(&mut self, client: usize) {
        for name in self.followed_by(client) {
            let it = &mut self.clients[client];
            if let Some(topic) = it.app.topics.get_mut(&name)
                && std::mem::take(&mut topic.is_paused)
            {
                it.session.resume(&name);
            }
        }
        // An application that is asleep by its own wish stays so until it wakes.
        let moment = self.clients[client].moment(self.now, &mut self.rng);
        self.clients[client].session.wake(moment);
        self.clients[client].dials.excuse();
        self.drive(client);
    }

    /// Whether everything is open, sent, stored and handed over.
    pub(crate) fn is_settled(&self) -> bool {
        let has_pending = self.server.hub.log().pending().next().is_some();
        self.server.runs()
            && !has_pending
            && self
                .clients
                .iter()
                .all(|client| self.is_client_settled(client))
    }

    fn is_client_settled(&self, client: &Client) -> bool {
        let is_open = matches!(client.session.status(), Status::Open { .. });
        is_open
            && client.session.unacked() == 0
            && client
                .app
                .topics
                .keys()
                .all(|name| client.session.cursor(name) == Some(self.end_of(name)))
    }

    /// The durable end of a topic; a follower that was there before its birth is at the start.
    fn end_of(&self, name: &TopicName) -> Cursor {
        let log = self.server.hub.log();
        let topic = log.find(name.as_topic()).and_then(|id| log.topic(id));
        topic.map_or(Cursor::Start, |topic| topic.cursor(topic.end()))
    }

    /// How far a topic goes at this moment.
    pub(crate) fn extent(&self, name: &TopicName) -> Extent {
        let log = self.server.hub.log();
        let topic = log.find(name.as_topic()).and_then(|id| log.topic(id));
        let is_down = matches!(self.server.process, Process::Down { .. });
        let starts = self.server.starts - u32::from(is_down);
        topic.map_or_else(Extent::default, |topic| Extent {
            epoch: Some(topic.epoch()),
            base: topic.base().0,
            end: topic.end().0,
            starts,
        })
    }

    /// Judges what the run has led to.
    pub(crate) fn judge(&mut self) {
        if self.oracle.violation().is_some() {
            return;
        }
        self.judge_settled();
        self.judge_outboxes();
        let topics = self.read_log();
        self.oracle.judge_log(&topics);
        for client in 0..self.clients.len() {
            for name in self.followed_by(client) {
                let topic = topics.iter().find(|topic| topic.name == name);
                self.oracle.judge_follower(client, &name, topic);
            }
        }
    }

    fn judge_settled(&mut self) {
        if self.is_settled() {
            return;
        }
        let unsettled = self
            .clients
            .iter()
            .enumerate()
            .find(|(_, client)| !self.is_client_settled(client));
        let what = match unsettled {
            Some((index, client)) => format!(
                "client {index} is {} with {} publishes unanswered, at {:?}",
                client.session.status().name(),
                client.session.unacked(),
                client
                    .app
                    .topics
                    .keys()
                    .map(|name| (client.session.cursor(name), self.end_of(name)))
                    .collect::<Vec<_>>(),
            ),
            None => "the server has not stored everything".to_owned(),
        };
        self.oracle.violate("I10", what);
    }

    /// Nothing is left of which its publisher waits to hear.
    fn judge_outboxes(&mut self) {
        self.oracle.judge_fates();
        let left = |client: &Client| !client.app.sent.is_empty();
        if let Some(client) = self.clients.iter().position(left) {
            let sent = self.clients[client].app.sent.keys().next();
            let what = format!("client {client} was never told of {sent:?}");
            self.oracle.violate("I10", what);
        }
    }

    /// Reads everything that the log holds, as readers inside the server do.
    fn read_log(&mut self) -> Vec<FinalTopic> {
        // In memory messages are too old when the second has passed, and not before.
        while self.server.hub.expire(self.server_time()) {}
        let names = self.topics.clone();
        names
            .iter()
            .filter_map(|name| self.read_topic(name))
            .collect()
    }

    fn read_topic(&mut self, name: &TopicName) -> Option<FinalTopic> {
        let mut topic = self.begin_topic(name)?;
        // No connection has this number.
        let reader = self.server.hub.open_reader(usize::MAX).ok()?;
        let messages_age = self.oracle.messages_age();
        let hub = &mut self.server.hub;
        hub.follow(reader, name.as_topic(), SubFrom::Head).ok()?;
        loop {
            let filled = hub.read(reader, READ_BYTES, &mut |delivery| match delivery {
                Delivery::Message { entry, .. } => {
                    let content = entry.payload().as_bytes().to_vec();
                    topic.contents.push(Some(content));
                }
                // What is too old is given to nobody, though its segment is still there.
                Delivery::Gap { gap, .. }
                    if gap.reason == GapReason::Retention
                        && topic.contents.is_empty()
                        && messages_age =>
                {
                    topic.base = gap.last.unwrap_or(topic.base);
                }
                Delivery::Gap { gap, .. } => {
                    let count = gap.last.map_or(0, |last| last.0 + 1 - gap.first.0);
                    topic.contents.extend((0..count).map(|_| None));
                }
                Delivery::Epoch { .. } => {}
            });
            let storage = self.server.storage.as_mut();
            let has_loaded = storage.is_some_and(|storage| storage.load_all(hub));
            if filled == Filled::Drained && !has_loaded {
                return Some(topic);
            }
        }
    }

    fn begin_topic(&self, name: &TopicName) -> Option<FinalTopic> {
        let log = self.server.hub.log();
        let topic = log.find(name.as_topic()).and_then(|id| log.topic(id))?;
        Some(FinalTopic {
            name: name.clone(),
            epoch: topic.epoch(),
            base: topic.base(),
            end: topic.end().max(Offset::ZERO),
            contents: Vec::new(),
        })
    }
}
