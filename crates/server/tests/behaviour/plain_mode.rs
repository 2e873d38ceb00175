//! Clients without a subprotocol: the brief's page with another URL.

use crate::support::peer::{BINARY, FINAL, Heard, Peer, frame};
use crate::support::{Fixture, Outcome, http};
use heartwire_server::Limits;
use serde_json::json;

#[tokio::test]
async fn ping_is_answered_and_nothing_else_comes_unasked() -> Outcome {
    let server = Fixture::start().await;
    let mut peer = Peer::plain(server.address, "/websocket?42&7").await;
    for ping in ["ping", "ping\n", "ping\r\n"] {
        peer.say(ping).await;
        assert_eq!(peer.text().await, "pong");
    }
    assert_eq!(
        http::get(server.address, "/v1/topics/inbox").await.json()["messages"],
        json!([])
    );
    Ok(())
}

/// `[PLAIN-5]`
#[tokio::test]
async fn both_forms_of_the_url_follow_the_same_topics() {
    let server = Fixture::start().await;
    for path in ["/websocket?42&7", "/websocket?task=42&user=7"] {
        let mut peer = Peer::plain(server.address, path).await;
        // An answer shows that the connection follows by then.
        peer.say("ping").await;
        assert_eq!(peer.text().await, "pong");
        http::publish(server.address, "task:42", "50 %").await;
        http::publish(server.address, "user:8", "not yours").await;
        http::publish(server.address, "user:7", "hello you").await;
        assert_eq!(peer.text().await, "50 %", "{path}");
        assert_eq!(peer.text().await, "hello you", "{path}");
    }
}

#[tokio::test]
async fn what_a_client_says_stands_in_the_inbox_with_its_identity() {
    let server = Fixture::start().await;
    let mut peer = Peer::plain(server.address, "/websocket?task=42&user=7").await;
    peer.say("I am here").await;
    peer.send(&frame(FINAL | BINARY, &[1, 2, 255])).await;
    peer.say("ping").await;
    assert_eq!(peer.text().await, "pong");
    let history = http::get(server.address, "/v1/topics/inbox?after=0")
        .await
        .json();
    let messages = &history["messages"];
    assert_eq!(messages[0]["text"], "I am here");
    assert_eq!(messages[1]["base64"], "AQL/");
    assert!(messages[0]["from"].is_string(), "{history}");
    assert_eq!(messages[0]["from"], messages[1]["from"]);
}

#[tokio::test]
async fn who_lost_the_subprotocol_is_closed_not_published() {
    let server = Fixture::start().await;
    for lost in [
        "hello {\"client\":\"secret\"}",
        "hello\n{\"client\":\"secret\"}",
    ] {
        let mut peer = Peer::plain(server.address, "/websocket").await;
        peer.say(lost).await;
        assert_eq!(peer.closed().await.0, 4000);
    }
    assert_eq!(
        http::get(server.address, "/v1/topics/inbox").await.json()["messages"],
        json!([])
    );
}

#[tokio::test]
async fn a_message_above_the_limit_closes_with_1009() {
    let server = Fixture::with(|hub| {
        hub.limits(Limits {
            message_bytes_max: 1_000,
            ..Limits::default()
        })
    })
    .await;
    let mut peer = Peer::plain(server.address, "/websocket").await;
    peer.say(&"x".repeat(1_000)).await;
    peer.say("ping").await;
    assert_eq!(peer.text().await, "pong");
    peer.say(&"x".repeat(1_001)).await;
    assert_eq!(peer.closed().await.0, 1009);
    let mut peer = Peer::plain(server.address, "/websocket").await;
    peer.say(&"x".repeat(10_000)).await;
    assert_eq!(peer.closed().await.0, 1009);
}

#[tokio::test]
async fn the_server_asks_with_a_ping_frame_and_any_byte_answers() {
    let server = Fixture::patient().await;
    let mut peer = Peer::plain(server.address, "/websocket").await;
    for _ in 0..2 {
        assert!(matches!(peer.heard().await, Heard::Ping(_)));
        peer.say("ping").await;
        assert_eq!(peer.text().await, "pong");
    }
}
