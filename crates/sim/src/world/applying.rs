//! What applications do with their links, and how their processes come and go.

use std::time::Duration;

use heartwire_proto::client::{Ending, Loss};
use heartwire_proto::frame::{Gap, GapReason, SubFrom};
use heartwire_proto::{CloseCode, Cursor, TopicName};

use super::{Happening, World};
use crate::client::{Client, Pulse, Topic};
use crate::fault::Fault;
use crate::oracle::{Fate, Mark};
use crate::trace::note;
use crate::wire::Way;

impl World {
    /// A client that has never run before.
    pub(crate) fn add_client(&mut self) {
        let client = self.clients.len();
        self.begin_life(client, Default::default());
        for _ in 0..self.rng.between(1, 3) {
            self.follow(client);
        }
        self.schedule_act(client);
    }

    fn schedule_act(&mut self, client: usize) {
        let mean = self.profile.act_every_ms;
        let after_ms = self.rng.between(1, 2 * mean);
        self.schedule(after_ms, Happening::Act { client });
    }

    /// An application does something.
    pub(crate) fn act(&mut self, client: usize) {
        if !self.is_chaos {
            return;
        }
        self.schedule_act(client);
        if !self.clients[client].is_awake() {
            return;
        }
        match self.rng.below(100) {
            0..75 => self.publish(client),
            75..82 => self.follow(client),
            82..85 => self.unfollow(client),
            85..91 => self.toggle_pause(client),
            91..94 => self.wish_interval(client),
            94..97 => self.with_session(client, heartwire_proto::client::ClientSession::probe),
            97 => {
                self.clients[client].dials.excuse();
                self.with_session(client, heartwire_proto::client::ClientSession::reconnect);
            }
            98 => {
                self.clients[client].dials.excuse();
                self.with_session(client, heartwire_proto::client::ClientSession::wake);
            }
            _ => self.with_session(client, heartwire_proto::client::ClientSession::sleep),
        }
        self.drive(client);
    }

    fn with_session(
        &mut self,
        client: usize,
        act: impl FnOnce(&mut heartwire_proto::client::ClientSession, heartwire_proto::client::Now),
    ) {
        let moment = self.clients[client].moment(self.now, &mut self.rng);
        act(&mut self.clients[client].session, moment);
    }

    fn publish(&mut self, client: usize) {
        let burst = self.rng.length(40);
        for _ in 0..=burst {
            self.publish_one(client);
        }
    }

    fn publish_one(&mut self, client: usize) {
        let topic = self.topic_to_publish();
        let bytes = self.rng.length(self.profile.payload_max);
        let app = &mut self.clients[client].app;
        app.count += 1;
        let mark = Mark {
            life: self.clients[client].life,
            number: self.clients[client].app.count,
        };
        let pushed = self.clients[client]
            .session
            .publish(topic.clone(), mark.payload(bytes));
        if let Ok(seq) = pushed {
            self.clients[client].app.sent.insert(seq, mark);
            self.oracle.published(mark, &topic, bytes);
            if self.clients[client].is_shared {
                self.oracle.shared(mark);
            }
        }
    }

    fn follow(&mut self, client: usize) {
        let name = self.any_topic();
        let from = match self.rng.below(4) {
            0 => SubFrom::Tail,
            1 => SubFrom::Head,
            2 => SubFrom::Last(self.rng.between(1, 20)),
            _ => SubFrom::After(Cursor::Start),
        };
        if self.clients[client].session.subscribe(&name, from).is_ok() {
            let handled = match from {
                SubFrom::After(cursor) => Some(cursor),
                _ => None,
            };
            let topic = Topic {
                handled,
                saved: handled,
                is_paused: false,
            };
            self.clients[client].app.topics.insert(name.clone(), topic);
            self.oracle.begins(client, &name, handled);
            if handled.is_none() {
                let extent = self.extent(&name);
                self.oracle.asks(client, &name, from, extent);
            }
        }
    }

    fn unfollow(&mut self, client: usize) {
        let name = self.any_topic();
        self.clients[client].session.unsubscribe(&name);
        self.clients[client].app.topics.remove(&name);
        self.oracle.forgets(client, &name);
    }

    fn toggle_pause(&mut self, client: usize) {
        let name = self.any_topic();
        let it = &mut self.clients[client];
        let Some(topic) = it.app.topics.get_mut(&name) else {
            return;
        };
        topic.is_paused = !topic.is_paused;
        if topic.is_paused {
            it.session.pause(&name);
        } else {
            it.session.resume(&name);
        }
    }

