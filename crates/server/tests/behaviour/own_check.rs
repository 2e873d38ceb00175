//! A check of the application's own, asked on every way in.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use heartwire_server::{Check, CheckRequest, Grant, Hub, Refusal};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use crate::support::peer::{Heard, Peer, hello, hello_with};
use crate::support::{Outcome, http, until};

/// Knows people by a cookie, or by a token that is their name; asks a slow back end.
#[derive(Clone, Default)]
struct Sessions {
    asked: Arc<AtomicUsize>,
    /// Where the back end waits for, if it is slow.
    slow: Option<Arc<Notify>>,
}

impl Sessions {
    async fn look_up(&self, user: Option<&str>) -> Result<Grant, Refusal> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if let Some(slow) = &self.slow {
            slow.notified().await;
        }
        match user {
            Some("root") => Ok(Grant::operator()),
            Some("broken") => Err(Refusal::unavailable(
                "the back end is down",
                Duration::from_secs(7),
            )),
            Some("banned") => Err(Refusal::forbidden("banned")),
            Some("old") => Err(Refusal::expired("sign in again")),
            Some(user) => {
                let own = format!("task:{user}").parse().map_err(Refusal::forbidden)?;
                let inbox = "inbox".parse().map_err(Refusal::forbidden)?;
                Ok(Grant::new(user).subscribe(own).publish(inbox))
            }
            None => Err(Refusal::unauthorized("who is it?")),
        }
    }
}

impl Check for Sessions {
    async fn check(&self, request: CheckRequest<'_>) -> Result<Grant, Refusal> {
        assert!(request.peer.is_some_and(|peer| peer.ip().is_loopback()));
        let cookie = request.parts.headers.get("cookie");
        let cookie = cookie.and_then(|cookie| cookie.to_str().ok()?.strip_prefix("user="));
        self.look_up(request.token.or(cookie)).await
    }

    async fn renew(&self, _: Option<&str>, token: &str) -> Result<Grant, Refusal> {
        self.look_up(Some(token)).await
    }
}

/// An application of somebody's, with the hub at `/realtime`.
async fn application(sessions: Sessions) -> (Hub, SocketAddr) {
    let hub = Hub::builder().check(sessions).open().await;
    let hub = hub.expect("good settings");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let app = Router::new().nest("/realtime", hub.router());
    let service = app.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await });
    (hub, address)
}

/// What somebody with this cookie meets: on a v1 and a plain WebSocket, over HTTP, and by events.
async fn meets(address: SocketAddr, user: &str) -> [String; 4] {
    let cookie = format!("cookie: user={user}");
    let v1 = {
        let mut peer = Peer::tcp(address).await;
        let headers = ["sec-websocket-protocol: heartwire.v1", &cookie];
        peer.upgrade("/realtime/websocket", &headers).await;
        peer.say(&hello("a", 1)).await;
        let heard = peer.text().await;
        heard
            .split(['\n', ' '])
            .take(2)
            .collect::<Vec<_>>()
            .join(" ")
    };
    let plain = {
        let mut peer = Peer::tcp(address).await;
        peer.upgrade("/realtime/websocket", &[&cookie]).await;
        peer.say("ping").await;
        match peer.heard().await {
            Heard::Text(text) => text,
            Heard::Close(code, _) => code.to_string(),
            other => panic!("{other:?}"),
        }
    };
    let mut statuses = Vec::new();
    for accept in ["accept: */*", "accept: text/event-stream"] {
        let line = "GET /realtime/v1/topics/task:42?after=0";
        let mut peer = Peer::tcp(address).await;
        let request = format!("{line} HTTP/1.1\r\nhost: localhost\r\n{accept}\r\n{cookie}\r\n\r\n");
        peer.send(request.as_bytes()).await;
        let head = peer.head().await;
        statuses.push(head.split(' ').nth(1).expect("a status").to_owned());
    }
    let welcome = if v1.starts_with("welcome") {
        "welcome".to_owned()
    } else {
        v1
    };
    [welcome, plain, statuses[0].clone(), statuses[1].clone()]
}

