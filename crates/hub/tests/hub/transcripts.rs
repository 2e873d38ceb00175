//! Runs the transcripts of `spec/transcripts/server`; its README.md describes their steps.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use heartwire_hub::HubConfig;
use heartwire_proto::frame::Message;
use heartwire_proto::{Close, CloseCode};
use serde_json::Value;

use crate::world::{World, config, heartbeat};

#[test]
fn every_transcript_of_a_server_is_kept() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../spec/transcripts/server");
    let mut count = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let transcript: Value = serde_json::from_str(&text).unwrap();
        Run::new(&path.display().to_string(), &transcript).all(&transcript);
        count += 1;
    }
    assert!(count >= 20, "only {count} transcripts were found");
}

struct Run {
    file: String,
    world: World,
    ends: BTreeMap<String, usize>,
    latest: String,
    /// What was sent and is not expected yet, per connection.
    sent: BTreeMap<String, Vec<String>>,
    /// Connections whose socket was dropped, as the transcript knows.
    gone: Vec<String>,
}

fn number(value: &Value) -> u64 {
    value
        .as_u64()
        .unwrap_or_else(|| panic!("not a number: {value}"))
}

fn text(value: &Value) -> &str {
    value
        .as_str()
        .unwrap_or_else(|| panic!("not a text: {value}"))
}

/// The texts of binary messages are ASCII in all transcripts.
fn base64(value: &Value) -> String {
    const DIGITS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = text(value).bytes().filter(|byte| *byte != b'=');
    let bits: Vec<u32> = digits
        .map(|byte| DIGITS.find(char::from(byte)).expect("base64") as u32)
        .collect();
    let bytes = bits.chunks(4).flat_map(|chunk| {
        let group = chunk.iter().fold(0, |sum, bits| sum << 6 | bits) << (6 * (4 - chunk.len()));
        group.to_be_bytes()[1..chunk.len()].to_vec()
    });
    String::from_utf8(bytes.collect()).unwrap()
}

fn config_of(transcript: &Value) -> HubConfig {
    let given = &transcript["config"];
    let or = |name: &str, default: u64| given.get(name).map_or(default, number);
    let default = config();
    let mut limits = default.limits;
    limits.message_bytes_max = or("message_bytes_max", limits.message_bytes_max as u64) as usize;
    limits.topics_max = or("topics_max", limits.topics_max as u64) as usize;
    limits.unacked_max = or("unacked_max", limits.unacked_max);
    limits.unacked_bytes_max = or("unacked_bytes_max", limits.unacked_bytes_max as u64) as usize;
    let interval = or("heartbeat_interval_ms", 10_000);
    let timeout = or("heartbeat_timeout_ms", 10_000);
    let mut config = HubConfig::new(limits, heartbeat(interval, timeout));
    config.log.policy.retention.count_max = or("retention_count_max", 10_000) as usize;
    config.connections_max = or("connections_max", 1_000_000) as usize;
    config
}

impl Run {
    fn new(file: &str, transcript: &Value) -> Self {
        let mut world = World::with(config_of(transcript));
        let random = transcript["random"].as_f64().unwrap_or(0.5);
        world.random = (random * u64::MAX as f64) as u64;
        for member in ["name", "about"] {
            assert!(transcript[member].is_string(), "{file} has no {member}");
        }
        Self {
            file: file.to_owned(),
            world,
            ends: BTreeMap::new(),
            latest: String::new(),
            sent: BTreeMap::new(),
            gone: Vec::new(),
        }
    }

    fn all(&mut self, transcript: &Value) {
        for (index, step) in transcript["steps"].as_array().unwrap().iter().enumerate() {
            let at = format!("{}, step {}: {step}", self.file, index + 1);
            let object = step.as_object().unwrap();
            let on = object
                .get("on")
                .map_or(self.latest.clone(), |on| text(on).to_owned());
            let verb = object
                .keys()
                .find(|key| is_verb(key))
                .unwrap_or_else(|| panic!("{at}"));
            let value = &step[verb];
            if verb.starts_with("send") || verb == "dropped" {
                self.expect(verb, value, step, &on, &at);
            } else {
                self.nothing_is_left(&at);
                self.input(verb, value, step, &on);
                self.collect();
            }
        }
        let at = format!("{}, at the end", self.file);
        self.nothing_is_left(&at);
    }

    fn end(&self, name: &str) -> usize {
        self.ends[name]
    }

