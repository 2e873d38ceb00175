//! Dials: their deadline, their failures, and what they say about themselves.

use std::time::{Duration, Instant};

use crate::support::{Peer, Server, at_once, soon, status_is};
use heartwire::{ConfigError, Ending, Link, Loss, Reconnect, Status, UrlError};
use heartwire_testing::Lateness;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Waits until the link is lost; tells why, and how long it waits.
async fn lost<M>(link: &Link<M>) -> (Loss, Duration) {
    match status_is(link, "lost").await {
        Status::Lost { why, retry_in, .. } => (why, retry_in),
        other => panic!("{other:?}"),
    }
}

/// Reads an HTTP request and answers it.
async fn answer(mut tcp: TcpStream, response: &str) -> String {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(soon(tcp.read_u8()).await.unwrap());
    }
    tcp.write_all(response.as_bytes()).await.unwrap();
    String::from_utf8(request).unwrap()
}

#[tokio::test]
async fn a_listener_that_never_answers_costs_one_deadline() {
    let server = Server::start().await;
    let deadline = Duration::from_secs(2);
    let link = server.link().attempt_timeout(deadline).connect().unwrap();
    let (since, lateness) = (Instant::now(), Lateness::watch());
    let mut silent = server.accept_tcp().await;
    let (why, _) = lost(&link).await;
    assert_eq!(why, Loss::AttemptTimeout);
    let (took, bound) = (since.elapsed(), deadline + lateness.allowance());
    assert!(took <= bound, "after {took:?}, not {bound:?}");
    // The socket is closed at once, not left to the peer.
    let mut request = Vec::new();
    soon(silent.read_to_end(&mut request)).await.unwrap();
    assert!(request.starts_with(b"GET /websocket HTTP/1.1\r\n"));
}

#[tokio::test]
async fn a_welcome_that_never_comes_costs_one_deadline() {
    let server = Server::start().await;
    let deadline = Duration::from_secs(2);
    let link = server.link().attempt_timeout(deadline).connect().unwrap();
    let mut peer = server.accept().await;
    peer.hello().await;
    let (why, _) = lost(&link).await;
    assert_eq!(why, Loss::AttemptTimeout);
}

#[tokio::test]
async fn a_refusal_is_reported_with_its_status_words_and_delay() {
    let server = Server::start().await;
    let link = server.link().connect().unwrap();
    let response = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 7\r\nContent-Length: 22\r\n\r\n\
                    too many connections\r\n";
    answer(server.accept_tcp().await, response).await;
    let (why, retry_in) = lost(&link).await;
    assert_eq!(
        why.to_string(),
        "dial failed: refused with HTTP status 503 Service Unavailable: too many connections"
    );
    assert!(retry_in >= Duration::from_secs(7), "{retry_in:?}");
    assert!(retry_in <= Duration::from_millis(7_700), "{retry_in:?}");
}

#[tokio::test]
async fn nobody_listening_is_reported_as_such() {
    let server = Server::start().await;
    let address = server.address();
    drop(server);
    let link = Link::builder(&format!("ws://{address}"))
        .reconnect(at_once())
        .connect()
        .unwrap();
    let (why, _) = lost(&link).await;
    let why = why.to_string();
    assert!(why.contains("cannot be reached"), "{why}");
    assert!(why.contains("refused"), "{why}");
}

#[tokio::test]
async fn a_server_that_does_not_agree_gets_no_hello() {
    let server = Server::start().await;
    let link = server.link().connect().unwrap();
    let response = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                    Connection: Upgrade\r\nSec-WebSocket-Accept: ";
    let mut tcp = server.accept_tcp().await;
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(soon(tcp.read_u8()).await.unwrap());
    }
    let request = String::from_utf8(request).unwrap();
    let key = request
        .lines()
        .find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "))
        .unwrap();
    let accept = tokio_tungstenite::tungstenite::handshake::derive_accept_key(key.as_bytes());
    tcp.write_all(format!("{response}{accept}\r\n\r\n").as_bytes())
        .await
        .unwrap();
    let (why, _) = lost(&link).await;
    let why = why.to_string();
    assert!(why.contains("did not agree to heartwire.v1"), "{why}");
    let mut rest = Vec::new();
    soon(tcp.read_to_end(&mut rest)).await.unwrap();
    assert!(rest.is_empty(), "nothing was said: {rest:?}");
}

