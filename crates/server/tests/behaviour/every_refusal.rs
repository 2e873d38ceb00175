//! Every refusal that a client can meet: what it is told, and that the operator sees it in
//! `heartwire_refusals_total`, or among the ended connections `[REFUSE-2]`.
//!
//! Where a refusal takes long or more of a stage, the test that shows it counts it as well:
//! `slow-head` and `slow-body` in `refusals` and `limits`, `disk-full` and `disk-failed` in the
//! command's `lost_power`.

use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::time::Duration;

use heartwire_server::{
    ApiKey, Check, CheckRequest, ConnectionLimits, Grant, Limits, Refusal, Server, Tokens,
};
use serde_json::Value;
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpSocket};

use crate::support::http::{self, Answer};
use crate::support::peer::{Peer, hello, text, upgrade};
use crate::support::token::{Issuer, claims, lasting};
use crate::support::{Fixture, Outcome, until, within};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const KEY: &str = "correct-horse";
const V1: &str = "sec-websocket-protocol: heartwire.v1";

fn refusals(over: &str, reason: &str) -> String {
    format!("heartwire_refusals_total{{over=\"{over}\",reason=\"{reason}\"}}")
}

/// Waits until a sample has this value; the operator's key opens every server here.
async fn counted(server: &Fixture, sample: &str, value: u64) {
    let bearer = format!("authorization: Bearer {KEY}");
    let line = format!("{sample} {value}\n");
    until(&line, async || {
        let page = http::request(server.address, "GET /metrics", &[&bearer], b"").await;
        page.body.contains(&line)
    })
    .await;
}

/// One request that is refused: what is sent, and status and code of the answer.
type Refused = (
    &'static str,
    &'static [&'static str],
    &'static [u8],
    u16,
    &'static str,
);

const MALFORMED: [Refused; 18] = [
    ("GET /v1/topics/a%20b", &[], b"", 400, "bad-topic"),
    ("GET /v1/topics/a?after=x", &[], b"", 400, "bad-cursor"),
    ("GET /v1/topics/a?limit=x", &[], b"", 400, "bad-limit"),
    ("GET /v1/connections?state=dead", &[], b"", 400, "bad-state"),
    (
        "GET /v1/connections?after=NOT-ONE",
        &[],
        b"",
        400,
        "bad-connection",
    ),
    (
        "GET /v1/connections/zzzz",
        &[],
        b"",
        404,
        "no-such-connection",
    ),
    ("DELETE /v1/subjects/ann?for=soon", &[], b"", 400, "bad-for"),
    ("DELETE /v1/subjects/%ff", &[], b"", 400, "bad-path"),
    (
        "POST /v1/subjects/ann/readmit",
        &[],
        b"",
        404,
        "no-such-subject",
    ),
    ("GET /v1/nothing", &[], b"", 404, "not-found"),
    ("PUT /v1/topics/a", &[], b"x", 405, "method-not-allowed"),
    ("GET /websocket", &[], b"", 426, "upgrade-required"),
    (
        "POST /v1/topics/a",
        &["content-type: text/plain"],
        b"\xff",
        400,
        "invalid-text",
    ),
    (
        "POST /v1/topics/a",
        &["idempotency-key: 1", "idempotency-key: 2"],
        b"x",
        400,
        "bad-idempotency-key",
    ),
    (
        "POST /v1/topics/a",
        &["host: evil.example"],
        b"x",
        403,
        "foreign-host",
    ),
    ("POST /v1/topics/a", &["host: a b"], b"x", 400, "bad-host"),
    (
        "POST /v1/topics/a",
        &["origin: null"],
        b"x",
        403,
        "foreign-origin",
    ),
    (
        "POST /v1/topics/a",
        &["forwarded: for=192.0.2.7"],
        b"x",
        403,
        "forwarded",
    ),
];

