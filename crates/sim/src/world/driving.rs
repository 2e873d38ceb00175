//! A client's turns: what the Rust client's driver does, without its sockets and tasks.

use heartwire_proto::client::{ClientSession, Event, Input, Output, Status};
use heartwire_proto::frame::{Message as Said, RefusedCode, SubFrom};
use heartwire_proto::{Attempt, Close, TopicName};
use tungstenite::Message;

use super::{Happening, World};
use crate::client::{Client, Topic};
use crate::oracle::Fate;
use crate::socket::{Arrival, Socket, Written};
use crate::trace::note;
use crate::wire::{Piece, Way, WireId};

/// So many rounds make a turn that never ends.
const ROUNDS_MAX: usize = 100_000;

impl World {
    /// Reads, writes, and does what the session says, until nothing is left to do.
    pub(crate) fn drive(&mut self, client: usize) {
        // What is due and what has arrived come in either order, as a scheduler would have it.
        let timers_first = self.rng.coin();
        for round in 0.. {
            if round > ROUNDS_MAX {
                return self
                    .oracle
                    .violate("I8", format!("client {client} never rests"));
            }
            if !self.clients[client].is_awake() {
                return;
            }
            let mut moved = timers_first && self.time_out(client);
            moved |= self.obey(client);
            moved |= self.transmit(client);
            moved |= self.flush(client);
            let read = self.read(client);
            moved |= read;
            moved |= !read && !timers_first && self.time_out(client);
            if !moved || self.oracle.violation().is_some() {
                return;
            }
        }
    }

    fn with<T>(
        &mut self,
        client: usize,
        act: impl FnOnce(&mut ClientSession, heartwire_proto::client::Now) -> T,
    ) -> T {
        let moment = self.clients[client].moment(self.now, &mut self.rng);
        act(&mut self.clients[client].session, moment)
    }

    fn time_out(&mut self, client: usize) -> bool {
        if self.clients[client].due_at().is_none_or(|at| at > self.now) {
            return false;
        }
        self.with(client, |session, now| session.timeout(now));
        true
    }

    /// Does what the session asks for.
    fn obey(&mut self, client: usize) -> bool {
        let mut moved = false;
        while let Some(output) = self.clients[client].session.poll_output() {
            moved = true;
            match output {
                Output::Dial { attempt } => {
                    note!(self, "client {client}: dials, attempt {}", attempt.0);
                    if self.clients[client].socket.is_some() {
                        let what = format!("client {client} dials beside the socket that it has");
                        self.oracle.violate("I9", what);
                    }
                    let it = &mut self.clients[client];
                    it.dialing = Some(attempt);
                    if let Err(what) = it.dials.dialled(self.now - it.behind_ms) {
                        let what = format!("client {client}: {what}");
                        self.oracle.violate("I9", what);
                    }
                    self.dial(client, attempt);
                }
                Output::Abandon { attempt, close } => self.abandon(client, attempt, close.as_ref()),
                Output::Look { attempt } => self.look(client, attempt),
                Output::Event(event) => self.event(client, event),
            }
        }
        moved
    }

    fn abandon(&mut self, client: usize, attempt: Attempt, close: Option<&Close>) {
        let it = &mut self.clients[client];
        if it.dialing == Some(attempt) {
            it.dialing = None;
        }
        let Some(mut socket) = it.socket.take_if(|socket| socket.attempt == attempt) else {
            return;
        };
        let Some(close) = close else {
            return self.hang_up(socket.wire, Way::Up, Some(Piece::Reset));
        };
        let room = self.room(socket.wire, Way::Up);
        socket.set_room(room);
        socket.say_close(close);
        self.give(&mut socket);
        self.hang_up(socket.wire, Way::Up, Some(Piece::End));
    }

    fn look(&mut self, client: usize, attempt: Attempt) {
        match &mut self.clients[client].socket {
            Some(socket) if socket.attempt == attempt => socket.looks = true,
            // A dial that has not come anywhere has nothing to read.
            _ => self.with(client, |session, now| {
                session.handle(Input::Looked { attempt }, now);
            }),
        }
    }

    // ---- Writing ----

    pub(crate) fn room(&self, wire: WireId, way: Way) -> usize {
        let wire = self.wires.get(&wire);
        wire.map_or(0, |wire| wire.pipe(way).room(self.profile.capacity))
    }

    fn transmit(&mut self, client: usize) -> bool {
        let mut moved = false;
        loop {
            let socket = self.clients[client].socket.as_ref();
            if !socket.is_some_and(|socket| socket.is_open && socket.has_room()) {
                return moved;
            }
            let transmit = self.with(client, ClientSession::poll_transmit);
            let (Some(transmit), Some(socket)) = (transmit, &mut self.clients[client].socket)
            else {
                return moved;
            };
            socket.send(transmit);
            moved = true;
        }
    }

