//! A small honest server for one client, in the words of the protocol: logs of topics, a memory of
//! producers, one connection. It answers each frame at once; the faults are the tests' own.

use std::collections::BTreeMap;

use heartwire_proto::frame::{
    ClientFrame, Durability, Gap, GapReason, HeartbeatMillis, Message, NackCode, Payload,
    ServerFrame, SubFrom, Tails, Welcome,
};
use heartwire_proto::{ClientId, Cursor, Epoch, LogId, Offset, Seq, TopicName, WallTime};

/// A topic: messages `base + 1 ..= end` are there.
#[derive(Clone, Copy, Debug)]
pub struct Topic {
    pub epoch: Epoch,
    pub base: u64,
    pub end: u64,
}

/// What the server has of one client.
#[derive(Default)]
struct Producer {
    stored: Seq,
}

/// What is true of one connection.
#[derive(Default)]
struct Connection {
    client: Option<ClientId>,
    /// The offset after which each followed topic goes on; `None` while it does not exist.
    following: BTreeMap<TopicName, Option<u64>>,
    /// The publish that was refused, until it is sent again or skipped.
    refused: Option<Seq>,
}

/// The server.
pub struct Peer {
    /// How many logs there have been: each restart begins a new one.
    pub lives: u64,
    pub topics: BTreeMap<TopicName, Topic>,
    producers: BTreeMap<ClientId, Producer>,
    connection: Connection,
    /// What was stored, by life, in order.
    pub stored: Vec<(u64, Seq)>,
    /// How the next publish is refused.
    pub refuse_next: Option<NackCode>,
}

impl Peer {
    pub fn new() -> Self {
        Self {
            lives: 1,
            topics: BTreeMap::new(),
            producers: BTreeMap::new(),
            connection: Connection::default(),
            stored: Vec::new(),
            refuse_next: None,
        }
    }

    /// The connection is gone, or another begins.
    pub fn disconnect(&mut self) {
        self.connection = Connection::default();
    }

    /// A restart without a durable log.
    pub fn restart(&mut self) {
        self.disconnect();
        self.lives += 1;
        self.topics.clear();
        self.producers.clear();
    }

    /// Somebody publishes; followers of an unborn topic learn its epoch.
    pub fn store(&mut self, name: &TopicName) -> Option<Payload> {
        let life = self.lives;
        let born = !self.topics.contains_key(name);
        let topic = self.topics.entry(name.clone()).or_insert(Topic {
            epoch: Epoch::from_random(life),
            base: 0,
            end: 0,
        });
        topic.end += 1;
        let epoch = topic.epoch;
        let place = self.connection.following.get_mut(name)?;
        born.then(|| {
            *place = Some(0);
            let topic = name.as_topic();
            ServerFrame::Epoch { topic, epoch }.to_payload()
        })
    }

    /// Retention takes the oldest half.
    pub fn trim(&mut self, name: &TopicName) {
        if let Some(topic) = self.topics.get_mut(name) {
            topic.base += (topic.end - topic.base).div_ceil(2);
        }
    }

    /// The next message or gap of a followed topic.
    pub fn next(&mut self, name: &TopicName) -> Option<Payload> {
        let topic = *self.topics.get(name)?;
        let place = self.connection.following.get_mut(name)?;
        let after = (*place)?;
        if after < topic.base {
            *place = Some(topic.base);
            let gap = retention(topic.epoch, after, topic.base);
            let topic = name.as_topic();
            return Some(ServerFrame::Gap { topic, gap }.to_payload());
        }
        if after == topic.end {
            return None;
        }
        *place = Some(after + 1);
        Some(message(name, after + 1))
    }

    /// A fault: the next message is taken for sent, and is not.
    pub fn omit(&mut self, name: &TopicName) {
        if let (Some(topic), Some(Some(after))) = (
            self.topics.get(name),
            self.connection.following.get_mut(name),
        ) && *after < topic.end
        {
            *after = topic.end.min(*after + 1).max(topic.base);
        }
    }

    /// A ping with the positions of all followed topics, once the connection is welcome.
    pub fn ping(&self) -> Option<Payload> {
        self.connection.client.as_ref()?;
        let mut lines = String::new();
        for (name, place) in &self.connection.following {
            if let (Some(topic), Some(offset)) = (self.topics.get(name), place) {
                let offset = Offset(*offset);
                let epoch = topic.epoch;
                Tails::push(&mut lines, name.as_topic(), Cursor::At { epoch, offset });
            }
        }
        let tails = Tails::parse(&lines).expect("lines as they are written");
        Some(ServerFrame::Ping { id: None, tails }.to_payload())
    }

