//! A hub with connections whose other ends are scripts, in virtual time.
//!
//! The world drives hub and connections as the server does: it writes what stands ready as far as
//! the peer's socket takes it, serves every deadline at its exact moment, and commits after each
//! request unless the gate is held.

use std::io::IoSlice;
use std::sync::Arc;
use std::time::Duration;

use heartwire_hub::{
    Append, Connection, Due, Filled, Grant, HubConfig, HubState, Now, Peer, Place, ProducerKey,
    Step,
};
use heartwire_proto::frame::Message;
use heartwire_proto::heartbeat::HeartbeatConfig;
use heartwire_proto::id::TopicRef;
use heartwire_proto::{Close, CloseCode, Limits, Time, TopicName, WallTime};

/// How much stands ready for a socket at most.
pub(crate) const BUDGET_BYTES: usize = 64 * 1024;

/// What the clocks of walls show at time 0.
pub(crate) const WALL: u64 = 1_790_000_000_000;

/// The far end of a connection.
#[derive(Default)]
pub(crate) struct End {
    /// The server's end, until its socket is dropped.
    pub(crate) connection: Option<Connection>,
    /// With what the server ended the connection, once the socket is dropped.
    pub(crate) ended: Option<String>,
    /// How many bytes the socket takes before it is full; `None` for any number.
    pub(crate) room: Option<usize>,
    /// Whether the peer's TCP acknowledges what the socket took.
    pub(crate) is_deaf: bool,
    unacknowledged: u64,
    bytes: Vec<u8>,
    /// Messages that were not taken, as the server stopped reading.
    pub(crate) unread: Vec<String>,
}

pub(crate) struct World {
    pub(crate) hub: HubState<usize>,
    pub(crate) ends: Vec<End>,
    pub(crate) clock: u64,
    /// While it is held, nothing that is appended is committed.
    pub(crate) gate_is_held: bool,
    /// The part of an interval after which first pings come, of 2^64.
    pub(crate) random: u64,
    /// What whoever comes next may do.
    pub(crate) grant: Option<Arc<Grant>>,
}

pub(crate) fn config() -> HubConfig {
    HubConfig::default()
}

pub(crate) fn heartbeat(interval_ms: u64, timeout_ms: u64) -> HeartbeatConfig {
    let (interval, timeout) = (interval_ms, timeout_ms);
    HeartbeatConfig::new(
        Duration::from_millis(interval),
        Duration::from_millis(timeout),
    )
    .unwrap()
}

