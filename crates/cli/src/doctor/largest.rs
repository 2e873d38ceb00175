//! The largest message that gets through, found by halving.
//!
//! A message has to be harmless. In v1 it is published to a name that belongs to the server
//! (`$doctor`), which every server reads to its end and then refuses by `nack` `[PUB-5]`: nothing is
//! stored, nobody gets it, and the refusal proves that it has arrived. Plain servers have no such
//! message, so that one is sent only when the user says that it does no harm.

use std::time::{Duration, Instant};

use heartwire_proto::frame::{ClientFrame, Message, NackCode, SubFrom};
use heartwire_proto::id::{Seq, TopicName, TopicRef};
use tokio::time::timeout;

use super::report::{Check, Verdict};
use super::session::{Heard, Path, Session};
use super::socket::{End, RECEIVED_BYTES_MAX};

/// No larger message is tried, in bytes.
const TRIED_BYTES_MAX: u64 = RECEIVED_BYTES_MAX as u64 / 2;

/// The search ends when it knows the answer to so many bytes.
const RESOLUTION_BYTES: u64 = 1_024;

/// A message may take a second for so many bytes, beside the wait of every answer: a path that is
/// slower cannot be told from one that swallows.
const BYTES_PER_SECOND_MIN: u64 = 64 * 1024;

/// The search ends after so long with what it has found; each message that is swallowed in silence
/// costs a whole wait.
const SEARCH_MAX: Duration = Duration::from_secs(60);

/// The name that is published to: it begins as the server's own do, and none is called so.
const REFUSED_TOPIC: &str = "$doctor";

/// How messages are sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Way {
    /// v1: published where the server refuses it.
    Refused,
    /// v1: really published and followed.
    Published(TopicName),
    /// Plain: sent to a server that sends it back.
    Echoed,
}

/// What came of one message.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Tried {
    Passed,
    /// It arrived, and the server said that it is too large.
    TooLarge,
    /// The connection ended over it.
    Ended(End),
    /// Nothing came back.
    Swallowed,
    /// The server refused it for another reason; no size would do.
    Refused(NackCode),
}

/// Messages up to `bytes_max`, which is `limit` of the server's where that is known.
pub(super) async fn examine(path: &Path, way: &Way, bytes_max: u64, limit: Option<u64>) -> Check {
    let mut search = Search::new(bytes_max.clamp(1, TRIED_BYTES_MAX));
    let mut last_failure = None;
    let mut sender = None;
    let begun = Instant::now();
    while let Some(bytes) = search.next() {
        if begun.elapsed() > SEARCH_MAX {
            break;
        }
        let mut current = match sender.take() {
            Some(sender) => sender,
            None => match Sender::open(path, way).await {
                Ok(sender) => sender,
                Err(error) => return not_tried(&error),
            },
        };
        match current.send(bytes, path.wait).await {
            Tried::Passed => {
                search.passed(bytes);
                sender = Some(current);
            }
            Tried::Refused(code) => return not_tried(&format!("the server refuses it: {code}")),
            Tried::TooLarge => {
                search.failed(bytes);
                last_failure = Some(Tried::TooLarge);
                sender = Some(current);
            }
            failure => {
                search.failed(bytes);
                last_failure = Some(failure);
            }
        }
    }
    judged(&search, last_failure.as_ref(), limit)
}

/// The check, where nothing harmless can be sent.
pub(super) fn skipped() -> Check {
    Check::new(
        "largest_message",
        Verdict::Skipped,
        "a plain server might take it for real; --echo allows it",
    )
}

fn not_tried(why: &str) -> Check {
    Check::new(
        "largest_message",
        Verdict::Warning,
        format_args!("not found: {why}"),
    )
}

fn judged(search: &Search, failure: Option<&Tried>, limit: Option<u64>) -> Check {
    let passed = search.passed;
    let check = |verdict, summary: String| {
        Check::new("largest_message", verdict, summary)
            .fact("bytes", passed)
            .fact("above_bytes", search.failed)
    };
    let (Some(failed), Some(failure)) = (search.failed, failure) else {
        return check(
            Verdict::Ok,
            format!("{passed} bytes, the most that was tried"),
        );
    };
    let how = match failure {
        Tried::Ended(end) => format!("the connection ended by {end}"),
        Tried::TooLarge => "the server calls it too large".to_owned(),
        _ => "nothing came back".to_owned(),
    };
    let summary = format!("{passed} bytes; with {failed} {how}");
    match limit {
        // The search is that exact, so that a limit just above what passed is kept.
        Some(limit) if passed + RESOLUTION_BYTES < limit => check(Verdict::Failed, summary).advise(format_args!(
            "Messages above {passed} bytes do not pass, though the server takes {limit}: raise the limit of the proxy on the way, or lower the server's to what passes, so that clients hear a refusal instead of losing the connection."
        )),
        _ => check(Verdict::Note, summary).advise(format_args!("Keep messages below {passed} bytes.")),
    }
}

/// Halves the range between what passed and what did not.
#[derive(Debug)]
struct Search {
    bytes_max: u64,
    /// The largest that passed.
    passed: u64,
    /// The smallest that did not.
    failed: Option<u64>,
}

impl Search {
    const fn new(bytes_max: u64) -> Self {
        Self {
            bytes_max,
            passed: 0,
            failed: None,
        }
    }

    /// What to try next: first the most, as it passes on most paths.
    fn next(&self) -> Option<u64> {
        match self.failed {
            None => Some(self.bytes_max).filter(|max| self.passed < *max),
            Some(failed) => {
                let open = failed - self.passed;
                (open > RESOLUTION_BYTES.min(self.bytes_max / 64).max(1))
                    .then(|| self.passed + open / 2)
            }
        }
    }

