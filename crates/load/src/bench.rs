//! The measurements of `heartwire bench`: each opens links to a running server, uses them, and says
//! what they met.

use std::time::{Duration, Instant};

use heartwire::{Event, Link, SubFrom, Subscription};
use tokio::task::JoinSet;

use crate::error::{LoadError, patiently};
use crate::figures::Latencies;
use crate::links::{Dial, open, until_open};
use crate::sequence::Sequence;
use crate::stamp::Stamp;

/// How many links dial at the same time: enough to keep a server busy, and fewer than wait in an
/// accept queue of the usual size.
const AT_ONCE: usize = 64;
/// How long the messages are.
const MESSAGE_BYTES: usize = 128;
/// How often something is published while links come back.
const PUBLISH_EVERY: Duration = Duration::from_millis(20);

/// One figure of a measurement.
#[derive(Clone, PartialEq, Debug)]
pub struct Figure {
    /// What it is, as a word for programs, such as `opened_p99`.
    pub name: String,
    /// How much.
    pub value: f64,
    /// In what: `ms`, `s`, `per second`, or nothing for a number.
    pub unit: &'static str,
}

/// What one measurement has found.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Report {
    /// In the order in which they are to be read.
    pub figures: Vec<Figure>,
}

impl Report {
    fn figure(&mut self, name: &str, value: f64, unit: &'static str) {
        let name = name.to_owned();
        self.figures.push(Figure { name, value, unit });
    }

    /// Median, 99th percentile and maximum, in milliseconds.
    fn latencies(&mut self, name: &str, latencies: &Latencies) {
        for (part, took) in [
            ("p50", latencies.quantile(0.5)),
            ("p99", latencies.quantile(0.99)),
            ("max", latencies.max()),
        ] {
            self.figure(&format!("{name}_{part}"), took.as_secs_f64() * 1e3, "ms");
        }
    }
}

/// Opens `count` links and holds them all: how fast, and how long each took until its welcome.
///
/// # Errors
///
/// When one of them cannot be opened.
pub async fn connections(dial: Dial<'_>, count: usize) -> Result<Report, LoadError> {
    let begun = Instant::now();
    let (links, opened) = open(dial, count, AT_ONCE).await?;
    let took = begun.elapsed().as_secs_f64();
    let mut report = Report::default();
    report.figure("connections", links.len() as f64, "");
    report.figure("took", took, "s");
    report.figure("rate", links.len() as f64 / took, "per second");
    report.latencies("opened", &opened);
    close(links).await;
    Ok(report)
}

/// Publishes `messages` to a topic that `count` links follow, one when the other is stored.
///
/// # Errors
///
/// When a message is lost, doubled or out of order, or when something takes too long.
pub async fn fan_out(
    dial: Dial<'_>,
    topic: &str,
    count: usize,
    messages: u64,
) -> Result<Report, LoadError> {
    let (links, _) = open(dial, count + 1, AT_ONCE).await?;
    let (publisher, followers) = links.split_first().expect("one more than the followers");
    let mut following = JoinSet::new();
    for link in followers {
        following.spawn(receive(followed(link, topic).await?, messages));
    }
    let begun = Instant::now();
    publish(publisher, topic, messages).await?;
    let delivered = all(following).await?;
    let took = begun.elapsed().as_secs_f64();
    let mut report = Report::default();
    report.figure("deliveries", delivered.count() as f64, "");
    report.figure("took", took, "s");
    report.figure("rate", delivered.count() as f64 / took, "per second");
    report.latencies("delivered", &delivered);
    close(links).await;
    Ok(report)
}

/// Publishes `messages` on one link, one when the other is stored, and follows them on another: how
/// long it takes until they are stored, and until they are delivered.
///
/// # Errors
///
/// As [`fan_out`].
pub async fn latency(dial: Dial<'_>, topic: &str, messages: u64) -> Result<Report, LoadError> {
    let (links, _) = open(dial, 2, AT_ONCE).await?;
    let mut following = JoinSet::new();
    following.spawn(receive(followed(&links[1], topic).await?, messages));
    let stored = publish(&links[0], topic, messages).await?;
    let delivered = all(following).await?;
    let mut report = Report::default();
    report.figure("messages", messages as f64, "");
    report.latencies("stored", &stored);
    report.latencies("delivered", &delivered);
    close(links).await;
    Ok(report)
}

