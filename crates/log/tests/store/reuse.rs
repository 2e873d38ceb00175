//! The file of a removed segment becomes that of a new one: what it still holds counts for nothing,
//! whatever happens when `[DISK-5]` `[DISK-11]` `[DISK-13]` `[DISK-14]`.

use std::collections::{BTreeMap, BTreeSet};

use heartwire_disk::{CrashDisk, Dice, Disk as _, DiskFile as _, InTurn};
use heartwire_log::store::{
    OpenError, Opening, ReadError, Record, Recovered, SegmentId, SegmentReader, Store, StoreConfig,
    check,
};
use heartwire_proto::{Offset, Seq};

use super::support::*;

const REUSED: &[u8] = b"HwLogReu";
/// The length of a frame's header, in bytes, and of the zeros behind a frame.
const HEADER_BYTES: usize = 24;

/// What was asked for, and what was promised.
#[derive(Default)]
struct Promises {
    asked: BTreeSet<Written>,
    /// In which segment each message stands.
    durable: BTreeMap<Written, SegmentId>,
    removed: BTreeSet<SegmentId>,
    numbers: u64,
}

impl Promises {
    /// Takes in what a recovery showed: it may not be un-written.
    fn see(&mut self, reader: &SegmentReader<CrashDisk>, recovered: &Recovered) {
        let mut segments = BTreeMap::new();
        for topic in &recovered.topics {
            for (first, places) in topic.stretches() {
                let ids = places.iter().map(|place| place.segment);
                let keys = (first.0..).map(|offset| (topic.name.to_string(), offset));
                segments.extend(keys.zip(ids));
            }
        }
        for seen in contents(reader, recovered) {
            let segment = segments[&(seen.topic.clone(), seen.offset)];
            self.asked.insert(seen.clone());
            self.durable.insert(seen, segment);
        }
    }

    fn check(&self, reader: &SegmentReader<CrashDisk>, recovered: &Recovered, context: &str) {
        let found: BTreeSet<Written> = contents(reader, recovered).into_iter().collect();
        let is_removed = |id: &SegmentId| self.removed.contains(id);
        let mut durable = self.durable.iter();
        let lost = durable.find(|(written, id)| !found.contains(written) && !is_removed(id));
        assert_eq!(lost, None, "{context}: acknowledged and lost");
        let invented: Vec<_> = found.difference(&self.asked).collect();
        assert!(
            invented.is_empty(),
            "{context}: never written: {invented:?}"
        );
        let ends = ends(recovered);
        for Written { topic, offset, .. } in self.durable.keys() {
            assert!(ends[topic] >= *offset, "{context}: {topic} {offset}");
        }
        let number = recovered.producers.first().map_or(0, |(_, seq, _)| seq.0);
        assert!(number >= self.numbers, "{context}: a number is forgotten");
        let report = &recovered.report;
        assert!(
            report.rebuilt.is_empty() && report.accepted.is_empty(),
            "{context}: {report}"
        );
    }
}

/// Writes messages until the disk stops, or all are written, and lets go all segments but the newest
/// two. Frames of former lives begin where later ones begin, or in the middle of them. Returns how
/// many segments were made of others. Every other life reads all of the log when it opens it.
fn run(disk: &CrashDisk, life: u64, rounds: u64, promises: &mut Promises) -> u64 {
    let Ok((mut store, recovered)) = open_with(disk, by_turns(life)) else {
        return 0;
    };
    promises.see(&store.reader(), &recovered);
    let mut maker = Maker::after(&recovered);
    let first = recovered.producers.first().map_or(0, |(_, seq, _)| seq.0);
    for round in 0..rounds {
        let records: Vec<Record> = (0..=round % 3)
            .map(|n| {
                let topic = ["a", "b"][(n % 2) as usize];
                let payload = format!("{round}.{n} {}", "y".repeat(60 + round as usize / 6));
                maker.message(topic, &payload, Some((producer(0), Seq(first + round + 1))))
            })
            .collect();
        promises.asked.extend(records.iter().filter_map(written));
        let Ok(places) = commit(&mut store, &records) else {
            break;
        };
        let segments = places.iter().map(|place| place.segment);
        promises
            .durable
            .extend(records.iter().filter_map(written).zip(segments));
        promises.numbers = first + round + 1;
        let newest = places[0].segment.0;
        let old: Vec<SegmentId> = (1..newest.saturating_sub(1)).map(SegmentId).collect();
        promises.removed.extend(&old);
        store.remove(&old);
        run_jobs(&mut store);
    }
    store.segments_reused()
}

