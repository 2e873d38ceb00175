//! Jobs that fail, for want of space or otherwise: what they leave, and what is told of it.

use heartwire_disk::{CrashDisk, Disk as _};
use heartwire_log::store::{JobError, Store};

use super::support::*;

/// Files take so many bytes more and no others.
fn leave_space(disk: &CrashDisk, bytes: u64) {
    let files = disk.list().unwrap();
    let used = files.iter().map(|name| disk.contents(name).unwrap().len());
    let used = used.sum::<usize>() as u64;
    disk.set_faults(|faults| faults.capacity_bytes = Some(used + bytes));
}

/// What became of each of the jobs that a store has, and whether the disk counted as full afterwards.
fn outcomes(store: &mut Store<CrashDisk>) -> Vec<(Result<(), JobError>, bool)> {
    let jobs = store.take_jobs().into_iter();
    jobs.map(|job| (store.done(job.run()), store.is_full()))
        .collect()
}

#[test]
fn whether_the_disk_is_full_shows_when_a_segment_is_prepared_and_by_nothing_else() {
    let (disk, _) = a_log(false);
    let (mut store, recovered) = open(&disk).unwrap();
    assert!(!store.is_full(), "nothing was tried yet");

    // There is space for the indexes that are wanting, and none for a segment.
    leave_space(&disk, 800);
    let tried = outcomes(&mut store);
    assert!(
        matches!(
            &tried[..],
            [(Err(JobError::NoSpace(_)), true), (Ok(()), true), ..]
        ),
        "{tried:?}"
    );

    // Nothing else is said than what happened last.
    disk.set_faults(|faults| (faults.capacity_bytes, faults.fail_opens) = (None, true));
    let tried = outcomes(&mut store);
    assert!(
        matches!(&tried[..], [(Err(JobError::File(_)), false)]),
        "{tried:?}"
    );

    disk.set_faults(|faults| faults.fail_opens = false);
    let tried = outcomes(&mut store);
    assert!(matches!(&tried[..], [(Ok(()), false)]), "{tried:?}");
    run_jobs(&mut store);
    assert!(!store.is_full(), "a segment stands ready");

    // Messages have their room, though a checkpoint finds none.
    store.remove(&[recovered.segments[0].id]);
    disk.set_faults(|faults| faults.capacity_bytes = Some(0));
    let tried = outcomes(&mut store);
    assert!(
        matches!(&tried[..], [(Err(JobError::NoSpace(_)), false)]),
        "{tried:?}"
    );
}

#[test]
fn what_keeps_a_segment_from_being_prepared_is_told_until_one_is() {
    let (disk, mut store, mut maker) = an_empty_log();
    run_jobs(&mut store);
    assert!(store.prepare_failure().is_none() && !store.is_upkeep_failing());
    disk.set_faults(|faults| faults.fail_opens = true);
    while commit(&mut store, &[maker.message("a", &"f".repeat(90), None)]).is_ok() {}
    let told = store.prepare_failure().expect("it was tried").to_string();
    assert!(told.contains(".seg.tmp: too many open files"), "{told}");
    assert!(store.is_upkeep_failing() && !store.is_full());

    disk.set_faults(|faults| faults.fail_opens = false);
    run_jobs(&mut store);
    assert!(store.prepare_failure().is_none() && !store.is_upkeep_failing());
    commit(&mut store, &[maker.message("a", "on it goes", None)]).unwrap();
}

#[test]
fn a_job_that_fails_is_told_also_while_there_is_room() {
    let (disk, mut store, mut maker) = an_empty_log();
    run_jobs(&mut store);
    fill_segments(&mut store, &mut maker, 12);
    run_jobs(&mut store);
    store.remove(&[id(1)]);
    leave_space(&disk, 0);
    run_jobs(&mut store);
    assert!(store.is_upkeep_failing(), "a checkpoint found no space");
    assert!(store.prepare_failure().is_none() && !store.is_full());
    disk.set_faults(|faults| faults.capacity_bytes = None);
    run_jobs(&mut store);
    assert!(!store.is_upkeep_failing());
}

#[test]
fn a_checkpoint_that_met_damage_is_tried_again_when_another_segment_is_full() {
    let (disk, mut store, mut maker) = an_empty_log();
    run_jobs(&mut store);
    fill_segments(&mut store, &mut maker, 12);
    run_jobs(&mut store);
    // The index cannot be made again, as something of its segment is damaged too.
    let index = named(&disk, ".idx").remove(1);
    disk.flip_bit(&index, 40, 1);
    disk.flip_bit(&index.replace(".idx", ".seg"), 100, 1);
    store.remove(&[id(1)]);
    let tried = outcomes(&mut store);
    assert!(
        matches!(&tried[..], [(Err(JobError::Damaged(_)), false)]),
        "{tried:?}"
    );
    assert!(outcomes(&mut store).is_empty(), "nothing has changed");
    assert!(store.is_upkeep_failing());

    disk.flip_bit(&index.replace(".idx", ".seg"), 100, 1);
    fill_segments(&mut store, &mut maker, 12);
    run_jobs(&mut store);
    assert!(!store.is_upkeep_failing());
    assert!(!named(&disk, ".seg").contains(&segment(1)));
}

#[test]
fn a_segment_that_does_not_fit_is_not_begun() {
    let segment_bytes = u64::from(config().segment_bytes);
    for (left, is_begun) in [
        (0, false),
        (segment_bytes, false),
        (segment_bytes + 16, true),
    ] {
        let (disk, mut store, _) = an_empty_log();
        leave_space(&disk, left);
        let before = disk.calls();
        let tried = outcomes(&mut store);
        let calls = disk.calls();
        assert_eq!(calls.writes > before.writes, is_begun, "{left} bytes");
        assert_eq!(calls.syncs > before.syncs, is_begun, "{left} bytes");
        match &tried[..] {
            [(Ok(()), false)] if is_begun => {}
            [(Err(error @ JobError::NoSpace(_)), true)] if !is_begun => {
                let told = error.to_string();
                let says = format!("it takes {} bytes, and {left} are free", segment_bytes + 16);
                assert!(told.contains(&says), "{told}");
            }
            _ => panic!("{left} bytes: {tried:?}"),
        }
    }
}

/// A quota, say, shows only when it is met.
#[test]
fn where_nobody_tells_what_is_free_a_segment_is_tried_and_nothing_stays_of_it() {
    let (disk, mut store, _) = an_empty_log();
    disk.set_faults(|faults| faults.hide_free_bytes = true);
    leave_space(&disk, 500);
    let before = (disk.list().unwrap(), disk.calls().writes);
    let tried = outcomes(&mut store);
    assert!(
        matches!(&tried[..], [(Err(JobError::NoSpace(_)), true)]),
        "{tried:?}"
    );
    assert!(disk.calls().writes > before.1);
    assert_eq!(disk.list().unwrap(), before.0);
}