#[tokio::test]
async fn the_request_carries_the_applications_headers() {
    let server = Server::start().await;
    let url = format!("http://me:secret@{}?task=42", server.address());
    let _link = Link::builder(&url)
        .header("Cookie", "session=1")
        .header("X-Tag", "a")
        .header("X-Tag", "b")
        .connect()
        .unwrap();
    let request = answer(
        server.accept_tcp().await,
        "HTTP/1.1 400 Bad Request\r\n\r\n",
    )
    .await;
    let request = request.to_lowercase();
    for line in [
        "get /websocket?task=42 http/1.1\r\n",
        "sec-websocket-protocol: heartwire.v1\r\n",
        "authorization: basic bwu6c2vjcmv0\r\n",
        "cookie: session=1\r\n",
        "x-tag: a\r\nx-tag: b\r\n",
    ] {
        assert!(request.contains(line), "{line:?} in {request}");
    }
}

#[tokio::test]
async fn dropping_the_link_drops_the_dial() {
    let server = Server::start().await;
    let link = server.link().connect().unwrap();
    let mut tcp = server.accept_tcp().await;
    drop(link);
    let mut request = Vec::new();
    soon(tcp.read_to_end(&mut request)).await.unwrap();
}

#[tokio::test]
async fn after_the_last_attempt_the_link_is_suspended_until_asked() {
    let server = Server::start().await;
    let policy = Reconnect::fixed(Duration::from_millis(100), 2);
    let link = server.link().reconnect(policy).connect().unwrap();
    for _ in 0..3 {
        drop(server.accept_tcp().await);
    }
    status_is(&link, "suspended").await;
    link.reconnect();
    let (_peer, hello) = server.accept_and_welcome().await;
    assert_eq!(hello.attempt.0, 4);
    status_is(&link, "open").await;
}

#[tokio::test]
async fn asleep_nothing_is_dialled_until_waking() {
    let server = Server::start().await;
    let link = server.link().connect().unwrap();
    let (peer, _) = server.accept_and_welcome().await;
    status_is(&link, "open").await;
    link.sleep();
    peer.reset();
    status_is(&link, "suspended").await;
    link.wake();
    let _peer = server.accept_and_welcome().await;
}

#[tokio::test]
async fn final_close_codes_end_the_link_and_others_do_not() {
    for (code, is_final) in [
        (1000, false),
        (4001, true),
        (4003, true),
        (4009, true),
        (4202, false),
    ] {
        let server = Server::start().await;
        let link = server.link().connect().unwrap();
        let (peer, _) = server.accept_and_welcome().await;
        status_is(&link, "open").await;
        peer.close(code, "because").await;
        if is_final {
            let Status::Closed { why } = status_is(&link, "closed").await else {
                panic!("the link is closed");
            };
            assert!(
                matches!(&why, Ending::Refused { code: c, reason } if c.0 == code && reason == "because"),
                "{why}"
            );
        } else {
            let (_peer, hello) = server.accept_and_welcome().await;
            assert_eq!(hello.attempt.0, 2, "{code}");
        }
    }
}

#[tokio::test]
async fn a_named_delay_is_obeyed_with_a_little_spread() {
    let server = Server::start().await;
    let link = server.link().connect().unwrap();
    let (mut peer, _) = server.accept_and_welcome().await;
    status_is(&link, "open").await;
    peer.say("bye 4201 5000 draining").await;
    let (why, retry_in) = lost(&link).await;
    assert_eq!(why.to_string(), "closed: 4201 draining: draining");
    assert!(retry_in >= Duration::from_secs(5), "{retry_in:?}");
    assert!(retry_in <= Duration::from_millis(5_500), "{retry_in:?}");
}

#[tokio::test]
async fn a_server_that_breaks_websocket_rules_costs_a_connection() {
    let server = Server::start().await;
    let link = server.link().message_bytes_max(1_000).connect().unwrap();
    let (peer, _) = server.accept_and_welcome().await;
    status_is(&link, "open").await;
    // A message of 4 GiB is announced; nothing is allocated for it.
    let mut tcp = peer.into_tcp();
    tcp.write_all(&[0x82, 127, 0, 0, 0, 1, 0, 0, 0, 0])
        .await
        .unwrap();
    let (why, _) = lost(&link).await;
    assert!(why.to_string().contains("too long"), "{why}");
    let peer: (Peer, _) = server.accept_and_welcome().await;
    drop(peer);
}

#[test]
fn what_cannot_work_is_refused_before_any_dial() {
    let error = |url| Link::builder(url).connect().unwrap_err();
    assert_eq!(error("ftp://h/"), ConfigError::Url(UrlError::Scheme));
    assert_eq!(error("ws://h/"), ConfigError::NoRuntime);
    let header = Link::builder("ws://h/").header("Upgrade", "x").connect();
    assert!(matches!(header, Err(ConfigError::Header(_))));
    let fast = Link::builder("ws://h/").heartbeat_interval(Duration::from_millis(1));
    assert!(matches!(fast.connect(), Err(ConfigError::Heartbeat(_))));
    let roots = Link::builder("wss://h/").root_certificates(b"no pem");
    assert!(matches!(
        roots.connect(),
        Err(ConfigError::RootCertificates(_))
    ));
}
