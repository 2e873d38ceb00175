//! A log whose messages stand on a disk: what stays in memory, what is read back, and for whom. The
//! disk here is a shelf that keeps what it is given.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use heartwire_log::store::{Batch, DiskPlace, Record, Recovered, RecoveredTopic, SegmentId};
use heartwire_log::{
    Append, AppendError, Appended, Committed, Entry, Fate, Load, Log, LogConfig, Lsn, Now, Place,
    Policy, ProducerId, ProducerKey, Retention, TopicId,
};
use heartwire_proto::frame::{Durability, Message};
use heartwire_proto::id::TopicRef;
use heartwire_proto::{Epoch, LogId, Offset, Seq, Time, WallTime};

const PER_SEGMENT: usize = 4;

/// Everything ever written, four messages to a segment.
#[derive(Default)]
struct Shelf {
    written: Vec<Entry>,
    numbers: Vec<(ProducerId, Seq)>,
    /// What was named as lost.
    lost: Vec<Offset>,
}

impl Shelf {
    fn place(&self) -> DiskPlace {
        let number = self.written.len();
        DiskPlace {
            segment: SegmentId((number / PER_SEGMENT) as u32 + 1),
            position: (number % PER_SEGMENT) as u32,
            bytes: 100,
        }
    }

    fn write(&mut self, batch: &Batch) -> Vec<DiskPlace> {
        let mut places = Vec::new();
        for record in &batch.records {
            match record {
                Record::Message { entry, .. } | Record::Moved { entry, .. } => {
                    places.push(self.place());
                    self.written.push(entry.clone());
                }
                Record::Number { producer, seq } => self.numbers.push((*producer, *seq)),
                Record::Lost { offset, .. } => self.lost.push(*offset),
                Record::Epoch { .. } => unreachable!("no log changes an epoch by itself"),
            }
        }
        places
    }

    fn entry(&self, place: DiskPlace) -> Entry {
        let number = (place.segment.0 as usize - 1) * PER_SEGMENT + place.position as usize;
        self.written[number].clone()
    }
}

struct World {
    log: Log,
    shelf: Shelf,
    millis: u64,
}

impl World {
    fn new(change: impl FnOnce(&mut LogConfig)) -> Self {
        let mut config = LogConfig {
            policies: vec![(
                "memory:*".parse().unwrap(),
                Policy {
                    durability: Durability::Memory,
                    ..Policy::default()
                },
            )],
            ..LogConfig::default()
        };
        change(&mut config);
        let recovered = Recovered {
            log: LogId::from_random(1),
            key: ProducerKey::new(1),
            log_time: Time::from_millis(1_000),
            topics: Vec::new(),
            producers: Vec::new(),
            segments: Vec::new(),
            report: Default::default(),
        };
        let (mut log, _) = Log::recover(config, recovered);
        log.set_room(1 << 20, false);
        Self {
            log,
            shelf: Shelf::default(),
            millis: 1_000,
        }
    }

    fn append(&mut self, topic: &str, text: &str) -> Result<Place, AppendError> {
        self.append_as(topic, text, None)
    }

    fn append_as(
        &mut self,
        topic: &str,
        text: &str,
        producer: Option<(ProducerId, Seq)>,
    ) -> Result<Place, AppendError> {
        self.millis += 1;
        let append = Append {
            topic: TopicRef::parse(topic).unwrap(),
            payload: Message::Text(text),
            from: None,
            producer,
        };
        let now = Now {
            time: Time::from_millis(self.millis),
            wall: WallTime::from_unix_millis(self.millis),
            random: self.millis,
        };
        match self.log.append(append, now)? {
            Appended::Pending(place) => Ok(place),
            Appended::Repeated => panic!("nothing here repeats itself"),
        }
    }

    /// Writes one batch, and commits it. Returns the topics whose end moved.
    fn write(&mut self) -> Vec<TopicId> {
        let mut batch = Batch::default();
        let mut committed = Committed::default();
        if self.log.take_batch(&mut batch) {
            let places = self.shelf.write(&batch);
            self.log.commit(batch.through, &places, &mut committed);
        }
        committed.topics
    }

