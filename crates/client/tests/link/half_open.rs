//! A link that is dead without a sign is noticed in time, and one that lives is left alone. Real
//! sockets in real time. Bounds are shown with the shortest heartbeat there is; where the peer has to
//! be in time as well, it has three seconds for an answer.

use std::time::{Duration, Instant};

use crate::support::{Peer, Server, status_is};
use heartwire::{Loss, Status};
use heartwire_testing::Lateness;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const SHORTEST: &str = r#""heartbeat":{"interval_ms":1000,"timeout_ms":1000}"#;
const PATIENT: &str = r#""heartbeat":{"interval_ms":1000,"timeout_ms":3000}"#;
/// A quarter more than the server's interval, and the timeout.
const SHORTEST_BOUND: Duration = Duration::from_millis(2_250);
const PATIENT_BOUND: Duration = Duration::from_millis(4_250);
/// Clocks of milliseconds are early by up to one, at both ends of a span.
const ROUNDING: Duration = Duration::from_millis(2);
/// How often the link looks whether its output moves.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

async fn open(server: &Server, heartbeat: &str) -> (heartwire::Link, Peer) {
    let link = server.link().connect().unwrap();
    let mut peer = server.accept().await;
    peer.hello().await;
    peer.welcome(heartbeat).await;
    status_is(&link, "open").await;
    (link, peer)
}

fn assert_in_time(since: Instant, bound: Duration, lateness: &Lateness) {
    let (took, bound) = (since.elapsed(), bound + lateness.allowance());
    assert!(took <= bound, "after {took:?}, not {bound:?}");
}

#[tokio::test]
async fn silence_is_noticed_within_interval_and_timeout() {
    let server = Server::start().await;
    let (before_the_last_byte, lateness) = (Instant::now(), Lateness::watch());
    let (link, peer) = open(&server, SHORTEST).await;
    let behind_the_last_byte = Instant::now();
    let Status::Lost { why, .. } = status_is(&link, "lost").await else {
        panic!("the link is lost");
    };
    assert!(matches!(why, Loss::Silent { .. }), "{why}");
    let most = before_the_last_byte.elapsed();
    assert!(most + ROUNDING >= SHORTEST_BOUND, "after {most:?} at most");
    assert_in_time(behind_the_last_byte, SHORTEST_BOUND, &lateness);

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
    let (link, mut peer) = open(&server, PATIENT).await;
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
    let (link, peer) = open(&server, PATIENT).await;
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
    let (link, mut peer) = open(&server, SHORTEST).await;
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
    let (since, lateness) = (Instant::now(), Lateness::watch());
    link.probe();
    status_is(&link, "lost").await;
    let bound = Duration::from_secs(3);
    assert!(since.elapsed() + ROUNDING >= bound, "{:?}", since.elapsed());
    assert_in_time(since, bound, &lateness);
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
    let (link, peer) = open(&server, PATIENT).await;
    let mut tcp = peer.into_tcp();
    socket2::SockRef::from(&tcp)
        .set_recv_buffer_size(16 * 1024)
        .unwrap();
    let publish = link.publish("inbox", vec![0; 1_000_000]);
    // 80 kB a second, for twice the bound, and not a word in return.
    let mut part = [0; 8 * 1024];
    for _ in 0..85 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        tcp.read_exact(&mut part).await.unwrap();
    }
    assert_eq!(link.status().borrow().name(), "open");
    assert_eq!(link.counters().opened, 1);

    let (since, lateness) = (Instant::now(), Lateness::watch());
    status_is(&link, "lost").await;
    assert_in_time(since, PATIENT_BOUND + PROGRESS_EVERY, &lateness);
    drop((publish, tcp));
}
