//! Who is there, seen from outside `[PRES-1]` to `[PRES-7]`.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use heartwire_proto::Cursor;
use heartwire_server::{ApiKey, Hub, HubBuilder, OpenError, PresenceConfig, Tokens};
use heartwire_testing::Lateness;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::sse::Events;
use crate::support::metrics::Scrape;
use crate::support::peer::{Peer, hello};
use crate::support::token::{Issuer, claims};
use crate::support::{Fixture, Outcome, http, patient_heartbeat, until};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
/// As short as it may be.
const GRACE: Duration = Duration::from_secs(1);
/// Longer than any test takes.
const LONG_GRACE: Duration = Duration::from_secs(3_600);

fn presence(grace: Duration) -> PresenceConfig {
    PresenceConfig {
        topics: vec!["task:*".parse().expect("a pattern")],
        grace,
        ..PresenceConfig::default()
    }
}

async fn open(grace: Duration) -> Fixture {
    Fixture::with(|hub| hub.presence(presence(grace))).await
}

fn by_token(hub: HubBuilder) -> HubBuilder {
    let key = ApiKey::new("key").expect("a key");
    let tokens = Tokens::secret(SECRET).expect("a secret");
    hub.api_key(key).tokens(tokens)
}

fn token(subject: &str, topics: &[&str]) -> String {
    Issuer::secret(SECRET).token(&claims(subject, topics, &["*"]))
}

async fn with_token(server: &Fixture, name: &str, token: &str) -> Peer {
    let mut peer = Peer::v1_with(server.address, name, token).await;
    peer.welcomed().await;
    peer
}

async fn operator(server: &Fixture, line: &str) -> http::Answer {
    http::request(server.address, line, &["authorization: Bearer key"], b"").await
}

/// A client that follows `task:1`.
async fn enter(server: &Fixture, name: &str, attempt: u64) -> Peer {
    let mut peer = Peer::v1_attempt(server.address, name, attempt).await.0;
    assert!(peer.ask("sub task:1").await.starts_with("subbed task:1 "));
    peer
}

/// Somebody who follows who is there in `task:1`, from the beginning.
async fn watcher(server: &Fixture) -> Peer {
    let mut peer = Peer::v1(server.address, "watcher").await;
    let subbed = peer.ask("sub $presence:task:1 0").await;
    assert!(subbed.starts_with("subbed $presence:task:1 "), "{subbed}");
    peer
}

/// The next join or leave.
async fn event(watcher: &mut Peer) -> Value {
    loop {
        let text = watcher.text_after_pings().await;
        if let Some((_, json)) = text.split_once('\n').filter(|_| text.starts_with("msg ")) {
            return serde_json::from_str(json).expect("JSON");
        }
    }
}

fn left<'a>(event: &'a Value, field: &str) -> &'a str {
    assert_eq!(event["event"], "leave", "{event}");
    event[field].as_str().unwrap_or_default()
}

async fn attendance(server: &Fixture) -> Value {
    let answer = http::get(server.address, "/v1/topics/task:1/presence").await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()
}

