//! Connections that say nothing, and a busy one beside them, to see what becomes of each.
//!
//! ```text
//!   patience    0        ¼        ½                 1
//!   idle        ─────────?                              ? = asked whether it still lives
//!   idle        ──────────────────?
//!   idle        ────────────────────────────────────?
//!   busy        ?????????????????????????????????????   cut too: it is not the silence
//! ```
//!
//! One connection cannot tell when it died in silence, as asking ends the silence; so there are
//! several, which bracket the moment.

use std::pin::pin;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use heartwire_proto::frame::{ClientFrame, Welcome};
use heartwire_proto::heartbeat::HeartbeatRange;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::report::{Check, Verdict, millis, shown};
use super::session::{Heard, Path, Question, Reply, Session, within};
use super::socket::End;
use crate::output;

/// The parts of the patience after which an idle connection is asked.
const PARTS: [(u32, u32); 3] = [(1, 4), (1, 2), (1, 1)];

/// How often the busy connection asks: more often than any idle time-out would bear.
const BUSY_EVERY: Duration = Duration::from_millis(500);

/// How often somebody who waits is told.
const PROGRESS_EVERY: Duration = Duration::from_secs(10);

/// How much longer than an idle connection a busy one has to live, at least, to show that it is
/// the silence that kills.
const OUTLIVES: Duration = Duration::from_secs(1);

/// What became of an idle connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Idle {
    /// It lives, after such a stretch without a byte.
    Alive {
        quiet: Duration,
        /// The server broke the silence.
        server_spoke: bool,
        /// It has answered. Otherwise nobody knows a question that it answers.
        proven: bool,
    },
    /// It was ended in the middle of the silence.
    Cut {
        quiet: Duration,
        age: Duration,
        end: End,
    },
    /// It was dead without a sign when it was asked.
    Dead {
        quiet: Duration,
        /// What the question brought about, if anything.
        end: Option<End>,
    },
    /// The connection could not be made.
    NotOpened(String),
}

/// The end of the busy connection; nothing, where questions stayed unanswered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct BusyEnd {
    pub(super) age: Duration,
    pub(super) end: Option<End>,
}

/// What was seen in the whole time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Seen {
    pub(super) idle: Vec<Idle>,
    /// The busy connection, if it ended.
    pub(super) busy: Option<BusyEnd>,
}

/// Waits, and watches. All connections are open before the silence begins.
pub(super) async fn watch(path: &Path, question: Option<&Question>, patience: Duration) -> Seen {
    let (idle, busy) = tokio::join!(join_all(PARTS.map(|_| path.open())), path.open());
    let idle = idle
        .into_iter()
        .zip(PARTS)
        .map(|(opened, (part, of))| async move {
            match opened {
                Ok(session) => stay_idle(session, path, question, patience * part / of).await,
                Err(error) => Idle::NotOpened(error),
            }
        });
    let mut ladder = pin!(join_all(idle));
    let mut busy = pin!(stay_busy(busy.ok(), path, question));
    let mut busy_end = None;
    let begun = Instant::now();
    let mut progress = interval(PROGRESS_EVERY);
    progress.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let idle = loop {
        tokio::select! {
            idle = &mut ladder => break idle,
            end = &mut busy, if busy_end.is_none() => busy_end = Some(end),
            _ = progress.tick() => output::note(format_args!(
                "silent for {} s of {} (--patience), to see whether idle connections are cut; Ctrl-C skips this",
                begun.elapsed().as_secs(),
                shown(patience)
            )),
        }
    };
    let ended = idle
        .iter()
        .any(|idle| matches!(idle, Idle::Cut { .. } | Idle::Dead { .. }));
    if busy_end.is_none() && ended {
        let margin = OUTLIVES.max(begun.elapsed() / 4);
        busy_end = timeout(margin, &mut busy).await.ok();
    }
    Seen {
        idle,
        busy: busy_end,
    }
}

