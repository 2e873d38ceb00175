//! What is trimmed, when, and what late comers are told.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use heartwire_log::{
    Append, AppendError, Appended, Committed, Log, LogConfig, Now, Policy, ProducerId, ProducerKey,
    Retention,
};
use heartwire_proto::frame::{GapReason, Message, SubFrom};
use heartwire_proto::id::TopicRef;
use heartwire_proto::{Cursor, Epoch, LogId, Offset, Seq, Time, WallTime};

const HOUR: u64 = 3_600_000;

fn log(config: LogConfig) -> Log {
    Log::new(LogId::from_random(1), &ProducerKey::new(1), config)
}

fn now(millis: u64) -> Now {
    Now {
        time: Time::from_millis(millis),
        wall: WallTime::from_unix_millis(0),
        random: millis,
    }
}

fn kept(retention: Retention) -> Policy {
    Policy {
        retention,
        ..Policy::default()
    }
}

fn topic(name: &str) -> TopicRef<'_> {
    TopicRef::parse(name).unwrap()
}

fn publish(log: &mut Log, name: &str, text: &str, millis: u64) {
    let append = Append {
        topic: topic(name),
        payload: Message::Text(text),
        from: None,
        producer: None,
    };
    let appended = log.append(append, now(millis)).unwrap();
    assert!(matches!(appended, Appended::Pending(_)));
    log.commit(log.last_lsn(), &[], &mut Committed::default());
}

fn ends(log: &Log, name: &str) -> (u64, u64) {
    let topic = log.topic(log.find(topic(name)).unwrap()).unwrap();
    (topic.base().0, topic.end().0)
}

#[test]
fn a_follower_that_comes_too_late_is_told_what_it_missed() {
    let retention = Retention {
        count_max: 3,
        ..Retention::default()
    };
    let mut log = log(LogConfig {
        policy: kept(retention),
        ..LogConfig::default()
    });
    for n in 1..=10 {
        publish(&mut log, "t", &n.to_string(), n);
    }
    let id = log.find(topic("t"));
    let epoch = log.topic(id.unwrap()).unwrap().epoch();
    let at = |offset| Cursor::At {
        epoch,
        offset: Offset(offset),
    };
    let start = |from| {
        let start = log.start(id, from);
        let gap = start.gap.map(|gap| {
            (
                gap.epoch,
                gap.first.0,
                gap.last.map(|last| last.0),
                gap.reason,
            )
        });
        (start.cursor, gap)
    };
    assert_eq!(start(SubFrom::Tail), (at(10), None));
    assert_eq!(start(SubFrom::Head), (at(7), None));
    assert_eq!(start(SubFrom::Last(2)), (at(8), None));
    assert_eq!(start(SubFrom::Last(50)), (at(7), None));
    assert_eq!(start(SubFrom::After(at(7))), (at(7), None));
    let trimmed = |first| Some((epoch, first, Some(7), GapReason::Retention));
    assert_eq!(start(SubFrom::After(at(4))), (at(7), trimmed(5)));
    assert_eq!(start(SubFrom::After(Cursor::Start)), (at(7), trimmed(1)));
    let beyond = Some((epoch, 11, Some(14), GapReason::Epoch));
    assert_eq!(start(SubFrom::After(at(14))), (at(10), beyond));
    let other: Epoch = "other".parse().unwrap();
    let cursor = Cursor::At {
        epoch: other,
        offset: Offset(5),
    };
    let lost = Some((other, 6, None, GapReason::Epoch));
    assert_eq!(start(SubFrom::After(cursor)), (at(7), lost));
    assert_eq!(
        log.start(None, SubFrom::After(cursor)).cursor,
        Cursor::Start
    );
    assert!(log.start(None, SubFrom::After(cursor)).gap.is_some());
}

