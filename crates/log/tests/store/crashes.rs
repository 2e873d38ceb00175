//! Power is lost between any two calls, with any part of what was not synced written, the last of it
//! torn: what was acknowledged is there, and nothing is there that was never written `[DISK-6]`
//! `[DISK-13]` `[DISK-16]` `[DISK-17]`.

use std::collections::BTreeSet;

use heartwire_disk::{CrashDisk, Dice};
use heartwire_log::store::{Record, Recovered, SegmentReader};
use heartwire_proto::Seq;

use super::support::*;

/// What was asked for, and what was promised, by all processes so far.
#[derive(Default)]
struct Promises {
    asked: BTreeSet<Written>,
    durable: BTreeSet<Written>,
    numbers: u64,
}

impl Promises {
    /// Whatever a recovery shows has been seen: it may not be un-written.
    fn see(&mut self, reader: &SegmentReader<CrashDisk>, recovered: &Recovered) {
        let seen = contents(reader, recovered);
        self.asked.extend(seen.iter().cloned());
        self.durable.extend(seen);
    }
}

/// Opens the log, looks whether it keeps all promises, and writes messages until the disk stops, or
/// all are written; with jobs and a stop. Returns whether it opened. `life` tells its messages from
/// those of other processes. Every other process reads all of the log when it opens it.
fn run(disk: &CrashDisk, life: u64, promises: &mut Promises, context: &str) -> bool {
    let Ok((mut store, recovered)) = open_with(disk, by_turns(life)) else {
        return false;
    };
    check(&store.reader(), &recovered, promises, context);
    promises.see(&store.reader(), &recovered);
    let mut maker = Maker::after(&recovered);
    let first = recovered.producers.first().map_or(0, |(_, seq, _)| seq.0);
    for round in 0..10_u64 {
        let number = first + round + 1;
        let records: Vec<Record> = (0..=round % 3)
            .map(|n| {
                let topic = ["a", "b"][(n % 2) as usize];
                let payload = format!("{life}.{round}.{n} {}", "y".repeat(80));
                maker.message(topic, &payload, Some((producer(0), Seq(number))))
            })
            .collect();
        promises.asked.extend(records.iter().filter_map(written));
        if commit(&mut store, &records).is_err() {
            return true;
        }
        promises.durable.extend(records.iter().filter_map(written));
        promises.numbers = number;
        run_jobs(&mut store);
    }
    let _ = store.close();
    true
}

fn check(
    reader: &SegmentReader<CrashDisk>,
    recovered: &Recovered,
    promises: &Promises,
    context: &str,
) {
    let found: BTreeSet<Written> = contents(reader, recovered).into_iter().collect();
    let lost: Vec<_> = promises.durable.difference(&found).collect();
    assert!(
        lost.is_empty(),
        "{context}: acknowledged and lost: {lost:?}"
    );
    let invented: Vec<_> = found.difference(&promises.asked).collect();
    assert!(
        invented.is_empty(),
        "{context}: never written: {invented:?}"
    );
    let number = recovered.producers.first().map_or(0, |(_, seq, _)| seq.0);
    assert!(
        number >= promises.numbers,
        "{context}: a number is forgotten"
    );
    let report = &recovered.report;
    assert!(
        report.rebuilt.is_empty() && report.accepted.is_empty(),
        "{context}: {report}"
    );
}

#[test]
fn what_was_acknowledged_survives_a_crash_between_any_two_calls() {
    let whole = CrashDisk::new();
    run(&whole, 0, &mut Promises::default(), "nothing goes wrong");
    let changes = whole.calls().changes();
    assert!(changes > 60, "the run is long enough: {changes}");
    let mut torn = 0;
    for stop in 0..changes {
        for seed in 0..6 {
            let disk = CrashDisk::new();
            disk.set_faults(|faults| faults.changes_before_stop = Some(stop));
            let mut promises = Promises::default();
            let context = format!("stop {stop}, seed {seed}");
            run(&disk, 0, &mut promises, &context);
            let disk = disk.crash(seed);
            let opened = open_both_ways(&disk);
            let (store, recovered) = opened.unwrap_or_else(|error| panic!("{context}: {error}"));
            torn += u32::from(recovered.report.torn.is_some());
            check(&store.reader(), &recovered, &promises, &context);
        }
    }
    assert!(torn > 20, "some batches were torn: {torn}");
}

