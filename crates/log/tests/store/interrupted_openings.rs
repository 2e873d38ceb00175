//! The process, or the machine, dies between any two changes that opening a log makes to its folder:
//! the next opening finds everything, and what damage took is never passed over `[DISK-12]` `[DISK-13]`
//! `[DISK-15]` `[DISK-16]` `[DISK-18]`.

use heartwire_disk::{CrashDisk, Disk as _, InTurn};
use heartwire_log::store::{OpenError, Opening, Recovered, Store, reset_epochs};
use heartwire_proto::Offset;

use super::support::*;

/// How many crashes are tried at each change, beside the death of the process alone.
const CRASHES: u64 = 5;

/// A folder as somebody left it.
struct Left {
    disk: CrashDisk,
    /// What must be there.
    durable: Vec<Written>,
    /// What may be there besides: it was written, and the sync failed.
    doubtful: Vec<Written>,
}

impl Left {
    fn new(disk: CrashDisk, durable: Vec<Written>) -> Self {
        let doubtful = Vec::new();
        Self {
            disk,
            durable,
            doubtful,
        }
    }
}

/// Lets `act` be cut short at each of the changes that it makes to a folder, by the death of the process
/// and by crashes, and has `judge` look at what is left. Returns how many changes there are.
fn at_each_change(
    make: impl Fn() -> Left,
    act: impl Fn(&CrashDisk),
    judge: impl Fn(&CrashDisk, &Left, &str),
) -> u64 {
    let whole = make().disk;
    let before = whole.calls().changes();
    act(&whole);
    let changes = whole.calls().changes() - before;
    for stop in 0..=changes {
        for seed in 0..=CRASHES {
            let left = make();
            let stop_at = left.disk.calls().changes() + stop;
            left.disk
                .set_faults(|faults| faults.changes_before_stop = Some(stop_at));
            act(&left.disk);
            let disk = match seed {
                0 => left.disk.kill(),
                seed => left.disk.crash(seed),
            };
            judge(&disk, &left, &format!("change {stop}, crash {seed}"));
        }
    }
    changes
}

fn open_and_leave(disk: &CrashDisk) {
    drop(open(disk));
}

/// Everything is there without anybody being asked, and stays there whatever comes next.
fn holds_all(disk: &CrashDisk, left: &Left, context: &str) {
    let opened = open_both_ways(disk);
    let (store, recovered) = opened.unwrap_or_else(|error| panic!("{context}: {error}"));
    let found = contents(&store.reader(), &recovered);
    let lost = left.durable.iter().find(|written| !found.contains(written));
    assert_eq!(lost, None, "{context}: lost");
    let is_known = |written: &&Written| !left.durable.contains(written);
    let invented = found.iter().filter(is_known);
    let invented = invented.filter(|written| !left.doubtful.contains(written));
    assert_eq!(invented.count(), 0, "{context}: never written");
    let report = &recovered.report;
    assert!(report.accepted.is_empty(), "{context}: {report}");
    drop(store);
    let (store, again) = open(&disk.crash(7)).unwrap();
    assert_eq!(again.topics, recovered.topics, "{context}: seen");
    assert_eq!(contents(&store.reader(), &again), found, "{context}: seen");
}

fn put_back(disk: &CrashDisk, from: &CrashDisk, name: &str) {
    disk.put(name, from.contents(name).unwrap());
}

#[test]
fn a_new_log_is_there_or_not_when_its_making_is_cut_short() {
    let make = || Left::new(CrashDisk::new(), Vec::new());
    assert!(at_each_change(make, open_and_leave, holds_all) >= 5);
}

#[test]
fn a_torn_tail_is_cut_off_once_more_when_the_cut_is_cut_short() {
    let make = || {
        let (disk, mut all) = a_log(false);
        let (_, recovered) = open(&disk.copy()).unwrap();
        let topics = recovered.topics.iter();
        let places = topics.flat_map(|topic| topic.places.to_vec().into_iter().zip(1..));
        let (last, _) = places.max_by_key(|(place, _)| *place).unwrap();
        let name = segment(last.segment.0);
        let mut bytes = disk.contents(&name).unwrap();
        bytes[(last.position + last.bytes) as usize - 4..].fill(0);
        disk.put(&name, bytes);
        let torn = all
            .iter()
            .position(|written| written.payload.starts_with("11 "));
        all.remove(torn.unwrap());
        Left::new(disk, all)
    };
    let (_, recovered) = open(&make().disk).unwrap();
    assert!(recovered.report.torn.is_some());
    assert!(at_each_change(make, open_and_leave, holds_all) >= 3);
}

