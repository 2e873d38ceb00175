//! A link that is dead without a sign is noticed in time, and one that lives is left alone. Real
//! sockets in real time, with the shortest heartbeat there is.

#![allow(clippy::unwrap_used)]

mod support;

use std::time::{Duration, Instant};

use heartwire::{Loss, Status};
use support::{Peer, Server, status_is};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const SHORTEST: &str = r#""heartbeat":{"interval_ms":1000,"timeout_ms":1000}"#;

async fn open(server: &Server) -> (heartwire::Link, Peer) {
    let link = server.link().connect().unwrap();
    let mut peer = server.accept().await;
    peer.hello().await;
    peer.welcome(SHORTEST).await;
    status_is(&link, "open").await;
    (link, peer)
}

#[tokio::test]
async fn silence_is_noticed_within_interval_and_timeout() {
    let server = Server::start().await;
    let (link, peer) = open(&server).await;
    let since = Instant::now();
    let Status::Lost { why, .. } = status_is(&link, "lost").await else {
        panic!("the link is lost");
    };
    let took = since.elapsed();
    assert!(matches!(why, Loss::Silent { .. }), "{why}");
    // 1.25 s + 1 s, and scheduling on a busy machine.
    assert!(took >= Duration::from_millis(2_200), "{took:?}");
    assert!(took <= Duration::from_millis(3_200), "{took:?}");

    // It dials again while the old connection still stands, and what that one still says is not
    // heard any more.
    let mut old = peer;
    let (mut peer, hello) = server.accept_and_welcome().await;
    assert_eq!(hello.attempt.0, 2);
    assert!(old.next().await.is_some(), "the ping that had no answer");
    status_is(&link, "open").await;
    peer.say("ping 1").await;
    peer.expect("pong 1").await;
    assert_eq!(link.counters().opened, 2);
}

#[tokio::test]
async fn an_answered_ping_is_a_round_trip_and_keeps_the_link() {
    let server = Server::start().await;
    let (link, mut peer) = open(&server).await;
    assert_eq!(link.rtt(), None);
    for _ in 0..2 {
        let ping = peer.hear().await;
        let id = ping.strip_prefix("ping ").expect("a ping");
        peer.say(&format!("pong {id}")).await;
    }
    // The second ping was sent after the first answer had been heard.
    assert!(link.rtt().is_some());
    assert_eq!(link.status().borrow().name(), "open");
}

#[tokio::test]
async fn bytes_of_an_unfinished_message_are_life() {
    let server = Server::start().await;
    let (link, peer) = open(&server).await;
    let mut tcp = peer.into_tcp();
    // A text message of 60 bytes that takes six seconds, during which no frame is complete.
    let text = format!("future {}", "x".repeat(53));
    tcp.write_all(&[0x81, 60]).await.unwrap();
    for byte in text.as_bytes().chunks(1).take(59) {
        tokio::time::sleep(Duration::from_millis(100)).await;
        tcp.write_all(byte).await.unwrap();
    }
    assert_eq!(link.status().borrow().name(), "open");
    assert_eq!(link.counters().opened, 1);
}

/// `[LIVE-10]`
#[tokio::test]
async fn a_process_that_was_stopped_reads_before_it_judges() {
    let server = Server::start().await;
    let (link, mut peer) = open(&server).await;
    assert!(peer.hear().await.starts_with("ping "));
    // The answer is on its way when everything in this process stops, for longer than it may take.
    peer.say("ping 7").await;
    std::thread::sleep(Duration::from_secs(3));
    peer.expect("pong 7").await;
    assert_eq!(link.status().borrow().name(), "open");
    assert_eq!(link.counters().opened, 1);
}

#[tokio::test]
async fn a_probe_finds_a_dead_link_within_its_bound() {
    let server = Server::start().await;
    let link = server.link().connect().unwrap();
    let (_silent, _) = server.accept_and_welcome().await;
    status_is(&link, "open").await;
    let since = Instant::now();
    link.probe();
    status_is(&link, "lost").await;
    let took = since.elapsed();
    assert!(took >= Duration::from_millis(2_900), "{took:?}");
    assert!(took <= Duration::from_millis(4_000), "{took:?}");
}

#[tokio::test]
async fn a_network_change_asks_at_once() {
    let server = Server::start().await;
    let link = server.link().connect().unwrap();
    let (mut peer, _) = server.accept_and_welcome().await;
    status_is(&link, "open").await;
    link.network_changed();
    assert!(peer.hear().await.starts_with("ping "));
}

#[tokio::test]
async fn the_application_can_ask_for_a_new_connection() {
    let server = Server::start().await;
    let link = server.link().connect().unwrap();
    let (mut peer, _) = server.accept_and_welcome().await;
    status_is(&link, "open").await;
    link.reconnect();
    while peer.next().await.is_some() {}
    let (_peer, hello) = server.accept_and_welcome().await;
    assert_eq!(hello.attempt.0, 2);
    status_is(&link, "open").await;
}

#[tokio::test]
async fn a_server_that_reads_slowly_is_alive_until_it_stops() {
    let server = Server::start().await;
    let (link, peer) = open(&server).await;
    let mut tcp = peer.into_tcp();
    socket2::SockRef::from(&tcp)
        .set_recv_buffer_size(16 * 1024)
        .unwrap();
    let publish = link.publish("inbox", vec![0; 1_000_000]);
    // 80 kB a second, for three times the bound, and not a word in return.
    let mut part = [0; 8 * 1024];
    for _ in 0..65 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        tcp.read_exact(&mut part).await.unwrap();
    }
    assert_eq!(link.status().borrow().name(), "open");
    assert_eq!(link.counters().opened, 1);

    let since = Instant::now();
    status_is(&link, "lost").await;
    let took = since.elapsed();
    assert!(took <= Duration::from_millis(3_500), "{took:?}");
    drop((publish, tcp));
}
