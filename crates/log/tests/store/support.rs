//! A store on a disk in memory, messages to write, and what must be there afterwards.

use std::collections::BTreeMap;
use std::time::Duration;

use heartwire_disk::{CrashDisk, Disk, InTurn};
use heartwire_log::store::{
    Batch, DiskPlace, Fresh, OpenError, Opening, Record, Recovered, RecoveredTopic, Report,
    SegmentId, SegmentReader, Store, StoreConfig, WriteError,
};
use heartwire_log::{Append, Appended, Entry, Log, LogConfig, Now, ProducerId, ProducerKey};
use heartwire_proto::frame::Message;
use heartwire_proto::id::TopicRef;
use heartwire_proto::{Epoch, LogId, Offset, Seq, Time, TopicName, WallTime};

pub(crate) const KEY: u128 = 0x1234;

pub(crate) fn config() -> StoreConfig {
    StoreConfig {
        segment_bytes: 1_024,
        batch_bytes_max: 512,
        // What stood in a file before stands close behind the frames.
        block_bytes: 1,
        // What is damaged behind an index is met when it is read.
        verified_bytes_max: 0,
        ..StoreConfig::default()
    }
}

/// The same for who reads everything at a start, as the server does of a short log: damage behind an
/// index is met then.
pub(crate) fn verifying() -> StoreConfig {
    StoreConfig {
        verified_bytes_max: u64::MAX,
        ..config()
    }
}

/// The one or the other, by turns.
pub(crate) fn by_turns(turn: u64) -> StoreConfig {
    match turn % 2 {
        0 => config(),
        _ => verifying(),
    }
}

pub(crate) fn fresh() -> Fresh {
    Fresh {
        store: 0xFEED_0001,
        log: LogId::from_random(7),
        key: ProducerKey::new(KEY),
        epochs: 99,
    }
}

pub(crate) type Opened<D> = Result<(Store<D>, Recovered), OpenError>;

pub(crate) fn open<D: Disk>(disk: &D) -> Opened<D> {
    open_as(disk, Opening::Careful)
}

pub(crate) fn open_as<D: Disk>(disk: &D, opening: Opening) -> Opened<D> {
    Store::open(disk.clone(), config(), fresh(), opening, &InTurn)
}

pub(crate) fn open_with<D: Disk>(disk: &D, config: StoreConfig) -> Opened<D> {
    Store::open(disk.clone(), config, fresh(), Opening::Careful, &InTurn)
}

/// Opens a log in which nothing is damaged that was not accepted. Who reads everything that has an index
/// finds what the indexes say.
pub(crate) fn open_both_ways(disk: &CrashDisk) -> Opened<CrashDisk> {
    let read = open_with(&disk.copy(), verifying());
    let opened = open(disk);
    match (&read, &opened) {
        (Ok((_, read)), Ok((_, opened))) => assert_eq!(read, opened),
        (Err(error), _) => panic!("when everything is read: {error}"),
        (Ok(_), Err(_)) => {}
    }
    opened
}

/// An empty log on a disk of its own, and who makes messages for it.
pub(crate) fn an_empty_log() -> (CrashDisk, Store<CrashDisk>, Maker) {
    let disk = CrashDisk::new();
    let (store, _) = open(&disk).unwrap();
    (disk, store, Maker::new())
}

/// Runs jobs until there are none; what fails is left for the next time.
pub(crate) fn run_jobs<D: Disk>(store: &mut Store<D>) {
    for _ in 0..4 {
        let jobs = store.take_jobs();
        for job in jobs {
            let _ = store.done(job.run());
        }
    }
}

pub(crate) fn producer(number: u8) -> ProducerId {
    let client = format!("client-{number:012}").parse().unwrap();
    ProducerKey::new(KEY).producer(None, &client)
}

/// A message as its reader should get it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Written {
    pub(crate) topic: String,
    pub(crate) offset: u64,
    pub(crate) payload: String,
}

/// Makes messages, with offsets that follow each other by topic.
pub(crate) struct Maker {
    log: Log,
    millis: u64,
}

impl Maker {
    pub(crate) fn new() -> Self {
        let key = ProducerKey::new(KEY);
        let log = Log::new(LogId::from_random(7), &key, LogConfig::default());
        Self { log, millis: 1_000 }
    }

