//! Random schedules of publishes, held and failed commits, slow sockets and reconnects, with clients
//! that keep to the protocol. Whatever happens, each follower sees each durable message once, in
//! order, or has it named by a gap; and each publish of a client is stored once, in order.

use std::collections::BTreeMap;

use heartwire_hub::{History, HubConfig};
use heartwire_proto::frame::{Message, NackCode, ServerFrame, SubFrom};
use heartwire_proto::{Cursor, Offset};
use proptest::prelude::*;

use crate::world::{World, config, topic};

const TOPICS: [&str; 3] = ["a", "b", "c"];
const CLIENTS: usize = 3;
/// How many messages a topic keeps.
const COUNT_MAX: usize = 6;

#[derive(Clone, Debug)]
enum Step {
    /// Somebody publishes over HTTP.
    Publish {
        topic: usize,
    },
    /// A client publishes.
    Pub {
        client: usize,
        topic: usize,
    },
    Sub {
        client: usize,
        topic: usize,
        head: bool,
    },
    Unsub {
        client: usize,
        topic: usize,
    },
    /// Its socket takes so many more bytes.
    Room {
        client: usize,
        bytes: Option<usize>,
    },
    Read {
        client: usize,
    },
    /// It dials again, with or without the server knowing that the old socket is gone.
    Redial {
        client: usize,
        is_known: bool,
    },
    Hold,
    Release,
    Fail,
    Advance {
        millis: u64,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (client, topic) = (0..CLIENTS, 0..TOPICS.len());
    let room = prop_oneof![Just(None), (0..400_usize).prop_map(Some)];
    let step = prop_oneof![
        6 => topic.clone().prop_map(|topic| Step::Publish { topic }),
        6 => (client.clone(), topic.clone()).prop_map(|(client, topic)| Step::Pub { client, topic }),
        4 => (client.clone(), topic.clone(), any::<bool>())
            .prop_map(|(client, topic, head)| Step::Sub { client, topic, head }),
        1 => (client.clone(), topic).prop_map(|(client, topic)| Step::Unsub { client, topic }),
        4 => (client.clone(), room).prop_map(|(client, bytes)| Step::Room { client, bytes }),
        4 => client.clone().prop_map(|client| Step::Read { client }),
        2 => (client, any::<bool>())
            .prop_map(|(client, is_known)| Step::Redial { client, is_known }),
        2 => Just(Step::Hold),
        2 => Just(Step::Release),
        1 => Just(Step::Fail),
        1 => (0..3_000_u64).prop_map(|millis| Step::Advance { millis }),
    ];
    prop::collection::vec(step, 1..150)
}

/// A client that does what PROTOCOL.md asks of it.
#[derive(Default)]
struct Client {
    end: usize,
    attempt: u64,
    /// Followed topics; `None` while the answer to the latest `sub` is awaited.
    cursors: BTreeMap<String, Option<Cursor>>,
    /// Where to begin again, for topics whose answer is awaited.
    wanted: BTreeMap<String, String>,
    seq: u64,
    outbox: Vec<(u64, String, String)>,
    is_welcome: bool,
}

struct Play {
    world: World,
    clients: Vec<Client>,
    /// All texts published by clients, in the order of each client.
    published: Vec<Vec<String>>,
    witness: Witness,
    count: u64,
}

fn few_messages() -> HubConfig {
    let mut config = config();
    config.log.policy.retention.count_max = COUNT_MAX;
    config
}

impl Play {
    fn new() -> Self {
        let mut play = Self {
            world: World::with(few_messages()),
            clients: (0..CLIENTS).map(|_| Client::default()).collect(),
            published: vec![Vec::new(); CLIENTS],
            witness: Witness::default(),
            count: 0,
        };
        for client in 0..CLIENTS {
            play.redial(client, true);
        }
        play
    }

