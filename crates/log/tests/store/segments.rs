//! Segments fill, are indexed, folded into checkpoints and removed; messages move `[DISK-10]` `[DISK-11]`
//! `[DISK-18]`.

use heartwire_disk::{CrashDisk, Disk as _, InTurn};
use heartwire_log::store::{
    Opening, ReadError, Record, SegmentId, Store, StoreConfig, WriteError, check, reset_epochs,
};
use heartwire_proto::{Offset, Seq};

use super::moving::moved;
use super::support::*;

pub(super) fn fill(
    store: &mut Store<CrashDisk>,
    maker: &mut Maker,
    topic: &str,
    count: usize,
) -> Vec<Record> {
    let records: Vec<Record> = (0..count)
        .map(|n| {
            maker.message(
                topic,
                &format!("{n} {}", "p".repeat(100)),
                Some((producer(1), Seq(n as u64 + 1))),
            )
        })
        .collect();
    for record in &records {
        commit(store, std::slice::from_ref(record)).unwrap();
        run_jobs(store);
    }
    records
}

#[test]
fn a_full_segment_is_left_for_the_prepared_one_and_gets_its_index() {
    let disk = CrashDisk::new();
    let (mut store, _) = open(&disk).unwrap();
    assert_eq!(store.room_bytes(), 0);
    run_jobs(&mut store);
    assert!(!store.needs_segment());
    let room = store.room_bytes();
    fill(&mut store, &mut Maker::new(), "a", 12);
    assert!(store.room_bytes() <= room);
    assert_eq!(named(&disk, ".idx"), ["00000001.idx", "00000002.idx"]);
    assert_eq!(named(&disk, ".seg").len(), 4);
    store.close().unwrap();
    assert_eq!(
        named(&disk, ".seg").len(),
        3,
        "the prepared one was never used"
    );
    assert_eq!(named(&disk, ".idx").len(), 3);
}

#[test]
fn room_is_what_fits_for_certain() {
    let (_, mut store, mut maker) = an_empty_log();
    run_jobs(&mut store);
    for _ in 0..40 {
        let record = maker.message("a", &"r".repeat(90), None);
        let bytes = entry_of(&record).wire_bytes(heartwire_log::Form::V1)
            + heartwire_log::store::RECORD_OVERHEAD_BYTES_MAX;
        let room = store.room_bytes();
        match store.write(&batch(std::slice::from_ref(&record)), &mut Vec::new()) {
            Ok(()) => store.sync().unwrap(),
            Err(WriteError::NoRoom { .. }) => {
                assert!(room < bytes as u64, "{room} bytes were promised");
                run_jobs(&mut store);
            }
            Err(error) => panic!("{error}"),
        }
    }
    let large = maker.message("a", &"r".repeat(2_000), None);
    let refused = commit(&mut store, &[large]).unwrap_err();
    assert!(matches!(refused, WriteError::TooLarge { .. }) && !refused.is_final());
}

/// One of the messages of a removed segment was damaged: its neighbours, written again, must not be
/// taken for what lies below a hole.
#[test]
fn what_damage_took_of_a_removed_segment_is_a_gap_and_no_hole() {
    let disk = CrashDisk::new();
    let (mut store, _) = open(&disk).unwrap();
    let records = fill(&mut store, &mut Maker::new(), "a", 12);
    let (topic, origin) = topic_of(&records[1]);
    let lost = Record::Lost {
        topic: topic.clone(),
        origin,
        offset: Offset(2),
    };
    let (_, first) = reopened(&disk, store, true);
    let in_first = first.topics[0].places.iter();
    let in_first = in_first
        .filter(|place| place.segment == SegmentId(1))
        .count();
    assert!(in_first >= 3, "{in_first} messages");
    for is_indexed in [true, false] {
        let (mut store, _) = open(&disk).unwrap();
        if is_indexed {
            let again = (0..in_first).map(|at| match at {
                1 => lost.clone(),
                at => moved(&records[at]),
            });
            run_jobs(&mut store);
            commit(&mut store, &again.collect::<Vec<_>>()).unwrap();
            store.remove(&[SegmentId(1)]);
            run_jobs(&mut store);
            store.close().unwrap();
        } else {
            drop(store);
            for index in named(&disk, ".idx") {
                disk.remove(&index).unwrap();
            }
        }
        let (_, recovered) = open(&disk).unwrap();
        let topic = &recovered.topics[0];
        assert_eq!((topic.base, topic.end), (Offset(0), Offset(12)));
        assert_eq!(topic.gaps, [(Offset(2), Offset(2))]);
        assert_eq!(topic.places.len(), 11);
    }
    assert!(!named(&disk, ".seg").contains(&segment(1)));
}