    fn wish_interval(&mut self, client: usize) {
        let interval_ms = self.rng.pick(&[2_000, 15_000, 40_000]);
        let it = &mut self.clients[client];
        it.interval_ms = it.interval_ms.max(interval_ms);
        for wire in self.wires.values_mut().filter(|of| of.client == client) {
            wire.interval_ms = wire.interval_ms.max(interval_ms);
        }
        let interval = Duration::from_millis(interval_ms);
        it.session
            .set_heartbeat_interval(interval)
            .expect("the interval lies in the range of the protocol");
    }

    pub(crate) fn gap_seen(&mut self, gap: Gap) {
        if gap.reason == GapReason::Retention {
            self.count(Fault::Retention);
        }
    }

    // ---- Processes ----

    /// The link is closed for good: its process begins anew, as a user would have it.
    pub(crate) fn closed(&mut self, client: usize, why: &Ending) {
        note!(self, "client {client}: closed, {why}");
        let is_fair = match why {
            Ending::Refused { code, .. } => {
                *code == CloseCode::TAKEN_OVER && self.clients[client].is_shared
            }
            Ending::Application => true,
            // A link that is told again and again that its id is another's believes it no longer.
            Ending::BrokenRules { reason } => {
                *reason == Loss::ClientIdInUse.to_string() && self.clients[client].copies >= 2
            }
        };
        if !is_fair {
            let what = format!("client {client} was closed for good: {why}");
            self.oracle.violate("I10", what);
        }
        self.end_life(client);
        // Not from within the turn that has brought the news.
        self.schedule(1, Happening::Rebirth { client });
    }

    /// A process dies and another begins with what it had saved.
    pub(crate) fn restart(&mut self, client: usize) {
        if matches!(self.clients[client].pulse, Pulse::Asleep { .. }) {
            return;
        }
        self.count(Fault::Restart);
        self.end_life(client);
        self.reborn(client);
    }

    pub(crate) fn reborn(&mut self, client: usize) {
        let saved = self.clients[client].app.topics.iter().map(|(name, topic)| {
            let topic = Topic {
                handled: topic.saved,
                saved: topic.saved,
                is_paused: false,
            };
            (name.clone(), topic)
        });
        let saved = saved.collect();
        // A process begins on a machine that is awake.
        self.waken(client);
        self.begin_life(client, saved);
    }

    fn end_life(&mut self, client: usize) {
        let it = &mut self.clients[client];
        let sent = std::mem::take(&mut it.app.sent);
        for mark in sent.into_values() {
            self.oracle.told(mark, Fate::Doubtful);
        }
        self.clients[client].dialing = None;
        if let Some(socket) = self.clients[client].socket.take() {
            let last = match self.rng.coin() {
                true => crate::wire::Piece::Reset,
                false => crate::wire::Piece::End,
            };
            self.hang_up(socket.wire, Way::Up, Some(last));
        }
    }

    /// A process is copied with everything that it knows; the copy has no socket.
    pub(crate) fn copy_client(&mut self, client: usize) {
        let copy = self.clients.len();
        self.lives += 1;
        let it = &mut self.clients[client];
        it.is_shared = true;
        it.copies += 1;
        let copied = Client {
            life: self.lives,
            session: it.session.clone(),
            socket: None,
            dialing: None,
            pulse: Pulse::Awake { since: self.now },
            behind_ms: it.behind_ms,
            has_slept: true,
            app: it.app.clone(),
            dials: it.dials.clone(),
            reads: None,
            is_shared: true,
            slept_wires: Vec::new(),
            ..*it
        };
        note!(self, "client {copy}: is a copy of client {client}");
        self.clients.push(copied);
        self.paths.push(super::Path::default());
        self.clients[copy].app.count = 0;
        for mark in self.clients[copy].app.sent.values() {
            self.oracle.shared(*mark);
        }
        self.oracle.copies(client, copy);
        self.lose_socket(copy);
        self.schedule_act(copy);
    }

    /// What a copy held for a socket is nobody's.
    fn lose_socket(&mut self, client: usize) {
        let attempt = self.clients[client].session.attempt();
        self.with_session(client, |session, now| {
            session.handle(
                heartwire_proto::client::Input::Closed {
                    attempt,
                    code: None,
                    reason: "the socket belongs to another process",
                },
                now,
            );
        });
        self.drive(client);
    }

    /// The topics that an application follows and has not paused.
    pub(crate) fn followed_by(&self, client: usize) -> Vec<TopicName> {
        self.clients[client].app.topics.keys().cloned().collect()
    }
}
