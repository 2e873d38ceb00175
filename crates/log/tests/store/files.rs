//! The folder: who has it, what it is, whether there is room `[DISK-2]` `[DISK-3]` `[DISK-4]`.

use heartwire_disk::{CrashDisk, Disk, FileDisk, InTurn};
use heartwire_log::store::{JobError, OpenError, Opening, StoreConfig, WriteError, check};

use super::support::*;

#[test]
fn a_second_server_is_told_who_has_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let disk = FileDisk::create(folder.path()).unwrap();
    let (store, _) = open(&disk).unwrap();
    let refused = open(&FileDisk::open(folder.path()).unwrap()).unwrap_err();
    let OpenError::Held { by, .. } = &refused else {
        panic!("{refused}");
    };
    assert_eq!(*by, format!("process {}", std::process::id()));
    assert!(matches!(
        check(disk.clone(), &InTurn),
        Err(OpenError::Held { .. })
    ));
    drop(store);
    assert!(open(&disk).is_ok());
}

#[test]
fn a_format_of_a_later_version_is_refused_by_number() {
    let (disk, _) = a_log(true);
    let mut meta = disk.contents("meta").unwrap();
    meta[8..12].copy_from_slice(&7_u32.to_le_bytes());
    let checksum = crc32c::crc32c(&meta[..12]);
    meta[12..16].copy_from_slice(&checksum.to_le_bytes());
    disk.put("meta", meta);
    let refused = open(&disk).unwrap_err();
    assert!(
        matches!(refused, OpenError::UnknownVersion { version: 7, .. }),
        "{refused}"
    );
    assert!(refused.to_string().contains("format 7"));
}

#[test]
fn a_lost_meta_is_made_again_from_any_segment() {
    let (disk, all) = a_log(true);
    disk.remove("meta").unwrap();
    let (store, recovered) = open(&disk).unwrap();
    assert_eq!(recovered.report.rebuilt[0].file, "meta");
    assert_eq!((recovered.log, recovered.key), (fresh().log, fresh().key));
    assert_eq!(contents(&store.reader(), &recovered), all);
    drop(store);
    let (_, again) = open(&disk).unwrap();
    assert!(again.report.is_clean());
}

/// Only the headers of segments tell what `meta` held; whatever else there is, cannot be read without.
#[test]
fn a_meta_that_no_segment_tells_again_is_refused_with_what_to_do() {
    let (disk, mut store, mut maker) = an_empty_log();
    commit(&mut store, &[maker.message("a", "payload", None)]).unwrap();
    let (mut store, _) = reopened(&disk, store, true);
    store.remove(&[id(1)]);
    run_jobs(&mut store);
    store.close().unwrap();
    assert_eq!(named(&disk, ".ckpt").len(), 1);
    let meta = disk.contents("meta").unwrap();
    assert_eq!(named(&disk, ".seg"), [""; 0]);
    for is_missing in [true, false] {
        match is_missing {
            true => disk.remove("meta").unwrap(),
            false => disk.put("meta", vec![7; meta.len()]),
        }
        for opening in [Opening::Careful, Opening::AcceptDataLoss] {
            let refused = open_as(&disk, opening).unwrap_err();
            assert!(matches!(refused, OpenError::NoIdentity { .. }), "{refused}");
            assert!(refused.to_string().contains("put a copy of it back"));
        }
        assert!(matches!(
            check(disk.clone(), &InTurn),
            Err(OpenError::NoIdentity { .. })
        ));
    }
    disk.put("meta", meta);
    let (_, recovered) = open(&disk).unwrap();
    assert_eq!(ends(&recovered)["a"], 1);
}

#[test]
fn a_meta_damaged_beside_all_checkpoints_is_made_again_without_being_accepted() {
    let (disk, mut store, mut maker) = an_empty_log();
    for _ in 0..12 {
        let record = maker.message("a", &"x".repeat(100), None);
        commit(&mut store, &[record]).unwrap();
        run_jobs(&mut store);
    }
    store.remove(&[id(1)]);
    run_jobs(&mut store);
    store.close().unwrap();
    let checkpoint = &named(&disk, ".ckpt")[0];
    disk.flip_bit(checkpoint, 40, 1);
    disk.flip_bit("meta", 20, 1);
    let Err(OpenError::Damaged { damage, .. }) = open(&disk) else {
        panic!("it was opened");
    };
    assert!(damage.iter().all(|found| found.file == *checkpoint));
    let (_, recovered) = open_as(&disk, Opening::AcceptDataLoss).unwrap();
    assert_eq!(recovered.report.rebuilt[0].file, "meta");
    let (_, again) = open(&disk.kill()).unwrap();
    assert!(again.report.is_clean(), "{}", again.report);
}

#[test]
fn a_folder_that_can_only_be_read_is_checked_and_not_opened() {
    let (disk, all) = a_log(false);
    disk.set_faults(|faults| faults.read_only = true);
    let refused = open(&disk).unwrap_err();
    let OpenError::File(error) = &refused else {
        panic!("{refused}");
    };
    assert!(error.is_read_only(), "{refused}");
    let checked = check(disk, &InTurn).unwrap();
    assert_eq!(
        checked
            .topics
            .iter()
            .map(|topic| topic.places.len())
            .sum::<usize>(),
        all.len()
    );
    assert!(matches!(
        check(CrashDisk::new(), &InTurn),
        Err(OpenError::NoLog { .. })
    ));
}

