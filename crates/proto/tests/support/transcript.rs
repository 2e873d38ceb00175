//! Runs a transcript of `spec/transcripts/client` against the client session.

use std::collections::VecDeque;
use std::time::Duration;

use heartwire_proto::backoff::Reconnect;
use heartwire_proto::client::{
    ClientConfig, Ending, Event, Input, Loss, Mode, PlainConfig, PlainPing, PublishError,
    SendError, Status, SubscribeError, Transmit,
};
use heartwire_proto::close::CloseCode;
use heartwire_proto::frame::{ClientFrame, Gap, Message, SubFrom};
use heartwire_proto::heartbeat::HeartbeatConfig;
use heartwire_proto::{Attempt, ClientId, Token, TopicName};
use serde_json::{Value, json};

use super::driver::{Driver, Wire};
use super::{payload_of, put_payload};

/// A session and what it produced that no step has expected yet, as JSON.
struct Runner {
    driver: Driver,
    ignore: Vec<String>,
    wire: VecDeque<Value>,
    events: VecDeque<Value>,
}

/// Runs a transcript; the error names the step that fails.
pub fn run(transcript: &Value) -> Result<(), String> {
    let client = transcript["config"]["client"].as_str();
    let client: ClientId = client
        .unwrap_or("transcript-client")
        .parse()
        .map_err(|e| format!("client: {e}"))?;
    let random = fraction(&transcript["random"]).unwrap_or(1 << 63);
    let ignore = match transcript.get("ignore") {
        Some(names) => strings(names),
        None => ["connecting", "welcome", "followed", "rtt"]
            .map(str::to_owned)
            .to_vec(),
    };
    let mut runner = Runner {
        driver: Driver::new(config(&transcript["config"]), client, random),
        ignore,
        wire: VecDeque::new(),
        events: VecDeque::new(),
    };
    runner.driver.call(|session, now| session.start(now));
    runner.collect();
    let steps = transcript["steps"].as_array().ok_or("no steps")?;
    for (index, step) in steps.iter().enumerate() {
        runner
            .step(step)
            .map_err(|e| format!("step {index} {step}: {e}"))?;
    }
    runner
        .nothing_left()
        .map_err(|e| format!("at the end: {e}"))
}

impl Runner {
    fn step(&mut self, step: &Value) -> Result<(), String> {
        let has = |key: &str| step.get(key).is_some();
        if ["dial", "abandon", "send", "send_base64", "send_ping"]
            .iter()
            .any(|key| has(key))
        {
            return expect(self.wire.pop_front(), step, same_wire);
        }
        if has("event") {
            return expect(self.events.pop_front(), step, contains);
        }
        self.nothing_left()?;
        if has("app") {
            self.application(step)?;
        } else {
            self.transport(step)?;
        }
        self.collect();
        Ok(())
    }

    fn nothing_left(&self) -> Result<(), String> {
        match self.wire.front().or(self.events.front()) {
            Some(unexpected) => Err(format!("nothing expects {unexpected}")),
            None => Ok(()),
        }
    }

    /// Takes over what the session did.
    fn collect(&mut self) {
        for wire in self.driver.wire.drain(..) {
            self.wire.push_back(wire_to_json(&wire));
        }
        for event in self.driver.events.drain(..) {
            let event = event_to_json(&event);
            let name = event["event"].as_str().unwrap_or_default();
            if !self.ignore.iter().any(|ignored| ignored == name) {
                self.events.push_back(event);
            }
        }
    }

    fn application(&mut self, step: &Value) -> Result<(), String> {
        let driver = &mut self.driver;
        match text(step, "app") {
            "subscribe" => {
                let from = sub_from(step["from"].as_str().unwrap_or("tail"));
                let topic = topic(step);
                let result = driver.call(|session, _| session.subscribe(&topic, from));
                return outcome(step, result.map_err(subscribe_error));
            }
            "unsubscribe" => driver.call(|session, _| session.unsubscribe(&topic(step))),
            "pause" => driver.call(|session, _| session.pause(&topic(step))),
            "resume" => driver.call(|session, _| session.resume(&topic(step))),
            "publish" => {
                let payload = payload_of(step);
                let result = driver.call(|session, _| session.publish(topic(step), payload));
                if let (Ok(seq), Some(expected)) = (&result, step["seq"].as_u64())
                    && seq.0 != expected
                {
                    return Err(format!("its number is {seq}"));
                }
                return outcome(step, result.map(|_| ()).map_err(publish_error));
            }
            "send" => {
                let payload = payload_of(step);
                let result = driver.call(|session, _| session.send(payload));
                return outcome(step, result.map_err(send_error));
            }
            "token" => {
                let token = Token::new(text(step, "token"));
                driver.call(|session, _| session.renew_token(token));
            }
            "heartbeat" => {
                let interval = millis(&step["interval_ms"]);
                let result = driver.call(|session, _| session.set_heartbeat_interval(interval));
                return outcome(step, result.map_err(|_| "range"));
            }
            "probe" => driver.call(|session, now| session.probe(now)),
            "reconnect" => driver.call(|session, now| session.reconnect(now)),
            "sleep" => driver.call(|session, now| session.sleep(now)),
            "wake" => driver.call(|session, now| session.wake(now)),
            "close" => {
                let flush = millis(&step["flush_ms"]);
                driver.call(|session, now| session.close(flush, now));
            }
            other => return Err(format!("no application step {other}")),
        }
        Ok(())
    }