/// How many segments have the file of another; and how many of those an index.
fn count_reused(disk: &CrashDisk) -> (usize, usize) {
    let mut names = named(disk, ".seg");
    names.retain(|name| disk.contents(name).unwrap().starts_with(REUSED));
    let has_index = |name: &&String| disk.contents(&name.replace(".seg", ".idx")).is_some();
    (names.len(), names.iter().filter(has_index).count())
}

#[test]
fn the_file_of_a_removed_segment_is_the_next_one_and_there_is_one_spare() {
    let disk = CrashDisk::new();
    let (mut store, _) = open(&disk).unwrap();
    let mut maker = Maker::new();
    let mut newest = 1;
    while newest < 9 {
        let record = maker.message("a", &"f".repeat(90), None);
        newest = commit(&mut store, &[record]).unwrap()[0].segment.0;
        run_jobs(&mut store);
    }
    let before = disk.calls().writes;
    store.remove(&[id(1), id(2), id(3)]);
    run_jobs(&mut store);
    let written = disk.calls().writes - before;
    assert_eq!(written, 1, "the checkpoint");
    assert_eq!(named(&disk, ".tmp"), ["spare.tmp"]);
    assert_eq!(store.segments_reused(), 0);
    while store.segments_reused() == 0 {
        commit(&mut store, &[maker.message("a", &"f".repeat(90), None)]).unwrap();
        run_jobs(&mut store);
    }
    let name = named(&disk, ".seg").pop().unwrap();
    let reused = disk.contents(&name).unwrap();
    assert!(reused.starts_with(REUSED) && reused.len() == config().segment_bytes as usize);
    assert!(named(&disk, ".tmp").is_empty());
    store.remove(&[id(4)]);
    run_jobs(&mut store);
    assert_eq!(named(&disk, ".tmp"), ["spare.tmp"]);
    let left = disk.copy();
    store.close().unwrap();
    assert!(named(&disk, ".tmp").is_empty(), "a clean stop leaves none");
    open(&left).unwrap();
    assert!(named(&left, ".tmp").is_empty(), "nor does a start");
}

#[test]
fn a_crash_between_any_two_calls_brings_nothing_of_a_former_life_back() {
    const ROUNDS: u64 = 18;
    let whole = CrashDisk::new();
    let reused = run(&whole, 0, ROUNDS, &mut Promises::default());
    assert!(reused >= 3, "{reused} files were used again");
    let (mut torn, mut stale, mut indexed) = (0, 0, 0);
    for stop in 0..whole.calls().changes() {
        for seed in 0..4 {
            let disk = CrashDisk::new();
            disk.set_faults(|faults| faults.changes_before_stop = Some(stop));
            let mut promises = Promises::default();
            run(&disk, 0, ROUNDS, &mut promises);
            let context = format!("stop {stop}, seed {seed}");
            let disk = disk.crash(seed);
            let (reused, with_index) = count_reused(&disk);
            stale += u32::from(reused > 0);
            indexed += u32::from(with_index > 0);
            let opened = open_both_ways(&disk);
            let (store, recovered) = opened.unwrap_or_else(|error| panic!("{context}: {error}"));
            torn += u32::from(recovered.report.torn.is_some());
            promises.check(&store.reader(), &recovered, &context);
        }
    }
    assert!(torn > 20 && stale > 200, "{torn} torn, {stale} stale");
    assert!(indexed > 30, "{indexed} with an index");
}

#[test]
fn life_after_life_the_same_files_hold_what_was_acknowledged_last() {
    let mut reused = 0;
    for seed in 0..120 {
        let mut dice = Dice::new(seed);
        let mut disk = CrashDisk::new();
        let mut promises = Promises::default();
        for life in 0..4 {
            let stop = disk.calls().changes() + 40 + dice.below(160);
            disk.set_faults(|faults| faults.changes_before_stop = Some(stop));
            reused += run(&disk, life, 20, &mut promises);
            let context = format!("seed {seed}, life {life}");
            let survivor = match dice.one_in(3) {
                true => disk.kill(),
                false => disk.crash(dice.roll()),
            };
            let opened = open_both_ways(&survivor);
            let (store, recovered) = opened.unwrap_or_else(|error| panic!("{context}: {error}"));
            promises.check(&store.reader(), &recovered, &context);
            drop(store);
            disk = survivor.kill();
        }
    }
    assert!(reused > 100, "{reused} files were used again");
}

