//! Random appends, repetitions, skips, commits and failures, compared with a model that keeps one
//! plain list of what happened and works everything out from it each time.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use heartwire_log::{
    Append, AppendError, Appended, Committed, Log, LogConfig, Lsn, Now, Policy, ProducerId,
    ProducerKey, Retention,
};
use heartwire_proto::frame::{Message, ServerFrame};
use heartwire_proto::id::TopicRef;
use heartwire_proto::{ClientId, LogId, Offset, Seq, Time, WallTime};
use proptest::prelude::*;

const TOPICS: [&str; 3] = ["a", "b", "c"];
const COUNT_MAX: usize = 4;
const WINDOW: u64 = 5;

#[derive(Clone, Debug)]
enum Step {
    Append {
        topic: usize,
        producer: usize,
        seq: u64,
    },
    AppendAnonymously {
        topic: usize,
    },
    Skip {
        producer: usize,
        seq: u64,
    },
    /// Through the n-th of what is pending.
    Commit(usize),
    /// From the n-th of what is pending.
    Fail(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..3_usize, 0..2_usize, 1..20_u64)
            .prop_map(|(topic, producer, seq)| Step::Append { topic, producer, seq }),
        2 => (0..3_usize).prop_map(|topic| Step::AppendAnonymously { topic }),
        1 => (0..2_usize, 1..20_u64).prop_map(|(producer, seq)| Step::Skip { producer, seq }),
        3 => (0..6_usize).prop_map(Step::Commit),
        1 => (0..6_usize).prop_map(Step::Fail),
    ];
    prop::collection::vec(step, 1..120)
}

/// One thing that was appended and not undone.
#[derive(Clone, Debug)]
struct Record {
    lsn: Lsn,
    message: Option<(usize, String)>,
    producer: Option<(usize, u64)>,
}

#[derive(Default)]
struct Model {
    durable: Vec<Record>,
    pending: Vec<Record>,
}

impl Model {
    fn highest(records: &[Record], producer: usize) -> Option<u64> {
        let of_producer = records.iter().filter_map(|record| record.producer);
        of_producer
            .filter(|(who, _)| *who == producer)
            .map(|(_, seq)| seq)
            .max()
    }

    fn appended(&self, producer: usize) -> Option<u64> {
        Self::highest(&self.durable, producer).max(Self::highest(&self.pending, producer))
    }

    fn waiting(&self, producer: usize) -> usize {
        let of_producer = self.pending.iter().filter_map(|record| record.producer);
        of_producer.filter(|(who, _)| *who == producer).count()
    }

    fn visible(&self, topic: usize) -> Vec<String> {
        let messages = self
            .durable
            .iter()
            .filter_map(|record| record.message.clone());
        messages
            .filter(|(at, _)| *at == topic)
            .map(|(_, text)| text)
            .collect()
    }
}

struct Pair {
    log: Log,
    model: Model,
    producers: [ProducerId; 2],
    clock: u64,
}

impl Pair {
    fn new() -> Self {
        let key = ProducerKey::new(7);
        let producer = |id: &str| key.producer(None, &id.parse::<ClientId>().unwrap());
        let config = LogConfig {
            policy: Policy {
                retention: Retention {
                    count_max: COUNT_MAX,
                    ..Retention::default()
                },
                ..Policy::default()
            },
            window: WINDOW,
            ..LogConfig::default()
        };
        Self {
            log: Log::new(LogId::from_random(1), &key, config),
            model: Model::default(),
            producers: [producer("first-client-0001"), producer("second-client-002")],
            clock: 0,
        }
    }

    fn now(&mut self) -> Now {
        self.clock += 1;
        Now {
            time: Time::from_millis(self.clock),
            wall: WallTime::from_unix_millis(self.clock),
            random: self.clock,
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Append {
                topic,
                producer,
                seq,
            } => self.append(topic, Some((producer, seq))),
            Step::AppendAnonymously { topic } => self.append(topic, None),
            Step::Skip { producer, seq } => self.skip(producer, seq),
            Step::Commit(nth) => self.commit(nth),
            Step::Fail(nth) => self.fail(nth),
        }
        self.compare();
    }

