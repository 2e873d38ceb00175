//! How often something happens, counted without a timer.

use heartwire_proto::Time;

const WINDOW_MS: u64 = 10_000;

/// Counts events over the last ten seconds: two neighbouring windows, the older weighted by how much
/// of it still lies within the ten seconds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Rate {
    window: u64,
    count: u32,
    count_before: u32,
}

impl Rate {
    /// One event.
    pub(crate) fn count(&mut self, now: Time) {
        *self = self.at(now);
        self.count = self.count.saturating_add(1);
    }

    /// Events in the ten seconds before `now`.
    pub(crate) fn per_ten_seconds(&self, now: Time) -> u32 {
        let rate = self.at(now);
        let left_ms = WINDOW_MS - now.as_millis() % WINDOW_MS;
        let before = u64::from(rate.count_before) * left_ms / WINDOW_MS;
        rate.count.saturating_add(before as u32)
    }

    fn at(&self, now: Time) -> Self {
        let window = now.as_millis() / WINDOW_MS;
        match window.saturating_sub(self.window) {
            0 => *self,
            1 => Self {
                window,
                count: 0,
                count_before: self.count,
            },
            _ => Self {
                window,
                ..Self::default()
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_fades_over_ten_seconds() {
        let mut rate = Rate::default();
        for _ in 0..100 {
            rate.count(Time::from_millis(9_000));
        }
        let at = |ms| rate.per_ten_seconds(Time::from_millis(ms));
        assert_eq!(
            [at(9_000), at(10_000), at(15_000), at(20_000)],
            [100, 100, 50, 0]
        );
    }
}