#[test]
fn the_failure_of_any_call_costs_nothing_when_files_are_used_again() {
    let whole = CrashDisk::new();
    run(&whole, 0, 14, &mut Promises::default());
    for failing in 0..whole.calls().total() {
        let disk = CrashDisk::new();
        disk.set_faults(|faults| faults.calls_before_failure = Some(failing));
        let mut promises = Promises::default();
        run(&disk, 0, 14, &mut promises);
        for is_killed in [true, false] {
            let disk = match is_killed {
                true => disk.copy(),
                false => disk.crash(failing),
            };
            let context = format!("call {failing} fails, killed: {is_killed}");
            let opened = open_both_ways(&disk);
            let (store, recovered) = opened.unwrap_or_else(|error| panic!("{context}: {error}"));
            promises.check(&store.reader(), &recovered, &context);
        }
    }
}

/// A log whose newest segment has three frames in the file of another, left as it was; the name of
/// that segment, where its frames begin, and where the last one ends.
struct Reused {
    disk: CrashDisk,
    all: Vec<Written>,
    name: String,
    frames: Vec<usize>,
    end: usize,
}

fn reused() -> Reused {
    let disk = CrashDisk::new();
    let (mut store, _) = open(&disk).unwrap();
    let mut maker = Maker::new();
    let (mut frames, mut all, mut end) = (Vec::new(), Vec::new(), 0);
    let mut segment_id = id(0);
    while frames.len() < 3 {
        let record = maker.message("a", &"r".repeat(90), Some((producer(0), Seq(1))));
        let place = commit(&mut store, std::slice::from_ref(&record)).unwrap()[0];
        if segment_id != place.segment {
            segment_id = place.segment;
            frames.clear();
        }
        let is_reused = disk
            .contents(&segment(place.segment.0))
            .unwrap()
            .starts_with(REUSED);
        if is_reused {
            frames.push(place.position as usize - HEADER_BYTES);
            end = (place.position + place.bytes) as usize;
        }
        all.extend(written(&record).map(|written| (written, place.segment)));
        let old: Vec<SegmentId> = (1..place.segment.0.saturating_sub(1))
            .map(SegmentId)
            .collect();
        store.remove(&old);
        run_jobs(&mut store);
    }
    drop(store);
    let name = segment(segment_id.0);
    let bytes = disk.contents(&name).unwrap();
    assert!(bytes[end..end + HEADER_BYTES].iter().all(|byte| *byte == 0));
    assert!(bytes[end + HEADER_BYTES..].iter().any(|byte| *byte != 0));
    all.retain(|(_, id)| disk.contents(&segment(id.0)).is_some());
    let all = all.into_iter().map(|(written, _)| written).collect();
    Reused {
        disk: disk.kill(),
        all,
        name,
        frames,
        end,
    }
}

#[test]
fn stale_bytes_are_neither_data_nor_damage() {
    let log = reused();
    assert!(check(log.disk.copy(), &InTurn).unwrap().damage.is_empty());
    let (store, recovered) = open_both_ways(&log.disk).unwrap();
    assert!(recovered.report.is_clean(), "{}", recovered.report);
    assert_eq!(contents(&store.reader(), &recovered), log.all);
    let length = log.disk.contents(&log.name).unwrap().len();
    assert_eq!(length, log.end, "they are cut off");
}

#[test]
fn one_flipped_bit_in_a_reused_segment_is_noticed_unless_it_is_stale() {
    let log = reused();
    let length = config().segment_bytes as usize;
    let (mut refused, mut cut) = (0, 0);
    for position in (64..length).step_by(3) {
        let disk = log.disk.copy();
        disk.flip_bit(&log.name, position as u64, (position % 8) as u8);
        let context = format!("byte {position}");
        match open(&disk) {
            Ok((store, recovered)) => {
                let found = contents(&store.reader(), &recovered);
                let is_cut = recovered.report.torn.is_some();
                assert_eq!(
                    is_cut,
                    (log.frames[2]..log.end + HEADER_BYTES).contains(&position),
                    "{context}"
                );
                let lost = log.all.len() - found.len();
                assert_eq!(lost, usize::from(is_cut && position < log.end), "{context}");
                cut += usize::from(is_cut);
            }
            Err(OpenError::Damaged { damage, .. }) => {
                let hit = &damage[0];
                let is_hit = (hit.position..hit.position + hit.bytes).contains(&(position as u64));
                assert!(is_hit && position < log.frames[2], "{context}: {damage:?}");
                let (store, recovered) = open_as(&disk, Opening::AcceptDataLoss).unwrap();
                let found = contents(&store.reader(), &recovered);
                assert!(log.all.len() - found.len() <= 1, "{context}");
                drop(store);
                let again = open_both_ways(&disk.kill());
                again.unwrap_or_else(|error| panic!("{context}: {error}"));
                refused += 1;
            }
            Err(error) => panic!("{context}: {error}"),
        }
    }
    assert!(refused > 50 && cut > 20, "{refused} refused, {cut} cut");
}