    fn flush(&mut self, client: usize) -> bool {
        let Some(mut socket) = self.clients[client].socket.take() else {
            return false;
        };
        socket.set_room(self.room(socket.wire, Way::Up));
        let written = socket.flush();
        self.give(&mut socket);
        let attempt = socket.attempt;
        self.clients[client].socket = Some(socket);
        let input = match written {
            Written::Nothing => return false,
            Written::Moved => Input::Acknowledged { attempt },
            Written::All => Input::Flushed { attempt },
        };
        self.with(client, |session, now| session.handle(input, now));
        true
    }

    /// What tungstenite wrote goes on its way.
    fn give(&mut self, socket: &mut Socket) {
        let bytes = socket.take();
        if !bytes.is_empty() {
            self.send_bytes(socket.wire, Way::Up, bytes);
        }
    }

    // ---- Reading ----

    /// Reads one thing; whether there was one.
    fn read(&mut self, client: usize) -> bool {
        let Some(mut socket) = self.clients[client].socket.take() else {
            return false;
        };
        if self.take_upgrade(&mut socket) {
            let attempt = socket.attempt;
            self.clients[client].socket = Some(socket);
            self.clients[client].dialing = None;
            let opened = Input::Opened {
                attempt,
                agreed: true,
                token: None,
            };
            self.with(client, |session, now| session.handle(opened, now));
            return true;
        }
        self.feed(client, &mut socket);
        socket.set_room(self.room(socket.wire, Way::Up));
        let arrival = socket.read();
        self.give(&mut socket);
        let attempt = socket.attempt;
        let looked = arrival.is_none() && std::mem::take(&mut socket.looks);
        if let Some(Arrival::Ended { .. }) = arrival {
            self.hang_up(socket.wire, Way::Up, Some(Piece::End));
        } else {
            self.clients[client].socket = Some(socket);
        }
        match arrival {
            Some(arrival) => self.arrived(client, attempt, &arrival),
            None if looked => {
                self.note_progress(client);
                self.with(client, |session, now| {
                    session.handle(Input::Looked { attempt }, now);
                });
            }
            None => return false,
        }
        true
    }

    fn take_upgrade(&mut self, socket: &mut Socket) -> bool {
        let Some(wire) = self.wires.get_mut(&socket.wire) else {
            return false;
        };
        let is_new = std::mem::take(&mut wire.down.upgraded);
        socket.is_open |= is_new;
        is_new
    }

    /// Hands tungstenite what the kernel has, as much as the process reads.
    fn feed(&mut self, client: usize, socket: &mut Socket) {
        let it = &mut self.clients[client];
        let Some(wire) = self.wires.get_mut(&socket.wire) else {
            return;
        };
        // Whoever looks reads everything that has arrived.
        let budget = it.reads.filter(|_| !socket.looks).unwrap_or(usize::MAX);
        let bytes = wire.down.read(budget);
        if let Some(reads) = &mut it.reads {
            *reads = reads.saturating_sub(bytes.len());
        }
        if !bytes.is_empty() {
            it.read_at = self.now;
        }
        socket.feed(&bytes);
        if wire.down.is_dry()
            && let Some(over) = wire.down.over
        {
            socket.end(over);
        }
        if !bytes.is_empty() {
            let after_ms = self.profile.latency_ms;
            self.schedule(after_ms, Happening::Writable(socket.wire, Way::Down));
        }
    }

    fn arrived(&mut self, client: usize, attempt: Attempt, arrival: &Arrival) {
        let input = match arrival {
            Arrival::Message(Message::Text(text)) => Input::Message {
                attempt,
                message: Said::Text(text.as_str()),
            },
            Arrival::Message(Message::Binary(bytes)) => Input::Message {
                attempt,
                message: Said::Binary(bytes),
            },
            Arrival::Message(_) | Arrival::Bytes => Input::Heard { attempt },
            Arrival::Ended { code, reason } => Input::Closed {
                attempt,
                code: *code,
                reason,
            },
        };
        self.with(client, |session, now| session.handle(input, now));
    }

    /// Reports that the server's TCP takes what is sent, as drivers do each second.
    pub(crate) fn note_progress(&mut self, client: usize) {
        let it = &mut self.clients[client];
        let Some(socket) = it.socket.as_mut().filter(|_| it.sees_acknowledgements) else {
            return;
        };
        let Some(wire) = self.wires.get(&socket.wire) else {
            return;
        };
        if socket.has_progressed(wire.up.acknowledged, wire.up.unacknowledged()) {
            let attempt = socket.attempt;
            self.with(client, |session, now| {
                session.handle(Input::Acknowledged { attempt }, now);
            });
        }
    }

    // ---- The application's side ----

