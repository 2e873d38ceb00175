//! One state of the small core, and what may happen in it.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use heartwire_hub::{Connection, Filled, HubConfig, HubState, Now as HubNow, Peer, Step};
use heartwire_log::Load;
use heartwire_proto::client::{
    ClientConfig, ClientSession, Event, Input, Now, Output, Status, Transmit,
};
use heartwire_proto::frame::{Payload, SubFrom};
use heartwire_proto::{Attempt, ClientId, Cursor, Time, TopicName, WallTime};

use super::Bounds;
use super::disk::{Disk, give_room};

/// How much is taken from the hub at once, in bytes: more than there ever is.
const FILL_BYTES: usize = 64 * 1024;

/// How much of what is durable stays in memory, in bytes: a message, so that whoever is behind waits for
/// the disk.
const HOT_BYTES_MAX: usize = 200;

/// One thing that may happen.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Action {
    /// A connection brings the server its next message.
    Up(u8),
    /// A connection brings the client its next message.
    Down(u8),
    /// So many of the appends that wait are durable, the first ones.
    Commit(u8),
    /// The disk fails: what waits may be written or not, and nothing more is taken until a restart.
    Fail,
    /// A connection that the hub has woken is filled.
    Fill(u8),
    /// What a follower waits for first has been read back from the disk.
    Read,
    /// The client loses its connection; the server may learn of it later.
    Cut,
    /// The server learns that a connection is gone; what was under way is lost.
    Notice(u8),
    /// The server dies after so many of the appends that wait were written, and begins anew.
    Crash {
        /// Written, and nobody was told.
        written: u8,
    },
    /// The client learns that the server has let go of its connection.
    Hear,
    /// The delay before the next dial is over.
    Dial,
}

/// A connection, with what is under way on it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Wire {
    attempt: Attempt,
    server: Option<Connection>,
    up: VecDeque<Payload>,
    down: VecDeque<Payload>,
    client_has_it: bool,
}

/// See the [module](self).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct State {
    client: ClientSession,
    /// The client's clock, in milliseconds.
    now_ms: u64,
    hub: HubState<u8>,
    disk: Disk,
    has_failed: bool,
    /// The connections that the hub has woken.
    woken: BTreeSet<u8>,
    /// What followers wait for.
    loads: VecDeque<Load>,
    wires: Vec<Wire>,
    cuts: u8,
    crashes: u8,
    /// The numbers of the messages that the application was handed.
    handed: Vec<u8>,
    /// How many publishes it was told are stored.
    stored: u64,
    /// Something that must not happen has.
    is_closed: bool,
}

fn topic() -> TopicName {
    "t".parse().expect("one letter is a name")
}

impl State {
    pub(super) fn new(bounds: &Bounds) -> Self {
        let mut disk = Disk::new("log1".parse().expect("it is an id"));
        let mut config = HubConfig::default();
        config.log.hot_bytes_max = HOT_BYTES_MAX;
        let hub = HubState::recover(Arc::new(config), disk.restart(0));
        let mut client = ClientSession::new(ClientConfig::default(), ClientId::from_random(1));
        let from = SubFrom::After(Cursor::Start);
        client
            .subscribe(&topic(), from)
            .expect("one topic is not too many");
        let mut state = Self {
            client,
            now_ms: 0,
            hub,
            disk,
            has_failed: false,
            woken: BTreeSet::new(),
            loads: VecDeque::new(),
            wires: Vec::new(),
            cuts: bounds.cuts,
            crashes: bounds.crashes,
            handed: Vec::new(),
            stored: 0,
            is_closed: false,
        };
        for number in 1..=bounds.messages {
            state
                .client
                .publish(topic(), Payload::Binary(vec![number]))
                .expect("few messages fit into an outbox");
        }
        give_room(&mut state.hub);
        let now = state.now();
        state.client.start(now);
        state.obey();
        state
    }

    const fn now(&self) -> Now {
        Now {
            time: Time::from_millis(self.now_ms),
            wall: WallTime::from_unix_millis(0),
            random: u128::MAX / 2,
        }
    }