    /// Handles a frame; returns the answers.
    pub fn hear(&mut self, message: &Payload) -> Vec<Payload> {
        let frame = ClientFrame::parse(message.as_message()).expect("the client keeps the rules");
        let said_hello = self.connection.client.is_some();
        match frame {
            ClientFrame::Hello(hello) => {
                assert!(!said_hello, "hello comes once");
                vec![self.welcome(hello.client)]
            }
            _ if !said_hello => panic!("hello comes first, not {frame:?}"),
            ClientFrame::Sub { topic, from } => vec![self.sub(&topic.to_name(), from)],
            ClientFrame::Unsub { topic } => {
                self.connection.following.remove(topic.as_str());
                vec![ServerFrame::Unsubbed { topic }.to_payload()]
            }
            ClientFrame::Pub { seq, .. } => self.publish(seq),
            ClientFrame::Skip { seq } => {
                assert_eq!(
                    self.connection.refused,
                    Some(seq),
                    "only the refused is skipped"
                );
                self.connection.refused = None;
                self.settle(seq)
            }
            ClientFrame::Ping { id } => vec![ServerFrame::Pong { id }.to_payload()],
            ClientFrame::Pong { .. } | ClientFrame::Token(_) | ClientFrame::Heartbeat { .. } => {
                Vec::new()
            }
        }
    }

    fn welcome(&mut self, client: ClientId) -> Payload {
        let producer = self.producers.get(&client);
        let welcome = Welcome {
            connection: "c1".parse().expect("an id"),
            log: LogId::from_random(self.lives),
            acked: producer.map_or(Seq::ZERO, |producer| producer.stored),
            producer_known: producer.is_some(),
            topics: Vec::new(),
            heartbeat: HeartbeatMillis {
                interval_ms: 10_000,
                timeout_ms: 10_000,
            },
            limits: Default::default(),
            durability: Durability::Memory,
            features: Vec::new(),
            server: "peer".to_owned(),
        };
        self.connection.client = Some(client);
        ServerFrame::Welcome(Box::new(welcome)).to_payload()
    }

    fn sub(&mut self, name: &TopicName, from: SubFrom) -> Payload {
        let (cursor, gap) = match (self.topics.get(name), from) {
            (None, SubFrom::After(Cursor::At { epoch, offset })) => {
                (Cursor::Start, Some(epoch_gap(epoch, offset)))
            }
            (None, _) => (Cursor::Start, None),
            (Some(topic), from) => begin(*topic, from),
        };
        let place = match cursor {
            Cursor::Start => None,
            Cursor::At { offset, .. } => Some(offset.0),
        };
        self.connection.following.insert(name.clone(), place);
        let topic = name.as_topic();
        ServerFrame::Subbed { topic, cursor, gap }.to_payload()
    }

    fn publish(&mut self, seq: Seq) -> Vec<Payload> {
        if self
            .connection
            .refused
            .is_some_and(|refused| refused != seq)
        {
            return Vec::new();
        }
        let client = self.client();
        let known = self.producers.get(&client).map(|producer| producer.stored);
        if known.is_some_and(|stored| seq <= stored) {
            return vec![ack(known.expect("it is known"))];
        }
        if let Some(code) = self.refuse_next.take() {
            self.connection.refused = Some(seq);
            let retry = None;
            return vec![ServerFrame::Nack { seq, code, retry }.to_payload()];
        }
        self.connection.refused = None;
        self.stored.push((self.lives, seq));
        self.settle(seq)
    }

    fn settle(&mut self, seq: Seq) -> Vec<Payload> {
        let client = self.client();
        let producer = self.producers.entry(client).or_default();
        producer.stored = producer.stored.max(seq);
        vec![ack(producer.stored)]
    }

    fn client(&self) -> ClientId {
        self.connection.client.clone().expect("hello was said")
    }
}

/// Where following a topic that exists begins.
fn begin(topic: Topic, from: SubFrom) -> (Cursor, Option<Gap>) {
    let epoch = topic.epoch;
    let at = |offset| Cursor::At {
        epoch,
        offset: Offset(offset),
    };
    match from {
        SubFrom::Tail => (at(topic.end), None),
        SubFrom::Head => (at(topic.base), None),
        SubFrom::Last(n) => (at(topic.end.saturating_sub(n).max(topic.base)), None),
        SubFrom::After(Cursor::At { epoch: old, offset }) if old != epoch => {
            (at(topic.base), Some(epoch_gap(old, offset)))
        }
        SubFrom::After(cursor) => {
            let offset = cursor.offset().0;
            assert!(offset <= topic.end, "a cursor beyond the end");
            if offset < topic.base {
                (at(topic.base), Some(retention(epoch, offset, topic.base)))
            } else {
                (at(offset), None)
            }
        }
    }
}

fn retention(epoch: Epoch, after: u64, base: u64) -> Gap {
    Gap {
        epoch,
        first: Offset(after + 1),
        last: Some(Offset(base)),
        reason: GapReason::Retention,
    }
}

fn epoch_gap(epoch: Epoch, offset: Offset) -> Gap {
    Gap {
        epoch,
        first: offset.next(),
        last: None,
        reason: GapReason::Epoch,
    }
}

fn message(name: &TopicName, offset: u64) -> Payload {
    ServerFrame::Msg {
        topic: name.as_topic(),
        offset: Offset(offset),
        prev: Offset(offset - 1),
        time: WallTime::from_unix_millis(offset),
        from: None,
        payload: Message::Text("x"),
    }
    .to_payload()
}

fn ack(seq: Seq) -> Payload {
    ServerFrame::Ack { seq }.to_payload()
}