    fn event(&mut self, client: usize, event: Event) {
        note!(self, "client {client}: {}", Shown(&event));
        match event {
            Event::Status(status) => self.status(client, &status),
            Event::Followed { topic, cursor } => {
                let extent = self.extent(&topic);
                self.oracle.followed(client, &topic, cursor, extent);
                self.handled(client, &topic, cursor);
            }
            Event::Message(message) => {
                let (topic, cursor) = (&message.topic, message.cursor);
                self.oracle.message(client, topic, cursor, &message.payload);
                self.handled(client, topic, cursor);
            }
            Event::Gap { topic, gap } => {
                self.gap_seen(gap);
                self.oracle.gap(client, &topic, gap);
            }
            Event::Refused { topic, code } => self.refused_to_follow(client, &topic, code),
            Event::Ended { topic, code } => {
                let what = format!("client {client} may not follow {topic:?} any more: {code:?}");
                self.oracle.violate("I1", what);
            }
            Event::Stored { seq } => {
                self.told(client, seq, Fate::Stored);
            }
            Event::PublishRefused { seq, .. } => self.told(client, seq, Fate::Refused),
            Event::InDoubt { seq } => self.told(client, seq, Fate::Doubtful),
            Event::LogLost { .. } => self.log_lost_told(client),
            Event::ClientChanged(_) => self.clients[client].is_shared = false,
            Event::Welcome(_) | Event::Rtt(_) | Event::Received(_) | Event::Unsent { .. } => {}
        }
    }

    /// Nothing but the number of topics keeps a client from following one.
    fn refused_to_follow(&mut self, client: usize, topic: &TopicName, code: RefusedCode) {
        let is_fair =
            code == RefusedCode::Limit && self.profile.topics > self.profile.hub.limits.topics_max;
        if !is_fair {
            let what = format!("client {client} may not follow {topic:?}: {code:?}");
            self.oracle.violate("I1", what);
        }
        self.clients[client].app.topics.remove(topic);
        self.oracle.forgets(client, topic);
    }

    fn told(&mut self, client: usize, seq: heartwire_proto::Seq, fate: Fate) {
        match self.clients[client].app.sent.remove(&seq) {
            Some(mark) => self.oracle.told(mark, fate),
            None => {
                let what = format!("client {client} was told of {seq:?}, which it never published");
                self.oracle.violate("I2", what);
            }
        }
    }

    fn handled(&mut self, client: usize, name: &TopicName, cursor: heartwire_proto::Cursor) {
        let saves = self.rng.per_mille(200);
        if let Some(topic) = self.clients[client].app.topics.get_mut(name) {
            topic.handled = Some(cursor);
            if saves {
                topic.saved = Some(cursor);
            }
        }
    }

    fn status(&mut self, client: usize, status: &Status) {
        self.judge_death(client, status);
        let it = &mut self.clients[client];
        if let Err(what) = it.dials.status(status, self.now - it.behind_ms) {
            self.oracle
                .violate("I9", format!("client {client}: {what}"));
        }
        if let Status::Closed { why } = status {
            self.closed(client, why);
        }
    }

    /// A process begins anew, with what it had saved.
    pub(crate) fn begin_life(
        &mut self,
        client: usize,
        saved: std::collections::BTreeMap<TopicName, Topic>,
    ) {
        self.lives += 1;
        let memory = self.profile.producer_memory();
        let it = Client::born(self.lives, saved, self.now, memory, &mut self.rng);
        note!(self, "client {client}: begins as life {}", it.life);
        match self.clients.get_mut(client) {
            Some(held) => *held = it,
            None => {
                self.clients.push(it);
                self.paths.push(super::Path::default());
            }
        }
        let topics: Vec<_> = self.clients[client]
            .app
            .topics
            .iter()
            .map(|(name, topic)| (name.clone(), topic.handled))
            .collect();
        for (name, handled) in topics {
            self.oracle.begins(client, &name, handled);
            if handled.is_none() {
                let extent = self.extent(&name);
                self.oracle.asks(client, &name, SubFrom::Tail, extent);
            }
        }
        self.clients[client].subscribe_all();
        self.with(client, |session, now| session.start(now));
        self.drive(client);
    }

    pub(crate) fn connected(&mut self, client: usize, wire: WireId, attempt: Attempt) {
        self.clients[client].socket = Some(Socket::new(wire, attempt));
    }
}

/// An event in few words.
struct Shown<'a>(&'a Event);

impl std::fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Event::Welcome(welcome) => write!(
                f,
                "welcome {} acked {} known {}",
                welcome.connection, welcome.acked, welcome.producer_known
            ),
            Event::Message(message) => {
                let content = message.payload.as_bytes();
                let head = &content[..content.len().min(12)];
                write!(
                    f,
                    "{:?} {:?} {}",
                    message.topic,
                    message.cursor,
                    String::from_utf8_lossy(head).trim_end()
                )
            }
            other => write!(f, "{other:?}"),
        }
    }
}
