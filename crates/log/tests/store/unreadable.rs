//! The device does not give some bytes back: as if they were damaged, and no more than that
//! `[DISK-14]`.

use std::time::Duration;

use heartwire_disk::{CrashDisk, Disk, DiskFile as _, InTurn};
use heartwire_log::store::{
    Damage, DiskPlace, OpenError, Opening, ReadError, Recovered, SegmentReader, Store, StoreConfig,
    check,
};
use heartwire_log::{Load, Log, LogConfig};
use heartwire_proto::Offset;
use heartwire_proto::id::TopicRef;

use super::support::*;

const BLOCK_BYTES: u64 = CrashDisk::BLOCK_BYTES;
const PER_FRAME: usize = 3;
/// A frame of that many messages is shorter than a block, so that a block touches two at the most, and
/// the one between.
const HIT_MAX: usize = 3 * PER_FRAME;

fn open_with(disk: &CrashDisk, opening: Opening, verified_bytes_max: u64) -> Opened<CrashDisk> {
    let config = StoreConfig {
        segment_bytes: 64 * 1024,
        batch_bytes_max: 8 * 1024,
        verified_bytes_max,
        ..StoreConfig::default()
    };
    Store::open(disk.clone(), config, fresh(), opening, &InTurn)
}

/// Several segments of frames of three messages of three topics.
fn a_long_log(is_closed: bool) -> (CrashDisk, Vec<Written>) {
    let disk = CrashDisk::new();
    let (mut store, _) = open_with(&disk, Opening::Careful, 0).unwrap();
    let (mut maker, mut all) = (Maker::new(), Vec::new());
    for round in 0..60 {
        let payload = format!("{round} {}", "u".repeat(1_000));
        let make = |topic| maker.message(topic, &payload, None);
        let records: [_; PER_FRAME] = ["a", "b", "c"].map(make);
        all.extend(records.iter().filter_map(written));
        commit(&mut store, &records).unwrap();
        run_jobs(&mut store);
    }
    all.sort();
    match is_closed {
        true => store.close().unwrap(),
        false => drop(store),
    }
    let disk = disk.kill();
    assert!(named(&disk, ".seg").len() >= 3);
    (disk, all)
}

/// Every block of every file, each in a log of its own in which it cannot be read.
fn each_block_worn_out(disk: &CrashDisk, mut look: impl FnMut(&CrashDisk, &str, u64)) {
    for name in disk.list().unwrap() {
        let length = disk.contents(&name).unwrap().len() as u64;
        for start in (0..length).step_by(BLOCK_BYTES as usize) {
            let disk = disk.copy();
            disk.wear_out(&name, start + (length - start).min(BLOCK_BYTES) / 2);
            look(&disk, &name, start);
        }
    }
}

/// Reads everything, message by message where that does not do; returns what is there, and how many
/// cannot be read.
fn readable(reader: &SegmentReader<CrashDisk>, recovered: &Recovered) -> (Vec<Written>, usize) {
    let (mut found, mut unreadable) = (Vec::new(), 0);
    for topic in &recovered.topics {
        let (name, origin) = (&topic.name, topic.origin);
        for (first, places) in topic.stretches() {
            let (mut next, mut rest) = (first.0, &places[..]);
            while !rest.is_empty() {
                let mut entries = Vec::new();
                let outcome = reader.read(name, origin, Offset(next), rest, &mut entries);
                let read = (next..).map(Offset).zip(&entries);
                found.extend(read.map(|(at, entry)| of_entry(name, at, entry)));
                let passed = match outcome {
                    Ok(()) => entries.len(),
                    Err(ReadError::Unreadable(_)) => entries.len() + 1,
                    Err(error) => panic!("{error}"),
                };
                unreadable += passed - entries.len();
                (next, rest) = (next + passed as u64, &rest[passed..]);
            }
        }
    }
    found.sort();
    (found, unreadable)
}

/// Accepting costs the frames of the block at the most, says so, and has to be done once.
fn accept(disk: &CrashDisk, all: &[Written], context: &str) {
    let (store, recovered) = open_with(disk, Opening::AcceptDataLoss, 0).unwrap();
    let found = contents(&store.reader(), &recovered);
    let lost = explained(all, &found, &recovered.report, context);
    assert!(lost <= HIT_MAX, "{context}: {lost} are lost");
    drop(store);
    let again = open_with(&disk.kill(), Opening::Careful, u64::MAX);
    let (store, again) = again.unwrap_or_else(|error| panic!("{context}: {error}"));
    assert_eq!(contents(&store.reader(), &again), found, "{context}");
}

