//! Damage is accepted on a disk that is full, or by a process that comes no further: it costs what it
//! would have cost otherwise, and is told as often as it takes `[DISK-15]`.

use heartwire_disk::{CrashDisk, Disk as _, DiskFile as _, InTurn};
use heartwire_log::store::{Damage, DiskPlace, OpenError, Opening, Recovered, check};

use heartwire_proto::Offset;

use super::support::*;

/// A log of three segments, of which the first alone has its index: that names what damage took there.
/// Of what stood before the last frame of all nobody can say how much it was.
fn a_damaged_log() -> CrashDisk {
    let (disk, _) = a_log(true);
    let indexes = named(&disk, ".idx");
    assert_eq!(indexes.len(), 3);
    for name in &indexes[1..] {
        disk.remove(name).unwrap();
    }
    for (number, position) in [(1, 300), (3, 100)] {
        disk.flip_bit(&segment(number), position, 1);
    }
    disk.kill()
}

fn used_bytes(disk: &CrashDisk) -> u64 {
    let names = disk.list().unwrap();
    let lengths = names.iter().map(|name| disk.open(name).unwrap().len());
    lengths.map(Result::unwrap).sum()
}

fn leave_room(disk: &CrashDisk, bytes: u64) {
    let capacity = used_bytes(disk) + bytes;
    disk.set_faults(|faults| faults.capacity_bytes = Some(capacity));
}

/// Everything that damage has taken, and of which topics nobody knows how much.
fn losses(recovered: &Recovered) -> Vec<(String, u64, u64, Vec<u64>, bool)> {
    let topics = recovered.topics.iter().map(|topic| {
        let gaps = topic.gaps.iter();
        let gaps = gaps.flat_map(|(first, last)| [first.0, last.0]).collect();
        let name = topic.name.to_string();
        let is_renewed: bool = topic.epoch != topic.origin;
        (name, topic.base.0, topic.end.0, gaps, is_renewed)
    });
    topics.collect()
}

/// Accepts all damage. It is met once, also by who reads everything that has an index.
fn accept(disk: &CrashDisk) -> Recovered {
    let (_, recovered) = open_as(disk, Opening::AcceptDataLoss).unwrap();
    let (_, again) = open_both_ways(&disk.copy()).unwrap();
    assert_eq!(again.topics, recovered.topics);
    recovered
}

fn refused(disk: &CrashDisk, context: &str) -> Vec<Damage> {
    match open(disk) {
        Err(OpenError::Damaged { damage, .. }) => damage,
        Err(error) => panic!("{context}: {error}"),
        Ok(_) => panic!("{context}: it was opened"),
    }
}

#[test]
fn what_counts_for_nothing_makes_room_for_what_is_written_about_damage() {
    let disk = a_damaged_log();
    let expected = accept(&disk.copy());
    disk.put("spare.tmp", vec![7; 20_000]);
    leave_room(&disk, 0);
    let recovered = accept(&disk);
    assert_eq!(recovered.topics, expected.topics);
    assert!(disk.contents("spare.tmp").is_none());
    disk.set_faults(|faults| faults.capacity_bytes = None);
    let (_, again) = open(&disk.kill()).unwrap();
    assert_eq!(again.topics, expected.topics);
}

#[test]
fn a_full_disk_is_an_honest_refusal_and_the_same_damage_is_told_once_there_is_space() {
    let disk = a_damaged_log();
    let damage = check(disk.copy(), &InTurn).unwrap().damage;
    let whole = accept(&disk.copy());
    let expected = losses(&whole);
    assert!(expected.iter().any(|topic| topic.4), "{expected:?}");
    let mut refusals = 0;
    for bytes in (0..8_000).step_by(40) {
        let disk = disk.copy();
        let context = format!("{bytes} bytes are left");
        leave_room(&disk, bytes);
        let opened = open_as(&disk, Opening::AcceptDataLoss);
        disk.set_faults(|faults| faults.capacity_bytes = None);
        match opened {
            Err(OpenError::File(error)) => assert!(error.is_no_space(), "{context}: {error}"),
            Err(error) => panic!("{context}: {error}"),
            Ok(_) => break,
        }
        refusals += 1;
        let (killed, context) = (disk.kill(), &context);
        assert!(!refused(&killed, context).is_empty());
        let recovered = accept(&killed);
        assert!(
            recovered
                .report
                .accepted
                .iter()
                .all(|found| damage.contains(found)),
            "{context}: {}",
            recovered.report
        );
        assert_eq!(losses(&recovered), expected, "{context}");
    }
    assert!((3..200).contains(&refusals), "{refusals}");
}

