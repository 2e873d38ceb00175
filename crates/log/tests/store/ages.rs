//! What checkpoints leave out: topics without messages, and producers, that were silent for too long
//! `[DISK-10]`.

use std::time::Duration;

use heartwire_disk::CrashDisk;
use heartwire_log::store::{Batch, Recovered, SegmentId, Store};
use heartwire_log::{Append, Committed, Log, LogConfig, Now};
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
    fn new() -> Self {
        let disk = CrashDisk::new();
        let (mut store, recovered) = open(&disk).unwrap();
        let (log, _) = Log::recover(LogConfig::default(), recovered);
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

    fn publish(&mut self, topic: &str) {
        self.log.set_room(self.store.room_bytes(), false);
        let text = "p".repeat(100);
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
    let mut server = Server::new();
    server.publish("silent");
    for _ in 0..200 {
        server.pass_a_day();
        server.publish("talks");
    }
    server.publish("silent");
    let known = server.log.find(TopicRef::parse("silent").unwrap()).unwrap();
    let epoch = server.log.topic(known).unwrap().epoch();
    let (_, recovered) = open(&server.disk.kill()).unwrap();
    assert!(recovered.report.is_clean(), "{}", recovered.report);
    let topic = found(&recovered, "silent");
    assert_eq!((topic.end, topic.epoch), (Offset(2), epoch));
}
