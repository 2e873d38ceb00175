//! What the log on disk costs, beside the least that the same work can cost in the same run:
//!
//! ```text
//!   cargo bench -p heartwire-log --bench store -- append FOLDER [SECONDS]
//!   cargo bench -p heartwire-log --bench store -- reopen FOLDER [MESSAGES]
//!   cargo bench -p heartwire-log --bench store -- replay FOLDER [MESSAGES]
//! ```
//!
//! `append` writes batches of 1, 64 and 1,024 messages of 128 bytes over 10,000 topics, each made durable:
//! once to a store that keeps everything and fills its segments with zeros meanwhile, once to one that lets
//! old segments go and has their files again. Beside them stands a loop of one `pwrite` and one `fdatasync`
//! of as many bytes, once into a file that grows, once into one that was filled with zeros before the loop
//! begins. `reopen` opens a log of 5 million such messages: with all its indexes, as after a clean stop;
//! without those of the newest two segments, as after a crash; and without any. Beside it stands one
//! sequential read and checksum of its segments, with the files in the system's cache and without; and it
//! says what the log then takes to take it in. `replay` reads 1,000 messages of one of 10,000 topics back
//! from 11 million, for a follower that begins at the head: from the disk, from the system's cache, and
//! from the log's memory; and tells how much memory the process has for it all.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    reason = "a benchmark measures time, uses threads, and reports to the terminal"
)]

mod append;

use std::fs::{self, File};
use std::num::NonZeroUsize;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use heartwire_disk::{Dice, FileDisk, InTurn, Threads};
use heartwire_log::store::{
    Batch, DiskPlace, Done, Fresh, Job, Opening, Record, Recovered, SegmentId, SegmentReader,
    Store, StoreConfig, WriteError,
};
use heartwire_log::{Append, Appended, Log, LogConfig, Now, ProducerId, ProducerKey, TopicId};
use heartwire_proto::frame::Message;
use heartwire_proto::id::TopicRef;
use heartwire_proto::{LogId, Offset, Seq, Time, TopicName, WallTime};

/// The server's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const TOPICS: usize = 10_000;
const PAYLOAD_BYTES: usize = 128;
/// How many segments a process that ends without warning leaves without an index: the one it writes to,
/// and the one before, whose index is being made.
const UNINDEXED_MAX: usize = 2;
/// What a scan reads at once, in bytes.
const SCAN_BYTES: usize = 1 << 20;

fn main() {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| a != "--bench")
        .collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["append", folder] => append::append(Path::new(folder), 2),
        ["append", folder, seconds] => append::append(Path::new(folder), number(seconds)),
        ["reopen", folder] => reopen(Path::new(folder), 5_000_000),
        ["reopen", folder, messages] => reopen(Path::new(folder), number(messages)),
        ["replay", folder] => replay(Path::new(folder), 11_000_000),
        ["replay", folder, messages] => replay(Path::new(folder), number(messages)),
        _ => println!(
            "usage: append FOLDER [SECONDS] | reopen FOLDER [MESSAGES] | replay FOLDER [MESSAGES]"
        ),
    }
}

fn number(text: &str) -> u64 {
    text.parse().expect("a number")
}

/// Messages over all topics in random order, each topic's offsets following each other.
struct Source {
    topics: Vec<(TopicName, Record)>,
    offsets: Vec<u64>,
    producers: Vec<ProducerId>,
    seq: u64,
    dice: Dice,
}

impl Source {
    fn new() -> Self {
        let key = ProducerKey::new(3);
        let producers = (0..1_024)
            .map(|n| key.producer(None, &format!("client-{n:012}").parse().expect("an id")))
            .collect();
        Self {
            topics: (0..TOPICS).map(message).collect(),
            offsets: vec![0; TOPICS],
            producers,
            seq: 0,
            dice: Dice::new(1),
        }
    }

    fn fill(&mut self, batch: &mut Batch, count: usize) {
        batch.clear();
        for _ in 0..count {
            let mut any_of = |count: usize| self.dice.below(count as u64) as usize;
            let at = any_of(TOPICS);
            self.offsets[at] += 1;
            self.seq += 1;
            let producer = self.producers[any_of(self.producers.len())];
            let mut record = self.topics[at].1.clone();
            if let Record::Message {
                offset,
                producer: by,
                ..
            } = &mut record
            {
                *offset = Offset(self.offsets[at]);
                *by = Some((producer, Seq(self.seq)));
            }
            batch.records.push(record);
        }
    }
}

