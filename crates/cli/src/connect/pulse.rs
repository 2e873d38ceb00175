//! When to measure the round trip that the bottom line shows.
//!
//! A probe that stays unanswered for 3 s costs the connection, so a link that might be that slow is
//! left to its heartbeat, which is more patient.

use std::time::{Duration, Instant};

use heartwire::{Rtt, Status};

/// How often the round trip is measured.
const EVERY: Duration = Duration::from_secs(10);
/// A link that opens within this time, which takes some round trips, is quick enough to be probed.
const QUICK_OPENING: Duration = Duration::from_secs(1);
/// The longest round trip of a link that is probed.
const QUICK_ROUND_TRIP: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(super) struct Pulse {
    dialling_since: Instant,
    opened_quickly: bool,
    probed_at: Option<Instant>,
}

impl Pulse {
    /// For a link that has just begun to dial.
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            dialling_since: now,
            opened_quickly: false,
            probed_at: None,
        }
    }

    /// Notes another state of the link.
    pub(super) fn status(&mut self, status: &Status, now: Instant) {
        match status {
            Status::Connecting { .. } => {
                self.dialling_since = now;
                self.opened_quickly = false;
            }
            Status::Open { .. } => {
                self.opened_quickly = now.duration_since(self.dialling_since) < QUICK_OPENING;
                self.probed_at = None;
            }
            _ => self.opened_quickly = false,
        }
    }

    /// Whether to probe at this moment; it then counts as done.
    pub(super) fn wants_probe(&mut self, rtt: Option<Rtt>, now: Instant) -> bool {
        let is_slow =
            rtt.is_some_and(|rtt| u128::from(rtt.smoothed_ms) > QUICK_ROUND_TRIP.as_millis());
        let is_early = self
            .probed_at
            .is_some_and(|probed_at| now.duration_since(probed_at) < EVERY);
        let wants = self.opened_quickly && !is_slow && !is_early;
        if wants {
            self.probed_at = Some(now);
        }
        wants
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use heartwire::Attempt;

    const CONNECTING: Status = Status::Connecting {
        attempt: Attempt(1),
    };
    const OPEN: Status = Status::Open {
        attempt: Attempt(1),
    };

    fn opened_after(span: Duration) -> (Pulse, Instant) {
        let start = Instant::now();
        let mut pulse = Pulse::new(start);
        pulse.status(&OPEN, start + span);
        (pulse, start + span)
    }

    fn rtt(millis: u32) -> Option<Rtt> {
        Some(Rtt {
            last_ms: millis,
            smoothed_ms: millis,
            min_ms: millis,
        })
    }

    #[test]
    fn a_quick_link_is_measured_at_once_and_every_ten_seconds() {
        let (mut pulse, now) = opened_after(Duration::from_millis(20));
        assert!(pulse.wants_probe(None, now));
        assert!(!pulse.wants_probe(rtt(5), now + EVERY / 2));
        assert!(pulse.wants_probe(rtt(5), now + EVERY));
    }

    #[test]
    fn a_slow_link_is_left_to_its_heartbeat() {
        let (mut pulse, now) = opened_after(Duration::from_secs(2));
        assert!(!pulse.wants_probe(None, now));
        let (mut pulse, now) = opened_after(Duration::from_millis(20));
        assert!(!pulse.wants_probe(rtt(900), now));
    }

    #[test]
    fn a_link_that_is_not_open_is_not_measured() {
        let now = Instant::now();
        assert!(!Pulse::new(now).wants_probe(None, now));
        let (mut pulse, now) = opened_after(Duration::ZERO);
        pulse.status(&CONNECTING, now);
        assert!(!pulse.wants_probe(None, now));
    }
}
