//! The dead are dropped in time, the living never `[LIVE-1]` to `[LIVE-11]`.

use std::time::Duration;

use crate::support::peer::{Heard, Peer, text};
use crate::support::{Fixture, ON_THE_WAY, TRIES, http, until};
use heartwire_server::{HeartbeatConfig, Retention};
use heartwire_testing::Lateness;
use serde_json::json;
use tokio::time::Instant;

/// Interval + timeout of the quick heartbeat.
const QUICK_BOUND: Duration = Duration::from_secs(2);
/// Interval + timeout of the patient one.
const PATIENT_BOUND: Duration = Duration::from_secs(4);

/// Clocks of milliseconds are early by up to one, at both ends of a span.
const ROUNDING: Duration = Duration::from_millis(2);

async fn connections(server: &Fixture) -> usize {
    let listed = http::get(server.address, "/v1/connections").await.json();
    listed["connections"].as_array().map_or(0, Vec::len)
}

#[tokio::test]
async fn a_silent_client_is_dropped_within_interval_plus_timeout() {
    let server = Fixture::quick().await;
    for number in 0..TRIES {
        let mut peer = Peer::v1(server.address, &format!("silent-{number}")).await;
        // The first question comes after a random part of the interval; its answer begins the count.
        let question = peer.question().await;
        let asked_at = question.and_then(|question| question.not_before);
        let lateness = Lateness::watch();
        let not_before = Instant::now();
        let is_said = peer.try_send(&text("ping")).await.is_ok();
        let not_after = Instant::now();
        let answered_after = asked_at.map(|asked_at| not_after - asked_at);
        if !is_said || answered_after.is_none_or(|took| took > QUICK_BOUND / 2 - ON_THE_WAY) {
            // It may have been too late already, which shows nothing.
            continue;
        }
        peer.ended().await;
        let (most, least) = (not_before.elapsed(), not_after.elapsed());
        assert!(most + ROUNDING >= QUICK_BOUND, "after {most:?} at most");
        let bound = QUICK_BOUND + lateness.allowance();
        assert!(least <= bound, "after {least:?} at least, not {bound:?}");
        return;
    }
    panic!("not one answer in {TRIES} was in time: this machine is too busy");
}

#[tokio::test]
async fn the_death_of_a_silent_client_has_its_code_and_reason() {
    let server = Fixture::quick().await;
    let mut peer = Peer::v1(server.address, "told").await;
    let (code, reason) = peer.closed().await;
    assert_eq!(code, 4200, "{reason}");
    let mut plain = Peer::plain(server.address, "/websocket").await;
    assert_eq!(plain.closed().await.0, 4200);
}

#[tokio::test]
async fn bytes_without_a_pong_keep_a_connection_alive() {
    let server = Fixture::patient().await;
    let mut peer = Peer::v1(server.address, "busy").await;
    // One long frame in small pieces: not one whole message arrives for longer than the bound.
    let upload = text(&format!("pub a 1\n{}", "x".repeat(100)));
    let begun = Instant::now();
    for piece in upload.chunks(12) {
        peer.send(piece).await;
        tokio::time::sleep(Duration::from_millis(600)).await;
    }
    assert!(begun.elapsed() > PATIENT_BOUND + PATIENT_BOUND / 4);
    assert!(peer.is_answered().await);
}

#[tokio::test]
async fn a_link_whose_answers_come_just_in_time_is_never_closed() {
    let timeout = Duration::from_secs(2);
    let heartbeat = HeartbeatConfig::new(Duration::from_secs(1), timeout).expect("in range");
    let server = Fixture::with(|hub| hub.heartbeat(heartbeat)).await;
    let answer_after = Duration::from_millis(1_500);
    crate::support::lives_by_late_answers(server.address, timeout, answer_after).await;
}

/// 16 MB go by; `quick` gets each message in order, as if nobody else was there. Returns the epoch.
async fn flood(server: &Fixture, quick: &mut Peer) -> String {
    let payload = "x".repeat(64 * 1024);
    let mut epoch = String::new();
    for offset in 1..=256_u64 {
        let stored = http::publish(server.address, "flood", &payload).await;
        epoch = stored["epoch"].as_str().expect("an epoch").to_owned();
        let mut message = quick.text_after_pings().await;
        if message.starts_with("epoch ") {
            message = quick.text_after_pings().await;
        }
        assert!(
            message.starts_with(&format!("msg flood {offset} ")),
            "at {offset}"
        );
    }
    epoch
}

