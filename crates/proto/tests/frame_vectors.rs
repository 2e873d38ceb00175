//! The vectors of `spec/frames`: every frame in its spellings, and what is refused by which rule.

mod support;

use heartwire_proto::frame::{ClientFrame, Gap, Payload, ServerFrame, SubFrom, Tails};
use serde_json::{Value, json};
use support::{payload_of, put_payload, read_json, spec};

/// Parses a message into the JSON form of its frame, and encodes it again.
type Codec = fn(&Payload) -> Result<(Value, Payload), String>;

fn client(message: &Payload) -> Result<(Value, Payload), String> {
    let frame = ClientFrame::parse(message.as_message()).map_err(|e| e.requirement.to_owned())?;
    Ok((client_to_json(&frame), frame.to_payload()))
}

fn server(message: &Payload) -> Result<(Value, Payload), String> {
    let frame = ServerFrame::parse(message.as_message()).map_err(|e| e.requirement.to_owned())?;
    Ok((server_to_json(&frame), frame.to_payload()))
}

#[test]
fn client_frames() {
    check("frames/client.json", client);
}

#[test]
fn server_frames() {
    check("frames/server.json", server);
}

fn check(file: &str, codec: Codec) {
    let vectors = read_json(&spec(file));
    let vectors = vectors.as_array().expect("an array of vectors");
    assert!(vectors.len() > 50, "where are the vectors?");
    let failures: Vec<String> = vectors
        .iter()
        .filter_map(|vector| Some(format!("{}: {}", vector["name"], failure(vector, codec)?)))
        .collect();
    assert!(failures.is_empty(), "\n{}\n", failures.join("\n"));
}

fn failure(vector: &Value, codec: Codec) -> Option<String> {
    let message = payload_of(&vector["message"]);
    let expected_error = vector["error"].as_str();
    match (codec(&message), expected_error) {
        (Err(error), Some(expected)) if error == expected => None,
        (Err(error), expected) => Some(format!("refused by {error}, expected {expected:?}")),
        (Ok((frame, _)), Some(error)) => Some(format!("parsed as {frame}, expected {error}")),
        (Ok((frame, encoded)), None) => {
            let expected = &vector["frame"];
            let lenient = vector["lenient"] == true;
            let parsed_again = codec(&encoded).ok().map(|(frame, _)| frame);
            if frame != *expected {
                Some(format!("parsed as {frame}"))
            } else if !lenient && !same_message(&encoded, &message) {
                Some(format!("encoded as {encoded:?}"))
            } else if parsed_again.as_ref() != Some(&frame) {
                Some(format!("encoded as {encoded:?}, which reads otherwise"))
            } else {
                None
            }
        }
    }
}

/// The same bytes, but for the order of members in JSON.
fn same_message(encoded: &Payload, message: &Payload) -> bool {
    let json = |payload: &Payload| {
        let Payload::Text(text) = payload else {
            return None;
        };
        let (verb, json) = text.split_once('\n')?;
        let is_json = ["hello", "welcome", "token"].contains(&verb);
        let value = || serde_json::from_str::<Value>(json).ok();
        is_json.then(value).flatten()
    };
    encoded == message || (json(encoded).is_some() && json(encoded) == json(message))
}

fn client_to_json(frame: &ClientFrame<'_>) -> Value {
    match frame {
        ClientFrame::Hello(hello) => json!({"verb": "hello", "json": hello}),
        ClientFrame::Token(token) => json!({"verb": "token", "json": token}),
        ClientFrame::Sub { topic, from } => {
            json!({"verb": "sub", "topic": topic.as_str(), "from": from_to_text(*from)})
        }
        ClientFrame::Unsub { topic } => json!({"verb": "unsub", "topic": topic.as_str()}),
        ClientFrame::Pub {
            topic,
            seq,
            payload,
        } => {
            let mut value = json!({"verb": "pub", "topic": topic.as_str(), "seq": seq});
            put_payload(&mut value, *payload);
            value
        }
        ClientFrame::Skip { seq } => json!({"verb": "skip", "seq": seq}),
        ClientFrame::Heartbeat { interval_ms } => {
            json!({"verb": "heartbeat", "interval_ms": interval_ms})
        }
        ClientFrame::Ping { id } => json!({"verb": "ping", "id": id}),
        ClientFrame::Pong { id } => json!({"verb": "pong", "id": id}),
    }
}

