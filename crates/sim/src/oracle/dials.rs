//! How often, and how much in step, a client may dial.

use heartwire_proto::client::{Loss, Status};

/// As many dials of one outage, beside those that do not count.
const ATTEMPTS_MAX: u32 = 12;
/// An outage is over when a connection has been open for so long, in milliseconds.
const STABLE_MS: u64 = 5_000;
/// So many equal delays in a row are no chance: each is one of three thousand.
const EQUAL_MAX: usize = 4;

/// The dials of one client, counted from outside.
#[derive(Clone, Debug, Default)]
pub(crate) struct Dials {
    /// Dials since the last outage was over, the application last asked, or the machine woke up.
    counted: u32,
    open_since: Option<u64>,
    /// The first delays of outages, the latest last.
    first_delays: Vec<u64>,
}

impl Dials {
    /// Something local allows for dials again.
    pub(crate) const fn excuse(&mut self) {
        self.counted = 0;
    }

    /// What the link said at `now`. An error says what it did wrong.
    pub(crate) fn status(&mut self, status: &Status, now: u64) -> Result<(), String> {
        match status {
            Status::Open { .. } => self.open_since = Some(now),
            Status::Lost { why, retry_in, .. } => {
                self.ended(now);
                // A server that is full, or stops, names the delay: such dials do not count.
                let is_named = matches!(why, Loss::Closed { code, .. } if code.0 >= 4_100);
                return match is_named {
                    true => Ok(()),
                    false => self.lost(retry_in.as_millis() as u64),
                };
            }
            Status::Suspended { .. } => {
                self.ended(now);
                // A try now and then is no attempt.
                self.counted = 0;
            }
            Status::Connecting { .. } | Status::Closed { .. } => {}
        }
        Ok(())
    }

    fn ended(&mut self, now: u64) {
        if let Some(since) = self.open_since.take()
            && now - since >= STABLE_MS
        {
            self.counted = 0;
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
