//! Topics that are kept in a folder: what was stored is there when the hub is opened again, and
//! whoever is behind reads it from the disk.

use std::path::{Path, PathBuf};

use futures_util::future::try_join_all;
use futures_util::{StreamExt as _, TryFutureExt as _};
use heartwire_server::{Delivery, Durability, Hub, HubBuilder, OpenError, Policy, SubFrom};
use serde_json::json;

use crate::support::peer::{Peer, hello};
use crate::support::{Fixture, Outcome, http, within};

/// An empty folder of the test's own.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&folder);
    folder
}

async fn server(folder: &Path) -> Fixture {
    Fixture::with(|hub| hub.data(folder)).await
}

/// Stops as a deploy does.
async fn stop(mut server: Fixture) {
    server.stop();
    server.stopped().await;
}

/// Publishes `first` to `last`, many at a time.
async fn publish(hub: &Hub, topic: &str, first: u32, last: u32) {
    for chunk in (first..=last).collect::<Vec<_>>().chunks(500) {
        let stored = chunk.iter().map(|n| hub.publish(topic, n.to_string()));
        let stored = within("messages to be stored", try_join_all(stored)).await;
        stored.expect("there is room");
    }
}

#[tokio::test]
async fn what_was_stored_is_there_when_the_hub_is_opened_again() {
    let folder = folder("stored");
    let before = server(&folder).await;
    let stored = http::publish(before.address, "task:42", "50 %").await;
    assert_eq!(stored["durability"], "disk");
    stop(before).await;

    let after = server(&folder).await;
    let again = http::publish(after.address, "task:42", "60 %").await;
    assert_eq!(
        (&again["epoch"], &again["offset"]),
        (&stored["epoch"], &json!(2))
    );
    let page = http::get(after.address, "/v1/topics/task:42").await.json();
    let texts = page["messages"].as_array().into_iter().flatten();
    let texts: Vec<_> = texts.map(|message| message["text"].clone()).collect();
    assert_eq!(texts, ["50 %", "60 %"]);
    let events = http::get(after.address, "/v1/topics").await.json();
    assert!(
        events["topics"][0]["disk_bytes"].as_u64() > Some(0),
        "{events}"
    );
}

#[tokio::test]
async fn a_follower_far_behind_reads_from_the_disk_and_then_goes_on_live() {
    let folder = folder("far-behind");
    let before = server(&folder).await;
    publish(&before.hub, "numbers", 1, 5_000).await;
    stop(before).await;

    let after = server(&folder).await;
    let mut peer = Peer::v1(after.address, "behind").await;
    peer.say("sub numbers head").await;
    let subbed = peer.text_after_pings().await;
    assert!(
        subbed.starts_with("subbed numbers ") && subbed.ends_with(".0"),
        "{subbed}"
    );
    let publishing = publish(&after.hub, "numbers", 5_001, 5_500);
    let reading = async {
        for offset in 1..=5_500 {
            let message = peer.text_after_pings().await;
            let expected = format!("msg numbers {offset} ");
            assert!(message.starts_with(&expected), "{message} at {offset}");
            assert!(message.ends_with(&format!("\n{offset}")), "{message}");
        }
    };
    tokio::join!(publishing, reading);
}

#[tokio::test]
async fn history_event_streams_and_followers_inside_read_from_the_disk() -> Outcome {
    let folder = folder("cold-readers");
    let before = server(&folder).await;
    publish(&before.hub, "numbers", 1, 1_500).await;
    stop(before).await;

    let after = server(&folder).await;
    let page = http::get(after.address, "/v1/topics/numbers?limit=1000")
        .await
        .json();
    assert_eq!(page["messages"].as_array().map(Vec::len), Some(1_000));
    let next = page["next"].as_str().expect("a cursor");
    let path = format!("/v1/topics/numbers?limit=1000&after={next}");
    let rest = http::get(after.address, &path).await.json();
    assert_eq!(rest["messages"][499]["text"], "1500");
    assert_eq!(rest["more"], false);

    let mut follower = after.hub.follow("numbers", SubFrom::Head)?;
    for number in 1..=1_500_u32 {
        match within("the next message", follower.next()).await {
            Some(Delivery::Message(message)) => assert_eq!(message.offset().0, u64::from(number)),
            other => panic!("{other:?} at {number}"),
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_producer_is_known_after_a_restart() {
    let folder = folder("producers");
    let before = server(&folder).await;
    let mut peer = Peer::v1(before.address, "publisher").await;
    peer.say("pub t 1\none").await;
    peer.say("pub t 2\ntwo").await;
    while peer.text_after_pings().await != "ack 2" {}
    stop(before).await;

    let after = server(&folder).await;
    let mut peer = Peer::tcp(after.address).await;
    peer.upgrade("/websocket", &["sec-websocket-protocol: heartwire.v1"])
        .await;
    peer.say(&hello("publisher", 2)).await;
    let welcome = peer.text_after_pings().await;
    let body = welcome.split_once('\n').expect("a body").1;
    let body: serde_json::Value = serde_json::from_str(body).expect("JSON");
    assert_eq!(
        (&body["acked"], &body["producer_known"]),
        (&json!(2), &json!(true))
    );
    assert_eq!(body["durability"], "disk");
    peer.say("pub t 2\ntwo").await;
    peer.say("pub t 3\nthree").await;
    while peer.text_after_pings().await != "ack 3" {}
    let page = http::get(after.address, "/v1/topics/t").await.json();
    assert_eq!(page["messages"].as_array().map(Vec::len), Some(3), "{page}");
}

#[tokio::test]
async fn topics_of_a_pattern_stay_in_memory() {
    let folder = folder("in-memory");
    let in_memory = Policy {
        durability: Durability::Memory,
        ..Policy::default()
    };
    let settings = |hub: HubBuilder| {
        hub.data(&folder)
            .topic("ticks:*".parse().expect("a pattern"), in_memory)
    };
    let before = Fixture::with(settings).await;
    let tick = http::publish(before.address, "ticks:eur", "1.07").await;
    assert_eq!(tick["durability"], "memory");
    http::publish(before.address, "task:42", "kept").await;
    stop(before).await;
    let after = Fixture::with(settings).await;
    let topics = http::get(after.address, "/v1/topics").await.json();
    let names = topics["topics"].as_array().into_iter().flatten();
    let names: Vec<_> = names.map(|topic| topic["topic"].clone()).collect();
    assert_eq!(names, ["task:42"]);
}

#[tokio::test]
async fn a_folder_serves_one_hub_at_a_time() {
    let folder = folder("one-at-a-time");
    let first = server(&folder).await;
    let second = Hub::builder()
        .data(&folder)
        .open()
        .map_err(|error| match error {
            OpenError::Store(error) => error.to_string(),
            other => panic!("{other}"),
        });
    let error = second.await.err().expect("the folder is in use");
    let holder = format!("in use by process {}", std::process::id());
    assert!(error.contains(&holder), "{error}");
    stop(first).await;
    server(&folder).await;
}
