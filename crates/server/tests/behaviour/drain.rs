//! The graceful stop `[CLOSE-5]`.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::support::peer::{Peer, upgrade};
use crate::support::{Fixture, http, within};
use heartwire_testing::Lateness;
use tokio::net::TcpStream;
use tokio::time::Instant;

#[tokio::test]
async fn everybody_is_told_when_to_come_back_and_the_server_ends() {
    let mut server = Fixture::start().await;
    let mut peers = Vec::new();
    for number in 0..40 {
        peers.push(Peer::v1(server.address, &format!("peer-{number}")).await);
    }
    let mut plain = Peer::plain(server.address, "/websocket").await;
    server.stop();
    let mut delays = BTreeSet::new();
    for peer in &mut peers {
        let bye = peer.text_after_pings().await;
        let mut fields = bye.split(' ');
        assert_eq!(
            (fields.next(), fields.next()),
            (Some("bye"), Some("4201")),
            "{bye}"
        );
        let delay: u64 = fields
            .next()
            .and_then(|ms| ms.parse().ok())
            .expect("a delay");
        // The next process is given a second.
        assert!((1_001..=2_000).contains(&delay), "{bye}");
        delays.insert(delay);
        assert_eq!(peer.closed().await.0, 4201);
    }
    assert!(delays.len() > 20, "each has a delay of its own: {delays:?}");
    let (code, reason) = plain.closed().await;
    assert_eq!(code, 4201);
    assert!(reason.starts_with("retry "), "{reason}");
    drop((peers, plain));
    server.stopped().await;
    assert!(
        TcpStream::connect(server.address).await.is_err(),
        "it does not listen any more"
    );
}

#[tokio::test]
async fn what_was_read_is_stored_and_acknowledged_before_the_goodbye() {
    let gate = heartwire_server::Gate::open();
    let mut server = Fixture::with(|hub| hub.gate(gate.clone())).await;
    let mut peer = Peer::v1(server.address, "publishing").await;
    gate.set_open(false);
    peer.say("pub a 1\nread before the stop").await;
    peer.say("ping seen").await;
    assert_eq!(peer.text_after_pings().await, "pong seen");
    server.stop();
    crate::support::until("the drain to begin", async || !server.hub.is_ready()).await;
    gate.set_open(true);
    assert_eq!(peer.text_after_pings().await, "ack 1");
    assert!(peer.text_after_pings().await.starts_with("bye 4201 "));
    assert_eq!(peer.closed().await.0, 4201);
    drop(peer);
    server.stopped().await;
}

#[tokio::test]
async fn while_draining_nothing_new_is_taken() {
    let server = Fixture::start().await;
    let mut peer = Peer::v1(server.address, "held").await;
    assert_eq!(http::get(server.address, "/readyz").await.status, 200);
    let hub = server.hub.clone();
    let drain = tokio::spawn(async move { hub.drain(Duration::from_secs(1)).await });
    crate::support::until("the drain to begin", async || !server.hub.is_ready()).await;
    let ready = http::get(server.address, "/readyz").await;
    assert_eq!(ready.status, 503);
    let answer = http::raw(server.address, upgrade("/websocket", &[]).as_bytes()).await;
    assert_eq!((answer.status, answer.error().as_str()), (503, "draining"));
    assert!(answer.header("retry-after").is_some());
    let answer = http::post(server.address, "/v1/topics/a", "x").await;
    assert_eq!((answer.status, answer.error().as_str()), (503, "draining"));
    assert_eq!(http::get(server.address, "/healthz").await.status, 200);
    assert_eq!(peer.closed().await.0, 4201);
    drop(peer);
    within("the drain to end", drain)
        .await
        .expect("it does not panic");
}

#[tokio::test]
async fn a_peer_that_does_not_answer_the_close_holds_nothing_up() {
    let mut server = Fixture::start().await;
    let _mute = Peer::v1(server.address, "mute").await;
    let (begun, lateness) = (Instant::now(), Lateness::watch());
    server.stop();
    server.stopped().await;
    let (took, bound) = (
        begun.elapsed(),
        Duration::from_secs(3) + lateness.allowance(),
    );
    assert!(took <= bound, "after {took:?}, not {bound:?}");
}
