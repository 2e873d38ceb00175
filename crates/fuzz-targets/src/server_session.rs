//! The server's connections and hub: whatever clients say, in any order, with any timing.

use std::collections::BTreeMap;
use std::io::IoSlice;
use std::sync::Arc;
use std::time::Duration;

use arbitrary::{Result, Unstructured};
use heartwire_disk::Dice;
use heartwire_hub::{
    Append, Connection, Due, Filled, Grant, HubConfig, HubState, Now, Peer, ProducerKey, Step,
    TopicRef,
};
use heartwire_proto::frame::{ClientFrame, Message, ServerFrame};
use heartwire_proto::heartbeat::HeartbeatConfig;
use heartwire_proto::{Close, CloseCode, Limits, LogId, Offset, Time, TopicName, WallTime};

const CONNECTIONS_MAX: usize = 3;
/// How much is taken from the hub at once, in bytes.
const FILL_BYTES: usize = 2 * 1024;
const OUTPUT_BYTES_MAX: usize = 1024;
const MESSAGE_BYTES_MAX: usize = 256;
/// A welcome, the answers to one request and a close, above what is bounded by configuration.
const SLACK_BYTES: usize = 4 * 1024;
const STEPS_MAX: usize = 400;
/// What may be due at once.
const DUE_MAX: usize = 8;
/// More rounds of waking each other are a loop.
const WAKES_MAX: usize = 1_000;

/// What a client that knows the protocol says; ends are drawn.
const FRAMES: [&str; 12] = [
    "sub a",
    "sub b head",
    "sub a last ",
    "sub a ",
    "unsub a",
    "pub a ",
    "pub inbox ",
    "skip ",
    "ping",
    "pong ",
    "heartbeat ",
    "token {\"token\":\"t\"}",
];
const ENDS: [&str; 8] = ["", "1", "2\nx", "3\nhello", "4", "1\nx", "0", "10000"];

/// Draws what happens until the bytes are used up.
pub fn server_session(data: &[u8]) {
    let mut draws = Unstructured::new(data);
    let mut world = World::new();
    for _ in 0..STEPS_MAX {
        if draws.is_empty() || world.step(&mut draws).is_err() {
            break;
        }
        world.settle();
    }
}

/// One connection, and what it has been told.
struct Client {
    connection: Connection,
    is_v1: bool,
    /// Bytes of frames that have not come whole.
    unread: Vec<u8>,
    has_closed: bool,
    /// By topic, the last offset that came; what `sub` or `subbed` says begins anew.
    last: BTreeMap<TopicName, Offset>,
}

struct World {
    hub: HubState<u8>,
    clients: BTreeMap<u8, Client>,
    time: Time,
    dice: Dice,
}

impl World {
    fn new() -> Self {
        let limits = Limits {
            message_bytes_max: MESSAGE_BYTES_MAX,
            frame_bytes_max: 4 * MESSAGE_BYTES_MAX,
            topics_max: 3,
            unacked_max: 4,
            output_bytes_max: OUTPUT_BYTES_MAX,
            ..Limits::default()
        };
        let config = Arc::new(HubConfig::new(limits, HeartbeatConfig::default()));
        Self {
            hub: HubState::new(config, LogId::from_random(7), ProducerKey::new(7)),
            clients: BTreeMap::new(),
            time: Time::ZERO,
            dice: Dice::new(1),
        }
    }

    fn now(&mut self) -> Now {
        Now {
            time: self.time,
            wall: WallTime::from_unix_millis(1_790_000_000_000 + self.time.as_millis()),
            random: self.dice.roll(),
        }
    }

    fn step(&mut self, draws: &mut Unstructured<'_>) -> Result<()> {
        let handle = draws.int_in_range(0..=CONNECTIONS_MAX as u8 - 1)?;
        let Some(mut client) = self.clients.remove(&handle) else {
            let client = self.open(handle, draws)?;
            self.clients.insert(handle, client);
            return Ok(());
        };
        let done = match draws.int_in_range(0..=31_u8)? {
            0..18 => self.hear(handle, &mut client, draws),
            18..22 => self.control(&mut client, draws),
            22..25 => self.beside(&mut client, draws),
            25..29 => self.pass(&mut client, draws),
            _ => self.write(&mut client, draws),
        };
        let is_over = client.connection.is_finished() || draws.ratio(1, 100)?;
        match is_over {
            true => client.connection.leave(&mut self.hub),
            false => drop(self.clients.insert(handle, client)),
        }
        done
    }

