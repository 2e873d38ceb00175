//! Whatever bytes arrive, they cost their sender alone `[REFUSE-4]`.

use std::time::Duration;

use crate::support::peer::{
    BINARY, CLOSE, CONTINUE, FINAL, Heard, PING, PONG, Peer, TEXT, frame, hello, text, upgrade,
};
use crate::support::{Fixture, http, until};
use heartwire_server::Limits;
use heartwire_testing::{Dice, Lateness};
use tokio::time::Instant;

/// Somebody who follows and publishes while others send garbage.
struct Bystander {
    peer: Peer,
    published: u64,
}

impl Bystander {
    async fn new(server: &Fixture) -> Self {
        let mut peer = Peer::v1(server.address, "bystander").await;
        peer.say("sub bystander").await;
        assert!(
            peer.text_after_pings()
                .await
                .starts_with("subbed bystander ")
        );
        Self { peer, published: 0 }
    }

    /// Its connection is the one it was, and works.
    async fn notices_nothing(&mut self) {
        self.published += 1;
        let seq = self.published;
        self.peer
            .say(&format!("pub bystander {seq}\nstill here"))
            .await;
        let mut heard = [
            self.peer.text_after_pings().await,
            self.peer.text_after_pings().await,
        ];
        heard.sort();
        assert_eq!(heard[0], format!("ack {seq}"));
        if seq == 1 {
            assert!(heard[1].starts_with("epoch bystander "), "{heard:?}");
            heard[1] = self.peer.text_after_pings().await;
        }
        assert!(
            heard[1].starts_with(&format!("msg bystander {seq} ")),
            "{heard:?}"
        );
    }
}

/// `[WS-1]`
#[tokio::test]
async fn breaches_of_the_websocket_close_with_the_code_that_names_them() {
    let server = Fixture::start().await;
    let mut bystander = Bystander::new(&server).await;
    for (bytes, code) in [
        (&[FINAL | TEXT, 4, b'p', b'i', b'n', b'g'][..], 1002),
        (&frame(FINAL | 0x40 | TEXT, b"ping"), 1002),
        (&frame(FINAL | 3, b""), 1002),
        (&frame(FINAL | PING, &[0; 126]), 1002),
        (&frame(PING, b""), 1002),
        (
            &[FINAL | TEXT, 0x80 | 126, 0, 4, 0, 0, 0, 0, 1, 2, 3, 4],
            1002,
        ),
        (&frame(FINAL | CONTINUE, b"x"), 1002),
        (
            &[frame(TEXT, b"a"), frame(FINAL | TEXT, b"b")].concat(),
            1002,
        ),
        (&frame(FINAL | CLOSE, b"\x03"), 1002),
        (&frame(FINAL | CLOSE, &1005_u16.to_be_bytes()), 1002),
        (&frame(FINAL | TEXT, b"\xff\xfe"), 1007),
        (&frame(TEXT, b"\xc3\x28"), 1007),
        (
            &[
                FINAL | BINARY,
                0x80 | 127,
                0,
                0,
                0,
                1,
                0,
                0,
                0,
                0,
                0,
                0,
                0,
                0,
            ],
            1009,
        ),
    ] {
        for mut peer in [
            Peer::plain(server.address, "/websocket").await,
            Peer::v1(server.address, "garbage").await,
        ] {
            peer.send(bytes).await;
            assert_eq!(peer.closed().await.0, code, "{bytes:02x?}");
            peer.ended().await;
        }
    }
    bystander.notices_nothing().await;
}

#[tokio::test]
async fn breaches_of_the_protocol_close_with_4000_and_the_rule() {
    let server = Fixture::start().await;
    let mut bystander = Bystander::new(&server).await;
    for (said, rule) in [
        ("", "FRAME-"),
        ("nonsense", "FRAME-3"),
        ("sub", "FRAME-4"),
        ("sub a b c d", "FRAME-"),
        ("sub not/a/topic", "FRAME-5"),
        ("sub task:42 k3v9.-1", "FRAME-"),
        ("sub task:42 k3v9.01", "FRAME-"),
        ("sub task:42 K3V9.1", "FRAME-"),
        ("pub task:42 0\nx", "FRAME-6"),
        ("pub task:42 9007199254740992\nx", "FRAME-6"),
        ("skip 7", "PUB-7"),
    ] {
        let mut peer = Peer::v1(server.address, &format!("rule-{}", said.len())).await;
        peer.say(said).await;
        let (code, reason) = peer.closed().await;
        assert_eq!(
            (code, reason.starts_with(rule)),
            (4000, true),
            "{said:?}: {reason}"
        );
    }
    let mut early = Peer::silent_v1(server.address, "/websocket").await;
    early.say("sub task:42").await;
    let (code, reason) = early.closed().await;
    assert_eq!(
        (code, reason.starts_with("HELLO-1")),
        (4000, true),
        "{reason}"
    );
    let long = format!("sub {}", "x".repeat(600));
    let mut peer = Peer::v1(server.address, "long-header").await;
    peer.say(&long).await;
    let (code, reason) = peer.closed().await;
    assert_eq!(
        (code, reason.starts_with("FRAME-2")),
        (4000, true),
        "{reason}"
    );
    bystander.notices_nothing().await;
}