#[tokio::test]
async fn a_follower_that_reads_nothing_is_closed_and_comes_back_to_an_exact_gap() {
    let server = Fixture::with(|hub| {
        hub.heartbeat(crate::support::patient_heartbeat())
            .retention(Retention {
                bytes_max: 2 << 20,
                ..Retention::default()
            })
    })
    .await;
    let mut stuck = Peer::with_small_window(server.address).await;
    stuck
        .upgrade("/websocket", &["sec-websocket-protocol: heartwire.v1"])
        .await;
    stuck.say(&crate::support::peer::hello("stuck", 1)).await;
    stuck.say("sub flood").await;
    let mut quick = Peer::v1(server.address, "quick").await;
    quick.say("sub flood").await;
    assert_eq!(quick.text_after_pings().await, "subbed flood 0");
    until("both to follow", async || connections(&server).await == 2).await;

    let epoch = flood(&server, &mut quick).await;
    let (begun, lateness) = (Instant::now(), Lateness::watch());
    let drain = tokio::spawn(async move { while quick.heard().await != Heard::End {} });
    until("the stuck one to be dropped", async || {
        let listed = http::get(server.address, "/v1/connections").await.json();
        let modes = listed["connections"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        !modes.iter().any(|one| one["lag"].as_u64() > Some(100))
    })
    .await;
    let took = begun.elapsed();
    let bound = PATIENT_BOUND + lateness.allowance();
    assert!(took <= bound, "after {took:?}, not {bound:?}");
    drain.abort();

    let (mut back, _) = Peer::v1_attempt(server.address, "stuck", 2).await;
    back.say(&format!("sub flood {epoch}.1")).await;
    let subbed = back.text_after_pings().await;
    let first = http::get(server.address, "/v1/topics/flood?limit=1")
        .await
        .json()["first"]
        .as_u64();
    let base = first.expect("it is retained") - 1;
    assert_eq!(
        subbed,
        format!("subbed flood {epoch}.{base} gap {epoch} 2 {base} retention")
    );
    let next = back.text_after_pings().await;
    assert!(
        next.starts_with(&format!("msg flood {} ", base + 1)),
        "{}",
        &next[..40]
    );
}

#[tokio::test]
async fn a_slow_reader_is_not_declared_dead() {
    let server = Fixture::patient().await;
    let mut slow = Peer::with_small_window(server.address).await;
    slow.upgrade("/websocket", &["sec-websocket-protocol: heartwire.v1"])
        .await;
    slow.say(&crate::support::peer::hello("slow", 1)).await;
    slow.say("sub load").await;
    until("it to follow", async || connections(&server).await == 1).await;
    // 500 KB at 50 KB/s: ten seconds with a bound of four. It answers pings when it comes to read
    // them, long after they were sent.
    slow.bytes_per_100_ms = 5_000;
    let payload = "x".repeat(50_000);
    for _ in 0..10 {
        http::publish(server.address, "load", &payload).await;
    }
    let begun = Instant::now();
    let mut messages = 0;
    while messages < 10 {
        messages += usize::from(slow.text_after_pings().await.starts_with("msg load "));
    }
    assert!(
        begun.elapsed() > Duration::from_secs(8),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn a_peer_that_asks_and_never_reads_is_not_read_from_and_dies() {
    let server = Fixture::quick().await;
    let mut peer = Peer::with_small_window(server.address).await;
    peer.upgrade("/websocket", &["sec-websocket-protocol: heartwire.v1"])
        .await;
    peer.say(&crate::support::peer::hello("asking", 1)).await;
    let mut flight = Vec::new();
    for topic in 0..1_000 {
        flight.extend(text(&format!("sub topic:{topic}")));
        flight.extend(text(&format!("unsub topic:{topic}")));
    }
    let stream = peer.into_stream();
    let (begun, lateness) = (Instant::now(), Lateness::watch());
    let error = crate::support::within("the server to give up", async {
        use tokio::io::AsyncWriteExt as _;
        let (_unread, mut write) = stream.into_split();
        loop {
            if let Err(error) = write.write_all(&flight).await {
                return error;
            }
        }
    })
    .await;
    // What it sends before the server stops reading takes a moment as well.
    let (took, bound) = (begun.elapsed(), QUICK_BOUND * 4 + lateness.allowance());
    assert!(took <= bound, "after {took:?}, not {bound:?}: {error}");
    until("it to be gone", async || connections(&server).await == 0).await;
    let topics = http::get(server.address, "/v1/topics").await.json();
    assert_eq!(topics["topics"], json!([]));
}