    fn open(&mut self, handle: u8, draws: &mut Unstructured<'_>) -> Result<Client> {
        let now = self.now();
        let is_v1 = draws.ratio(3, 4)?;
        let connection = match is_v1 {
            true => {
                let config = self.hub.config().clone();
                Connection::v1(config, Peer::default(), Vec::new(), now.time)
            }
            false => {
                let topics = ["a".parse().expect("a topic")];
                Connection::plain(Peer::default(), &topics, None, &mut self.hub, &handle, now)
            }
        };
        Ok(Client {
            connection,
            is_v1,
            unread: Vec::new(),
            has_closed: false,
            last: BTreeMap::new(),
        })
    }

    /// The client says something, unless it is not listened to.
    fn hear(
        &mut self,
        handle: u8,
        client: &mut Client,
        draws: &mut Unstructured<'_>,
    ) -> Result<()> {
        let text = client_text(draws)?;
        if !client.connection.wants_input() || client.has_closed {
            return Ok(());
        }
        let now = self.now();
        let message = match draws.ratio(7, 8)? {
            true => Message::Text(&text),
            false => Message::Binary(text.as_bytes()),
        };
        if let Ok(ClientFrame::Sub { topic, .. }) = ClientFrame::parse(message) {
            client.last.remove(&topic.to_name());
        }
        match client.connection.receive(message, now.time) {
            Step::Done | Step::RoundTrip(_) => {}
            Step::Hub(request) => client.connection.apply(request, &mut self.hub, now),
            Step::Hello(hello) => {
                let grant = grant(draws)?;
                let hub = &mut self.hub;
                client
                    .connection
                    .welcome(&hello, grant.as_ref(), hub, &handle, now);
            }
            Step::Token(_) => match grant(draws)? {
                Some(grant) => client.connection.renew(Ok(grant), &mut self.hub, now.time),
                None => client.connection.keep_grant(),
            },
        }
        client.connection.heard(now.time);
        self.hub.commit_memory();
        let _ = client.connection.fill(&mut self.hub, FILL_BYTES, now.time);
        client.check_bounds();
        Ok(())
    }

    fn control(&mut self, client: &mut Client, draws: &mut Unstructured<'_>) -> Result<()> {
        let now = self.now();
        let payload = draws.bytes(draws.len().min(5))?;
        match draws.int_in_range(0..=3_u8)? {
            0 => client.connection.receive_ping(payload),
            1 => {
                let _ = client.connection.receive_pong(payload, now.time);
            }
            2 => client
                .connection
                .receive_oversized(payload, &mut self.hub, now),
            _ => {
                let code = draws.arbitrary::<Option<u16>>()?.map(CloseCode);
                client.connection.receive_close(code, now.time);
                client.has_closed = true;
            }
        }
        Ok(())
    }

    /// Somebody else does something: a publisher over HTTP, or an operator.
    fn beside(&mut self, client: &mut Client, draws: &mut Unstructured<'_>) -> Result<()> {
        let now = self.now();
        match draws.int_in_range(0..=7_u8)? {
            0 => client
                .connection
                .close(Close::new(CloseCode(4202), "so"), now.time),
            1 => {
                let close = Close::new(CloseCode::FORBIDDEN, "kept out");
                let until = now.time + Duration::from_secs(9);
                let _ = self.hub.kick("ann", until, &close, now.time);
            }
            2 => {
                let _ = self.hub.expire(now.time);
            }
            _ => {
                let payload = "x".repeat(draws.int_in_range(0..=MESSAGE_BYTES_MAX)?);
                let topic = draws.choose(&["a", "b", "inbox"])?;
                let append = Append {
                    topic: TopicRef::parse(topic).expect("it is the name of a topic"),
                    payload: Message::Text(&payload),
                    from: None,
                    producer: None,
                };
                let _ = self.hub.publish(append, now);
                self.hub.commit_memory();
            }
        }
        Ok(())
    }

    /// Time passes, and what is due is done.
    fn pass(&mut self, client: &mut Client, draws: &mut Unstructured<'_>) -> Result<()> {
        self.time = self.time + Duration::from_millis(draws.arbitrary::<u16>()?.into());
        for round in 0.. {
            assert!(round < DUE_MAX, "something is due for ever");
            match client.connection.poll(self.time) {
                Due::Nothing => break,
                Due::Ping => {
                    let now = self.now();
                    client.connection.ping(&mut self.hub, now);
                }
                Due::Measure => client
                    .connection
                    .measured(draws.arbitrary::<u16>()?.into(), self.time),
                Due::Look => {
                    client.connection.measured(0, self.time);
                    if client.connection.judge(self.time) {
                        break;
                    }
                }
                Due::Drop => {
                    client.has_closed = true;
                    break;
                }
            }
        }
        client.check_bounds();
        Ok(())
    }

    /// The socket takes some of what stands ready.
    fn write(&mut self, client: &mut Client, draws: &mut Unstructured<'_>) -> Result<()> {
        let room = usize::from(draws.arbitrary::<u16>()?);
        let _ = client.connection.fill(&mut self.hub, FILL_BYTES, self.time);
        client.check_bounds();
        client.take(room, self.time);
        Ok(())
    }

