//! The real threads over a disk that fails and fills up on command.

use std::sync::Arc;

use axum::body::Body;
use heartwire_disk::{CrashDisk, Faults, InTurn};
use heartwire_hub::AppendError;
use heartwire_log::ProducerKey;
use heartwire_log::store::{Fresh, Store, StoreConfig};
use heartwire_proto::frame::Message;
use heartwire_proto::id::TopicRef;
use heartwire_proto::{Limits, LogId};
use http::{Request, StatusCode};
use tower_service::Service as _;

use super::open::open_on;
use super::*;
use crate::builder::HubBuilder;
use crate::metrics::{Origin, collect};
use crate::publish::{Position, PublishError, STORED_WITHIN};

/// How long anything may take on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);
/// Segments that a few messages fill.
const SEGMENT_BYTES: u32 = 4_096;
const MESSAGE: &str = match std::str::from_utf8(&[b'm'; 256]) {
    Ok(message) => message,
    Err(_) => panic!("it is text"),
};

fn topic() -> TopicRef<'static> {
    TopicRef::parse("t").expect("a topic")
}

fn start_on(disk: &CrashDisk) -> Arc<Shared> {
    let config = HubBuilder::default().checked().expect("valid defaults");
    let place = Place {
        folder: PathBuf::new(),
        opening: Opening::Careful,
    };
    let opened = open_on(disk.clone(), &place, &config.hub).expect("it is empty");
    let shared = Shared::start(config, Some(opened), None, None);
    tokio::spawn(crate::waiting::answer(Arc::downgrade(&shared)));
    shared
}

/// The same with small segments, the first of which is there. Then that goes wrong.
fn start_small_on(disk: &CrashDisk, goes_wrong: impl FnOnce(&mut Faults)) -> Arc<Shared> {
    let limits = Limits {
        message_bytes_max: MESSAGE.len(),
        ..Limits::default()
    };
    let config = HubBuilder::default().limits(limits);
    let config = config.checked().expect("valid settings");
    let bounds = StoreConfig {
        segment_bytes: SEGMENT_BYTES,
        batch_bytes_max: 1_024,
        ..StoreConfig::default()
    };
    let fresh = Fresh {
        store: 1,
        log: LogId::from_random(2),
        key: ProducerKey::new(3),
        epochs: 4,
    };
    let opened = Store::open(disk.clone(), bounds, fresh, Opening::Careful, &InTurn);
    let (mut store, recovered) = opened.expect("it is empty");
    for job in store.take_jobs() {
        store.done(job.run()).expect("the disk is well");
    }
    disk.set_faults(goes_wrong);
    let ready = Ready {
        store,
        loads_max: 1,
        segment_bytes: u64::from(SEGMENT_BYTES),
        jobs: Vec::new(),
    };
    let opened = Opened {
        room_bytes: ready.store.room_bytes(),
        is_full: false,
        start: Box::new(|shared| Storage::start(ready, shared)),
    };
    let shared = Shared::start(config, Some((opened, recovered)), None, None);
    tokio::spawn(crate::waiting::answer(Arc::downgrade(&shared)));
    shared
}

/// Waits until it is so.
async fn until(what: &str, is_so: impl Fn() -> bool) {
    let so = async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    };
    let so = tokio::time::timeout(PATIENCE, so).await;
    so.unwrap_or_else(|_| panic!("never: {what}"));
}

/// Publishes until that is refused, but for the moments in which nobody knows yet why; returns why.
async fn publish_until_refused(shared: &Arc<Shared>, message: &str) -> PublishError {
    let refused = async {
        loop {
            match publish(shared, message).await {
                Ok(_) | Err(PublishError::Unavailable(AppendError::Congested)) => {}
                Err(refusal) => break refusal,
            }
            tokio::task::yield_now().await;
        }
    };
    let refused = tokio::time::timeout(PATIENCE, refused).await;
    refused.expect("never refused")
}

/// What load balancers are told.
async fn readiness(shared: &Arc<Shared>) -> (StatusCode, String) {
    let request = Request::get("/readyz").body(Body::empty());
    let mut router = crate::api::router(shared.clone());
    let answer = router.call(request.expect("it is one")).await;
    let answer = answer.expect("it never fails");
    let status = answer.status();
    let body = axum::body::to_bytes(answer.into_body(), 10_000).await;
    let body = body.expect("it is short").to_vec();
    (status, String::from_utf8(body).expect("JSON"))
}

