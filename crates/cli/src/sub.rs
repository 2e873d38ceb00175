//! `heartwire sub`: prints what is published, over any number of connections.

use std::io::{self, IsTerminal};
use std::pin::pin;
use std::time::{Duration, Instant};

use clap::Args;
use heartwire::{Cursor, Delivery, Gap, Link, Reconnect, SubFrom, TopicMessage, TopicName};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::followed::{self, Brought, Followed};
use crate::output;
use crate::payload;
use crate::place;
use crate::signals::Stop;
use crate::story::Story;
use crate::token::TokenArgs;
use crate::{AGENT, url};

/// Print the messages of topics.
///
/// Comes back by itself after every failure and goes on where it was; what can never come any more
/// is named on standard error. Ctrl-C ends it with exit code 0.
///
/// A message is one line: its text, behind its topic when there are several. With --json a line is
/// {"topic", "cursor", "offset", "time", "from", "text" or "base64"}, or {"topic", "gap"}; the
/// cursor is what a later --from takes to go on from there.
#[derive(Debug, Args)]
pub(crate) struct SubArgs {
    /// The server: http://HOST:PORT, wss://HOST/PATH or HOST:PORT.
    url: String,
    /// What to follow.
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<TopicName>,
    /// Where to begin: tail (what is new), head (the oldest retained) or behind a cursor.
    #[arg(
        long,
        value_name = "tail|head|CURSOR",
        default_value = "tail",
        value_parser = place::parse,
        env = "HEARTWIRE_SUB_FROM"
    )]
    from: SubFrom,
    /// Print JSON, one object a line.
    #[arg(long, env = "HEARTWIRE_SUB_JSON")]
    json: bool,
    #[command(flatten)]
    token: TokenArgs,
}

/// Prints until a signal comes.
pub(crate) async fn run(args: SubArgs) -> Result<(), Failure> {
    let mut stop = Stop::on_signals()?;
    let link = connect(&args)?;
    let mut events = link.events();
    let mut followed = follow(&link, &args)?;
    let mut story = Story::default();
    let form = Form::of(&args);
    let mut output_closed = pin!(output::closed());
    loop {
        tokio::select! {
            () = stop.asked() => break,
            () = &mut output_closed => return Err(Failure::OutputClosed),
            Some(event) = events.next() => {
                if let Some(told) = story.tell(&event, Instant::now()) {
                    output::note(told);
                }
            }
            brought = followed.next() => match brought {
                Brought::Delivery(topic, Delivery::Message(message)) => form.message(&topic, &message)?,
                Brought::Delivery(topic, Delivery::Gap(gap)) => form.gap(&topic, &gap)?,
                Brought::End(topic, end) if followed.is_empty() => {
                    return Err(Failure::failed(topic, followed::told(&end)));
                }
                Brought::End(..) => {}
            }
        }
    }
    // Nothing waits in the outbox of somebody who only listens.
    let _ = link.close_within(Duration::ZERO).await;
    Ok(())
}

fn connect(args: &SubArgs) -> Result<Link, Failure> {
    args.token
        .apply(Link::builder(&url::of_heartwire(&args.url)))?
        .agent(AGENT)
        .topics_max(args.topics.len())
        .reconnect(Reconnect::default().unlimited())
        .connect()
        .map_err(Failure::usage)
}

fn follow(link: &Link, args: &SubArgs) -> Result<Followed, Failure> {
    let from = args.from;
    if matches!(from, SubFrom::After(Cursor::At { .. })) && args.topics.len() > 1 {
        return Err(Failure::usage(
            "a cursor belongs to one topic; name one only",
        ));
    }
    let mut followed = Followed::default();
    for topic in &args.topics {
        let subscription = link
            .subscribe_from(topic.as_str(), from)
            .map_err(|error| Failure::usage(format_args!("{topic}: {error}")))?;
        followed.push(subscription);
    }
    Ok(followed)
}

/// How messages are printed.
enum Form {
    Json,
    Text { with_topic: bool, on_terminal: bool },
}

impl Form {
    fn of(args: &SubArgs) -> Self {
        if args.json {
            Self::Json
        } else {
            Self::Text {
                with_topic: args.topics.len() > 1,
                on_terminal: io::stdout().is_terminal(),
            }
        }
    }

    fn message(&self, topic: &TopicName, message: &TopicMessage) -> Result<(), Failure> {
        match self {
            Self::Json => output::line(message_json(topic, message)),
            Self::Text {
                with_topic,
                on_terminal,
            } => {
                let prefix = if *with_topic {
                    format!("{topic} ")
                } else {
                    String::new()
                };
                if *on_terminal {
                    output::line(prefix + &payload::shown(&message.payload))
                } else {
                    output::bytes_line(&[prefix.as_bytes(), message.payload.as_bytes()])
                }
            }
        }
    }

    /// The story tells gaps on standard error in any case.
    fn gap(&self, topic: &TopicName, gap: &Gap) -> Result<(), Failure> {
        match self {
            Self::Json => output::line(gap_json(topic, gap)),
            Self::Text { .. } => Ok(()),
        }
    }
}

fn message_json(topic: &TopicName, message: &TopicMessage) -> Value {
    let mut object = json!({
        "topic": topic.as_str(),
        "cursor": message.cursor.to_string(),
        "offset": message.cursor.offset().0,
        "time": message.time.as_unix_millis(),
    });
    if let Some(from) = &message.from {
        object["from"] = from.as_str().into();
    }
    let (kind, content) = payload::json(&message.payload);
    object[kind] = content.into();
    object
}

fn gap_json(topic: &TopicName, gap: &Gap) -> Value {
    json!({
        "topic": topic.as_str(),
        "gap": {
            "epoch": gap.epoch.as_str(),
            "first": gap.first.0,
            "last": gap.last.map(|last| last.0),
            "reason": gap.reason.as_str(),
        },
    })
}