#[tokio::test]
async fn v1_and_plain_connections_are_there_and_leave_with_their_reason() -> Outcome {
    let server = open(GRACE).await;
    let mut watcher = watcher(&server).await;
    let mut first = enter(&server, "first", 1).await;
    let joined = event(&mut watcher).await;
    assert_eq!(
        (&joined["event"], &joined["kind"]),
        (&json!("join"), &json!("client"))
    );
    let plain = Peer::plain(server.address, "/websocket?task=1").await;
    let plain_joined = event(&mut watcher).await;
    assert_eq!(plain_joined["kind"], "connection");
    let there = attendance(&server).await;
    assert_eq!(
        there["members"].as_array().map(Vec::len),
        Some(2),
        "{there}"
    );
    assert_eq!((&there["last"], &there["unlisted"]), (&json!(2), &json!(0)));

    let embedded = server.hub.attendance("task:1")?.expect("it is kept");
    assert_eq!(embedded.members.len(), 2);
    assert_eq!(server.hub.attendance("other")?, None);

    assert_eq!(first.ask("unsub task:1").await, "unsubbed task:1");
    let gone = event(&mut watcher).await;
    assert_eq!(
        (left(&gone, "reason"), left(&gone, "by")),
        ("unsubscribed", "peer")
    );
    assert_eq!(gone["member"], joined["member"]);
    drop(plain);
    let gone = event(&mut watcher).await;
    assert_eq!(left(&gone, "reason"), "hung-up");
    assert_eq!(gone["member"], plain_joined["member"]);
    assert_eq!(attendance(&server).await["members"], json!([]));
    let scrape = Scrape::of(server.address).await;
    assert_eq!(scrape.value("heartwire_presence_joins_total"), 2.0);
    let hung_up = r#"heartwire_presence_leaves_total{by="peer",reason="hung-up"}"#;
    assert_eq!(scrape.value(hung_up), 1.0);
    Ok(())
}

#[tokio::test]
async fn a_grace_time_in_which_nobody_could_come_back_is_refused() {
    for grace in [Duration::from_millis(999), Duration::from_secs(3_601)] {
        let opened = Hub::builder().presence(presence(grace)).open().await;
        assert!(matches!(opened, Err(OpenError::PresenceGrace)), "{grace:?}");
    }
}

#[tokio::test]
async fn a_reconnect_within_the_grace_time_and_a_takeover_are_not_told() {
    let server = open(LONG_GRACE).await;
    let mut watcher = watcher(&server).await;
    let first = enter(&server, "same", 1).await;
    let joined = event(&mut watcher).await;
    drop(first);
    until("the connection to be gone", async || {
        attendance(&server).await["members"][0]["connections"] == 0
    })
    .await;
    let _again = enter(&server, "same", 2).await;
    let _over = enter(&server, "same", 3).await;
    let there = attendance(&server).await;
    assert_eq!(there["members"][0]["member"], joined["member"]);
    assert_eq!(there["members"][0]["connections"], 1);
    let _other = enter(&server, "other", 1).await;
    let next = event(&mut watcher).await;
    assert_eq!(next["event"], "join");
    assert_ne!(next["member"], joined["member"]);
}

/// `[PRES-5]`
#[tokio::test]
async fn a_dead_link_is_told_within_interval_timeout_and_grace() {
    let settings = |hub: HubBuilder| hub.heartbeat(patient_heartbeat()).presence(presence(GRACE));
    let server = Fixture::with(settings).await;
    let mut watcher = watcher(&server).await;
    let lateness = Lateness::watch();
    let _silent = enter(&server, "silent", 1).await;
    // Its last byte was sent before this.
    let not_before = Instant::now();
    assert_eq!(event(&mut watcher).await["event"], "join");
    let gone = event(&mut watcher).await;
    assert_eq!(
        (left(&gone, "by"), left(&gone, "reason")),
        ("server", "heartbeat-timeout")
    );
    let took = not_before.elapsed();
    let bound = patient_heartbeat().bound() + GRACE + lateness.allowance();
    assert!(took <= bound, "after {took:?}, not {bound:?}");
}