#[test]
fn messages_grow_old_by_the_monotonic_clock() {
    let mut log = log(LogConfig::default());
    publish(&mut log, "t", "early", 0);
    publish(&mut log, "t", "late", HOUR);
    assert!(!log.expire(Time::from_millis(24 * HOUR - 1), 100, |_| false));
    assert_eq!(ends(&log, "t"), (0, 2));
    log.expire(Time::from_millis(24 * HOUR), 100, |_| false);
    assert_eq!(ends(&log, "t"), (1, 2));
    log.expire(Time::from_millis(25 * HOUR), 100, |_| false);
    assert_eq!(ends(&log, "t"), (2, 2));
    assert_eq!(log.bytes(), 0);
}

#[test]
fn a_topic_outlives_its_messages_and_is_then_forgotten_unless_it_is_kept() {
    let mut log = log(LogConfig::default());
    publish(&mut log, "t", "only", 0);
    let id = log.find(topic("t")).unwrap();
    let epoch = log.topic(id).unwrap().epoch();
    let days = |days: u64| Time::from_millis(days * 24 * HOUR);
    log.expire(days(2), 100, |_| false);
    assert_eq!(ends(&log, "t"), (1, 1));
    for day in 3..40 {
        log.expire(days(day), 100, |_| true);
    }
    assert_eq!(log.topic(id).unwrap().epoch(), epoch, "it was kept");
    for day in 40..80 {
        log.expire(days(day), 100, |_| false);
    }
    assert_eq!(log.find(topic("t")), None);
    publish(&mut log, "t", "again", 80 * 24 * HOUR);
    let reborn = log.find(topic("t")).unwrap();
    assert_ne!(log.topic(reborn).unwrap().epoch(), epoch);
    assert!(log.topic(id).is_none(), "the old key is stale");
}

#[test]
fn a_topic_outlives_its_last_message_by_a_month_however_long_that_lived() {
    let days = |days: u64| Time::from_millis(days * 24 * HOUR);
    for age in [1, 60] {
        let mut log = log(LogConfig {
            policy: kept(Retention {
                age_max: Duration::from_secs(age * 24 * 3_600),
                ..Retention::default()
            }),
            ..LogConfig::default()
        });
        publish(&mut log, "t", "only", 0);
        for day in 1..age + 30 {
            log.expire(days(day), 100, |_| false);
            assert_eq!(ends(&log, "t"), (u64::from(day >= age), 1));
        }
        log.expire(days(age + 30), 100, |_| false);
        assert_eq!(log.find(topic("t")), None);
    }
}

#[test]
fn a_kept_topic_is_looked_at_in_a_while_however_short_its_age() {
    let age = Duration::from_millis(1);
    let mut log = log(LogConfig {
        policy: kept(Retention {
            age_max: age,
            ..Retention::default()
        }),
        topic_age_max: age,
        ..LogConfig::default()
    });
    publish(&mut log, "t", "only", 0);
    for second in 1..5 {
        let now = Time::from_millis(second * 1_000);
        assert!(!log.expire(now, 100, |_| true), "there is no more to do");
    }
}

#[test]
fn bytes_are_bounded_and_the_newest_message_stays() {
    let retention = Retention {
        bytes_max: 1_000,
        ..Retention::default()
    };
    let mut log = log(LogConfig {
        policy: kept(retention),
        ..LogConfig::default()
    });
    for n in 0..20 {
        publish(&mut log, "t", &"x".repeat(200), n);
    }
    let (base, end) = ends(&log, "t");
    assert!(log.bytes() <= 1_000 && end - base >= 3, "{base} {end}");
    publish(&mut log, "t", &"x".repeat(5_000), 20);
    assert_eq!(ends(&log, "t"), (20, 21));
}

#[test]
fn room_is_taken_from_the_largest_topics() {
    let mut log = log(LogConfig {
        hot_bytes_max: 100_000,
        ..LogConfig::default()
    });
    for n in 0..10 {
        publish(&mut log, "small", "x", n);
    }
    for n in 0..100 {
        publish(&mut log, "large", &"x".repeat(1_000), n);
        publish(&mut log, "also-large", &"x".repeat(1_000), n);
    }
    assert!(log.bytes() <= 100_000);
    assert_eq!(ends(&log, "small"), (0, 10));
    let held = |name| ends(&log, name).1 - ends(&log, name).0;
    let (one, other) = (held("large"), held("also-large"));
    assert!(
        one.max(other) <= 2 * one.min(other) + 1,
        "{one} and {other}"
    );
}