    fn append(&mut self, topic: usize, producer: Option<(usize, u64)>) {
        let now = self.now();
        let text = format!("message {}", self.clock);
        let appended = self.log.append(
            Append {
                topic: TopicRef::parse(TOPICS[topic]).unwrap(),
                payload: Message::Text(&text),
                from: None,
                producer: producer.map(|(who, seq)| (self.producers[who], Seq(seq))),
            },
            now,
        );
        match self.expected(producer) {
            Expected::New => {
                let Ok(Appended::Pending(place)) = appended else {
                    panic!("a new message was answered {appended:?}");
                };
                let message = Some((topic, text));
                self.model.pending.push(Record {
                    lsn: place.lsn,
                    message,
                    producer,
                });
            }
            Expected::Repeated => assert_eq!(appended, Ok(Appended::Repeated)),
            Expected::Congested => assert_eq!(appended, Err(AppendError::Congested)),
        }
    }

    fn skip(&mut self, producer: usize, seq: u64) {
        let now = self.now();
        let skipped = self.log.skip(self.producers[producer], Seq(seq), now);
        match self.expected(Some((producer, seq))) {
            Expected::New => {
                let lsn = self.log.last_lsn();
                let producer = Some((producer, seq));
                self.model.pending.push(Record {
                    lsn,
                    message: None,
                    producer,
                });
            }
            Expected::Repeated => assert_eq!(skipped, Ok(())),
            Expected::Congested => assert!(skipped.is_err()),
        }
    }

    fn expected(&self, producer: Option<(usize, u64)>) -> Expected {
        let Some((who, seq)) = producer else {
            return Expected::New;
        };
        match self.model.appended(who) {
            Some(appended) if seq <= appended => Expected::Repeated,
            Some(_) if self.model.waiting(who) >= WINDOW as usize => Expected::Congested,
            _ => Expected::New,
        }
    }

    fn commit(&mut self, nth: usize) {
        let Some(record) = self.model.pending.get(nth) else {
            return;
        };
        let mut committed = Committed::default();
        self.log.commit(record.lsn, &[], &mut committed);
        let moved: Vec<_> = self.model.pending.drain(..=nth).collect();
        let topics: std::collections::BTreeSet<_> = moved
            .iter()
            .filter_map(|record| Some(record.message.as_ref()?.0))
            .collect();
        assert_eq!(committed.topics.len(), topics.len());
        self.model.durable.extend(moved);
    }

    fn fail(&mut self, nth: usize) {
        let Some(record) = self.model.pending.get(nth) else {
            return;
        };
        let failed = self.log.fail(record.lsn);
        let undone = self.model.pending.split_off(nth);
        let mut lowest: BTreeMap<ProducerId, Seq> = BTreeMap::new();
        for (who, seq) in undone.iter().filter_map(|record| record.producer) {
            lowest.entry(self.producers[who]).or_insert(Seq(seq));
        }
        assert_eq!(failed, lowest);
    }

    fn compare(&mut self) {
        for (who, id) in self.producers.into_iter().enumerate() {
            let appended = self.model.appended(who);
            assert_eq!(self.log.appended(id), appended.map(Seq));
            let durable = Model::highest(&self.model.durable, who);
            assert_eq!(
                self.log.durable(id),
                appended.map(|_| Seq(durable.unwrap_or(0)))
            );
        }
        for (topic, name) in TOPICS.into_iter().enumerate() {
            let visible = self.model.visible(topic);
            let Some(id) = self.log.find(TopicRef::parse(name).unwrap()) else {
                assert!(
                    visible.is_empty(),
                    "{name} is visible only once it is durable"
                );
                continue;
            };
            let base = visible.len().saturating_sub(COUNT_MAX);
            let held = self.log.topic(id).unwrap();
            assert_eq!(held.end(), Offset(visible.len() as u64));
            assert_eq!(held.base(), Offset(base as u64));
            let mut texts = Vec::new();
            let read = held.read(Offset::ZERO, |offset, entry| {
                let entry = entry.unwrap();
                assert!(
                    matches!(entry.frame(), ServerFrame::Msg { offset: at, .. } if at == offset)
                );
                texts.push(String::from_utf8(entry.payload().as_bytes().to_vec()).unwrap());
                true
            });
            assert_eq!((texts.as_slice(), read.is_cold), (&visible[base..], false));
        }
        assert_eq!(self.log.pending().count(), self.model.pending.len());
    }
}

enum Expected {
    New,
    Repeated,
    Congested,
}

proptest! {
    #[test]
    fn the_log_does_what_the_model_does(steps in steps()) {
        let mut pair = Pair::new();
        for step in &steps {
            pair.step(step);
        }
    }
}
