//! Taking a message apart: verb, fields, payload. What the fields mean is up to each frame.

use serde::de::DeserializeOwned;

use super::{FrameError, Message};
use crate::id::{Cursor, Epoch, IdError, Offset, PingId, Seq, TopicRef, parse_number};
use crate::limits::{HEADER_BYTES_MAX, JSON_BYTES_MAX};

/// The verbs whose payload is JSON, and whose header therefore may be longer than others.
const JSON_VERBS: [&str; 3] = ["hello", "welcome", "token"];

const ASCII: FrameError = FrameError::new("FRAME-1", "a header line is ASCII");
const SPACES: FrameError = FrameError::new("FRAME-1", "one space stands between two fields");
const PRINTABLE: FrameError = FrameError::new("FRAME-1", "a reason is of printable characters");
const HEADER: FrameError = FrameError::new(
    "FRAME-2",
    "a header line is at most 512 bytes, then comes LF",
);
const MISSING: FrameError = FrameError::new("FRAME-4", "a field is missing");
const EXTRA: FrameError = FrameError::new("FRAME-4", "there is a field too many");
const NUMBER: FrameError = FrameError::new(
    "FRAME-6",
    "a number is decimal, without leading zeros, below 2^53",
);
const FROM_ONE: FrameError = FrameError::new("FRAME-6", "SEQ, OFFSET and counts begin at 1");
const JSON_SIZE: FrameError = FrameError::new("FRAME-9", "JSON has at most 16 KiB");
const JSON: FrameError = FrameError::new("FRAME-9", "the JSON is not what the verb asks for");
const PAYLOAD: FrameError = FrameError::new("FRAME-10", "this verb has no payload");

/// A message, taken apart.
pub(super) struct Parts<'a> {
    pub(super) verb: &'a str,
    fields: Fields<'a>,
    payload: Option<Message<'a>>,
    /// For the JSON verbs: everything behind the verb and one SP or LF.
    json: &'a [u8],
    /// An empty payload of the message's kind.
    empty: Message<'a>,
}

/// Splits a message into its verb, its fields and its payload.
pub(super) fn split(message: Message<'_>) -> Result<Parts<'_>, FrameError> {
    let bytes = message.as_bytes();
    let searched = &bytes[..bytes.len().min(HEADER_BYTES_MAX + 1)];
    let line_end = searched.iter().position(|b| *b == b'\n');
    let line = &searched[..line_end.unwrap_or(searched.len())];
    let verb_end = line.iter().position(|b| *b == b' ').unwrap_or(line.len());
    let verb = ascii(&line[..verb_end])?;
    if JSON_VERBS.contains(&verb) {
        return Ok(Parts {
            verb,
            fields: Fields { rest: None },
            payload: None,
            json: bytes.get(verb_end + 1..).unwrap_or_default(),
            empty: message.emptied(),
        });
    }
    if line.len() > HEADER_BYTES_MAX {
        return Err(HEADER);
    }
    let header = ascii(line)?;
    Ok(Parts {
        verb,
        fields: Fields {
            rest: header.get(verb_end + 1..),
        },
        payload: line_end.map(|at| message.suffix(at + 1)),
        json: &[],
        empty: message.emptied(),
    })
}

fn ascii(bytes: &[u8]) -> Result<&str, FrameError> {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.is_ascii() => Ok(text),
        _ => Err(ASCII),
    }
}

impl<'a> Parts<'a> {
    /// The fields of a verb without payload. Nothing may stand behind a LF.
    pub(super) fn without_payload(self) -> Result<Fields<'a>, FrameError> {
        match self.payload {
            Some(payload) if !payload.is_empty() => Err(PAYLOAD),
            _ => Ok(self.fields),
        }
    }

    /// The fields and the payload of a verb with one; without LF it is empty.
    pub(super) fn with_payload(self) -> (Fields<'a>, Message<'a>) {
        (self.fields, self.payload.unwrap_or(self.empty))
    }

    /// The JSON of a verb that carries an object.
    pub(super) fn json<T: DeserializeOwned>(self) -> Result<T, FrameError> {
        if self.json.len() > JSON_BYTES_MAX {
            return Err(JSON_SIZE);
        }
        serde_json::from_slice(self.json).map_err(|_| JSON)
    }
}

/// The fields of a header line, taken one after the other.
pub(super) struct Fields<'a> {
    /// What is left; `None` when the last field has been taken.
    rest: Option<&'a str>,
}

impl<'a> Fields<'a> {
    /// The next field, if there is one.
    pub(super) fn optional(&mut self) -> Result<Option<&'a str>, FrameError> {
        let Some(rest) = self.rest else {
            return Ok(None);
        };
        let (field, rest) = match rest.split_once(' ') {
            Some((field, rest)) => (field, Some(rest)),
            None => (rest, None),
        };
        self.rest = rest;
        if field.is_empty() {
            Err(SPACES)
        } else {
            Ok(Some(field))
        }
    }

    /// The next field.
    pub(super) fn required(&mut self) -> Result<&'a str, FrameError> {
        self.optional()?.ok_or(MISSING)
    }

    /// Everything that is left, spaces included: printable text for people, or nothing.
    pub(super) fn remainder(self) -> Result<&'a str, FrameError> {
        match self.rest {
            None => Ok(""),
            Some("") => Err(SPACES),
            Some(text) if text.bytes().any(|byte| byte.is_ascii_control()) => Err(PRINTABLE),
            Some(text) => Ok(text),
        }
    }

    /// Checks that no field is left.
    pub(super) fn finish(mut self) -> Result<(), FrameError> {
        match self.optional()? {
            Some(_) => Err(EXTRA),
            None => Ok(()),
        }
    }

    pub(super) fn topic(&mut self) -> Result<TopicRef<'a>, FrameError> {
        TopicRef::parse(self.required()?).map_err(FrameError::from)
    }

    pub(super) fn number(&mut self) -> Result<u64, FrameError> {
        Ok(parse_number(self.required()?)?)
    }

    pub(super) fn seq(&mut self) -> Result<Seq, FrameError> {
        count(self.required()?).map(Seq)
    }

    pub(super) fn cursor(&mut self) -> Result<Cursor, FrameError> {
        Ok(self.required()?.parse()?)
    }

    pub(super) fn epoch(&mut self) -> Result<Epoch, FrameError> {
        Ok(self.required()?.parse()?)
    }

    pub(super) fn ping_id(&mut self) -> Result<Option<PingId>, FrameError> {
        Ok(match self.optional()? {
            Some(id) => Some(id.parse()?),
            None => None,
        })
    }
}

/// A number that begins at 1.
pub(super) fn count(text: &str) -> Result<u64, FrameError> {
    match parse_number(text)? {
        0 => Err(FROM_ONE),
        number => Ok(number),
    }
}

/// An offset of a message, so not 0.
pub(super) fn offset(text: &str) -> Result<Offset, FrameError> {
    count(text).map(Offset)
}

impl From<IdError> for FrameError {
    fn from(error: IdError) -> Self {
        match error {
            IdError::Topic => Self::new(
                "FRAME-5",
                "a topic is 1-200 bytes of A-Z a-z 0-9 _ - . : @ ~, the first a letter, digit or _",
            ),
            IdError::Number => NUMBER,
            IdError::Short => Self::new("FRAME-7", "an epoch or id is 1-16 of 0-9 a-z"),
            IdError::Cursor => Self::new("FRAME-8", "a cursor is EPOCH.OFFSET or 0"),
            IdError::Client => Self::new("FRAME-9", "a client id is 16-64 of A-Z a-z 0-9 _ -"),
        }
    }
}
