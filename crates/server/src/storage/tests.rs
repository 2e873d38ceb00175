//! The real threads over a disk whose syncs fail on command.

use std::sync::Arc;

use heartwire_disk::CrashDisk;
use heartwire_proto::frame::Message;
use heartwire_proto::id::TopicRef;

use super::open::open_on;
use super::*;
use crate::builder::HubBuilder;
use crate::metrics::Origin;
use crate::publish::{Position, PublishError, STORED_WITHIN};

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

async fn publish(shared: &Arc<Shared>) -> Result<Position, PublishError> {
    let message = Message::Text("m");
    let stored = shared.publish(Origin::Embedded, topic(), message, None, STORED_WITHIN);
    stored?.await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_acknowledged_or_shown_whose_sync_fails() {
    let disk = CrashDisk::new();
    let shared = start_on(&disk);
    let first = publish(&shared).await.expect("the disk is well");
    disk.set_faults(|faults| faults.fail_syncs = true);
    assert_eq!(publish(&shared).await, Err(PublishError::Failed));
    let after = publish(&shared).await.expect_err("the disk has failed");
    assert!(matches!(after, PublishError::DiskFailed { .. }), "{after}");
    let hub = shared.lock_hub();
    let log = hub.log();
    let found = log.find(topic()).and_then(|id| log.topic(id));
    assert_eq!(found.map(|topic| topic.end()), Some(first.offset));
}
