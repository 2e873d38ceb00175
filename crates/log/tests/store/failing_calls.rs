//! Any one call fails: nothing acknowledged is lost, and nothing goes on as if nothing had happened.

use std::collections::BTreeSet;

use heartwire_disk::CrashDisk;
use heartwire_log::store::{ReadError, WriteError};
use heartwire_log::{Log, LogConfig};
use heartwire_proto::Offset;

use super::support::*;

/// Runs with one failing call; returns what was acknowledged and what was asked for.
fn run(disk: &CrashDisk) -> (BTreeSet<Written>, BTreeSet<Written>) {
    let (mut durable, mut asked) = (BTreeSet::new(), BTreeSet::new());
    let Ok((mut store, recovered)) = open(disk) else {
        return (durable, asked);
    };
    let mut maker = Maker::after(&recovered);
    for round in 0..14 {
        let record = maker.message(["a", "b"][round % 2], &"z".repeat(60 + round), None);
        asked.extend(written(&record));
        match commit(&mut store, std::slice::from_ref(&record)) {
            Ok(_) => durable.extend(written(&record)),
            Err(WriteError::NoRoom { .. }) => {
                run_jobs(&mut store);
                assert!(commit(&mut store, std::slice::from_ref(&record)).is_ok());
                durable.extend(written(&record));
            }
            Err(error) => {
                assert!(error.is_final() && store.failure().is_some(), "{error}");
                assert!(commit(&mut store, &[record]).unwrap_err().is_final());
                return (durable, asked);
            }
        }
        if round == 9 {
            store.remove(&[id(1)]);
        }
        run_jobs(&mut store);
    }
    assert!(
        disk.contents(&segment(1)).is_none(),
        "it was removed in the end"
    );
    let _ = store.close();
    (durable, asked)
}

#[test]
fn the_failure_of_any_call_costs_nothing_that_was_acknowledged() {
    let whole = CrashDisk::new();
    run(&whole);
    let calls = whole.calls().total();
    for failing in 0..calls {
        let disk = CrashDisk::new();
        disk.set_faults(|faults| faults.calls_before_failure = Some(failing));
        let (durable, asked) = run(&disk);
        for is_killed in [true, false] {
            let disk = match is_killed {
                true => disk.copy(),
                false => disk.crash(failing),
            };
            let context = format!("call {failing} fails, killed: {is_killed}");
            let (store, recovered) =
                open(&disk).unwrap_or_else(|error| panic!("{context}: {error}"));
            let found: BTreeSet<Written> =
                contents(&store.reader(), &recovered).into_iter().collect();
            // The first segment may have been removed, with whatever was in it.
            let is_removed = |lost: &&Written| {
                recovered
                    .topics
                    .iter()
                    .any(|topic| topic.name.as_str() == lost.topic && lost.offset <= topic.base.0)
            };
            let lost: Vec<_> = durable
                .difference(&found)
                .filter(|lost| !is_removed(lost))
                .collect();
            assert!(lost.is_empty(), "{context}: lost {lost:?}");
            let invented: Vec<_> = found.difference(&asked).collect();
            assert!(invented.is_empty(), "{context}: never written {invented:?}");
            let ends = ends(&recovered);
            for Written { topic, offset, .. } in &durable {
                assert!(ends[topic] >= *offset, "{context}: {topic} {offset}");
            }
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