/// Says nothing for so long, and then asks.
async fn stay_idle(
    mut session: Session,
    path: &Path,
    question: Option<&Question>,
    silence: Duration,
) -> Idle {
    let opened_at = Instant::now();
    let (mut quiet_since, mut longest, mut server_spoke) = (opened_at, Duration::ZERO, false);
    // The server's questions would break the silence. It shortens a wish that it does not grant.
    let wish = (silence * 2).clamp(HeartbeatRange::MIN, HeartbeatRange::MAX);
    let interval_ms = u64::try_from(wish.as_millis()).unwrap_or(u64::MAX);
    if path.v1
        && let Err(end) = session.frame(&ClientFrame::Heartbeat { interval_ms }).await
    {
        return cut(quiet_since, opened_at, end);
    }
    loop {
        let left = silence.saturating_sub(opened_at.elapsed());
        match timeout(left, session.next()).await {
            Ok(Ok(heard)) => {
                longest = longest.max(quiet_since.elapsed());
                quiet_since = Instant::now();
                server_spoke |= !matches!(heard, Heard::Interval);
            }
            Ok(Err(end)) => return cut(quiet_since, opened_at, end),
            Err(_) => break,
        }
    }
    let quiet = longest.max(quiet_since.elapsed());
    let Some(question) = question else {
        return Idle::Alive {
            quiet,
            server_spoke,
            proven: false,
        };
    };
    match session.ask(question, path.wait).await {
        Reply::After(_) | Reply::Echo => Idle::Alive {
            quiet,
            server_spoke,
            proven: true,
        },
        Reply::Ended(end) => Idle::Dead {
            quiet,
            end: Some(end),
        },
        Reply::Silence => Idle::Dead { quiet, end: None },
    }
}

fn cut(quiet_since: Instant, opened_at: Instant, end: End) -> Idle {
    Idle::Cut {
        quiet: quiet_since.elapsed(),
        age: opened_at.elapsed(),
        end,
    }
}

/// Asks all the time; returns when the connection ends. One that cannot be made or asked proves
/// nothing, and never ends.
async fn stay_busy(session: Option<Session>, path: &Path, question: Option<&Question>) -> BusyEnd {
    let (Some(question), Some(mut session)) = (question, session) else {
        return std::future::pending().await;
    };
    let opened_at = Instant::now();
    loop {
        let end = match session.ask(question, path.wait).await {
            Reply::After(_) | Reply::Echo => {
                sleep(BUSY_EVERY).await;
                continue;
            }
            Reply::Ended(end) => Some(end),
            Reply::Silence => None,
        };
        let age = opened_at.elapsed();
        return BusyEnd { age, end };
    }
}

/// Whether a v1 server asks for life by itself, within the interval that it dictates.
pub(super) async fn heartbeat(path: &Path, welcome: &Welcome, patience: Duration) -> Check {
    const NAME: &str = "heartbeat";
    let interval = Duration::from_millis(welcome.heartbeat.interval_ms);
    if interval > patience {
        return Check::new(
            NAME,
            Verdict::Skipped,
            format_args!(
                "the server asks every {}, which is beyond --patience",
                shown(interval)
            ),
        );
    }
    let mut session = match path.open().await {
        Ok(session) => session,
        Err(error) => return Check::new(NAME, Verdict::Warning, error),
    };
    let begun = Instant::now();
    let question = async {
        loop {
            match session.next().await {
                Ok(Heard::Question) => return Ok(begun.elapsed()),
                Ok(_) => {}
                Err(end) => return Err(end),
            }
        }
    };
    let most = interval + path.wait;
    match timeout(most, question).await {
        Ok(Ok(after)) => Check::new(
            NAME,
            Verdict::Ok,
            format_args!(
                "the server asked after {}, of an interval of {}",
                shown(after),
                shown(interval)
            ),
        )
        .fact("asked_after_ms", millis(after)),
        Ok(Err(end)) => Check::new(
            NAME,
            Verdict::Warning,
            format_args!("ended by {end} before the server asked"),
        ),
        Err(_) => Check::new(
            NAME,
            Verdict::Failed,
            format_args!("the server did not ask {}", within(most)),
        )
        .advise(
            "The server's questions do not arrive: something on the way holds back what it sends.",
        ),
    }
}
