//! Payloads as people and programs read them.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use heartwire::Payload;

use crate::style::printable;

/// For a terminal: the text without what could move the cursor, or how much there is of what is
/// no text.
pub(crate) fn shown(payload: &Payload) -> Cow<'_, str> {
    match payload {
        Payload::Text(text) => printable(text),
        Payload::Binary(bytes) => Cow::Owned(format!("({} bytes, binary)", bytes.len())),
    }
}

/// For JSON: the key, `text` or `base64`, and the value.
pub(crate) fn json(payload: &Payload) -> (&'static str, Cow<'_, str>) {
    match payload {
        Payload::Text(text) => ("text", Cow::Borrowed(text)),
        Payload::Binary(bytes) => ("base64", Cow::Owned(STANDARD.encode(bytes))),
    }
}