/// One message of a topic, in wire form.
fn message(number: usize) -> (TopicName, Record) {
    let name = format!("topic:{number:05}");
    let mut log = Log::new(
        LogId::from_random(1),
        &ProducerKey::new(3),
        LogConfig::default(),
    );
    let payload = vec![b'm'; PAYLOAD_BYTES];
    let append = Append {
        topic: TopicRef::parse(&name).expect("a topic"),
        payload: Message::Binary(&payload),
        from: None,
        producer: None,
    };
    let now = Now {
        time: Time::from_millis(3_600_000),
        wall: WallTime::from_unix_millis(1_790_000_000_000),
        random: number as u64,
    };
    let Ok(Appended::Pending(place)) = log.append(append, now) else {
        unreachable!("an empty log takes a message");
    };
    log.commit(place.lsn, &[], &mut Default::default());
    let topic: TopicName = name.parse().expect("a topic");
    let mut entry = None;
    let _ = log.read(place.topic, Offset::ZERO, |_, read| {
        entry = read.cloned();
        true
    });
    let record = Record::Message {
        topic: topic.clone(),
        origin: place.epoch,
        offset: Offset(1),
        entry: entry.expect("it is durable"),
        producer: None,
    };
    (topic, record)
}

fn open(folder: &Path, threads: usize) -> (Store<FileDisk>, Recovered) {
    let disk = FileDisk::create(folder).expect("a folder");
    let fresh = Fresh {
        store: 1,
        log: LogId::from_random(1),
        key: ProducerKey::new(3),
        epochs: 5,
    };
    let (config, mode) = (StoreConfig::default(), Opening::Careful);
    let opened = match NonZeroUsize::new(threads) {
        Some(threads) => Store::open(disk, config, fresh, mode, &Threads(threads)),
        None => Store::open(disk, config, fresh, mode, &InTurn),
    };
    opened.unwrap_or_else(|error| panic!("{error}"))
}

/// A store whose jobs a thread does.
struct Writer {
    store: Store<FileDisk>,
    /// How many segments are kept; all if there is no number.
    segments_max: Option<u32>,
    jobs: mpsc::Sender<Job<FileDisk>>,
    done: mpsc::Receiver<Done<FileDisk>>,
    places: Vec<DiskPlace>,
}

impl Writer {
    fn new(store: Store<FileDisk>, segments_max: Option<u32>) -> Self {
        let (jobs, to_do) = mpsc::channel::<Job<FileDisk>>();
        let (outcomes, done) = mpsc::channel();
        std::thread::spawn(move || {
            for job in to_do {
                if outcomes.send(job.run()).is_err() {
                    return;
                }
            }
        });
        let places = Vec::new();
        Self {
            store,
            segments_max,
            jobs,
            done,
            places,
        }
    }

    /// Lets the segment go that is one too many.
    fn retain(&mut self) {
        let newest = self.places.first().map_or(0, |place| place.segment.0);
        let oldest = self.segments_max.and_then(|max| newest.checked_sub(max));
        if let Some(oldest) = oldest {
            self.store.remove(&[SegmentId(oldest)]);
        }
    }

    fn hand_over(&mut self) {
        for job in self.store.take_jobs() {
            self.jobs.send(job).expect("the helper lives");
        }
        while let Ok(done) = self.done.try_recv() {
            self.store
                .done(done)
                .unwrap_or_else(|error| panic!("{error}"));
        }
    }

    /// Waits until a segment is prepared.
    fn settle(&mut self) {
        self.hand_over();
        while self.store.needs_segment() {
            let done = self.done.recv().expect("the helper lives");
            self.store
                .done(done)
                .unwrap_or_else(|error| panic!("{error}"));
            self.hand_over();
        }
    }

    fn commit(&mut self, batch: &Batch) -> usize {
        self.hand_over();
        loop {
            match self.store.write(batch, &mut self.places) {
                Ok(()) => break,
                Err(WriteError::NoRoom { .. }) => self.settle(),
                Err(error) => panic!("{error}"),
            }
        }
        self.store.sync().unwrap_or_else(|error| panic!("{error}"));
        self.retain();
        24 + self
            .places
            .iter()
            .map(|place| place.bytes as usize)
            .sum::<usize>()
    }

    /// Waits for what the helper has, and stops cleanly.
    fn finish(mut self) {
        self.settle();
        drop(self.jobs);
        for done in &self.done {
            let done = self.store.done(done);
            done.unwrap_or_else(|error| panic!("{error}"));
        }
        let closed = self.store.close();
        closed.unwrap_or_else(|error| panic!("{error}"));
    }
}