#[test]
fn a_process_that_ends_while_damage_is_accepted_hides_none_of_it() {
    let disk = a_damaged_log();
    let whole = disk.copy();
    let expected = losses(&accept(&whole));
    let changes = whole.calls().changes();
    assert!(changes > 10, "{changes}");
    for (stop, seed) in (0..changes).flat_map(|stop| (0..4).map(move |seed| (stop, seed))) {
        let copy = disk.copy();
        let after = copy.calls().changes() + stop;
        copy.set_faults(|faults| faults.changes_before_stop = Some(after));
        let _ = open_as(&copy, Opening::AcceptDataLoss);
        let ended = match seed {
            0 => copy.kill(),
            seed => copy.crash(seed),
        };
        let context = format!("{stop} changes, seed {seed}");
        let found = match open_with(&ended, by_turns(seed)) {
            Ok((_, recovered)) => recovered,
            Err(OpenError::Damaged { .. }) => accept(&ended),
            Err(error) => panic!("{context}: {error}"),
        };
        assert_eq!(losses(&found), expected, "{context}");
        let (_, again) = open_both_ways(&ended.kill()).unwrap();
        assert_eq!(again.topics, found.topics, "{context}");
    }
}

/// One topic alone, with messages in three segments.
fn a_topic() -> (CrashDisk, Vec<DiskPlace>) {
    let (disk, mut store, mut maker) = an_empty_log();
    let mut places = Vec::new();
    for round in 0..16 {
        let record = maker.message("a", &format!("{round} {}", "x".repeat(100)), None);
        places.extend(commit(&mut store, &[record]).unwrap());
        run_jobs(&mut store);
    }
    store.close().unwrap();
    assert_eq!(named(&disk, ".seg").len(), 3);
    (disk.kill(), places)
}

/// How many messages of the topic stand in a segment.
fn count_in(places: &[DiskPlace], number: u32) -> u64 {
    let inside = places.iter().filter(|place| place.segment == id(number));
    inside.count() as u64
}

#[test]
fn messages_missing_before_a_segment_are_named_though_others_in_it_are_lost_too() {
    let (disk, places) = a_topic();
    let before = count_in(&places, 1);
    disk.remove(&segment(1)).unwrap();
    disk.remove("00000001.idx").unwrap();
    let hit = before + 2;
    let place = places[hit as usize];
    disk.flip_bit(&segment(2), u64::from(place.position) + 20, 1);
    let lost = [(1, before), (hit + 1, hit + 1)];
    let lost = lost.map(|(first, last)| (Offset(first), Offset(last)));
    let recovered = accept(&disk);
    assert_eq!(recovered.topics[0].gaps, lost, "{}", recovered.report);
    let (_, again) = open(&disk.kill()).unwrap();
    assert_eq!(again.topics, recovered.topics);
}

#[test]
fn frames_that_vanished_at_the_end_of_a_segment_are_named_beside_other_damage() {
    for is_cut in [true, false] {
        let (disk, places) = a_topic();
        let last = count_in(&places, 1);
        let name = segment(1);
        disk.flip_bit(&name, u64::from(places[1].position) + 20, 1);
        let mut bytes = disk.contents(&name).unwrap();
        let end = places[last as usize - 2];
        let end = (end.position + end.bytes) as usize;
        match is_cut {
            true => bytes.truncate(end),
            false => bytes[end..].fill(0),
        }
        disk.put(&name, bytes);
        let damage = check(disk.copy(), &InTurn).unwrap().damage;
        assert_eq!(damage.len(), 2, "{damage:?}");
        let recovered = accept(&disk);
        let lost = [2, last].map(|offset| (Offset(offset), Offset(offset)));
        assert_eq!(recovered.topics[0].gaps, lost, "{}", recovered.report);
        assert_eq!(check(disk.kill(), &InTurn).unwrap().damage, []);
    }
}

#[test]
fn a_segment_accepted_as_damaged_in_whole_keeps_what_its_index_knows() {
    for number in 1..=3 {
        let (disk, _) = a_topic();
        let length = disk.contents(&segment(number)).unwrap().len();
        disk.put(&segment(number), vec![0xAA; length]);
        let recovered = accept(&disk);
        assert!(!recovered.report.lost.is_empty());
        let mut disk = disk.kill();
        for is_damaged in [false, true, false] {
            if is_damaged {
                disk.flip_bit("meta", 20, 1);
            }
            let again = accept(&disk);
            assert_eq!(again.topics, recovered.topics, "segment {number}");
            assert!(again.report.accepted.is_empty(), "{}", again.report);
            disk = disk.kill();
            let (_, careful) = open(&disk).unwrap();
            assert_eq!(careful.topics, recovered.topics, "segment {number}");
            for checkpoint in named(&disk, ".ckpt") {
                assert!(!named(&disk, ".idx").is_empty());
                let without = disk.copy();
                without.remove(&checkpoint).unwrap();
                let end = open(&without).map(|(_, found)| found.topics[0].end);
                assert_eq!(end.unwrap(), recovered.topics[0].end, "segment {number}");
            }
            disk = disk.kill();
        }
    }
}