#[test]
fn what_is_trimmed_before_anybody_read_it_is_counted() {
    let retention = Retention {
        count_max: 2,
        ..Retention::default()
    };
    let mut log = log(LogConfig {
        policy: kept(retention),
        ..LogConfig::default()
    });
    publish(&mut log, "t", "read", 0);
    let id = log.find(topic("t")).unwrap();
    let read = log.read(id, Offset::ZERO, |_, _| true).unwrap();
    assert_eq!(read.last, Offset(1));
    for n in 1..5 {
        publish(&mut log, "t", "unread", n);
    }
    assert_eq!((log.stats().trimmed, log.stats().trimmed_unread), (3, 2));
}

#[test]
fn appends_that_wait_are_bounded() {
    let mut log = log(LogConfig {
        pending_max: 2,
        ..LogConfig::default()
    });
    let append = |log: &mut Log| {
        let append = Append {
            topic: topic("t"),
            payload: Message::Text("x"),
            from: None,
            producer: None,
        };
        log.append(append, now(0))
    };
    assert!(append(&mut log).is_ok() && append(&mut log).is_ok());
    assert_eq!(append(&mut log), Err(AppendError::Congested));
    log.commit(log.last_lsn(), &[], &mut Committed::default());
    assert!(append(&mut log).is_ok());
}

/// `[PUB-7]`
#[test]
fn numbers_that_are_given_up_wait_within_the_same_bounds() {
    let mut log = log(LogConfig {
        pending_max: 2,
        ..LogConfig::default()
    });
    let key = ProducerKey::new(1);
    let producer = key.producer(None, &"0123456789abcdef".parse().unwrap());
    let skip = |log: &mut Log, seq| log.skip(producer, Seq(seq), now(0));
    assert_eq!((skip(&mut log, 1), skip(&mut log, 2)), (Ok(()), Ok(())));
    assert_eq!(skip(&mut log, 3), Err(AppendError::Congested));
    assert_eq!(skip(&mut log, 2), Ok(()), "it waits already");
    log.commit(log.last_lsn(), &[], &mut Committed::default());
    log.set_accepting(false);
    assert_eq!(skip(&mut log, 3), Err(AppendError::NotAccepting));
    assert_eq!(log.pending().count(), 0);
}

#[test]
fn refused_appends_create_nothing() {
    let mut log = log(LogConfig {
        topics_max: 1,
        message_bytes_max: 10,
        ..LogConfig::default()
    });
    let try_append = |log: &mut Log, name, text| {
        let append = Append {
            topic: topic(name),
            payload: Message::Text(text),
            from: None,
            producer: None,
        };
        log.append(append, now(0)).unwrap_err()
    };
    assert_eq!(try_append(&mut log, "$server", "x"), AppendError::Reserved);
    assert_eq!(
        try_append(&mut log, "t", "much too long"),
        AppendError::TooLarge { bytes_max: 10 }
    );
    publish(&mut log, "t", "x", 0);
    assert_eq!(
        try_append(&mut log, "u", "x"),
        AppendError::Full { what: "topics" }
    );
    log.set_accepting(false);
    assert_eq!(try_append(&mut log, "t", "x"), AppendError::NotAccepting);
    assert_eq!((log.topics_len(), log.pending().count()), (1, 0));
}

/// A producer publishes its number `seq`; nothing is committed.
fn publish_as(
    log: &mut Log,
    producer: ProducerId,
    seq: u64,
    millis: u64,
) -> Result<Appended, AppendError> {
    let append = Append {
        topic: topic("t"),
        payload: Message::Text("x"),
        from: None,
        producer: Some((producer, Seq(seq))),
    };
    log.append(append, now(millis))
}

