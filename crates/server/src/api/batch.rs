//! The lines of `POST /v1/publish`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use heartwire_proto::TopicName;
use heartwire_proto::frame::Payload;
use serde::Deserialize;

use super::error::HttpError;
use super::parameters::parse_topic;

/// One line: `{"topic", "text" | "base64", "key"?}`.
#[derive(Deserialize)]
struct Line {
    topic: String,
    text: Option<String>,
    base64: Option<String>,
    key: Option<String>,
}

/// A message to be published.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Item {
    pub(super) topic: TopicName,
    pub(super) payload: Payload,
    /// As `Idempotency-Key` is for a message of its own.
    pub(super) key: Option<String>,
}

/// Reads one line.
pub(super) fn parse(line: &[u8]) -> Result<Item, HttpError> {
    let line: Line = serde_json::from_slice(line).map_err(|error| {
        HttpError::bad_request(
            "bad-line",
            format!("a line is {{\"topic\", \"text\" or \"base64\"}} as JSON: {error}"),
        )
    })?;
    let payload = match (line.text, line.base64) {
        (Some(text), None) => Payload::Text(text),
        (None, Some(base64)) => {
            let bytes = STANDARD.decode(base64).map_err(|error| {
                HttpError::bad_request("bad-base64", format!("base64 does not decode: {error}"))
            })?;
            Payload::Binary(bytes)
        }
        _ => {
            return Err(HttpError::bad_request(
                "bad-line",
                "a line has either \"text\" or \"base64\"",
            ));
        }
    };
    Ok(Item {
        topic: parse_topic(&line.topic)?,
        payload,
        key: line.key,
    })
}

/// The lines of a body that are not blank.
pub(super) fn lines(body: &[u8]) -> impl Iterator<Item = &[u8]> {
    body.split(|byte| *byte == b'\n')
        .filter(|line| !line.trim_ascii().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(line: &str) -> Result<Payload, &'static str> {
        parse(line.as_bytes())
            .map(|item| item.payload)
            .map_err(|error| error.code)
    }

    #[test]
    fn a_line_is_a_message() {
        assert_eq!(code(r#"{"topic":"a","text":"é"}"#), Ok("é".into()));
        assert_eq!(
            code(r#"{"topic":"a","base64":"//8=","x":1}"#),
            Ok(Payload::Binary(vec![255, 255]))
        );
        let keyed = parse(br#"{"topic":"a","text":"","key":"k"}"#).map(|item| item.key);
        assert_eq!(keyed, Ok(Some("k".into())));
    }

    #[test]
    fn a_wrong_line_says_what_is_wrong() {
        for (line, expected) in [
            ("nonsense", "bad-line"),
            ("{}", "bad-line"),
            (r#"{"topic":"a"}"#, "bad-line"),
            (r#"{"topic":"a","text":"x","base64":""}"#, "bad-line"),
            (r#"{"topic":"a","base64":"!"}"#, "bad-base64"),
            (r#"{"topic":"a b","text":"x"}"#, "bad-topic"),
            (r#"{"topic":"a","text":"\ud800"}"#, "bad-line"),
        ] {
            assert_eq!(code(line), Err(expected), "{line}");
        }
    }

    #[test]
    fn blank_lines_are_no_messages() {
        let found: Vec<&[u8]> = lines(b"a\r\n\n  \nb\n").collect();
        assert_eq!(found, [&b"a\r"[..], b"b"]);
    }
}
