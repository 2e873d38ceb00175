//! What checkpoints leave out: topics without messages, and producers, that were silent for too long
//! `[DISK-10]`.

use std::time::Duration;

use heartwire_disk::CrashDisk;
use heartwire_log::store::{Batch, Recovered, SegmentId, Store, StoreConfig};
use heartwire_log::{Append, Committed, Log, LogConfig, Now, Policy, Retention};
use heartwire_proto::frame::Message;
use heartwire_proto::id::TopicRef;
use heartwire_proto::{Offset, Seq, Time, WallTime};

use super::support::*;

const HOUR: Duration = Duration::from_secs(3_600);

struct World {
    disk: CrashDisk,
    store: Store<CrashDisk>,
    maker: Maker,
}

impl World {
    fn new() -> Self {
        let (disk, store, maker) = an_empty_log();
        Self { disk, store, maker }
    }

    /// Publishes a dozen messages, which is more than a segment. Returns in which they stand.
    fn publish(&mut self, topic: &str, by: u8) -> Vec<SegmentId> {
        let mut segments = Vec::new();
        for number in 1..=12 {
            let payload = format!("{number} {}", "p".repeat(100));
            let from = Some((producer(by), Seq(number)));
            let record = self.maker.message(topic, &payload, from);
            let places = commit(&mut self.store, &[record]).unwrap();
            segments.extend(places.iter().map(|place| place.segment));
            run_jobs(&mut self.store);
        }
        segments.dedup();
        segments
    }

    /// Removes segments, which takes a checkpoint, and reads what the log holds then.
    fn without(mut self, segments: &[SegmentId]) -> (Self, Recovered) {
        self.store.remove(segments);
        run_jobs(&mut self.store);
        let (store, recovered) = reopened(&self.disk, self.store, false);
        self.store = store;
        run_jobs(&mut self.store);
        (self, recovered)
    }
}

fn knows(recovered: &Recovered, by: u8) -> bool {
    let mut producers = recovered.producers.iter();
    producers.any(|(id, ..)| *id == producer(by))
}

#[test]
fn a_checkpoint_forgets_silent_producers_and_later_topics_without_messages() {
    let mut world = World::new();
    let silent = world.publish("silent", 1);
    world.maker.pause(47 * HOUR);
    let first = world.publish("talks", 2);
    let (mut world, recovered) = world.without(&silent);
    assert!(knows(&recovered, 1), "it may repeat itself yet");
    assert_eq!(ends(&recovered)["silent"], 12);

    world.maker.pause(2 * HOUR);
    let second = world.publish("talks", 2);
    let (mut world, recovered) = world.without(&first);
    assert!(!knows(&recovered, 1) && knows(&recovered, 2));
    assert_eq!(ends(&recovered)["silent"], 12, "its offsets go on");

    world.maker.pause(60 * 24 * HOUR);
    world.publish("talks", 3);
    let (_, recovered) = world.without(&second);
    assert!(!knows(&recovered, 2) && knows(&recovered, 3));
    assert!(!ends(&recovered).contains_key("silent"));
    assert!(recovered.report.is_clean(), "{}", recovered.report);
}

#[test]
fn a_topic_with_a_message_is_kept_however_long_it_was_silent() {
    let mut world = World::new();
    let silent = world.publish("silent", 1);
    world.maker.pause(400 * 24 * HOUR);
    world.publish("talks", 2);
    let (first, last) = (&silent[..1], silent.last());
    let (_, recovered) = world.without(first);
    let topic = found(&recovered, "silent");
    assert_eq!(
        topic.places.iter().last().map(|at| at.segment),
        last.copied()
    );
    assert!(!knows(&recovered, 1));
}

/// A log above its store, turn by turn.
struct Server {
    disk: CrashDisk,
    store: Store<CrashDisk>,
    log: Log,
    days: u64,
}

impl Server {
    fn new(log: LogConfig, store: StoreConfig) -> Self {
        let disk = CrashDisk::new();
        let (mut store, recovered) = open_with(&disk, store).unwrap();
        let (log, _) = Log::recover(log, recovered);
        run_jobs(&mut store);
        Self {
            disk,
            store,
            log,
            days: 0,
        }
    }

