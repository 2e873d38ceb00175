//! Following a topic by server-sent events.

use crate::support::peer::Peer;
use crate::support::{Fixture, http, within};
use serde_json::{Value, json};

/// One `EventSource`.
pub(crate) struct Events {
    peer: Peer,
    text: String,
}

#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Event {
    pub(crate) name: String,
    pub(crate) id: String,
    pub(crate) data: Value,
}

impl Events {
    pub(crate) async fn open(server: &Fixture, path: &str, headers: &[&str]) -> Self {
        let mut request =
            format!("GET {path} HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n");
        for line in headers {
            request.push_str(line);
            request.push_str("\r\n");
        }
        request.push_str("\r\n");
        let mut peer = Peer::tcp(server.address).await;
        peer.send(request.as_bytes()).await;
        let head = peer.head().await;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert!(head.contains("content-type: text/event-stream"), "{head}");
        Self {
            peer,
            text: String::new(),
        }
    }

    /// The next event; an `id` alone counts, comments do not.
    pub(crate) async fn next(&mut self) -> Event {
        within("an event", async {
            loop {
                while let Some((block, rest)) = self.text.split_once("\n\n") {
                    let (block, rest) = (block.to_owned(), rest.to_owned());
                    self.text = rest;
                    if let Some(event) = parse(&block) {
                        return event;
                    }
                }
                let bytes = self.peer.heard_raw().await.expect("the stream goes on");
                // Chunk sizes stand on lines of their own, which no field looks like.
                self.text
                    .push_str(&String::from_utf8_lossy(&bytes).replace("\r\n", "\u{1}"));
                self.text = strip_chunks(&self.text);
            }
        })
        .await
    }
}

/// Takes the framing of chunked transfer out: `SIZE CRLF … CRLF`.
fn strip_chunks(text: &str) -> String {
    let mut out = String::new();
    for piece in text.split('\u{1}') {
        let size = !piece.is_empty() && piece.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !size {
            out.push_str(piece);
        }
    }
    out
}

fn parse(block: &str) -> Option<Event> {
    let mut event = Event::default();
    let mut data = String::new();
    for line in block.lines() {
        match line.split_once(": ") {
            Some(("event", value)) => value.clone_into(&mut event.name),
            Some(("id", value)) => value.clone_into(&mut event.id),
            Some(("data", value)) => data.push_str(value),
            _ => {}
        }
    }
    event.data = serde_json::from_str(&data).unwrap_or_default();
    (event != Event::default()).then_some(event)
}

#[tokio::test]
async fn messages_come_live_with_their_cursor_as_id() {
    let server = Fixture::start().await;
    http::publish(server.address, "a", "before").await;
    let mut events = Events::open(&server, "/v1/topics/a", &[]).await;
    let begin = events.next().await;
    assert!(
        begin.id.ends_with(".1"),
        "the place is told before any traffic: {begin:?}"
    );
    let stored = http::publish(server.address, "a", "line one\nline two").await;
    let event = events.next().await;
    assert_eq!(
        event.id,
        format!("{}.2", stored["epoch"].as_str().unwrap_or_default())
    );
    assert_eq!(
        (&event.data["offset"], &event.data["text"]),
        (&json!(2), &json!("line one\nline two"))
    );
}

#[tokio::test]
async fn last_event_id_resumes_without_hole_or_repeat() {
    let server = Fixture::start().await;
    http::publish(server.address, "a", "one").await;
    let mut events = Events::open(&server, "/v1/topics/a?after=0", &[]).await;
    let mut event = events.next().await;
    while event.data == Value::Null {
        event = events.next().await;
    }
    assert_eq!(event.data["text"], "one");
    drop(events);
    for text in ["two", "three"] {
        http::publish(server.address, "a", text).await;
    }
    let resume = format!("last-event-id: {}", event.id);
    let mut events = Events::open(&server, "/v1/topics/a", &[&resume]).await;
    let mut texts = Vec::new();
    while texts.len() < 2 {
        let event = events.next().await;
        if let Some(text) = event.data["text"].as_str() {
            texts.push(text.to_owned());
        }
    }
    assert_eq!(texts, ["two", "three"]);
}

#[tokio::test]
async fn what_was_trimmed_is_an_event_of_its_own() {
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
    let resume = format!("last-event-id: {epoch}.5");
    let mut events = Events::open(&server, "/v1/topics/a", &[&resume]).await;
    let mut event = events.next().await;
    while event.name != "gap" {
        event = events.next().await;
    }
    assert_eq!(event.id, format!("{epoch}.20"));
    assert_eq!(
        event.data,
        json!({ "epoch": epoch, "first": 6, "last": 20, "reason": "retention" })
    );
    let first = events.next().await;
    assert_eq!(first.data["text"], "21");
}

/// The epoch of a topic with ten messages, all retained, and what an `EventSource` gets that was at
/// `place`: the gap, and the text that follows it.
async fn resumed_at(place: impl Fn(&str) -> String) -> (String, Event, Value) {
    let server = Fixture::start().await;
    let mut epoch = String::new();
    for number in 1..=10 {
        let stored = http::publish(server.address, "a", &number.to_string()).await;
        epoch = stored["epoch"].as_str().expect("an epoch").to_owned();
    }
    let resume = format!("last-event-id: {}", place(&epoch));
    let mut events = Events::open(&server, "/v1/topics/a", &[&resume]).await;
    let _begin = events.next().await;
    let gap = events.next().await;
    assert_eq!(gap.name, "gap");
    http::publish(server.address, "a", "eleven").await;
    (epoch, gap, events.next().await.data["text"].clone())
}

#[tokio::test]
async fn behind_an_epoch_that_is_gone_the_id_is_of_the_epoch_that_is_there() {
    let (epoch, gap, text) = resumed_at(|_| "zzzz.5".to_owned()).await;
    let missed = json!({ "epoch": "zzzz", "first": 6, "last": null, "reason": "epoch" });
    assert_eq!((gap.id, gap.data), (format!("{epoch}.0"), missed));
    assert_eq!(text, "1");
}

/// `[SUB-5]` `[SUB-10]`: an id beyond the end would be answered by the same gap for ever, or point
/// behind messages that nobody has seen.
#[tokio::test]
async fn no_id_lies_beyond_the_end_of_the_topic() {
    let (epoch, gap, text) = resumed_at(|epoch| format!("{epoch}.99")).await;
    let missed = json!({ "epoch": epoch, "first": 11, "last": 99, "reason": "epoch" });
    assert_eq!((gap.id, gap.data), (format!("{epoch}.10"), missed));
    assert_eq!(text, "eleven");
}

#[tokio::test]
async fn a_topic_that_does_not_exist_yet_can_be_waited_for() {
    let server = Fixture::start().await;
    let mut events = Events::open(&server, "/v1/topics/later", &[]).await;
    assert_eq!(events.next().await.id, "0");
    http::publish(server.address, "later", "born").await;
    let mut event = events.next().await;
    while event.data == Value::Null {
        event = events.next().await;
    }
    assert_eq!(
        (&event.data["offset"], &event.data["text"]),
        (&json!(1), &json!("born"))
    );
}

#[tokio::test]
async fn a_bad_last_event_id_is_refused() {
    let server = Fixture::start().await;
    let headers = ["accept: text/event-stream", "last-event-id: nonsense"];
    let answer = http::request(server.address, "GET /v1/topics/a", &headers, b"").await;
    assert_eq!(
        (answer.status, answer.error().as_str()),
        (400, "bad-cursor")
    );
}
