//! One bit is wrong, or a file is: never silently, and never more is lost than the frame that was hit
//! `[DISK-14]` `[DISK-15]`.

use std::collections::BTreeSet;

use heartwire_disk::{CrashDisk, Disk, InTurn};
use heartwire_log::store::{
    OpenError, Opening, ReadError, Recovered, SegmentReader, StoreConfig, check, dump,
};
use heartwire_proto::Offset;
use heartwire_proto::id::TopicRef;

use super::support::*;

/// Not every byte is tried, to save time, but some of every field: no field's length is a multiple.
const STEP: usize = 5;

/// Reads message by message; returns what is there, and how many records are damaged.
fn readable(reader: &SegmentReader<CrashDisk>, recovered: &Recovered) -> (Vec<Written>, usize) {
    let (mut found, mut damaged) = (Vec::new(), 0);
    for topic in &recovered.topics {
        let is_gap = |offset: &u64| {
            let inside = |gap: &(Offset, Offset)| (gap.0.0..=gap.1.0).contains(offset);
            topic.gaps.iter().any(inside)
        };
        let offsets = (topic.base.0 + 1..=topic.end.0).filter(|offset| !is_gap(offset));
        for (offset, place) in offsets.map(Offset).zip(topic.places.iter()) {
            let mut entries = Vec::new();
            match reader.read(&topic.name, topic.origin, offset, &[place], &mut entries) {
                Ok(()) => found.push(of_entry(&topic.name, offset, &entries[0])),
                Err(ReadError::Damaged(_)) => damaged += 1,
                Err(error) => panic!("{error}"),
            }
        }
    }
    found.sort();
    (found, damaged)
}

/// Where the frames of a segment end: what lies behind is unused.
fn used(disk: &CrashDisk, name: &str) -> u64 {
    let bytes = disk.contents(name).unwrap();
    bytes
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last as u64 + 1)
}

/// One bit of one file is flipped. Returns whether a server of that configuration would have refused to
/// start.
fn flip(disk: &CrashDisk, config: StoreConfig, all: &[Written], name: &str, position: u64) -> bool {
    let context = format!("{name} at {position}");
    let disk = disk.copy();
    disk.flip_bit(name, position, (position % 8) as u8);
    let checked = check(disk.clone(), &InTurn);
    let is_named = |file: &str| file == name || (name == "meta" && file == "meta");
    match open_with(&disk, config) {
        Err(OpenError::Damaged { damage, .. }) => {
            assert!(
                damage.iter().all(|found| is_named(&found.file)),
                "{context}: {damage:?}"
            );
            let hit = damage
                .iter()
                .any(|found| (found.position..found.position + found.bytes).contains(&position));
            assert!(hit, "{context}: {damage:?}");
            accept(&disk, all, &context);
            true
        }
        Err(error) => panic!("{context}: {error}"),
        Ok((store, recovered)) => {
            let (found, damaged) = readable(&store.reader(), &recovered);
            let report = &recovered.report;
            let is_cut = report.torn.is_some();
            let noticed = !report.is_clean() || damaged > 0 || !checked.unwrap().damage.is_empty();
            assert!(noticed, "{context}: nobody noticed");
            assert!(
                damaged + usize::from(is_cut) <= 1,
                "{context}: {damaged} are damaged"
            );
            let there: BTreeSet<_> = found.iter().collect();
            let lost = all
                .iter()
                .filter(|written| !there.contains(written))
                .count();
            assert_eq!(lost, damaged + usize::from(is_cut), "{context}");
            false
        }
    }
}

/// Accepting the damage costs one frame at most, says so, and has to be done once.
fn accept(disk: &CrashDisk, all: &[Written], context: &str) {
    let (store, recovered) = open_as(disk, Opening::AcceptDataLoss).unwrap();
    let found = contents(&store.reader(), &recovered);
    let report = &recovered.report;
    assert!(!report.accepted.is_empty(), "{context}");
    let lost = explained(all, &found, report, context);
    assert!(lost <= 1, "{context}: {lost} are lost");
    for topic in &recovered.topics {
        let is_new = report.new_epochs.contains(&topic.name);
        assert_eq!(
            is_new,
            topic.epoch != topic.origin,
            "{context}: {}",
            topic.name
        );
    }
    drop(store);
    let again = open_both_ways(&disk.kill());
    let (store, again) = again.unwrap_or_else(|error| panic!("{context}: {error}"));
    assert_eq!(contents(&store.reader(), &again), found, "{context}");
    assert_eq!(again.topics, recovered.topics, "{context}");
}