#[test]
fn the_last_messages_below_a_checkpoint_are_named_when_damage_took_them() {
    let (disk, mut store, mut maker) = an_empty_log();
    fill(&mut store, &mut maker, "a", 9);
    fill(&mut store, &mut maker, "b", 14);
    store.remove(&[SegmentId(3)]);
    run_jobs(&mut store);
    assert_eq!(named(&disk, ".ckpt").len(), 1);
    fill(&mut store, &mut maker, "a", 3);
    store.close().unwrap();
    let disk = disk.copy();
    let before = check(disk.clone(), &InTurn).unwrap();
    let places = before.topics[0].places.to_vec();
    assert_eq!((places.len(), places[8].segment), (12, SegmentId(2)));
    disk.flip_bit(&segment(2), u64::from(places[8].position) + 20, 1);
    disk.flip_bit(&named(&disk, ".idx")[1], 40, 1);
    let (_, recovered) = open_as(&disk, Opening::AcceptDataLoss).unwrap();
    let topic = &recovered.topics[0];
    assert_eq!((topic.base, topic.end), (Offset(0), Offset(12)));
    assert_eq!(topic.gaps, [(Offset(9), Offset(9))]);
    assert_eq!(topic.places.len(), 11);
}

#[test]
fn producers_and_ends_outlive_all_messages_and_their_segments() {
    let (disk, mut store, mut maker) = an_empty_log();
    let records = fill(&mut store, &mut maker, "gone", 12);
    fill(&mut store, &mut maker, "stays", 6);
    let (mut store, recovered) = reopened(&disk, store, true);
    let gone = found(&recovered, "gone").places.to_vec();
    let last = gone.last().unwrap().segment;
    let segments: Vec<_> = recovered
        .segments
        .iter()
        .map(|s| s.id)
        .filter(|s| *s <= last)
        .collect();
    let reader = store.reader();
    store.remove(&segments);
    run_jobs(&mut store);
    let left = named(&disk, ".seg");
    assert!(
        segments.iter().all(|s| !left.contains(&segment(s.0))),
        "{left:?}"
    );
    let (topic, origin) = topic_of(&records[0]);
    let read = reader.read(topic, origin, Offset(1), &gone[..1], &mut Vec::new());
    assert!(matches!(read, Err(ReadError::Gone { .. })));
    for seed in 0..10 {
        let (_, recovered) = open(&disk.copy().crash(seed)).unwrap();
        assert_eq!(ends(&recovered)["gone"], 12);
        let topic = found(&recovered, "gone");
        assert_eq!((topic.base, topic.places.len()), (Offset(12), 0));
        assert_eq!(recovered.producers.len(), 1);
        assert_eq!(recovered.producers[0].1, Seq(12));
        assert!(recovered.report.is_clean(), "{}", recovered.report);
    }
}

#[test]
fn a_checkpoint_keeps_no_more_producers_than_it_may_those_that_published_last() {
    let disk = CrashDisk::new();
    let bounds = StoreConfig {
        producers_max: 3,
        ..config()
    };
    let (mut store, _) = open_with(&disk, bounds).unwrap();
    run_jobs(&mut store);
    let mut maker = Maker::new();
    for n in 0..6 {
        let publisher = Some((producer(n), Seq(7)));
        for _ in 0..4 {
            let record = maker.message("a", &"p".repeat(100), publisher);
            commit(&mut store, &[record]).unwrap();
            run_jobs(&mut store);
        }
    }
    store.remove(&[id(1)]);
    run_jobs(&mut store);
    drop(store);
    let (_, recovered) = open(&disk.kill()).unwrap();
    let known: Vec<_> = recovered.producers.iter().map(|known| known.0).collect();
    assert!(known.contains(&producer(5)) && !known.contains(&producer(0)));
}

#[test]
fn a_segment_goes_only_when_a_durable_checkpoint_covers_it() {
    let (disk, mut store, mut maker) = an_empty_log();
    fill(&mut store, &mut maker, "a", 12);
    store.remove(&[id(1), id(4)]);
    disk.set_faults(|faults| faults.fail_syncs = true);
    run_jobs(&mut store);
    assert!(
        named(&disk, ".seg").contains(&segment(1)),
        "the checkpoint was not durable"
    );
    assert!(named(&disk, ".ckpt").is_empty());
    disk.set_faults(|faults| faults.fail_syncs = false);
    run_jobs(&mut store);
    assert!(!named(&disk, ".seg").contains(&segment(1)));
    assert_eq!(named(&disk, ".gone"), ["00000001.gone"]);
    assert_eq!(named(&disk, ".ckpt").len(), 1);
    drop(store);
    let (_, recovered) = open(&disk.kill()).unwrap();
    assert_eq!(ends(&recovered)["a"], 12);
}