    fn transport(&mut self, step: &Value) -> Result<(), String> {
        let driver = &mut self.driver;
        let attempt = |key: &str| step[key].as_u64().map(Attempt);
        let latest = attempt("attempt").unwrap_or(driver.session.attempt());
        if let Some(attempt) = attempt("opened") {
            driver.handle(Input::Opened {
                attempt,
                agreed: step["agreed"].as_bool().unwrap_or(true),
                token: step["token"].as_str().map(Token::new),
            });
        } else if let Some(attempt) = attempt("dial_failed") {
            driver.handle(Input::DialFailed {
                attempt,
                why: step["why"].as_str().unwrap_or("refused").to_owned(),
                retry_after: step["retry_after_ms"].as_u64().map(Duration::from_millis),
            });
        } else if let Some(text) = step["receive"].as_str() {
            let message = Message::Text(text);
            driver.handle(Input::Message {
                attempt: latest,
                message,
            });
        } else if let Some(base64) = step.get("receive_base64") {
            let payload = payload_of(&json!({"base64": base64}));
            driver.handle(Input::Message {
                attempt: latest,
                message: payload.as_message(),
            });
        } else if let Some(attempt) = attempt("heard") {
            driver.handle(Input::Heard { attempt });
        } else if let Some(attempt) = attempt("pong") {
            driver.handle(Input::Pong { attempt });
        } else if let Some(attempt) = attempt("closed") {
            let code = step["code"].as_u64();
            driver.handle(Input::Closed {
                attempt,
                code: code.map(|code| CloseCode(u16::try_from(code).unwrap())),
                reason: step["reason"].as_str().unwrap_or_default(),
            });
        } else if let Some(span) = step["advance_ms"].as_u64() {
            driver.advance_ms(span);
        } else if let Some(span) = step["freeze_ms"].as_u64() {
            driver.time = driver.time + Duration::from_millis(span);
        } else if let Some(span) = step["machine_sleeps_ms"].as_u64() {
            driver.wall_offset_ms += span;
        } else if let Some(random) = fraction(&step["random"]) {
            driver.random = random;
        } else {
            return Err("no such step".to_owned());
        }
        Ok(())
    }
}

fn expect(
    actual: Option<Value>,
    expected: &Value,
    same: fn(&Value, &Value) -> bool,
) -> Result<(), String> {
    match actual {
        None => Err("it did not happen".to_owned()),
        Some(actual) if same(&actual, expected) => Ok(()),
        Some(actual) => Err(format!("instead came {actual}")),
    }
}

/// Whether `actual` has every member of `expected`.
fn contains(actual: &Value, expected: &Value) -> bool {
    let Some(members) = expected.as_object() else {
        return false;
    };
    members
        .iter()
        .all(|(key, value)| actual.get(key) == Some(value))
}

/// Frames with JSON are compared as JSON, everything else as it is.
fn same_wire(actual: &Value, expected: &Value) -> bool {
    let json_of = |value: &Value| {
        let frame = value["send"].as_str()?;
        let json = ["hello\n", "token\n"]
            .iter()
            .find_map(|verb| frame.strip_prefix(verb))?;
        serde_json::from_str::<Value>(json).ok()
    };
    match (json_of(actual), json_of(expected)) {
        (Some(actual), Some(expected)) => same_json(&actual, &expected),
        _ => actual == expected,
    }
}

