//! Identities that are kicked, kept out, and lose topics, on living connections and after.

use heartwire_server::{ApiKey, Tokens};
use serde_json::{Value, json};

use crate::support::peer::{Peer, hello_with};
use crate::support::token::{Issuer, claims};
use crate::support::{Fixture, Outcome, http};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

async fn server() -> Fixture {
    let tokens = Tokens::secret(SECRET).expect("a secret");
    let key = ApiKey::new("key").expect("a key");
    Fixture::with(|hub| hub.tokens(tokens).api_key(key)).await
}

async fn operator(server: &Fixture, line: &str) -> http::Answer {
    http::request(server.address, line, &["authorization: Bearer key"], b"").await
}

fn ann() -> String {
    Issuer::secret(SECRET).token(&claims("ann", &["task:*"], &["inbox"]))
}

async fn v1(server: &Fixture, name: &str, token: &str) -> Peer {
    let mut peer = Peer::v1_with(server.address, name, token).await;
    peer.welcomed().await;
    peer
}

/// An event stream of `task:42`, with the place where it begins.
async fn stream(server: &Fixture, token: &str) -> Peer {
    let mut stream = Peer::tcp(server.address).await;
    let request = format!(
        "GET /v1/topics/task:42 HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         accept: text/event-stream\r\nauthorization: Bearer {token}\r\n\r\n"
    );
    stream.send(request.as_bytes()).await;
    assert!(stream.head().await.starts_with("HTTP/1.1 200"));
    stream
}

async fn ends(mut stream: Peer) -> String {
    let mut heard = Vec::new();
    while let Some(bytes) = stream.heard_raw().await {
        heard.extend(bytes);
    }
    String::from_utf8_lossy(&heard).into_owned()
}

#[tokio::test]
async fn a_kicked_subject_loses_every_connection_and_is_kept_out() -> Outcome {
    let server = server().await;
    let token = ann();
    let mut first = v1(&server, "a", &token).await;
    let path = format!("/websocket?task=42&token={token}");
    let mut plain = Peer::plain(server.address, &path).await;
    plain.say("ping").await;
    assert_eq!(plain.text().await, "pong");
    let live = stream(&server, &token).await;
    let bob = Issuer::secret(SECRET).token(&claims("bob", &["task:*"], &[]));
    let mut bob = v1(&server, "b", &bob).await;

    let kicked = operator(&server, "DELETE /v1/subjects/ann?for=1h").await;
    let expected = json!({ "subject": "ann", "closed": 3, "kept_out_ms": 3_600_000 });
    assert_eq!((kicked.status, kicked.json()), (200, expected));
    let reason = "this identity is kept out";
    assert_eq!(
        first.text_after_pings().await,
        format!("bye 4003 0 {reason}")
    );
    assert_eq!(first.closed().await.0, 4003);
    assert_eq!(plain.closed().await, (4003, reason.to_owned()));
    server.hub.publish("task:42", "unheard").await?;
    assert!(!ends(live).await.contains("unheard"));
    assert_eq!(bob.ask("ping").await, "pong");

    let mut again = Peer::v1_with(server.address, "a", &token).await;
    assert_eq!(again.text().await, format!("bye 4003 0 {reason}"));
    let mut again = Peer::plain(server.address, &path).await;
    assert_eq!(again.closed().await.0, 4003);
    let bearer = format!("authorization: Bearer {token}");
    let read = http::request(server.address, "GET /v1/topics/task:42", &[&bearer], b"").await;
    assert_eq!((read.status, read.error().as_str()), (403, "forbidden"));

    let listed = operator(&server, "GET /v1/subjects").await.json();
    assert_eq!(listed["subjects"][0]["subject"], "ann");
    let left = listed["subjects"][0]["kept_out_ms"].as_u64();
    assert!(left.is_some_and(|left| left > 3_500_000), "{listed}");
    let readmitted = operator(&server, "POST /v1/subjects/ann/readmit").await;
    assert_eq!(readmitted.status, 204);
    v1(&server, "a", &token).await;
    let readmitted = operator(&server, "POST /v1/subjects/ann/readmit").await;
    assert_eq!(
        (readmitted.status, readmitted.error().as_str()),
        (404, "no-such-subject")
    );
    Ok(())
}

