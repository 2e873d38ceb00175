//! Whether the numbers of a topic came once each, in order.

use std::fmt;
use std::ops::AddAssign;

use heartwire::Delivery;

use crate::stamp::Stamp;

/// What a follower of one topic with one publisher has seen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sequence {
    next: u64,
    faults: Faults,
}

/// What should never happen.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Faults {
    /// Numbers that were passed over.
    pub lost: u64,
    /// Numbers that came again, or behind a later one.
    pub again: u64,
    /// Gaps that the server has named.
    pub gaps: u64,
    /// Messages that nobody stamped.
    pub strange: u64,
}

impl Sequence {
    /// For a topic whose first message has this number.
    pub const fn from(first: u64) -> Self {
        Self {
            next: first,
            faults: Faults {
                lost: 0,
                again: 0,
                gaps: 0,
                strange: 0,
            },
        }
    }

    /// Takes the next delivery in, and returns its stamp.
    pub fn note(&mut self, delivery: &Delivery) -> Option<Stamp> {
        let Delivery::Message(message) = delivery else {
            self.faults.gaps += 1;
            return None;
        };
        let stamp = Stamp::parse(&message.payload);
        match stamp {
            Some(stamp) => self.number(stamp.number),
            None => self.faults.strange += 1,
        }
        stamp
    }

    /// The number that has to come next: as many came, if there were no faults.
    pub const fn next(&self) -> u64 {
        self.next
    }

    /// What went wrong so far.
    pub const fn faults(&self) -> Faults {
        self.faults
    }

    fn number(&mut self, number: u64) {
        if number < self.next {
            self.faults.again += 1;
        } else {
            self.faults.lost += number - self.next;
            self.next = number + 1;
        }
    }
}

impl Faults {
    /// Whether everything came once, in order.
    pub fn none(&self) -> bool {
        *self == Self::default()
    }
}

impl AddAssign for Faults {
    fn add_assign(&mut self, other: Self) {
        self.lost += other.lost;
        self.again += other.again;
        self.gaps += other.gaps;
        self.strange += other.strange;
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            lost,
            again,
            gaps,
            strange,
        } = self;
        write!(
            f,
            "{lost} lost, {again} doubled or out of order, {gaps} gaps, {strange} foreign"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(numbers: &[u64]) -> Faults {
        let mut sequence = Sequence::default();
        numbers.iter().for_each(|number| sequence.number(*number));
        sequence.faults()
    }

    #[test]
    fn every_kind_of_disorder_is_a_fault() {
        assert!(faults(&[0, 1, 2]).none());
        assert_eq!(faults(&[0, 3]).lost, 2);
        assert_eq!(faults(&[0, 1, 1]).again, 1);
        let late = faults(&[0, 2, 1]);
        assert_eq!((late.lost, late.again), (1, 1));
    }
}
