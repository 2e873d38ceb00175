//! Recovery of the log: whatever stands in its files, it is opened or refused, and damage that can be
//! told is never passed over in silence.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use arbitrary::{Result, Unstructured};
use heartwire_disk::{CrashDisk, Disk, InTurn};
use heartwire_log::store::{
    Batch, Fresh, OpenError, Opening, ReadError, Record, Recovered, SegmentReader, Store,
    StoreConfig, WriteError, check,
};
use heartwire_log::{Append, Appended, Committed, Log, LogConfig, Now, ProducerKey};
use heartwire_proto::frame::Message;
use heartwire_proto::{LogId, Offset, Seq, Time, TopicRef, WallTime};

/// So many places of a log are changed at most.
const CHANGES_MAX: u8 = 8;

/// A message: its topic, its offset, its payload.
type Written = (String, u64, Vec<u8>);

/// A log that was written by the rules, closed or left as it was when its process died.
struct Sound {
    disk: CrashDisk,
    all: BTreeSet<Written>,
}

static SOUND: LazyLock<[Sound; 2]> = LazyLock::new(|| [Sound::new(true), Sound::new(false)]);

/// Changes a sound log: in one place, of which nothing may go unnoticed, or in many, where
/// everything may be gone, but nothing panics and what is opened once is opened again.
pub fn log(data: &[u8]) {
    let mut draws = Unstructured::new(data);
    let Ok(sound) = draws.arbitrary::<bool>() else {
        return;
    };
    let sound = &SOUND[usize::from(sound)];
    let is_hit_once = draws.arbitrary().unwrap_or(false);
    let _ = match is_hit_once {
        true => one_bit(sound, &mut draws),
        false => anything(sound, &mut draws),
    };
}

fn one_bit(sound: &Sound, draws: &mut Unstructured<'_>) -> Result<()> {
    let name = file(&sound.disk, draws)?;
    let Some(last) = used(&sound.disk, &name).checked_sub(1) else {
        return Ok(());
    };
    let position = draws.int_in_range(0..=last)?;
    let disk = sound.disk.copy();
    disk.flip_bit(&name, position, draws.int_in_range(0..=7)?);
    let checked = check(disk.clone(), &InTurn);
    match open(&disk, Opening::Careful) {
        Err(OpenError::Damaged { damage, .. }) => {
            assert!(damage.iter().all(|found| found.file == name), "{damage:?}");
            accept(&disk, &sound.all);
        }
        Err(OpenError::UnknownVersion { .. }) => {}
        Err(error) => panic!("{name} at {position}: {error}"),
        Ok((store, recovered)) => {
            let (found, damaged) = contents(&store.reader(), &recovered);
            let is_cut = recovered.report.torn.is_some();
            let is_known = checked.is_ok_and(|checked| !checked.damage.is_empty());
            let is_told = !recovered.report.is_clean() || damaged > 0 || is_known;
            assert!(is_told, "{name} at {position}: nobody noticed");
            assert!(
                found.is_subset(&sound.all),
                "{name} at {position}: what was read was never written"
            );
            let lost = sound.all.len() - found.len();
            assert_eq!(lost, damaged + usize::from(is_cut), "{name} at {position}");
        }
    }
    Ok(())
}

fn anything(sound: &Sound, draws: &mut Unstructured<'_>) -> Result<()> {
    let disk = sound.disk.copy();
    for _ in 0..draws.int_in_range(1..=CHANGES_MAX)? {
        change(&disk, draws)?;
    }
    match open(&disk, Opening::Careful) {
        Ok((store, recovered)) => {
            contents(&store.reader(), &recovered);
        }
        Err(OpenError::Damaged { .. }) => {
            let Ok((store, recovered)) = open(&disk, Opening::AcceptDataLoss) else {
                return Ok(());
            };
            let before = contents(&store.reader(), &recovered);
            assert!(!recovered.report.accepted.is_empty(), "accepting says so");
            drop(store);
            let again = open(&disk.kill(), Opening::Careful);
            let (store, again) = again.unwrap_or_else(|error| panic!("accepted in vain: {error}"));
            assert_eq!(again.topics, recovered.topics);
            assert_eq!(contents(&store.reader(), &again), before);
        }
        Err(_) => {}
    }
    Ok(())
}