#[test]
fn what_was_seen_after_a_recovery_survives_every_later_crash() {
    let (mut opened, mut interrupted) = (0, 0);
    for seed in 0..300 {
        let mut dice = Dice::new(seed);
        let mut disk = CrashDisk::new();
        let mut promises = Promises::default();
        for life in 0..8 {
            // One in three comes to its end while it opens the log.
            let changes = match dice.one_in(3) {
                true => dice.below(10),
                false => dice.below(70),
            };
            let stop = disk.calls().changes() + changes;
            disk.set_faults(|faults| faults.changes_before_stop = Some(stop));
            let context = format!("seed {seed}, life {life}");
            match run(&disk, life, &mut promises, &context) {
                true => opened += 1,
                false => interrupted += 1,
            }
            disk = match dice.one_in(3) {
                true => disk.kill(),
                false => disk.crash(dice.roll()),
            };
        }
        let context = format!("seed {seed}, after all lives");
        let opened = open_both_ways(&disk);
        let (store, recovered) = opened.unwrap_or_else(|error| panic!("{context}: {error}"));
        check(&store.reader(), &recovered, &promises, &context);
    }
    assert!(opened > 1_200, "{opened} processes opened the log");
    assert!(interrupted > 400, "{interrupted} openings came to nothing");
}

#[test]
fn a_failed_sync_is_final_and_what_it_covered_is_not_trusted() {
    for seed in 0..60 {
        let disk = CrashDisk::new();
        let (mut store, _) = open(&disk).unwrap();
        let mut maker = Maker::new();
        let first = maker.message("a", "first", None);
        commit(&mut store, std::slice::from_ref(&first)).unwrap();
        disk.set_faults(|faults| faults.fail_syncs = true);
        let second = maker.message("a", "second", None);
        assert!(
            commit(&mut store, std::slice::from_ref(&second))
                .unwrap_err()
                .is_final()
        );
        let syncs = disk.calls().syncs;
        disk.set_faults(|faults| faults.fail_syncs = false);
        assert!(store.sync().unwrap_err().is_final());
        assert!(commit(&mut store, std::slice::from_ref(&second)).is_err());
        assert_eq!(disk.calls().syncs, syncs, "nothing is tried again");
        assert!(store.failure().is_some() && store.take_jobs().is_empty());

        // The process starts again and the machine does not: the system shows what it has not kept.
        let disk = disk.kill();
        let (store, recovered) = open(&disk).unwrap();
        let seen = contents(&store.reader(), &recovered);
        drop(store);
        let (store, recovered) = open(&disk.crash(seed)).unwrap();
        assert_eq!(contents(&store.reader(), &recovered), seen, "seed {seed}");
    }
}

#[test]
fn a_torn_batch_is_cut_and_its_bytes_are_counted() {
    let disk = CrashDisk::new();
    let (mut store, _) = open(&disk).unwrap();
    let mut maker = Maker::new();
    let places = commit(&mut store, &[maker.message("a", "first", None)]).unwrap();
    let end = u64::from(places[0].position + places[0].bytes);
    commit(&mut store, &[maker.message("a", "second", None)]).unwrap();
    drop(store);
    let name = named(&disk, ".seg").remove(0);
    let mut bytes = disk.contents(&name).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[used - 3..].fill(0);
    let torn = bytes.iter().rposition(|byte| *byte != 0).unwrap() as u64 + 1 - end;
    disk.put(&name, bytes);

    let (store, recovered) = open_both_ways(&disk.kill()).unwrap();
    let cut = recovered.report.torn.clone().unwrap();
    assert_eq!((cut.file, cut.position, cut.bytes), (name, end, torn));
    assert_eq!(ends(&recovered)["a"], 1);
    assert_eq!(contents(&store.reader(), &recovered).len(), 1);
    drop(store);
    let (_, again) = open(&disk.kill()).unwrap();
    assert!(again.report.is_clean(), "{}", again.report);
}