#[tokio::test]
async fn requests_that_cannot_be_served_are_told_why_and_counted() {
    let server = Fixture::start().await;
    for (line, headers, body, status, code) in MALFORMED {
        let answer = http::request(server.address, line, headers, body).await;
        assert_eq!(
            (answer.status, answer.error().as_str()),
            (status, code),
            "{line}"
        );
        counted(&server, &refusals("http", code), 1).await;
    }
}

#[tokio::test]
async fn handshakes_that_are_none_are_told_why_and_counted() {
    let server = Fixture::start().await;
    let bad_key = "GET /websocket HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\n\
                   connection: upgrade\r\nsec-websocket-version: 13\r\nsec-websocket-key: x\r\n\r\n";
    for (request, code) in [
        (bad_key.to_owned(), "bad-handshake"),
        (upgrade("/websocket?task=1&task=2", &[]), "repeated-key"),
        (
            upgrade("/websocket", &["sec-websocket-protocol: heartwire.v9"]),
            "unknown-subprotocol",
        ),
    ] {
        let answer = http::raw(server.address, request.as_bytes()).await;
        assert_eq!((answer.status, answer.error().as_str()), (400, code));
        counted(&server, &refusals("http", code), 1).await;
    }
}

#[tokio::test]
async fn bodies_that_are_too_large_or_said_before_are_counted() {
    let server = Fixture::start().await;
    let announced =
        "POST /v1/topics/a HTTP/1.1\r\nhost: localhost\r\ncontent-length: 99999999\r\n\r\n";
    let answer = http::raw(server.address, announced.as_bytes()).await;
    assert_eq!((answer.status, answer.error().as_str()), (413, "too-large"));
    counted(&server, &refusals("http", "too-large"), 1).await;

    let lines = "{}\n".repeat(20_000);
    let answer = http::post(server.address, "/v1/publish", &lines).await;
    assert_eq!(
        (answer.status, answer.error().as_str()),
        (413, "too-many-lines")
    );
    counted(&server, &refusals("http", "too-many-lines"), 1).await;

    let keyed = ["idempotency-key: 1", "content-type: text/plain"];
    let first = http::request(server.address, "POST /v1/topics/a", &keyed, b"x").await;
    assert_eq!(first.status, 201);
    let other = http::request(server.address, "POST /v1/topics/a", &keyed, b"y").await;
    assert_eq!(
        (other.status, other.error().as_str()),
        (422, "idempotency-key-reused")
    );
    counted(&server, &refusals("http", "idempotency-key-reused"), 1).await;

    let gone = http::get(server.address, "/v1/topics/a?after=old.1").await;
    assert_eq!((gone.status, gone.error().as_str()), (410, "gap"));
    counted(&server, &refusals("http", "gap"), 1).await;
}

#[tokio::test]
async fn what_is_no_http_is_counted() {
    let server = Fixture::start().await;
    let head = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(100_000));
    assert_eq!(http::raw(server.address, head.as_bytes()).await.status, 431);
    counted(&server, &refusals("accept", "large-head"), 1).await;
    let garbage = http::raw(server.address, b"\x16\x03\x01 no HTTP\r\n\r\n").await;
    assert_eq!(garbage.status, 400);
    counted(&server, &refusals("accept", "malformed"), 1).await;
}

/// 503 and how long to stay away, in seconds.
fn assert_unavailable(answer: &Answer, code: &str) {
    assert_eq!((answer.status, answer.error().as_str()), (503, code));
    let delay = answer
        .header("retry-after")
        .and_then(|value| value.parse().ok());
    let delay: u64 = delay.expect("when to come back");
    assert!((1..=10).contains(&delay), "{delay}");
}