fn change(disk: &CrashDisk, draws: &mut Unstructured<'_>) -> Result<()> {
    let name = file(disk, draws)?;
    let mut bytes = disk.contents(&name).unwrap_or_default();
    let at = draws.int_in_range(0..=bytes.len())?;
    match draws.int_in_range(0..=7_u8)? {
        0 => bytes.truncate(at),
        1 => {
            disk.remove(&name).expect("it was listed");
            return Ok(());
        }
        2 => {
            let other = disk.contents(&file(disk, draws)?);
            bytes = other.unwrap_or_default();
        }
        3 => {
            let end = (at + usize::from(draws.arbitrary::<u8>()?)).min(bytes.len());
            bytes[at..end].fill(draws.arbitrary()?);
        }
        4 => bytes.extend_from_slice(draws.arbitrary::<&[u8]>()?),
        _ => {
            let new: &[u8] = draws.arbitrary()?;
            let end = (at + new.len()).min(bytes.len());
            bytes[at..end].copy_from_slice(&new[..end - at]);
        }
    }
    disk.put(&name, bytes);
    Ok(())
}

/// Accepting the damage of one bit costs one frame at most, says so, and has to be done once.
fn accept(disk: &CrashDisk, all: &BTreeSet<Written>) {
    let (store, recovered) = match open(disk, Opening::AcceptDataLoss) {
        Ok(opened) => opened,
        Err(error) => panic!("damage cannot be accepted: {error}"),
    };
    let (found, damaged) = contents(&store.reader(), &recovered);
    let report = &recovered.report;
    assert!(!report.accepted.is_empty() && damaged == 0, "{report}");
    assert!(found.is_subset(all), "what was read was never written");
    let lost: Vec<&Written> = all.difference(&found).collect();
    assert!(lost.len() <= 1, "{lost:?} are lost");
    for (topic, offset, _) in lost {
        let is_named = report.lost.iter().any(|lost| {
            lost.topic.as_str() == topic && (lost.first.0..=lost.last.0).contains(offset)
        });
        let is_renewed = report.new_epochs.iter().any(|name| name.as_str() == topic);
        assert!(
            is_named || is_renewed,
            "{topic} {offset} is lost in silence: {report}"
        );
    }
    drop(store);
    let again = open(&disk.kill(), Opening::Careful).map(|(_, again)| again.topics);
    assert_eq!(again.ok(), Some(recovered.topics), "accepted in vain");
}

/// What can be read, and how many messages cannot.
fn contents(
    reader: &SegmentReader<CrashDisk>,
    recovered: &Recovered,
) -> (BTreeSet<Written>, usize) {
    let (mut found, mut damaged) = (BTreeSet::new(), 0);
    for topic in &recovered.topics {
        for (first, places) in topic.stretches() {
            for (offset, place) in (first.0..).zip(places) {
                let (offset, mut entries) = (Offset(offset), Vec::new());
                let read = reader.read(&topic.name, topic.origin, offset, &[place], &mut entries);
                match (read, entries.as_slice()) {
                    (Ok(()), [entry]) => {
                        let payload = entry.payload().as_bytes().to_vec();
                        found.insert((topic.name.to_string(), offset.0, payload));
                    }
                    (Err(ReadError::Damaged(_)), _) => damaged += 1,
                    other => panic!("{} {offset}: {other:?}", topic.name),
                }
            }
        }
    }
    (found, damaged)
}

fn config() -> StoreConfig {
    StoreConfig {
        segment_bytes: StoreConfig::SEGMENT_BYTES_MIN,
        batch_bytes_max: 512,
        ..StoreConfig::default()
    }
}