/// `[PUB-9]`
#[test]
fn silent_producers_are_forgotten_by_age() {
    let mut log = log(LogConfig::default());
    let key = ProducerKey::new(1);
    let producer = key.producer(Some("ann"), &"0123456789abcdef".parse().unwrap());
    publish_as(&mut log, producer, 5, 0).unwrap();
    let day = Duration::from_secs(24 * 3_600);
    log.expire_producers(Time::ZERO + day, 100, |_| false);
    assert_eq!(log.producers_len(), 1, "its publish is still under way");
    log.commit(log.last_lsn(), &[], &mut Committed::default());
    log.expire_producers(Time::ZERO + day * 2, 100, |_| false);
    assert_eq!(log.producers_len(), 0);
    assert_eq!(log.durable(producer), None);
}

/// `[PUB-9]`
#[test]
fn the_age_of_a_producer_that_is_kept_is_counted_anew() {
    let mut log = log(LogConfig::default());
    let producer = ProducerKey::new(1).producer(None, &"0123456789abcdef".parse().unwrap());
    publish_as(&mut log, producer, 5, 0).unwrap();
    log.commit(log.last_lsn(), &[], &mut Committed::default());
    let day = Duration::from_secs(24 * 3_600);
    let second = Duration::from_secs(1);
    let kept_until = Time::ZERO + day * 3;
    log.expire_producers(kept_until, 100, |id| id == producer);
    let again = publish_as(&mut log, producer, 5, 0);
    assert_eq!(again, Ok(Appended::Repeated));
    log.expire_producers(kept_until + (day - second), 100, |_| false);
    assert_eq!(log.producers_len(), 1);
    log.expire_producers(kept_until + day, 100, |_| false);
    assert_eq!(log.producers_len(), 0);
}

#[test]
fn the_longest_silent_producer_makes_room_for_a_new_one() {
    let mut log = log(LogConfig {
        producers_max: 2,
        ..LogConfig::default()
    });
    let key = ProducerKey::new(1);
    let producer = |n: u32| key.producer(None, &format!("client-number-{n:04}").parse().unwrap());
    let mut publish = |n, seq, at| {
        publish_as(&mut log, producer(n), seq, at).unwrap();
        log.commit(log.last_lsn(), &[], &mut Committed::default());
        log.clone()
    };
    publish(1, 1, 0);
    publish(2, 1, 1);
    publish(1, 2, 2);
    let log = publish(3, 1, 3);
    let known = [1, 2, 3].map(|n| log.durable(producer(n)).is_some());
    assert_eq!(known, [true, false, true]);
}

#[test]
fn where_room_is_made_whoever_was_kept_counts_as_heard_of() {
    let mut log = log(LogConfig {
        producers_max: 2,
        ..LogConfig::default()
    });
    let key = ProducerKey::new(1);
    let producers = ["a", "b", "c"].map(|id| key.producer(None, &id.repeat(16).parse().unwrap()));
    let publish = |log: &mut Log, producer, hour: u64| {
        publish_as(log, producer, 1, hour * HOUR).unwrap();
        log.commit(log.last_lsn(), &[], &mut Committed::default());
    };
    publish(&mut log, producers[0], 0);
    publish(&mut log, producers[1], 10);
    let at = Time::from_millis(24 * HOUR);
    log.expire_producers(at, 100, |id| id == producers[0]);
    publish(&mut log, producers[2], 25);
    let known = producers.map(|id| log.durable(id).is_some());
    assert_eq!(known, [true, false, true]);
}

/// `[PUB-8]`
#[test]
fn one_producer_cannot_fill_what_all_wait_in() {
    let mut log = log(LogConfig {
        window: 3,
        ..LogConfig::default()
    });
    let key = ProducerKey::new(1);
    let producer = |name: &str| key.producer(Some(name), &"0123456789abcdef".parse().unwrap());
    let append = |log: &mut Log, name, seq| publish_as(log, producer(name), seq, 0);
    for seq in 1..=3 {
        assert!(append(&mut log, "greedy", seq).is_ok());
    }
    assert_eq!(append(&mut log, "greedy", 4), Err(AppendError::Congested));
    assert!(append(&mut log, "modest", 1).is_ok());
    log.commit(log.last_lsn(), &[], &mut Committed::default());
    assert!(append(&mut log, "greedy", 4).is_ok());
}