#[tokio::test]
async fn the_time_of_being_kept_out_ends() {
    let server = server().await;
    let token = ann();
    operator(&server, "DELETE /v1/subjects/ann?for=4s").await;
    let mut refused = Peer::v1_with(server.address, "a", &token).await;
    assert!(refused.text().await.starts_with("bye 4003 "));
    crate::support::until("the time to end", async || {
        let mut peer = Peer::v1_with(server.address, "a", &token).await;
        peer.text().await.starts_with("welcome")
    })
    .await;
}

#[tokio::test]
async fn a_kick_for_no_time_lets_the_client_come_back() {
    let server = server().await;
    let token = ann();
    let mut peer = v1(&server, "a", &token).await;
    let kicked = operator(&server, "DELETE /v1/subjects/ann?for=0s").await;
    assert_eq!(kicked.json()["closed"], 1);
    assert_eq!(peer.closed().await.0, 4202);
    v1(&server, "a", &token).await;
    for wrong in ["for=x", "for=31d", "for=", "for=1"] {
        let line = format!("DELETE /v1/subjects/ann?{wrong}");
        let answer = operator(&server, &line).await;
        assert_eq!(
            (answer.status, answer.error().as_str()),
            (400, "bad-for"),
            "{wrong}"
        );
    }
}

#[tokio::test]
async fn a_topic_is_taken_from_a_living_connection_and_not_given_back_by_a_token() -> Outcome {
    let server = server().await;
    let token = ann();
    let mut peer = v1(&server, "a", &token).await;
    for topic in ["task:42", "task:43"] {
        assert_eq!(
            peer.ask(&format!("sub {topic}")).await,
            format!("subbed {topic} 0")
        );
    }
    let path = format!("/websocket?task=42&token={token}");
    let mut plain = Peer::plain(server.address, &path).await;
    plain.say("ping").await;
    assert_eq!(plain.text().await, "pong");
    let live = stream(&server, &token).await;
    let revoked = operator(&server, "DELETE /v1/subjects/ann/topics/task:42?for=1h").await;
    let expected = json!({
        "subject": "ann", "topics": "task:42", "ended": 3, "revoked_ms": 3_600_000,
    });
    assert_eq!((revoked.status, revoked.json()), (200, expected));
    assert_eq!(peer.text_after_pings().await, "ended task:42 forbidden");
    assert_eq!(
        plain.closed().await,
        (4003, "the topic task:42 is not granted".to_owned())
    );
    server.hub.publish("task:42", "unheard").await?;
    assert!(!ends(live).await.contains("unheard"));
    server.hub.publish("task:43", "heard").await?;
    assert!(peer.text_after_pings().await.starts_with("epoch task:43 "));
    assert!(peer.text_after_pings().await.ends_with("heard"));
    for renewed in [
        format!("token {{\"token\":\"{token}\"}}"),
        "ping".to_owned(),
    ] {
        peer.say(&renewed).await;
    }
    assert_eq!(peer.text_after_pings().await, "pong");
    assert_eq!(peer.ask("sub task:42").await, "refused task:42 forbidden");

    // Neither by another connection, nor over HTTP; by a pattern, everything.
    let mut other = Peer::silent_v1(server.address, "/websocket?task=42").await;
    other.say(&hello_with("b", &token)).await;
    assert!(other.text().await.contains("\"topics\":[]"));
    let bearer = format!("authorization: Bearer {token}");
    let read = http::request(server.address, "GET /v1/topics/task:42", &[&bearer], b"").await;
    assert_eq!((read.status, read.error().as_str()), (403, "forbidden"));
    let revoked = operator(&server, "DELETE /v1/subjects/ann/topics/*").await;
    assert_eq!(revoked.json()["ended"], 1);
    assert_eq!(peer.text_after_pings().await, "ended task:43 forbidden");
    assert_eq!(peer.ask("pub inbox 1\nx").await, "nack 1 forbidden");
    let listed = operator(&server, "GET /v1/subjects").await.json();
    let listed: &Value = &listed["subjects"][0]["revoked"];
    assert_eq!(
        [&listed[0]["topics"], &listed[1]["topics"]],
        ["task:42", "*"]
    );
    operator(&server, "POST /v1/subjects/ann/readmit").await;
    assert!(peer.ask("sub task:42").await.starts_with("subbed task:42 "));
    let wrong = operator(&server, "DELETE /v1/subjects/ann/topics/a%20b").await;
    assert_eq!((wrong.status, wrong.error().as_str()), (400, "bad-topic"));
    Ok(())
}