    /// One that goes on where a log was left.
    pub(crate) fn after(recovered: &Recovered) -> Self {
        let mut maker = Self::new();
        for topic in &recovered.topics {
            for _ in 0..topic.end.0 {
                maker.message(topic.name.as_str(), "again", None);
            }
        }
        maker.millis = maker.millis.max(recovered.log_time.as_millis());
        maker
    }

    /// What is made next comes that much later.
    pub(crate) fn pause(&mut self, time: Duration) {
        self.millis += u64::try_from(time.as_millis()).unwrap();
    }

    /// The epoch that topics of this name are born in.
    pub(crate) fn origin(topic: &str) -> Epoch {
        Epoch::from_random(random(topic))
    }

    pub(crate) fn message(
        &mut self,
        topic: &str,
        payload: &str,
        from: Option<(ProducerId, Seq)>,
    ) -> Record {
        self.millis += 3;
        let now = Now {
            time: Time::from_millis(self.millis),
            wall: WallTime::from_unix_millis(1_790_000_000_000 + self.millis),
            random: random(topic),
        };
        let append = Append {
            topic: TopicRef::parse(topic).unwrap(),
            payload: Message::Text(payload),
            from: None,
            producer: None,
        };
        appended(&mut self.log, append, from, now)
    }
}

/// What a log in memory makes of a message, to be written to disk.
pub(crate) fn appended(
    log: &mut Log,
    append: Append<'_>,
    producer: Option<(ProducerId, Seq)>,
    now: Now,
) -> Record {
    let topic = append.topic.as_str().parse().unwrap();
    let Appended::Pending(place) = log.append(append, now).unwrap() else {
        panic!("nothing repeats");
    };
    log.commit(place.lsn, &[], &mut Default::default());
    let mut entry = None;
    let before = Offset(place.offset.0 - 1);
    let _ = log.read(place.topic, before, |_, read| {
        entry = read.cloned();
        true
    });
    Record::Message {
        topic,
        origin: place.epoch,
        offset: place.offset,
        entry: entry.unwrap(),
        producer,
    }
}

/// Of a message: the topic, and the epoch in which it was born.
pub(crate) fn topic_of(record: &Record) -> (&TopicName, Epoch) {
    match record {
        Record::Message { topic, origin, .. } => (topic, *origin),
        _ => panic!("it is no message"),
    }
}

/// A message as it goes to sockets.
pub(crate) fn entry_of(record: &Record) -> &Entry {
    match record {
        Record::Message { entry, .. } => entry,
        _ => panic!("it is no message"),
    }
}

fn random(topic: &str) -> u64 {
    topic.bytes().fold(17, |sum: u64, byte| {
        sum.wrapping_mul(31).wrapping_add(u64::from(byte))
    })
}

pub(crate) fn batch(records: &[Record]) -> Batch {
    Batch {
        records: records.to_vec(),
        ..Batch::default()
    }
}

pub(crate) fn written(record: &Record) -> Option<Written> {
    match record {
        Record::Message {
            topic,
            offset,
            entry,
            ..
        } => Some(of_entry(topic, *offset, entry)),
        _ => None,
    }
}

pub(crate) fn of_entry(topic: &TopicName, offset: Offset, entry: &Entry) -> Written {
    Written {
        topic: topic.to_string(),
        offset: offset.0,
        payload: String::from_utf8(entry.payload().as_bytes().to_vec()).unwrap(),
    }
}

/// Writes a batch and makes it durable, with whatever jobs that takes.
pub(crate) fn commit<D: Disk>(
    store: &mut Store<D>,
    records: &[Record],
) -> Result<Vec<DiskPlace>, WriteError> {
    let mut places = Vec::new();
    let batch = batch(records);
    let mut outcome = store.write(&batch, &mut places);
    if matches!(outcome, Err(WriteError::NoRoom { .. })) {
        run_jobs(store);
        outcome = store.write(&batch, &mut places);
    }
    outcome?;
    store.sync()?;
    Ok(places)
}

/// Everything that a log holds, read back.
pub(crate) fn contents<D: Disk>(reader: &SegmentReader<D>, recovered: &Recovered) -> Vec<Written> {
    let mut all = Vec::new();
    for topic in &recovered.topics {
        let mut count = 0;
        for (first, places) in topic.stretches() {
            let mut entries = Vec::new();
            reader
                .read(&topic.name, topic.origin, first, &places, &mut entries)
                .unwrap();
            for (at, entry) in (first.0..).zip(&entries) {
                all.push(of_entry(&topic.name, Offset(at), entry));
            }
            count += places.len();
        }
        assert_eq!(count, topic.places.len(), "a place for each message");
    }
    all.sort();
    all
}

