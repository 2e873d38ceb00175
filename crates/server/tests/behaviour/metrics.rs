//! What happens moves the metrics that say so.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use heartwire_server::{ApiKey, ConnectionLimits, HubBuilder, Limits, Retention};
use heartwire_testing::Lateness;

use crate::support::metrics::Scrape;
use crate::support::peer::{CLOSE, FINAL, Peer, frame, hello, text};
use crate::support::receiver::idle_webhook;
use crate::support::{Fixture, Outcome, http, quick_heartbeat, until};

/// Waits until a sample has a value.
async fn reaches(server: &Fixture, key: &str, expected: f64) -> Scrape {
    let mut last = Scrape::of(server.address).await;
    until(&format!("{key} to be {expected}"), async || {
        last = Scrape::of(server.address).await;
        (last.value(key) - expected).abs() < f64::EPSILON
    })
    .await;
    last
}

fn assert_values(scrape: &Scrape, expected: &[(&str, f64)]) {
    for (key, value) in expected {
        let found = scrape.value(key);
        assert!((found - value).abs() < f64::EPSILON, "{key}: {found}");
    }
}

/// A server in which something has happened to every family that has labels.
async fn lived_in() -> Fixture {
    let settings = |hub: HubBuilder| hub.heartbeat(quick_heartbeat()).webhook(idle_webhook());
    let server = Fixture::with(settings).await;
    let mut peer = Peer::v1(server.address, "one").await;
    peer.say("sub a").await;
    http::publish(server.address, "a", "x").await;
    peer.closed().await;
    let _ = http::get(server.address, "/nowhere").await;
    server
}

#[tokio::test]
async fn the_output_keeps_to_the_text_format() {
    let server = lived_in().await;
    let scrape = Scrape::of(server.address).await;
    assert!(scrape.types.len() > 40, "{}", scrape.types.len());
    assert!(scrape.text.ends_with('\n'));
    let version = env!("CARGO_PKG_VERSION");
    let build = format!("heartwire_build_info{{version=\"{version}\"}}");
    assert_values(&scrape, &[(&build, 1.0)]);
}

/// Prometheus' own tool has the last word where there is one (Debian: `prometheus`), and has to be there
/// when HEARTWIRE_PROMTOOL names it, as `cargo xtask test` does.
#[tokio::test]
async fn promtool_finds_nothing_to_say() -> Outcome {
    let server = lived_in().await;
    let text = Scrape::of(server.address).await.text;
    let named = std::env::var_os("HEARTWIRE_PROMTOOL");
    let started = Command::new(named.as_deref().unwrap_or("promtool".as_ref()))
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let mut promtool = match started {
        Ok(promtool) => promtool,
        Err(error) if named.is_some() => return Err(error.into()),
        Err(_) => return Ok(()),
    };
    let mut stdin = promtool.stdin.take().ok_or("it was piped")?;
    stdin.write_all(text.as_bytes())?;
    drop(stdin);
    let said = promtool.wait_with_output()?;
    let complaints = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(
        said.status.success() && complaints.is_empty(),
        "{complaints}"
    );
    Ok(())
}

#[tokio::test]
async fn a_key_once_set_is_needed() {
    let key = ApiKey::new("a-key-of-some-length").expect("a key");
    let server = Fixture::with(|hub| hub.api_key(key)).await;
    let without = http::get(server.address, "/metrics").await;
    assert_eq!(without.status, 401);
    let bearer = ["authorization: Bearer a-key-of-some-length"];
    let with = http::request(server.address, "GET /metrics", &bearer, b"").await;
    assert_eq!(with.status, 200);
    let refused = "heartwire_refusals_total{over=\"http\",reason=\"unauthorized\"} 1\n";
    assert!(with.body.contains(refused), "{}", with.body);
}

#[tokio::test]
async fn a_link_that_dies_of_silence_is_counted_with_its_delay() {
    let server = Fixture::quick().await;
    let lateness = Lateness::watch();
    let mut peer = Peer::v1(server.address, "silent").await;
    assert_eq!(peer.closed().await.0, 4200);
    let dead = "heartwire_dead_links_total{side=\"server\",reason=\"silence\"}";
    let scrape = reaches(&server, dead, 1.0).await;
    let delay = "heartwire_detection_delay_seconds";
    assert_values(
        &scrape,
        &[
            (&format!("{delay}_count{{reason=\"silence\"}}"), 1.0),
            (
                &format!("{delay}_bucket{{reason=\"silence\",le=\"10\"}}"),
                1.0,
            ),
            (
                "heartwire_connections_ended_total{by=\"server\",reason=\"heartbeat-timeout\"}",
                1.0,
            ),
        ],
    );
    // The first question comes after a random part of the interval, the verdict a second later.
    let sum = scrape.value(&format!("{delay}_sum{{reason=\"silence\"}}"));
    let most = 2.0 + lateness.allowance().as_secs_f64();
    assert!((0.9..most).contains(&sum), "{sum}");
}

