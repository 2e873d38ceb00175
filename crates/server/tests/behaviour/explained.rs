//! What happened to a connection can be told, while it lives and afterwards.

use heartwire_server::ObservationLimits;
use serde_json::{Value, json};

use crate::support::peer::{CLOSE, FINAL, Peer, frame};
use crate::support::{Fixture, TRIES, http, until};

/// A v1 connection, and its id.
async fn connected(server: &Fixture, name: &str, attempt: u64) -> (Peer, String) {
    let (peer, welcome) = Peer::v1_attempt(server.address, name, attempt).await;
    let id = welcome["connection"].as_str().expect("an id").to_owned();
    (peer, id)
}

/// The account of a connection, once it has ended.
async fn ended(server: &Fixture, id: &str) -> Value {
    let mut account = Value::Null;
    until("the connection to have ended", async || {
        let answer = http::get(server.address, &format!("/v1/connections/{id}")).await;
        account = match answer.status {
            200 => answer.json(),
            _ => Value::Null,
        };
        account["state"] == "ended"
    })
    .await;
    account
}

fn events(account: &Value) -> Vec<(&str, u64)> {
    let events = account["events"].as_array().expect("a list").iter();
    events
        .map(|event| {
            let name = event["event"].as_str().expect("a name");
            (name, event["time"].as_u64().expect("a time"))
        })
        .collect()
}

fn time_of(account: &Value, name: &str) -> u64 {
    let events = events(account);
    let found = events.iter().find(|(event, _)| *event == name);
    found
        .unwrap_or_else(|| panic!("no {name:?} in {events:?}"))
        .1
}

/// How long the server of [`Fixture::quick`] bears silence that does not judge late: an interval, a
/// timeout and half a second. One that is later looks once more before it judges.
const SILENCE_MS_MAX: u64 = 2_500;

/// The account of a connection that was found dead in time.
async fn found_dead(server: &Fixture) -> Value {
    for number in 0..TRIES {
        let (mut peer, id) = connected(server, &format!("silent-{number}"), 3).await;
        peer.say("sub task:42").await;
        assert_eq!(peer.closed().await.0, 4200);
        let account = ended(server, &id).await;
        assert_eq!(account["connection"], id);
        if silence(&account) < SILENCE_MS_MAX {
            return account;
        }
    }
    panic!("not one of {TRIES} was judged in time: this machine is too busy");
}

/// How long nothing was heard before the end, in milliseconds.
fn silence(account: &Value) -> u64 {
    time_of(account, "ended") - time_of(account, "last heard")
}

#[tokio::test]
async fn a_dead_link_is_explained_by_its_last_events() {
    let server = Fixture::quick().await;
    let account = found_dead(&server).await;
    assert_eq!(account["attempt"], 3);
    let end = &account["ended"];
    assert_eq!(
        (&end["by"], &end["code"], &end["name"], &end["dead"]),
        (
            &json!("server"),
            &json!(4200),
            &json!("heartbeat-timeout"),
            &json!("silence")
        )
    );
    let reason = end["reason"].as_str().expect("a reason");
    assert!(reason.starts_with("nothing was heard for "), "{reason}");
    assert_eq!(account["followed"][0]["topic"], "task:42");

    let order = [
        "opened",
        "welcomed",
        "topic asked for",
        "last heard",
        "last pinged",
        "ping written",
        "answer due",
        "ended",
    ];
    let times: Vec<u64> = order.iter().map(|name| time_of(&account, name)).collect();
    assert!(times.is_sorted(), "{:?}", events(&account));
    let delay = end["delay_ms"].as_u64().expect("a delay");
    // Both are told by the same clock; a wall clock that is read anew may differ by one.
    let silence = silence(&account);
    assert!(silence.abs_diff(delay) <= 1, "{silence} {delay}");
    let answer_time = time_of(&account, "answer due") - time_of(&account, "last pinged");
    assert!((1_000..2_000).contains(&answer_time), "{answer_time}");
}