    fn publish(&mut self, topic: &str, texts: impl IntoIterator<Item = u32>) -> TopicId {
        for text in texts {
            self.append(topic, &text.to_string()).unwrap();
            self.write();
        }
        self.log.find(TopicRef::parse(topic).unwrap()).unwrap()
    }

    fn cool(&mut self) {
        let age = self.log.config().hot_age_max;
        self.millis += u64::try_from(age.as_millis()).unwrap();
        while self
            .log
            .expire(Time::from_millis(self.millis), 100, |_| true)
        {}
    }

    /// What can be read at once after `offset`, and whether more is cold.
    fn read(&mut self, topic: TopicId, offset: u64) -> (Vec<String>, bool) {
        let mut texts = Vec::new();
        let read = self.log.read(topic, Offset(offset), |_, entry| {
            texts.push(entry.map_or("lost".to_owned(), text));
            true
        });
        (texts, read.unwrap().is_cold)
    }

    fn loads(&mut self) -> Vec<Load> {
        let (mut loads, mut warm) = (Vec::new(), Vec::new());
        self.log.take_loads(&mut loads, &mut warm);
        assert_eq!(warm, []);
        loads
    }

    fn bring(&mut self, load: &Load) {
        let read = |place: &DiskPlace| (!place.is_lost()).then(|| self.shelf.entry(*place));
        let messages = load.places.iter().map(read).collect();
        self.log.loaded(load, messages);
    }
}

fn text(entry: &Entry) -> String {
    String::from_utf8(entry.payload().as_bytes().to_vec()).unwrap()
}

fn texts(range: impl IntoIterator<Item = u32>) -> Vec<String> {
    range.into_iter().map(|n| n.to_string()).collect()
}

#[test]
fn what_stands_on_disk_alone_is_read_back_for_who_is_behind() {
    let mut world = World::new(|config| config.load_messages_max = 4);
    let topic = world.publish("t", 1..=10);
    assert_eq!(world.read(topic, 0), (texts(1..=10), false));
    world.cool();
    let memory = world.log.bytes();
    assert_eq!(memory, 0, "all of it is on disk");
    world.publish("t", 11..=12);

    let mut read = Vec::new();
    for round in 0.. {
        assert!(round < 5, "three loads are enough");
        let (more, is_cold) = world.read(topic, read.len() as u64);
        read.extend(more);
        if !is_cold {
            break;
        }
        let loads = world.loads();
        assert_eq!(loads.len(), 1, "asked for once, however often it is read");
        assert_eq!(world.read(topic, read.len() as u64), (vec![], true));
        assert_eq!(world.loads(), [], "it is on its way");
        world.bring(&loads[0]);
    }
    assert_eq!(read, texts(1..=12));
    assert_eq!(world.read(topic, 4), (texts(5..=12), false), "it is kept");
}

#[test]
fn what_was_read_back_goes_again_when_others_need_the_room() {
    let mut world = World::new(|config| config.warm_bytes_max = 1);
    let (one, two) = (world.publish("one", 1..=3), world.publish("two", 1..=3));
    world.cool();
    for topic in [one, two, one] {
        assert_eq!(world.read(topic, 0), (vec![], true));
        let loads = world.loads();
        world.bring(&loads[0]);
        assert_eq!(world.read(topic, 0), (texts(1..=3), false));
    }
}

#[test]
fn a_message_that_the_disk_has_lost_is_told_and_passed_by() {
    let mut world = World::new(|_| {});
    let topic = world.publish("t", 1..=3);
    world.cool();
    world.read(topic, 0);
    let load = world.loads().remove(0);
    let mut messages: Vec<_> = load
        .places
        .iter()
        .map(|at| Some(world.shelf.entry(*at)))
        .collect();
    messages[1] = None;
    world.log.loaded(&load, messages);
    let lost = |n: &str| n.to_owned();
    assert_eq!(world.read(topic, 0).0, [lost("1"), lost("lost"), lost("3")]);
}