/// Publishes a message by a hub that is told, as often as it takes, that there is room.
async fn publish_beyond_room(shared: Arc<Shared>) -> Result<Position, PublishError> {
    loop {
        shared.hub(|hub| hub.set_room(u64::MAX, false));
        match begin_to_publish(&shared, MESSAGE) {
            Ok(stored) => break stored.await,
            Err(_) => tokio::task::yield_now().await,
        }
    }
}

async fn publish(shared: &Arc<Shared>, message: &str) -> Result<Position, PublishError> {
    begin_to_publish(shared, message)?.await
}

fn begin_to_publish(
    shared: &Arc<Shared>,
    message: &str,
) -> Result<impl Future<Output = Result<Position, PublishError>> + use<>, PublishError> {
    let message = Message::Text(message);
    shared.publish(Origin::Embedded, topic(), message, None, STORED_WITHIN)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_acknowledged_or_shown_whose_sync_fails() {
    let disk = CrashDisk::new();
    let shared = start_on(&disk);
    let first = publish(&shared, MESSAGE).await.expect("the disk is well");
    disk.set_faults(|faults| faults.fail_syncs = true);
    assert_eq!(publish(&shared, MESSAGE).await, Err(PublishError::Failed));
    let after = publish(&shared, MESSAGE)
        .await
        .expect_err("the disk has failed");
    assert!(matches!(after, PublishError::DiskFailed { .. }), "{after}");
    let hub = shared.lock_hub();
    let log = hub.log();
    let found = log.find(topic()).and_then(|id| log.topic(id));
    assert_eq!(found.map(|topic| topic.end()), Some(first.offset));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_cannot_make_its_next_segment_says_why_once_it_has_no_room() {
    let disk = CrashDisk::new();
    let shared = start_small_on(&disk, |faults| faults.fail_opens = true);
    let storage = shared.storage.as_ref().expect("it is on disk");
    let is_failing = async |expected| {
        let line = format!("\nheartwire_log_upkeep_failing {expected}\n");
        collect(&shared).await.contains(&line)
    };
    until("a segment could not be made", || {
        storage.is_upkeep_failing()
    })
    .await;
    assert!(is_failing(1).await);
    assert_eq!(readiness(&shared).await.0, StatusCode::OK, "there is room");
    publish(&shared, MESSAGE).await.expect("there is room");

    let why = "too many open files";
    let refusal = publish_until_refused(&shared, MESSAGE).await;
    let PublishError::NoRoom { reason } = &refusal else {
        panic!("{refusal}");
    };
    assert!(reason.contains(why), "{refusal}");
    let (status, told) = readiness(&shared).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{told}");
    assert!(told.contains(why), "{told}");

    disk.set_faults(|faults| faults.fail_opens = false);
    until("a segment was made", || !storage.is_upkeep_failing()).await;
    publish(&shared, MESSAGE)
        .await
        .expect("there is room again");
    assert_eq!(readiness(&shared).await.0, StatusCode::OK);
    assert!(is_failing(0).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retention_makes_room_for_a_batch_that_waits_on_a_full_disk() {
    let disk = CrashDisk::new();
    let capacity = 4 * u64::from(SEGMENT_BYTES);
    let shared = start_small_on(&disk, |faults| faults.capacity_bytes = Some(capacity));
    for message in [MESSAGE, "m"] {
        let refusal = publish_until_refused(&shared, message).await;
        assert_eq!(refusal, PublishError::Unavailable(AppendError::DiskFull));
    }

    // The hub takes a message for which there is no room at all, and the writer is left with it.
    let stored = tokio::spawn(publish_beyond_room(shared.clone()));
    until("the writer has it", || {
        let hub = shared.lock_hub();
        !hub.is_stored() && !hub.log().has_batch()
    })
    .await;

    let now = shared.clock.time() + 2 * shared.hub_config.log.policy.retention.age_max;
    while shared.hub(|hub| hub.expire(now)) {}
    shared.storage.as_ref().expect("it is on disk").raise();
    let stored = tokio::time::timeout(PATIENCE, stored).await;
    let stored = stored.expect("it waits no more");
    let stored = stored.expect("nothing panics");
    stored.expect("there is room for it");
}