fn from_to_text(from: SubFrom) -> String {
    match from {
        SubFrom::Tail => "tail".to_owned(),
        SubFrom::Head => "head".to_owned(),
        SubFrom::Last(n) => format!("last {n}"),
        SubFrom::After(cursor) => cursor.to_string(),
    }
}

fn server_to_json(frame: &ServerFrame<'_>) -> Value {
    match frame {
        ServerFrame::Welcome(welcome) => json!({"verb": "welcome", "json": welcome}),
        ServerFrame::Subbed { topic, cursor, gap } => json!({
            "verb": "subbed",
            "topic": topic.as_str(),
            "cursor": cursor.to_string(),
            "gap": gap.map(gap_to_json),
        }),
        ServerFrame::Msg {
            topic,
            offset,
            prev,
            time,
            from,
            payload,
        } => {
            let mut value = json!({
                "verb": "msg",
                "topic": topic.as_str(),
                "offset": offset,
                "prev": prev,
                "time_ms": time.as_unix_millis(),
                "from": from.map(|from| from.decode().into_owned()),
            });
            put_payload(&mut value, *payload);
            value
        }
        ServerFrame::Gap { topic, gap } => {
            json!({"verb": "gap", "topic": topic.as_str(), "gap": gap_to_json(*gap)})
        }
        ServerFrame::Epoch { topic, epoch } => {
            json!({"verb": "epoch", "topic": topic.as_str(), "epoch": epoch})
        }
        ServerFrame::Unsubbed { topic } => json!({"verb": "unsubbed", "topic": topic.as_str()}),
        ServerFrame::Refused { topic, code } => {
            json!({"verb": "refused", "topic": topic.as_str(), "code": code.as_str()})
        }
        ServerFrame::Ended { topic, code } => {
            json!({"verb": "ended", "topic": topic.as_str(), "code": code.as_str()})
        }
        other => short_to_json(other),
    }
}

/// Frames that name no topic.
fn short_to_json(frame: &ServerFrame<'_>) -> Value {
    match frame {
        ServerFrame::Ack { seq } => json!({"verb": "ack", "seq": seq}),
        ServerFrame::Nack { seq, code, retry } => json!({
            "verb": "nack",
            "seq": seq,
            "code": code.as_str(),
            "retry_ms": retry.map(|retry| retry.as_millis()),
        }),
        ServerFrame::Heartbeat { interval_ms } => {
            json!({"verb": "heartbeat", "interval_ms": interval_ms})
        }
        ServerFrame::Ping { id, tails } => {
            json!({"verb": "ping", "id": id, "tails": tails_to_json(*tails)})
        }
        ServerFrame::Pong { id } => json!({"verb": "pong", "id": id}),
        ServerFrame::Bye {
            code,
            retry,
            reason,
        } => json!({
            "verb": "bye",
            "code": code.0,
            "retry_ms": retry.map_or(0, |retry| retry.as_millis()),
            "reason": reason,
        }),
        ServerFrame::Unknown { verb } => json!({"verb": "unknown", "unknown": verb}),
        other => panic!("{other:?} names a topic"),
    }
}

fn tails_to_json(tails: Tails<'_>) -> Value {
    let tail = |(topic, cursor): (heartwire_proto::TopicRef<'_>, heartwire_proto::Cursor)| {
        json!([topic.as_str(), cursor.to_string()])
    };
    tails.iter().map(tail).collect()
}

fn gap_to_json(gap: Gap) -> Value {
    json!({
        "epoch": gap.epoch,
        "first": gap.first,
        "last": gap.last,
        "reason": gap.reason.as_str(),
    })
}