    /// Time stands still for the server; each of its lives draws other numbers.
    const fn hub_now(&self) -> HubNow {
        HubNow {
            time: Time::ZERO,
            wall: WallTime::from_unix_millis(0),
            random: (1 << 63) + self.crashes as u64,
        }
    }

    // ---- What may happen ----

    pub(super) fn actions(&self, actions: &mut Vec<Action>) {
        if self.is_closed {
            return;
        }
        for (number, wire) in (0..).zip(&self.wires) {
            if wire.server.is_some() && !wire.up.is_empty() {
                actions.push(Action::Up(number));
            }
            if wire.client_has_it && !wire.down.is_empty() {
                actions.push(Action::Down(number));
            }
            if wire.server.is_some() && !wire.client_has_it {
                actions.push(Action::Notice(number));
            }
        }
        let pending = self.disk.unsynced() as u8;
        if !self.has_failed {
            actions.extend((1..=pending).map(Action::Commit));
        }
        if !self.has_failed && pending > 0 && self.crashes > 0 {
            actions.push(Action::Fail);
        }
        actions.extend(self.woken.iter().copied().map(Action::Fill));
        if !self.loads.is_empty() {
            actions.push(Action::Read);
        }
        let held = self.wires.iter().find(|wire| wire.client_has_it);
        if self.cuts > 0 && held.is_some_and(|wire| wire.server.is_some()) {
            actions.push(Action::Cut);
        }
        if held.is_some_and(|wire| wire.server.is_none()) {
            actions.push(Action::Hear);
        }
        if self.crashes > 0 {
            actions.extend((0..=pending).map(|written| Action::Crash { written }));
        }
        let waits = matches!(
            self.client.status(),
            Status::Lost { .. } | Status::Suspended { .. }
        );
        if waits {
            actions.push(Action::Dial);
        }
    }

    pub(super) fn act(&mut self, action: Action) {
        match action {
            Action::Up(wire) => self.up(wire),
            Action::Down(wire) => self.down(wire),
            Action::Commit(count) => self.commit(usize::from(count)),
            Action::Fail => self.fail(),
            Action::Fill(wire) => self.pump(wire),
            Action::Read => self.read(),
            Action::Cut => {
                self.cuts -= 1;
                self.lose();
            }
            Action::Hear => self.lose(),
            Action::Notice(wire) => self.notice(wire),
            Action::Crash { written } => self.crash(written),
            Action::Dial => {
                if let Some(due) = self.client.next_timeout() {
                    self.now_ms = self.now_ms.max(due.as_millis());
                }
                let now = self.now();
                self.client.timeout(now);
            }
        }
        self.obey();
        self.settle();
        self.forget();
    }

    fn up(&mut self, number: u8) {
        let now = self.hub_now();
        let wire = &mut self.wires[usize::from(number)];
        let (Some(message), Some(server)) = (wire.up.pop_front(), &mut wire.server) else {
            return;
        };
        let is_live = server
            .key()
            .is_none_or(|key| self.hub.handle(key.id()).is_some());
        let appended = self.hub.log().pending().count();
        match server.receive(message.as_message(), now.time) {
            // Nobody has a token.
            Step::Done | Step::RoundTrip(_) => {}
            Step::Hub(request) => server.apply(request, &mut self.hub, now),
            Step::Hello(hello) => server.welcome(&hello, None, &mut self.hub, &number, now),
            Step::Token(_) => server.keep_grant(),
        }
        server.heard(now.time);
        // Who was displaced writes no more.
        self.is_closed |= !is_live && self.hub.log().pending().count() != appended;
        self.pump(number);
    }

    fn down(&mut self, number: u8) {
        let wire = &mut self.wires[usize::from(number)];
        let attempt = wire.attempt;
        let Some(message) = wire.down.pop_front() else {
            return;
        };
        let now = self.now();
        let message = message.as_message();
        self.client.handle(Input::Message { attempt, message }, now);
    }

    fn commit(&mut self, count: usize) {
        let last = self.hub.log().pending().nth(count - 1);
        if let Some(through) = last.map(|(pending, _)| pending.lsn) {
            self.hub.commit(through, &self.disk.sync(count));
        }
    }

