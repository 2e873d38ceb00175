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

/// How time is cut into slots.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Ticks {
    ms: u64,
}

impl Ticks {
    /// Slots of this width, at least a millisecond.
    pub(crate) fn new(width: Duration) -> Self {
        let ms = u64::try_from(width.as_millis()).map_or(1, |ms| ms.max(1));
        Self { ms }
    }

    /// The slot in which a moment lies.
    pub(crate) const fn of(self, time: Time) -> u64 {
        time.as_millis() / self.ms
    }

    /// The first slot that begins at a deadline or after it.
    const fn due(self, deadline: Time) -> u64 {
        deadline.as_millis().div_ceil(self.ms)
    }

    const fn start(self, tick: u64) -> Time {
        Time::from_millis(tick * self.ms)
    }
}

/// For which slot somebody is filed, in four bytes: slots are counted modulo 2³², as those compared
/// are never more than a turn apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Alarm(u32);

impl Alarm {
    /// Filed for this slot.
    pub(crate) const fn at(tick: u64) -> Self {
        Self(tick as u32)
    }

    /// Whether the slot is still to come.
    pub(crate) const fn is_ahead(self, ticks: Ticks, now: Time) -> bool {
        self.ahead(ticks.of(now)) > 0
    }

    /// Whether the slot comes in time for a deadline.
    pub(crate) fn is_in_time(self, ticks: Ticks, now: Time, deadline: Time) -> bool {
        let now = ticks.of(now);
        let wanted = ticks.due(deadline).saturating_sub(now).min(SLOTS);
        self.ahead(now) <= wanted as i32
    }

    const fn ahead(self, now: u64) -> i32 {
        self.0.wrapping_sub(now as u32) as i32
    }
}

/// Handles by the time at which they want to be asked.
///
/// Deadlines beyond one turn wait in the last slot and are filed anew from there. What
/// is due comes up to one slot late, never early.
#[derive(Debug)]
pub(crate) struct Wheel<H> {
    slots: Vec<Vec<H>>,
    ticks: Ticks,
    /// The next tick to be looked at, counted from the clock's origin.
    next_tick: u64,
}

impl<H> Wheel<H> {
    /// An empty wheel.
    pub(crate) fn new(ticks: Ticks, now: Time) -> Self {
        Self {
            slots: (0..SLOTS).map(|_| Vec::new()).collect(),
            ticks,
            next_tick: ticks.of(now) + 1,
        }
    }

    /// When [`turn`](Self::turn) is next worth calling.
    pub(crate) const fn next_turn(&self) -> Time {
        self.ticks.start(self.next_tick)
    }

    /// Files a handle to come up when `deadline` has passed; tells in which slot.
    pub(crate) fn file(&mut self, handle: H, deadline: Time) -> u64 {
        let last = self.next_tick + SLOTS - 1;
        let tick = self.ticks.due(deadline).clamp(self.next_tick, last);
        self.slots[(tick % SLOTS) as usize].push(handle);
        tick
    }

    /// Everything that is filed, some of it perhaps twice.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &H> {
        self.slots.iter().flatten()
    }

    /// Moves everything whose slot has come into `due`. A pause longer than a turn empties the
    /// whole wheel once.
    pub(crate) fn turn(&mut self, now: Time, due: &mut Vec<H>) {
        let current = self.ticks.of(now);
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

    fn ticks() -> Ticks {
        Ticks::new(Duration::from_millis(100))
    }

    fn wheel(start: u64) -> Wheel<u32> {
        Wheel::new(ticks(), at(start))
    }

    fn due(wheel: &mut Wheel<u32>, millis: u64) -> Vec<u32> {
        let mut due = Vec::new();
        wheel.turn(at(millis), &mut due);
        due.sort_unstable();
        due
    }

    #[test]
    fn a_handle_comes_up_at_most_one_slot_late_and_never_early() {
        for start in [0, 1, 99, 12_345] {
            for delay in [0, 1, 99, 100, 101, 5_000, 9_800] {
                let mut wheel = wheel(start);
                wheel.file(7, at(start + delay));
                let found = (start..).find(|ms| !due(&mut wheel, *ms).is_empty());
                let late = found.expect("it comes up") - (start + delay);
                assert!(late <= 100, "{late} ms late at {start} + {delay}");
            }
        }
    }

    #[test]
    fn a_far_deadline_waits_one_turn_and_is_asked() {
        let mut wheel = wheel(0);
        wheel.file(7, at(u64::MAX));
        assert_eq!(due(&mut wheel, 9_999), Vec::<u32>::new());
        assert_eq!(due(&mut wheel, 10_000), [7]);
    }

    #[test]
    fn a_long_pause_brings_each_handle_once() {
        let mut wheel = wheel(0);
        for handle in 0..100 {
            wheel.file(handle, at(u64::from(handle) * 100));
        }
        assert_eq!(due(&mut wheel, 3_600_000).len(), 100);
        assert_eq!(due(&mut wheel, 7_200_000), Vec::<u32>::new());
        wheel.file(1, at(7_200_001));
        assert_eq!(due(&mut wheel, 7_200_100), [1]);
    }

    #[test]
    fn an_alarm_knows_whether_it_comes_in_time_however_long_the_server_runs() {
        let years = 100 * (u64::from(u32::MAX) - 3);
        for start in [0, 12_345, years] {
            let now = at(start);
            let mut wheel = wheel(start);
            let alarm = Alarm::at(wheel.file(7, at(start + 5_000)));
            assert!(alarm.is_ahead(ticks(), now));
            assert!(alarm.is_in_time(ticks(), now, at(start + 5_000)));
            assert!(alarm.is_in_time(ticks(), now, at(u64::MAX)));
            assert!(!alarm.is_in_time(ticks(), now, at(start + 4_800)));
            assert!(!alarm.is_ahead(ticks(), at(start + 5_100)));
        }
    }
}