    fn step(&mut self, step: &Step) {
        self.look();
        match *step {
            Step::Publish { topic } => {
                self.count += 1;
                self.world
                    .publish(TOPICS[topic], &format!("http {}", self.count));
            }
            Step::Pub { client, topic } => self.publish(client, TOPICS[topic]),
            Step::Sub {
                client,
                topic,
                head,
            } => {
                let from = if head { "head" } else { "tail" };
                self.sub(client, TOPICS[topic], from);
            }
            Step::Unsub { client, topic } => {
                self.clients[client].cursors.remove(TOPICS[topic]);
                self.say(client, &format!("unsub {}", TOPICS[topic]));
            }
            Step::Room { client, bytes } => {
                self.world.set_room(self.clients[client].end, bytes);
            }
            Step::Read { client } => self.read(client),
            Step::Redial { client, is_known } => self.redial(client, is_known),
            Step::Hold => self.world.gate_is_held = true,
            Step::Release => self.world.release(),
            Step::Fail => self.world.fail(),
            Step::Advance { millis } => self.world.advance(millis),
        }
    }

    fn say(&mut self, client: usize, text: &str) {
        self.look();
        self.world.say(self.clients[client].end, text);
    }

    /// The witness sees everything that is stored, as no more waits than retention keeps.
    fn look(&mut self) {
        if self.world.hub.log().pending().count() >= COUNT_MAX {
            self.world.release();
        }
        let committed = self.world.hub.log().stats().committed;
        if committed != self.witness.committed {
            self.witness.committed = committed;
            self.witness.look(&mut self.world);
        }
    }

    fn sub(&mut self, client: usize, topic: &str, from: &str) {
        let state = &mut self.clients[client];
        state.cursors.insert(topic.to_owned(), None);
        state.wanted.insert(topic.to_owned(), from.to_owned());
        self.say(client, &format!("sub {topic} {from}"));
    }

    fn publish(&mut self, client: usize, topic: &str) {
        let state = &mut self.clients[client];
        state.seq += 1;
        let text = format!("client {client} number {}", state.seq);
        state
            .outbox
            .push((state.seq, topic.to_owned(), text.clone()));
        self.published[client].push(text.clone());
        if state.is_welcome {
            let frame = format!("pub {topic} {}\n{text}", state.seq);
            self.say(client, &frame);
        }
    }

    fn redial(&mut self, client: usize, is_known: bool) {
        if is_known && self.clients[client].attempt > 0 {
            self.world.drop_end(self.clients[client].end);
        }
        let end = self.world.connect(&[]);
        let state = &mut self.clients[client];
        state.end = end;
        state.attempt += 1;
        state.is_welcome = false;
        self.world
            .hello(end, &format!("client-{client}"), state.attempt);
        let topics: Vec<_> = self.clients[client].cursors.keys().cloned().collect();
        for name in topics {
            let state = &self.clients[client];
            let from = match state.cursors[&name] {
                Some(cursor) => cursor.to_string(),
                None => state.wanted[&name].clone(),
            };
            self.sub(client, &name, &from);
        }
    }

    fn read(&mut self, client: usize) {
        for text in self.world.take(self.clients[client].end) {
            let frame = ServerFrame::parse(Message::Text(&text)).unwrap();
            self.hear(client, &frame, &text);
        }
    }

    fn hear(&mut self, client: usize, frame: &ServerFrame<'_>, text: &str) {
        let state = &mut self.clients[client];
        match *frame {
            ServerFrame::Welcome(ref welcome) => {
                state.is_welcome = true;
                state.outbox.retain(|(seq, ..)| *seq > welcome.acked.0);
                self.resend(client, 0);
            }
            ServerFrame::Ack { seq } => state.outbox.retain(|(own, ..)| *own > seq.0),
            ServerFrame::Nack { seq, code, .. } => {
                assert_eq!(code, NackCode::Unavailable);
                self.resend(client, seq.0);
            }
            ServerFrame::Subbed { topic, cursor, .. } => {
                if let Some(own) = state.cursors.get_mut(topic.as_str()) {
                    *own = Some(cursor);
                }
            }
            ServerFrame::Epoch { topic, epoch } => {
                if let Some(Some(own)) = state.cursors.get_mut(topic.as_str()) {
                    assert_eq!(*own, Cursor::Start, "{text}");
                    *own = Cursor::At {
                        epoch,
                        offset: Offset::ZERO,
                    };
                }
            }
            ServerFrame::Gap { topic, gap } => {
                if let Some(Some(own)) = state.cursors.get_mut(topic.as_str()) {
                    assert_eq!(own.offset().next(), gap.first, "{text}");
                    *own = Cursor::At {
                        epoch: gap.epoch,
                        offset: gap.last.unwrap(),
                    };
                }
            }
            ServerFrame::Msg {
                topic,
                offset,
                prev,
                ..
            } => {
                if let Some(Some(own)) = state.cursors.get_mut(topic.as_str()) {
                    assert_eq!(own.offset(), prev, "a hole or a repeat: {text}");
                    let epoch = own
                        .epoch()
                        .expect("the epoch is told before the first message");
                    *own = Cursor::At { epoch, offset };
                }
            }
            _ => {}
        }
    }