    fn fail(&mut self) {
        self.has_failed = true;
        self.hub.set_accepting(false);
        self.hub.fail_all();
    }

    fn read(&mut self) {
        if let Some(load) = self.loads.pop_front() {
            self.hub.loaded(&load, self.disk.read(&load));
        }
    }

    /// The client's connection is over.
    fn lose(&mut self) {
        let Some(wire) = self.wires.iter_mut().find(|wire| wire.client_has_it) else {
            return;
        };
        wire.client_has_it = false;
        wire.down.clear();
        let attempt = wire.attempt;
        let now = self.now();
        let closed = Input::Closed {
            attempt,
            code: None,
            reason: "",
        };
        self.client.handle(closed, now);
    }

    fn notice(&mut self, number: u8) {
        let wire = &mut self.wires[usize::from(number)];
        wire.up.clear();
        if let Some(mut server) = wire.server.take() {
            server.leave(&mut self.hub);
        }
    }

    fn crash(&mut self, written: u8) {
        self.crashes -= 1;
        for wire in &mut self.wires {
            wire.up.clear();
            wire.server = None;
        }
        let recovered = self.disk.restart(usize::from(written));
        self.hub = HubState::recover(self.hub.config().clone(), recovered);
        give_room(&mut self.hub);
        self.loads.clear();
        self.woken.clear();
        self.has_failed = false;
    }

    // ---- What follows from it ----

    /// Does what the client asks for.
    fn obey(&mut self) {
        loop {
            let Some(output) = self.client.poll_output() else {
                if self.transmit() {
                    continue;
                }
                return;
            };
            match output {
                Output::Dial { attempt } => self.dial(attempt),
                Output::Abandon { attempt, .. } => {
                    let mut wires = self.wires.iter_mut();
                    if let Some(wire) = wires.find(|wire| wire.attempt == attempt) {
                        wire.client_has_it = false;
                        wire.down.clear();
                    }
                }
                Output::Look { attempt } => {
                    let now = self.now();
                    self.client.handle(Input::Looked { attempt }, now);
                }
                Output::Event(event) => self.event(&event),
            }
        }
    }

    fn dial(&mut self, attempt: Attempt) {
        let config = self.hub.config().clone();
        let server = Connection::v1(config, Peer::default(), Vec::new(), Time::ZERO);
        self.wires.push(Wire {
            attempt,
            server: Some(server),
            up: VecDeque::new(),
            down: VecDeque::new(),
            client_has_it: true,
        });
        let opened = Input::Opened {
            attempt,
            agreed: true,
            token: None,
        };
        let now = self.now();
        self.client.handle(opened, now);
    }

    fn transmit(&mut self) -> bool {
        let now = self.now();
        let Some(Transmit::Message(message)) = self.client.poll_transmit(now) else {
            return false;
        };
        if let Some(wire) = self.wires.iter_mut().find(|wire| wire.client_has_it) {
            wire.up.push_back(message);
        }
        true
    }

    fn event(&mut self, event: &Event) {
        match event {
            Event::Message(message) => {
                let number = message.payload.as_bytes().first().copied();
                self.handed.push(number.unwrap_or_default());
            }
            Event::Stored { seq } => self.stored = self.stored.max(seq.0),
            // Nothing is ever trimmed, refused or lost here.
            Event::Gap { .. }
            | Event::Refused { .. }
            | Event::Ended { .. }
            | Event::PublishRefused { .. }
            | Event::InDoubt { .. }
            | Event::LogLost { .. }
            | Event::ClientChanged(_)
            | Event::Status(Status::Closed { .. }) => self.is_closed = true,
            Event::Status(_)
            | Event::Welcome(_)
            | Event::Followed { .. }
            | Event::Rtt(_)
            | Event::Received(_)
            | Event::Unsent { .. } => {}
        }
    }

