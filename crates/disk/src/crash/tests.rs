#![allow(clippy::unwrap_used)]

use super::*;

#[test]
fn the_lock_is_held_until_it_is_dropped_or_the_process_dies() {
    let disk = CrashDisk::new();
    let lock = disk.lock("lock", "first").unwrap();
    let LockError::Held { by } = disk.lock("lock", "second").unwrap_err() else {
        panic!("it is held");
    };
    assert_eq!(by, "first");
    let next = disk.kill();
    assert!(disk.lock("lock", "second").is_err());
    let held = next.lock("lock", "third").unwrap();
    drop(lock);
    assert!(
        next.lock("lock", "fourth").is_err(),
        "a dead lock frees nothing"
    );
    drop(held);
    assert!(next.lock("lock", "fifth").is_ok());
}

#[test]
fn a_full_disk_refuses_growth_and_takes_what_fits() {
    let disk = CrashDisk::new();
    disk.set_faults(|faults| faults.capacity_bytes = Some(100));
    let file = disk.create("a").unwrap();
    assert_eq!(disk.free_bytes(), Some(100));
    file.write_at(&[1; 100], 0).unwrap();
    assert_eq!(disk.free_bytes(), Some(0));
    let refused = file.write_at(&[1; 1], 100).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::StorageFull);
    file.write_at(&[2; 100], 0).unwrap();
    disk.set_faults(|faults| faults.hide_free_bytes = true);
    assert_eq!(disk.free_bytes(), None);
}

#[test]
fn without_descriptors_open_files_go_on_and_no_other_is_opened() {
    let disk = CrashDisk::new();
    let file = disk.create("a").unwrap();
    disk.set_faults(|faults| faults.fail_opens = true);
    file.write_at(b"on", 0).unwrap();
    assert!(disk.open("a").is_err() && disk.create("b").is_err());
    assert_eq!(disk.open("c").unwrap_err().kind(), ErrorKind::NotFound);
    disk.set_faults(|faults| faults.fail_opens = false);
    disk.create("b").unwrap();
}

#[test]
fn one_call_fails_on_command_and_reads_end_early() {
    let disk = CrashDisk::new();
    disk.set_faults(|faults| faults.calls_before_failure = Some(1));
    let file = disk.create("a").unwrap();
    assert!(file.write_at(b"lost", 0).is_err());
    file.write_at(b"kept", 0).unwrap();
    disk.set_faults(|faults| faults.short_reads = true);
    let cut = file.read_at(&mut [0; 4], 0).unwrap_err();
    assert_eq!(cut.kind(), ErrorKind::UnexpectedEof);
}

#[test]
fn after_the_stop_nothing_works_until_the_next_life() {
    let disk = CrashDisk::new();
    disk.set_faults(|faults| faults.changes_before_stop = Some(2));
    let file = disk.create("a").unwrap();
    file.write_at(b"one", 0).unwrap();
    assert!(file.sync().is_err());
    assert!(disk.list().is_err());
    let next = disk.kill();
    assert_eq!(next.list().unwrap(), ["a"]);
    assert!(disk.list().is_err());
}

#[test]
fn a_copy_goes_its_own_way() {
    let disk = CrashDisk::new();
    disk.put("a", b"old".to_vec());
    let copy = disk.copy();
    disk.open("a").unwrap().write_at(b"new", 0).unwrap();
    assert_eq!(copy.contents("a").unwrap(), b"old");
    assert_eq!(disk.contents("a").unwrap(), b"new");
}

#[test]
fn what_the_device_does_not_give_back_fails_alone_until_all_of_its_block_is_written() {
    let disk = CrashDisk::new();
    disk.put("f", vec![7; 10_000]);
    disk.wear_out("f", 5_000);
    let file = disk.open("f").unwrap();
    let is_unread = |position| {
        let read = file.read_at(&mut [0; 10], position);
        read.as_ref().err().is_some_and(crate::is_unreadable)
    };
    for (position, expected) in [
        (0, false),
        (4_086, false),
        (4_087, true),
        (5_000, true),
        (8_191, true),
        (8_192, false),
    ] {
        assert_eq!(is_unread(position), expected, "{position}");
    }
    for (start, end) in [(5_000, 5_001), (4_096, 8_191), (4_097, 8_192), (0, 4_097)] {
        let written = file.write_at(&vec![8; end - start], start as u64);
        let is_refused = written.as_ref().err().is_some_and(crate::is_unreadable);
        assert!(is_refused, "{start}..{end}: {written:?}");
    }
    file.write_at(&[8; 10], 4_086).unwrap();
    assert!(is_unread(5_000));
    file.write_at(&[9; 4_096], 4_096).unwrap();
    assert!(!is_unread(5_000));
    drop(file);
    let crashed = disk.crash(1);
    let file = crashed.open("f").unwrap();
    let unread = file.read_at(&mut [0; 10], 5_000).unwrap_err();
    assert!(crate::is_unreadable(&unread), "it was not synced");
    file.write_at(&[9; 4_096], 4_096).unwrap();
    file.sync().unwrap();
    let disk = crashed.crash(2);
    let file = disk.open("f").unwrap();
    file.read_at(&mut [0; 10], 5_000).unwrap();
    disk.wear_out("f", 9_999);
    file.write_at(&[9; 10_000 - 8_192], 8_192).unwrap();
    file.read_at(&mut [0; 10], 9_990)
        .expect("the file ends with it");
    let refused = Error::from(ErrorKind::PermissionDenied);
    assert!(!crate::is_unreadable(&refused));
}