#[test]
fn a_batch_whose_sync_failed_is_kept_for_good_or_not_at_all() {
    let make = || {
        let (disk, mut store, mut maker) = an_empty_log();
        let durable = fill_segments(&mut store, &mut maker, 3);
        disk.set_faults(|faults| faults.fail_syncs = true);
        let last = maker.message("a", "in the memory of the system alone", None);
        commit(&mut store, std::slice::from_ref(&last)).unwrap_err();
        drop(store);
        Left {
            disk: disk.kill(),
            durable,
            doubtful: written(&last).into_iter().collect(),
        }
    };
    assert!(at_each_change(make, open_and_leave, holds_all) >= 2);
}

#[test]
fn segments_without_index_are_read_again_when_the_opening_is_cut_short() {
    let make = || {
        let (disk, all) = a_log(false);
        for name in named(&disk, ".idx") {
            disk.remove(&name).unwrap();
        }
        disk.sync_folder().unwrap();
        Left::new(disk, all)
    };
    assert!(at_each_change(make, open_and_leave, holds_all) >= 2);
}

#[test]
fn a_removal_that_a_crash_cut_short_is_finished_at_some_opening() {
    let (full, mut store, mut maker) = an_empty_log();
    fill_segments(&mut store, &mut maker, 16);
    drop(store);
    let make = || {
        let (disk, retained) = with_removed_segments();
        assert_eq!(named(&disk, ".gone").len(), 2);
        for name in [segment(1), segment(2), "00000002.idx".to_owned()] {
            put_back(&disk, &full, &name);
        }
        disk.remove("00000002.gone").unwrap();
        disk.sync_folder().unwrap();
        Left::new(disk, retained)
    };
    let finishes = |disk: &CrashDisk, left: &Left, context: &str| {
        holds_all(disk, left, context);
        open(&disk.kill()).unwrap();
        assert!(disk.contents(&segment(1)).is_none(), "{context}");
        assert_eq!(named(&disk.kill(), ".gone").len(), 2, "{context}");
    };
    assert!(at_each_change(make, open_and_leave, finishes) >= 5);
}

/// The process dies while segments are removed, the next opens the log, and then the machine dies.
#[test]
fn names_that_only_the_system_knew_are_durable_before_anything_is_built_on_them() {
    let (_, retained) = with_removed_segments();
    let mut stop = 0;
    loop {
        let mut is_over = false;
        for seed in 0..20 {
            let (disk, mut store, mut maker) = an_empty_log();
            fill_segments(&mut store, &mut maker, 16);
            let stop_at = disk.calls().changes() + stop;
            disk.set_faults(|faults| faults.changes_before_stop = Some(stop_at));
            store.remove(&[id(1), id(2)]);
            run_jobs(&mut store);
            is_over = disk.list().is_ok();
            drop(store);
            let context = format!("change {stop}, crash {seed}");
            let disk = disk.kill();
            let opened = open(&disk);
            opened.unwrap_or_else(|error| panic!("{context}: {error}"));
            let opened = open(&disk.crash(seed));
            let (store, recovered) = opened.unwrap_or_else(|error| panic!("{context}: {error}"));
            let found = contents(&store.reader(), &recovered);
            let lost = retained.iter().find(|written| !found.contains(written));
            assert_eq!(lost, None, "{context}: lost");
        }
        if is_over {
            break;
        }
        stop += 1;
    }
    assert!(stop >= 8, "the removal makes {stop} changes");
}

#[test]
fn a_spare_file_is_removed_and_takes_nothing_with_it() {
    let make = || {
        let (disk, retained) = with_removed_segments();
        assert_eq!(named(&disk, ".tmp"), ["spare.tmp"]);
        Left::new(disk, retained)
    };
    assert!(at_each_change(make, open_and_leave, holds_all) >= 2);
}

#[test]
fn new_epochs_for_an_older_copy_come_for_all_topics_or_for_none() {
    for is_closed in [true, false] {
        let make = || {
            let (disk, all) = a_log(is_closed);
            Left::new(disk, all)
        };
        let reset = |disk: &CrashDisk| {
            let _ = reset_epochs(disk.clone(), &config(), 5, &InTurn);
        };
        let judge = |disk: &CrashDisk, left: &Left, context: &str| {
            holds_all(&disk.copy(), left, context);
            let (_, recovered) = open(&disk.copy()).unwrap();
            let topics = recovered.topics.iter();
            let renewed = topics.filter(|topic| topic.epoch != topic.origin).count();
            assert!([0, 3].contains(&renewed), "{context}: {renewed} of 3");
            // Whoever restores the copy is told of the failure, and tries again.
            let again = reset_epochs(disk.clone(), &config(), 6, &InTurn);
            assert_eq!(again.unwrap(), 3, "{context}");
            let (store, after) = open(disk).unwrap();
            let same = after.topics.iter().zip(&recovered.topics);
            for (after, before) in same {
                assert_ne!(after.epoch, before.epoch, "{context}");
            }
            assert_eq!(contents(&store.reader(), &after), left.durable, "{context}");
        };
        assert!(at_each_change(make, reset, judge) >= 5);
    }
}