#[tokio::test]
async fn a_limit_on_connections_is_told_with_a_delay_and_counted() {
    let one = NonZeroU64::new(1).expect("not zero");
    let usual = ConnectionLimits::default;
    for (limits, code) in [
        (
            ConnectionLimits {
                total_max: 1,
                ..usual()
            },
            "too-many-connections",
        ),
        (
            ConnectionLimits {
                per_address_max: 1,
                ..usual()
            },
            "too-many-connections",
        ),
        (
            ConnectionLimits {
                handshakes_per_second_max: one,
                ..usual()
            },
            "too-many-handshakes",
        ),
    ] {
        let server = Fixture::with(|hub| hub.connection_limits(limits)).await;
        let mut held = Vec::new();
        // On a busy machine the second for one handshake may be over before the next.
        let refused = loop {
            let mut peer = Peer::tcp(server.address).await;
            peer.send(upgrade("/websocket", &[V1]).as_bytes()).await;
            let head = peer.head().await;
            if !head.starts_with("HTTP/1.1 101") {
                break http::raw(server.address, upgrade("/websocket", &[V1]).as_bytes()).await;
            }
            held.push(peer);
            assert!(held.len() < 100, "{code}");
        };
        if refused.status == 503 {
            assert_unavailable(&refused, code);
            counted(&server, &refusals("http", code), 2).await;
        } else {
            counted(&server, &refusals("http", code), 1).await;
        }
    }
}

#[tokio::test]
async fn a_server_that_drains_says_so_with_a_delay_and_counts_it() {
    let server = Fixture::start().await;
    // One that does not leave holds the drain up.
    let _held = Peer::v1(server.address, "held").await;
    let hub = server.hub.clone();
    let drain = tokio::spawn(async move { hub.drain(Duration::from_secs(1)).await });
    until("the drain to begin", async || !server.hub.is_ready()).await;
    let answer = http::raw(server.address, upgrade("/websocket", &[V1]).as_bytes()).await;
    assert_unavailable(&answer, "draining");
    counted(&server, &refusals("http", "draining"), 1).await;
    drain.abort();
}

/// An address that dials and says nothing is refused before it is read from, and keeps nobody else
/// out.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn one_address_cannot_take_all_places_of_those_that_dial() -> Outcome {
    const PER_ADDRESS: usize = 2_048;
    let server = Fixture::start().await;
    let dial = async || {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from(([127, 0, 0, 2], 0)))?;
        socket.connect(server.address).await
    };
    let mut silent = Vec::new();
    for _ in 0..PER_ADDRESS {
        silent.push(dial().await?);
    }
    let mut answer = String::new();
    within("the answer", dial().await?.read_to_string(&mut answer)).await?;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.contains("\r\nretry-after: 5\r\n"), "{answer}");
    assert!(
        answer.contains("\"error\":\"too-many-connections\""),
        "{answer}"
    );
    counted(&server, &refusals("accept", "too-many-connections"), 1).await;
    let mut other = Peer::v1(server.address, "another-address").await;
    assert_eq!(other.ask("ping").await, "pong");
    Ok(())
}

async fn guarded() -> Fixture {
    let tokens = Tokens::secret(SECRET).expect("a secret");
    let key = ApiKey::new(KEY).expect("a key");
    Fixture::with(|hub| {
        hub.tokens(tokens)
            .api_key(key)
            .connection_limits(ConnectionLimits {
                partial_bytes_max: 8 * 1_024,
                ..ConnectionLimits::default()
            })
            .limits(Limits {
                messages_per_second_max: NonZeroU64::new(10),
                topics_max: 5,
                unacked_max: 5,
                ..Limits::default()
            })
    })
    .await
}

fn token(claims: &Value) -> String {
    Issuer::secret(SECRET).token(claims)
}

/// What is said in `bye` and by the close frame: its code, and the delay in milliseconds.
async fn goodbye(peer: &mut Peer) -> (u16, u64) {
    loop {
        let said = peer.text_after_pings().await;
        let Some(bye) = said.strip_prefix("bye ") else {
            continue;
        };
        let mut fields = bye.split(' ').map(str::parse::<u64>);
        let (code, delay) = (fields.next(), fields.next());
        let closed = peer.closed().await.0;
        assert_eq!(code, Some(Ok(u64::from(closed))), "{said}");
        return (closed, delay.expect("a delay").expect("a number"));
    }
}

