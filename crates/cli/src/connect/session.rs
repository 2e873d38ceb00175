//! What `connect` talks to: topics, or a plain WebSocket.

use std::time::Duration;

use heartwire::{
    Builder, ConfigError, Event, Events, Link, Message, Messages, Plain, PlainDelivery, PlainGap,
    Rtt, Status,
};

use super::ConnectArgs;
use super::topics::Topics;
use super::typed::{HELP_PLAIN, Typed};
use crate::failure::Failure;
use crate::payload;
use crate::style::Style;
use crate::{AGENT, url};

pub(super) enum Session {
    V1(Topics),
    Plain {
        link: Link<Plain>,
        messages: Messages,
    },
}

/// Something to be seen.
pub(super) enum Shown {
    /// A message.
    Message(String),
    /// Something that went wrong, or an answer.
    Note(String),
    /// Something that went well, for whoever is watching.
    Aside(String),
    Nothing,
}

impl Session {
    /// Begins to dial.
    pub(super) fn open(args: &ConnectArgs) -> Result<Self, Failure> {
        if args.plain {
            let link = plain_builder(args)?.connect().map_err(not_made)?;
            let messages = link.messages();
            return Ok(Self::Plain { link, messages });
        }
        let builder = args.token.apply(Link::builder(&url_of(args)))?;
        let builder = builder.agent(AGENT);
        Ok(Self::V1(Topics::new(builder.connect().map_err(not_made)?)))
    }

    pub(super) fn events(&self) -> Events {
        match self {
            Self::V1(topics) => topics.link.events(),
            Self::Plain { link, .. } => link.events(),
        }
    }

    pub(super) fn status(&self) -> Status {
        match self {
            Self::V1(topics) => topics.link.status().borrow().clone(),
            Self::Plain { link, .. } => link.status().borrow().clone(),
        }
    }

    pub(super) fn rtt(&self) -> Option<Rtt> {
        match self {
            Self::V1(topics) => topics.link.rtt(),
            Self::Plain { link, .. } => link.rtt(),
        }
    }

    pub(super) fn probe(&self) {
        match self {
            Self::V1(topics) => topics.link.probe(),
            Self::Plain { link, .. } => link.probe(),
        }
    }

    fn reconnect(&self) {
        match self {
            Self::V1(topics) => topics.link.reconnect(),
            Self::Plain { link, .. } => link.reconnect(),
        }
    }

    /// Says goodbye, after everything that was typed has gone out.
    pub(super) async fn close(&self) -> Result<(), Failure> {
        match self {
            Self::V1(topics) => topics
                .link
                .close()
                .await
                .map_err(|error| Failure::Failed(error.to_string())),
            // Plain mode has no acknowledgements to wait for.
            Self::Plain { link, .. } => {
                let _ = link.close_within(Duration::ZERO).await;
                Ok(())
            }
        }
    }

    /// Whether a line of a pipe would find its way: plain mode keeps nothing for later.
    pub(super) fn takes_lines(&self) -> bool {
        match self {
            Self::V1(topics) => topics.has_room(),
            Self::Plain { .. } => matches!(self.status(), Status::Open { .. }),
        }
    }

    /// Takes note of what happens to the link, and says what is worth a sentence.
    pub(super) fn learn(&mut self, event: &Event) -> Option<String> {
        match self {
            Self::V1(topics) => topics.learn(event),
            Self::Plain { .. } => None,
        }
    }

    /// Waits for something to be seen. Cancelling it loses nothing.
    pub(super) async fn next(&mut self, style: Style) -> Shown {
        match self {
            Self::V1(topics) => topics.next(style).await,
            Self::Plain { messages, .. } => match messages.next().await {
                Some(PlainDelivery::Message(payload)) => {
                    Shown::Message(payload::shown(&payload).into_owned())
                }
                Some(PlainDelivery::Gap(PlainGap::Reconnected)) => {
                    Shown::Note("what the server sent in between is gone".to_owned())
                }
                Some(PlainDelivery::Gap(PlainGap::Overflow { messages })) => Shown::Note(format!(
                    "{messages} messages came faster than they were shown"
                )),
                None => std::future::pending().await,
            },
        }
    }

    /// Does what was typed; the answer is a sentence, or none.
    pub(super) fn carry_out(&mut self, typed: Typed) -> Option<String> {
        match typed {
            Typed::Ping => {
                self.probe();
                return None;
            }
            Typed::Reconnect => {
                self.reconnect();
                return None;
            }
            _ => {}
        }
        match self {
            Self::V1(topics) => topics.carry_out(typed),
            Self::Plain { link, .. } => match typed {
                Typed::Text(text) => match link.send(text) {
                    Ok(()) => None,
                    Err(error) => Some(format!("not sent: {error}")),
                },
                Typed::Help => Some(HELP_PLAIN.to_owned()),
                _ => Some("a plain link has no topics; /help lists what there is".to_owned()),
            },
        }
    }
}

/// What is dialled.
pub(super) fn url_of(args: &ConnectArgs) -> String {
    if args.plain {
        url::of_any_server(&args.url)
    } else {
        url::of_heartwire(&args.url)
    }
}

fn plain_builder(args: &ConnectArgs) -> Result<Builder<Plain>, Failure> {
    let mut builder = args.token.apply(Link::plain(&url_of(args)))?;
    if let Some(ping) = &args.ping {
        builder = builder.ping(ping.as_str());
    }
    if let Some(pong) = args.pong.clone() {
        builder = builder.pong(move |message| message == Message::Text(&pong));
    }
    Ok(builder)
}

fn not_made(error: ConfigError) -> Failure {
    Failure::usage(error)
}