#[test]
fn one_flipped_bit_anywhere_is_noticed_and_costs_one_frame_at_most() {
    for (is_closed, config) in [(true, config()), (true, verifying()), (false, config())] {
        let (disk, all) = a_log(is_closed);
        let mut refused = 0;
        for name in disk.list().unwrap() {
            if name == "lock" {
                continue;
            }
            for position in (0..used(&disk, &name)).step_by(STEP) {
                refused += u32::from(flip(&disk, config.clone(), &all, &name, position));
            }
        }
        let is_believed = is_closed && config.verified_bytes_max == 0;
        assert_eq!(refused == 0, is_believed, "whose indexes are whole");
    }
}

#[test]
fn damage_in_the_newest_segments_is_met_at_a_start_though_they_have_indexes() {
    let (disk, all) = a_log(true);
    let segments = named(&disk, ".seg");
    let open_reading = |disk: &CrashDisk, verified_bytes_max: u64| {
        let config = StoreConfig {
            verified_bytes_max,
            ..config()
        };
        open_with(&disk.kill(), config)
    };
    let length = |name: &String| disk.contents(name).unwrap().len() as u64;
    let newest = length(segments.last().unwrap());
    let whole: u64 = segments.iter().map(length).sum();
    let (store, recovered) = open_reading(&disk.copy(), whole).unwrap();
    assert!(recovered.report.is_clean(), "{}", recovered.report);
    assert_eq!(contents(&store.reader(), &recovered), all);
    drop(store);
    for (at, name) in segments.iter().enumerate() {
        let is_newest = at + 1 == segments.len();
        for (verified, is_met) in [(whole, true), (newest, is_newest), (newest - 1, false)] {
            let disk = disk.copy();
            disk.flip_bit(name, 100, 3);
            match open_reading(&disk, verified) {
                Err(OpenError::Damaged { damage, .. }) => {
                    assert!(is_met && damage[0].file == *name, "{damage:?}");
                }
                opened => assert!(opened.is_ok() && !is_met, "{name} of {verified} bytes"),
            }
        }
    }
}

#[test]
fn a_segment_that_a_crash_left_without_an_index_leaves_others_their_part() {
    let (disk, _) = a_log(false);
    let indexed = named(&disk, ".idx").pop().unwrap().replace(".idx", ".seg");
    let last = named(&disk, ".seg").pop().unwrap();
    assert!(indexed < last, "{last} has no index");
    let config = StoreConfig {
        verified_bytes_max: disk.contents(&indexed).unwrap().len() as u64,
        ..config()
    };
    disk.flip_bit(&indexed, 100, 3);
    let opened = open_with(&disk, config);
    let Err(OpenError::Damaged { damage, .. }) = opened else {
        panic!("it was opened");
    };
    assert_eq!(damage[0].file, indexed);
}

