//! Any one call fails: nothing acknowledged is lost, and nothing goes on as if nothing had happened.

use std::collections::BTreeSet;

use heartwire_disk::CrashDisk;
use heartwire_log::store::{OpenError, ReadError, SegmentId, WriteError};
use heartwire_log::{Log, LogConfig};
use heartwire_proto::Offset;

use super::support::*;

/// What was acknowledged, and what was asked for.
#[derive(Clone, Default)]
struct Promises {
    durable: BTreeSet<Written>,
    asked: BTreeSet<Written>,
}

/// Runs with one failing call on a folder that holds what is promised; its oldest segment, `oldest`,
/// goes in the end. A log that does not open is tried once more.
fn run(disk: &CrashDisk, oldest: SegmentId, promises: &mut Promises, context: &str) {
    let opened = open(disk).or_else(|error| {
        assert!(matches!(error, OpenError::File(_)), "{context}: {error}");
        open(disk)
    });
    let (mut store, recovered) = opened.unwrap_or_else(|error| panic!("{context}: {error}"));
    let mut maker = Maker::after(&recovered);
    for round in 0..14 {
        let record = maker.message(["a", "b"][round % 2], &"z".repeat(60 + round), None);
        promises.asked.extend(written(&record));
        match commit(&mut store, std::slice::from_ref(&record)) {
            Ok(_) => promises.durable.extend(written(&record)),
            Err(WriteError::NoRoom { .. }) => {
                run_jobs(&mut store);
                assert!(commit(&mut store, std::slice::from_ref(&record)).is_ok());
                promises.durable.extend(written(&record));
            }
            Err(error) => {
                assert!(error.is_final() && store.failure().is_some(), "{error}");
                assert!(commit(&mut store, &[record]).unwrap_err().is_final());
                return;
            }
        }
        if round == 9 {
            store.remove(&[oldest]);
        }
        run_jobs(&mut store);
    }
    assert!(
        disk.contents(&segment(oldest.0)).is_none(),
        "{context}: it was removed in the end"
    );
    let _ = store.close();
}

/// Everything that was acknowledged is there, but for what may have stood in the removed segment.
fn check(disk: &CrashDisk, promises: &Promises, context: &str) {
    let opened = open_both_ways(disk);
    let (store, recovered) = opened.unwrap_or_else(|error| panic!("{context}: {error}"));
    let found: BTreeSet<Written> = contents(&store.reader(), &recovered).into_iter().collect();
    let is_removed = |lost: &&Written| {
        let mut topics = recovered.topics.iter();
        topics.any(|topic| topic.name.as_str() == lost.topic && lost.offset <= topic.base.0)
    };
    let lost = promises.durable.difference(&found);
    let lost: Vec<_> = lost.filter(|lost| !is_removed(lost)).collect();
    assert!(lost.is_empty(), "{context}: lost {lost:?}");
    let invented: Vec<_> = found.difference(&promises.asked).collect();
    assert!(invented.is_empty(), "{context}: never written {invented:?}");
    let ends = ends(&recovered);
    for Written { topic, offset, .. } in &promises.durable {
        assert!(ends[topic] >= *offset, "{context}: {topic} {offset}");
    }
}

/// Lets each call fail, one after the other, of those that a run on such a folder makes.
fn each_call_fails(make: impl Fn() -> (CrashDisk, Vec<Written>), oldest: SegmentId) -> u64 {
    let (whole, _) = make();
    let before = whole.calls().total();
    run(&whole, oldest, &mut Promises::default(), "nothing fails");
    let calls = whole.calls().total() - before;
    for failing in 0..calls {
        let (disk, all) = make();
        let all: BTreeSet<_> = all.into_iter().collect();
        let mut promises = Promises {
            durable: all.clone(),
            asked: all,
        };
        disk.set_faults(|faults| faults.calls_before_failure = Some(failing));
        let context = format!("call {failing} fails");
        run(&disk, oldest, &mut promises, &context);
        check(&disk.copy(), &promises, &format!("{context}, killed"));
        let crashed = disk.crash(failing);
        check(&crashed, &promises, &format!("{context}, crashed"));
    }
    calls
}