/// What was found of one topic.
pub(crate) fn found<'a>(recovered: &'a Recovered, name: &str) -> &'a RecoveredTopic {
    let mut topics = recovered.topics.iter();
    topics.find(|topic| topic.name.as_str() == name).unwrap()
}

pub(crate) fn ends(recovered: &Recovered) -> BTreeMap<String, u64> {
    let topics = recovered.topics.iter();
    topics
        .map(|topic| (topic.name.to_string(), topic.end.0))
        .collect()
}

pub(crate) fn segment(number: u32) -> String {
    format!("{number:08}.seg")
}

/// The names of a folder's files with this ending.
pub(crate) fn named(disk: &CrashDisk, ending: &str) -> Vec<String> {
    let mut names = disk.list().unwrap();
    names.retain(|name| name.ends_with(ending));
    names.sort();
    names
}

/// A log with three topics and a dozen messages over several segments, closed or left as it is.
pub(crate) fn a_log(is_closed: bool) -> (CrashDisk, Vec<Written>) {
    let (disk, mut store, mut maker) = an_empty_log();
    let mut all = Vec::new();
    for round in 0..12_u64 {
        let topic = ["a", "b", "c"][round as usize % 3];
        let long = "x".repeat(100);
        let record = maker.message(
            topic,
            &format!("{round} {long}"),
            Some((producer(round as u8 % 2), Seq(round / 2 + 1))),
        );
        all.extend(written(&record));
        commit(&mut store, &[record]).unwrap();
        run_jobs(&mut store);
    }
    all.sort();
    end(store, is_closed);
    (disk.kill(), all)
}

/// Writes messages to the topics `a` and `b` in turn, over several segments.
pub(crate) fn fill_segments(
    store: &mut Store<CrashDisk>,
    maker: &mut Maker,
    count: u64,
) -> Vec<Written> {
    let mut all = Vec::new();
    for number in 1..=count {
        let payload = format!("{number} {}", "p".repeat(100));
        let from = Some((producer(1), Seq(number)));
        let record = maker.message(["a", "b"][number as usize % 2], &payload, from);
        all.extend(written(&record));
        commit(store, &[record]).unwrap();
        run_jobs(store);
    }
    all
}

/// A log of which the first two segments were removed, with what was retained.
pub(crate) fn with_removed_segments() -> (CrashDisk, Vec<Written>) {
    let (disk, mut store, mut maker) = an_empty_log();
    fill_segments(&mut store, &mut maker, 16);
    store.remove(&[id(1), id(2)]);
    run_jobs(&mut store);
    drop(store);
    let disk = disk.kill();
    let (store, recovered) = open(&disk.copy()).unwrap();
    let retained = contents(&store.reader(), &recovered);
    assert!((6..16).contains(&retained.len()));
    (disk, retained)
}

/// The process ends, by a clean stop or without.
fn end(store: Store<CrashDisk>, is_closed: bool) {
    match is_closed {
        true => store.close().unwrap(),
        false => drop(store),
    }
}

/// The same, and the next one opens the log.
pub(crate) fn reopened(
    disk: &CrashDisk,
    store: Store<CrashDisk>,
    is_closed: bool,
) -> (Store<CrashDisk>, Recovered) {
    end(store, is_closed);
    open_both_ways(disk).unwrap()
}

pub(crate) fn id(number: u32) -> SegmentId {
    SegmentId(number)
}

/// Everything that is not there is named, or its topic has a new epoch. Returns how much that is.
pub(crate) fn explained(
    all: &[Written],
    found: &[Written],
    report: &Report,
    context: &str,
) -> usize {
    let lost = all.iter().filter(|written| !found.contains(written));
    let explain = |written: &&Written| {
        let is_named = report.lost.iter().any(|lost| {
            lost.topic.as_str() == written.topic
                && (lost.first.0..=lost.last.0).contains(&written.offset)
        });
        let mut renewed = report.new_epochs.iter();
        let has_new_epoch = renewed.any(|topic| topic.as_str() == written.topic);
        assert!(
            is_named || has_new_epoch,
            "{context}: {written:?}: {report}"
        );
    };
    lost.inspect(explain).count()
}
