//! Who is not let in, as seen from outside `[REFUSE-1]` `[REFUSE-2]` `[REFUSE-3]`.

use std::time::Duration;

use crate::support::metrics::Scrape;
use crate::support::peer::{Heard, Peer, hello, upgrade};
use crate::support::{Fixture, Outcome, http};
use heartwire_server::{ApiKey, ConnectionLimits, Server};
use heartwire_testing::Lateness;
use tokio::time::Instant;

const V1: &str = "sec-websocket-protocol: heartwire.v1";

async fn dial(server: &Fixture, headers: &[&str]) -> http::Answer {
    http::raw(server.address, upgrade("/websocket", headers).as_bytes()).await
}

#[tokio::test]
async fn foreign_pages_hosts_and_forwarded_requests_get_403() {
    let server = Fixture::start().await;
    for (headers, code) in [
        (&["origin: https://evil.example"][..], "foreign-origin"),
        (&["origin: null"], "foreign-origin"),
        (&["sec-fetch-site: cross-site"], "foreign-origin"),
        (&["host: evil.example"], "foreign-host"),
        (&["x-forwarded-for: 192.0.2.7"], "forwarded"),
        (&["forwarded: for=192.0.2.7"], "forwarded"),
    ] {
        let answer = dial(&server, headers).await;
        assert_eq!((answer.status, answer.error().as_str()), (403, code));
        let answer = http::request(server.address, "POST /v1/topics/a", headers, b"x").await;
        assert_eq!((answer.status, answer.error().as_str()), (403, code));
        assert!(
            answer.json()["message"]
                .as_str()
                .is_some_and(|text| text.len() > 20)
        );
    }
    let history = http::get(server.address, "/v1/topics/a").await;
    assert_eq!(history.json()["next"], "0", "nothing was published");
}

#[tokio::test]
async fn allowed_origins_and_hosts_get_in() {
    let server = Fixture::with(|hub| {
        hub.allow_origin("https://app.example")
            .allow_host("rt.example")
    })
    .await;
    let mut peer = Peer::tcp(server.address).await;
    peer.upgrade(
        "/websocket",
        &["host: rt.example", "origin: https://app.example"],
    )
    .await;
    peer.say("ping").await;
    assert_eq!(peer.text().await, "pong");
}

/// `[WS-2]` `[WS-5]`
#[tokio::test]
async fn a_later_version_alone_is_refused_and_v1_is_agreed() {
    let server = Fixture::start().await;
    let answer = dial(&server, &["sec-websocket-protocol: heartwire.v9"]).await;
    assert_eq!(
        (answer.status, answer.error().as_str()),
        (400, "unknown-subprotocol")
    );
    let mut peer = Peer::tcp(server.address).await;
    let head = peer
        .upgrade(
            "/websocket",
            &["sec-websocket-protocol: heartwire.v9, heartwire.v1"],
        )
        .await;
    assert!(
        head.contains("sec-websocket-protocol: heartwire.v1\r\n"),
        "{head}"
    );
    assert!(
        !head
            .to_ascii_lowercase()
            .contains("sec-websocket-extensions"),
        "{head}"
    );
}

#[tokio::test]
async fn bad_urls_and_bad_handshakes_get_400_or_426() {
    let server = Fixture::start().await;
    for (path, code) in [
        ("/websocket?task=a%20b", "bad-topic"),
        ("/websocket?task=1&task=2", "repeated-key"),
        ("/websocket?42&task=42", "repeated-key"),
    ] {
        let answer = http::raw(server.address, upgrade(path, &[V1]).as_bytes()).await;
        assert_eq!(
            (answer.status, answer.error().as_str()),
            (400, code),
            "{path}"
        );
    }
    let answer = http::get(server.address, "/websocket").await;
    assert_eq!(answer.status, 426);
    assert_eq!(answer.header("sec-websocket-version"), Some("13"));
}

