//! The task of one webhook: the clock, the hub and the sockets around its [`Hook`](super::hook).

use std::sync::{Arc, Weak};
use std::time::Duration;

use heartwire_proto::{Time, TopicName};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::Running;
use super::answer::{Answer, Kind};
use super::batch::{self, Next, Request};
use super::hook::{Attempt, Outcome};
use crate::shared::Shared;
use crate::sync::lock;

/// How many topics that have moved are taken under one lock of the hub.
const MOVED_AT_ONCE: usize = 1_024;
/// How long messages may take to be read back from disk.
const READ_WITHIN: Duration = Duration::from_secs(10);
/// How long requests under way may take once the server is being stopped.
const END_WITHIN: Duration = Duration::from_secs(5);
/// How often topics are looked for that the log has forgotten, and how many are looked at.
const FORGET_EVERY: Duration = Duration::from_secs(60);
const LOOKED_AT_ONCE: usize = 4_096;
/// How often a webhook complains at most.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

/// An attempt that is over.
type Ended = (Attempt, Outcome);

pub(super) struct Worker {
    shared: Weak<Shared>,
    running: Arc<Running>,
    stopping: watch::Receiver<bool>,
    attempts: JoinSet<Ended>,
    /// Where the next look for forgotten topics begins.
    looked_at: Option<TopicName>,
    forget_at: Time,
    complained_at: Option<Instant>,
}

impl Worker {
    pub(super) fn new(
        shared: Weak<Shared>,
        running: Arc<Running>,
        stopping: watch::Receiver<bool>,
    ) -> Self {
        Self {
            shared,
            running,
            stopping,
            attempts: JoinSet::new(),
            looked_at: None,
            forget_at: Time::ZERO,
            complained_at: None,
        }
    }

    /// Until the hub is stopped, or gone.
    pub(super) async fn run(mut self) {
        while let Some(until) = self.turn() {
            tokio::select! {
                () = self.running.wake.notified() => {}
                () = sleep_until(until) => {}
                Some(ended) = self.attempts.join_next() => self.note(ended.ok()),
                changed = self.stopping.changed() => {
                    if changed.is_err() || *self.stopping.borrow() {
                        break;
                    }
                }
            }
        }
        self.stop().await;
    }

    /// Does what can be done at once; until when there is nothing more, or nothing when the hub is
    /// gone.
    fn turn(&mut self) -> Option<Instant> {
        let shared = self.shared.upgrade()?;
        let now = shared.clock.time();
        let has_more = self.running.take_moved(&shared, now, MOVED_AT_ONCE);
        if now >= self.forget_at {
            self.forget_at = now + FORGET_EVERY;
            self.forget(&shared);
        }
        loop {
            let Some(attempt) = lock(&self.running.hook).next(now) else {
                break;
            };
            let attempting = attempting(self.shared.clone(), self.running.clone(), attempt);
            self.attempts.spawn(attempting);
        }
        let wake_at = lock(&self.running.hook).wake_at(now);
        let until = match has_more {
            true => now,
            false => wake_at.unwrap_or(self.forget_at).min(self.forget_at),
        };
        Some(shared.clock.instant(until))
    }

    /// An attempt is over; `None` if its task failed, which it does not.
    fn note(&mut self, ended: Option<Ended>) {
        let (Some((attempt, outcome)), Some(shared)) = (ended, self.shared.upgrade()) else {
            return;
        };
        if let Outcome::NotTaken { answer, .. } = &outcome {
            self.complain(&attempt, answer);
        }
        lock(&self.running.hook).ended(&attempt, outcome, shared.clock.now());
        shared.webhooks.unsaved.notify_one();
    }

    fn complain(&mut self, attempt: &Attempt, answer: &Answer) {
        let now = Instant::now();
        let since = self.complained_at.map(|at| now.duration_since(at));
        if since.is_some_and(|since| since < COMPLAIN_EVERY) {
            return;
        }
        self.complained_at = Some(now);
        let hook = &self.running.config;
        let (webhook, url, topic) = (&hook.name, hook.shown_url(), &attempt.topic);
        tracing::warn!(
            webhook, url, %topic, %answer,
            "a webhook is not taken and is tried again; GET /v1/webhooks tells what waits"
        );
    }

