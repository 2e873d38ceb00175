//! Messages are written again, so that their segments can go `[DISK-11]`.

use heartwire_disk::CrashDisk;
use heartwire_log::store::{DiskPlace, OpenError, Opening, Record, Store};
use heartwire_proto::Offset;

use super::segments::fill;
use super::support::*;

/// The same message, to be written again.
pub(super) fn moved(record: &Record) -> Record {
    let Record::Message {
        topic,
        origin,
        offset,
        entry,
        ..
    } = record.clone()
    else {
        panic!("only messages move");
    };
    Record::Moved {
        topic,
        origin,
        offset,
        entry,
    }
}

#[test]
fn a_moved_message_stands_where_it_was_written_last() {
    let (disk, mut store, mut maker) = an_empty_log();
    let old = [
        maker.message("slow", "kept", None),
        maker.message("slow", "kept too", None),
    ];
    commit(&mut store, &old).unwrap();
    fill(&mut store, &mut maker, "fast", 12);
    let again = [
        moved(&old[0]),
        maker.message("slow", "third", None),
        moved(&old[1]),
    ];
    let places = commit(&mut store, &again).unwrap();
    run_jobs(&mut store);
    store.remove(&[id(1)]);
    run_jobs(&mut store);
    assert!(!named(&disk, ".seg").contains(&segment(1)));
    for is_closed in [false, true] {
        let opened = reopened(&disk, store, is_closed);
        store = opened.0;
        let topic = found(&opened.1, "slow");
        assert_eq!(topic.places.to_vec(), [places[0], places[2], places[1]]);
        let mut entries = Vec::new();
        let reader = store.reader();
        reader
            .read(
                &topic.name,
                topic.origin,
                Offset(1),
                &topic.places.to_vec(),
                &mut entries,
            )
            .unwrap();
        assert_eq!(&entries[1], entry_of(&old[1]));
    }
}

/// A log with three messages of the topic `slow`, in a segment each, and where they stand.
struct Slow {
    disk: CrashDisk,
    store: Store<CrashDisk>,
    maker: Maker,
    messages: Vec<Record>,
    places: Vec<DiskPlace>,
}

fn a_slow_topic() -> Slow {
    let (disk, mut store, mut maker) = an_empty_log();
    let mut messages = Vec::new();
    let mut places = Vec::new();
    for text in ["stays", "moves", "stays too"] {
        let record = maker.message("slow", text, None);
        places.extend(commit(&mut store, std::slice::from_ref(&record)).unwrap());
        messages.push(record);
        fill(&mut store, &mut maker, "fast", 8);
    }
    Slow {
        disk,
        store,
        maker,
        messages,
        places,
    }
}

#[test]
fn a_message_moved_out_from_between_others_leaves_no_hole() {
    let Slow {
        disk,
        mut store,
        maker: _,
        messages: slow,
        mut places,
    } = a_slow_topic();
    let emptied = places[1].segment;
    assert!(places[0].segment < emptied && emptied < places[2].segment);
    places[1] = commit(&mut store, &[moved(&slow[1])]).unwrap()[0];
    run_jobs(&mut store);
    store.remove(&[emptied]);
    run_jobs(&mut store);
    assert!(!named(&disk, ".seg").contains(&segment(emptied.0)));
    for is_closed in [false, true, false] {
        let opened = reopened(&disk, store, is_closed);
        store = opened.0;
        let topic = found(&opened.1, "slow");
        assert_eq!((topic.base, topic.end), (Offset::ZERO, Offset(3)));
        assert_eq!(topic.places.to_vec(), places);
        assert!(opened.1.report.is_clean());
    }
}

#[test]
fn a_message_that_damage_takes_where_it_was_moved_takes_none_before_it() {
    let Slow {
        disk,
        mut store,
        mut maker,
        messages: slow,
        places,
    } = a_slow_topic();
    let moved = commit(&mut store, &[moved(&slow[1])]).unwrap()[0];
    let next = maker.message("fast", "next", None);
    let behind = commit(&mut store, &[next]).unwrap()[0];
    assert_eq!(moved.segment, behind.segment);
    run_jobs(&mut store);
    store.remove(&[places[1].segment]);
    run_jobs(&mut store);
    drop(store);
    let disk = disk.kill();
    disk.flip_bit(&segment(moved.segment.0), u64::from(moved.position) + 20, 1);
    assert!(matches!(open(&disk), Err(OpenError::Damaged { .. })));
    let (store, recovered) = open_as(&disk, Opening::AcceptDataLoss).unwrap();
    let topic = found(&recovered, "slow");
    assert_eq!((topic.base, topic.end), (Offset::ZERO, Offset(3)));
    assert_eq!(topic.gaps, [(Offset(2), Offset(2))]);
    let held = contents(&store.reader(), &recovered);
    let held = held
        .iter()
        .filter(|written| written.topic == "slow")
        .count();
    assert_eq!(held, 2);
}
