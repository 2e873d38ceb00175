//! What a server sends.

use std::time::Duration;

use super::parse::{Fields, offset, split};
use super::write::{write_header, write_json, write_number, write_ping};
use super::{
    FrameError, GapReason, Kind, Message, NackCode, Payload, Publisher, RefusedCode, Welcome,
};
use crate::close::CloseCode;
use crate::id::{Cursor, Epoch, Offset, PingId, Seq, TopicRef, parse_number};
use crate::limits::HEADER_BYTES_MAX;
use crate::time::WallTime;

const PREV: FrameError = FrameError::new("FRAME-6", "PREV is below OFFSET");
const LAST: FrameError = FrameError::new("FRAME-6", "LAST is not below FIRST");
const CODE: FrameError = FrameError::new("FRAME-6", "a close code is 1000-4999");
const TAILS: FrameError = FrameError::new("FRAME-8", "a ping's payload is TOPIC CURSOR per line");
const GAP: FrameError = FrameError::new(
    "FRAME-4",
    "after CURSOR comes nothing, or gap and its fields",
);

/// A frame from server to client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ServerFrame<'a> {
    /// The connection is open.
    Welcome(Box<Welcome>),
    /// The answer to `sub`.
    Subbed {
        /// The topic.
        topic: TopicRef<'a>,
        /// The next `msg` is the one after it.
        cursor: Cursor,
        /// What will never come.
        gap: Option<Gap>,
    },
    /// One message.
    Msg {
        /// The topic.
        topic: TopicRef<'a>,
        /// Its place in the topic, from 1.
        offset: Offset,
        /// The offset of the topic's message before it: `offset` − 1 unless the frame says
        /// otherwise `[MSG-2]`.
        prev: Offset,
        /// When it was stored.
        time: WallTime,
        /// Who published it, if the server says so.
        from: Option<Publisher<'a>>,
        /// Its content.
        payload: Message<'a>,
    },
    /// While following: these will never come.
    Gap {
        /// The topic.
        topic: TopicRef<'a>,
        /// What is missing.
        gap: Gap,
    },
    /// A topic that was followed from cursor `0` has been born.
    Epoch {
        /// The topic.
        topic: TopicRef<'a>,
        /// The cursor moves from `0` to `EPOCH.0`.
        epoch: Epoch,
    },
    /// The answer to `unsub`.
    Unsubbed {
        /// The topic.
        topic: TopicRef<'a>,
    },
    /// The other answer to `sub`.
    Refused {
        /// The topic.
        topic: TopicRef<'a>,
        /// Why.
        code: RefusedCode,
    },
    /// The server stops it, unasked.
    Ended {
        /// The topic.
        topic: TopicRef<'a>,
        /// Why.
        code: RefusedCode,
    },
    /// Everything of this client up to SEQ is durable, or was given up.
    Ack {
        /// The last one.
        seq: Seq,
    },
    /// One publish was not stored.
    Nack {
        /// Which.
        seq: Seq,
        /// Why.
        code: NackCode,
        /// How long to wait before it is sent again.
        retry: Option<Duration>,
    },
    /// The heartbeat interval in force from now on.
    Heartbeat {
        /// In milliseconds.
        interval_ms: u64,
    },
    /// A question.
    Ping {
        /// To be returned in the answer.
        id: Option<PingId>,
        /// The positions of topics that changed since the last.
        tails: Tails<'a>,
    },
    /// An answer.
    Pong {
        /// That of the question.
        id: Option<PingId>,
    },
    /// The close that follows.
    Bye {
        /// Its code.
        code: CloseCode,
        /// How long to stay away; `None` is written as 0.
        retry: Option<Duration>,
        /// For people; non-ASCII is written as `?`.
        reason: &'a str,
    },
    /// A verb that this version does not know; to be ignored.
    Unknown {
        /// The verb.
        verb: &'a str,
    },
}

/// Messages that will never come.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Gap {
    /// The epoch they were in.
    pub epoch: Epoch,
    /// The first of them.
    pub first: Offset,
    /// The last of them; `None` (written `?`) when nobody knows any more.
    pub last: Option<Offset>,
    /// Why.
    pub reason: GapReason,
}

/// The positions that a server's ping carries: one `TOPIC CURSOR` a line.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Tails<'a>(&'a str);

impl<'a> Tails<'a> {
    /// Checks every line.
    pub fn parse(lines: &'a str) -> Result<Self, FrameError> {
        for line in lines.lines() {
            parse_tail(line)?;
        }
        Ok(Self(lines))
    }

    /// Appends a line to the text that [`Tails::parse`] reads.
    pub fn push(lines: &mut String, topic: TopicRef<'_>, cursor: Cursor) {
        if !lines.is_empty() {
            lines.push('\n');
        }
        lines.push_str(topic.as_str());
        lines.push(' ');
        lines.push_str(&cursor.to_string());
    }

