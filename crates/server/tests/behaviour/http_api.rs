//! The HTTP API as scripts use it.

use crate::support::peer::Peer;
use crate::support::{Fixture, Outcome, http};
use serde_json::{Value, json};

#[tokio::test]
async fn a_published_message_has_a_place_and_stands_in_the_history() {
    let server = Fixture::start().await;
    let stored = http::publish(server.address, "task:42", "hello").await;
    assert_eq!(stored["topic"], "task:42");
    assert_eq!(stored["offset"], 1);
    assert_eq!(stored["durability"], "memory");
    let epoch = stored["epoch"].as_str().expect("an epoch").to_owned();
    let second = http::publish(server.address, "task:42", "two").await;
    assert_eq!(
        (&second["offset"], &second["epoch"]),
        (&json!(2), &json!(epoch))
    );

    let history = http::get(server.address, "/v1/topics/task:42?limit=1")
        .await
        .json();
    assert_eq!(history["epoch"], epoch.as_str());
    assert_eq!(history["first"], 1);
    assert_eq!(history["messages"][0]["text"], "hello");
    assert!(history["messages"][0]["time"].as_u64() > Some(1_600_000_000_000));
    let next = history["next"].as_str().expect("a cursor").to_owned();
    assert_eq!(next, format!("{epoch}.1"));
    let rest = http::get(server.address, &format!("/v1/topics/task:42?after={next}"))
        .await
        .json();
    assert_eq!(rest["messages"].as_array().map(Vec::len), Some(1));
    assert_eq!(rest["messages"][0]["text"], "two");
    let end = http::get(
        server.address,
        &format!("/v1/topics/task:42?after={epoch}.2"),
    )
    .await
    .json();
    assert_eq!(
        (&end["messages"], &end["next"]),
        (&json!([]), &json!(format!("{epoch}.2")))
    );
}

/// `[PUB-12]`
#[tokio::test]
async fn text_json_and_binary_are_told_apart_and_text_must_be_utf8() {
    let server = Fixture::start().await;
    let post = async |content_type: &str, body: &[u8]| {
        let header = format!("content-type: {content_type}");
        http::request(server.address, "POST /v1/topics/a", &[&header], body).await
    };
    assert_eq!(post("application/json", b"{\"x\":1}").await.status, 201);
    assert_eq!(
        post("application/octet-stream", &[0, 255]).await.status,
        201
    );
    assert_eq!(
        post("application/x-www-form-urlencoded", b"hello")
            .await
            .status,
        201
    );
    let refused = post("text/plain", &[b'a', 0xff]).await;
    assert_eq!(
        (refused.status, refused.error().as_str()),
        (400, "invalid-text")
    );
    let refused = post("application/json", &[0xff]).await;
    assert_eq!(refused.error(), "invalid-text");
    let history = http::get(server.address, "/v1/topics/a?after=0")
        .await
        .json();
    assert_eq!(history["messages"][0]["text"], "{\"x\":1}");
    assert_eq!(history["messages"][1]["base64"], "AP8=");
    assert_eq!(history["messages"][2]["text"], "hello");
    assert_eq!(history["messages"].as_array().map(Vec::len), Some(3));
}

#[tokio::test]
async fn topics_that_cannot_be_are_refused() {
    let server = Fixture::start().await;
    for topic in ["a%20b", "-a", "%ff", "$server"] {
        let answer = http::post(server.address, &format!("/v1/topics/{topic}"), "x").await;
        assert_eq!(
            (answer.status, answer.error().as_str()),
            (400, "bad-topic"),
            "{topic}"
        );
    }
    assert_eq!(
        http::post(server.address, "/v1/topics/a%3Ab", "x")
            .await
            .json()["topic"],
        "a:b"
    );
}