    /// Looks at some topics: those that the log has forgotten need no cursor any more.
    fn forget(&mut self, shared: &Shared) {
        let hook = lock(&self.running.hook);
        let lanes = hook.lanes(self.looked_at.as_ref());
        let names = lanes.take(LOOKED_AT_ONCE).map(|(topic, _)| topic.clone());
        let names: Vec<TopicName> = names.collect();
        drop(hook);
        self.looked_at = names.get(LOOKED_AT_ONCE - 1).cloned();
        let hub = shared.lock_hub();
        let is_gone = |topic: &&TopicName| hub.log().find(topic.as_topic()).is_none();
        let gone: Vec<&TopicName> = names.iter().filter(is_gone).collect();
        drop(hub);
        let mut hook = lock(&self.running.hook);
        gone.into_iter().for_each(|topic| hook.forget(topic));
    }

    /// Lets what is under way end, and gives up what does not. Where the hub is gone without having
    /// been drained, nobody would note how it ended.
    async fn stop(mut self) {
        if self.shared.strong_count() == 0 {
            return;
        }
        lock(&self.running.hook).stop();
        let deadline = Instant::now() + END_WITHIN;
        while let Ok(Some(ended)) =
            tokio::time::timeout_at(deadline, self.attempts.join_next()).await
        {
            self.note(ended.ok());
        }
    }
}

/// Reads what is next of a topic, and posts it.
async fn attempting(shared: Weak<Shared>, running: Arc<Running>, attempt: Attempt) -> Ended {
    let outcome = match read(&shared, &running, &attempt).await {
        Some(Next::Request(request)) => post(&shared, &running, &attempt, request).await,
        Some(Next::Gone(Some(request))) => match post(&shared, &running, &attempt, request).await {
            Outcome::Taken { answer, .. } => Outcome::Gone {
                answer: Some(answer),
            },
            not_taken => not_taken,
        },
        Some(Next::Gone(None)) => Outcome::Gone { answer: None },
        Some(Next::Nothing) => Outcome::Nothing,
        Some(Next::Cold) | None => Outcome::NotTaken {
            answer: Answer::Unreadable,
            through: attempt.through,
        },
    };
    (attempt, outcome)
}

/// What is next; what stands on disk alone is waited for. Nothing when that takes too long, or the
/// hub is gone.
async fn read(shared: &Weak<Shared>, running: &Running, attempt: &Attempt) -> Option<Next> {
    let mut loaded = shared.upgrade()?.loaded.subscribe();
    let reading = async {
        loop {
            loaded.mark_unchanged();
            let shared = shared.upgrade()?;
            let config = &running.config;
            let next = shared.hub(|hub| batch::next(hub, &config.name, config.batch_max, attempt));
            drop(shared);
            match next {
                Next::Cold => loaded.changed().await.ok()?,
                next => return Some(next),
            }
        }
    };
    timeout(READ_WITHIN, reading).await.ok().flatten()
}

async fn post(
    shared: &Weak<Shared>,
    running: &Running,
    attempt: &Attempt,
    request: Request,
) -> Outcome {
    if let Some(appended) = request.appended {
        lock(&running.hook).oldest(&attempt.topic, appended);
    }
    let now = shared.upgrade().map(|shared| shared.clock.now());
    let answer = match now {
        Some(now) => {
            running
                .sender
                .post(&running.config, &request, now.wall)
                .await
        }
        None => Answer::Silent,
    };
    match answer.kind() {
        Kind::Taken => Outcome::Taken {
            to: request.to,
            messages: request.messages,
            answer,
        },
        _ => Outcome::NotTaken {
            answer,
            through: Some(request.to.offset()),
        },
    }
}
