//! Segments go when nothing in them is retained, as the log's folder shows.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::future::try_join_all;
use heartwire_server::Retention;

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

/// Publishes more than a segment holds.
async fn fill_a_segment(server: &Fixture) {
    for _ in 0..BEYOND_ONE / 10 {
        let publish = |_| server.hub.publish("large", vec![b'x'; MESSAGE_BYTES]);
        let stored = try_join_all((0..10).map(publish));
        let stored = within("messages to be stored", stored).await;
        stored.expect("there is room");
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