/// A v1 connection that follows `flood` and whose kernel takes little.
async fn stuck(server: &Fixture) -> Peer {
    let mut stuck = Peer::with_small_window(server.address).await;
    stuck
        .upgrade("/websocket", &["sec-websocket-protocol: heartwire.v1"])
        .await;
    stuck.say(&hello("stuck", 1)).await;
    stuck.say("sub flood").await;
    reaches(server, "heartwire_followers", 1.0).await;
    stuck
}

#[tokio::test]
async fn a_follower_that_does_not_read_lags() {
    let server = Fixture::start().await;
    let _stuck = stuck(&server).await;
    let payload = "x".repeat(64 * 1024);
    let mut last = Scrape::of(server.address).await;
    until("it to lag", async || {
        http::publish(server.address, "flood", &payload).await;
        last = Scrape::of(server.address).await;
        last.value("heartwire_lag_messages") >= 3.0
    })
    .await;
    assert_values(
        &last,
        &[
            (
                "heartwire_lag_max_messages",
                last.value("heartwire_lag_messages"),
            ),
            ("heartwire_lag_looked_at_followers", 1.0),
        ],
    );
}

#[tokio::test]
async fn a_peer_that_speaks_and_takes_no_output_dies_of_that() {
    let server = Fixture::quick().await;
    let mut stuck = stuck(&server).await;
    let payload = "x".repeat(64 * 1024);
    let dead = "heartwire_dead_links_total{side=\"server\",reason=\"blocked\"}";
    let mut last = Scrape::of(server.address).await;
    until("it to be found dead", async || {
        // It is heard all the time; once it is dead, nobody listens.
        let _ = stuck.try_send(&text("pong byhand")).await;
        if last.value("heartwire_lag_messages") < 3.0 {
            http::publish(server.address, "flood", &payload).await;
        }
        last = Scrape::of(server.address).await;
        last.value(dead) > 0.5
    })
    .await;
    let delay = "heartwire_detection_delay_seconds";
    let count = format!("{delay}_count{{reason=\"blocked\"}}");
    assert_values(&last, &[(dead, 1.0), (&count, 1.0)]);
    let sum = last.value(&format!("{delay}_sum{{reason=\"blocked\"}}"));
    assert!((1.9..6.0).contains(&sum), "{sum}");
}

#[tokio::test]
async fn an_answered_ping_tells_its_round_trip() {
    let server = Fixture::quick().await;
    let mut peer = Peer::v1(server.address, "alive").await;
    let ping = peer.text().await;
    let id = ping
        .strip_prefix("ping ")
        .and_then(|rest| rest.lines().next());
    peer.say(&format!("pong {}", id.expect("a ping"))).await;
    let round_trip = "heartwire_heartbeat_round_trip_seconds";
    let scrape = reaches(&server, &format!("{round_trip}_count"), 1.0).await;
    assert_values(
        &scrape,
        &[(&format!("{round_trip}_bucket{{le=\"1\"}}"), 1.0)],
    );
}

#[tokio::test]
async fn connections_are_counted_by_mode_and_end() {
    let server = Fixture::start().await;
    let mut closing = Peer::v1(server.address, "one").await;
    let operated = Peer::v1(server.address, "two").await;
    let plain = Peer::plain(server.address, "/websocket").await;
    let scrape = reaches(&server, "heartwire_websockets", 3.0).await;
    assert_values(
        &scrape,
        &[
            ("heartwire_connections{mode=\"v1\"}", 2.0),
            ("heartwire_connections{mode=\"plain\"}", 1.0),
            ("heartwire_connections_opened_total{mode=\"v1\"}", 2.0),
            ("heartwire_connections_opened_total{mode=\"plain\"}", 1.0),
        ],
    );
    closing
        .send(&frame(FINAL | CLOSE, &1001_u16.to_be_bytes()))
        .await;
    drop(plain);
    let listed = http::get(server.address, "/v1/connections?limit=1&after=c1").await;
    let id = listed.json()["connections"][0]["connection"].clone();
    let path = format!("DELETE /v1/connections/{}", id.as_str().expect("an id"));
    let deleted = http::request(server.address, &path, &[], b"").await;
    assert_eq!(deleted.status, 204);
    let mut operated = operated;
    assert_eq!(operated.closed().await.0, 4202);
    let scrape = reaches(&server, "heartwire_websockets", 0.0).await;
    let ended = |by, reason| {
        format!("heartwire_connections_ended_total{{by=\"{by}\",reason=\"{reason}\"}}")
    };
    assert_values(
        &scrape,
        &[
            ("heartwire_connections{mode=\"v1\"}", 0.0),
            ("heartwire_connections{mode=\"plain\"}", 0.0),
            (&ended("peer", "going-away"), 1.0),
            (&ended("peer", "hung-up"), 1.0),
            (&ended("server", "closed-by-operator"), 1.0),
        ],
    );
}

