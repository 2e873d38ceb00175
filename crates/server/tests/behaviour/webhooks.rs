//! Messages that are posted: in order, at least once, signed, and what waits is visible.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::future::join_all;
use heartwire_server::{
    ApiKey, Durability, Hub, OpenError, Pattern, Policy, Retention, SubFrom, Tokens, Webhook,
    WebhookSecrets,
};
use heartwire_testing::Lateness;
use serde_json::{Value, json};

use crate::support::metrics::Scrape;
use crate::support::peer::Peer;
use crate::support::receiver::{Receiver, Say, idle_webhook, secret, secrets};
use crate::support::token::{Issuer, Scratch, claims};
use crate::support::{Fixture, http, until, within};

/// An empty folder of the test's own.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("webhooks-{name}"));
    let _ = std::fs::remove_dir_all(&folder);
    folder
}

fn hook(pattern: &str, receiver: &Receiver) -> Webhook {
    let pattern = pattern.parse().expect("a pattern");
    Webhook::new(pattern, &receiver.url(), secrets(1)).expect("a URL")
}

/// One webhook, as the API shows it.
async fn shown(server: &Fixture, name: &str) -> Value {
    http::get(server.address, &format!("/v1/webhooks/{name}?state=all"))
        .await
        .json()
}

async fn publish(hub: &Hub, topic: &str, texts: impl IntoIterator<Item = String>) {
    let stored = texts.into_iter().map(|text| hub.publish(topic, text));
    for stored in within("messages to be stored", join_all(stored)).await {
        stored.expect("there is room");
    }
}

fn numbers(count: usize) -> Vec<String> {
    (1..=count).map(|number| number.to_string()).collect()
}

#[tokio::test]
async fn each_message_is_posted_signed_with_its_place() {
    let receiver = Receiver::start(&[]).await;
    let server = Fixture::with(|hub| hub.webhook(hook("inbox", &receiver))).await;
    let stored = http::publish(server.address, "inbox", "hello").await;
    http::publish(server.address, "other", "not its topic").await;
    let mut peer = Peer::plain(server.address, "/websocket?user=7").await;
    peer.say("from a page").await;
    assert_eq!(receiver.takes(2).await, ["hello", "from a page"]);
    let posted = receiver.posted();
    let body = &posted[0].body;
    assert_eq!(body["type"], "heartwire.messages");
    assert_eq!(
        (&body["hook"], &body["topic"]),
        (&json!("inbox"), &json!("inbox"))
    );
    assert_eq!(body["epoch"], stored["epoch"]);
    assert_eq!(body["messages"][0]["offset"], 1);
    assert!(body["messages"][0]["time"].as_u64() > Some(0));
    assert!(posted[1].body["messages"][0]["from"].is_string());
    assert_ne!(posted[0].id, posted[1].id);
    assert!(posted[0].id.starts_with("msg_") && !posted[0].id.contains('.'));
}

#[tokio::test]
async fn what_is_not_taken_comes_again_in_order_under_the_same_id() {
    let script = [
        Say::Status(500),
        Say::Elsewhere,
        Say::Status(204),
        Say::Status(404),
        Say::Later(429, "1"),
    ];
    let receiver = Receiver::start(&script).await;
    let server = Fixture::with(|hub| hub.webhook(hook("inbox", &receiver))).await;
    publish(&server.hub, "inbox", numbers(3)).await;
    assert_eq!(receiver.takes(3).await, ["1", "2", "3"]);
    let posted = receiver.posted();
    let ids: Vec<&str> = posted.iter().map(|posted| posted.id.as_str()).collect();
    assert_eq!(
        (ids[0], ids[0], ids[3], ids[3]),
        (ids[1], ids[2], ids[4], ids[5])
    );
    assert_eq!(posted.len(), 7);
    until("the receiver to be known to be up", async || {
        shown(&server, "inbox").await["lag"] == 0
    })
    .await;
    let shown = shown(&server, "inbox").await;
    let requests = json!({ "taken": 3, "failed": 1, "refused": 2, "busy": 1 });
    assert_eq!(shown["counts"]["requests"], requests);
    assert_eq!(shown["topics"][0]["last"]["outcome"], "taken");
}

