//! The good hundred: real links that publish, follow, and count what they lose.
//!
//! Each publishes to a topic of its own and follows that of its neighbour. What a message took from
//! the call to its follower, and to the acknowledgement, is noted for each phase of the run.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use heartwire::{Event, Link, Loss, Status, SubFrom, Subscription};
use heartwire_load::{Faults, Latencies, Sequence, Stamp};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::MissedTickBehavior;

/// How many there are.
pub(super) const GOOD: usize = 100;
/// How often each publishes.
const PUBLISH_EVERY: Duration = Duration::from_millis(500);
/// How long their messages are.
const MESSAGE_BYTES: usize = 128;
/// How often one of them gives its connection up and dials anew, for which there has to be room.
const RECONNECT_EVERY: Duration = Duration::from_secs(5);
/// How long anything that must happen may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the world around the good is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// Nobody else is there.
    Quiet,
    /// The crowd comes, or goes; nothing is measured.
    Between,
    /// The crowd is there.
    Abuse,
    /// No more is published.
    End,
}

/// What was measured in one phase.
#[derive(Clone, Default)]
pub(super) struct Measured {
    /// From the call of `publish` to the follower.
    pub(super) delivered: Latencies,
    /// From the call to the acknowledgement.
    pub(super) stored: Latencies,
}

/// What the good have to tell.
#[derive(Clone, Default)]
pub(super) struct Book {
    pub(super) quiet: Measured,
    pub(super) abuse: Measured,
    /// Connections that ended though nobody asked for it, and why.
    pub(super) lost: Vec<String>,
    pub(super) reconnects: u64,
}

impl Book {
    fn of(&mut self, phase: Phase) -> Option<&mut Measured> {
        match phase {
            Phase::Quiet => Some(&mut self.quiet),
            Phase::Abuse => Some(&mut self.abuse),
            Phase::Between | Phase::End => None,
        }
    }
}

/// The good, while they are at it.
pub(super) struct Good {
    links: Vec<Link>,
    book: Arc<Mutex<Book>>,
    publishers: Vec<JoinHandle<Result<u64>>>,
    followers: Vec<(JoinHandle<Faults>, watch::Sender<Option<u64>>)>,
}

/// What is left of them in the end.
pub(super) struct Outcome {
    pub(super) book: Book,
    pub(super) published: u64,
    pub(super) faults: Faults,
}

impl Good {
    /// Dials, and begins to publish and follow.
    pub(super) async fn start(server: SocketAddr, phase: &watch::Receiver<Phase>) -> Result<Self> {
        let url = format!("ws://{server}/websocket");
        let dial = || Ok(Link::builder(&url).agent("good").connect()?);
        let (links, _) = heartwire_load::open(&dial, GOOD, GOOD).await?;
        let mut good = Self {
            links,
            book: Arc::default(),
            publishers: Vec::new(),
            followers: Vec::new(),
        };
        for link in &good.links {
            tokio::spawn(note_losses(link.clone(), good.book.clone()));
        }
        for (number, link) in good.links.iter().enumerate() {
            let neighbour = (number + 1) % GOOD;
            let followed = link.subscribe_from(&topic(neighbour), SubFrom::Head)?;
            let (count, counted) = watch::channel(None);
            let (book, phase) = (good.book.clone(), phase.clone());
            let publishing = publish(link.clone(), number, book.clone(), phase.clone());
            good.publishers.push(tokio::spawn(publishing));
            let following = tokio::spawn(follow(followed, book, phase, counted));
            good.followers.push((following, count));
        }
        tokio::spawn(reconnect_now_and_then(
            good.links.clone(),
            good.book.clone(),
            phase.clone(),
        ));
        Ok(good)
    }

    /// Waits, once the phase has ended publishing, until everybody has everything.
    pub(super) async fn finish(self) -> Result<Outcome> {
        let mut counts = Vec::new();
        for publisher in self.publishers {
            counts.push(publisher.await??);
        }
        let mut faults = Faults::default();
        for (number, (follower, count)) in self.followers.into_iter().enumerate() {
            count.send_replace(Some(counts[(number + 1) % GOOD]));
            let followed = tokio::time::timeout(PATIENCE, follower).await;
            faults += followed.with_context(|| format!("follower {number} misses messages"))??;
        }
        let book = lock(&self.book).clone();
        for link in self.links {
            link.close_within(PATIENCE).await?;
        }
        Ok(Outcome {
            book,
            published: counts.iter().sum(),
            faults,
        })
    }
}

