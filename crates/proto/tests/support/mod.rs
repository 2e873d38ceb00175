//! What the tests of this crate share: the files under `spec/`, and a client session in virtual
//! time.

#![allow(
    dead_code,
    clippy::unwrap_used,
    unreachable_pub,
    reason = "each test file uses what it needs"
)]

pub mod driver;
pub mod peer;
pub mod transcript;
pub mod wire;

use std::fs;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use heartwire_proto::frame::{Message, Payload};
use serde_json::{Value, json};

/// A folder or file under `spec/`.
pub fn spec(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../spec")
        .join(path)
}

/// A JSON file under `spec/`.
pub fn read_json(path: &PathBuf) -> Value {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// `text` or `base64` of a step or vector.
pub fn payload_of(value: &Value) -> Payload {
    match (value.get("text"), value.get("base64")) {
        (Some(text), None) => Payload::Text(text.as_str().expect("text is a string").to_owned()),
        (None, Some(base64)) => {
            let base64 = base64.as_str().expect("base64 is a string");
            Payload::Binary(STANDARD.decode(base64).expect("valid base64"))
        }
        _ => panic!("either text or base64 in {value}"),
    }
}

/// The same the other way: the members `text` or `base64`.
pub fn put_payload(value: &mut Value, payload: Message<'_>) {
    match payload {
        Message::Text(text) => value["text"] = json!(text),
        Message::Binary(bytes) => value["base64"] = json!(STANDARD.encode(bytes)),
    }
}