#[tokio::test]
async fn a_client_that_comes_back_first_has_found_a_dead_link() {
    let server = Fixture::start().await;
    let (mut old, _) = Peer::v1_attempt(server.address, "one", 1).await;
    let (_new, _) = Peer::v1_attempt(server.address, "one", 2).await;
    assert_eq!(old.closed().await.0, 4009);
    let mut stale = Peer::silent_v1(server.address, "/websocket").await;
    stale.say(&hello("one", 1)).await;
    assert_eq!(stale.closed().await.0, 4009);
    let scrape = Scrape::of(server.address).await;
    assert_values(
        &scrape,
        &[
            ("heartwire_takeovers_total", 1.0),
            ("heartwire_reconnects_total", 1.0),
            ("heartwire_stale_dials_total", 1.0),
            (
                "heartwire_dead_links_total{side=\"client\",reason=\"taken-over\"}",
                1.0,
            ),
        ],
    );
}

#[tokio::test]
async fn what_resuming_came_to_is_counted() {
    let server = Fixture::with(|hub| {
        hub.retention(Retention {
            count_max: 2,
            ..Retention::default()
        })
    })
    .await;
    let mut epoch = String::new();
    for _ in 0..5 {
        let stored = http::publish(server.address, "a", "x").await;
        epoch = stored["epoch"].as_str().expect("an epoch").to_owned();
    }
    let mut peer = Peer::v1(server.address, "one").await;
    for from in [
        "head".to_owned(),
        format!("{epoch}.5"),
        format!("{epoch}.1"),
        "zzzz.3".to_owned(),
    ] {
        peer.say(&format!("sub a {from}")).await;
    }
    peer.say("sub $nothing").await;
    let refused = "heartwire_follows_refused_total{reason=\"bad-topic\"}";
    let scrape = reaches(&server, refused, 1.0).await;
    let outcome = |outcome| format!("heartwire_follows_started_total{{outcome=\"{outcome}\"}}");
    assert_values(
        &scrape,
        &[
            (&outcome("fresh"), 1.0),
            (&outcome("resumed"), 1.0),
            (&outcome("gap-retention"), 1.0),
            (&outcome("gap-epoch"), 1.0),
            ("heartwire_gaps_total{reason=\"retention\"}", 1.0),
            ("heartwire_gaps_total{reason=\"epoch\"}", 1.0),
            ("heartwire_log_trimmed_messages_total", 3.0),
            ("heartwire_log_trimmed_unread_messages_total", 3.0),
        ],
    );
}

#[tokio::test]
async fn publishes_are_counted_by_origin_and_outcome_and_deliveries_by_follower() -> Outcome {
    let limits = Limits {
        message_bytes_max: 1_000,
        ..Limits::default()
    };
    let server = Fixture::with(|hub| hub.limits(limits)).await;
    let mut peer = Peer::v1(server.address, "one").await;
    peer.say("sub a").await;
    let mut plain = Peer::plain(server.address, "/websocket?task=7").await;
    for (seq, topic) in [(1, "a"), (1, "a"), (2, "$mine")] {
        peer.say(&format!("pub {topic} {seq}\nx")).await;
    }
    http::publish(server.address, "a", "x").await;
    let reserved = http::post(server.address, "/v1/topics/$mine", "x").await;
    assert_eq!(reserved.status, 400);
    server.hub.publish("task:7", "x").await?;
    assert_eq!(plain.text().await, "x");
    let large = server.hub.publish("a", "x".repeat(1_001)).await;
    assert!(large.is_err());

    let delivered = "heartwire_deliveries_total{to=\"v1\"}";
    let scrape = reaches(&server, delivered, 2.0).await;
    let publishes = |origin, outcome| {
        format!("heartwire_publishes_total{{origin=\"{origin}\",outcome=\"{outcome}\"}}")
    };
    assert_values(
        &scrape,
        &[
            (&publishes("websocket", "accepted"), 1.0),
            (&publishes("websocket", "repeated"), 1.0),
            (&publishes("websocket", "bad-topic"), 1.0),
            (&publishes("http", "accepted"), 1.0),
            (&publishes("http", "bad-topic"), 1.0),
            (&publishes("embedded", "accepted"), 1.0),
            (&publishes("embedded", "too-large"), 1.0),
            ("heartwire_deliveries_total{to=\"plain\"}", 1.0),
            // One byte of payload and a header of two.
            ("heartwire_delivered_bytes_total{to=\"plain\"}", 3.0),
            ("heartwire_log_messages_total", 3.0),
            ("heartwire_topics", 2.0),
            ("heartwire_producers", 1.0),
            ("heartwire_log_accepting", 1.0),
        ],
    );
    assert!(scrape.value("heartwire_log_memory_bytes") > 3.0);
    Ok(())
}

