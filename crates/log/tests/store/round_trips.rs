//! What is written is read back, whatever it is.

use heartwire_disk::{CrashDisk, FileDisk};
use heartwire_log::store::{DiskPlace, Opening, ReadError, Record};
use heartwire_log::{Append, Log, LogConfig, Now, ProducerKey};
use heartwire_proto::frame::{Message, Publisher};
use heartwire_proto::id::TopicRef;
use heartwire_proto::{LogId, Offset, Seq, Time, WallTime};
use proptest::collection::vec;
use proptest::prelude::*;

use super::support::*;

#[test]
fn a_new_folder_becomes_a_log_and_stays_that_log() {
    let disk = CrashDisk::new();
    let (store, recovered) = open(&disk).unwrap();
    assert!(recovered.topics.is_empty() && recovered.report.is_clean());
    store.close().unwrap();
    let other = heartwire_log::store::Fresh {
        log: LogId::from_random(8),
        ..fresh()
    };
    let spread = heartwire_disk::InTurn;
    let (_, again) =
        heartwire_log::store::Store::open(disk, config(), other, Opening::Careful, &spread)
            .unwrap();
    assert_eq!(again.log, fresh().log);
    assert_eq!(again.key, fresh().key);
}

#[test]
fn messages_are_read_back_by_place_and_after_any_kind_of_stop() {
    for is_closed in [true, false] {
        let (disk, all) = a_log(is_closed);
        let (store, recovered) = open_both_ways(&disk).unwrap();
        assert_eq!(contents(&store.reader(), &recovered), all);
        assert!(recovered.report.is_clean(), "{}", recovered.report);
        let [first, second] = recovered.producers[..] else {
            panic!("two producers");
        };
        assert_eq!((first.1, second.1), (Seq(6), Seq(6)));
        assert!(recovered.log_time > Time::from_millis(1_000));
    }
}

#[test]
fn a_real_folder_holds_a_log_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let disk = FileDisk::create(folder.path().join("data/log")).unwrap();
    let (mut store, _) = open(&disk).unwrap();
    let mut maker = Maker::new();
    let mut all = Vec::new();
    for round in 0..30 {
        let record = maker.message("topic", &format!("message {round}"), None);
        all.extend(written(&record));
        commit(&mut store, &[record]).unwrap();
    }
    all.sort();
    drop(store);
    let (store, recovered) = open(&disk).unwrap();
    assert_eq!(contents(&store.reader(), &recovered), all);
    store.close().unwrap();
    let (store, recovered) = open(&disk).unwrap();
    assert_eq!(contents(&store.reader(), &recovered), all);
}

#[test]
fn a_place_gives_its_own_message_and_no_other() {
    let (_, mut store, mut maker) = an_empty_log();
    let records = [
        maker.message("a", "one", None),
        maker.message("b", "two", None),
    ];
    let places = commit(&mut store, &records).unwrap();
    let reader = store.reader();
    let read = |topic: &str, offset, place: DiskPlace| {
        let mut entries = Vec::new();
        let topic = topic.parse().unwrap();
        let origin = Maker::origin("a");
        reader
            .read(&topic, origin, Offset(offset), &[place], &mut entries)
            .map(|()| entries.len())
    };
    assert_eq!(read("a", 1, places[0]).unwrap(), 1);
    assert!(matches!(
        read("a", 2, places[0]),
        Err(ReadError::Damaged(_))
    ));
    assert!(matches!(
        read("b", 1, places[0]),
        Err(ReadError::Damaged(_))
    ));
    assert!(matches!(
        read("a", 1, places[1]),
        Err(ReadError::Damaged(_))
    ));
    let gone = DiskPlace {
        segment: id(77),
        ..places[0]
    };
    assert!(matches!(read("a", 1, gone), Err(ReadError::Gone { .. })));
}

#[test]
fn numbers_without_messages_and_epochs_are_kept() {
    let (disk, mut store, mut maker) = an_empty_log();
    let epoch = "other".parse().unwrap();
    let records = [
        maker.message("a", "one", Some((producer(1), Seq(4)))),
        Record::Number {
            producer: producer(1),
            seq: Seq(9),
        },
        Record::Epoch {
            topic: "a".parse().unwrap(),
            origin: Maker::origin("a"),
            epoch,
        },
    ];
    assert_eq!(commit(&mut store, &records).unwrap().len(), 1);
    for is_closed in [false, true] {
        let (next, recovered) = reopened(&disk, store, is_closed);
        store = next;
        assert_eq!(recovered.producers[0].1, Seq(9));
        assert_eq!(recovered.topics[0].epoch, epoch);
        assert_eq!(recovered.topics[0].origin, Maker::origin("a"));
    }
}

/// Appends one message to a log of its own, to get it in wire form.
fn message(topic: &str, payload: Message<'_>, from: Option<&str>, wall: u64) -> Record {
    let mut log = Log::new(
        LogId::from_random(1),
        &ProducerKey::new(KEY),
        LogConfig::default(),
    );
    let append = Append {
        topic: TopicRef::parse(topic).unwrap(),
        payload,
        from: from.map(|from| Publisher::parse(from).unwrap()),
        producer: None,
    };
    let now = Now {
        time: Time::from_millis(wall / 2),
        wall: WallTime::from_unix_millis(wall),
        random: wall,
    };
    appended(&mut log, append, None, now)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_message_comes_back_byte_for_byte(
        topic in "[a-z0-9_][a-z0-9_.:@~-]{0,199}",
        text in any::<Option<String>>(),
        binary in vec(any::<u8>(), 0..300),
        from in proptest::option::of("[a-z0-9]{1,240}"),
        wall in 1..(1_u64 << 52),
    ) {
        let payload = match &text {
            Some(text) => Message::Text(text),
            None => Message::Binary(&binary),
        };
        let record = message(&topic, payload, from.as_deref(), wall);
        let (entry, (name, origin)) = (entry_of(&record), topic_of(&record));
        let disk = CrashDisk::new();
        let (mut store, _) = open(&disk).unwrap();
        run_jobs(&mut store);
        let places = match commit(&mut store, std::slice::from_ref(&record)) {
            Ok(places) => places,
            Err(error) => {
                prop_assert!(payload.len() > 300, "{error}");
                return Ok(());
            }
        };
        let mut entries = Vec::new();
        store.reader().read(name, origin, Offset(1), &places, &mut entries).unwrap();
        prop_assert_eq!(&entries[0], entry);
        prop_assert!(places[0].bytes as usize
            <= entry.wire_bytes(heartwire_log::Form::V1)
                + heartwire_log::store::RECORD_OVERHEAD_BYTES_MAX);
        drop(store);
        let (_, recovered) = open(&disk).unwrap();
        prop_assert_eq!(&recovered.topics[0].places.to_vec(), &places);
    }
}
