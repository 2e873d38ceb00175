//! Whom the server turned away, by reason; and one line in the log for each reason a minute, so that
//! an attack does not fill the disk.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use heartwire_proto::Time;

use crate::sync::lock;

/// How often one reason is logged at most.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// Where somebody was turned away.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum Over {
    /// Before there was a whole request.
    Accept,
    /// By a status.
    Http,
    /// By a close code.
    WebSocket,
}

impl Over {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Http => "http",
            Self::WebSocket => "websocket",
        }
    }
}

/// How a refusal is logged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Weight {
    /// Somebody came who may not, or at a limit: an operator wants to know.
    Warning,
    /// A caller's mistake, which it has been told.
    Mistake,
}

/// Where, and the code: those of the HTTP API, or the names of close codes.
type Reason = (Over, &'static str);

#[derive(Default)]
pub(crate) struct Refusals {
    by_reason: Mutex<BTreeMap<Reason, Refused>>,
}

#[derive(Default)]
struct Refused {
    count: u64,
    told_at: Option<Time>,
    held_back: u64,
}

/// What is to be logged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Told {
    over: Over,
    reason: &'static str,
    /// Refusals for this reason since the line before.
    count: u64,
}

impl Refusals {
    /// Somebody was turned away.
    pub(crate) fn note(&self, over: Over, reason: &'static str, weight: Weight, now: Time) {
        let told = self.count(over, reason, weight, now);
        if weight == Weight::Mistake {
            tracing::debug!(over = over.as_str(), reason, "a request was refused");
        }
        told.into_iter().for_each(Told::log);
    }

    /// Logs what was held back and is due. To be called about once a second.
    pub(crate) fn tell(&self, now: Time) {
        self.due(now).into_iter().for_each(Told::log);
    }

    /// Where, why, and how often.
    pub(crate) fn counts(&self) -> Vec<(Over, &'static str, u64)> {
        let by_reason = lock(&self.by_reason);
        let counts = by_reason.iter();
        counts
            .map(|((over, reason), refused)| (*over, *reason, refused.count))
            .collect()
    }

    fn count(&self, over: Over, reason: &'static str, weight: Weight, now: Time) -> Option<Told> {
        let mut by_reason = lock(&self.by_reason);
        let refused = by_reason.entry((over, reason)).or_default();
        refused.count += 1;
        if weight == Weight::Mistake {
            return None;
        }
        refused.held_back += 1;
        refused.take_due(now).map(|count| Told {
            over,
            reason,
            count,
        })
    }

    fn due(&self, now: Time) -> Vec<Told> {
        let mut by_reason = lock(&self.by_reason);
        let due = by_reason.iter_mut().filter_map(|(reason, refused)| {
            let (over, reason) = *reason;
            let count = refused.take_due(now)?;
            Some(Told {
                over,
                reason,
                count,
            })
        });
        due.collect()
    }
}

impl Refused {
    /// How many refusals a line would tell, if there are any and the last line is old enough.
    fn take_due(&mut self, now: Time) -> Option<u64> {
        let is_quiet = self
            .told_at
            .is_none_or(|told_at| now.since(told_at) >= TELL_EVERY);
        if self.held_back == 0 || !is_quiet {
            return None;
        }
        self.told_at = Some(now);
        Some(std::mem::take(&mut self.held_back))
    }
}

impl Told {
    fn log(self) {
        let Self {
            over,
            reason,
            count,
        } = self;
        tracing::warn!(
            over = over.as_str(),
            reason,
            count,
            "clients were refused; the next line for this reason comes in a minute at the earliest"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::from_millis(seconds * 1_000)
    }

    fn told(refusals: &Refusals, reason: &'static str, seconds: u64) -> Option<u64> {
        let told = refusals.count(Over::Http, reason, Weight::Warning, at(seconds));
        told.map(|told| told.count)
    }

    #[test]
    fn a_reason_is_told_at_once_and_then_once_a_minute_with_what_was_held_back() {
        let refusals = Refusals::default();
        assert_eq!(told(&refusals, "unauthorized", 5), Some(1));
        assert_eq!(told(&refusals, "unauthorized", 6), None);
        assert_eq!(told(&refusals, "draining", 6), Some(1), "another reason");
        assert_eq!(told(&refusals, "unauthorized", 64), None);
        assert_eq!(told(&refusals, "unauthorized", 65), Some(3));
    }

    #[test]
    fn what_was_held_back_is_told_though_nobody_else_comes() {
        let refusals = Refusals::default();
        for _ in 0..3 {
            let _ = told(&refusals, "unauthorized", 1);
        }
        assert_eq!(refusals.due(at(60)), []);
        let due = refusals.due(at(61));
        assert_eq!(due.iter().map(|told| told.count).collect::<Vec<_>>(), [2]);
        assert_eq!(refusals.due(at(200)), []);
    }

    #[test]
    fn a_mistake_is_counted_and_no_warning() {
        let refusals = Refusals::default();
        let told = refusals.count(Over::Http, "bad-topic", Weight::Mistake, at(1));
        assert_eq!(told, None);
        assert_eq!(refusals.due(at(100)), []);
        assert_eq!(refusals.counts(), [(Over::Http, "bad-topic", 1)]);
    }
}