#[test]
fn one_flipped_bit_of_a_checkpoint_or_of_what_a_removed_segment_left_costs_nothing() {
    let (disk, all) = with_removed_segments();
    let (store, whole) = open(&disk.copy()).unwrap();
    assert_eq!(contents(&store.reader(), &whole), all);
    drop(store);
    let (checkpoints, gone) = (named(&disk, ".ckpt"), named(&disk, ".gone"));
    assert!(!checkpoints.is_empty() && !gone.is_empty());
    let older = checkpoints.len() > 1;
    for name in checkpoints.iter().chain(&gone) {
        let is_newest = checkpoints.last() == Some(name);
        for position in 0..disk.contents(name).unwrap().len() as u64 {
            let context = format!("{name} at {position}");
            let disk = disk.copy();
            disk.flip_bit(name, position, (position % 8) as u8);
            let checked = check(disk.copy(), &InTurn).unwrap();
            let told = checked.rebuilt.iter().chain(&checked.spare);
            let mut told = told.chain(&checked.damage);
            assert!(told.any(|damage| damage.file == *name), "{context}: untold");
            let opened = match open(&disk) {
                Err(OpenError::Damaged { damage, .. }) => {
                    assert!(is_newest && !older, "{context}: {damage:?}");
                    assert_eq!(damage[0].file, *name, "{context}");
                    open_as(&disk, Opening::AcceptDataLoss)
                }
                opened => opened,
            };
            let (store, recovered) = opened.unwrap_or_else(|error| panic!("{context}: {error}"));
            let report = &recovered.report;
            assert!(!is_newest || !report.is_clean(), "{context}: unnoticed");
            assert_eq!(contents(&store.reader(), &recovered), all, "{context}");
            let ends = |of: &Recovered| -> Vec<_> { of.topics.iter().map(|t| t.end).collect() };
            assert_eq!(ends(&recovered), ends(&whole), "{context}");
            let is_said = report.producers_lost;
            assert!(
                is_said || recovered.producers == whole.producers,
                "{context}"
            );
        }
    }
}

#[test]
fn what_a_removed_segment_left_is_missed_when_the_checkpoint_is_damaged_too() {
    let (disk, _) = with_removed_segments();
    let checkpoints = named(&disk, ".ckpt");
    disk.flip_bit(checkpoints.last().unwrap(), 40, 3);
    let gone = named(&disk, ".gone").pop().unwrap();
    for position in 0..disk.contents(&gone).unwrap().len() as u64 {
        let disk = disk.copy();
        disk.flip_bit(&gone, position, (position % 8) as u8);
        let Err(OpenError::Damaged { damage, .. }) = open(&disk) else {
            panic!("{gone} at {position}: nobody noticed");
        };
        let is_named = damage.iter().any(|found| found.file == gone);
        assert!(is_named, "{gone} at {position}: {damage:?}");
    }
}

#[test]
fn without_indexes_every_flipped_bit_of_a_frame_is_damage() {
    let (disk, all) = a_log(false);
    for name in named(&disk, ".idx") {
        disk.remove(&name).unwrap();
    }
    let (mut refused, mut cut) = (0, 0);
    for name in named(&disk, ".seg") {
        for position in (0..used(&disk, &name)).step_by(STEP) {
            match flip(&disk, config(), &all, &name, position) {
                true => refused += 1,
                false => cut += 1,
            }
        }
    }
    assert!(refused > 200 && (1..100).contains(&cut), "{refused} {cut}");
}

#[test]
fn a_damaged_index_does_not_make_a_torn_batch_of_a_damaged_frame() {
    for last_frame in [false, true] {
        let (disk, all) = a_log(true);
        let disk = disk.copy();
        let name = named(&disk, ".seg").pop().unwrap();
        let index = named(&disk, ".idx").pop().unwrap();
        let position = match last_frame {
            true => used(&disk, &name) - 1,
            false => 70,
        };
        disk.flip_bit(&name, position, 3);
        disk.flip_bit(&index, 40, 3);
        match open(&disk) {
            Err(OpenError::Damaged { damage, .. }) => {
                assert!(
                    damage.iter().any(|damage| damage.file == name),
                    "{damage:?}"
                );
            }
            Err(error) => panic!("{error}"),
            Ok((_, recovered)) => panic!("nothing was noticed but {}", recovered.report),
        }
        accept(&disk, &all, "index and segment");
    }
}