fn topic(number: usize) -> String {
    format!("good:{number}")
}

/// Publishes until the end, and returns how many messages that were, all of them stored.
async fn publish(
    link: Link,
    number: usize,
    book: Arc<Mutex<Book>>,
    mut phase: watch::Receiver<Phase>,
) -> Result<u64> {
    // Not all at the same moment.
    let begin = tokio::time::Instant::now() + PUBLISH_EVERY * number as u32 / GOOD as u32;
    let mut ticks = tokio::time::interval_at(begin, PUBLISH_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut published, topic) = (0, topic(number));
    let mut under_way = JoinSet::new();
    while *phase.borrow_and_update() != Phase::End {
        tokio::select! {
            _ = ticks.tick() => {}
            Some(stored) = under_way.join_next() => {
                stored??;
                continue;
            }
            changed = phase.changed() => {
                changed?;
                continue;
            }
        }
        let stamp = Stamp::new(published);
        published += 1;
        let publish = link.publish(&topic, stamp.payload(MESSAGE_BYTES));
        let (book, current) = (book.clone(), *phase.borrow());
        under_way.spawn(async move {
            publish.await?;
            if let Some(measured) = lock(&book).of(current) {
                measured.stored.note(stamp.age());
            }
            anyhow::Ok(())
        });
    }
    let all = async {
        while let Some(stored) = under_way.join_next().await {
            stored??;
        }
        anyhow::Ok(published)
    };
    let all = tokio::time::timeout(PATIENCE, all).await;
    all.with_context(|| format!("publishes of {number} are not acknowledged"))?
}

/// Follows until as many messages have come as were published.
async fn follow(
    mut topic: Subscription,
    book: Arc<Mutex<Book>>,
    phase: watch::Receiver<Phase>,
    mut published: watch::Receiver<Option<u64>>,
) -> Faults {
    let mut sequence = Sequence::default();
    loop {
        let len = *published.borrow_and_update();
        if len.is_some_and(|len| sequence.next() >= len) {
            return sequence.faults();
        }
        tokio::select! {
            delivery = topic.next() => {
                let Some(delivery) = delivery else { return sequence.faults() };
                let stamp = sequence.note(&delivery);
                let current = *phase.borrow();
                if let (Some(stamp), Some(measured)) = (stamp, lock(&book).of(current)) {
                    measured.delivered.note(stamp.age());
                }
            }
            Ok(()) = published.changed() => {}
        }
    }
}

/// Notes connections of a link that end unasked.
async fn note_losses(link: Link, book: Arc<Mutex<Book>>) {
    let mut events = link.events();
    drop(link);
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Status(Status::Lost { why, .. } | Status::Suspended { why, .. }))
                if why != Loss::Requested =>
            {
                lock(&book).lost.push(why.to_string());
            }
            Err(missed) => lock(&book).lost.push(missed.to_string()),
            Ok(_) => {}
        }
    }
}

/// Has one link after the other dial anew, as long as there is a crowd.
async fn reconnect_now_and_then(
    links: Vec<Link>,
    book: Arc<Mutex<Book>>,
    mut phase: watch::Receiver<Phase>,
) -> Result<()> {
    phase.wait_for(|phase| *phase == Phase::Abuse).await?;
    let mut ticks = tokio::time::interval(RECONNECT_EVERY);
    for link in links.iter().cycle() {
        tokio::select! {
            _ = ticks.tick() => {}
            ended = phase.wait_for(|phase| *phase == Phase::End) => return ended.map(drop).map_err(Into::into),
        }
        link.reconnect();
        lock(&book).reconnects += 1;
    }
    bail!("a cycle of links never ends");
}

fn lock(book: &Mutex<Book>) -> MutexGuard<'_, Book> {
    book.lock().unwrap_or_else(PoisonError::into_inner)
}