/// Equal, `"*"` in `expected` standing for any string.
fn same_json(actual: &Value, expected: &Value) -> bool {
    match (actual, expected) {
        (Value::Object(a), Value::Object(e)) => {
            let same = |(key, value)| a.get(key).is_some_and(|actual| same_json(actual, value));
            a.len() == e.len() && e.iter().all(same)
        }
        (Value::String(_), Value::String(any)) if any == "*" => true,
        _ => actual == expected,
    }
}

fn outcome(step: &Value, result: Result<(), &'static str>) -> Result<(), String> {
    match (result, step["error"].as_str()) {
        (Ok(()), None) => Ok(()),
        (Err(error), Some(expected)) if error == expected => Ok(()),
        (Ok(()), Some(_)) => Err("it did not fail".to_owned()),
        (Err(error), _) => Err(format!("it failed: {error}")),
    }
}

fn subscribe_error(error: SubscribeError) -> &'static str {
    match error {
        SubscribeError::TooMany { .. } => "too-many",
        SubscribeError::Plain => "plain",
        SubscribeError::Closed => "closed",
    }
}

fn publish_error(error: PublishError) -> &'static str {
    match error {
        PublishError::Full(_) => "full",
        PublishError::TooLarge { .. } => "too-large",
        PublishError::Reserved => "reserved",
        PublishError::Plain => "plain",
        PublishError::Closed => "closed",
    }
}

fn send_error(error: SendError) -> &'static str {
    match error {
        SendError::Full(_) => "full",
        SendError::NotOpen => "not-open",
        SendError::NotPlain => "not-plain",
    }
}

fn wire_to_json(wire: &Wire) -> Value {
    match wire {
        Wire::Dial(attempt) => json!({"dial": attempt}),
        Wire::Abandon(attempt, None) => json!({"abandon": attempt}),
        Wire::Abandon(attempt, Some(close)) => json!({"abandon": attempt, "code": close.code.0}),
        Wire::Send(Transmit::Ping) => json!({"send_ping": true}),
        Wire::Send(Transmit::Message(message)) => {
            let mut value = json!({});
            put_payload(&mut value, message.as_message());
            match value.get("text") {
                Some(text) => json!({"send": text}),
                None => json!({"send_base64": value["base64"]}),
            }
        }
    }
}

fn event_to_json(event: &Event) -> Value {
    match event {
        Event::Status(status) => status_to_json(status),
        Event::Welcome(welcome) => json!({"event": "welcome", "connection": welcome.connection}),
        Event::Followed { topic, cursor } => {
            json!({"event": "followed", "topic": topic, "cursor": cursor.to_string()})
        }
        Event::Message(delivery) => {
            let mut value = json!({
                "event": "message",
                "topic": delivery.topic,
                "cursor": delivery.cursor.to_string(),
                "time_ms": delivery.time.as_unix_millis(),
                "from": delivery.from,
            });
            put_payload(&mut value, delivery.payload.as_message());
            value
        }
        Event::Gap { topic, gap } => gap_to_json(topic, *gap),
        Event::Refused { topic, code } => {
            json!({"event": "refused", "topic": topic, "code": code.as_str()})
        }
        Event::Ended { topic, code } => {
            json!({"event": "ended", "topic": topic, "code": code.as_str()})
        }
        Event::Stored { seq } => json!({"event": "stored", "seq": seq}),
        Event::PublishRefused { seq, code } => {
            json!({"event": "publish-refused", "seq": seq, "code": code.as_str()})
        }
        Event::InDoubt { seq } => json!({"event": "in-doubt", "seq": seq}),
        Event::LogLost { from, to } => json!({"event": "log-lost", "from": from, "to": to}),
        Event::ClientChanged(_) => json!({"event": "client-changed"}),
        Event::Rtt(rtt) => json!({"event": "rtt", "last_ms": rtt.last_ms}),
        Event::Received(payload) => {
            let mut value = json!({"event": "received"});
            put_payload(&mut value, payload.as_message());
            value
        }
        Event::Unsent { messages } => json!({"event": "unsent", "messages": messages}),
    }
}

fn gap_to_json(topic: &TopicName, gap: Gap) -> Value {
    json!({
        "event": "gap",
        "topic": topic,
        "epoch": gap.epoch,
        "first": gap.first,
        "last": gap.last,
        "reason": gap.reason.as_str(),
    })
}