#[test]
fn a_header_that_is_hit_is_damage_and_its_frames_are_kept() {
    let log = reused();
    for position in 0..64 {
        let disk = log.disk.copy();
        disk.flip_bit(&log.name, position, 5);
        let Err(OpenError::Damaged { damage, .. }) = open(&disk) else {
            panic!("byte {position} went unnoticed");
        };
        assert_eq!((damage.len(), damage[0].position), (1, 0), "{damage:?}");
        let (store, recovered) = open_as(&disk, Opening::AcceptDataLoss).unwrap();
        assert_eq!(contents(&store.reader(), &recovered), log.all);
        drop(store);
        let (_, again) = open_both_ways(&disk.kill()).unwrap();
        assert_eq!(again.topics, recovered.topics);
    }
}

#[test]
fn two_frames_that_are_hit_are_damage_and_no_torn_batch() {
    let log = reused();
    let disk = log.disk.copy();
    disk.flip_bit(&log.name, log.frames[1] as u64 + 60, 1);
    disk.flip_bit(&log.name, log.frames[2] as u64 + 6, 1);
    let Err(OpenError::Damaged { damage, .. }) = open(&disk) else {
        panic!("acknowledged frames were cut off");
    };
    let positions: Vec<u64> = damage.iter().map(|found| found.position).collect();
    assert_eq!(positions, [log.frames[1] as u64, log.frames[2] as u64]);
}

#[test]
fn a_batch_whose_header_never_reached_the_device_is_counted_by_its_records() {
    let log = reused();
    let mut bytes = log.disk.contents(&log.name).unwrap();
    let last = log.frames[2];
    bytes[last..last + HEADER_BYTES].fill(0);
    log.disk.put(&log.name, bytes);
    let (_, recovered) = open(&log.disk).unwrap();
    let cut = recovered.report.torn.unwrap();
    assert_eq!(
        (cut.position, cut.bytes),
        (last as u64, (log.end - last) as u64)
    );
}

#[test]
fn a_segment_without_index_behind_a_newer_one_may_hold_stale_bytes_too() {
    let log = reused();
    let mut bytes = log.disk.contents(&log.name).unwrap();
    let copy = log.disk.copy();
    let (mut store, recovered) = open(&copy).unwrap();
    let mut maker = Maker::after(&recovered);
    let record = maker.message("a", "newer", None);
    let all = log.all.iter().cloned().chain(written(&record));
    let mut all: Vec<Written> = all.collect();
    all.sort();
    commit(&mut store, &[record]).unwrap();
    drop(store);
    // As it was before it was cut: it has no index yet, and is not the last.
    let index = log.name.replace(".seg", ".idx");
    let _ = copy.remove(&index);
    copy.put(&log.name, bytes.clone());
    let (store, recovered) = open_both_ways(&copy.copy()).unwrap();
    assert!(recovered.report.is_clean(), "{}", recovered.report);
    assert_eq!(contents(&store.reader(), &recovered), all);
    // What would be a torn batch in the last segment is damage there.
    bytes[log.frames[2] + 4] ^= 1;
    copy.put(&log.name, bytes);
    assert!(matches!(open(&copy), Err(OpenError::Damaged { .. })));
}

/// A segment without an index of which nothing can be told any more takes what it held, and nothing
/// that stands before it.
#[test]
fn messages_before_a_segment_of_which_nothing_is_left_stay() {
    for is_worn_out in [true, false] {
        let log = reused();
        let (mut store, recovered) = open(&log.disk).unwrap();
        let mut maker = Maker::after(&recovered);
        let newer = maker.message("a", "newer", None);
        commit(&mut store, std::slice::from_ref(&newer)).unwrap();
        drop(store);
        let disk = log.disk.copy();
        disk.remove(&log.name.replace(".seg", ".idx")).unwrap();
        match is_worn_out {
            true => disk.wear_out(&log.name, 100),
            false => {
                let mut bytes = disk.contents(&log.name).unwrap();
                bytes[log.frames[0]..].fill(0xAA);
                // Its length when it was written to: the next start cut off what it did not hold.
                bytes.resize(config().segment_bytes as usize, 0x55);
                disk.put(&log.name, bytes);
            }
        }
        let (store, recovered) = open_as(&disk, Opening::AcceptDataLoss).unwrap();
        let mut expected = log.all[..log.all.len() - log.frames.len()].to_vec();
        expected.extend(written(&newer));
        expected.sort();
        assert_eq!(contents(&store.reader(), &recovered), expected);
        let lost = &recovered.report.lost;
        let last = expected.last().unwrap().offset - 1;
        let first = last + 1 - log.frames.len() as u64;
        assert_eq!((lost[0].first, lost[0].last), (Offset(first), Offset(last)));
        assert_eq!(lost.len(), 1);
        drop(store);
        for verified_bytes_max in [0, u64::MAX] {
            let bounds = StoreConfig {
                verified_bytes_max,
                ..config()
            };
            let (store, again) = open_with(&disk.kill(), bounds).unwrap();
            assert_eq!(contents(&store.reader(), &again), expected);
        }
    }
}