#[tokio::test]
async fn a_bye_with_the_same_code_comes_before_the_close() {
    let server = Fixture::start().await;
    let mut peer = Peer::v1(server.address, "bye").await;
    peer.say("nonsense").await;
    let bye = peer.text_after_pings().await;
    assert!(bye.starts_with("bye 4000 0 FRAME-3"), "{bye}");
    assert_eq!(peer.closed().await.0, 4000);
}

#[tokio::test]
async fn before_hello_16_kib_are_the_limit() {
    let server = Fixture::start().await;
    let mut peer = Peer::silent_v1(server.address, "/websocket").await;
    let padding = "x".repeat(20_000);
    let hello = format!(r#"hello {{"client":"0000000000000000-big","attempt":1,"x":"{padding}"}}"#);
    let _ = peer.try_send(&text(&hello)).await;
    assert_eq!(peer.closed().await.0, 1009);
}

#[tokio::test]
async fn oversized_headers_and_bodies_get_431_and_413() {
    let server = Fixture::start().await;
    let header = format!("x-large: {}", "x".repeat(100_000));
    let answer = http::request(server.address, "GET /healthz", &[&header], b"").await;
    assert_eq!(answer.status, 431);
    let body = vec![b'x'; Limits::default().message_bytes_max + 1];
    let answer = http::request(
        server.address,
        "POST /v1/topics/a",
        &["content-type: text/plain"],
        &body,
    )
    .await;
    assert_eq!((answer.status, answer.error().as_str()), (413, "too-large"));
    let announced =
        b"POST /v1/topics/a HTTP/1.1\r\nhost: localhost\r\ncontent-length: 99999999999\r\n\r\n";
    assert_eq!(http::raw(server.address, announced).await.status, 413);
}

#[tokio::test]
async fn random_bytes_before_and_after_the_handshake_harm_nobody() {
    let server = Fixture::start().await;
    let mut bystander = Bystander::new(&server).await;
    let mut dice = Dice::new(1);
    for round in 0..60 {
        let bytes: Vec<u8> = (0..dice.below(3_000)).map(|_| dice.roll() as u8).collect();
        let mut peer = match round % 3 {
            0 => Peer::tcp(server.address).await,
            1 => Peer::plain(server.address, "/websocket").await,
            _ => Peer::v1(server.address, &format!("random-{round}")).await,
        };
        let _ = peer.try_send(&bytes).await;
        drop(peer);
    }
    bystander.notices_nothing().await;
}

#[tokio::test]
async fn half_a_frame_and_silence_is_death_like_any_silence() {
    let server = Fixture::quick().await;
    let mut peer = Peer::v1(server.address, "half").await;
    let whole = text("pub task:42 1\nthis will never be finished");
    peer.send(&whole[..whole.len() / 2]).await;
    let (begun, lateness) = (Instant::now(), Lateness::watch());
    assert_eq!(peer.closed().await.0, 4200);
    let (took, bound) = (
        begun.elapsed(),
        Duration::from_secs(2) + lateness.allowance(),
    );
    assert!(took <= bound, "after {took:?}, not {bound:?}");
}

#[tokio::test]
async fn half_a_hello_and_silence_ends_at_its_deadline() {
    let server = Fixture::with(|hub| {
        hub.limits(Limits {
            hello_timeout: Duration::from_secs(1),
            ..Limits::default()
        })
    })
    .await;
    let mut peer = Peer::silent_v1(server.address, "/websocket").await;
    let hello = text(&hello("late", 1));
    peer.send(&hello[..10]).await;
    assert_eq!(peer.closed().await.0, 4200);
    peer.ended().await;
}

#[tokio::test]
async fn ten_thousand_topics_from_one_client_are_refused_beyond_the_limit() {
    let server = Fixture::start().await;
    let mut bystander = Bystander::new(&server).await;
    let peer = Peer::v1(server.address, "greedy").await;
    let mut flight = Vec::new();
    for topic in 0..10_000 {
        flight.extend(text(&format!("sub topic:{topic}")));
    }
    let (mut subbed, mut refused) = (0, 0);
    let stream = peer.into_stream();
    let (mut read, mut write) = stream.into_split();
    let writing = tokio::spawn(async move {
        tokio::io::AsyncWriteExt::write_all(&mut write, &flight)
            .await
            .expect("the server reads");
        write
    });
    let mut received = Vec::new();
    crate::support::within("10,000 answers", async {
        use tokio::io::AsyncReadExt as _;
        while subbed + refused < 10_000 {
            assert!(
                read.read_buf(&mut received).await.expect("it lives") > 0,
                "it was closed"
            );
            for line in crate::support::peer::texts(&mut received) {
                subbed += usize::from(line.starts_with("subbed "));
                refused += usize::from(line.starts_with("refused ") && line.ends_with(" limit"));
            }
        }
    })
    .await;
    assert_eq!((subbed, refused), (1_000, 9_000));
    drop(writing);
    bystander.notices_nothing().await;
}

/// `[WS-6]`
#[tokio::test]
async fn bytes_right_behind_the_upgrade_request_are_handled() {
    let server = Fixture::start().await;
    let mut peer = Peer::tcp(server.address).await;
    let v1 = ["sec-websocket-protocol: heartwire.v1"];
    let mut flight = upgrade("/websocket", &v1).into_bytes();
    flight.extend(text(&hello("early", 1)));
    flight.extend(text("sub task:42 head"));
    flight.extend(text("ping a"));
    peer.send(&flight).await;
    assert!(peer.head().await.starts_with("HTTP/1.1 101"));
    assert!(peer.text().await.starts_with("welcome"));
    assert_eq!(peer.text().await, "subbed task:42 0");
    assert_eq!(peer.text().await, "pong a");
}

#[tokio::test]
async fn bytes_behind_the_upgrade_request_leave_room_for_half_received_messages() {
    let server = Fixture::start().await;
    let mut early = Peer::tcp(server.address).await;
    let v1 = ["sec-websocket-protocol: heartwire.v1"];
    let mut flight = upgrade("/websocket", &v1).into_bytes();
    flight.extend(text(&hello("early", 1)));
    early.send(&flight).await;
    early.head().await;
    assert!(early.text().await.starts_with("welcome"));
    let mut halves = Peer::v1(server.address, "halves").await;
    let message = text("pub task:42 1\nin two parts");
    let (first, second) = message.split_at(9);
    halves.send(first).await;
    // The server has read the first part when others have been answered that came later.
    early.say("ping a").await;
    assert_eq!(early.text_after_pings().await, "pong a");
    halves.send(second).await;
    assert_eq!(halves.text_after_pings().await, "ack 1");
}

#[tokio::test]
async fn whoever_broke_the_framing_and_stays_is_dropped_all_the_same() {
    let server = Fixture::start().await;
    let mut peer = Peer::plain(server.address, "/websocket").await;
    until("it is there", async || server.hub.connections() == 1).await;
    let unmasked = [FINAL | TEXT, 1, b'x'];
    peer.send(&unmasked).await;
    // It has been told, and shown the end of the stream, but keeps its own half open.
    assert!(peer.heard_raw().await.is_some());
    until("its place is free", async || server.hub.connections() == 0).await;
    drop(peer);
}

#[tokio::test]
async fn a_client_that_has_sent_its_last_is_still_answered() {
    let server = Fixture::start().await;
    let mut peer = Peer::v1(server.address, "last-words").await;
    peer.send(&text("pub task:42 1\nthat was all")).await;
    peer.shut_down().await;
    assert_eq!(peer.text_after_pings().await, "ack 1");
    peer.ended().await;
}

#[tokio::test]
async fn a_payload_above_the_limit_is_skipped_and_named() {
    let server = Fixture::with(|hub| {
        hub.limits(Limits {
            message_bytes_max: 1_000,
            frame_bytes_max: 100_000,
            ..Limits::default()
        })
    })
    .await;
    let mut peer = Peer::v1(server.address, "large").await;
    for (seq, length) in [(1, 1_001), (2, 1_500), (3, 90_000)] {
        peer.say(&format!("pub task:42 {seq}\n{}", "x".repeat(length)))
            .await;
        assert_eq!(
            peer.text_after_pings().await,
            format!("nack {seq} too-large")
        );
        peer.say(&format!("skip {seq}")).await;
        assert_eq!(peer.text_after_pings().await, format!("ack {seq}"));
    }
    peer.say(&format!("pub task:42 4\n{}", "x".repeat(1_000)))
        .await;
    assert_eq!(peer.text_after_pings().await, "ack 4");
    let fragments = [
        frame(TEXT, b"pub task:42 5\n"),
        frame(FINAL, &[b'x'; 5_000]),
    ]
    .concat();
    peer.send(&fragments).await;
    assert_eq!(peer.text_after_pings().await, "nack 5 too-large");
    peer.send(&frame(FINAL | TEXT, &vec![b'x'; 100_001])).await;
    assert_eq!(peer.closed().await.0, 1009);
}

#[tokio::test]
async fn control_frames_between_fragments_are_answered() {
    let server = Fixture::start().await;
    let mut peer = Peer::plain(server.address, "/websocket").await;
    peer.send(&frame(TEXT, b"pi")).await;
    peer.send(&frame(FINAL | PING, b"between")).await;
    assert_eq!(peer.heard().await, Heard::Pong(b"between".to_vec()));
    peer.send(&frame(FINAL | PONG, b"unasked")).await;
    peer.send(&frame(FINAL, b"ng")).await;
    assert_eq!(peer.text().await, "pong");
    peer.send(&frame(FINAL | CLOSE, &[3, 232])).await;
    assert_eq!(peer.closed().await.0, 1000);
    peer.ended().await;
}