fn reopen(folder: &Path, messages: u64) {
    let folder = folder.join(format!("reopen-{messages}"));
    if !folder.exists() {
        build(&folder, messages);
    }
    let segments = files(&folder, "seg");
    let bytes: u64 = segments
        .iter()
        .map(|path| fs::metadata(path).expect("a file").len())
        .sum();
    println!(
        "{messages} messages, {} segments, {bytes} bytes",
        segments.len()
    );
    for cache in [Cache::Warm, Cache::Cold] {
        let scan = best(&folder, cache, || scan(&segments));
        println!("{cache:?}: one sequential scan        {scan}");
        for (name, threads) in [("one thread ", 0), ("two threads", 2)] {
            let took = best(&folder, cache, || reopen_once(&folder, threads, messages));
            report(&format!("{cache:?}: with indexes, {name}"), took, scan);
        }
        if cache == Cache::Warm {
            let took = best(&folder, cache, || take_in_once(&folder, messages));
            report("then: taken in by the log       ", took, scan);
        }
    }
    remove(files(&folder, "idx").iter().rev().take(UNINDEXED_MAX));
    reopen_scanning(&folder, messages, "after a crash");
    remove(files(&folder, "idx").iter().chain(&files(&folder, "ckpt")));
    reopen_scanning(&folder, messages, "all scanned");
    fs::remove_dir_all(&folder).expect("it is there");
}

/// Opens a log some of whose segments have no index.
fn reopen_scanning(folder: &Path, messages: u64, what: &str) {
    let segments = files(folder, "seg");
    for cache in [Cache::Warm, Cache::Cold] {
        let scan = best(folder, cache, || scan(&segments));
        for (name, threads) in [("one thread ", 0), ("two threads", 2)] {
            let took = best(folder, cache, || reopen_once(folder, threads, messages));
            report(&format!("{cache:?}: {what:13}, {name}"), took, scan);
        }
    }
}

fn remove<'p>(paths: impl Iterator<Item = &'p PathBuf>) {
    for path in paths {
        fs::remove_file(path).expect("it is there");
    }
}

/// Whether the system has the files in memory already, as after a process died, or must read them
/// from the device, as after a machine did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Cache {
    Warm,
    Cold,
}

/// Makes the system forget what it has of a folder's files.
fn forget(folder: &Path) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let file = File::open(entry.expect("a name").path()).expect("a file");
        file.sync_all().expect("a sync");
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).expect("advice");
    }
}

const REPLAYED: usize = 1_000;

fn replay(folder: &Path, messages: u64) {
    let folder = folder.join(format!("replay-{messages}"));
    if !folder.exists() {
        build(&folder, messages);
    }
    let (store, recovered) = open(&folder, 2);
    let (reader, key) = (store.reader(), "topic:00042");
    let start = Took::start();
    let (mut log, _) = Log::recover(LogConfig::default(), recovered);
    println!("{messages} messages, taken in{}", start.stop());
    println!("memory of the process: {} MiB", resident_bytes() >> 20);
    let topic = log
        .find(TopicRef::parse(key).expect("a topic"))
        .expect("it has messages");
    forget(&folder);
    for what in ["from the disk", "from the log's memory"] {
        let start = Took::start();
        let count = replay_once(&mut log, topic, &reader);
        println!("{count} messages {what:24}{}", start.stop());
    }
    let (mut log, _) = Log::recover(LogConfig::default(), reopened(store, &folder));
    let start = Took::start();
    let count = replay_once(&mut log, topic, &reader);
    println!("{count} messages from the system's cache  {}", start.stop());
    fs::remove_dir_all(&folder).expect("it is there");
}

/// What a process that begins anew finds.
fn reopened(store: Store<FileDisk>, folder: &Path) -> Recovered {
    drop(store);
    open(folder, 2).1
}

/// Reads as a follower does; how many messages came.
fn replay_once(log: &mut Log, topic: TopicId, reader: &SegmentReader<FileDisk>) -> usize {
    let mut count = 0;
    while count < REPLAYED {
        let read = log.read(topic, Offset(count as u64), |_, entry| {
            assert!(entry.is_some(), "nothing is lost");
            count += 1;
            count < REPLAYED
        });
        if !read.expect("the topic is there").is_cold {
            break;
        }
        let (mut loads, mut warm) = (Vec::new(), Vec::new());
        log.take_loads(&mut loads, &mut warm);
        for load in &loads {
            let mut entries = Vec::new();
            let first = load.after.next();
            reader
                .read(&load.name, load.origin, first, &load.places, &mut entries)
                .unwrap_or_else(|error| panic!("{error}"));
            log.loaded(load, entries.into_iter().map(Some).collect());
        }
    }
    count
}

