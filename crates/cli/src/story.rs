//! What happens to a link, told in sentences.

use std::time::{Duration, Instant};

use heartwire::{Event, Missed, Status};

use crate::span::Span;
use crate::style::printable;

/// Tells the events of one link; remembers what makes them readable.
#[derive(Debug, Default)]
pub(crate) struct Story {
    was_open: bool,
    is_open: bool,
    lost_at: Option<Instant>,
}

impl Story {
    /// A sentence for people, if the event is worth one.
    pub(crate) fn tell(&mut self, event: &Result<Event, Missed>, now: Instant) -> Option<String> {
        let told = match event {
            Err(missed) => missed.to_string(),
            Ok(Event::Status(status)) => return self.status(status, now),
            Ok(Event::Gap { topic, gap }) => {
                let last = gap.last.map_or("?".to_owned(), |last| last.to_string());
                format!(
                    "gap: {topic} {}.{} to {last} will never come ({})",
                    gap.epoch, gap.first, gap.reason
                )
            }
            Ok(Event::Refused { topic, code }) => format!("{topic}: refused: {code}"),
            Ok(Event::Ended { topic, code }) => format!("{topic}: ended by the server: {code}"),
            Ok(Event::LogLost { from, to }) => {
                format!("the server lost its log, and with it publishes {from} to {to}")
            }
            Ok(Event::Unsent { messages }) => {
                format!("{messages} messages were lost with the connection, unsent")
            }
            Ok(Event::ClientChanged(_)) => {
                "another process used this client's id; a new one was drawn".to_owned()
            }
            Ok(_) => return None,
        };
        Some(printable(&told).into_owned())
    }

    fn status(&mut self, status: &Status, now: Instant) -> Option<String> {
        let told = match status {
            Status::Connecting { .. } => return None,
            Status::Open { .. } => {
                let again = if self.was_open { "open again" } else { "open" };
                (self.was_open, self.is_open) = (true, true);
                match self.lost_at.take() {
                    Some(lost_at) => {
                        format!("{again} after {}", seconds(now.duration_since(lost_at)))
                    }
                    None => again.to_owned(),
                }
            }
            Status::Lost { why, retry_in, .. } => {
                let what = self.loss(now);
                format!("{what}: {why}; dialling again in {}", seconds(*retry_in))
            }
            Status::Suspended { why, wake_in } => {
                let what = self.loss(now);
                let next = wake_in.map_or("only on request".to_owned(), |wake_in| {
                    format!("in {}", Span(Duration::from_secs(wake_in.as_secs())))
                });
                format!("{what}: {why}; suspended, dialling again {next}")
            }
            Status::Closed { why } => format!("closed: {why}"),
        };
        Some(printable(&told).into_owned())
    }

    /// The link is not open, and was not or was before.
    fn loss(&mut self, now: Instant) -> &'static str {
        self.lost_at.get_or_insert(now);
        if std::mem::take(&mut self.is_open) {
            "lost"
        } else {
            "no connection"
        }
    }
}

/// `2.1 s`
pub(crate) fn seconds(span: Duration) -> String {
    format!("{:.1} s", span.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use heartwire::{Attempt, CloseCode, Ending, Loss};

    fn tell(story: &mut Story, status: Status, now: Instant) -> Option<String> {
        story.tell(&Ok(Event::Status(status)), now)
    }

    #[test]
    fn a_loss_and_the_return_are_told_with_their_times() {
        let mut story = Story::default();
        let start = Instant::now();
        let attempt = Attempt(1);
        let open = Status::Open { attempt };
        let silent_for = Duration::from_millis(2_250);
        let lost = Status::Lost {
            why: Loss::Silent { silent_for },
            retry_in: Duration::from_millis(1_340),
            attempts: 0,
        };
        assert_eq!(
            tell(&mut story, Status::Connecting { attempt }, start),
            None
        );
        assert_eq!(
            tell(&mut story, open.clone(), start).as_deref(),
            Some("open")
        );
        assert_eq!(
            tell(&mut story, lost, start).as_deref(),
            Some("lost: nothing heard for 2.2 s; dialling again in 1.3 s")
        );
        let failed = Status::Lost {
            why: Loss::AttemptTimeout,
            retry_in: Duration::from_secs(2),
            attempts: 1,
        };
        assert_eq!(
            tell(&mut story, failed, start).as_deref(),
            Some("no connection: the attempt took too long; dialling again in 2.0 s")
        );
        let later = start + Duration::from_secs(5);
        assert_eq!(
            tell(&mut story, open, later).as_deref(),
            Some("open again after 5.0 s")
        );
    }

    #[test]
    fn what_a_server_says_cannot_move_the_cursor() {
        let why = Ending::Refused {
            code: CloseCode::FORBIDDEN,
            reason: "\x1b[2Jno".to_owned(),
        };
        let told = tell(
            &mut Story::default(),
            Status::Closed { why },
            Instant::now(),
        );
        assert_eq!(
            told.as_deref(),
            Some("closed: refused: 4003 forbidden: ␛[2Jno")
        );
    }
}