#[tokio::test]
async fn tokens_that_open_nothing_are_told_by_code_and_counted() {
    let server = guarded().await;
    let mut peer = Peer::v1_with(server.address, "a", "wrong").await;
    assert_eq!(goodbye(&mut peer).await, (4001, 0));
    counted(&server, &refusals("websocket", "unauthorized"), 1).await;

    let expired = token(&lasting(-3_600.0, "ann", &["task:42"], &["inbox"]));
    let mut peer = Peer::v1_with(server.address, "a", &expired).await;
    assert_eq!(goodbye(&mut peer).await, (4002, 0));
    let ended = "heartwire_connections_ended_total{by=\"server\",reason=\"token-expired\"}";
    counted(&server, ended, 1).await;
    let bearer = format!("authorization: Bearer {expired}");
    let history = http::request(server.address, "GET /v1/topics/task:42", &[&bearer], b"").await;
    assert_eq!(
        (history.status, history.error().as_str()),
        (401, "token-expired")
    );
    counted(&server, &refusals("http", "token-expired"), 1).await;

    let ann = token(&claims("ann", &["task:42"], &["inbox"]));
    let path = format!("/websocket?task=43&token={ann}");
    let mut plain = Peer::plain(server.address, &path).await;
    assert_eq!(plain.closed().await.0, 4003);
    counted(&server, &refusals("websocket", "forbidden"), 1).await;
    let bearer = format!("authorization: Bearer {ann}");
    for (line, shown, status, code) in [
        (
            "GET /v1/topics/task:43",
            &[bearer.as_str()][..],
            403,
            "forbidden",
        ),
        ("GET /v1/topics/task:43", &[], 401, "unauthorized"),
    ] {
        let answer = http::request(server.address, line, shown, b"").await;
        assert_eq!(
            (answer.status, answer.error().as_str()),
            (status, code),
            "{line}"
        );
        counted(&server, &refusals("http", code), 1).await;
    }
}

#[tokio::test]
async fn whoever_sends_too_much_is_told_when_to_come_back_and_counted() {
    let server = guarded().await;
    let ann = token(&claims("ann", &["task:42"], &["inbox"]));
    let mut peer = Peer::v1_with(server.address, "fast", &ann).await;
    peer.welcomed().await;
    for _ in 0..100 {
        if peer.try_send(&text("ping")).await.is_err() {
            break;
        }
    }
    assert_eq!(goodbye(&mut peer).await, (4102, 1_000));
    counted(&server, &refusals("websocket", "rate-limited"), 1).await;

    let mut peer = Peer::v1_with(server.address, "half", &ann).await;
    peer.welcomed().await;
    let message = text(&format!("pub inbox 1\n{}", "x".repeat(20_000)));
    peer.send(&message[..16_000]).await;
    let (code, delay) = goodbye(&mut peer).await;
    assert_eq!(code, 4100);
    assert!(delay >= 1_000, "{delay}");
    counted(&server, &refusals("websocket", "overloaded"), 1).await;
}

/// The other codes end a connection; they are counted among those that ended.
#[tokio::test]
async fn broken_rules_and_operators_end_connections_that_are_counted() {
    let server = Fixture::start().await;
    let ended =
        |reason| format!("heartwire_connections_ended_total{{by=\"server\",reason=\"{reason}\"}}");
    for (said, code, reason) in [
        (text("nonsense"), 4000, "protocol-error"),
        (
            crate::support::peer::frame(0x81, b"\xff"),
            1007,
            "invalid-text",
        ),
        (vec![0x81, 0x00], 1002, "websocket-protocol"),
        (
            vec![0x81, 0xff, 0, 0, 0, 0, 1, 0, 0, 0, 1, 2, 3, 4],
            1009,
            "too-large",
        ),
        (text(&hello("broken", 2)), 4000, "protocol-error"),
    ] {
        let mut peer = Peer::v1(server.address, "broken").await;
        peer.send(&said).await;
        assert_eq!(peer.closed().await.0, code, "{reason}");
        drop(peer);
        let value = if said == text(&hello("broken", 2)) {
            2
        } else {
            1
        };
        counted(&server, &ended(reason), value).await;
    }
    let mut peer = Peer::v1(server.address, "operated").await;
    let list = http::get(server.address, "/v1/connections").await.json();
    let id = list["connections"][0]["connection"]
        .as_str()
        .expect("an id");
    let line = format!("DELETE /v1/connections/{id}");
    assert_eq!(
        http::request(server.address, &line, &[], b"").await.status,
        204
    );
    assert_eq!(goodbye(&mut peer).await.0, 4202);
    counted(&server, &ended("closed-by-operator"), 1).await;
}