#[test]
fn what_a_start_meets_is_told_by_file_and_position_and_can_be_accepted() {
    for is_closed in [true, false] {
        let (disk, all) = a_long_log(is_closed);
        let mut refused = 0;
        each_block_worn_out(&disk, |disk, name, start| {
            let context = format!("{name} at {start}, closed: {is_closed}");
            let checked = check(disk.clone(), &InTurn).unwrap();
            let told = checked.damage.iter().chain(&checked.rebuilt);
            let mut told = told.chain(&checked.spare);
            let is_told = told.any(|damage| damage.file == name);
            assert!(is_told || name == "lock", "{context}: untold");
            match open_with(disk, Opening::Careful, u64::MAX) {
                Ok((store, recovered)) => {
                    assert!(!name.ends_with(".seg"), "{context}: nobody noticed");
                    assert_eq!(contents(&store.reader(), &recovered), all, "{context}");
                }
                Err(OpenError::Damaged { damage, .. }) => {
                    let end = start + BLOCK_BYTES;
                    let is_hit = |found: &Damage| {
                        found.position < end && start < found.position + found.bytes
                    };
                    assert!(damage.iter().any(is_hit), "{context}: {damage:?}");
                    accept(disk, &all, &context);
                    refused += 1;
                }
                Err(error) => panic!("{context}: {error}"),
            }
        });
        assert!(refused > 40, "{refused}");
    }
}

/// How many messages a block holds any part of.
fn in_block(recovered: &Recovered, name: &str, start: u64) -> usize {
    let places = recovered
        .topics
        .iter()
        .flat_map(|topic| topic.places.to_vec());
    let is_hit = |place: &DiskPlace| {
        let end = u64::from(place.position + place.bytes);
        let is_within = u64::from(place.position) < start + BLOCK_BYTES && start < end;
        is_within && segment(place.segment.0) == name
    };
    places.filter(is_hit).count()
}

#[test]
fn only_the_messages_of_the_block_are_not_read_back() {
    let (disk, all) = a_long_log(true);
    let mut unreadable = 0;
    each_block_worn_out(&disk, |disk, name, start| {
        let opened = open_with(disk, Opening::Careful, 0);
        let (store, recovered) = opened.unwrap_or_else(|error| panic!("{name}: {error}"));
        let (found, missed) = readable(&store.reader(), &recovered);
        assert_eq!(
            missed,
            in_block(&recovered, name, start),
            "{name} at {start}"
        );
        assert_eq!(found.len() + missed, all.len(), "{name} at {start}");
        unreadable += missed;
    });
    assert!(unreadable > 40, "{unreadable}");
}

/// A dozen segments of what retention lets go at once, but for a message of a topic of its own each.
fn a_sparse_log() -> (Store<CrashDisk>, Log, CrashDisk) {
    let disk = CrashDisk::new();
    let (mut store, _) = open_with(&disk, Opening::Careful, 0).unwrap();
    let mut maker = Maker::new();
    for round in 0..200 {
        let payload = format!("{round} {}", "u".repeat(1_000));
        let kept = format!("kept:{}", round / 15);
        let topics = ["a", "b", "c", &kept];
        let make = |topic: &&str| maker.message(topic, &payload, None);
        let records = match round % 15 {
            0 => topics.iter().map(make).collect(),
            _ => topics[..3].iter().map(make).collect::<Vec<_>>(),
        };
        commit(&mut store, &records).unwrap();
        run_jobs(&mut store);
    }
    store.close().unwrap();
    let disk = disk.kill();
    let (store, recovered) = open_with(&disk, Opening::Careful, 0).unwrap();
    let mut config = LogConfig::default();
    config.policy.retention.count_max = 1;
    let (mut log, _) = Log::recover(config, recovered);
    log.set_room(1 << 20, false);
    (store, log, disk)
}

#[test]
fn a_follower_is_told_of_a_gap_and_a_segment_is_not_given_up() {
    let (store, mut log, disk) = a_sparse_log();
    let reader = store.reader();
    let topic = log.find(TopicRef::parse("kept:0").unwrap()).unwrap();
    let mut loads = Vec::new();
    log.sweep(64 * 1024, 1_000, &mut loads);
    let moved = loads.iter().find(|load| load.topic == topic).unwrap();
    let place = moved.places[0];
    let middle = u64::from(place.position + place.bytes / 2);
    disk.wear_out(&segment(place.segment.0), middle);
    let mut errors = Vec::new();
    let mut read = |load: &Load| {
        let messages = load.read(&reader, |_, error| errors.push(error));
        log.loaded(load, messages);
    };
    read(moved);
    assert!(!log.has_batch(), "nothing is written of what may be there");

    let seen = |log: &mut Log| {
        let mut seen = Vec::new();
        let outcome = log.read(topic, Offset(0), |offset, entry| {
            seen.push((offset, entry.is_some()));
            true
        });
        (seen, outcome.unwrap().is_cold)
    };
    assert_eq!(seen(&mut log), (Vec::new(), true));
    let (mut loads, mut warm) = (Vec::new(), Vec::new());
    log.take_loads(&mut loads, &mut warm);
    let messages = loads[0].read(&reader, |_, error| errors.push(error));
    log.loaded(&loads[0], messages);
    assert_eq!(seen(&mut log), (vec![(Offset(1), false)], false));
    // The device has found it after all; what it said before is not held for ever.
    let file = disk.open(&segment(place.segment.0)).unwrap();
    let bytes = disk.contents(&segment(place.segment.0)).unwrap();
    let block = middle / BLOCK_BYTES * BLOCK_BYTES;
    let again = &bytes[block as usize..][..BLOCK_BYTES as usize];
    file.write_at(again, block).unwrap();
    let now = log.clock() + Duration::from_secs(60);
    log.expire(now, 100, |_| true);
    assert_eq!(seen(&mut log), (Vec::new(), true));
    let mut loads = Vec::new();
    log.take_loads(&mut loads, &mut warm);
    let messages = loads[0].read(&reader, |_, error| errors.push(error));
    log.loaded(&loads[0], messages);
    assert_eq!(seen(&mut log), (vec![(Offset(1), true)], false));
    assert_eq!(errors.len(), 2);
    let is_unreadable = |error: &ReadError| matches!(error, ReadError::Unreadable(_));
    assert!(errors.iter().all(is_unreadable), "{errors:?}");
}