#[test]
fn who_waits_for_what_is_trimmed_meanwhile_is_not_forgotten() {
    let mut world = World::new(|config| config.policy.retention.count_max = 3);
    let topic = world.publish("t", 1..=3);
    world.cool();
    assert!(world.read(topic, 0).1);
    world.publish("t", 4..=9);
    let (mut loads, mut warm) = (Vec::new(), Vec::new());
    world.log.take_loads(&mut loads, &mut warm);
    assert_eq!(
        (loads.len(), warm),
        (0, vec![topic]),
        "it is to be asked again"
    );
    assert_eq!(world.read(topic, 0), (texts(7..=9), false));
}

#[test]
fn segments_go_when_nothing_in_them_is_retained() {
    let retention = Retention {
        count_max: 5,
        ..Retention::default()
    };
    let mut world = World::new(|config| config.policy.retention = retention);
    let unused = |world: &mut World| {
        let mut unused = Vec::new();
        world.log.take_unused(&mut unused);
        unused
    };
    world.publish("keeps", [1]);
    world.publish("moves", 1..=11);
    assert_eq!(unused(&mut world), [], "7 stands in the second");
    world.publish("moves", 12..=20);
    // The first holds the one that is kept, the fifth 16.
    assert_eq!(unused(&mut world), [2, 3, 4].map(SegmentId));
}

#[test]
fn a_few_old_messages_do_not_keep_segments() {
    let (mut world, old) = sparse();
    let mut unused = Vec::new();
    world.log.take_unused(&mut unused);
    assert_eq!(unused, [], "each holds an old message");
    let mut loads = Vec::new();
    for _ in 0..10 {
        world.log.sweep(800, 100, &mut loads);
        for load in std::mem::take(&mut loads) {
            world.bring(&load);
        }
        assert_eq!(world.write(), [], "nothing becomes visible by it");
    }
    world.log.take_unused(&mut unused);
    assert_eq!(
        unused,
        [1, 2, 3, 4].map(SegmentId),
        "seven are not worth it"
    );
    world.cool();
    world.read(old, 0);
    let load = world.loads().remove(0);
    world.bring(&load);
    assert_eq!(world.read(old, 0), (texts(1..=10), false));
}

#[test]
fn what_the_disk_has_lost_is_named_before_its_segment_goes() {
    let (mut world, old) = sparse();
    let mut loads = Vec::new();
    world.log.sweep(800, 100, &mut loads);
    assert_eq!(loads.len(), 1);
    let nothing = loads[0].places.iter().map(|_| None).collect();
    world.log.loaded(&loads[0], nothing);
    let mut unused = Vec::new();
    world.log.take_unused(&mut unused);
    assert_eq!(unused, [], "nothing has been written yet");
    world.write();
    assert_eq!(world.shelf.lost, [Offset(1)]);
    world.log.take_unused(&mut unused);
    assert_eq!(unused, [SegmentId(1)]);
    assert_eq!(
        world.log.topic(old).map(|topic| topic.base()),
        Some(Offset::ZERO)
    );
}

#[test]
fn what_could_not_be_read_is_not_lost() {
    let (mut world, old) = sparse();
    let mut loads = Vec::new();
    world.log.sweep(800, 100, &mut loads);
    world.log.loaded(&loads[0], Vec::new());
    world.write();
    assert_eq!(world.shelf.lost, []);
    world.cool();
    world.read(old, 0);
    let load = world.loads().remove(0);
    world.log.loaded(&load, Vec::new());
    assert_eq!(world.read(old, 0), (texts([]), true));
    let again = world.loads().remove(0);
    world.bring(&again);
    let (read, _) = world.read(old, 0);
    assert_eq!(read.first().map(String::as_str), Some("1"), "{read:?}");
}

/// Ten old messages, each in a segment that holds nothing else, and the topic they are of.
fn sparse() -> (World, TopicId) {
    let newest_only = Policy {
        retention: Retention {
            count_max: 1,
            ..Retention::default()
        },
        ..Policy::default()
    };
    let mut world = World::new(|config| {
        config
            .policies
            .push(("churn".parse().unwrap(), newest_only));
    });
    for n in 1..=10 {
        world.publish("old", [n]);
        world.publish("churn", [n, n, n]);
    }
    let old = world.log.find(TopicRef::parse("old").unwrap()).unwrap();
    (world, old)
}