#[tokio::test]
async fn with_tokens_members_are_subjects_and_who_is_put_out_leaves_at_once() {
    let server = Fixture::with(|hub| by_token(hub).presence(presence(LONG_GRACE))).await;
    let mut watcher = with_token(&server, "w", &token("watcher", &["task:1"])).await;
    watcher.say("sub $presence:task:1").await;
    let ann = token("ann", &["task:*"]);
    let mut first = with_token(&server, "a", &ann).await;
    first.say("sub task:1").await;
    let joined = json!({ "event": "join", "kind": "subject", "member": "ann" });
    assert_eq!(event(&mut watcher).await, joined);
    let path = format!("/websocket?task=1&token={ann}");
    let _second = Peer::plain(server.address, &path).await;
    until("both connections to be there", async || {
        let there = operator(&server, "GET /v1/topics/task:1/presence").await;
        there.json()["members"][0]["connections"] == 2
    })
    .await;
    let mut bob = with_token(&server, "b", &token("bob", &["task:*"])).await;
    bob.say("sub task:1").await;
    assert_eq!(event(&mut watcher).await["member"], "bob");
    operator(&server, "DELETE /v1/subjects/ann?for=1h").await;
    let gone = json!({
        "event": "leave", "kind": "subject", "member": "ann", "by": "server", "reason": "forbidden",
    });
    assert_eq!(event(&mut watcher).await, gone);
    operator(&server, "DELETE /v1/subjects/bob/topics/task:*?for=1h").await;
    assert_eq!(left(&event(&mut watcher).await, "member"), "bob");
    let there = operator(&server, "GET /v1/topics/task:1/presence").await;
    assert_eq!(there.json()["members"], json!([]));
}

/// `[PRES-3]`
#[tokio::test]
async fn what_is_not_granted_looks_as_if_it_did_not_exist() {
    let server = Fixture::with(|hub| by_token(hub).presence(presence(LONG_GRACE))).await;
    let mut ann = with_token(&server, "a", &token("ann", &["task:*"])).await;
    ann.say("sub task:1").await;
    let eve = token("eve", &["task:2", "$presence:*"]);
    let bearer = format!("authorization: Bearer {eve}");
    let get = async |path: &str| {
        let line = format!("GET {path}");
        let answer = http::request(server.address, &line, &[&bearer], b"").await;
        (answer.status, answer.body)
    };
    let refused = get("/v1/topics/none").await;
    assert_eq!(refused.0, 403);
    for path in [
        "/v1/topics/task:1/presence",
        "/v1/topics/other/presence",
        "/v1/topics/$presence:task:1",
        "/v1/topics/%24presence:task:9",
        "/v1/topics/$presence:other",
    ] {
        assert_eq!(get(path).await, refused, "{path}");
    }
    assert_eq!(get("/v1/topics").await.0, 403);
    assert_eq!(get("/v1/topics/task:2/presence").await.0, 200);
    assert_eq!(get("/v1/topics/$presence:task:2").await.0, 200);
    let mut peer = with_token(&server, "e", &eve).await;
    for topic in ["$presence:task:1", "$presence:task:9", "$presence:other"] {
        let answer = peer.ask(&format!("sub {topic} head")).await;
        assert_eq!(answer, format!("refused {topic} forbidden"));
    }
    let allowed = peer.ask("sub $presence:task:2").await;
    assert_eq!(allowed, "subbed $presence:task:2 0");
    // Nobody publishes there, not even an operator.
    let bearer = ["authorization: Bearer key", "content-type: text/plain"];
    let line = "POST /v1/topics/$presence:task:1";
    let answer = http::request(server.address, line, &bearer, b"x").await;
    assert_eq!((answer.status, answer.error().as_str()), (400, "bad-topic"));
    // Where it is not kept, those who may know are told so.
    let answer = operator(&server, "GET /v1/topics/other/presence").await;
    assert_eq!(
        (answer.status, answer.error().as_str()),
        (404, "no-presence")
    );
}