fn open(
    disk: &CrashDisk,
    opening: Opening,
) -> std::result::Result<(Store<CrashDisk>, Recovered), OpenError> {
    let fresh = Fresh {
        store: 0xFEED_0001,
        log: LogId::from_random(7),
        key: ProducerKey::new(7),
        epochs: 99,
    };
    Store::open(disk.clone(), config(), fresh, opening, &InTurn)
}

/// One of the files that hold something.
fn file(disk: &CrashDisk, draws: &mut Unstructured<'_>) -> Result<String> {
    let mut names = disk.list().expect("a folder in memory is listed");
    names.retain(|name| name != "lock");
    names.sort();
    match names.is_empty() {
        true => Err(arbitrary::Error::NotEnoughData),
        false => draws.choose(&names).cloned(),
    }
}

/// Where the part of a file ends that was written: the rest of a segment is zeros.
fn used(disk: &CrashDisk, name: &str) -> u64 {
    let bytes = disk.contents(name).unwrap_or_default();
    let last = bytes.iter().rposition(|byte| *byte != 0);
    last.map_or(0, |last| last as u64 + 1)
}

impl Sound {
    /// Three topics and a dozen messages, over several segments.
    fn new(is_closed: bool) -> Self {
        let disk = CrashDisk::new();
        let (mut store, _) = open(&disk, Opening::Careful).expect("an empty folder is opened");
        let key = ProducerKey::new(7);
        let mut log = Log::new(LogId::from_random(7), &key, LogConfig::default());
        let mut all = BTreeSet::new();
        for round in 0..12_u64 {
            let topic = ["a", "b", "c"][round as usize % 3];
            let payload = format!("{round} {}", "x".repeat(100));
            let record = record(&mut log, topic, &payload, round);
            let Record::Message { offset, .. } = &record else {
                unreachable!("it is a message");
            };
            all.insert((topic.to_owned(), offset.0, payload.into_bytes()));
            commit(&mut store, record);
        }
        match is_closed {
            true => store.close().expect("a disk in memory is synced"),
            false => drop(store),
        }
        Self {
            disk: disk.kill(),
            all,
        }
    }
}

fn record(log: &mut Log, topic: &str, payload: &str, round: u64) -> Record {
    let now = Now {
        time: Time::from_millis(1_000 + 3 * round),
        wall: WallTime::from_unix_millis(1_790_000_000_000 + round),
        random: topic.len() as u64 + u64::from(topic.as_bytes()[0]),
    };
    let append = Append {
        topic: TopicRef::parse(topic).expect("it is the name of a topic"),
        payload: Message::Text(payload),
        from: None,
        producer: None,
    };
    let Ok(Appended::Pending(place)) = log.append(append, now) else {
        unreachable!("there is room, and nothing repeats");
    };
    log.commit(place.lsn, &[], &mut Committed::default());
    let mut entry = None;
    let before = Offset(place.offset.0 - 1);
    let _ = log.read(place.topic, before, |_, read| {
        entry = read.cloned();
        true
    });
    let client = format!("client-{:012}", round % 2).parse();
    let producer = ProducerKey::new(7).producer(None, &client.expect("it is a client id"));
    Record::Message {
        topic: topic.parse().expect("it is the name of a topic"),
        origin: place.epoch,
        offset: place.offset,
        entry: entry.expect("it was committed"),
        producer: Some((producer, Seq(round / 2 + 1))),
    }
}

/// Writes one message and makes it durable, with whatever jobs that takes.
fn commit(store: &mut Store<CrashDisk>, record: Record) {
    let batch = Batch {
        records: vec![record],
        ..Batch::default()
    };
    let mut written = store.write(&batch, &mut Vec::new());
    if matches!(written, Err(WriteError::NoRoom { .. })) {
        run_jobs(store);
        written = store.write(&batch, &mut Vec::new());
    }
    written.expect("there is room");
    store.sync().expect("a disk in memory is synced");
    run_jobs(store);
}

fn run_jobs(store: &mut Store<CrashDisk>) {
    for _ in 0..4 {
        for job in store.take_jobs() {
            store.done(job.run()).expect("nothing fails here");
        }
    }
}