#[test]
fn what_moves_while_it_is_read_is_lost_to_nobody() {
    let (mut world, old) = sparse();
    world.cool();
    world.read(old, 0);
    let slow = world.loads().remove(0);
    let mut moves = Vec::new();
    world.log.sweep(800, 100, &mut moves);
    for load in moves {
        world.bring(&load);
    }
    world.write();
    // The first segment is gone by the time the reader comes to it.
    let mut messages: Vec<_> = slow.places.iter().map(|_| None).collect();
    for (place, message) in slow.places.iter().zip(&mut messages).skip(1) {
        *message = Some(world.shelf.entry(*place));
    }
    world.log.loaded(&slow, messages);
    assert_eq!(
        world.read(old, 0),
        (Vec::new(), true),
        "it is asked for again"
    );
    let again = world.loads().remove(0);
    world.bring(&again);
    assert_eq!(world.read(old, 0), (texts(1..=10), false));
}

#[test]
fn messages_age_on_disk_as_in_memory() {
    let age_max = Duration::from_secs(3_600);
    let mut world = World::new(|config| config.policy.retention.age_max = age_max);
    let topic = world.publish("t", 1..=3);
    world.cool();
    world.publish("t", [4]);
    world.millis += 3_600_000 - 300_000;
    while world
        .log
        .expire(Time::from_millis(world.millis), 100, |_| true)
    {}
    // The fourth stands in the segment of the three, which is as old as its youngest message.
    assert_eq!(world.log.topic(topic).unwrap().base(), Offset(0));
    world.millis += 300_000;
    while world
        .log
        .expire(Time::from_millis(world.millis), 100, |_| true)
    {}
    let held = world.log.topic(topic).unwrap();
    assert_eq!((held.base(), held.end()), (Offset(4), Offset(4)));
    assert_eq!(held.disk_bytes(), 0);
}

#[test]
fn topics_in_memory_wait_for_no_disk() {
    let mut world = World::new(|_| {});
    let slow = world.append("t", "on its way").unwrap();
    assert_eq!(world.log.fate(slow.lsn), Fate::Pending);
    let quick = world.append("memory:t", "at once").unwrap();
    assert_eq!(world.log.fate(quick.lsn), Fate::Durable);
    let mut committed = Committed::default();
    world.log.take_untold(&mut committed);
    assert_eq!(
        (committed.topics, committed.born),
        (vec![quick.topic], vec![quick.topic])
    );
    assert_eq!(
        world.read(quick.topic, 0),
        (vec!["at once".to_owned()], false)
    );
    assert!(
        world.log.topic(slow.topic).is_none(),
        "the other is not there yet"
    );
    assert_eq!(world.write(), [slow.topic]);
    assert_eq!(world.shelf.written.len(), 1, "memory is not written");
}

#[test]
fn what_the_server_says_itself_waits_for_no_disk_and_has_its_own_bound() {
    let mut world = World::new(|config| config.own_topics_max = 1);
    // The disk is full and has failed, and whatever comes is refused.
    world.log.set_room(0, true);
    world.log.set_accepting(false);
    let now = Now {
        time: Time::from_millis(2_000),
        wall: WallTime::from_unix_millis(2_000),
        random: 7,
    };
    let topic = |name| TopicRef::parse(name).unwrap();
    for offset in [1, 2] {
        let place = world.log.announce(topic("$presence:a"), "x", now).unwrap();
        assert_eq!(
            (place.offset, world.log.fate(place.lsn)),
            (Offset(offset), Fate::Durable)
        );
    }
    assert_eq!(
        world.log.durability(topic("$presence:a")),
        Durability::Memory
    );
    let more = world.log.announce(topic("$presence:b"), "x", now);
    assert!(matches!(more, Err(AppendError::Full { .. })), "{more:?}");
    // It is forgotten with its last message, and leaves its place to another.
    let later = now.time + world.log.config().policy.retention.age_max;
    while world.log.expire(later, 100, |_| false) {}
    assert_eq!(world.log.topics_len(), 0);
    let now = Now { time: later, ..now };
    assert!(world.log.announce(topic("$presence:b"), "x", now).is_ok());
}

