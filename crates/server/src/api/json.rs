//! The JSON forms that several answers share.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use heartwire_proto::frame::{Gap, Message, ServerFrame};
use serde_json::{Value, json};

/// A message as history and SSE show it: `{"offset", "time", "from", "text" | "base64"}`; `null`
/// for a frame that is no message.
pub(crate) fn message(frame: &ServerFrame<'_>) -> Value {
    let ServerFrame::Msg {
        offset,
        time,
        from,
        payload,
        ..
    } = frame
    else {
        return Value::Null;
    };
    let mut object = json!({ "offset": offset.0, "time": time.as_unix_millis() });
    if let Some(from) = from {
        object["from"] = from.decode().into();
    }
    match payload {
        Message::Text(text) => object["text"] = (*text).into(),
        Message::Binary(bytes) => object["base64"] = STANDARD.encode(bytes).into(),
    }
    object
}

/// A gap: `{"epoch", "first", "last", "reason"}`, `last` being `null` where nobody knows it.
pub(crate) fn gap(gap: &Gap) -> Value {
    json!({
        "epoch": gap.epoch.as_str(),
        "first": gap.first.0,
        "last": gap.last.map(|last| last.0),
        "reason": gap.reason.as_str(),
    })
}