pub(crate) fn topic(name: &str) -> TopicRef<'_> {
    TopicRef::parse(name).unwrap()
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(config())
    }

    pub(crate) fn with_limits(limits: Limits) -> Self {
        Self::with(HubConfig::new(limits, HeartbeatConfig::default()))
    }

    pub(crate) fn with(config: HubConfig) -> Self {
        let log = "log1".parse().unwrap();
        Self {
            hub: HubState::new(Arc::new(config), log, ProducerKey::new(7)),
            ends: Vec::new(),
            clock: 0,
            gate_is_held: false,
            random: u64::MAX / 2,
            grant: None,
        }
    }

    /// Topics get the epochs 00000001, 00000002 … in the order of their births.
    pub(crate) fn now(&self) -> Now {
        Now {
            random: self.hub.log().topics_len() as u64 + 1,
            ..self.moment()
        }
    }

    fn moment(&self) -> Now {
        Now {
            time: self.time(),
            wall: WallTime::from_unix_millis(WALL + self.clock),
            random: self.random,
        }
    }

    pub(crate) fn time(&self) -> Time {
        Time::from_millis(self.clock)
    }

    // ---- Connecting ----

    /// A v1 connection that has not said hello.
    pub(crate) fn connect(&mut self, topics: &[&str]) -> usize {
        let topics = names(topics);
        let config = self.hub.config().clone();
        let connection = Connection::v1(config, Peer::default(), topics, self.time());
        self.add(connection)
    }

    pub(crate) fn connect_plain(&mut self, topics: &[&str]) -> usize {
        let index = self.ends.len();
        let now = self.moment();
        let topics = names(topics);
        let hub = &mut self.hub;
        let grant = self.grant.as_ref();
        let connection = Connection::plain(Peer::default(), &topics, grant, hub, &index, now);
        self.add(connection);
        self.pump(index);
        self.settle();
        index
    }

    fn add(&mut self, connection: Connection) -> usize {
        self.ends.push(End {
            connection: Some(connection),
            ..End::default()
        });
        self.ends.len() - 1
    }

    /// A welcomed v1 connection of this client; its `welcome` has been taken.
    pub(crate) fn open(&mut self, client: &str, attempt: u64) -> usize {
        let end = self.connect(&[]);
        self.hello(end, client, attempt);
        let first = self.take(end).remove(0);
        assert!(first.starts_with("welcome\n"), "{first}");
        end
    }

    pub(crate) fn hello(&mut self, end: usize, client: &str, attempt: u64) {
        let client = format!("{client:-<16}").replace(' ', "-");
        self.say(
            end,
            &format!(r#"hello {{"client":"{client}","attempt":{attempt}}}"#),
        );
    }

    // ---- What the peer does ----

    /// The peer sends a text message.
    pub(crate) fn say(&mut self, end: usize, text: &str) {
        self.receive(end, Message::Text(text));
    }

    pub(crate) fn receive(&mut self, end: usize, message: Message<'_>) {
        let now = self.moment();
        let Some(connection) = &mut self.ends[end].connection else {
            return;
        };
        if !connection.wants_input() {
            let text = String::from_utf8_lossy(message.as_bytes()).into_owned();
            self.ends[end].unread.push(text);
            return;
        }
        match connection.receive(message, now.time) {
            Step::Done | Step::RoundTrip(_) => {}
            Step::Hello(hello) => {
                let grant = self.grant.as_ref();
                connection.welcome(&hello, grant, &mut self.hub, &end, now);
            }
            Step::Token(_) => match self.grant.clone() {
                Some(grant) => connection.renew(Ok(grant), &mut self.hub, now.time),
                None => connection.keep_grant(),
            },
            Step::Hub(request) => {
                let random = self.hub.log().topics_len() as u64 + 1;
                connection.apply(request, &mut self.hub, Now { random, ..now });
            }
        }
        connection.heard(now.time);
        self.commit_unless_held();
        self.pump(end);
        self.settle();
    }

    /// The peer sends something so large that only its head was kept.
    pub(crate) fn receive_oversized(&mut self, end: usize, head: &[u8]) {
        let now = self.now();
        if let Some(connection) = &mut self.ends[end].connection {
            connection.receive_oversized(head, &mut self.hub, now);
        }
        self.commit_unless_held();
        self.pump(end);
        self.settle();
    }

    /// Bytes come that make no message.
    pub(crate) fn hear(&mut self, end: usize) {
        let now = self.time();
        if let Some(connection) = &mut self.ends[end].connection {
            connection.heard(now);
        }
    }

    pub(crate) fn receive_ping(&mut self, end: usize, payload: &str) {
        if let Some(connection) = &mut self.ends[end].connection {
            connection.receive_ping(payload.as_bytes());
        }
        self.hear(end);
        self.pump(end);
    }

    pub(crate) fn receive_pong(&mut self, end: usize, payload: &str) {
        let now = self.time();
        if let Some(connection) = &mut self.ends[end].connection {
            connection.receive_pong(payload.as_bytes(), now);
        }
        self.hear(end);
    }

    /// The peer sends a close frame.
    pub(crate) fn say_close(&mut self, end: usize, code: Option<CloseCode>) {
        let now = self.time();
        if let Some(connection) = &mut self.ends[end].connection {
            connection.receive_close(code, now);
        }
        self.pump(end);
    }

    /// The peer's socket is gone.
    pub(crate) fn drop_end(&mut self, end: usize) {
        if let Some(mut connection) = self.ends[end].connection.take() {
            self.ends[end].ended = connection.closing().map(ToString::to_string);
            connection.leave(&mut self.hub);
        }
        self.settle();
    }

    /// How much more the socket takes; `None` for any number of bytes.
    pub(crate) fn set_room(&mut self, end: usize, room: Option<usize>) {
        self.ends[end].room = room;
        self.pump(end);
    }

    /// The TCP of a deaf peer acknowledges so many bytes.
    pub(crate) fn acknowledge(&mut self, end: usize, bytes: u64) {
        self.ends[end].unacknowledged -= bytes;
    }

    /// What has arrived since the last time: text messages as they are, other frames as
    /// `(binary) …`, `(ping) …`, `(pong) …` and `(close) CODE REASON`.
    pub(crate) fn take(&mut self, end: usize) -> Vec<String> {
        let bytes = &mut self.ends[end].bytes;
        let mut frames = Vec::new();
        while let Some((frame, length)) = read_frame(bytes) {
            frames.push(frame);
            bytes.drain(..length);
        }
        frames
    }

    pub(crate) fn is_open(&self, end: usize) -> bool {
        let connection = self.ends[end].connection.as_ref();
        connection.is_some_and(|connection| connection.closing().is_none())
    }

    pub(crate) fn standing(&self, end: usize) -> usize {
        let connection = self.ends[end].connection.as_ref();
        connection.map_or(0, |connection| connection.outgoing().bytes())
    }

    // ---- What others do ----

    /// Somebody publishes over HTTP.
    pub(crate) fn publish(&mut self, name: &str, text: &str) -> Place {
        let append = Append {
            topic: topic(name),
            payload: Message::Text(text),
            from: None,
            producer: None,
        };
        let now = self.now();
        let place = self.hub.publish(append, now).unwrap();
        self.commit_unless_held();
        self.settle();
        place
    }

    pub(crate) fn operator_closes(&mut self, end: usize) {
        let key = self.ends[end].connection.as_ref().and_then(Connection::key);
        if let Some(key) = key {
            let close = Close::new(CloseCode::CLOSED_BY_OPERATOR, "closed by the operator");
            self.hub.close_connection(key.id(), close);
        }
        self.settle();
    }

    /// The server closes one of its connections.
    pub(crate) fn close(&mut self, end: usize, close: Close) {
        let now = self.time();
        if let Some(connection) = &mut self.ends[end].connection {
            connection.close(close, now);
        }
        self.pump(end);
    }

    /// Another process with an empty log; every socket is gone.
    pub(crate) fn restart(&mut self) {
        for end in &mut self.ends {
            end.connection = None;
        }
        let log = "log2".parse().unwrap();
        self.hub = HubState::new(self.hub.config().clone(), log, ProducerKey::new(8));
        self.gate_is_held = false;
    }

    pub(crate) fn release(&mut self) {
        self.gate_is_held = false;
        self.commit_unless_held();
        self.settle();
    }

    /// Nothing that is pending became durable.
    pub(crate) fn fail(&mut self) {
        let first = self
            .hub
            .log()
            .pending()
            .next()
            .map(|(pending, _)| pending.lsn);
        if let Some(first) = first {
            self.hub.fail(first);
        }
        self.gate_is_held = false;
        self.settle();
    }

    fn commit_unless_held(&mut self) {
        if !self.gate_is_held {
            self.hub.commit_memory();
        }
    }

    // ---- Driving ----

    /// Fills and pumps whoever was woken.
    pub(crate) fn settle(&mut self) {
        self.settle_presence();
        let mut wakes = Vec::new();
        for round in 0.. {
            assert!(round < 1_000, "the hub wakes without end");
            self.hub.take_wakes(&mut wakes);
            if wakes.is_empty() {
                return;
            }
            for end in std::mem::take(&mut wakes) {
                self.pump(end);
            }
        }
    }

    /// Tells who came, and who has left by now.
    fn settle_presence(&mut self) {
        let is_due =
            |hub: &HubState<usize>, now| hub.presence_deadline().is_some_and(|due| due <= now);
        while self.hub.has_presence_news() || is_due(&self.hub, self.time()) {
            let now = self.now();
            self.hub.settle_presence(now);
        }
        self.commit_unless_held();
    }

    /// Fills and writes until nothing is left or the socket is full.
    fn pump(&mut self, end: usize) {
        let now = self.time();
        loop {
            let Some(connection) = &mut self.ends[end].connection else {
                return;
            };
            let filled = connection.fill(&mut self.hub, BUDGET_BYTES, now);
            let taken = self.write(end);
            let is_empty = self.standing(end) == 0;
            if !is_empty && taken == 0 {
                break;
            }
            if is_empty && filled == Filled::Drained {
                break;
            }
        }
        let connection = self.ends[end].connection.as_ref();
        if connection.is_some_and(Connection::is_finished) {
            self.drop_end(end);
        }
    }

    /// One vectored write.
    fn write(&mut self, end: usize) -> usize {
        let now = self.time();
        let end = &mut self.ends[end];
        let Some(connection) = &mut end.connection else {
            return 0;
        };
        let mut slices = [IoSlice::new(&[]); 8];
        let used = connection.outgoing().slices(&mut slices);
        let mut room = end.room.unwrap_or(usize::MAX);
        let mut taken = 0;
        for slice in &slices[..used] {
            let part = &slice[..slice.len().min(room)];
            end.bytes.extend_from_slice(part);
            room -= part.len();
            taken += part.len();
        }
        if let Some(room) = &mut end.room {
            *room -= taken;
        }
        if end.is_deaf {
            end.unacknowledged += taken as u64;
        }
        connection.written(taken, now);
        taken
    }

    /// Time passes; every deadline on the way is served at its moment.
    pub(crate) fn advance(&mut self, millis: u64) {
        let until = self.clock + millis;
        for round in 0.. {
            assert!(round < 100_000, "deadlines come up without end");
            let presence = self
                .hub
                .presence_deadline()
                .map(|due| (due.as_millis(), None));
            let next = self.deadlines().map(|(at, end)| (at, Some(end)));
            let next = next.chain(presence).min();
            match next.filter(|(at, _)| *at <= until) {
                Some((at, end)) => {
                    self.clock = self.clock.max(at);
                    if let Some(end) = end {
                        self.poll(end);
                    }
                    self.settle();
                }
                None => break,
            }
        }
        self.clock = until;
    }

    /// Time passes while the server's process stands still.
    pub(crate) fn freeze(&mut self, millis: u64) {
        self.clock += millis;
    }

    fn deadlines(&self) -> impl Iterator<Item = (u64, usize)> {
        self.ends.iter().enumerate().filter_map(|(index, end)| {
            let deadline = end.connection.as_ref()?.deadline();
            Some((deadline.as_millis(), index))
        })
    }

    fn poll(&mut self, end: usize) {
        let now = self.now();
        let unacknowledged = self.ends[end].unacknowledged;
        let Some(connection) = &mut self.ends[end].connection else {
            return;
        };
        match connection.poll(now.time) {
            Due::Nothing => {}
            Due::Ping => connection.ping(&mut self.hub, now),
            Due::Measure => connection.measured(unacknowledged, now.time),
            Due::Look => {
                self.write(end);
                if let Some(connection) = &mut self.ends[end].connection {
                    connection.measured(unacknowledged, now.time);
                    connection.judge(now.time);
                }
            }
            Due::Drop => return self.drop_end(end),
        }
        self.pump(end);
    }
}

fn names(topics: &[&str]) -> Vec<TopicName> {
    topics.iter().map(|name| name.parse().unwrap()).collect()
}

/// Reads one unmasked frame; returns its length as well.
fn read_frame(bytes: &[u8]) -> Option<(String, usize)> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    assert_eq!(first & 0xF0, 0x80, "servers send whole messages");
    let (length, header) = match second {
        126 => (
            usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().unwrap())),
            4,
        ),
        127 => (
            u64::from_be_bytes(bytes.get(2..10)?.try_into().unwrap()) as usize,
            10,
        ),
        short => (usize::from(short), 2),
    };
    let payload = bytes.get(header..header + length)?;
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let frame = match first & 0x0F {
        0x1 => text(payload),
        0x2 => format!("(binary) {}", text(payload)),
        0x8 if payload.is_empty() => "(close)".to_owned(),
        0x8 => {
            let code = u16::from_be_bytes([payload[0], payload[1]]);
            format!("(close) {code} {}", text(&payload[2..]))
        }
        0x9 => format!("(ping) {}", text(payload)),
        0xA => format!("(pong) {}", text(payload)),
        opcode => panic!("no server sends opcode {opcode}"),
    };
    Some((frame, header + length))
}
