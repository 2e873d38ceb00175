//! How often, and how much in step, a client may dial.

use heartwire_proto::client::{Loss, Status};

/// As many dials of one outage, beside those that do not count.
const ATTEMPTS_MAX: u32 = 12;
/// An outage is over when a connection has been open for so long, in milliseconds.
const STABLE_MS: u64 = 5_000;
/// So many equal delays in a row are no chance: each is one of three thousand.
const EQUAL_MAX: usize = 4;
/// The least delay before a dial, but for the first of an outage, in milliseconds.
const DELAY_MIN_MS: u64 = 300;
/// The longest first delay of an outage, in milliseconds.
const FIRST_MAX_MS: u64 = 3_000;
/// The longest delay that no server named, in milliseconds.
const DELAY_MAX_MS: u64 = 30_000;
/// A suspended link waits for so long at least before it tries by itself, in milliseconds.
const SUSPENDED_MIN_MS: u64 = 150_000;

/// The dials of one client, counted from outside.
#[derive(Clone, Debug, Default)]
pub(crate) struct Dials {
    /// Dials since the last outage was over, the application last asked, or the machine woke up.
    counted: u32,
    open_since: Option<u64>,
    /// When the next dial is due, as the link has said; nothing where something local may have asked
    /// for one.
    due_at: Option<u64>,
    /// Delays of this outage that the server named: such dials are no attempts, but count in the range
    /// from which the later delays are drawn.
    named: u32,
    /// How many attempts the link has told last.
    attempts: u32,
    /// The first delays of outages, the latest last.
    first_delays: Vec<u64>,
}

impl Dials {
    /// Something local allows for dials again.
    pub(crate) const fn excuse(&mut self) {
        self.counted = 0;
        self.due_at = None;
    }

    /// The link dials, at `now` on its own clock.
    pub(crate) fn dialled(&mut self, now: u64) -> Result<(), String> {
        match self.due_at.take() {
            Some(due_at) if now < due_at => {
                Err(format!("it dials {} ms before its time", due_at - now))
            }
            _ => Ok(()),
        }
    }

    /// What the link said at `now`, on its own clock. An error says what it did wrong.
    pub(crate) fn status(&mut self, status: &Status, now: u64) -> Result<(), String> {
        match status {
            Status::Open { .. } => self.open_since = Some(now),
            Status::Lost {
                why,
                retry_in,
                attempts,
            } => {
                let was_stable = self.ended(now);
                let before = std::mem::replace(&mut self.attempts, *attempts);
                if was_stable && *attempts <= 1 && before >= 1 {
                    // It counts anew. After dials that are no attempts nobody can tell: a link that did not
                    // run, or has no answer yet, does not take a connection for stable.
                    self.named = 0;
                }
                let delay = retry_in.as_millis() as u64;
                self.due_at = Some(now + delay);
                // A server that is full, or stops, names the delay: such dials do not count.
                if matches!(why, Loss::Closed { code, .. } if code.0 >= 4_100) {
                    self.named += 1;
                    return Ok(());
                }
                self.judge_delay(why, delay, *attempts, was_stable)?;
                return self.lost(delay);
            }
            Status::Suspended { .. } => {
                self.ended(now);
                // A try now and then is no attempt.
                self.counted = 0;
                self.due_at = Some(now + SUSPENDED_MIN_MS);
            }
            Status::Connecting { .. } | Status::Closed { .. } => {}
        }
        Ok(())
    }

    /// A connection has ended, if there was one; whether it may have been stable.
    fn ended(&mut self, now: u64) -> bool {
        let open_since = self.open_since.take();
        let was_stable = open_since.is_some_and(|since| now - since >= STABLE_MS);
        if was_stable {
            self.counted = 0;
        }
        was_stable
    }

    /// A delay lies in its range: none for a local cause, else from 0 to 3 s for the first of an
    /// outage, or from 0.3 s to a bound that doubles up to 30 s `[RETRY-2]`.
    fn judge_delay(
        &mut self,
        why: &Loss,
        delay: u64,
        attempts: u32,
        was_stable: bool,
    ) -> Result<(), String> {
        if delay == 0 && matches!(why, Loss::Requested | Loss::ClientIdInUse) {
            return Ok(());
        }
        if delay < DELAY_MIN_MS && !was_stable {
            return Err(format!(
                "a delay of {delay} ms for attempt {attempts}, {why}"
            ));
        }
        let doubled = 1_000 << (attempts + self.named).min(5);
        let longest = doubled.clamp(FIRST_MAX_MS, DELAY_MAX_MS);
        match delay > longest {
            true => Err(format!(
                "a delay of {delay} ms for attempt {attempts}, {longest} at most"
            )),
            false => Ok(()),
        }
    }

    fn lost(&mut self, delay: u64) -> Result<(), String> {
        self.counted += 1;
        if self.counted > ATTEMPTS_MAX + 1 {
            return Err(format!("dial {} of one outage", self.counted));
        }
        // A first delay is drawn from 0 to 3 s. None at all is a local cause's.
        if self.counted != 1 || delay == 0 {
            return Ok(());
        }
        self.first_delays.push(delay);
        let latest = self.first_delays.iter().rev().take(EQUAL_MAX);
        if latest.clone().count() == EQUAL_MAX && latest.clone().all(|of| *of == delay) {
            return Err(format!(
                "{EQUAL_MAX} outages in a row began with a delay of {delay} ms"
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use heartwire_proto::CloseCode;
    use heartwire_proto::id::Attempt;

    use super::*;

    fn lost(code: u16, delay_ms: u64, attempts: u32) -> Status {
        Status::Lost {
            why: Loss::Closed {
                code: CloseCode(code),
                reason: String::new(),
            },
            retry_in: Duration::from_millis(delay_ms),
            attempts,
        }
    }

    /// What becomes of a delay after a connection that was open for a minute, when the outage before it
    /// had one delay that the server named, and so many attempts.
    fn after_a_named_delay(attempts: u32, delay_ms: u64) -> Result<(), String> {
        let mut dials = Dials::default();
        dials.status(&lost(4_201, 5_000, 0), 0)?;
        if attempts > 0 {
            dials.status(&lost(1_006, 1_000, attempts), 6_000)?;
        }
        let open = Status::Open {
            attempt: Attempt(1),
        };
        dials.status(&open, 10_000)?;
        dials.status(&lost(1_006, delay_ms, 1), 70_000)
    }

    #[test]
    fn a_delay_that_the_server_named_counts_until_the_link_counts_anew() {
        assert!(after_a_named_delay(0, 3_900).is_ok());
        assert!(after_a_named_delay(0, 4_100).is_err());
        assert!(after_a_named_delay(1, 2_900).is_ok());
        assert!(after_a_named_delay(1, 3_100).is_err());
    }
}