#[test]
fn segments_that_hold_numbers_alone_go_by_themselves_and_leave_the_numbers() {
    let (disk, mut store, mut maker) = an_empty_log();
    fill(&mut store, &mut maker, "a", 1);
    for n in 1..=100 {
        let number = Record::Number {
            producer: producer(2),
            seq: Seq(n),
        };
        commit(&mut store, &[number]).unwrap();
        run_jobs(&mut store);
    }
    let left = named(&disk, ".seg");
    assert!(left.len() <= 3, "{left:?}");
    assert_eq!(left[0], segment(1), "a message stands in it");
    drop(store);
    let (_, recovered) = open(&disk.kill()).unwrap();
    let numbers: Vec<Seq> = recovered.producers.iter().map(|known| known.1).collect();
    assert!(numbers.contains(&Seq(100)), "{numbers:?}");
    assert_eq!(ends(&recovered)["a"], 1);
}

#[test]
fn a_damaged_checkpoint_is_replaced_by_the_one_before() {
    let (disk, mut store, mut maker) = an_empty_log();
    fill(&mut store, &mut maker, "a", 8);
    store.remove(&[id(1)]);
    run_jobs(&mut store);
    fill(&mut store, &mut maker, "b", 8);
    store.remove(&[id(2)]);
    run_jobs(&mut store);
    let (store, expected) = reopened(&disk, store, true);
    drop(store);
    let checkpoints = named(&disk, ".ckpt");
    assert_eq!(checkpoints.len(), 2);

    let newest = disk.copy();
    newest.flip_bit(&checkpoints[1], 40, 3);
    let (_, mut recovered) = open(&newest).unwrap();
    let (found, known) = (&mut recovered.topics[0], &expected.topics[0]);
    assert!(found.last_append < known.last_append, "its segment went");
    found.last_append = known.last_append;
    assert_eq!(recovered.topics, expected.topics);
    assert_eq!(recovered.producers, expected.producers);
    assert_eq!(recovered.report.rebuilt[0].file, checkpoints[1]);

    let both = disk.copy();
    both.flip_bit(&checkpoints[0], 40, 3);
    both.flip_bit(&checkpoints[1], 40, 3);
    assert!(open(&both).is_err());
    let (_, recovered) = open_as(&both, Opening::AcceptDataLoss).unwrap();
    assert_eq!(
        recovered.report.new_epochs.len(),
        2,
        "no end can be trusted"
    );
    assert!(recovered.report.producers_lost);
    let (_, again) = open(&both.kill()).unwrap();
    assert_eq!(again.topics, recovered.topics);
}

/// A file of the log rots while a store works with it. Segments go all the same, and once the next two
/// checkpoints are there nothing is left of it.
fn rots(choose: impl Fn(&CrashDisk) -> String) {
    let (disk, mut store, mut maker) = an_empty_log();
    let mut all = Vec::new();
    for round in 0..4 {
        let records = fill(&mut store, &mut maker, "a", 12);
        all.extend(records.iter().filter_map(written));
        store.remove(&[id(2 * round + 1), id(2 * round + 2)]);
        if round == 2 {
            disk.flip_bit(&choose(&disk), 40, 1);
        }
        run_jobs(&mut store);
        let left = named(&disk, ".seg");
        assert!(!left.contains(&segment(2 * round + 2)), "{left:?}");
    }
    let checked = check(disk.copy(), &InTurn).unwrap();
    assert_eq!((checked.damage, checked.rebuilt), (vec![], vec![]));
    assert_eq!(checked.spare, vec![]);
    let (store, recovered) = reopened(&disk, store, true);
    assert!(recovered.report.is_clean(), "{}", recovered.report);
    let held = contents(&store.reader(), &recovered);
    assert_eq!(held[..], all[all.len() - held.len()..]);
    assert_eq!(ends(&recovered)["a"], 48);
}

#[test]
fn a_checkpoint_that_rots_while_the_store_works_is_passed_over() {
    rots(|disk| named(disk, ".ckpt").pop().unwrap());
}

#[test]
fn an_index_that_rots_while_the_store_works_is_made_again() {
    rots(|disk| {
        let newest = named(disk, ".ckpt").pop().unwrap().replace(".ckpt", ".idx");
        let mut since = named(disk, ".idx").into_iter();
        since.find(|index| *index >= newest).unwrap()
    });
}