/// The first two segments go, and the file of the second is kept for the next.
fn only_the_second_is_spared(store: &mut Store<CrashDisk>, disk: &CrashDisk) {
    for (number, spares) in [(1, 0), (2, 1)] {
        store.remove(&[id(number)]);
        run_jobs(store);
        assert!(!named(disk, ".seg").contains(&segment(number)));
        assert_eq!(named(disk, ".tmp").len(), spares, "segment {number}");
    }
}

#[test]
fn the_file_of_a_segment_that_cannot_be_read_is_not_used_again() {
    let (disk, _) = a_long_log(true);
    let (mut store, recovered) = open_with(&disk, Opening::Careful, 0).unwrap();
    let topic = &recovered.topics[0];
    let places = topic.places.to_vec();
    let place = places[0];
    let middle = u64::from(place.position + place.bytes / 2);
    disk.wear_out(&segment(place.segment.0), middle);
    let mut entries = Vec::new();
    let reader = store.reader();
    let read = reader.read(
        &topic.name,
        topic.origin,
        Offset(1),
        &places[..1],
        &mut entries,
    );
    assert!(matches!(read, Err(ReadError::Unreadable(_))));
    only_the_second_is_spared(&mut store, &disk);
}

#[test]
fn nor_is_that_of_one_in_which_damage_was_accepted() {
    for is_reopened in [false, true] {
        let (mut disk, _) = a_long_log(true);
        disk.wear_out(&segment(1), 5_000);
        let (mut store, _) = open_with(&disk, Opening::AcceptDataLoss, 0).unwrap();
        if is_reopened {
            drop(store);
            disk = disk.kill();
            (store, _) = open_with(&disk, Opening::Careful, 0).unwrap();
        }
        run_jobs(&mut store);
        only_the_second_is_spared(&mut store, &disk);
    }
}

/// Where nobody has met such blocks before the file is used again, each is written to as a whole, so that
/// the device puts another in its place. The last segment of a closed log was cut off behind its last frame.
#[test]
fn blocks_of_a_file_that_is_used_again_are_written_to_as_a_whole() {
    for is_cut in [false, true] {
        let (disk, _) = a_long_log(true);
        let (mut store, recovered) = open_with(&disk, Opening::Careful, 0).unwrap();
        let last = recovered.segments.last().unwrap().id;
        run_jobs(&mut store);
        store.remove(&[if is_cut { last } else { id(1) }]);
        run_jobs(&mut store);
        let spare = &named(&disk, ".tmp")[0];
        let length = disk.contents(spare).unwrap().len() as u64;
        assert_eq!(!length.is_multiple_of(BLOCK_BYTES), is_cut);
        for start in (0..length).step_by(BLOCK_BYTES as usize) {
            disk.wear_out(spare, start);
        }
        let (mut maker, mut all) = (Maker::after(&recovered), Vec::new());
        for round in 0..100 {
            let payload = "u".repeat(round * 37 % 2_000);
            let record = maker.message("a", &payload, None);
            all.extend(written(&record));
            commit(&mut store, &[record]).unwrap();
            run_jobs(&mut store);
        }
        let is_reused = |name: &String| disk.contents(name).unwrap().starts_with(b"HwLogReu");
        assert!(named(&disk, ".seg").iter().any(is_reused), "cut: {is_cut}");
        drop(store);
        let (store, recovered) = open_with(&disk.kill(), Opening::Careful, u64::MAX).unwrap();
        assert!(recovered.report.is_clean(), "{}", recovered.report);
        let found = contents(&store.reader(), &recovered);
        assert!(all.iter().all(|message| found.contains(message)));
    }
}