    /// The topics and their positions.
    pub fn iter(self) -> impl Iterator<Item = (TopicRef<'a>, Cursor)> {
        self.0
            .lines()
            .map(|line| parse_tail(line).expect("every line was checked when it was read"))
    }
}

fn parse_tail(line: &str) -> Result<(TopicRef<'_>, Cursor), FrameError> {
    let (topic, cursor) = line.split_once(' ').ok_or(TAILS)?;
    Ok((TopicRef::parse(topic)?, cursor.parse()?))
}

impl<'a> ServerFrame<'a> {
    /// Reads a frame. It borrows from the message; only `welcome` is copied.
    pub fn parse(message: Message<'a>) -> Result<Self, FrameError> {
        let parts = split(message)?;
        match parts.verb {
            "welcome" => Ok(Self::Welcome(Box::new(parts.json()?))),
            "msg" => {
                let (fields, payload) = parts.with_payload();
                Self::parse_msg(fields, payload)
            }
            "ping" => {
                let (mut fields, lines) = parts.with_payload();
                let id = fields.ping_id()?;
                fields.finish()?;
                let lines = std::str::from_utf8(lines.as_bytes()).map_err(|_| TAILS)?;
                let tails = Tails::parse(lines)?;
                Ok(Self::Ping { id, tails })
            }
            "bye" => Self::parse_bye(parts.without_payload()?),
            "subbed" | "gap" | "epoch" | "unsubbed" | "refused" | "ended" => {
                let verb = parts.verb;
                let mut fields = parts.without_payload()?;
                let topic = fields.topic()?;
                let frame = Self::parse_topical(verb, topic, &mut fields)?;
                fields.finish()?;
                Ok(frame)
            }
            "ack" | "nack" | "heartbeat" | "pong" => {
                let verb = parts.verb;
                let mut fields = parts.without_payload()?;
                let frame = Self::parse_short(verb, &mut fields)?;
                fields.finish()?;
                Ok(frame)
            }
            verb => Ok(Self::Unknown { verb }),
        }
    }

    fn parse_msg(mut fields: Fields<'a>, payload: Message<'a>) -> Result<Self, FrameError> {
        let topic = fields.topic()?;
        let place = fields.required()?;
        let (offset, prev) = match place.split_once('<') {
            Some((at, prev)) => (offset(at)?, prev.parse()?),
            None => {
                let at = offset(place)?;
                (at, Offset(at.0 - 1))
            }
        };
        if prev >= offset {
            return Err(PREV);
        }
        let time = WallTime::from_unix_millis(fields.number()?);
        let from = fields.optional()?.map(Publisher::parse).transpose()?;
        fields.finish()?;
        Ok(Self::Msg {
            topic,
            offset,
            prev,
            time,
            from,
            payload,
        })
    }

    fn parse_bye(mut fields: Fields<'a>) -> Result<Self, FrameError> {
        let code = u16::try_from(fields.number()?)
            .ok()
            .filter(|code| (1_000..5_000).contains(code))
            .ok_or(CODE)?;
        let retry = match fields.number()? {
            0 => None,
            retry_ms => Some(Duration::from_millis(retry_ms)),
        };
        Ok(Self::Bye {
            code: CloseCode(code),
            retry,
            reason: fields.remainder()?,
        })
    }

    /// Reads what follows the topic of a verb that has one, and no payload.
    fn parse_topical(
        verb: &str,
        topic: TopicRef<'a>,
        fields: &mut Fields<'a>,
    ) -> Result<Self, FrameError> {
        Ok(match verb {
            "subbed" => {
                let cursor = fields.cursor()?;
                let gap = match fields.optional()? {
                    None => None,
                    Some("gap") => Some(Gap::parse(fields)?),
                    Some(_) => return Err(GAP),
                };
                Self::Subbed { topic, cursor, gap }
            }
            "gap" => Self::Gap {
                topic,
                gap: Gap::parse(fields)?,
            },
            "epoch" => Self::Epoch {
                topic,
                epoch: fields.epoch()?,
            },
            "refused" => Self::Refused {
                topic,
                code: fields.required()?.parse()?,
            },
            "ended" => Self::Ended {
                topic,
                code: fields.required()?.parse()?,
            },
            _ => Self::Unsubbed { topic },
        })
    }

    fn parse_short(verb: &str, fields: &mut Fields<'a>) -> Result<Self, FrameError> {
        Ok(match verb {
            "ack" => Self::Ack { seq: fields.seq()? },
            "nack" => Self::Nack {
                seq: fields.seq()?,
                code: fields.required()?.parse()?,
                retry: match fields.optional()? {
                    Some(retry_ms) => Some(Duration::from_millis(parse_number(retry_ms)?)),
                    None => None,
                },
            },
            "heartbeat" => Self::Heartbeat {
                interval_ms: fields.number()?,
            },
            _ => Self::Pong {
                id: fields.ping_id()?,
            },
        })
    }