#[tokio::test]
async fn with_a_key_the_api_wants_it_and_websockets_are_refused_visibly() -> Outcome {
    let key = ApiKey::new("correct-horse")?;
    let server = Fixture::with(|hub| hub.api_key(key)).await;
    let answer = http::get(server.address, "/v1/topics").await;
    assert_eq!(
        (answer.status, answer.error().as_str()),
        (401, "unauthorized")
    );
    assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    let with_key = ["authorization: Bearer correct-horse"];
    let answer = http::request(server.address, "GET /v1/topics", &with_key, b"").await;
    assert_eq!(answer.status, 200);
    // The refusal is one that a browser can see, and nothing that was said is handled.
    let mut peer = Peer::silent_v1(server.address, "/websocket").await;
    peer.say(&hello("a", 1)).await;
    assert!(peer.text().await.starts_with("bye 4001 "));
    assert_eq!(peer.closed().await.0, 4001);
    let mut peer = Peer::plain(server.address, "/websocket").await;
    assert_eq!(peer.closed().await.0, 4001);
    assert_eq!(http::get(server.address, "/healthz").await.status, 200);
    Ok(())
}

#[tokio::test]
async fn an_open_websocket_needs_no_key() -> Outcome {
    let key = ApiKey::new("correct-horse")?;
    let server = Fixture::with(|hub| hub.api_key(key).open_websocket(true)).await;
    let mut peer = Peer::plain(server.address, "/websocket").await;
    peer.say("ping").await;
    assert_eq!(peer.text().await, "pong");
    assert_eq!(http::get(server.address, "/v1/topics").await.status, 401);
    Ok(())
}

#[tokio::test]
async fn without_a_key_a_listener_on_every_address_answers_nobody() -> Outcome {
    let hub = heartwire_server::Hub::builder().open().await?;
    let server = Server::bind("0.0.0.0:0", hub).await?;
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], server.local_addr().port()));
    let running = tokio::spawn(server.run(std::future::pending()));
    let answer = http::get(address, "/v1/topics").await;
    assert_eq!(
        (answer.status, answer.error().as_str()),
        (403, "not-loopback")
    );
    running.abort();
    Ok(())
}

#[tokio::test]
async fn a_full_server_says_503_and_when_to_come_back() {
    let server = Fixture::with(|hub| {
        hub.connection_limits(ConnectionLimits {
            per_address_max: 2,
            ..ConnectionLimits::default()
        })
    })
    .await;
    let first = Peer::plain(server.address, "/websocket").await;
    let _second = Peer::plain(server.address, "/websocket").await;
    let answer = dial(&server, &[V1]).await;
    assert_eq!(
        (answer.status, answer.error().as_str()),
        (503, "too-many-connections")
    );
    assert_eq!(answer.header("retry-after"), Some("5"));
    drop(first);
    crate::support::until("the seat to be free", async || {
        let mut peer = Peer::tcp(server.address).await;
        peer.send(upgrade("/websocket", &[]).as_bytes()).await;
        peer.head().await.starts_with("HTTP/1.1 101")
    })
    .await;
}

#[tokio::test]
async fn unknown_paths_and_methods_are_told_as_json() {
    let server = Fixture::start().await;
    let answer = http::get(server.address, "/v1/nothing").await;
    assert_eq!((answer.status, answer.error().as_str()), (404, "not-found"));
    let answer = http::request(server.address, "PUT /v1/topics/a", &[], b"x").await;
    assert_eq!(
        (answer.status, answer.error().as_str()),
        (405, "method-not-allowed")
    );
}

#[tokio::test]
async fn a_header_that_trickles_ends_after_its_deadline() {
    let server = Fixture::start().await;
    let deadline = Duration::from_secs(10);
    let (not_before, lateness) = (Instant::now(), Lateness::watch());
    let mut peer = Peer::tcp(server.address).await;
    peer.send(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nx-slow: ")
        .await;
    let not_after = Instant::now();
    while peer.heard_raw().await.is_some() {}
    let (most, least) = (not_before.elapsed(), not_after.elapsed());
    assert!(most >= deadline, "after {most:?} at most");
    let bound = deadline + lateness.allowance();
    assert!(least <= bound, "after {least:?} at least, not {bound:?}");
    assert_eq!(peer.heard().await, Heard::End);
    let counted = Scrape::of(server.address).await;
    let reason = r#"heartwire_refusals_total{over="accept",reason="slow-head"}"#;
    assert_eq!(counted.value(reason), 1.0);
}
