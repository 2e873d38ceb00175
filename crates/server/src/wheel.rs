//! One coarse timer wheel for all connections of a hub.
//!
//! A timer of the runtime's own would cost every connection about a hundred bytes and a lock on
//! each change. Here a connection costs one handle in one slot. The wheel does not move a
//! handle when its deadline moves later, which a living connection's does with every byte: it asks
//! the connection when the old slot comes round, and files it anew.

use std::time::Duration;

use heartwire_proto::Time;

/// How many slots one turn has.
const SLOTS: u64 = 100;

/// Handles by the time at which they want to be asked.
///
/// Deadlines beyond one turn wait in the last slot and are filed anew from there. Slots are as
/// wide as [`Wheel::tick`]: what is due comes up to one tick late, never early.
#[derive(Debug)]
pub(crate) struct Wheel<H> {
    slots: Vec<Vec<H>>,
    tick_ms: u64,
    /// The next tick to be looked at, counted from the clock's origin.
    next_tick: u64,
}

impl<H> Wheel<H> {
    /// A wheel whose slots are `tick` wide.
    pub(crate) fn new(tick: Duration, now: Time) -> Self {
        let tick_ms = u64::try_from(tick.as_millis()).map_or(1, |ms| ms.max(1));
        Self {
            slots: (0..SLOTS).map(|_| Vec::new()).collect(),
            tick_ms,
            next_tick: now.as_millis() / tick_ms + 1,
        }
    }

    /// When [`turn`](Self::turn) is next worth calling.
    pub(crate) const fn next_turn(&self) -> Time {
        Time::from_millis(self.next_tick * self.tick_ms)
    }

    /// Files a handle to come up when `deadline` has passed; tells when its slot comes.
    pub(crate) fn file(&mut self, handle: H, deadline: Time) -> Time {
        let due_tick = deadline.as_millis().div_ceil(self.tick_ms);
        let last = self.next_tick + SLOTS - 1;
        let tick = due_tick.clamp(self.next_tick, last);
        self.slots[(tick % SLOTS) as usize].push(handle);
        Time::from_millis(tick * self.tick_ms)
    }

    /// Everything that is filed, some of it perhaps twice.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &H> {
        self.slots.iter().flatten()
    }

    /// Moves everything whose slot has come into `due`. A pause longer than a turn empties the
    /// whole wheel once.
    pub(crate) fn turn(&mut self, now: Time, due: &mut Vec<H>) {
        let current = now.as_millis() / self.tick_ms;
        let first = self.next_tick.max(current.saturating_sub(SLOTS - 1));
        for tick in first..=current {
            let slot = &mut self.slots[(tick % SLOTS) as usize];
            due.append(slot);
            // A fleet that came at once leaves again: its slot's memory goes as well.
            slot.shrink_to(slot.capacity() / 2);
        }
        self.next_tick = self.next_tick.max(current + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::from_millis(millis)
    }

    fn due(wheel: &mut Wheel<u32>, millis: u64) -> Vec<u32> {
        let mut due = Vec::new();
        wheel.turn(at(millis), &mut due);
        due.sort_unstable();
        due
    }

    #[test]
    fn a_handle_comes_up_at_most_one_tick_late_and_never_early() {
        for start in [0, 1, 99, 12_345] {
            for delay in [0, 1, 99, 100, 101, 5_000, 9_800] {
                let mut wheel = Wheel::new(Duration::from_millis(100), at(start));
                wheel.file(7, at(start + delay));
                let found = (start..).find(|ms| !due(&mut wheel, *ms).is_empty());
                let late = found.expect("it comes up") - (start + delay);
                assert!(late <= 100, "{late} ms late at {start} + {delay}");
            }
        }
    }

    #[test]
    fn a_far_deadline_waits_one_turn_and_is_asked() {
        let mut wheel = Wheel::new(Duration::from_millis(100), at(0));
        wheel.file(7, at(1_000_000));
        assert_eq!(due(&mut wheel, 9_999), Vec::<u32>::new());
        assert_eq!(due(&mut wheel, 10_000), [7]);
    }

    #[test]
    fn a_long_pause_brings_each_handle_once() {
        let mut wheel = Wheel::new(Duration::from_millis(100), at(0));
        for handle in 0..100 {
            wheel.file(handle, at(u64::from(handle) * 100));
        }
        assert_eq!(due(&mut wheel, 3_600_000).len(), 100);
        assert_eq!(due(&mut wheel, 7_200_000), Vec::<u32>::new());
        wheel.file(1, at(7_200_001));
        assert_eq!(due(&mut wheel, 7_200_100), [1]);
    }
}