    fn passed(&mut self, bytes: u64) {
        self.passed = self.passed.max(bytes);
    }

    fn failed(&mut self, bytes: u64) {
        self.failed = Some(self.failed.map_or(bytes, |failed| failed.min(bytes)));
    }
}

/// A connection that sends messages one way.
struct Sender<'a> {
    session: Session,
    way: &'a Way,
    seq: Seq,
}

impl<'a> Sender<'a> {
    async fn open(path: &Path, way: &'a Way) -> Result<Self, String> {
        let mut session = path.open().await?;
        if let Way::Published(topic) = way {
            follow(&mut session, topic, path.wait).await?;
        }
        let seq = Seq(1);
        Ok(Self { session, way, seq })
    }

    async fn send(&mut self, bytes: u64, wait: Duration) -> Tried {
        let extra = Duration::from_secs(bytes / BYTES_PER_SECOND_MIN);
        let tried = timeout(wait + extra, self.exchange(bytes)).await;
        match tried {
            Ok(Ok(tried)) => tried,
            Ok(Err(end)) => Tried::Ended(end),
            Err(_) => Tried::Swallowed,
        }
    }

    async fn exchange(&mut self, bytes: u64) -> Result<Tried, End> {
        let payload = "x".repeat(usize::try_from(bytes).unwrap_or(RECEIVED_BYTES_MAX));
        match self.way {
            Way::Refused => {
                let topic = TopicRef::parse(REFUSED_TOPIC).expect("a well-formed name");
                self.publish(topic, &payload).await?;
                self.refusal().await
            }
            Way::Published(topic) => {
                self.publish(topic.as_topic(), &payload).await?;
                self.arrival(payload.len()).await
            }
            Way::Echoed => {
                self.session.text(payload).await?;
                self.echo(bytes).await
            }
        }
    }

    async fn publish(&mut self, topic: TopicRef<'_>, payload: &str) -> Result<(), End> {
        let frame = ClientFrame::Pub {
            topic,
            seq: self.seq,
            payload: Message::Text(payload),
        };
        self.session.frame(&frame).await
    }

    /// Any answer to the publish says that it has arrived.
    async fn refusal(&mut self) -> Result<Tried, End> {
        loop {
            match self.session.next().await? {
                Heard::NotStored(NackCode::TooLarge) => return Ok(Tried::TooLarge),
                Heard::NotStored(..) | Heard::Acked(_) => return Ok(Tried::Passed),
                _ => {}
            }
        }
    }

    /// The message has been stored, and come back.
    async fn arrival(&mut self, bytes: usize) -> Result<Tried, End> {
        let (mut is_stored, mut is_back) = (false, false);
        while !(is_stored && is_back) {
            match self.session.next().await? {
                Heard::NotStored(NackCode::TooLarge) => return Ok(Tried::TooLarge),
                Heard::NotStored(code) => return Ok(Tried::Refused(code)),
                Heard::Acked(seq) => is_stored |= seq == self.seq,
                Heard::Message(length) => is_back |= length == bytes,
                _ => {}
            }
        }
        self.seq = Seq(self.seq.0 + 1);
        Ok(Tried::Passed)
    }

    async fn echo(&mut self, bytes: u64) -> Result<Tried, End> {
        loop {
            match self.session.next().await? {
                Heard::Text(text) if text.len() as u64 == bytes => return Ok(Tried::Passed),
                _ => {}
            }
        }
    }
}

async fn follow(session: &mut Session, topic: &TopicName, wait: Duration) -> Result<(), String> {
    let frame = ClientFrame::Sub {
        topic: topic.as_topic(),
        from: SubFrom::Tail,
    };
    let followed = async {
        session.frame(&frame).await.map_err(|end| end.to_string())?;
        loop {
            match session.next().await {
                Ok(Heard::Followed) => return Ok(()),
                Ok(Heard::NotFollowed(code)) => {
                    return Err(format!("{topic} cannot be followed: {code}"));
                }
                Ok(_) => {}
                Err(end) => return Err(end.to_string()),
            }
        }
    };
    let silence = || Err(format!("{topic} is not followed in time"));
    timeout(wait, followed).await.unwrap_or_else(|_| silence())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(bytes_max: u64, path_takes: u64) -> (Search, u32) {
        let mut search = Search::new(bytes_max);
        let mut tries = 0;
        while let Some(bytes) = search.next() {
            tries += 1;
            if bytes <= path_takes {
                search.passed(bytes);
            } else {
                search.failed(bytes);
            }
        }
        (search, tries)
    }

    #[test]
    fn a_path_that_takes_everything_costs_one_message() {
        let (search, tries) = search(1 << 20, u64::MAX);
        assert_eq!((search.passed, search.failed, tries), (1 << 20, None, 1));
        assert_eq!(judged(&search, None, Some(1 << 20)).verdict(), Verdict::Ok);
    }

    #[test]
    fn a_limit_on_the_way_is_found_to_a_kibibyte() {
        let (search, tries) = search(1 << 20, 65_536);
        assert!(
            search.passed <= 65_536 && search.passed + 1_024 > 65_536,
            "{search:?}"
        );
        assert!(tries <= 12, "{tries} messages");
        let check = judged(&search, Some(&Tried::Swallowed), Some(1 << 20));
        assert_eq!(check.verdict(), Verdict::Failed);
        assert!(
            check.advice().contains("raise the limit"),
            "{}",
            check.advice()
        );
    }

    #[test]
    fn a_path_that_takes_nothing_ends_the_search() {
        let (search, tries) = search(1 << 25, 0);
        assert_eq!(search.passed, 0);
        assert!(tries <= 16, "{tries} messages");
    }
}