    /// Appends the frame to `out`; returns the kind of message that it must travel in `[FRAME-13]`.
    pub fn encode(&self, out: &mut Vec<u8>) -> Kind {
        match self {
            Self::Welcome(welcome) => write_json(out, "welcome", welcome),
            Self::Msg { payload, .. } => {
                self.encode_msg_header(out);
                out.push(b'\n');
                out.extend_from_slice(payload.as_bytes());
                return payload.kind();
            }
            Self::Subbed { topic, cursor, gap } => {
                write_header(out, format_args!("subbed {topic} {cursor}"));
                if let Some(gap) = gap {
                    write_header(out, format_args!(" gap {gap}"));
                }
            }
            Self::Gap { topic, gap } => write_header(out, format_args!("gap {topic} {gap}")),
            Self::Epoch { topic, epoch } => {
                write_header(out, format_args!("epoch {topic} {epoch}"));
            }
            Self::Unsubbed { topic } => write_header(out, format_args!("unsubbed {topic}")),
            Self::Refused { topic, code } => {
                write_header(out, format_args!("refused {topic} {code}"));
            }
            Self::Ended { topic, code } => write_header(out, format_args!("ended {topic} {code}")),
            Self::Ack { seq } => write_header(out, format_args!("ack {seq}")),
            Self::Nack { seq, code, retry } => {
                write_header(out, format_args!("nack {seq} {code}"));
                if let Some(retry) = retry {
                    write_header(out, format_args!(" {}", retry.as_millis()));
                }
            }
            Self::Heartbeat { interval_ms } => {
                write_header(out, format_args!("heartbeat {interval_ms}"));
            }
            Self::Ping { id, tails } => {
                write_ping(out, "ping", *id);
                if !tails.0.is_empty() {
                    write_header(out, format_args!("\n{}", tails.0));
                }
            }
            Self::Pong { id } => write_ping(out, "pong", *id),
            Self::Bye {
                code,
                retry,
                reason,
            } => write_bye(out, *code, *retry, reason),
            Self::Unknown { verb } => out.extend_from_slice(verb.as_bytes()),
        }
        Kind::Text
    }

    /// Appends the header line of a `msg`, without LF; nothing for other frames. The log stores it
    /// before the payload, so that a message is the same bytes for every follower `[MSG-1]`.
    pub fn encode_msg_header(&self, out: &mut Vec<u8>) {
        let Self::Msg {
            topic,
            offset,
            prev,
            time,
            from,
            ..
        } = self
        else {
            return;
        };
        out.extend_from_slice(b"msg ");
        out.extend_from_slice(topic.as_str().as_bytes());
        out.push(b' ');
        write_number(out, offset.0);
        if prev.next() != *offset {
            out.push(b'<');
            write_number(out, prev.0);
        }
        out.push(b' ');
        write_number(out, time.as_unix_millis());
        if let Some(from) = from {
            out.push(b' ');
            out.extend_from_slice(from.as_encoded().as_bytes());
        }
    }

    /// The frame as a message of its own.
    pub fn to_payload(&self) -> Payload {
        let mut bytes = Vec::new();
        let kind = self.encode(&mut bytes);
        Payload::from_encoded(bytes, kind)
    }
}

impl Gap {
    fn parse(fields: &mut Fields<'_>) -> Result<Self, FrameError> {
        let epoch = fields.epoch()?;
        let first = offset(fields.required()?)?;
        let last = match fields.required()? {
            "?" => None,
            last => Some(offset(last)?),
        };
        if last.is_some_and(|last| last < first) {
            return Err(LAST);
        }
        let reason = fields.required()?.parse()?;
        Ok(Self {
            epoch,
            first,
            last,
            reason,
        })
    }
}

impl std::fmt::Display for Gap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} ", self.epoch, self.first)?;
        match self.last {
            Some(last) => write!(f, "{last} {}", self.reason),
            None => write!(f, "? {}", self.reason),
        }
    }
}

/// The reason goes to people and must not break the header line, whatever it holds and however long it
/// is.
fn write_bye(out: &mut Vec<u8>, code: CloseCode, retry: Option<Duration>, reason: &str) {
    let begins_at = out.len();
    let retry_ms = retry.map_or(0, |retry| retry.as_millis());
    write_header(out, format_args!("bye {} {retry_ms}", code.0));
    if !reason.is_empty() {
        out.push(b' ');
        let printable = |c: char| {
            if (' '..='~').contains(&c) {
                c as u8
            } else {
                b'?'
            }
        };
        let room = HEADER_BYTES_MAX.saturating_sub(out.len() - begins_at);
        out.extend(reason.chars().take(room).map(printable));
    }
}
