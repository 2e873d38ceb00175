//! Webhooks: messages of some topics are posted to a URL, for back ends that hold no connection.
//!
//! ```text
//!   commit ─► hub: watch ──wakes──► worker ──feeds, asks──► Hook ──────────► whose turn it is
//!                                     │ attempt             (pure: lanes, cursors, backoff)
//!                                     ▼
//!                           batch: the next messages, or the gap before them
//!                                     │ request
//!                                     ▼
//!                           send: signed, posted ──► answer ──► Hook ──► cursors, saved
//! ```
//!
//! A webhook is a follower that carries its cursors itself: one for each topic, in memory and in a
//! [file](cursors) beside the log. A topic's next request is made only when the one before was taken,
//! so that order is kept; what is not taken is tried again for as long as it is retained, and what
//! retention takes is named as a gap. Topics wait for each other only when very many requests are
//! under way; publishers and other followers never wait for any of this.

mod answer;
mod batch;
mod config;
mod cursors;
mod hook;
mod lane;
mod secrets;
mod send;
#[cfg(test)]
mod tests;
mod worker;

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use heartwire_disk::FileDisk;
use heartwire_hub::WatchKey;
use heartwire_proto::Time;
use tokio::sync::{Notify, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;
use tokio_rustls::rustls;

use crate::shared::{Handle, Shared};
use crate::storage::Place;
use crate::sync::lock;

use cursors::Cursors;
use hook::{Hook, HookLimits};
use send::Sender;
use worker::Worker;

pub(crate) use answer::Kind;
pub use config::{Webhook, WebhookError};
pub(crate) use hook::{Counts, Totals};
pub(crate) use lane::{Lane, State as LaneState};
pub use secrets::{WebhookSecrets, WebhookSecretsError};

/// How often cursors are saved at most; and a tenth of the time is spent on it at most. What was
/// delivered since is delivered again after a crash.
const SAVE_EVERY: Duration = Duration::from_secs(1);
const SAVE_SHARE: u32 = 10;
/// How long a stop waits for requests under way and the last save.
const STOPPED_WITHIN: Duration = Duration::from_secs(10);

/// Why webhooks do not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WebhooksError {
    /// Two of them have one name.
    #[error("two webhooks are called {0}: give one of them another name")]
    Names(String),
    /// Their cursors cannot be read or written.
    #[error("the cursors of webhooks: {0}")]
    Cursors(#[from] io::Error),
    /// The platform's trust store cannot be used.
    #[error("the platform's certificates for webhooks: {0}")]
    Trust(#[from] rustls::Error),
}

/// What has to be read before webhooks can start.
pub(crate) struct Prepared {
    cursors: Cursors,
    sender: Sender,
    /// Nothing for a log in memory.
    disk: Option<FileDisk>,
}

/// Checks webhooks, and reads what they need; nothing when there are none. Blocks.
pub(crate) fn prepare(
    hooks: &[Webhook],
    place: Option<&Place>,
) -> Result<Option<Prepared>, WebhooksError> {
    if hooks.is_empty() {
        return Ok(None);
    }
    for (index, hook) in hooks.iter().enumerate() {
        if hooks[..index].iter().any(|other| other.name == hook.name) {
            return Err(WebhooksError::Names(hook.name.clone()));
        }
    }
    let disk = place.map(|place| FileDisk::create(place.folder.clone()));
    let disk = disk.transpose()?;
    Ok(Some(Prepared {
        cursors: disk
            .as_ref()
            .map(cursors::read)
            .transpose()?
            .unwrap_or_default(),
        sender: Sender::make(hooks.iter().any(Webhook::is_encrypted))?,
        disk,
    }))
}

/// One webhook at work.
pub(crate) struct Running {
    pub(crate) config: Webhook,
    pub(crate) hook: Mutex<Hook>,
    sender: Sender,
    watched: OnceLock<WatchKey>,
    wake: Notify,
}

impl Running {
    /// A topic has moved.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Tries at once what waits.
    pub(crate) fn retry_now(&self) {
        lock(&self.hook).retry_now();
        self.wake();
    }

    /// Takes topics that have moved from the hub; whether there may be more.
    fn take_moved(&self, shared: &Shared, now: Time, count_max: usize) -> bool {
        let Some(key) = self.watched.get() else {
            return false;
        };
        let moved = shared.lock_hub().take_moved(*key, count_max);
        let has_more = moved.len() == count_max;
        let mut hook = lock(&self.hook);
        moved.into_iter().for_each(|moved| hook.moved(moved, now));
        has_more
    }
}

/// The webhooks of one hub.
pub(crate) struct Webhooks {
    running: Vec<Arc<Running>>,
    /// Cursors of webhooks that are not configured any more.
    others: Cursors,
    disk: Option<FileDisk>,
    unsaved: Arc<Notify>,
    /// Held by whoever writes them.
    writing: Mutex<()>,
    /// Saves that failed.
    save_errors: AtomicU64,
    stopping: watch::Sender<bool>,
    keeper: Mutex<Option<JoinHandle<()>>>,
}

impl Webhooks {
    pub(crate) fn new(hooks: &[Webhook], prepared: Option<Prepared>) -> Self {
        let (mut others, disk, sender) = match prepared {
            Some(prepared) => (prepared.cursors, prepared.disk, Some(prepared.sender)),
            None => (Cursors::new(), None, None),
        };
        let hooks = hooks.iter().zip(std::iter::repeat(sender));
        let running = hooks.filter_map(|(config, sender)| {
            let saved = others.remove(&config.name);
            Some(Arc::new(Running {
                hook: Mutex::new(Hook::new(HookLimits::default(), saved, config.begins)),
                config: config.clone(),
                sender: sender?,
                watched: OnceLock::new(),
                wake: Notify::new(),
            }))
        });
        Self {
            running: running.collect(),
            others,
            disk,
            unsaved: Arc::default(),
            writing: Mutex::default(),
            save_errors: AtomicU64::new(0),
            stopping: watch::Sender::new(false),
            keeper: Mutex::new(None),
        }
    }

    /// Looks at the topics that are there, and starts. Nothing may have been published yet: where a
    /// new webhook begins is durable before.
    pub(crate) async fn begin(shared: &Arc<Shared>) -> Result<(), WebhooksError> {
        let webhooks = &shared.webhooks;
        if webhooks.running.is_empty() {
            return Ok(());
        }
        let now = shared.clock.time();
        for running in &webhooks.running {
            let topics = running.config.topics.clone();
            let handle = Handle::Webhook(running.clone());
            let key = shared.lock_hub().watch(topics, handle);
            let _ = running.watched.set(key);
            while running.take_moved(shared, now, usize::MAX) {}
            lock(&running.hook).begun();
        }
        save(shared.clone()).await?;
        let mut workers = JoinSet::new();
        for running in &webhooks.running {
            let stopping = webhooks.stopping.subscribe();
            let worker = Worker::new(Arc::downgrade(shared), running.clone(), stopping);
            workers.spawn(worker.run());
        }
        let unsaved = webhooks.unsaved.clone();
        let keeper = tokio::spawn(keep(Arc::downgrade(shared), workers, unsaved));
        *lock(&webhooks.keeper) = Some(keeper);
        Ok(())
    }

    /// All of them.
    pub(crate) fn all(&self) -> &[Arc<Running>] {
        &self.running
    }

    /// One of them.
    pub(crate) fn named(&self, name: &str) -> Option<&Arc<Running>> {
        self.running
            .iter()
            .find(|running| running.config.name == name)
    }

    /// How often cursors could not be saved.
    pub(crate) fn save_errors(&self) -> u64 {
        self.save_errors.load(Ordering::Relaxed)
    }

    /// Reads secrets again. Blocks for as long as the file system does.
    pub(crate) fn reload(&self) {
        for running in &self.running {
            running.config.secrets.reload();
        }
    }

    /// Begins nothing more, gives what is under way some time, and saves the cursors.
    pub(crate) async fn stop(&self) {
        self.stopping.send_replace(true);
        let keeper = lock(&self.keeper).take();
        let Some(keeper) = keeper else {
            return;
        };
        if tokio::time::timeout(STOPPED_WITHIN, keeper).await.is_err() {
            tracing::error!("webhooks did not end in time: some messages will be posted again");
        }
    }

    /// Saves the cursors, if they have changed. Blocks. Whoever comes while they are being written
    /// waits, and then writes what has changed since: also when nobody waits any more for the one
    /// before, it does not write what is older over what is newer.
    fn save_now(&self) -> io::Result<()> {
        let _writing = lock(&self.writing);
        let has_changed = |running: &Arc<Running>| lock(&running.hook).take_unsaved();
        let changed = self
            .running
            .iter()
            .filter(|running| has_changed(running))
            .count();
        let Some(disk) = self.disk.as_ref().filter(|_| changed > 0) else {
            return Ok(());
        };
        let mut cursors = self.others.clone();
        for running in &self.running {
            let of_this = lock(&running.hook).cursors().collect();
            cursors.insert(running.config.name.clone(), of_this);
        }
        let written = cursors::write(disk, &cursors);
        if written.is_err() {
            self.save_errors.fetch_add(1, Ordering::Relaxed);
            for running in &self.running {
                lock(&running.hook).not_saved();
            }
        }
        written
    }
}

/// Saves the cursors, on a thread that may block.
async fn save(shared: Arc<Shared>) -> io::Result<()> {
    let saving = tokio::task::spawn_blocking(move || shared.webhooks.save_now());
    saving.await.map_err(io::Error::other)?
}

/// Saves cursors as they change, until all workers have ended, and then once more. A hub that is gone
/// without having been drained saves nothing more: somebody else may have its folder by now.
async fn keep(shared: Weak<Shared>, mut workers: JoinSet<()>, unsaved: Arc<Notify>) {
    let saving = async {
        loop {
            unsaved.notified().await;
            let Some(shared) = shared.upgrade() else {
                return;
            };
            let began = Instant::now();
            if let Err(error) = save(shared).await {
                tracing::error!(%error, "the cursors of webhooks are not saved, and are tried again");
                unsaved.notify_one();
            }
            tokio::time::sleep(SAVE_EVERY.max(SAVE_SHARE * began.elapsed())).await;
        }
    };
    let all_ended = async { while workers.join_next().await.is_some() {} };
    tokio::select! {
        () = saving => {}
        () = all_ended => {}
    }
    if let Some(shared) = shared.upgrade()
        && let Err(error) = save(shared).await
    {
        tracing::error!(%error, "the cursors of webhooks are not saved: some messages will be posted again");
    }
}