fn status_to_json(status: &Status) -> Value {
    let mut value = json!({"event": status.name()});
    match status {
        Status::Connecting { attempt } | Status::Open { attempt } => {
            value["attempt"] = json!(attempt);
        }
        Status::Lost {
            why,
            retry_in,
            attempts,
        } => {
            put_loss(&mut value, why);
            value["retry_in_ms"] = json!(retry_in.as_millis());
            value["attempts"] = json!(attempts);
        }
        Status::Suspended { why, wake_in } => {
            put_loss(&mut value, why);
            value["wake_in_ms"] = json!(wake_in.map(|wake_in| wake_in.as_millis()));
        }
        Status::Closed { why } => {
            value["why"] = json!(why.name());
            if let Ending::Refused { code, .. } = why {
                value["code"] = json!(code.0);
            }
        }
    }
    value
}

fn put_loss(value: &mut Value, why: &Loss) {
    value["why"] = json!(why.name());
    if let Loss::Closed { code, .. } = why {
        value["code"] = json!(code.0);
    }
}

fn config(value: &Value) -> ClientConfig {
    let mut config = ClientConfig {
        agent: value["agent"].as_str().unwrap_or("transcript").to_owned(),
        ..ClientConfig::default()
    };
    if value["mode"] == "plain" {
        config.mode = Mode::Plain(plain_config(&value["plain"]));
    }
    if let Some(reconnect) = value.get("reconnect") {
        config.reconnect = policy(reconnect);
    }
    let set = |field: &mut Duration, key: &str| {
        if let Some(millis) = value[key].as_u64() {
            *field = Duration::from_millis(millis);
        }
    };
    set(&mut config.attempt_timeout, "attempt_timeout_ms");
    set(&mut config.producer_memory, "producer_memory_ms");
    let count = |field: &mut usize, key: &str| {
        if let Some(count) = value[key].as_u64() {
            *field = usize::try_from(count).unwrap();
        }
    };
    count(&mut config.outbox.messages_max, "outbox_messages_max");
    count(&mut config.outbox.bytes_max, "outbox_bytes_max");
    count(&mut config.topics_max, "topics_max");
    config.heartbeat_interval = value["heartbeat_interval_ms"]
        .as_u64()
        .map(Duration::from_millis);
    config
}

fn plain_config(value: &Value) -> PlainConfig {
    let mut plain = PlainConfig::default();
    let of = |key: &str| {
        value[key]
            .as_u64()
            .map_or(Duration::from_secs(10), Duration::from_millis)
    };
    plain.heartbeat = HeartbeatConfig::new(of("interval_ms"), of("timeout_ms")).unwrap();
    match value.get("ping") {
        Some(Value::Null) => plain.ping = PlainPing::WebSocket,
        Some(ping) => plain.ping = PlainPing::Message(ping.as_str().unwrap().into()),
        None => {}
    }
    if let Some(pong) = value.get("pong") {
        plain.pong = pong.as_str().map(Into::into);
    }
    plain
}

fn policy(value: &Value) -> Reconnect {
    let attempts = value["attempts"].as_u64();
    let attempts = attempts.map(|attempts| u32::try_from(attempts).unwrap());
    if value["policy"] == "fixed" {
        return Reconnect::fixed(millis(&value["delay_ms"]), attempts.unwrap_or(12));
    }
    let policy = Reconnect::default();
    match attempts {
        Some(attempts) => policy.attempts(attempts),
        None if value["attempts"] == "unlimited" => policy.unlimited(),
        None => policy,
    }
}

/// A beginning, spelled as in the frame `sub`.
fn sub_from(text: &str) -> SubFrom {
    let frame = format!("sub t {text}");
    match ClientFrame::parse(Message::Text(&frame)) {
        Ok(ClientFrame::Sub { from, .. }) => from,
        other => panic!("{text} is no beginning: {other:?}"),
    }
}

fn topic(step: &Value) -> TopicName {
    text(step, "topic").parse().expect("a topic's name")
}

fn text<'a>(step: &'a Value, key: &str) -> &'a str {
    step[key]
        .as_str()
        .unwrap_or_else(|| panic!("{step} has no {key}"))
}

fn millis(value: &Value) -> Duration {
    Duration::from_millis(value.as_u64().expect("milliseconds"))
}

fn strings(value: &Value) -> Vec<String> {
    let values = value.as_array().expect("an array");
    let texts = values.iter().filter_map(Value::as_str);
    texts.map(str::to_owned).collect()
}

/// A fraction of [0, 1) as the 64 bits that the session takes.
fn fraction(value: &Value) -> Option<u64> {
    let fraction = value.as_f64()?;
    assert!((0.0..1.0).contains(&fraction), "{fraction} is no fraction");
    Some((fraction * 18_446_744_073_709_551_616.0) as u64)
}