#[test]
fn a_producers_order_holds_across_disk_and_memory() {
    let mut world = World::new(|_| {});
    let key = ProducerKey::new(1);
    let producer = key.producer(None, &"a-client-of-sixteen".parse().unwrap());
    let as_producer = |seq| Some((producer, Seq(seq)));
    let first = world.append_as("t", "1", as_producer(1)).unwrap();
    let second = world.append_as("memory:t", "2", as_producer(2)).unwrap();
    assert_eq!(
        world.log.fate(second.lsn),
        Fate::Pending,
        "its predecessor waits"
    );
    let behind = world.append("memory:t", "3").unwrap();
    assert_eq!(
        world.log.fate(behind.lsn),
        Fate::Pending,
        "the topic's order counts"
    );
    assert_eq!(world.log.durable(producer), Some(Seq(0)));
    world.write();
    for place in [first, second, behind] {
        assert_eq!(world.log.fate(place.lsn), Fate::Durable);
    }
    assert_eq!(world.log.durable(producer), Some(Seq(2)));
    assert_eq!(
        world.shelf.numbers,
        [(producer, Seq(2))],
        "the number is on disk"
    );
    assert_eq!(world.read(behind.topic, 0).0, ["2", "3"]);
}

#[test]
fn messages_are_refused_before_the_writer_runs_out_of_room() {
    let mut world = World::new(|_| {});
    world.log.set_room(1_000, false);
    let payload = "x".repeat(300);
    world.append("t", &payload).unwrap();
    world.append("t", &payload).unwrap();
    assert_eq!(
        world.append("t", &payload),
        Err(AppendError::Congested),
        "more is prepared"
    );
    world.log.set_room(1_000, true);
    assert_eq!(world.append("t", &payload), Err(AppendError::DiskFull));
    world.log.set_room(1 << 20, false);
    world.append("t", &payload).unwrap();
}

#[test]
fn what_failed_is_told_from_what_waits() {
    let mut world = World::new(|_| {});
    let stored = world.append("t", "1").unwrap();
    world.write();
    let failed = world.append("t", "2").unwrap();
    world.log.fail(failed.lsn);
    assert_eq!(world.log.fate(stored.lsn), Fate::Durable);
    assert_eq!(world.log.fate(failed.lsn), Fate::Failed);
    assert_eq!(world.log.fate(Lsn(failed.lsn.0 + 1)), Fate::Pending);
    assert!(!world.log.has_batch());
    assert_eq!(world.read(stored.topic, 0).0, ["1"]);
}

#[test]
fn a_segment_that_one_topic_lets_go_of_at_the_start_stays_for_the_others() {
    let at = |position| DiskPlace {
        segment: SegmentId(1),
        position,
        bytes: 100,
    };
    let topic = |name: &str, places: Vec<DiskPlace>| RecoveredTopic {
        name: name.parse().unwrap(),
        origin: Epoch::from_random(1),
        epoch: Epoch::from_random(1),
        base: Offset::ZERO,
        end: Offset(places.len() as u64),
        last_append: Time::ZERO,
        places: places.into_iter().collect(),
        gaps: Vec::new(),
    };
    let newer = DiskPlace {
        segment: SegmentId(2),
        ..at(0)
    };
    let recovered = Recovered {
        log: LogId::from_random(1),
        key: ProducerKey::new(1),
        log_time: Time::ZERO,
        topics: vec![topic("a", vec![at(0), newer]), topic("b", vec![at(1)])],
        producers: Vec::new(),
        segments: Vec::new(),
        report: Default::default(),
    };
    let mut config = LogConfig::default();
    config.policy.retention.count_max = 1;
    let (mut log, _) = Log::recover(config, recovered);
    let mut unused = Vec::new();
    log.take_unused(&mut unused);
    assert_eq!(unused, [], "b has a message in it");
}