#[test]
fn many_frames_lost_in_the_middle_are_named_exactly() {
    let (disk, all) = a_log(true);
    let name = &named(&disk, ".seg")[1];
    let before = check(disk.clone(), &InTurn).unwrap();
    assert!(before.damage.is_empty() && before.torn.is_none());
    let hit = |topic: &heartwire_log::store::RecoveredTopic| {
        let inside = topic.places.iter().filter(|place| place.segment == id(2));
        inside.count()
    };
    let inside: usize = before.topics.iter().map(hit).sum();
    let length = disk.contents(name).unwrap().len();
    disk.put(name, vec![0xAA; length]);
    let checked = check(disk.clone(), &InTurn).unwrap();
    assert!(!checked.damage.is_empty());

    let (store, recovered) = open_as(&disk, Opening::AcceptDataLoss).unwrap();
    let found = contents(&store.reader(), &recovered);
    assert_eq!(found.len() + inside, all.len());
    let lost: u64 = recovered
        .report
        .lost
        .iter()
        .map(|lost| lost.last.0 - lost.first.0 + 1)
        .sum();
    assert_eq!(lost as usize, inside, "{}", recovered.report);
    assert!(
        recovered.report.new_epochs.is_empty(),
        "what is lost is known"
    );
}

#[test]
fn a_missing_segment_is_damage_whether_its_index_is_there_or_not() {
    for has_index in [true, false] {
        let (disk, all) = a_log(true);
        disk.remove(&segment(2)).unwrap();
        if !has_index {
            disk.remove("00000002.idx").unwrap();
        }
        let Err(OpenError::Damaged { damage, .. }) = open(&disk) else {
            panic!("it was opened");
        };
        assert!(!damage.is_empty());
        let (store, recovered) = open_as(&disk, Opening::AcceptDataLoss).unwrap();
        let found = contents(&store.reader(), &recovered);
        assert_eq!(explained(&all, &found, &recovered.report, "missing"), 5);
        drop(store);
        let (_, again) = open_both_ways(&disk.kill()).unwrap();
        assert_eq!(again.topics, recovered.topics);
    }
}

#[test]
fn topics_that_may_have_lost_their_end_get_a_new_epoch_and_go_on() {
    let disk = CrashDisk::new();
    let (mut store, _) = open(&disk).unwrap();
    let mut maker = Maker::new();
    for topic in ["old", "both", "both", "new"] {
        commit(&mut store, &[maker.message(topic, "payload", None)]).unwrap();
    }
    drop(store);
    let name = segment(1);
    let bytes = disk.contents(&name).unwrap();
    let third = bytes
        .windows(4)
        .enumerate()
        .filter(|(_, four)| *four == b"HwF1")
        .nth(2)
        .unwrap();
    disk.flip_bit(&name, third.0 as u64 + 30, 1);

    let (store, recovered) = open_as(&disk.kill(), Opening::AcceptDataLoss).unwrap();
    let report = &recovered.report;
    let renewed: Vec<&str> = report
        .new_epochs
        .iter()
        .map(|topic| topic.as_str())
        .collect();
    assert_eq!(
        renewed,
        ["old", "both"],
        "the end of `new` lies behind the damage"
    );
    assert_eq!(
        ends(&recovered)["both"],
        1,
        "its second message cannot be named"
    );
    assert!(report.producers_lost);
    assert_eq!(contents(&store.reader(), &recovered).len(), 3);
}

#[test]
fn a_dump_passes_over_what_is_damaged_and_names_it() {
    let (disk, all) = a_log(true);
    let (_, recovered) = open(&disk).unwrap();
    let place = recovered.topics[0].places.iter().nth(1).unwrap();
    let disk = disk.copy();
    let name = segment(place.segment.0);
    disk.flip_bit(&name, u64::from(place.position) + 20, 0);
    let mut shown = Vec::new();
    let topic = TopicRef::parse("a").unwrap();
    let damage = dump(disk.clone(), topic, &InTurn, |offset, entry| {
        shown.push(of_entry(&recovered.topics[0].name, offset, entry));
        true
    });
    let damage = damage.unwrap().unwrap();
    assert_eq!(
        (damage.len(), damage[0].position),
        (1, u64::from(place.position))
    );
    let mut expected: Vec<_> = all.into_iter().filter(|w| w.topic == "a").collect();
    expected.remove(1);
    assert_eq!(shown, expected);
    let unknown = TopicRef::parse("unknown").unwrap();
    assert_eq!(dump(disk, unknown, &InTurn, |_, _| true).unwrap(), None);
}