#[tokio::test]
async fn a_batch_is_answered_line_by_line_in_order() {
    let server = Fixture::start().await;
    let lines = concat!(
        "{\"topic\":\"a\",\"text\":\"one\"}\n",
        "\n",
        "nonsense\n",
        "{\"topic\":\"a\",\"base64\":\"//8=\",\"key\":\"k1\"}\n",
        "{\"topic\":\"a b\",\"text\":\"x\"}\n",
        "{\"topic\":\"a\",\"base64\":\"//8=\",\"key\":\"k1\"}\n",
        "{\"topic\":\"a\",\"text\":\"three\"}",
    );
    let answer = http::request(server.address, "POST /v1/publish", &[], lines.as_bytes()).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/x-ndjson"));
    let results: Vec<Value> = answer
        .body
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        .collect();
    let told: Vec<Value> = results
        .iter()
        .map(|result| {
            result
                .get("offset")
                .or(result.get("error"))
                .cloned()
                .unwrap_or_default()
        })
        .collect();
    assert_eq!(
        told,
        [
            json!(1),
            json!("bad-line"),
            json!(2),
            json!("bad-topic"),
            json!(2),
            json!(3)
        ]
    );
}

#[tokio::test]
async fn an_idempotency_key_stores_once() {
    let server = Fixture::start().await;
    let post = async |key: &str, body: &str| {
        let headers = [
            &format!("idempotency-key: {key}")[..],
            "content-type: text/plain",
        ];
        http::request(
            server.address,
            "POST /v1/topics/a",
            &headers,
            body.as_bytes(),
        )
        .await
    };
    let first = post("k1", "x").await;
    let again = post("k1", "x").await;
    assert_eq!((first.status, again.status), (201, 201));
    assert_eq!(first.json(), again.json());
    let other = post("k1", "y").await;
    assert_eq!(
        (other.status, other.error().as_str()),
        (422, "idempotency-key-reused")
    );
    assert_eq!(post("k2", "x").await.json()["offset"], 2);
}

#[tokio::test]
async fn a_second_request_with_a_key_in_flight_waits_for_the_first() -> Outcome {
    let gate = heartwire_server::Gate::open();
    let server = Fixture::with(|hub| hub.gate(gate.clone())).await;
    gate.set_open(false);
    let address = server.address;
    let post = move || async move {
        let headers = ["idempotency-key: k", "content-type: text/plain"];
        http::request(address, "POST /v1/topics/a", &headers, b"x").await
    };
    let both = tokio::spawn(async move { tokio::join!(post(), post()) });
    // Nothing is visible before it is stored.
    let history = http::get(address, "/v1/topics/a").await.json();
    assert_eq!(history["messages"], json!([]));
    gate.set_open(true);
    let (first, second) = crate::support::within("both answers", both).await?;
    assert_eq!((first.status, second.status), (201, 201));
    assert_eq!(first.json(), second.json());
    Ok(())
}

#[tokio::test]
async fn a_cursor_that_was_trimmed_away_is_410_with_the_range() {
    let server = Fixture::with(|hub| {
        hub.retention(heartwire_server::Retention {
            count_max: 10,
            ..Default::default()
        })
    })
    .await;
    let mut epoch = String::new();
    for number in 1..=30 {
        let stored = http::publish(server.address, "a", &number.to_string()).await;
        epoch = stored["epoch"].as_str().expect("an epoch").to_owned();
    }
    let gone = http::get(server.address, &format!("/v1/topics/a?after={epoch}.5")).await;
    assert_eq!((gone.status, gone.error().as_str()), (410, "gap"));
    let gap = json!({ "epoch": epoch, "first": 6, "last": 20, "reason": "retention" });
    assert_eq!(gone.json()["gap"], gap);
    assert_eq!(gone.json()["next"], format!("{epoch}.20"));
    let other = http::get(server.address, "/v1/topics/a?after=zzzz.5").await;
    assert_eq!(other.status, 410);
    assert_eq!(other.json()["gap"]["reason"], "epoch");
    assert_eq!(other.json()["gap"]["last"], Value::Null);
    let oldest = http::get(server.address, "/v1/topics/a").await.json();
    assert_eq!(oldest["first"], 21);
    assert_eq!(oldest["messages"][0]["text"], "21");
}

