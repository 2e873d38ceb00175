//! One client, several connections: the newest attempt wins `[HELLO-8]`.

use crate::support::Fixture;
use crate::support::peer::{Peer, text};

#[tokio::test]
async fn a_higher_attempt_takes_over_and_the_older_connection_is_told() {
    let server = Fixture::start().await;
    let (mut old, _) = Peer::v1_attempt(server.address, "one", 1).await;
    let (mut new, _) = Peer::v1_attempt(server.address, "one", 2).await;
    assert_eq!(old.closed().await.0, 4009);
    old.ended().await;
    new.say("ping a").await;
    assert_eq!(new.text_after_pings().await, "pong a");
}

#[tokio::test]
async fn a_late_dial_never_displaces_the_newer_connection() {
    let server = Fixture::start().await;
    // The stale dial has its socket first, and says hello last.
    let mut stale = Peer::silent_v1(server.address, "/websocket").await;
    let (mut new, _) = Peer::v1_attempt(server.address, "one", 2).await;
    for attempt in [1, 2] {
        stale
            .say(&crate::support::peer::hello("one", attempt))
            .await;
        assert_eq!(stale.closed().await.0, 4009);
        stale.ended().await;
        stale = Peer::silent_v1(server.address, "/websocket").await;
    }
    new.say("ping a").await;
    assert_eq!(new.text_after_pings().await, "pong a");
}

#[tokio::test]
async fn no_frame_of_the_older_connection_is_handled_after_the_takeover() {
    let server = Fixture::start().await;
    let (mut old, _) = Peer::v1_attempt(server.address, "one", 1).await;
    old.say("pub a 1\nfirst").await;
    assert_eq!(old.text_after_pings().await, "ack 1");
    let (mut new, welcome) = Peer::v1_attempt(server.address, "one", 2).await;
    assert_eq!(
        (&welcome["acked"], &welcome["producer_known"]),
        (&1.into(), &true.into())
    );
    // The newer one may be welcomed before the older one's task has run: what it says now is late.
    let _ = old.try_send(&text("pub a 2\nfrom the grave")).await;
    old.ended().await;
    new.say("pub a 2\nsecond").await;
    assert_eq!(new.text_after_pings().await, "ack 2");
    new.say("sub a head").await;
    assert!(new.text_after_pings().await.starts_with("subbed a "));
    for (offset, payload) in [(1, "first"), (2, "second")] {
        let message = new.text_after_pings().await;
        assert!(
            message.starts_with(&format!("msg a {offset} ")),
            "{message}"
        );
        assert!(message.ends_with(payload), "{message}");
    }
}

#[tokio::test]
async fn a_reconnect_while_a_commit_is_held_open_stores_nothing_twice() {
    let gate = heartwire_server::Gate::open();
    let server = Fixture::with(|hub| hub.gate(gate.clone())).await;
    gate.set_open(false);
    let (mut old, _) = Peer::v1_attempt(server.address, "one", 1).await;
    old.say("pub a 1\nonce").await;
    old.say("ping seen").await;
    assert_eq!(old.text_after_pings().await, "pong seen");
    let (mut new, welcome) = Peer::v1_attempt(server.address, "one", 2).await;
    assert_eq!(welcome["acked"], 0, "it is not stored yet");
    new.say("pub a 1\nonce").await;
    new.say("pub a 2\ntwice").await;
    new.say("ping seen").await;
    assert_eq!(new.text_after_pings().await, "pong seen");
    gate.set_open(true);
    let mut acked = new.text_after_pings().await;
    while acked != "ack 2" {
        assert_eq!(acked, "ack 1");
        acked = new.text_after_pings().await;
    }
    let history = crate::support::http::get(server.address, "/v1/topics/a")
        .await
        .json();
    let texts: Vec<_> = history["messages"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|one| one["text"].clone())
        .collect();
    assert_eq!(texts, ["once", "twice"]);
}

#[tokio::test]
async fn a_refused_publish_stops_what_was_pipelined_behind_it() {
    let server = Fixture::start().await;
    let mut peer = Peer::v1(server.address, "pipelined").await;
    let flight = [
        text("pub a 1\none"),
        text("pub $server 2\nnobody may"),
        text("pub a 3\nbehind"),
        text("pub a 4\nbehind as well"),
        text("ping seen"),
    ];
    peer.send(&flight.concat()).await;
    let mut said = Vec::new();
    while said.len() < 3 {
        said.push(peer.text_after_pings().await);
    }
    said.sort();
    assert_eq!(said, ["ack 1", "nack 2 bad-topic", "pong seen"]);
    peer.send(
        &[
            text("skip 2"),
            text("pub a 3\nthree"),
            text("pub a 4\nfour"),
        ]
        .concat(),
    )
    .await;
    let mut acked = peer.text_after_pings().await;
    while acked != "ack 4" {
        assert!(acked.starts_with("ack "), "{acked}");
        acked = peer.text_after_pings().await;
    }
    let history = crate::support::http::get(server.address, "/v1/topics/a")
        .await
        .json();
    let texts: Vec<_> = history["messages"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|one| one["text"].clone())
        .collect();
    assert_eq!(texts, ["one", "three", "four"]);
}