    fn now(&self) -> Now {
        let millis = self.days * 24 * 3_600_000;
        Now {
            time: Time::from_millis(millis),
            wall: WallTime::from_unix_millis(millis),
            random: millis,
        }
    }

    fn publish(&mut self, topic: &str, bytes: usize) {
        self.log.set_room(self.store.room_bytes(), false);
        let text = "p".repeat(bytes);
        let append = Append {
            topic: TopicRef::parse(topic).unwrap(),
            payload: Message::Text(&text),
            from: None,
            producer: None,
        };
        self.log.append(append, self.now()).unwrap();
        self.turn();
    }

    /// A day passes, and all topics are followed.
    fn pass_a_day(&mut self) {
        self.days += 1;
        while self.log.expire(self.now().time, 100, |_| true) {}
        self.turn();
    }

    /// Reads a topic from its first message on, back from the disk; how many messages it gives.
    fn read(&mut self, topic: &str) -> usize {
        let id = self.log.find(TopicRef::parse(topic).unwrap()).unwrap();
        assert!(self.log.read(id, Offset(0), |_, _| true).unwrap().is_cold);
        let (mut loads, mut warm) = (Vec::new(), Vec::new());
        self.log.take_loads(&mut loads, &mut warm);
        for load in loads {
            let messages = load.read(&self.store.reader(), |_, error| panic!("{error}"));
            self.log.loaded(&load, messages);
        }
        let mut count = 0;
        self.log.read(id, Offset(0), |_, _| {
            count += 1;
            true
        });
        self.turn();
        count
    }

    /// A new process finds a topic of two messages as this one knows it.
    fn goes_on_with(&self, topic: &str) {
        let known = self.log.find(TopicRef::parse(topic).unwrap()).unwrap();
        let epoch = self.log.topic(known).unwrap().epoch();
        let (_, recovered) = open(&self.disk.kill()).unwrap();
        assert!(recovered.report.is_clean(), "{}", recovered.report);
        let topic = found(&recovered, topic);
        assert_eq!((topic.end, topic.epoch), (Offset(2), epoch));
    }

    fn turn(&mut self) {
        let (mut batch, mut places) = (Batch::default(), Vec::new());
        if self.log.take_batch(&mut batch) {
            self.store.write(&batch, &mut places).unwrap();
            self.store.sync().unwrap();
            let mut committed = Committed::default();
            self.log.commit(batch.through, &places, &mut committed);
        }
        let mut unused = Vec::new();
        self.log.take_unused(&mut unused);
        self.store.remove(&unused);
        run_jobs(&mut self.store);
    }
}

#[test]
fn a_topic_that_somebody_follows_is_kept_however_long_it_is_silent() {
    let mut server = Server::new(LogConfig::default(), config());
    server.publish("silent", 100);
    for _ in 0..200 {
        server.pass_a_day();
        server.publish("talks", 100);
    }
    server.publish("silent", 100);
    server.goes_on_with("silent");
}

#[test]
fn a_topic_is_kept_whose_last_message_was_old_when_its_segment_went() {
    let only_the_newest = Policy {
        retention: Retention {
            count_max: 1,
            ..Retention::default()
        },
        ..Policy::default()
    };
    let mut log = LogConfig {
        policies: vec![("talks".parse().unwrap(), only_the_newest)],
        ..LogConfig::default()
    };
    log.policy.retention.age_max = 30 * HOUR;
    let store = StoreConfig {
        segment_bytes: 16 * 1_024,
        ..config()
    };
    let mut server = Server::new(log, store);
    server.publish("silent", 1);
    for _ in 0..70 {
        server.pass_a_day();
        server.publish("talks", 1);
    }
    for _ in 0..100 {
        server.publish("talks", 100);
    }
    assert_eq!(named(&server.disk, ".idx").len(), 1);
    // The segment is of today, and was kept for this one message, which is not.
    assert_eq!(server.read("silent"), 0);
    assert_eq!(named(&server.disk, ".gone").len(), 1);
    server.publish("silent", 1);
    server.goes_on_with("silent");
}