#[test]
fn the_failure_of_any_call_costs_nothing_that_was_acknowledged() {
    let make = || (CrashDisk::new(), Vec::new());
    assert!(each_call_fails(make, id(1)) > 80);
}

/// It is opened with several segments, checkpoints, and what removed segments leave behind.
#[test]
fn the_failure_of_any_call_costs_nothing_of_a_log_that_was_there() {
    for is_closed in [true, false] {
        let make = || {
            let (disk, all) = with_removed_segments();
            if is_closed {
                open(&disk).unwrap().0.close().unwrap();
            }
            (disk.kill(), all)
        };
        assert!(each_call_fails(make, id(3)) > 100);
    }
}

#[test]
fn a_refused_read_never_makes_a_message_lost() {
    let (disk, all) = a_log(true);
    for failing in 0.. {
        let (store, recovered) = open(&disk.kill()).unwrap();
        let reader = store.reader();
        disk.set_faults(|faults| faults.calls_before_failure = Some(failing));
        let (mut refusals, mut found) = (0, Vec::new());
        for topic in &recovered.topics {
            let (name, origin) = (&topic.name, topic.origin);
            for (first, places) in topic.stretches() {
                let mut entries = Vec::new();
                if let Err(error) = reader.read(name, origin, first, &places, &mut entries) {
                    assert!(matches!(error, ReadError::File(_)), "{failing}: {error}");
                    refusals += 1;
                    // It goes on where it came to.
                    let (next, rest) = (first.0 + entries.len() as u64, &places[entries.len()..]);
                    let again = reader.read(name, origin, Offset(next), rest, &mut entries);
                    again.unwrap();
                }
                let offsets = (first.0..).map(Offset);
                found.extend(
                    offsets
                        .zip(&entries)
                        .map(|(at, entry)| of_entry(name, at, entry)),
                );
            }
        }
        found.sort();
        assert_eq!(found, all, "call {failing} fails");
        if refusals == 0 {
            assert!(failing > 5, "{failing} calls are enough");
            return;
        }
    }
}

#[test]
fn reading_that_fails_or_ends_early_is_an_error_and_no_loss() {
    for is_closed in [true, false] {
        let (disk, all) = a_log(is_closed);
        disk.set_faults(|faults| faults.fail_reads = true);
        assert!(open(&disk).is_err());
        disk.set_faults(|faults| (faults.fail_reads, faults.short_reads) = (false, true));
        assert!(open(&disk).is_err());
        disk.set_faults(|faults| faults.short_reads = false);
        let (store, recovered) = open(&disk).unwrap();
        assert_eq!(contents(&store.reader(), &recovered), all);
    }
}

#[test]
fn what_the_system_refuses_to_read_back_is_not_lost() {
    let (disk, _) = a_log(true);
    let (store, recovered) = open(&disk).unwrap();
    let reader = store.reader();
    let name = recovered.topics[0].name.clone();
    let (mut log, _) = Log::recover(LogConfig::default(), recovered);
    let topic = log.find(name.as_topic()).unwrap();
    let base = log.topic(topic).unwrap().base();
    for is_refused in [true, false] {
        assert!(log.read(topic, base, |_, _| true).unwrap().is_cold);
        let (mut loads, mut warm) = (Vec::new(), Vec::new());
        log.take_loads(&mut loads, &mut warm);
        disk.set_faults(|faults| faults.fail_reads = is_refused);
        let mut errors = Vec::new();
        let messages = loads[0].read(&reader, |offset, error| errors.push((offset, error)));
        match is_refused {
            true => {
                assert!(messages.is_empty());
                let [(offset, ReadError::File(_))] = &errors[..] else {
                    panic!("one refusal, not {errors:?}");
                };
                assert_eq!(*offset, Offset(base.0 + 1));
            }
            false => assert!(errors.is_empty() && messages.iter().all(Option::is_some)),
        }
        log.loaded(&loads[0], messages);
    }
    let mut read = 0;
    let outcome = log.read(topic, base, |_, entry| {
        read += usize::from(entry.is_some());
        true
    });
    assert!(outcome.is_some() && read > 0);
}