#[test]
fn a_segment_that_only_a_damaged_checkpoint_let_go_is_neither_missed_later_nor_remembered_for_ever()
{
    let (disk, mut store, mut maker) = an_empty_log();
    fill(&mut store, &mut maker, "a", 20);
    store.remove(&[id(1)]);
    run_jobs(&mut store);
    fill(&mut store, &mut maker, "b", 8);
    store.remove(&[id(2)]);
    run_jobs(&mut store);
    drop(store);
    let checkpoints = named(&disk, ".ckpt");
    disk.flip_bit(&checkpoints[1], 40, 3);
    let disk = disk.kill();
    let (mut store, recovered) = open(&disk).unwrap();
    assert_eq!(recovered.report.rebuilt[0].file, checkpoints[1]);
    let mut maker = Maker::after(&recovered);
    for segment in [3, 4, 5] {
        fill(&mut store, &mut maker, "c", 8);
        store.remove(&[id(segment)]);
        run_jobs(&mut store);
    }
    drop(store);
    let gone = named(&disk, ".gone");
    assert!(!gone.contains(&"00000002.gone".to_owned()), "{gone:?}");
    let (_, recovered) = open(&disk.kill()).unwrap();
    assert!(recovered.report.is_clean(), "{}", recovered.report);
}

#[test]
fn a_checkpoint_comes_when_enough_indexes_have_gathered_though_nothing_is_removed() {
    let (disk, mut store, mut maker) = an_empty_log();
    let mut topics = 0_usize;
    let mut came_after = Vec::new();
    for count in 1..=2 {
        let before = topics;
        while named(&disk, ".ckpt").len() < count {
            // Long names make long indexes: two thousand are 256 KiB of them.
            topics += 1;
            assert!(topics < 8_000, "no checkpoint comes");
            let name = format!("{topics:a>120}");
            commit(&mut store, &[maker.message(&name, "m", None)]).unwrap();
            run_jobs(&mut store);
        }
        came_after.push(topics - before);
    }
    assert!(came_after[0] > 1_500, "{came_after:?}");
    assert!(
        came_after[1].abs_diff(came_after[0]) < 200,
        "{came_after:?}"
    );
    drop(store);
    let (_, recovered) = open(&disk.kill()).unwrap();
    assert_eq!(recovered.topics.len(), topics);
    assert!(recovered.report.is_clean(), "{}", recovered.report);
}

#[test]
fn two_checkpoints_stay_and_what_the_older_one_needs() {
    let (disk, mut store, mut maker) = an_empty_log();
    for round in 0..4 {
        fill(&mut store, &mut maker, "a", 6);
        store.remove(&[id(round + 1)]);
        run_jobs(&mut store);
    }
    assert_eq!(named(&disk, ".ckpt").len(), 2);
    assert!(
        named(&disk, ".gone").len() <= 2,
        "{:?}",
        named(&disk, ".gone")
    );
}

#[test]
fn trimmed_messages_below_a_removed_segment_stay_trimmed() {
    let (disk, mut store, mut maker) = an_empty_log();
    fill(&mut store, &mut maker, "a", 12);
    store.remove(&[id(2)]);
    run_jobs(&mut store);
    drop(store);
    let (store, recovered) = open(&disk.kill()).unwrap();
    let topic = &recovered.topics[0];
    assert!(topic.places.iter().all(|place| place.segment > id(2)));
    assert_eq!(topic.base.0 as usize + topic.places.len(), 12);
    assert!(topic.gaps.is_empty() && recovered.report.is_clean());
    assert_eq!(
        contents(&store.reader(), &recovered).len(),
        topic.places.len()
    );
}

#[test]
fn a_topic_born_again_has_nothing_of_its_former_life() {
    let (disk, mut store, mut maker) = an_empty_log();
    let first = maker.message("a", "first life", None);
    let born = "zzz".parse().unwrap();
    let second = Record::Message {
        topic: "a".parse().unwrap(),
        origin: born,
        offset: Offset(1),
        entry: entry_of(&maker.message("a", "second life", None)).clone(),
        producer: None,
    };
    commit(&mut store, &[first]).unwrap();
    let places = commit(&mut store, &[second]).unwrap();
    for is_closed in [false, true] {
        let opened = reopened(&disk, store, is_closed);
        store = opened.0;
        let topic = &opened.1.topics[0];
        assert_eq!(
            (topic.origin, topic.epoch, topic.end),
            (born, born, Offset(1))
        );
        assert_eq!(topic.places.to_vec(), places);
    }
}

#[test]
fn an_older_copy_gets_new_epochs_and_keeps_its_messages() {
    let (disk, all) = a_log(true);
    let (_, before) = open(&disk).unwrap();
    let copy = disk.copy();
    assert_eq!(
        reset_epochs(copy.clone(), &config(), 5, &InTurn).unwrap(),
        3
    );
    for seed in 0..5 {
        let (store, after) = open(&copy.copy().crash(seed)).unwrap();
        for (before, after) in before.topics.iter().zip(&after.topics) {
            assert_ne!(before.epoch, after.epoch);
            assert_eq!((before.origin, before.end), (after.origin, after.end));
        }
        assert_eq!(contents(&store.reader(), &after), all);
    }
    assert!(check(copy, &InTurn).unwrap().damage.is_empty());
}