#[tokio::test]
async fn one_check_decides_on_every_way_in() {
    let sessions = Sessions::default();
    let (_hub, address) = application(sessions.clone()).await;
    for (user, expected) in [
        ("42", ["welcome", "pong", "200", "200"]),
        ("43", ["welcome", "pong", "403", "403"]),
        ("root", ["welcome", "pong", "200", "200"]),
        ("banned", ["bye 4003", "4003", "403", "403"]),
        ("old", ["bye 4002", "4002", "401", "401"]),
        ("broken", ["bye 4100", "4100", "503", "503"]),
    ] {
        assert_eq!(meets(address, user).await, expected, "{user}");
    }
    assert_eq!(sessions.asked.load(Ordering::Relaxed), 6 * 4);
    let anonymous = http::get(address, "/realtime/v1/topics/task:42").await;
    assert_eq!(
        (anonymous.status, anonymous.error().as_str()),
        (401, "unauthorized")
    );
    let cookie = ["cookie: user=broken"];
    let line = "GET /realtime/v1/topics/task:42";
    let broken = http::request(address, line, &cookie, b"").await;
    assert_eq!(broken.header("retry-after"), Some("7"));
    // An operator may all, others nothing but read.
    let line = "POST /realtime/v1/topics/inbox";
    for (cookie, status) in [("cookie: user=root", 201), ("cookie: user=42", 403)] {
        let answer = http::request(address, line, &[cookie], b"x").await;
        assert_eq!(answer.status, status, "{cookie}");
    }
}

#[tokio::test]
async fn what_comes_behind_hello_waits_for_a_slow_check() {
    let slow = Arc::new(Notify::new());
    let sessions = Sessions {
        slow: Some(slow.clone()),
        ..Sessions::default()
    };
    let (_hub, address) = application(sessions.clone()).await;
    let mut peer = Peer::tcp(address).await;
    peer.upgrade(
        "/realtime/websocket",
        &["sec-websocket-protocol: heartwire.v1"],
    )
    .await;
    peer.say(&hello_with("a", "42")).await;
    peer.say("sub task:42").await;
    peer.say("sub task:43").await;
    until("the check to be asked", async || {
        sessions.asked.load(Ordering::Relaxed) == 1
    })
    .await;
    slow.notify_one();
    peer.welcomed().await;
    assert_eq!(peer.text().await, "subbed task:42 0");
    assert_eq!(peer.text().await, "refused task:43 forbidden");
    // The same for a fresh token.
    peer.say(r#"token {"token":"42"}"#).await;
    peer.say("ping").await;
    until("the check to be asked", async || {
        sessions.asked.load(Ordering::Relaxed) == 2
    })
    .await;
    slow.notify_one();
    assert_eq!(peer.text_after_pings().await, "pong");
    peer.say(r#"token {"token":"43"}"#).await;
    slow.notify_one();
    assert_eq!(peer.closed().await.0, 4003);
}

#[tokio::test]
async fn a_peer_that_hangs_up_while_the_check_goes_on_leaves_no_trace() -> Outcome {
    let slow = Arc::new(Notify::new());
    let sessions = Sessions {
        slow: Some(slow.clone()),
        ..Sessions::default()
    };
    let (hub, address) = application(sessions.clone()).await;
    let mut peer = Peer::tcp(address).await;
    peer.upgrade(
        "/realtime/websocket",
        &["sec-websocket-protocol: heartwire.v1"],
    )
    .await;
    peer.say(&hello_with("a", "42")).await;
    until("the check to be asked", async || {
        sessions.asked.load(Ordering::Relaxed) == 1
    })
    .await;
    drop(peer);
    slow.notify_one();
    let mut other = Peer::tcp(address).await;
    other
        .upgrade(
            "/realtime/websocket",
            &["sec-websocket-protocol: heartwire.v1"],
        )
        .await;
    other.say(&hello_with("b", "42")).await;
    slow.notify_one();
    other.welcomed().await;
    drop(other);
    until("both to be gone", async || hub.connections() == 0).await;
    Ok(())
}
