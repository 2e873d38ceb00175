//! What a grant covers, for how long, and how it is renewed `[HELLO-12]` `[SUB-11]` `[SUB-12]`.

use std::time::Duration;

use heartwire_server::Tokens;
use heartwire_testing::Lateness;
use tokio::time::Instant;

use crate::support::peer::{Heard, Peer};
use crate::support::token::{Issuer, claims, lasting};
use crate::support::{Fixture, Outcome, http};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

async fn server() -> Fixture {
    let tokens = Tokens::secret(SECRET).expect("not empty");
    Fixture::with(|hub| hub.tokens(tokens)).await
}

fn token(claims: &serde_json::Value) -> String {
    Issuer::secret(SECRET).token(claims)
}

#[tokio::test]
async fn a_topic_outside_the_grant_can_be_neither_followed_published_read_nor_guessed() -> Outcome {
    let server = server().await;
    server.hub.publish("secret", "x").await?;
    server.hub.publish("news:sport", "goal").await?;
    let token = token(&claims("ann", &["news:*"], &["inbox"]));
    let mut peer = Peer::v1_with(server.address, "a", &token).await;
    peer.welcomed().await;
    assert!(
        peer.ask("sub news:sport head")
            .await
            .starts_with("subbed news:sport")
    );
    assert!(peer.text().await.ends_with("goal"));
    for topic in ["secret", "nothing"] {
        let refused = format!("refused {topic} forbidden");
        assert_eq!(peer.ask(&format!("sub {topic} head")).await, refused);
        assert_eq!(
            peer.ask(&format!("pub {topic} 1\nx")).await,
            "nack 1 forbidden"
        );
    }
    assert_eq!(peer.ask("pub inbox 1\nx").await, "ack 1");
    let bearer = format!("authorization: Bearer {token}");
    let get = async |path: &str, accept: &str| {
        let headers = [bearer.as_str(), accept];
        http::request(server.address, &format!("GET {path}"), &headers, b"").await
    };
    for accept in ["accept: */*", "accept: text/event-stream"] {
        let exists = get("/v1/topics/secret", accept).await;
        let does_not = get("/v1/topics/nothing", accept).await;
        let gone = get("/v1/topics/nothing?after=k3v9.7", accept).await;
        assert_eq!((exists.status, exists.error().as_str()), (403, "forbidden"));
        assert_eq!(exists.body, does_not.body);
        assert_eq!(exists.body, gone.body);
    }
    for line in [
        "GET /v1/topics",
        "GET /v1/connections",
        "GET /v1/subjects",
        "POST /v1/topics/inbox",
        "POST /v1/topics/news:sport",
        "POST /v1/publish",
        "DELETE /v1/subjects/ann",
        "DELETE /v1/connections/c1",
    ] {
        let answer = http::request(server.address, line, &[&bearer], b"x").await;
        assert_eq!(
            (answer.status, answer.error().as_str()),
            (403, "forbidden"),
            "{line}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn what_somebody_says_bears_their_name() -> Outcome {
    let server = server().await;
    let token = token(&claims("ann lee", &[], &["inbox"]));
    let mut v1 = Peer::v1_with(server.address, "a", &token).await;
    v1.welcomed().await;
    assert_eq!(v1.ask("pub inbox 1\nfrom v1").await, "ack 1");
    let path = format!("/websocket?token={token}");
    let mut plain = Peer::plain(server.address, &path).await;
    plain.say("from plain").await;
    plain.say("ping").await;
    assert_eq!(plain.text().await, "pong");
    let mut inbox = server
        .hub
        .follow("inbox", heartwire_server::SubFrom::Head)?;
    for _ in 0..2 {
        let next = std::pin::pin!(futures_util::StreamExt::next(&mut inbox)).await;
        let Some(heartwire_server::Delivery::Message(message)) = next else {
            panic!("a message is next");
        };
        assert_eq!(message.from().as_deref(), Some("ann lee"));
    }
    Ok(())
}

#[tokio::test]
async fn a_plain_client_that_asks_for_more_than_it_may_is_told_so() {
    let server = server().await;
    let token = token(&claims("ann", &["task:42"], &[]));
    let path = format!("/websocket?task=42&user=7&token={token}");
    let mut peer = Peer::plain(server.address, &path).await;
    let close = (4003, "the topic user:7 is not granted".to_owned());
    assert_eq!(peer.closed().await, close);
    let path = format!("/websocket?task=42&token={token}");
    let mut peer = Peer::plain(server.address, &path).await;
    peer.say("to the inbox").await;
    let close = (4003, "the topic inbox is not granted".to_owned());
    assert_eq!(peer.closed().await, close);
}

#[tokio::test]
async fn a_connection_and_a_stream_end_with_their_token() {
    let server = server().await;
    let begun = Instant::now();
    let token = token(&lasting(4.0, "ann", &["task:42"], &[]));
    let mut v1 = Peer::v1_with(server.address, "a", &token).await;
    v1.welcomed().await;
    let path = format!("/websocket?task=42&token={token}");
    let mut plain = Peer::plain(server.address, &path).await;
    let mut stream = Peer::tcp(server.address).await;
    let request = format!(
        "GET /v1/topics/task:42?token={token} HTTP/1.1\r\nhost: localhost\r\n\
         accept: text/event-stream\r\nconnection: close\r\n\r\n"
    );
    stream.send(request.as_bytes()).await;
    assert!(stream.head().await.starts_with("HTTP/1.1 200"));

    let reason = "HELLO-12: the token has run out";
    let lateness = Lateness::watch();
    assert_eq!(v1.text_after_pings().await, format!("bye 4002 0 {reason}"));
    assert_eq!(v1.closed().await, (4002, reason.to_owned()));
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(3_900), "{took:?}");
    assert_eq!(plain.closed().await, (4002, reason.to_owned()));
    while stream.heard_raw().await.is_some() {}
    let late = begun.elapsed() - took;
    assert!(
        late < Duration::from_secs(1) + lateness.allowance(),
        "together, within slots of the wheel: {late:?}"
    );
}

#[tokio::test]
async fn a_token_is_renewed_on_a_living_connection() {
    let server = server().await;
    let begun = Instant::now();
    let short = token(&lasting(4.0, "ann", &["a", "b"], &["inbox"]));
    let mut peer = Peer::v1_with(server.address, "a", &short).await;
    peer.welcomed().await;
    for topic in ["a", "b"] {
        assert_eq!(
            peer.ask(&format!("sub {topic}")).await,
            format!("subbed {topic} 0")
        );
    }
    let renewed = token(&lasting(8.0, "ann", &["a"], &["inbox"]));
    let renew = |token: &str| format!("token {{\"token\":\"{token}\"}}");
    assert_eq!(peer.ask(&renew(&renewed)).await, "ended b forbidden");
    assert_eq!(peer.ask("sub b").await, "refused b forbidden");
    let heard = peer.text_after_pings().await;
    let took = begun.elapsed();
    assert!(heard.starts_with("bye 4002 "), "{heard}");
    assert!(
        took > Duration::from_millis(7_900),
        "not when the first ran out: {took:?}"
    );
}

#[tokio::test]
async fn a_wrong_renewal_ends_the_connection() {
    let server = server().await;
    let right = token(&claims("ann", &["a"], &[]));
    let others = token(&claims("bob", &["a"], &[]));
    let expired = token(&lasting(-1.0, "ann", &["a"], &[]));
    for (fresh, code) in [("nonsense", 4001), (&others, 4003), (&expired, 4002)] {
        let mut peer = Peer::v1_with(server.address, "a", &right).await;
        peer.welcomed().await;
        let heard = peer.ask(&format!("token {{\"token\":\"{fresh}\"}}")).await;
        assert!(heard.starts_with(&format!("bye {code} 0 ")), "{heard}");
        assert_eq!(peer.closed().await.0, code);
    }
}

#[tokio::test]
async fn a_flood_of_renewals_is_answered_like_one() {
    let server = server().await;
    let right = token(&claims("ann", &["a"], &[]));
    let mut peer = Peer::v1_with(server.address, "a", &right).await;
    peer.welcomed().await;
    for _ in 0..200 {
        peer.say(&format!("token {{\"token\":\"{right}\"}}")).await;
    }
    assert_eq!(peer.ask("ping").await, "pong");
    assert_ne!(peer_is_gone(&mut peer).await, Some(true));
}

/// Whether the next that is heard is the end; `None` where nothing is.
async fn peer_is_gone(peer: &mut Peer) -> Option<bool> {
    let soon = Duration::from_millis(50);
    let heard = tokio::time::timeout(soon, peer.heard()).await.ok()?;
    Some(matches!(heard, Heard::End | Heard::Close(..)))
}