#[tokio::test]
async fn refusals_are_counted_by_place_and_reason() {
    let server = Fixture::with(|hub| {
        hub.connection_limits(ConnectionLimits {
            total_max: 1,
            ..ConnectionLimits::default()
        })
    })
    .await;
    let _first = Peer::v1(server.address, "one").await;
    let request = crate::support::peer::upgrade("/websocket", &[]);
    let full = http::raw(server.address, request.as_bytes()).await;
    assert_eq!(full.status, 503);
    let foreign = ["origin: https://evil.example"];
    let answer = http::request(server.address, "POST /v1/topics/a", &foreign, b"x").await;
    assert_eq!(answer.status, 403);
    let scrape = Scrape::of(server.address).await;
    let http = |reason| format!("heartwire_refusals_total{{over=\"http\",reason=\"{reason}\"}}");
    assert_values(
        &scrape,
        &[
            (&http("too-many-connections"), 1.0),
            (&http("foreign-origin"), 1.0),
        ],
    );
}

#[tokio::test]
async fn a_websocket_that_is_refused_after_its_upgrade_is_a_refusal() {
    let key = ApiKey::new("a-key-of-some-length").expect("a key");
    let server = Fixture::with(|hub| hub.api_key(key)).await;
    let mut peer = Peer::silent_v1(server.address, "/websocket").await;
    assert_eq!(peer.closed().await.0, 4001);
    let expected = "heartwire_refusals_total{over=\"websocket\",reason=\"unauthorized\"} 1\n";
    let bearer = ["authorization: Bearer a-key-of-some-length"];
    until("the refusal to be counted", async || {
        let with = http::request(server.address, "GET /metrics", &bearer, b"").await;
        with.body.contains(expected)
    })
    .await;
}

#[tokio::test]
async fn half_of_a_message_takes_memory_until_its_sender_is_gone() {
    let server = Fixture::start().await;
    let mut peer = Peer::v1(server.address, "one").await;
    let message = text(&format!("pub a 1\n{}", "x".repeat(5_000)));
    peer.send(&message[..3_000]).await;
    until("half a message to be held", async || {
        let scrape = Scrape::of(server.address).await;
        (2_900.0..6_000.0).contains(&scrape.value("heartwire_half_received_bytes"))
    })
    .await;
    drop(peer);
    reaches(&server, "heartwire_half_received_bytes", 0.0).await;
}

#[tokio::test]
async fn a_log_on_disk_tells_its_syncs_and_its_size() -> Outcome {
    let folder = std::env::temp_dir().join(format!("heartwire-metrics-{}", std::process::id()));
    let server = Fixture::with(|hub| hub.data(&folder)).await;
    for _ in 0..3 {
        http::publish(server.address, "a", &"x".repeat(1_000)).await;
    }
    let scrape = Scrape::of(server.address).await;
    assert_values(
        &scrape,
        &[
            ("heartwire_log_sync_seconds_count", 3.0),
            ("heartwire_log_batch_records_sum", 3.0),
            ("heartwire_log_batch_records_bucket{le=\"1\"}", 3.0),
            ("heartwire_log_disk_full", 0.0),
        ],
    );
    let retained = scrape.value("heartwire_log_retained_bytes");
    assert!((3_000.0..6_000.0).contains(&retained), "{retained}");
    assert!(scrape.value("heartwire_log_written_bytes_total") >= 3_000.0);
    assert!(scrape.value("heartwire_log_disk_bytes") >= retained);
    assert!(scrape.value("heartwire_log_sync_seconds_sum") > 0.0);
    drop(server);
    std::fs::remove_dir_all(folder)?;
    Ok(())
}

#[tokio::test]
async fn a_drain_shows_how_far_it_has_come() {
    let server = Fixture::with(|hub| hub.heartbeat(quick_heartbeat())).await;
    let mut first = Peer::v1(server.address, "one").await;
    let _second = Peer::v1(server.address, "two").await;
    assert_values(
        &Scrape::of(server.address).await,
        &[("heartwire_draining", 0.0)],
    );
    // The hub alone drains: its listener goes on answering.
    server.hub.drain(Duration::from_secs(1)).await;
    assert_eq!(first.closed().await.0, 4201);
    let scrape = reaches(&server, "heartwire_websockets", 0.0).await;
    assert_values(
        &scrape,
        &[
            ("heartwire_draining", 1.0),
            ("heartwire_drain_websockets", 2.0),
            ("heartwire_log_accepting", 0.0),
        ],
    );
}
