//! Too much, too fast, too slow: what it is told `[CLOSE-7]` `[REFUSE-2]`.

use std::num::NonZeroU64;
use std::time::Duration;

use heartwire_server::{ConnectionLimits, Hub, Limits, Server};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::support::metrics::Scrape;
use crate::support::peer::{Heard, Peer, upgrade};
use crate::support::{Fixture, Outcome, PATIENCE, http};

#[tokio::test]
async fn a_connection_that_sends_too_fast_is_told_when_to_come_back() {
    let server = Fixture::with(|hub| {
        hub.limits(Limits {
            messages_per_second_max: NonZeroU64::new(10),
            topics_max: 5,
            unacked_max: 5,
            ..Limits::default()
        })
    })
    .await;
    let mut other = Peer::v1(server.address, "other").await;
    let mut v1 = Peer::v1(server.address, "a").await;
    let mut plain = Peer::plain(server.address, "/websocket").await;
    for peer in [&mut v1, &mut plain] {
        for _ in 0..100 {
            if peer
                .try_send(&crate::support::peer::text("ping"))
                .await
                .is_err()
            {
                break;
            }
        }
    }
    let mut pongs = 0;
    let goodbye = loop {
        match v1.text_after_pings().await.as_str() {
            "pong" => pongs += 1,
            goodbye => break goodbye.to_owned(),
        }
    };
    let reason = "CLOSE-7: more was sent than this server takes";
    assert_eq!(goodbye, format!("bye 4102 1000 {reason}"));
    assert!((20..30).contains(&pongs), "{pongs}");
    assert_eq!(v1.closed().await.0, 4102);
    assert_eq!(plain.closed().await, (4102, format!("retry 1000 {reason}")));
    assert_eq!(other.ask("ping").await, "pong");
}

#[tokio::test]
async fn handshakes_beyond_the_rate_get_503_and_a_delay() {
    let server = Fixture::with(|hub| {
        hub.connection_limits(ConnectionLimits {
            handshakes_per_second_max: NonZeroU64::new(1).expect("not zero"),
            ..ConnectionLimits::default()
        })
    })
    .await;
    let dial = async || {
        let mut peer = Peer::tcp(server.address).await;
        peer.send(upgrade("/websocket", &[]).as_bytes()).await;
        peer.head().await
    };
    let is_refused = |head: &String| head.starts_with("HTTP/1.1 503");
    let mut heads = Vec::new();
    while heads.len() < 100 && !heads.last().is_some_and(is_refused) {
        heads.push(dial().await);
    }
    let refused = heads.last().expect("one at least");
    assert!(is_refused(refused), "a hundred do not begin in one second");
    let delay = refused
        .lines()
        .find_map(|line| line.strip_prefix("retry-after: "));
    let delay: u64 = delay.expect("a delay").parse().expect("seconds");
    assert!((1..=5).contains(&delay), "{delay}");
    let health = http::get(server.address, "/healthz").await;
    assert_eq!(health.status, 200, "requests are none");
    crate::support::until("the next second", async || {
        dial().await.starts_with("HTTP/1.1 101")
    })
    .await;
}

#[tokio::test]
async fn a_body_that_trickles_ends_after_its_deadline() {
    let server = Fixture::start().await;
    let mut peer = Peer::tcp(server.address).await;
    let request = "POST /v1/topics/a HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\nx";
    peer.send(request.as_bytes()).await;
    let begun = Instant::now();
    // Longer than anything else here waits.
    let deadline = Duration::from_secs(40);
    let head = tokio::time::timeout(deadline, async {
        let mut head = Vec::new();
        while !head.ends_with(b"}\n") {
            match tokio::time::timeout(Duration::from_secs(1), peer.heard_raw()).await {
                Ok(Some(bytes)) => head.extend(bytes),
                Ok(None) => break,
                Err(_) => {}
            }
        }
        String::from_utf8(head).expect("text")
    })
    .await
    .expect("it ends");
    assert!(head.starts_with("HTTP/1.1 408"), "{head}");
    let took = begun.elapsed().as_secs();
    assert!((29..39).contains(&took), "{took}");
    drop(peer);
    let counted = Scrape::of(server.address).await;
    let reason = r#"heartwire_refusals_total{over="http",reason="slow-body"}"#;
    assert_eq!(counted.value(reason), 1.0);
}

#[tokio::test]
async fn one_that_never_says_hello_is_gone_after_its_deadline() {
    let server = Fixture::with(|hub| {
        hub.limits(Limits {
            hello_timeout: Duration::from_millis(300),
            ..Limits::default()
        })
    })
    .await;
    let mut peer = Peer::silent_v1(server.address, "/websocket").await;
    assert!(peer.text().await.starts_with("bye 4200 0 HELLO-1"));
    assert!(matches!(peer.heard().await, Heard::Close(4200, _)));
}

/// Nobody accepts here: whoever finds no room in the queue is never connected.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_fleet_that_dials_at_once_finds_room_in_the_accept_queue() -> Outcome {
    let server = Server::bind("127.0.0.1:0", Hub::builder().open().await?).await?;
    let granted = std::fs::read_to_string("/proc/sys/net/core/somaxconn")?;
    let fleet = granted.trim().parse::<usize>()?.min(1_000);
    let mut waiting = Vec::new();
    for number in 0..fleet {
        let dial = TcpStream::connect(server.local_addr());
        let dialled = tokio::time::timeout(PATIENCE, dial).await;
        waiting.push(dialled.unwrap_or_else(|_| panic!("only {number} found room"))?);
    }
    Ok(())
}