/// What the process has in memory, in bytes.
fn resident_bytes() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").expect("Linux has it");
    let pages = statm.split(' ').nth(1).expect("the second number");
    number(pages) * 4_096
}

fn build(folder: &Path, messages: u64) {
    let (store, _) = open(folder, 0);
    let mut writer = Writer::new(store, None);
    let mut source = Source::new();
    let mut batch = Batch::default();
    let start = Instant::now();
    let mut left = messages as usize;
    while left > 0 {
        let count = left.min(Batch::RECORDS_MAX);
        source.fill(&mut batch, count);
        writer.commit(&batch);
        left -= count;
    }
    writer.finish();
    println!("built in {:.1} s", start.elapsed().as_secs_f64());
}

fn check(recovered: &Recovered, messages: u64) {
    let found: usize = recovered
        .topics
        .iter()
        .map(|topic| topic.places.len())
        .sum();
    assert_eq!(found as u64, messages, "nothing is missing");
}

fn reopen_once(folder: &Path, threads: usize, messages: u64) -> Took {
    let start = Took::start();
    let (_store, recovered) = open(folder, threads);
    let took = start.stop();
    check(&recovered, messages);
    took
}

/// What follows on opening: the log counts what every topic and every segment holds.
fn take_in_once(folder: &Path, messages: u64) -> Took {
    let (_store, recovered) = open(folder, 2);
    check(&recovered, messages);
    let start = Took::start();
    let (log, _) = Log::recover(LogConfig::default(), recovered);
    let took = start.stop();
    assert!(log.topics_len() > 0, "it holds topics");
    took
}

/// Reads files from end to end, a piece at a time, with one checksum over each piece.
fn scan(paths: &[PathBuf]) -> Took {
    let start = Took::start();
    let (mut piece, mut sum) = (vec![0; SCAN_BYTES], 0);
    for path in paths {
        let file = File::open(path).expect("a file");
        let length = file.metadata().expect("a length").len();
        let mut position = 0;
        while position < length {
            let count = (length - position).min(SCAN_BYTES as u64) as usize;
            file.read_exact_at(&mut piece[..count], position)
                .expect("bytes");
            sum ^= crc32c::crc32c(&piece[..count]);
            position += count as u64;
        }
    }
    assert_ne!(sum, 0x1234_5678, "the sum is used");
    start.stop()
}

/// How long something took, by the clock and of the processor. On a busy machine the second tells
/// more; it is that of one thread alone.
#[derive(Clone, Copy)]
struct Took {
    clock: Duration,
    processor: Duration,
}

struct Started(Instant, Duration);

impl Took {
    fn start() -> Started {
        Started(Instant::now(), processor_time())
    }
}

impl Started {
    fn stop(&self) -> Took {
        Took {
            clock: self.0.elapsed(),
            processor: processor_time() - self.1,
        }
    }
}

impl std::fmt::Display for Took {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let millis = |span: Duration| span.as_secs_f64() * 1_000.0;
        let (clock, processor) = (millis(self.clock), millis(self.processor));
        write!(f, "{clock:8.1} ms, {processor:8.1} ms of the processor")
    }
}

/// What this thread has had of the processor.
fn processor_time() -> Duration {
    let statistics = fs::read_to_string("/proc/thread-self/schedstat").expect("Linux has it");
    let nanos = statistics
        .split(' ')
        .next()
        .and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.expect("a number"))
}

/// The least of five.
fn best(folder: &Path, cache: Cache, measure: impl Fn() -> Took) -> Took {
    let prepared = || {
        if cache == Cache::Cold {
            forget(folder);
        }
        measure()
    };
    let times: Vec<Took> = (0..5).map(|_| prepared()).collect();
    Took {
        clock: times.iter().map(|took| took.clock).min().expect("five"),
        processor: times.iter().map(|took| took.processor).min().expect("five"),
    }
}

fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("a name").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|found| found == ending));
    paths.sort();
    paths
}

fn report(what: &str, took: Took, scan: Took) {
    let ratio = |ours: Duration, theirs: Duration| ours.as_secs_f64() / theirs.as_secs_f64();
    let clock = ratio(took.clock, scan.clock);
    let processor = ratio(took.processor, scan.processor);
    println!("{what}  {took}: {clock:.2} x the scan, {processor:.2} x its processor time");
}