#[test]
fn what_stood_behind_a_header_that_is_lost_is_named_though_a_checkpoint_alone_knows_of_it() {
    let log = reused();
    let (mut store, recovered) = open(&log.disk).unwrap();
    let before = recovered.segments.iter().map(|segment| segment.id);
    let before: Vec<SegmentId> = before.filter(|id| segment(id.0) < log.name).collect();
    let record = Maker::after(&recovered).message("b", "newer", None);
    commit(&mut store, &[record]).unwrap();
    store.remove(&before);
    run_jobs(&mut store);
    drop(store);
    let disk = log.disk.copy();
    disk.remove(&log.name.replace(".seg", ".idx")).unwrap();
    let mut bytes = disk.contents(&log.name).unwrap();
    bytes[log.frames[0]..].fill(0xAA);
    disk.put(&log.name, bytes);
    let (_, recovered) = open_as(&disk, Opening::AcceptDataLoss).unwrap();
    let topic = found(&recovered, "a");
    let last = log.all.last().unwrap().offset;
    let first = last + 1 - log.frames.len() as u64;
    // There was room for more.
    let [gap] = topic.gaps[..] else {
        panic!("{:?}", topic.gaps);
    };
    assert!(gap.0 <= Offset(first) && gap.1 == Offset(last), "{gap:?}");
}

#[test]
fn a_full_disk_goes_on_with_the_file_of_a_removed_segment() {
    let disk = CrashDisk::new();
    let (mut store, _) = open(&disk).unwrap();
    let mut maker = Maker::new();
    let fill = |store: &mut Store<CrashDisk>, maker: &mut Maker| {
        while commit(store, &[maker.message("a", &"f".repeat(90), None)]).is_ok() {}
    };
    for _ in 0..10 {
        commit(&mut store, &[maker.message("a", &"f".repeat(90), None)]).unwrap();
        run_jobs(&mut store);
    }
    let used: usize = disk
        .list()
        .unwrap()
        .iter()
        .map(|name| disk.contents(name).unwrap().len())
        .sum();
    // Enough for indexes and checkpoints, and for no segment.
    disk.set_faults(|faults| faults.capacity_bytes = Some(used as u64 + 900));
    fill(&mut store, &mut maker);
    run_jobs(&mut store);
    assert!(store.failure().is_none() && store.needs_segment());
    store.remove(&[id(1)]);
    run_jobs(&mut store);
    assert!(!store.needs_segment());
    assert_eq!(store.segments_reused(), 1);
    commit(&mut store, &[maker.message("a", "on it goes", None)]).unwrap();
}

#[test]
fn who_reads_a_segment_while_its_file_is_used_again_is_told_that_it_is_gone() {
    let disk = CrashDisk::new();
    let (mut store, _) = open(&disk).unwrap();
    let record = Maker::new().message("a", "read twice", None);
    let (topic, origin) = topic_of(&record);
    let places = commit(&mut store, std::slice::from_ref(&record)).unwrap();
    let reader = store.reader();
    let read = || reader.read(topic, origin, Offset(1), &places, &mut Vec::new());
    read().unwrap();
    let file = disk.open(&segment(1)).unwrap();
    file.write_at(&[0xAA; 200], 64).unwrap();
    assert!(
        matches!(read(), Err(ReadError::Damaged(_))),
        "it has its name"
    );
    disk.rename(&segment(1), "spare.tmp").unwrap();
    disk.set_faults(|faults| faults.calls_before_failure = Some(1));
    assert!(
        matches!(read(), Err(ReadError::File(_))),
        "nobody knows whether it has its name"
    );
    assert!(matches!(read(), Err(ReadError::Gone { .. })));
}