#[tokio::test]
async fn a_receiver_that_asks_for_time_is_given_it() {
    let receiver = Receiver::start(&[Say::Later(503, "2")]).await;
    let server = Fixture::with(|hub| hub.webhook(hook("news:*", &receiver))).await;
    let begun = std::time::Instant::now();
    publish(&server.hub, "news:a", numbers(1)).await;
    receiver.is_posted(1).await;
    publish(&server.hub, "news:b", numbers(1)).await;
    until("the pause to be seen", async || {
        shown(&server, "news:*").await["paused_ms"].as_u64() > Some(0)
    })
    .await;
    receiver.takes(2).await;
    assert!(
        begun.elapsed() >= Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn what_waits_is_visible_and_can_be_tried_at_once() {
    let script = [Say::Later(503, "600")];
    let receiver = Receiver::start(&script).await;
    let server = Fixture::with(|hub| hub.webhook(hook("inbox", &receiver))).await;
    publish(&server.hub, "inbox", numbers(3)).await;
    until("the topic to wait", async || {
        shown(&server, "inbox").await["topics_waiting"] == 1
    })
    .await;
    let waiting = shown(&server, "inbox").await;
    assert_eq!(
        waiting["url"],
        format!("http://{}/hook", receiver.address),
        "no query"
    );
    let topic = &waiting["topics"][0];
    assert_eq!(
        (&topic["state"], &topic["lag"]),
        (&json!("waiting"), &json!(3))
    );
    assert_eq!(
        (&topic["cursor"], &topic["failures"]),
        (&json!("0"), &json!(1))
    );
    assert_eq!(topic["last"]["message"], "answered 503");
    assert!(topic["next_ms"].as_u64() > Some(500_000) && topic["next_ms"].as_u64() < Some(661_000));
    let listed = http::get(server.address, "/v1/webhooks").await.json();
    assert_eq!(listed["webhooks"][0]["lag"], 3);
    let scrape = Scrape::of(server.address).await;
    let lag = scrape.value("heartwire_webhook_lag_messages{webhook=\"inbox\"}");
    assert!((lag - 3.0).abs() < 0.1, "{lag}");
    let failed = "heartwire_webhook_requests_total{webhook=\"inbox\",outcome=\"failed\"}";
    assert!((scrape.value(failed) - 1.0).abs() < 0.1);

    let retried = http::post(server.address, "/v1/webhooks/inbox/retry", "").await;
    assert_eq!(retried.status, 204);
    assert_eq!(receiver.takes(3).await, ["1", "2", "3"]);
    let nobody = http::get(server.address, "/v1/webhooks/nobody").await;
    assert_eq!(
        (nobody.status, nobody.error()),
        (404, "no-such-webhook".to_owned())
    );
}

#[tokio::test]
async fn a_receiver_that_never_answers_slows_nobody() {
    let silent = Receiver::start(&vec![Say::Nothing; 100]).await;
    let other = Receiver::start(&[]).await;
    let quick = |hook: Webhook| hook.timeout(Duration::from_millis(200)).expect("in range");
    let server = Fixture::with(|hub| {
        let silent = hook("*", &silent)
            .timeout(Duration::from_secs(60))
            .expect("in range");
        hub.webhook(silent).webhook(quick(hook("news:*", &other)))
    })
    .await;
    let mut follower = server.hub.follow("news:a", SubFrom::Tail).expect("a topic");
    publish(&server.hub, "news:a", numbers(1)).await;
    silent.is_posted(1).await;
    let lateness = Lateness::watch();
    let begun = std::time::Instant::now();
    publish(&server.hub, "news:a", numbers(500)).await;
    let took = begun.elapsed();
    assert!(
        took < Duration::from_secs(20) + lateness.allowance(),
        "{took:?}"
    );
    assert_eq!(other.takes(501).await.len(), 501);
    for _ in 0..501 {
        let next = futures_util::StreamExt::next(&mut follower);
        within("the follower to be told", next)
            .await
            .expect("it goes on");
    }
    assert_eq!(
        silent.posted().len(),
        1,
        "one request for a topic at a time"
    );
    assert_eq!(shown(&server, "*").await["topics"][0]["state"], "sending");
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_given_up_and_repeated() {
    let receiver = Receiver::start(&[Say::Nothing]).await;
    let server = Fixture::with(|hub| {
        let hook = hook("inbox", &receiver).timeout(Duration::from_millis(200));
        hub.webhook(hook.expect("in range"))
    })
    .await;
    publish(&server.hub, "inbox", numbers(1)).await;
    assert_eq!(receiver.takes(1).await, ["1"]);
    let posted = receiver.posted();
    assert_eq!(posted[0], posted[1]);
}

#[tokio::test]
async fn an_answer_without_an_end_counts_all_the_same() {
    let receiver = Receiver::start(&[Say::Endlessly]).await;
    let server = Fixture::with(|hub| hub.webhook(hook("inbox", &receiver))).await;
    publish(&server.hub, "inbox", numbers(2)).await;
    assert_eq!(receiver.takes(2).await, ["1", "2"]);
    assert_eq!(receiver.posted().len(), 2);
}

#[tokio::test]
async fn many_topics_are_posted_side_by_side_each_in_order() {
    let receiver = Receiver::start(&[Say::Status(500), Say::Status(500)]).await;
    let server =
        Fixture::with(|hub| hub.webhook(hook("room:*", &receiver).batch(10).expect("in range")))
            .await;
    for round in 1..=20 {
        for topic in (0..50).map(|topic| format!("room:{topic}")) {
            publish(&server.hub, &topic, [format!("{topic} {round}")]).await;
        }
    }
    let taken = receiver.takes(1_000).await;
    for topic in 0..50 {
        let prefix = format!("room:{topic} ");
        let of_topic = taken.iter().filter_map(|text| text.strip_prefix(&prefix));
        let of_topic: Vec<String> = of_topic.map(str::to_owned).collect();
        assert_eq!(of_topic, numbers(20), "room:{topic}");
    }
}

#[tokio::test]
async fn what_retention_took_is_named() {
    let receiver = Receiver::start(&[Say::Later(503, "600")]).await;
    let three = Retention {
        count_max: 3,
        ..Retention::default()
    };
    let server = Fixture::with(|hub| hub.retention(three).webhook(hook("inbox", &receiver))).await;
    publish(&server.hub, "inbox", numbers(1)).await;
    receiver.is_posted(1).await;
    publish(&server.hub, "inbox", numbers(10)).await;
    until("the topic to wait", async || {
        shown(&server, "inbox").await["topics_waiting"] == 1
    })
    .await;
    http::post(server.address, "/v1/webhooks/inbox/retry", "").await;
    assert_eq!(receiver.takes(3).await, ["8", "9", "10"]);
    let gap = &receiver.posted()[1].body;
    assert_eq!(gap["type"], "heartwire.gap");
    let (first, last) = (&gap["gap"]["first"], &gap["gap"]["last"]);
    assert_eq!((first, last), (&json!(1), &json!(8)));
    assert_eq!(gap["gap"]["reason"], "retention");
}

#[tokio::test]
async fn a_restart_goes_on_where_the_receiver_was() {
    let folder = folder("restart");
    let receiver = Receiver::start(&[]).await;
    let start = || Fixture::with(|hub| hub.data(&folder).webhook(hook("inbox", &receiver)));
    let mut before = start().await;
    publish(&before.hub, "inbox", numbers(3)).await;
    receiver.takes(3).await;
    receiver.say(&[Say::Later(503, "600")]);
    publish(&before.hub, "inbox", ["4".to_owned()]).await;
    receiver.is_posted(4).await;
    publish(&before.hub, "inbox", ["5".to_owned()]).await;
    before.stop();
    before.stopped().await;

    let mut after = start().await;
    assert_eq!(receiver.takes(5).await, numbers(5));
    let posted = receiver.posted();
    assert_eq!(posted[3].id, posted[4].id, "the same message, the same id");
    after.stop();
    after.stopped().await;

    // Who takes a webhook out and puts it back goes on where it was.
    let mut without = Fixture::with(|hub| hub.data(&folder)).await;
    publish(&without.hub, "inbox", ["6".to_owned()]).await;
    without.stop();
    without.stopped().await;
    let again = start().await;
    assert_eq!(receiver.takes(6).await, numbers(6));
    drop(again);
}

#[tokio::test]
async fn a_new_webhook_begins_with_what_comes_unless_told_otherwise() {
    let folder = folder("begins");
    let (tail, head) = (Receiver::start(&[]).await, Receiver::start(&[]).await);
    let mut before = Fixture::with(|hub| hub.data(&folder)).await;
    publish(&before.hub, "news:a", numbers(2)).await;
    before.stop();
    before.stopped().await;
    let server = Fixture::with(|hub| {
        let head = hook("news:*", &head)
            .from_head()
            .name("head")
            .expect("a name");
        hub.data(&folder)
            .webhook(hook("news:*", &tail))
            .webhook(head)
    })
    .await;
    publish(&server.hub, "news:a", ["3".to_owned()]).await;
    publish(&server.hub, "news:b", ["1".to_owned()]).await;
    let mut taken = tail.takes(2).await;
    taken.sort_unstable();
    assert_eq!(taken, ["1", "3"]);
    let taken = head.takes(4).await;
    assert_eq!(
        taken.iter().filter(|text| *text != "1").count(),
        2,
        "{taken:?}"
    );
}

#[tokio::test]
async fn a_topic_that_a_restart_has_lost_is_a_gap() {
    let folder = folder("in-memory");
    let receiver = Receiver::start(&[]).await;
    let in_memory = Policy {
        durability: Durability::Memory,
        ..Policy::default()
    };
    let pattern: Pattern = "ticks:*".parse().expect("a pattern");
    let start = || {
        Fixture::with(|hub| {
            let hub = hub.data(&folder).topic(pattern.clone(), in_memory);
            hub.webhook(hook("ticks:*", &receiver))
        })
    };
    let mut before = start().await;
    publish(&before.hub, "ticks:eur", numbers(2)).await;
    receiver.takes(2).await;
    before.stop();
    before.stopped().await;
    let after = start().await;
    let gap = receiver.is_posted(3).await[2].body.clone();
    let expected = json!({
        "epoch": receiver.posted()[0].body["epoch"],
        "first": 3,
        "last": null,
        "reason": "epoch",
    });
    assert_eq!((&gap["gap"], &gap["next"]), (&expected, &Value::Null));
    publish(&after.hub, "ticks:eur", ["new".to_owned()]).await;
    assert_eq!(receiver.takes(3).await[2], "new");
}

#[tokio::test]
async fn a_stop_is_not_held_up_by_a_receiver_that_never_answers() {
    let receiver = Receiver::start(&[Say::Nothing]).await;
    let mut server = Fixture::with(|hub| {
        let hook = hook("inbox", &receiver).timeout(Duration::from_secs(120));
        hub.webhook(hook.expect("in range"))
    })
    .await;
    publish(&server.hub, "inbox", numbers(1)).await;
    receiver.is_posted(1).await;
    let lateness = Lateness::watch();
    let begun = std::time::Instant::now();
    server.stop();
    server.stopped().await;
    let took = begun.elapsed();
    assert!(
        took < Duration::from_secs(10) + lateness.allowance(),
        "{took:?}"
    );
}

#[tokio::test]
async fn during_a_rotation_every_request_is_signed_by_both_secrets() {
    let file = Scratch::new("webhook-secrets", &secret(1));
    let old = Receiver::knowing(1, &[]).await;
    let server = Fixture::with(|hub| {
        let secrets = WebhookSecrets::file(&file.0).expect("a secret");
        let pattern = "inbox".parse().expect("a pattern");
        hub.webhook(Webhook::new(pattern, &old.url(), secrets).expect("a URL"))
    })
    .await;
    publish(&server.hub, "inbox", ["by one".to_owned()]).await;
    old.takes(1).await;
    file.write(&format!("{}\n{}\n", secret(2), secret(1)));
    server.hub.reload().await;
    publish(&server.hub, "inbox", ["by both".to_owned()]).await;
    old.takes(2).await;
    let signatures: Vec<usize> = old
        .posted()
        .iter()
        .map(|posted| posted.signatures)
        .collect();
    assert_eq!(signatures, [1, 2]);
}

#[tokio::test]
async fn cursors_that_are_damaged_stop_the_start() {
    let folder = folder("damaged");
    let receiver = Receiver::start(&[]).await;
    let mut server = Fixture::with(|hub| hub.data(&folder).webhook(hook("inbox", &receiver))).await;
    server.stop();
    server.stopped().await;
    let file = folder.join("webhook-cursors");
    let mut bytes = std::fs::read(&file).expect("it was written");
    bytes[3] ^= 1;
    std::fs::write(&file, bytes).expect("it can be written");
    let opened = Hub::builder()
        .data(&folder)
        .webhook(hook("inbox", &receiver))
        .open()
        .await;
    match opened.err() {
        Some(OpenError::Webhooks(error)) => {
            assert!(
                error.to_string().contains("webhook-cursors is damaged"),
                "{error}"
            );
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn only_operators_see_webhooks() {
    const SECRET: &str = "0123456789abcdef0123456789abcdef";
    let server = Fixture::with(|hub| {
        let tokens = Tokens::secret(SECRET).expect("a secret");
        let key = ApiKey::new("correct-horse").expect("a key");
        hub.tokens(tokens).api_key(key).webhook(idle_webhook())
    })
    .await;
    let token = Issuer::secret(SECRET).token(&claims("ann", &["nobody:*"], &[]));
    for (line, allowed) in [
        ("GET /v1/webhooks", 200),
        ("GET /v1/webhooks/nobody:*", 200),
        ("GET /v1/webhooks/other", 404),
        ("POST /v1/webhooks/nobody:*/retry", 204),
    ] {
        let ask = async |shown: Option<&str>| {
            let bearer = shown.map(|shown| format!("authorization: Bearer {shown}"));
            let headers: Vec<&str> = bearer.iter().map(String::as_str).collect();
            http::request(server.address, line, &headers, b"")
                .await
                .status
        };
        assert_eq!(
            (ask(None).await, ask(Some(&token)).await),
            (401, 403),
            "{line}"
        );
        let status = ask(Some("correct-horse")).await;
        assert_eq!(status, allowed, "{line}");
    }
}

#[tokio::test]
async fn two_webhooks_of_one_name_are_refused() {
    let receiver = Receiver::start(&[]).await;
    let twice = Hub::builder()
        .webhook(hook("inbox", &receiver))
        .webhook(hook("inbox", &receiver));
    let error = twice.open().await.err().expect("they have one name");
    assert!(
        error.to_string().contains("two webhooks are called inbox"),
        "{error}"
    );
}