    fn resend(&mut self, client: usize, from: u64) {
        let outbox = self.clients[client].outbox.clone();
        for (seq, topic, text) in outbox.into_iter().filter(|(seq, ..)| *seq >= from) {
            self.say(client, &format!("pub {topic} {seq}\n{text}"));
        }
    }

    /// The network heals, the disk works, everybody reads: then everything must be where it belongs.
    fn finish(&mut self) {
        self.world.release();
        for _ in 0..20 {
            for client in 0..CLIENTS {
                if !self.world.is_open(self.clients[client].end) {
                    self.redial(client, true);
                }
                self.world.set_room(self.clients[client].end, None);
                self.read(client);
            }
        }
        for client in 0..CLIENTS {
            assert!(
                self.clients[client].outbox.is_empty(),
                "everything was acknowledged"
            );
            for (name, cursor) in &self.clients[client].cursors {
                let cursor = cursor.expect("every sub is answered");
                let id = self.world.hub.log().find(topic(name));
                let end = id
                    .and_then(|id| self.world.hub.log().topic(id))
                    .map(|t| t.cursor(t.end()));
                assert_eq!(
                    cursor,
                    end.unwrap_or(Cursor::Start),
                    "client {client} follows {name}"
                );
            }
        }
    }
}

/// Everything that was ever stored, in its order: read by somebody who is never slow.
#[derive(Default)]
struct Witness {
    /// How much had been stored when it looked last.
    committed: u64,
    seen: BTreeMap<&'static str, Vec<String>>,
}

impl Witness {
    fn look(&mut self, world: &mut World) {
        for name in TOPICS {
            let seen = self.seen.entry(name).or_default();
            let History::Page { messages, .. } = world.hub.history(topic(name), SubFrom::Head, 100)
            else {
                continue;
            };
            for (offset, entry) in messages {
                let text = String::from_utf8(entry.payload().as_bytes().to_vec()).unwrap();
                match seen.get(offset.0 as usize - 1) {
                    Some(before) => assert_eq!(*before, text, "what was seen never changes"),
                    None => {
                        assert_eq!(offset.0 as usize, seen.len() + 1);
                        seen.push(text);
                    }
                }
            }
        }
    }

    fn of_client(&self, client: usize, topic: &str) -> Vec<&String> {
        let name = format!("client {client} ");
        let seen = self.seen.get(topic).into_iter().flatten();
        seen.filter(|text| text.starts_with(&name)).collect()
    }
}

proptest! {
    #[test]
    fn everything_arrives_once_in_order_or_is_named(steps in steps()) {
        let mut play = Play::new();
        for step in &steps {
            play.step(step);
        }
        play.finish();
        play.look();
        for (client, published) in play.published.iter().enumerate() {
            let mut stored = Vec::new();
            for name in TOPICS {
                let own = play.witness.of_client(client, name);
                let number = |text: &String| text.rsplit(' ').next().unwrap().parse::<u64>().unwrap();
                prop_assert!(own.is_sorted_by_key(|text| number(text)), "{own:?}");
                stored.extend(own.into_iter().cloned());
            }
            stored.sort();
            let mut published = published.clone();
            published.sort();
            prop_assert_eq!(stored, published);
        }
    }
}