/// `[SUB-10]`: what is there of this epoch, the asker has read.
#[tokio::test]
async fn a_cursor_beyond_the_end_is_410_and_goes_on_at_the_end() {
    let server = Fixture::start().await;
    let stored = http::publish(server.address, "a", "one").await;
    let epoch = stored["epoch"].as_str().expect("an epoch");
    let gone = http::get(server.address, &format!("/v1/topics/a?after={epoch}.9")).await;
    assert_eq!((gone.status, gone.error().as_str()), (410, "gap"));
    let gap = json!({ "epoch": epoch, "first": 2, "last": 9, "reason": "epoch" });
    assert_eq!(gone.json()["gap"], gap);
    assert_eq!(gone.json()["next"], format!("{epoch}.1"));
}

#[tokio::test]
async fn bad_parameters_are_named() {
    let server = Fixture::start().await;
    for (query, code) in [
        ("after=nonsense", "bad-cursor"),
        ("after=k3v9.-1", "bad-cursor"),
        ("limit=0", "bad-limit"),
        ("limit=1001", "bad-limit"),
        ("limit=x", "bad-limit"),
    ] {
        let answer = http::get(server.address, &format!("/v1/topics/a?{query}")).await;
        assert_eq!(
            (answer.status, answer.error().as_str()),
            (400, code),
            "{query}"
        );
    }
}

/// `[HELLO-3]`: whoever looks at the list learns nobody's client id.
#[tokio::test]
async fn topics_and_connections_are_listed_and_a_connection_can_be_closed() {
    let server = Fixture::start().await;
    let (mut peer, welcome) = Peer::v1_attempt(server.address, "listed", 1).await;
    peer.say("sub task:42").await;
    assert_eq!(peer.text_after_pings().await, "subbed task:42 0");
    let mut plain = Peer::plain(server.address, "/websocket?task=42").await;
    // An answer shows that the connection follows by then.
    plain.say("ping").await;
    assert_eq!(plain.text().await, "pong");
    http::publish(server.address, "task:42", "x").await;
    assert!(peer.text_after_pings().await.starts_with("epoch task:42 "));

    let topics = http::get(server.address, "/v1/topics").await.json();
    let topic = &topics["topics"][0];
    assert_eq!(
        (&topic["topic"], &topic["followers"]),
        (&json!("task:42"), &json!(2))
    );
    assert_eq!(topic["last"], 1);

    let listed = http::get(server.address, "/v1/connections").await.json();
    let connections = listed["connections"].as_array().expect("a list");
    assert_eq!(connections.len(), 2);
    let id = welcome["connection"].as_str().expect("an id");
    let ours = connections
        .iter()
        .find(|one| one["connection"] == id)
        .expect("it is listed");
    assert_eq!(ours["mode"], "v1");
    assert!(
        !listed.to_string().contains("0000000000000000"),
        "client ids are secrets"
    );

    let delete = format!("DELETE /v1/connections/{id}");
    let answer = http::request(server.address, &delete, &[], b"").await;
    assert_eq!(answer.status, 204, "{}", answer.body);
    assert_eq!(peer.closed().await.0, 4202);
    peer.ended().await;
    let again = http::request(server.address, &delete, &[], b"").await;
    assert_eq!(
        (again.status, again.error().as_str()),
        (404, "no-such-connection")
    );
    drop(plain);
    crate::support::until("both to be gone", async || {
        let listed = http::get(server.address, "/v1/connections").await.json();
        listed["connections"] == json!([])
    })
    .await;
}

#[tokio::test]
async fn the_start_page_says_what_is_here() {
    let server = Fixture::start().await;
    let page = http::get(server.address, "/").await;
    assert_eq!(page.status, 200);
    assert!(
        page.header("content-type")
            .is_some_and(|found| found.starts_with("text/html"))
    );
    assert!(page.header("content-security-policy").is_some());
    assert!(page.body.contains("/v1/topics/"), "{}", page.body);
    assert_eq!(http::get(server.address, "/healthz").await.status, 200);
    assert_eq!(http::get(server.address, "/readyz").await.status, 200);
}
