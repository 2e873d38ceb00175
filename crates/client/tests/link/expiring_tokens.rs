//! Tokens that run out on a real server: the link fetches another, and loses nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::support::{next_text, soon, status_is};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use heartwire::{End, Link, RefusedCode, Status, SubFrom};
use heartwire_server::{Hub, Server, Tokens};
use ring::hmac;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

async fn serve() -> (Hub, SocketAddr) {
    let tokens = Tokens::secret(SECRET).unwrap();
    let hub = Hub::builder().tokens(tokens).open().await.unwrap();
    let server = Server::bind("127.0.0.1:0", hub.clone()).await.unwrap();
    let address = server.local_addr();
    tokio::spawn(server.run(std::future::pending()));
    (hub, address)
}

/// A token of Ann's that lasts so long.
fn token(span: Duration) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let exp = (now + span).as_secs_f64();
    let claims = format!(
        r#"{{"sub":"ann","exp":{exp},"heartwire":{{"subscribe":["task:*"],"publish":["inbox"]}}}}"#
    );
    let parts = [r#"{"alg":"HS256"}"#, &claims].map(|part| URL_SAFE_NO_PAD.encode(part));
    let message = parts.join(".");
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let signature = hmac::sign(&key, message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// A link whose tokens last so long, and how many it has fetched.
fn link_with_tokens_of(address: SocketAddr, span: Duration) -> (Link, Arc<AtomicU32>) {
    let fetched = Arc::new(AtomicU32::new(0));
    let count = fetched.clone();
    let link = Link::builder(&format!("ws://{address}/websocket"))
        .token(move || {
            count.fetch_add(1, Ordering::Relaxed);
            std::future::ready(Ok::<_, std::io::Error>(token(span)))
        })
        .connect()
        .unwrap();
    (link, fetched)
}

#[tokio::test]
async fn tokens_that_run_out_in_the_middle_of_everything_cost_nothing() {
    const COUNT: usize = 600;
    let (hub, address) = serve().await;
    let (link, fetched) = link_with_tokens_of(address, Duration::from_millis(1_200));
    let mut task = link.subscribe_from("task:42", SubFrom::Head).unwrap();
    status_is(&link, "open").await;
    let publishing = async {
        let mut pace = tokio::time::interval(Duration::from_millis(10));
        let mut waiting = Vec::new();
        for number in 0..COUNT {
            waiting.push(link.publish("inbox", number.to_string()));
            hub.publish("task:42", number.to_string()).await.unwrap();
            pace.tick().await;
        }
        for publish in waiting {
            soon(publish).await.unwrap();
        }
    };
    let receiving = async {
        let mut received = Vec::new();
        while received.len() < COUNT {
            received.push(next_text(&mut task).await);
        }
        received
    };
    let (received, ()) = tokio::join!(receiving, publishing);
    let expected: Vec<String> = (0..COUNT).map(|number| number.to_string()).collect();
    assert_eq!(received, expected);

    let (reader, _) = link_with_tokens_of(address, Duration::from_secs(60));
    assert!(
        reader.subscribe_from("inbox", SubFrom::Head).is_ok(),
        "it is asked for"
    );
    let mut stored = hub.follow("inbox", SubFrom::Head).unwrap();
    for number in &expected {
        let next = soon(futures_util::StreamExt::next(&mut stored)).await;
        let Some(heartwire_server::Delivery::Message(message)) = next else {
            panic!("a message is next");
        };
        assert_eq!(message.text(), Some(number.as_str()));
        assert_eq!(message.from().as_deref(), Some("ann"));
    }
    // Six seconds of tokens that last 1.2 s each: at least three ran out, on a busy machine too.
    assert!(link.counters().opened >= 4, "{:?}", link.counters());
    assert!(fetched.load(Ordering::Relaxed) >= 4);
}

#[tokio::test]
async fn a_renewed_token_keeps_the_connection() {
    let (hub, address) = serve().await;
    let (link, fetched) = link_with_tokens_of(address, Duration::from_secs(4));
    let mut task = link.subscribe_from("task:42", SubFrom::Head).unwrap();
    status_is(&link, "open").await;
    hub.publish("task:42", "before").await.unwrap();
    assert_eq!(next_text(&mut task).await, "before");
    link.renew_token(token(Duration::from_secs(60)));
    // Longer than the first token lasts, seen by what still comes over the same connection.
    let mut pace = tokio::time::interval(Duration::from_millis(100));
    for number in 0..50 {
        hub.publish("task:42", number.to_string()).await.unwrap();
        assert_eq!(next_text(&mut task).await, number.to_string());
        pace.tick().await;
    }
    assert_eq!(
        (link.counters().opened, fetched.load(Ordering::Relaxed)),
        (1, 1)
    );
}

#[tokio::test]
async fn a_topic_that_is_taken_is_reported_and_a_kick_is_final() {
    let (hub, address) = serve().await;
    let (link, _) = link_with_tokens_of(address, Duration::from_secs(60));
    let mut taken = link.subscribe("task:42").unwrap();
    let mut kept = link.subscribe("task:43").unwrap();
    let mut refused = link.subscribe("secret").unwrap();
    status_is(&link, "open").await;
    assert!(soon(refused.next()).await.is_none());
    let end = End::Refused(RefusedCode::Forbidden);
    assert_eq!(refused.end(), Some(end));
    let topics = "task:42".parse().unwrap();
    let hour = Duration::from_secs(3_600);
    // Its `sub` may still be on its way.
    let taking = async { while hub.revoke("ann", &topics, hour).await != Ok(1) {} };
    soon(taking).await;
    assert!(soon(taken.next()).await.is_none());
    assert_eq!(taken.end(), Some(End::Stopped(RefusedCode::Forbidden)));
    hub.publish("task:43", "still here").await.unwrap();
    assert_eq!(next_text(&mut kept).await, "still here");
    assert_eq!(hub.kick("ann", hour).await, Ok(1));
    let Status::Closed { why } = status_is(&link, "closed").await else {
        panic!("the link is closed");
    };
    assert!(why.to_string().contains("4003 forbidden"), "{why}");
}
