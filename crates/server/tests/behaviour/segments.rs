//! What the log's threads do to the files of its folder, seen from outside: how often they are synced,
//! and that segments go when nothing in them is retained.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use heartwire_hub::AppendError;
use heartwire_server::{PublishError, Retention};

use crate::support::metrics::Scrape;
use crate::support::{Fixture, until, within};

const MESSAGE_BYTES: usize = 1_000_000;
/// How many such messages do not fit one segment.
const BEYOND_ONE: usize = 70;

/// An empty folder of the test's own.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&folder);
    folder
}

async fn keeping(folder: &Path, retention: Retention) -> Fixture {
    Fixture::with(|hub| hub.data(folder).retention(retention)).await
}

/// Publishes a message, and again as long as the next segment is not ready: that takes as long as the
/// machine takes.
async fn publish(server: &Fixture) {
    until("the next segment to be ready", async || {
        match server.hub.publish("large", vec![b'x'; MESSAGE_BYTES]).await {
            Err(PublishError::Unavailable(AppendError::Congested)) => false,
            stored => stored.map(|_| true).expect("there is room"),
        }
    })
    .await;
}

/// Publishes more than a segment holds.
async fn fill_a_segment(server: &Fixture) {
    for _ in 0..BEYOND_ONE / 10 {
        join_all((0..10).map(|_| publish(server))).await;
    }
}

async fn gone(file: PathBuf) {
    let what = format!("{} to go", file.display());
    until(&what, async || !file.exists()).await;
}

#[tokio::test]
async fn a_segment_goes_when_its_messages_are_too_old_though_nobody_publishes() {
    let folder = folder("too-old");
    let retention = Retention {
        bytes_max: 1 << 30,
        age_max: Duration::from_secs(2),
        ..Retention::default()
    };
    let server = keeping(&folder, retention).await;
    fill_a_segment(&server).await;
    gone(folder.join("00000001.seg")).await;
}

#[tokio::test]
async fn a_topic_beyond_its_bytes_lets_old_segments_go_and_keeps_the_newest_messages() {
    let folder = folder("beyond-bytes");
    let retention = Retention {
        bytes_max: 8 << 20,
        ..Retention::default()
    };
    let mut server = keeping(&folder, retention).await;
    fill_a_segment(&server).await;
    // Those that still reached into the first segment are pushed out by these.
    fill_a_segment(&server).await;
    gone(folder.join("00000001.seg")).await;
    let kept = retained(&server).await;
    assert_eq!(kept, (2 * BEYOND_ONE - 7, 2 * BEYOND_ONE));
    server.stop();
    server.stopped().await;
    let again = keeping(&folder, retention).await;
    assert_eq!(retained(&again).await, kept);
}

/// The first and last offset that the topic still has.
async fn retained(server: &Fixture) -> (usize, usize) {
    let topics = crate::support::http::get(server.address, "/v1/topics").await;
    let topic = topics.json()["topics"][0].clone();
    let offset = |name: &str| topic[name].as_u64().expect("an offset") as usize;
    (offset("first"), offset("last"))
}

#[tokio::test]
async fn one_sync_covers_what_many_publishers_bring_while_another_runs() {
    const PUBLISHERS: usize = 64;
    const EACH: usize = 50;
    let folder = folder("group-commit");
    let server = keeping(&folder, Retention::default()).await;
    let publisher = |number| {
        let hub = server.hub.clone();
        async move {
            let topic = format!("numbers:{number}");
            for message in 0..EACH {
                hub.publish(&topic, message.to_string()).await?;
            }
            Ok::<_, PublishError>(())
        }
    };
    let stored = try_join_all((0..PUBLISHERS).map(publisher));
    let stored = within("messages to be stored", stored).await;
    stored.expect("there is room");
    let scrape = Scrape::of(server.address).await;
    let records = scrape.value("heartwire_log_batch_records_sum");
    let syncs = scrape.value("heartwire_log_sync_seconds_count");
    assert_eq!(records, (PUBLISHERS * EACH) as f64);
    assert!(syncs <= records / 4.0, "{syncs} syncs for {records}");
}
