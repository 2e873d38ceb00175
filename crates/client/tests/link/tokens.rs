//! The application's token function is asked before each dial, and can do no harm.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::support::{Server, soon, status_is};
use heartwire::{Event, Status};
use tokio::io::AsyncReadExt as _;

#[tokio::test]
async fn a_token_is_asked_for_before_each_dial() {
    let server = Server::start().await;
    let asked = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&asked);
    let link = server
        .link()
        .token(move || {
            let number = count.fetch_add(1, Ordering::Relaxed) + 1;
            async move { Ok::<_, std::io::Error>(format!("token-{number}")) }
        })
        .connect()
        .unwrap();
    for number in 1..=2 {
        let mut peer = server.accept().await;
        let token = peer.hello().await.token.expect("a token");
        assert_eq!(token.as_str(), format!("token-{number}"));
        peer.welcome("").await;
        status_is(&link, "open").await;
        peer.reset();
        status_is(&link, "lost").await;
    }
}

#[tokio::test]
async fn a_token_function_may_fail_panic_or_hang() {
    let server = Server::start().await;
    let asked = AtomicU32::new(0);
    let link = server
        .link()
        .attempt_timeout(Duration::from_secs(2))
        .token(move || {
            let number = asked.fetch_add(1, Ordering::Relaxed) + 1;
            async move {
                match number {
                    1 => Err("the back end is down"),
                    2 => panic!("a bug of the application's"),
                    3 => std::future::pending().await,
                    _ => Ok("fresh"),
                }
            }
        })
        .connect()
        .unwrap();
    let mut events = link.events();
    let mut reasons = Vec::new();
    while reasons.len() < 3 {
        if let Event::Status(Status::Lost { why, .. }) = soon(events.next()).await.unwrap().unwrap()
        {
            reasons.push(why.to_string());
        }
    }
    assert_eq!(
        reasons,
        [
            "dial failed: the token function failed: the back end is down",
            "dial failed: the token function panicked",
            "the attempt took too long",
        ]
    );
    let mut peer = server.accept().await;
    assert_eq!(peer.hello().await.token.unwrap().as_str(), "fresh");
}

#[tokio::test]
async fn a_plain_link_shows_its_token_as_a_header() {
    let server = Server::start().await;
    let _link = server
        .plain_link()
        .token(|| async { Ok::<_, std::io::Error>("secret") })
        .connect()
        .unwrap();
    let mut tcp = server.accept_tcp().await;
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(soon(tcp.read_u8()).await.unwrap());
    }
    let request = String::from_utf8(request).unwrap();
    assert!(
        request.contains("authorization: Bearer secret\r\n"),
        "{request}"
    );
}

#[tokio::test]
async fn a_token_can_be_renewed_on_a_living_connection() {
    let server = Server::start().await;
    let link = server.link().connect().unwrap();
    let (mut peer, _) = server.accept_and_welcome().await;
    status_is(&link, "open").await;
    link.renew_token("fresh");
    peer.expect("token\n{\"token\":\"fresh\"}").await;
}