/// `[PRES-7]`
#[tokio::test]
async fn a_list_and_what_follows_it_are_without_gap() {
    let server = open(GRACE).await;
    let mut members = Vec::new();
    for number in 0..8 {
        members.push(Peer::v1(server.address, &format!("member-{number}")).await);
    }
    let address = server.address;
    let churn = tokio::spawn(async move {
        // Each join and leave takes the grace time at least.
        for round in 0.. {
            for (number, member) in members.iter_mut().enumerate() {
                let verb = if (round + number) % 3 == 0 {
                    "unsub"
                } else {
                    "sub"
                };
                member.ask(&format!("{verb} task:1")).await;
            }
            let there = http::get(address, "/v1/topics/task:1/presence")
                .await
                .json();
            if there["last"].as_u64() >= Some(40) {
                break;
            }
        }
        members
    });
    let mut lists = Vec::new();
    while !churn.is_finished() {
        lists.push(attendance(&server).await);
        tokio::task::yield_now().await;
    }
    let _members = churn.await.expect("nothing fails");
    let end = attendance(&server).await;
    let last = last_offset(&end);
    assert!(lists.len() > 3, "{} lists", lists.len());
    for list in lists.iter().step_by(lists.len() / 3) {
        let mut there = names(list);
        let next = list["next"].as_str().expect("a cursor");
        let path = format!("/v1/topics/$presence:task:1?limit=1000&after={next}");
        let page = http::get(server.address, &path).await.json();
        let messages = page["messages"].as_array().into_iter().flatten();
        // Somebody may have left since the last list.
        for message in messages.take_while(|message| message["offset"].as_u64() <= Some(last)) {
            let text = message["text"].as_str().expect("a text");
            let event: Value = serde_json::from_str(text).expect("JSON");
            let member = event["member"].as_str().expect("a name").to_owned();
            let is_news = match event["event"].as_str() {
                Some("join") => there.insert(member),
                _ => there.remove(&member),
            };
            assert!(is_news, "{event} after {list}");
        }
        assert_eq!(there, names(&end));
        assert!(last_offset(&page) >= last, "not all is there: {page}");
    }
}

/// The offset of the last message that a list or a page covers.
fn last_offset(answer: &Value) -> u64 {
    let next = answer["next"].as_str().expect("a cursor");
    let cursor: Cursor = next.parse().expect("a cursor");
    cursor.offset().0
}

fn names(list: &Value) -> BTreeSet<String> {
    let members = list["members"].as_array().into_iter().flatten();
    let names = members.map(|member| member["member"].as_str().expect("a name").to_owned());
    names.collect()
}

#[tokio::test]
async fn an_event_stream_follows_who_is_there_and_is_not_there_itself() {
    let server = open(LONG_GRACE).await;
    let mut events = Events::open(&server, "/v1/topics/$presence:task:1?after=0", &[]).await;
    assert_eq!(events.next().await.id, "0");
    let _live = Events::open(&server, "/v1/topics/task:1", &[]).await;
    let _member = enter(&server, "member", 1).await;
    let told = events.next().await;
    let text = told.data["text"].as_str().expect("a text");
    assert!(
        text.starts_with(r#"{"event":"join","kind":"client","#),
        "{text}"
    );
    let there = attendance(&server).await;
    assert_eq!(there["next"], told.id);
    assert_eq!(there["members"].as_array().map(Vec::len), Some(1));
}

/// `[PRES-6]`
#[tokio::test]
async fn a_stop_tells_no_leaves_and_a_new_start_begins_anew() -> Outcome {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("presence");
    let _ = std::fs::remove_dir_all(&folder);
    let settings = |hub: HubBuilder| hub.data(&folder).presence(presence(GRACE));
    let mut server = Fixture::with(settings).await;
    let mut watcher = watcher(&server).await;
    let member = enter(&server, "member", 1).await;
    assert_eq!(event(&mut watcher).await["event"], "join");
    let there = attendance(&server).await;
    server.stop();
    let bye = watcher.text_after_pings().await;
    assert!(bye.starts_with("bye 4201 "), "{bye}");
    drop((watcher, member));
    server.stopped().await;

    let server = Fixture::with(settings).await;
    let none = attendance(&server).await;
    assert_eq!((&none["members"], &none["next"]), (&json!([]), &json!("0")));
    let mut watcher = Peer::silent_v1(server.address, "/websocket").await;
    watcher.say(&hello("watcher", 2)).await;
    watcher.welcomed().await;
    let cursor = there["next"].as_str().expect("a cursor");
    let epoch = there["epoch"].as_str().expect("an epoch");
    let subbed = watcher.ask(&format!("sub $presence:task:1 {cursor}")).await;
    assert_eq!(
        subbed,
        format!("subbed $presence:task:1 0 gap {epoch} 2 ? epoch")
    );
    Ok(())
}