#[tokio::test]
async fn a_living_connection_tells_how_far_it_has_come() {
    let server = Fixture::start().await;
    let (mut peer, id) = connected(&server, "alive", 1).await;
    peer.say("sub a").await;
    assert_eq!(peer.text_after_pings().await, "subbed a 0");
    let account = http::get(server.address, &format!("/v1/connections/{id}")).await;
    let account = account.json();
    assert_eq!(account["state"], "live");
    assert_eq!(account["ended"], Value::Null);
    assert_eq!(account["mode"], "v1");
    assert_eq!(
        account["followed"],
        json!([{ "topic": "a", "sent": 0, "last": 0 }])
    );
    assert!(time_of(&account, "welcomed") <= time_of(&account, "topic asked for"));
    let unknown = http::get(server.address, "/v1/connections/c99").await;
    assert_eq!(unknown.error(), "no-such-connection");
}

#[tokio::test]
async fn each_end_says_who_decided_it_and_why() {
    let server = Fixture::start().await;
    let (mut closing, closed) = connected(&server, "one", 1).await;
    closing
        .send(&frame(FINAL | CLOSE, &4_321_u16.to_be_bytes()))
        .await;
    let (hanging, hung_up) = connected(&server, "two", 1).await;
    drop(hanging);
    let (_old, taken) = connected(&server, "three", 1).await;
    let (_new, _) = connected(&server, "three", 2).await;
    for (id, by, code, name) in [
        (closed, "peer", json!(4321), "other"),
        (hung_up, "peer", Value::Null, "hung-up"),
        (taken, "server", json!(4009), "taken-over"),
    ] {
        let account = ended(&server, &id).await;
        let end = &account["ended"];
        assert_eq!((&end["by"], &end["code"]), (&json!(by), &code), "{name}");
        assert_eq!(end["name"], name);
        assert_eq!(account["connection"], id, "its identity outlives it");
        assert_eq!(end["dead"], Value::Null);
    }
}

#[tokio::test]
async fn the_last_that_ended_are_listed_newest_first_and_the_oldest_forgotten() {
    let server = Fixture::with(|hub| {
        hub.observation(ObservationLimits {
            ended_max: 2,
            ..ObservationLimits::default()
        })
    })
    .await;
    let mut ids = Vec::new();
    for name in ["one", "two", "three"] {
        let (peer, id) = connected(&server, name, 1).await;
        drop(peer);
        ended(&server, &id).await;
        ids.push(id);
    }
    let listed = http::get(server.address, "/v1/connections?state=ended").await;
    let listed = listed.json()["connections"].clone();
    let found: Vec<&Value> = (0..2).map(|at| &listed[at]["connection"]).collect();
    assert_eq!(found, [&json!(ids[2]), &json!(ids[1])]);
    assert_eq!(listed.as_array().map(Vec::len), Some(2));
    let path = format!("/v1/connections/{}", ids[0]);
    assert_eq!(http::get(server.address, &path).await.status, 404);
    let wrong = http::get(server.address, "/v1/connections?state=odd").await;
    assert_eq!(wrong.error(), "bad-state");
}

#[tokio::test]
async fn a_connection_that_never_said_hello_is_listed_without_an_id() {
    let server = Fixture::start().await;
    let mut peer = Peer::silent_v1(server.address, "/websocket").await;
    peer.say("sub a").await;
    assert_eq!(peer.closed().await.0, 4000);
    let mut listed = Value::Null;
    until("it to be listed", async || {
        listed = http::get(server.address, "/v1/connections?state=ended")
            .await
            .json()["connections"][0]
            .clone();
        !listed.is_null()
    })
    .await;
    assert_eq!(listed["connection"], Value::Null);
    assert_eq!(listed["ended"]["name"], "protocol-error");
    let names: Vec<&str> = events(&listed).iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["opened", "ended"]);
}