    fn input(&mut self, verb: &str, value: &Value, step: &Value, on: &str) {
        match verb {
            "connect" => self.connect(text(value), step),
            "receive" => self.world.say(self.end(on), text(value)),
            "receive_base64" => {
                let bytes = base64(value);
                self.world
                    .receive(self.end(on), Message::Binary(bytes.as_bytes()));
            }
            "receive_ping" => self.world.receive_ping(self.end(on), text(value)),
            "receive_pong" => self.world.receive_pong(self.end(on), text(value)),
            "receive_close" => {
                let code = value.as_u64().map(|code| CloseCode(code as u16));
                self.world.say_close(self.end(on), code);
            }
            "heard" => self.world.hear(self.end(text(value))),
            "lost" => {
                self.gone.push(text(value).to_owned());
                self.world.drop_end(self.end(text(value)));
            }
            "room" => {
                let room = value.as_u64().map(|bytes| bytes as usize);
                self.world.set_room(self.end(on), room);
            }
            "publish" => {
                self.world.publish(text(value), text(&step["text"]));
            }
            "hold" => self.world.gate_is_held = true,
            "release" => self.world.release(),
            "fail" => self.world.fail(),
            "accepting" => self.world.hub.set_accepting(value.as_bool().unwrap()),
            "operator_closes" => self.world.operator_closes(self.end(text(value))),
            "drain" => {
                let close = Close::new(CloseCode::DRAINING, "draining")
                    .retry_after(Duration::from_millis(number(&step["retry_ms"])));
                self.world.close(self.end(text(value)), close);
            }
            "restart" => {
                self.gone.extend(self.ends.keys().cloned());
                self.world.restart();
            }
            "advance_ms" => self.world.advance(number(value)),
            "freeze_ms" => self.world.freeze(number(value)),
            other => panic!("{}: no step is called {other}", self.file),
        }
    }

    fn connect(&mut self, name: &str, step: &Value) {
        let none = Vec::new();
        let topics = step["topics"].as_array().unwrap_or(&none);
        let topics: Vec<_> = topics.iter().map(text).collect();
        let end = match step["mode"].as_str() {
            Some("plain") => self.world.connect_plain(&topics),
            _ => self.world.connect(&topics),
        };
        self.latest = name.to_owned();
        self.ends.insert(name.to_owned(), end);
        self.gone.retain(|gone| gone != name);
        self.sent.remove(name);
    }

    fn collect(&mut self) {
        for (name, end) in &self.ends {
            let frames = self.world.take(*end);
            self.sent.entry(name.clone()).or_default().extend(frames);
        }
    }

    fn expect(&mut self, verb: &str, value: &Value, step: &Value, on: &str, at: &str) {
        if verb == "dropped" {
            let name = text(value);
            assert!(
                self.world.ends[self.end(name)].connection.is_none(),
                "{at}: it is not dropped"
            );
            self.gone.push(name.to_owned());
            return;
        }
        let sent = self.sent.entry(on.to_owned()).or_default();
        assert!(!sent.is_empty(), "{at}: nothing was sent");
        let sent = sent.remove(0);
        let expected = match verb {
            "send" => text(value).to_owned(),
            "send_base64" => format!("(binary) {}", base64(value)),
            "send_ping" => format!("(ping) {}", text(value)),
            "send_pong" => format!("(pong) {}", text(value)),
            _ => match value.as_u64() {
                Some(code) => {
                    let reason = step["reason"].as_str().unwrap_or_default();
                    format!("(close) {code} {reason}*")
                }
                None => "(close)".to_owned(),
            },
        };
        assert!(is_like(&sent, &expected), "{at}: it sent {sent:?}");
    }

    fn nothing_is_left(&self, at: &str) {
        for (name, sent) in &self.sent {
            assert!(
                sent.is_empty(),
                "before {at}: {name} was sent {sent:?}, unexpected"
            );
        }
        for (name, end) in &self.ends {
            let is_gone = self.world.ends[*end].connection.is_none();
            assert_eq!(
                is_gone,
                self.gone.contains(name),
                "before {at}: {name} was dropped or not"
            );
        }
    }
}

fn is_verb(key: &str) -> bool {
    !matches!(
        key,
        "on" | "topics" | "mode" | "text" | "reason" | "retry_ms"
    )
}

fn is_like(sent: &str, expected: &str) -> bool {
    if let (Some(sent), Some(expected)) = (
        sent.strip_prefix("welcome\n"),
        expected.strip_prefix("welcome\n"),
    ) {
        let sent: Value = serde_json::from_str(sent).unwrap();
        let expected: Value = serde_json::from_str(expected).unwrap();
        let mut members = expected.as_object().unwrap().iter();
        return members.all(|(name, value)| sent[name] == *value);
    }
    match expected.strip_suffix('*') {
        Some(beginning) => sent.starts_with(beginning),
        None => sent == expected,
    }
}
