//! `heartwire pub`: publishes, and exits with 0 only when everything is acknowledged.

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use clap::Args;
use heartwire::{Link, OutboxLimits, Publish, PublishError, Status, Stored, TopicName};
use tokio::io::{BufReader, Stdin};
use tokio::time::sleep_until;

use crate::failure::Failure;
use crate::lines::Lines;
use crate::output;
use crate::signals::Stop;
use crate::span::Span;
use crate::story::Story;
use crate::token::TokenArgs;
use crate::{AGENT, url};

/// How many messages are on their way at the same time: what a server takes unacknowledged by
/// default.
const UNCONFIRMED_MAX: usize = 1_024;

/// How many bytes of them, but for the last: what a server takes by default.
const UNCONFIRMED_BYTES_MAX: usize = 4 << 20;

/// The longest line of standard input, in bytes: no server takes a larger message.
const LINE_BYTES_MAX: usize = 64 << 20;

/// Publish messages.
///
/// Exits with 0 when the server has acknowledged every one, whatever happened to connections
/// meanwhile; each is stored once. Exits with 1 when one is refused, or nothing is acknowledged for
/// as long as --timeout says.
#[derive(Debug, Args)]
pub(crate) struct PubArgs {
    /// The server: http://HOST:PORT, wss://HOST/PATH or HOST:PORT.
    url: String,
    /// Where to publish.
    topic: TopicName,
    /// The message; without it, or with -, each line of standard input is one.
    message: Option<String>,
    /// How long to go on without any acknowledgement.
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "30s",
        env = "HEARTWIRE_PUB_TIMEOUT"
    )]
    timeout: Span,
    #[command(flatten)]
    token: TokenArgs,
}

/// Publishes everything.
pub(crate) async fn run(args: PubArgs) -> Result<(), Failure> {
    let mut stop = Stop::on_signals()?;
    let link = args
        .token
        .apply(Link::builder(&url::of_heartwire(&args.url)))?
        .agent(AGENT)
        .outbox(OutboxLimits {
            messages_max: UNCONFIRMED_MAX,
            bytes_max: UNCONFIRMED_BYTES_MAX + LINE_BYTES_MAX,
        })
        .connect()
        .map_err(Failure::usage)?;
    let outcome = Publisher::new(&link, args).run(&mut stop).await;
    // What is not acknowledged by now has been given up.
    let _ = link.close_within(Duration::ZERO).await;
    outcome
}

/// The messages of one run: those to come, and those on their way.
struct Publisher<'a> {
    link: &'a Link,
    topic: TopicName,
    source: Source,
    unconfirmed: VecDeque<Unconfirmed>,
    unconfirmed_bytes: usize,
    stored: u64,
    timeout: Duration,
    /// When a message was last acknowledged, or when the first began to wait for it.
    progress_at: Instant,
}

/// Where messages come from.
enum Source {
    Argument(String),
    Lines(Lines<BufReader<Stdin>>),
    Dry,
}

/// A message on its way.
struct Unconfirmed {
    publish: Publish,
    bytes: usize,
}

impl<'a> Publisher<'a> {
    fn new(link: &'a Link, args: PubArgs) -> Self {
        let source = match args.message {
            Some(message) if message != "-" => Source::Argument(message),
            _ => Source::Lines(Lines::of_stdin(LINE_BYTES_MAX)),
        };
        Self {
            link,
            topic: args.topic,
            source,
            unconfirmed: VecDeque::new(),
            unconfirmed_bytes: 0,
            stored: 0,
            timeout: args.timeout.0,
            progress_at: Instant::now(),
        }
    }

    async fn run(&mut self, stop: &mut Stop) -> Result<(), Failure> {
        let mut events = self.link.events();
        let mut story = Story::default();
        while !self.is_done() {
            let waits = !self.unconfirmed.is_empty();
            let deadline = self.progress_at + self.timeout;
            let has_room = self.has_room();
            tokio::select! {
                message = self.source.next(), if has_room => self.take(message?),
                event = events.next() => match event {
                    Some(event) => {
                        if let Some(told) = story.tell(&event, Instant::now()) {
                            output::note(told);
                        }
                    }
                    // What is on its way says itself what has become of it.
                    None if waits => {
                        let outcome = oldest(&mut self.unconfirmed).await;
                        self.settle(outcome)?;
                    }
                    None => {
                        let why = link_closed(self.link);
                        return Err(Failure::failed("the link is closed", why));
                    }
                },
                outcome = oldest(&mut self.unconfirmed), if waits => self.settle(outcome)?,
                () = sleep_until(deadline.into()), if waits => {
                    return Err(self.given_up("nothing was acknowledged in time"));
                }
                () = stop.asked() => {
                    if waits {
                        return Err(self.given_up("interrupted"));
                    }
                    self.source = Source::Dry;
                }
            }
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        matches!(self.source, Source::Dry) && self.unconfirmed.is_empty()
    }

    /// Whether another message may be taken, so that neither the link's outbox nor memory fills.
    fn has_room(&self) -> bool {
        !matches!(self.source, Source::Dry)
            && self.unconfirmed.len() < UNCONFIRMED_MAX
            && self.unconfirmed_bytes < UNCONFIRMED_BYTES_MAX
    }

    fn take(&mut self, message: Option<String>) {
        let Some(message) = message else {
            self.source = Source::Dry;
            return;
        };
        if self.unconfirmed.is_empty() {
            self.progress_at = Instant::now();
        }
        let bytes = message.len();
        self.unconfirmed_bytes += bytes;
        let publish = self.link.publish(self.topic.as_str(), message);
        self.unconfirmed.push_back(Unconfirmed { publish, bytes });
    }

    /// The oldest message on its way has arrived, or never will.
    fn settle(&mut self, outcome: Result<Stored, PublishError>) -> Result<(), Failure> {
        match outcome {
            Ok(_) => {
                let stored = self.unconfirmed.pop_front();
                self.unconfirmed_bytes -= stored.map_or(0, |stored| stored.bytes);
                self.stored += 1;
                self.progress_at = Instant::now();
                Ok(())
            }
            Err(PublishError::Closed) => Err(self.given_up(link_closed(self.link))),
            Err(error) => Err(self.given_up(error)),
        }
    }

    fn given_up(&self, why: impl fmt::Display) -> Failure {
        let number = self.stored + 1;
        Failure::failed(
            format_args!("message {number} is not known to be stored"),
            why,
        )
    }
}

impl Source {
    async fn next(&mut self) -> Result<Option<String>, Failure> {
        match self {
            Self::Argument(message) => {
                let message = std::mem::take(message);
                *self = Self::Dry;
                Ok(Some(message))
            }
            Self::Lines(lines) => {
                let line = lines.next_text().await;
                line.map_err(|error| Failure::failed("standard input", error))
            }
            Self::Dry => Ok(None),
        }
    }
}

/// Waits for the oldest message on its way. The server acknowledges in order, so the others are
/// not done before it.
async fn oldest(unconfirmed: &mut VecDeque<Unconfirmed>) -> Result<Stored, PublishError> {
    match unconfirmed.front_mut() {
        Some(oldest) => (&mut oldest.publish).await,
        None => std::future::pending().await,
    }
}

fn link_closed(link: &Link) -> String {
    match &*link.status().borrow() {
        Status::Closed { why } => why.to_string(),
        status => status.name().to_owned(),
    }
}
