//! What a client sends.

use serde::{Deserialize, Serialize};

use super::parse::{Fields, count, split};
use super::write::{write_header, write_json, write_ping};
use super::{FrameError, Kind, Message, Payload};
use crate::id::{Attempt, ClientId, Cursor, PingId, Seq, Token, TopicRef};

const VERB: FrameError = FrameError::new(
    "FRAME-3",
    "a client's verbs are hello sub unsub pub skip token heartbeat ping pong",
);

/// A frame from client to server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ClientFrame<'a> {
    /// Who speaks; the first frame of a connection.
    Hello(Box<Hello>),
    /// Follow a topic; for one already followed, move its cursor.
    Sub {
        /// The topic.
        topic: TopicRef<'a>,
        /// Where to begin.
        from: SubFrom,
    },
    /// Follow no longer.
    Unsub {
        /// The topic.
        topic: TopicRef<'a>,
    },
    /// Publish.
    Pub {
        /// The topic. Names that begin with `$` parse, and are refused by `nack`.
        topic: TopicRef<'a>,
        /// The client's number for it, from 1.
        seq: Seq,
        /// The message's content.
        payload: Message<'a>,
    },
    /// Give up the publish that was refused.
    Skip {
        /// The one that the `nack` named.
        seq: Seq,
    },
    /// A fresh token for a living connection.
    Token(FreshToken),
    /// Ask for another heartbeat interval.
    Heartbeat {
        /// In milliseconds.
        interval_ms: u64,
    },
    /// A question.
    Ping {
        /// To be returned in the answer.
        id: Option<PingId>,
    },
    /// An answer.
    Pong {
        /// That of the question.
        id: Option<PingId>,
    },
}

/// The JSON of `hello`. Fields it does not name are ignored.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Hello {
    /// Drawn once per link; a secret.
    pub client: ClientId,
    /// Rises with every dial of this client.
    pub attempt: Attempt,
    /// Program and version, for people; such as `heartwire-js/0.1.0`.
    #[serde(default)]
    pub agent: String,
    /// What grants the client its topics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Token>,
    /// The heartbeat interval that the client would like, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heartbeat_interval_ms: Option<u64>,
    /// What the client can do beyond the protocol's first version.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<String>,
}

/// The JSON of `token`. Fields it does not name are ignored.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct FreshToken {
    /// The token.
    pub token: Token,
}

/// Where a follower begins.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum SubFrom {
    /// After everything that is there: only what is new.
    #[default]
    Tail,
    /// At the oldest message retained.
    Head,
    /// That many messages before the end, at least 1.
    Last(u64),
    /// After a cursor.
    After(Cursor),
}

impl<'a> ClientFrame<'a> {
    /// Reads a frame. It borrows from the message; only `hello` and `token` are copied.
    pub fn parse(message: Message<'a>) -> Result<Self, FrameError> {
        let parts = split(message)?;
        match parts.verb {
            "hello" => Ok(Self::Hello(Box::new(parts.json()?))),
            "token" => Ok(Self::Token(parts.json()?)),
            "pub" => {
                let (mut fields, payload) = parts.with_payload();
                let (topic, seq) = (fields.topic()?, fields.seq()?);
                fields.finish()?;
                Ok(Self::Pub {
                    topic,
                    seq,
                    payload,
                })
            }
            "sub" | "unsub" | "skip" | "heartbeat" | "ping" | "pong" => {
                let verb = parts.verb;
                let mut fields = parts.without_payload()?;
                let frame = Self::parse_short(verb, &mut fields)?;
                fields.finish()?;
                Ok(frame)
            }
            _ => Err(VERB),
        }
    }

    /// Reads the fields of a verb without payload.
    fn parse_short(verb: &str, fields: &mut Fields<'a>) -> Result<Self, FrameError> {
        Ok(match verb {
            "sub" => Self::Sub {
                topic: fields.topic()?,
                from: SubFrom::parse(fields)?,
            },
            "unsub" => Self::Unsub {
                topic: fields.topic()?,
            },
            "skip" => Self::Skip { seq: fields.seq()? },
            "heartbeat" => Self::Heartbeat {
                interval_ms: fields.number()?,
            },
            "ping" => Self::Ping {
                id: fields.ping_id()?,
            },
            _ => Self::Pong {
                id: fields.ping_id()?,
            },
        })
    }

    /// Appends the frame to `out`; returns the kind of message that it must travel in.
    pub fn encode(&self, out: &mut Vec<u8>) -> Kind {
        match self {
            Self::Hello(hello) => write_json(out, "hello", hello),
            Self::Token(token) => write_json(out, "token", token),
            Self::Pub {
                topic,
                seq,
                payload,
            } => {
                write_header(out, format_args!("pub {topic} {seq}\n"));
                out.extend_from_slice(payload.as_bytes());
                return payload.kind();
            }
            Self::Sub { topic, from } => match from {
                SubFrom::Tail => write_header(out, format_args!("sub {topic}")),
                SubFrom::Head => write_header(out, format_args!("sub {topic} head")),
                SubFrom::Last(n) => write_header(out, format_args!("sub {topic} last {n}")),
                SubFrom::After(cursor) => write_header(out, format_args!("sub {topic} {cursor}")),
            },
            Self::Unsub { topic } => write_header(out, format_args!("unsub {topic}")),
            Self::Skip { seq } => write_header(out, format_args!("skip {seq}")),
            Self::Heartbeat { interval_ms } => {
                write_header(out, format_args!("heartbeat {interval_ms}"));
            }
            Self::Ping { id } => write_ping(out, "ping", *id),
            Self::Pong { id } => write_ping(out, "pong", *id),
        }
        Kind::Text
    }

    /// The frame as a message of its own.
    pub fn to_payload(&self) -> Payload {
        let mut bytes = Vec::new();
        let kind = self.encode(&mut bytes);
        Payload::from_encoded(bytes, kind)
    }
}

impl SubFrom {
    fn parse(fields: &mut Fields<'_>) -> Result<Self, FrameError> {
        Ok(match fields.optional()? {
            None | Some("tail") => Self::Tail,
            Some("head") => Self::Head,
            Some("last") => Self::Last(count(fields.required()?)?),
            Some(cursor) => Self::After(cursor.parse()?),
        })
    }
}