#[test]
fn a_full_disk_is_met_by_a_job_before_the_writer_needs_the_room() {
    let disk = CrashDisk::new();
    let (mut store, _) = open(&disk).unwrap();
    disk.set_faults(|faults| faults.capacity_bytes = Some(2_500));
    let mut maker = Maker::new();
    let mut durable = Vec::new();
    let refused = loop {
        let record = maker.message("a", &"f".repeat(90), None);
        match commit(&mut store, std::slice::from_ref(&record)) {
            Ok(_) => durable.extend(written(&record)),
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, WriteError::NoRoom { .. }), "{refused}");
    assert!(store.failure().is_none() && store.room_bytes() < 250);
    let mut outcomes = store
        .take_jobs()
        .into_iter()
        .map(|job| job.run())
        .collect::<Vec<_>>();
    let met = outcomes
        .drain(..)
        .map(|done| store.done(done))
        .find_map(Result::err);
    assert!(matches!(met, Some(JobError::NoSpace(_))), "{met:?}");

    disk.set_faults(|faults| faults.capacity_bytes = None);
    run_jobs(&mut store);
    assert!(store.room_bytes() > 250);
    drop(store);
    let (store, recovered) = open(&disk.kill()).unwrap();
    assert_eq!(contents(&store.reader(), &recovered), durable);
}

#[test]
fn a_log_on_a_full_disk_is_opened_and_read() {
    let (disk, all) = a_log(false);
    disk.set_faults(|faults| faults.capacity_bytes = Some(0));
    let (mut store, recovered) = open(&disk).unwrap();
    assert_eq!(contents(&store.reader(), &recovered), all);
    let outcomes: Vec<_> = store.take_jobs().into_iter().map(|job| job.run()).collect();
    assert!(outcomes.into_iter().all(|done| store.done(done).is_err()));
    assert_eq!(store.room_bytes(), 0);
    disk.set_faults(|faults| faults.capacity_bytes = None);
    run_jobs(&mut store);
    assert!(store.room_bytes() > 0 && named(&disk, ".idx").len() == 3);
}

#[test]
fn frames_of_another_place_or_another_store_are_not_taken_for_its_own() {
    let (disk, all) = a_log(true);
    let first = disk.contents(&segment(1)).unwrap();
    let (mut store, recovered) = open(&disk).unwrap();
    run_jobs(&mut store);
    let active = named(&disk, ".seg").into_iter().rev().nth(1).unwrap();
    drop(store);
    // A block of the file comes up with what an older file had there.
    let mut stale = disk.contents(&active).unwrap();
    stale[64..].copy_from_slice(&first[64..]);
    disk.put(&active, stale);
    let (store, after) = open(&disk.kill()).unwrap();
    assert_eq!(contents(&store.reader(), &after), all);
    assert!(
        after.report.torn.is_some(),
        "it is cut off as what was never acknowledged"
    );
    assert_eq!(after.topics, recovered.topics);
}

#[test]
fn sizes_that_make_no_sense_are_refused() {
    let config = StoreConfig {
        segment_bytes: 100,
        ..StoreConfig::default()
    };
    let opened = open_with(&CrashDisk::new(), config);
    assert!(matches!(opened, Err(OpenError::SegmentBytes { .. })));
    for block_bytes in [0, 65_537] {
        let config = StoreConfig {
            block_bytes,
            ..StoreConfig::default()
        };
        let opened = open_with(&CrashDisk::new(), config);
        assert!(matches!(opened, Err(OpenError::BlockBytes { .. })));
    }
}

#[test]
fn a_number_after_which_there_are_none_is_refused_by_name() {
    for name in ["4294967295.ckpt", "4294967295.seg", "2147483649.gone"] {
        let (disk, _) = a_log(true);
        disk.put(name, b"stray".to_vec());
        for opening in [Opening::Careful, Opening::AcceptDataLoss] {
            let refused = open_as(&disk, opening).unwrap_err();
            assert!(matches!(refused, OpenError::Number { .. }), "{refused}");
            assert!(refused.to_string().contains(name), "{refused}");
        }
        disk.remove(name).unwrap();
        open(&disk).unwrap();
    }
}

#[test]
fn a_file_with_the_number_0_is_left_alone() {
    let (disk, all) = a_log(true);
    for ending in ["seg", "idx", "gone", "ckpt"] {
        disk.put(&format!("00000000.{ending}"), b"stray".to_vec());
    }
    let (store, recovered) = open(&disk).unwrap();
    assert!(recovered.report.is_clean(), "{}", recovered.report);
    assert_eq!(contents(&store.reader(), &recovered), all);
    assert!(disk.contents("00000000.seg").is_some());
}

#[test]
fn a_start_removes_what_a_log_was_making_and_leaves_files_of_others_with_such_names_alone() {
    let (disk, _) = a_log(true);
    let of_the_log = [
        "meta.tmp",
        "spare.tmp",
        "00000009.seg.tmp",
        "00000009.ckpt.tmp",
    ];
    let of_others = [
        "report.tmp",
        "9.seg.tmp",
        "00000009.tmp",
        "00000009.seg.tmp.tmp",
    ];
    for name in of_the_log.iter().chain(&of_others) {
        disk.put(name, b"left over".to_vec());
    }
    open(&disk).unwrap();
    for name in of_the_log {
        assert!(disk.contents(name).is_none(), "{name}");
    }
    for name in of_others {
        assert!(disk.contents(name).is_some(), "{name}");
    }
}