    /// Takes what the hub has for others, as its driver does after each change: what is to be written
    /// and to be read, and whom it has woken.
    fn settle(&mut self) {
        self.disk.write(&mut self.hub);
        let (mut loads, mut woken, mut unused) = (Vec::new(), Vec::new(), Vec::new());
        self.hub.take_loads(&mut loads);
        self.loads.extend(loads);
        self.hub.take_wakes(&mut woken);
        self.woken.extend(woken);
        self.hub.take_unused(&mut unused);
        self.is_closed |= unused.into_iter().any(|id| self.disk.is_used(id));
    }

    fn pump(&mut self, number: u8) {
        self.woken.remove(&number);
        let wire = &mut self.wires[usize::from(number)];
        let Some(server) = &mut wire.server else {
            return;
        };
        loop {
            let filled = server.fill(&mut self.hub, FILL_BYTES, Time::ZERO);
            let bytes = server.outgoing().to_bytes();
            server.written(bytes.len(), Time::ZERO);
            if wire.client_has_it {
                wire.down.extend(messages(&bytes));
            }
            if filled == Filled::Drained {
                break;
            }
        }
        if server.closing().is_some() {
            // It has said goodbye; the socket goes with what is under way.
            server.leave(&mut self.hub);
            wire.server = None;
            wire.up.clear();
        }
    }

    /// Nobody hears any more what is under way to an end that is gone.
    fn forget(&mut self) {
        for (number, wire) in (0..).zip(&mut self.wires) {
            if wire.server.is_none() {
                wire.up.clear();
                self.woken.remove(&number);
            }
            if !wire.client_has_it {
                wire.down.clear();
            }
        }
    }

    /// Something that must not happen has, and nothing follows from it.
    pub(super) const fn break_off(&mut self) {
        self.is_closed = true;
    }

    // ---- What must hold ----

    pub(super) fn is_in_order(&self) -> bool {
        (1..)
            .zip(&self.handed)
            .all(|(expected, number)| expected == *number)
    }

    pub(super) const fn acknowledged(&self) -> u64 {
        self.stored
    }

    pub(super) const fn handed_over(&self) -> u64 {
        self.handed.len() as u64
    }

    /// How many messages are durable.
    pub(super) const fn durable(&self) -> u64 {
        self.disk.durable()
    }

    /// How many messages the hub takes for durable.
    pub(super) fn visible(&self) -> u64 {
        let log = self.hub.log();
        let name = topic();
        let found = log.find(name.as_topic()).and_then(|id| log.topic(id));
        found.map_or(0, |topic| topic.end().0)
    }

    /// How many connections the hub has, or would go on if nobody told them of their end.
    pub(super) fn live(&self) -> usize {
        let is_live = |(number, wire): &(u8, &Wire)| {
            let server = wire.server.as_ref();
            let server = server.filter(|server| server.key().is_some());
            server.is_some_and(|server| server.closing().is_none()) && !self.woken.contains(number)
        };
        let live = (0..).zip(&self.wires).filter(is_live).count();
        live.max(self.hub.connections_len())
    }

    pub(super) const fn is_closed(&self) -> bool {
        self.is_closed
    }

    pub(super) fn is_done(&self, bounds: &Bounds) -> bool {
        let all = u64::from(bounds.messages);
        self.handed_over() == all && self.stored == all && self.client.unacked() == 0
    }

    pub(super) const fn has_suffered(&self) -> bool {
        self.cuts == 0 && self.crashes == 0
    }
}

/// The text and binary messages in what a server wrote; it writes whole frames, none of them long.
fn messages(mut bytes: &[u8]) -> Vec<Payload> {
    let mut messages = Vec::new();
    while let [first, second, rest @ ..] = bytes {
        let (length, rest) = match (second, rest) {
            (126, [high, low, rest @ ..]) => (usize::from(u16::from_be_bytes([*high, *low])), rest),
            (short, rest) => (usize::from(*short), rest),
        };
        let (payload, rest) = rest.split_at(length);
        match first & 0x0F {
            1 => messages.push(String::from_utf8_lossy(payload).into_owned().into()),
            2 => messages.push(payload.to_vec().into()),
            _ => {}
        }
        bytes = rest;
    }
    messages
}
