//! The deadlines of a client session.

use crate::time::Time;

/// One kind of deadline.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Timer {
    /// The attempt must have led to `welcome`.
    Attempt,
    /// The link dials: after a loss, or by itself when it is suspended.
    Dial,
    /// The heartbeat has something to do.
    Heartbeat,
    /// The connection counts as stable, if every `sub` has been answered.
    Stable,
    /// A publish has waited so long for its answer that something must happen.
    Unanswered,
    /// A publish that was refused for the moment is sent again.
    Resend,
    /// The application's close waits no longer for the outbox.
    Flush,
}

impl Timer {
    const ALL: [Self; 7] = [
        Self::Attempt,
        Self::Dial,
        Self::Heartbeat,
        Self::Stable,
        Self::Unanswered,
        Self::Resend,
        Self::Flush,
    ];
}

/// When each deadline is due, if it is set.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct TimerTable {
    due: [Option<Time>; Timer::ALL.len()],
}

impl TimerTable {
    pub(super) const fn set(&mut self, timer: Timer, at: Time) {
        self.due[timer as usize] = Some(at);
    }

    pub(super) const fn stop(&mut self, timer: Timer) {
        self.due[timer as usize] = None;
    }

    pub(super) const fn get(&self, timer: Timer) -> Option<Time> {
        self.due[timer as usize]
    }

    pub(super) const fn is_set(&self, timer: Timer) -> bool {
        self.get(timer).is_some()
    }

    /// The earliest deadline.
    pub(super) fn next_timeout(&self) -> Option<Time> {
        self.due.iter().flatten().min().copied()
    }

    /// Stops and returns the earliest deadline that has come.
    pub(super) fn take_expired(&mut self, now: Time) -> Option<Timer> {
        let expired = |timer: &Timer| self.get(*timer).is_some_and(|at| at <= now);
        let timer = Timer::ALL
            .into_iter()
            .filter(expired)
            .min_by_key(|timer| self.get(*timer))?;
        self.stop(timer);
        Some(timer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_come_in_the_order_of_their_times() {
        let mut timers = TimerTable::default();
        assert_eq!(timers.next_timeout(), None);
        timers.set(Timer::Stable, Time::from_millis(30));
        timers.set(Timer::Dial, Time::from_millis(20));
        timers.set(Timer::Flush, Time::from_millis(10));
        timers.stop(Timer::Flush);
        assert_eq!(timers.next_timeout(), Some(Time::from_millis(20)));
        let now = Time::from_millis(30);
        assert_eq!(timers.take_expired(now), Some(Timer::Dial));
        assert_eq!(timers.take_expired(now), Some(Timer::Stable));
        assert_eq!(timers.take_expired(now), None);
    }
}