/// The same hub behind an application that does not say where requests come from, and on every address.
#[tokio::test]
async fn whoever_comes_from_elsewhere_or_nobody_knows_where_is_counted() -> Outcome {
    let server = Fixture::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let unknown = listener.local_addr()?;
    let router = server.hub.router();
    tokio::spawn(async move { axum::serve(listener, router).await });
    let everywhere = Server::bind("0.0.0.0:0", server.hub.clone()).await?;
    let elsewhere = SocketAddr::from(([127, 0, 0, 1], everywhere.local_addr().port()));
    tokio::spawn(everywhere.run(std::future::pending()));
    for (address, code) in [(unknown, "unknown-peer"), (elsewhere, "not-loopback")] {
        let answer = http::get(address, "/v1/topics").await;
        assert_eq!((answer.status, answer.error().as_str()), (403, code));
        counted(&server, &refusals("http", code), 1).await;
    }
    Ok(())
}

#[tokio::test]
async fn a_body_that_breaks_off_or_makes_no_sense_is_counted() {
    let server = Fixture::start().await;
    let request = "POST /v1/topics/a HTTP/1.1\r\nhost: localhost\r\n\
                   transfer-encoding: chunked\r\n\r\nno number\r\n";
    let answer = http::raw(server.address, request.as_bytes()).await;
    assert_eq!((answer.status, answer.error().as_str()), (400, "bad-body"));
    counted(&server, &refusals("http", "bad-body"), 1).await;

    let mut peer = Peer::tcp(server.address).await;
    let half = "POST /v1/topics/a HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\nhalf";
    peer.send(half.as_bytes()).await;
    drop(peer);
    counted(&server, &refusals("http", "bad-body"), 2).await;
}

#[tokio::test]
async fn more_topics_taken_from_somebody_than_can_be_remembered_are_counted() {
    let server = guarded().await;
    let operator = format!("authorization: Bearer {KEY}");
    let take = async |number: u32| {
        let line = format!("DELETE /v1/subjects/ann/topics/t:{number}");
        http::request(server.address, &line, &[&operator], b"").await
    };
    for number in 0..64 {
        assert_eq!(take(number).await.status, 200);
    }
    let full = take(64).await;
    assert_eq!(
        (
            full.status,
            full.error().as_str(),
            full.header("retry-after")
        ),
        (503, "too-many-subjects", Some("60"))
    );
    counted(&server, &refusals("http", "too-many-subjects"), 1).await;
}

/// A back end that would know, and is down.
struct Down;

impl Check for Down {
    async fn check(&self, _: CheckRequest<'_>) -> Result<Grant, Refusal> {
        let seven = Duration::from_secs(7);
        Err(Refusal::unavailable("the back end is down", seven))
    }
}

#[tokio::test]
async fn who_cannot_be_looked_up_is_told_when_to_come_back_and_counted() {
    let key = ApiKey::new(KEY).expect("a key");
    let server = Fixture::with(|hub| hub.check(Down).api_key(key)).await;
    let answer = http::get(server.address, "/v1/topics/a").await;
    assert_unavailable(&answer, "unavailable");
    assert_eq!(answer.header("retry-after"), Some("7"));
    counted(&server, &refusals("http", "unavailable"), 1).await;
    let mut peer = Peer::v1_with(server.address, "a", "any").await;
    assert_eq!(goodbye(&mut peer).await, (4100, 7_000));
    counted(&server, &refusals("websocket", "overloaded"), 1).await;
}