/// Has `count` links that follow a topic give up their connections all at once, while messages are
/// published: how long it takes until they are back, with nothing lost.
///
/// # Errors
///
/// As [`fan_out`].
pub async fn recovery(dial: Dial<'_>, topic: &str, count: usize) -> Result<Report, LoadError> {
    let (links, _) = open(dial, count + 1, AT_ONCE).await?;
    let (publisher, followers) = links.split_first().expect("one more than the followers");
    let mut following = Vec::with_capacity(count);
    for link in followers {
        following.push(followed(link, topic).await?);
    }
    let mut returning = JoinSet::new();
    for link in followers {
        link.reconnect();
        returning.spawn(until_open(link.clone()));
    }
    let (mut back, mut published) = (Latencies::default(), 0);
    let mut ticks = tokio::time::interval(PUBLISH_EVERY);
    while !returning.is_empty() {
        tokio::select! {
            Some(returned) = returning.join_next() => {
                back.note(returned.expect("waiting does not panic")?);
            }
            _ = ticks.tick() => {
                store(publisher, topic, published).await?;
                published += 1;
            }
        }
    }
    store(publisher, topic, published).await?;
    let mut receiving = JoinSet::new();
    for subscription in following {
        receiving.spawn(receive(subscription, published + 1));
    }
    let delivered = all(receiving).await?;
    let mut report = Report::default();
    report.figure("links", count as f64, "");
    report.latencies("back", &back);
    report.figure("messages", (published + 1) as f64, "");
    report.figure("deliveries", delivered.count() as f64, "");
    close(links).await;
    Ok(report)
}

/// Follows a topic from its end, once the server has said where that is.
async fn followed(link: &Link, topic: &str) -> Result<Subscription, LoadError> {
    let mut events = link.events();
    let subscription = link.subscribe_from(topic, SubFrom::Tail)?;
    let known = async {
        loop {
            match events.next().await {
                Some(Ok(Event::Followed { topic, .. })) if topic == *subscription.topic() => {
                    return Ok(());
                }
                None | Some(Ok(Event::Refused { .. })) => return Err(LoadError::NotFollowed),
                Some(_) => {}
            }
        }
    };
    patiently("following the topic", known).await??;
    Ok(subscription)
}

/// Receives so many messages, checks that they are the right ones, and tells how old each was.
async fn receive(mut subscription: Subscription, messages: u64) -> Result<Latencies, LoadError> {
    let mut sequence = Sequence::default();
    let mut latencies = Latencies::default();
    while sequence.next() < messages {
        let delivery = patiently("a delivery", subscription.next()).await?;
        let stamp = sequence.note(&delivery.ok_or(LoadError::NotFollowed)?);
        let stamp = stamp.filter(|_| sequence.faults().none());
        latencies.note(stamp.ok_or(LoadError::Faults(sequence.faults()))?.age());
    }
    Ok(latencies)
}

async fn publish(link: &Link, topic: &str, messages: u64) -> Result<Latencies, LoadError> {
    let mut latencies = Latencies::default();
    for number in 0..messages {
        latencies.note(store(link, topic, number).await?);
    }
    Ok(latencies)
}

/// Publishes one message and waits until it is stored.
async fn store(link: &Link, topic: &str, number: u64) -> Result<Duration, LoadError> {
    let stamp = Stamp::new(number);
    let stored = link.publish(topic, stamp.payload(MESSAGE_BYTES));
    patiently("storing a message", stored).await??;
    Ok(stamp.age())
}

async fn all(mut following: JoinSet<Result<Latencies, LoadError>>) -> Result<Latencies, LoadError> {
    let mut latencies = Latencies::default();
    while let Some(followed) = following.join_next().await {
        latencies.add(&followed.expect("following does not panic")?);
    }
    Ok(latencies)
}

/// Says goodbye on all of them at the same time; nothing waits in their outboxes.
async fn close(links: Vec<Link>) {
    let mut closing = JoinSet::new();
    for link in links {
        closing.spawn(async move {
            // What is not confirmed any more was no part of the measurement.
            let _ = link.close_within(Duration::ZERO).await;
        });
    }
    closing.join_all().await;
}
