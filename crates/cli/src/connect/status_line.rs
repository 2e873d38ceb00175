//! The link's state in a few words.

use std::time::Duration;

use heartwire::{Rtt, Status};

/// What stands at the left of the bottom line.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct StatusLine {
    pub(super) health: Health,
    /// Such as `open 12 ms`.
    pub(super) text: String,
}

/// How well the link is, as colour and mark show it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Health {
    Good,
    #[default]
    Waiting,
    Over,
}

impl Health {
    /// The sign that stands for it, for those who see no colours.
    pub(super) const fn mark(self) -> char {
        match self {
            Self::Good => '●',
            Self::Waiting => '○',
            Self::Over => '×',
        }
    }
}

impl StatusLine {
    /// The words for a state that has lasted for a while.
    pub(super) fn of(status: &Status, rtt: Option<Rtt>, lasted: Duration) -> Self {
        let left = |span: Duration| span.saturating_sub(lasted).as_secs_f64().ceil();
        let text = match status {
            Status::Open { .. } => match rtt {
                Some(rtt) => format!("open {} ms", rtt.last_ms),
                None => "open".to_owned(),
            },
            Status::Lost { retry_in, .. } => format!("lost, again in {} s", left(*retry_in)),
            Status::Suspended {
                wake_in: Some(wake_in),
                ..
            } => format!("suspended, again in {} s", left(*wake_in)),
            Status::Suspended { .. } => "suspended, /reconnect".to_owned(),
            Status::Connecting { .. } | Status::Closed { .. } => status.name().to_owned(),
        };
        let health = match status {
            Status::Open { .. } => Health::Good,
            Status::Closed { .. } => Health::Over,
            _ => Health::Waiting,
        };
        Self { health, text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use heartwire::{Attempt, Loss};

    const NONE: Duration = Duration::ZERO;

    #[test]
    fn an_open_link_shows_its_round_trip() {
        let open = Status::Open {
            attempt: Attempt(1),
        };
        let rtt = Rtt {
            last_ms: 12,
            smoothed_ms: 14,
            min_ms: 9,
        };
        assert_eq!(StatusLine::of(&open, None, NONE).text, "open");
        let line = StatusLine::of(&open, Some(rtt), NONE);
        assert_eq!(
            (line.text.as_str(), line.health),
            ("open 12 ms", Health::Good)
        );
    }

    #[test]
    fn a_lost_link_counts_down() {
        let lost = Status::Lost {
            why: Loss::Requested,
            retry_in: Duration::from_millis(2_500),
            attempts: 1,
        };
        let text = |millis| StatusLine::of(&lost, None, Duration::from_millis(millis)).text;
        assert_eq!(text(0), "lost, again in 3 s");
        assert_eq!(text(1_600), "lost, again in 1 s");
        assert_eq!(text(9_000), "lost, again in 0 s");
    }
}