/// A topic with a few messages in the second segment, below a checkpoint, where no other is; and the
/// places of all its messages.
fn a_small_topic_below_a_checkpoint() -> (CrashDisk, Vec<DiskPlace>) {
    let (disk, mut store, mut maker) = an_empty_log();
    let (mut small, mut round) = (Vec::new(), 0);
    while named(&disk, ".idx").len() < 4 {
        let is_small = [8, 9].contains(&round);
        let topic = if is_small { "small" } else { "large" };
        let record = maker.message(topic, &"x".repeat(100), None);
        let places = commit(&mut store, &[record]).unwrap();
        small.extend(places.into_iter().filter(|_| is_small));
        run_jobs(&mut store);
        round += 1;
    }
    store.remove(&[id(4)]);
    run_jobs(&mut store);
    assert_eq!(named(&disk, ".ckpt").len(), 1);
    store.close().unwrap();
    assert!(small.iter().all(|place| place.segment == id(2)));
    (disk.kill(), small)
}

#[test]
fn a_topic_of_which_damage_took_everything_below_a_checkpoint_is_lost_and_not_trimmed() {
    let (disk, small) = a_small_topic_below_a_checkpoint();
    for place in &small {
        disk.flip_bit(&segment(2), u64::from(place.position) + 20, 1);
    }
    disk.flip_bit("00000002.idx", 40, 1);
    let recovered = accept(&disk);
    let topic = found(&recovered, "small");
    assert_eq!((topic.base, topic.end), (Offset(0), Offset(2)));
    assert_eq!(topic.gaps, [(Offset(1), Offset(2))], "{}", recovered.report);
    let (_, again) = open(&disk.kill()).unwrap();
    assert_eq!(again.topics, recovered.topics);
}

#[test]
fn a_topic_whose_segments_were_removed_on_purpose_is_trimmed_and_not_lost() {
    let (disk, _) = a_small_topic_below_a_checkpoint();
    let (mut store, _) = open(&disk).unwrap();
    store.remove(&[id(2)]);
    run_jobs(&mut store);
    store.close().unwrap();
    let disk = disk.kill();
    disk.flip_bit(&segment(1), 100, 1);
    disk.flip_bit("00000001.idx", 40, 1);
    let recovered = accept(&disk);
    let topic = found(&recovered, "small");
    assert_eq!((topic.base, topic.end), (Offset(2), Offset(2)));
    assert_eq!(topic.gaps, [], "{}", recovered.report);
}

#[test]
fn of_damage_in_many_places_the_first_are_told_and_the_others_counted() {
    let (disk, mut store, mut maker) = an_empty_log();
    for _ in 0..200 {
        commit(&mut store, &[maker.message("a", "x", None)]).unwrap();
        run_jobs(&mut store);
    }
    drop(store);
    let disk = disk.kill();
    for name in named(&disk, ".idx") {
        disk.remove(&name).unwrap();
    }
    for name in named(&disk, ".seg") {
        let bytes = disk.contents(&name).unwrap();
        let frames = bytes.windows(4).enumerate();
        let frames = frames.filter(|(_, four)| *four == b"HwF1");
        for (position, _) in frames.step_by(2) {
            disk.flip_bit(&name, position as u64 + 30, 1);
        }
    }
    let refused = open(&disk).unwrap_err();
    let OpenError::Damaged { damage, .. } = &refused else {
        panic!("{refused}");
    };
    let more = format!("; and {} more", damage.len() - 10);
    let told = refused.to_string();
    assert!(told.contains(&more), "{told}");
    assert_eq!(told.matches("at byte").count(), 10, "{told}");
    let report = accept(&disk).report;
    assert_eq!(report.accepted, *damage);
    let told = report.to_string();
    let more = format!("accepted damage: {} more", damage.len() - 50);
    assert!(told.contains(&more), "{told}");
    assert!(told.contains("lost: "), "{told}");
    assert!(told.lines().count() < 160, "{told}");
}