    /// Whoever was woken is filled; half of them read everything at once.
    fn settle(&mut self) {
        let mut wakes = Vec::new();
        for round in 0.. {
            assert!(round < WAKES_MAX, "the hub wakes without end");
            self.hub.take_wakes(&mut wakes);
            if wakes.is_empty() {
                return;
            }
            for handle in std::mem::take(&mut wakes) {
                let Some(client) = self.clients.get_mut(&handle) else {
                    continue;
                };
                while client.connection.fill(&mut self.hub, FILL_BYTES, self.time) == Filled::More {
                    client.check_bounds();
                    if handle % 2 == 0 || client.connection.outgoing().is_empty() {
                        break;
                    }
                    client.take(usize::MAX, self.time);
                }
            }
        }
    }
}

impl Client {
    fn check_bounds(&self) {
        let bytes = self.connection.outgoing().bytes();
        let bound = OUTPUT_BYTES_MAX + FILL_BYTES + MESSAGE_BYTES_MAX + SLACK_BYTES;
        assert!(bytes <= bound, "{bytes} bytes stand before a connection");
    }

    /// Takes so many bytes off the connection, and reads them.
    fn take(&mut self, room: usize, time: Time) {
        let mut slices = [IoSlice::new(&[]); 16];
        let used = self.connection.outgoing().slices(&mut slices);
        let mut taken = Vec::new();
        for slice in &slices[..used] {
            let count = slice.len().min(room - taken.len());
            taken.extend_from_slice(&slice[..count]);
        }
        self.connection.written(taken.len(), time);
        self.unread.extend(taken);
        while let Some((opcode, payload)) = pop_frame(&mut self.unread) {
            self.read(opcode, &payload);
        }
    }

    fn read(&mut self, opcode: u8, payload: &[u8]) {
        let message = match opcode {
            1 => Message::Text(std::str::from_utf8(payload).expect("a text is UTF-8")),
            2 => Message::Binary(payload),
            8..=10 => return assert!(payload.len() <= 125),
            other => panic!("the server sends opcode {other}"),
        };
        if !self.is_v1 {
            return;
        }
        match ServerFrame::parse(message).expect("the server keeps to the protocol") {
            ServerFrame::Unknown { verb } => panic!("the server says {verb}"),
            ServerFrame::Subbed { topic, .. } | ServerFrame::Epoch { topic, .. } => {
                self.last.remove(&topic.to_name());
            }
            ServerFrame::Msg { topic, offset, .. } => {
                let last = self.last.insert(topic.to_name(), offset);
                assert!(
                    last.is_none_or(|last| last < offset),
                    "{topic}: {last:?}, {offset}"
                );
            }
            _ => {}
        }
    }
}

/// Takes the first whole frame off the bytes: its opcode and payload.
fn pop_frame(bytes: &mut Vec<u8>) -> Option<(u8, Vec<u8>)> {
    let [first, second, ..] = *bytes.as_slice() else {
        return None;
    };
    assert_eq!(
        first & 0xf0,
        0x80,
        "frames are whole, and no extension was agreed"
    );
    let (start, length) = match second {
        126 => (
            4,
            usize::from(u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?])),
        ),
        length => (2, usize::from(length)),
    };
    assert_ne!(second, 127, "no frame is that long here");
    let payload = bytes.get(start..start + length)?.to_vec();
    bytes.drain(..start + length);
    Some((first & 0x0f, payload))
}

fn grant(draws: &mut Unstructured<'_>) -> Result<Option<Arc<Grant>>> {
    Ok(match draws.int_in_range(0..=3_u8)? {
        0 => Some(Arc::new(
            Grant::new(*draws.choose(&["ann", "bob"])?)
                .subscribe("a".parse().expect("a pattern"))
                .publish("*".parse().expect("a pattern"))
                .valid_for(Duration::from_secs(30)),
        )),
        _ => None,
    })
}

/// A frame of a client that knows the protocol, or anything.
fn client_text(draws: &mut Unstructured<'_>) -> Result<String> {
    let choice: u8 = draws.arbitrary()?;
    Ok(match choice {
        0..50 => {
            let client = draws.choose(&["3f9c2a7e51b04d68", "3f9c2a7e51b04d69"])?;
            let attempt = draws.int_in_range(0..=5_u8)?;
            format!(r#"hello {{"client":"{client}","attempt":{attempt}}}"#)
        }
        50..80 => draws.arbitrary::<&str>()?.to_owned(),
        _ => {
            let (beginning, end) = (draws.choose(&FRAMES)?, draws.choose(&ENDS)?);
            format!("{beginning}{end}")
        }
    })
}