// ---- Damage ----

/// Whether readers are told that a message is lost: by a gap, or by a new epoch where nobody can say
/// what has gone. Of a topic that is gone altogether, they meet another epoch.
fn is_told(recovered: &Recovered, lost: &Written) -> bool {
    let mut topics = recovered.topics.iter();
    let Some(topic) = topics.find(|topic| topic.name.as_str() == lost.topic) else {
        return true;
    };
    let offset = Offset(lost.offset);
    let mut gaps = topic.gaps.iter();
    let is_named = gaps.any(|(first, last)| (*first..=*last).contains(&offset));
    is_named || (topic.epoch != topic.origin && offset > topic.end)
}

fn accept_and_leave(disk: &CrashDisk) {
    drop(open_as(disk, Opening::AcceptDataLoss));
}

/// Opens the log, and accepts its loss if it takes that.
fn open_somehow(disk: &CrashDisk, context: &str) -> (Store<CrashDisk>, Recovered) {
    let opened = match open(disk) {
        Err(OpenError::Damaged { .. }) => open_as(disk, Opening::AcceptDataLoss),
        opened => opened,
    };
    opened.unwrap_or_else(|error| panic!("{context}: {error}"))
}

/// What damage took is told, as it would have been without the interruption; the rest is there.
fn tells_what_is_lost(disk: &CrashDisk, left: &Left, context: &str) {
    let (store, expected) = open_as(&left.disk.copy(), Opening::AcceptDataLoss).unwrap();
    let kept = contents(&store.reader(), &expected);
    let (store, recovered) = open_somehow(disk, context);
    let found = contents(&store.reader(), &recovered);
    assert_eq!(found, kept, "{context}");
    let mut lost = left.durable.iter().filter(|all| !found.contains(all));
    let silent = lost.find(|lost| !is_told(&recovered, lost));
    assert_eq!(
        silent, None,
        "{context}: lost without a word: {}",
        recovered.report
    );
    drop(store);
    let again = open_both_ways(&disk.crash(7));
    let (_, again) = again.unwrap_or_else(|error| panic!("{context}: {error}"));
    assert_eq!(
        again.topics, recovered.topics,
        "{context}: damage is met once"
    );
}

/// Damages a log in one way, and has the acceptance of that interrupted.
fn accepting_is_cut_short(damage: impl Fn() -> Left) {
    let make = || {
        let left = damage();
        let refused = open(&left.disk.copy());
        assert!(matches!(refused, Err(OpenError::Damaged { .. })));
        left
    };
    assert!(at_each_change(make, accept_and_leave, tells_what_is_lost) >= 5);
}

/// A message of the middle of a segment is hit, and so is the segment's index.
#[test]
fn what_a_damaged_segment_lost_is_told_when_accepting_it_is_cut_short() {
    accepting_is_cut_short(|| {
        let (disk, all) = a_log(true);
        disk.flip_bit(&segment(2), 120, 3);
        disk.flip_bit("00000002.idx", 40, 3);
        Left::new(disk, all)
    });
}

#[test]
fn topics_that_may_have_lost_their_end_get_a_new_epoch_even_if_that_is_cut_short() {
    accepting_is_cut_short(|| {
        let (disk, mut store, mut maker) = an_empty_log();
        let mut all = Vec::new();
        let mut places = Vec::new();
        for topic in ["old", "both", "both", "new"] {
            let record = maker.message(topic, "payload", None);
            all.extend(written(&record));
            places.extend(commit(&mut store, &[record]).unwrap());
        }
        drop(store);
        disk.flip_bit(&segment(1), u64::from(places[2].position) + 10, 1);
        Left::new(disk.kill(), all)
    });
}

#[test]
fn a_missing_segment_is_told_of_when_accepting_it_is_cut_short() {
    for has_index in [true, false] {
        accepting_is_cut_short(|| {
            let (disk, all) = a_log(true);
            disk.remove(&segment(2)).unwrap();
            if !has_index {
                disk.remove("00000002.idx").unwrap();
            }
            disk.sync_folder().unwrap();
            Left::new(disk, all)
        });
    }
}

#[test]
fn lost_checkpoints_renew_all_topics_when_accepting_it_is_cut_short() {
    accepting_is_cut_short(|| {
        let (disk, retained) = with_removed_segments();
        for name in named(&disk, ".ckpt") {
            disk.flip_bit(&name, 20, 3);
        }
        Left::new(disk, retained)
    });
}
