//! How many WebSockets there may be, in total and from one address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use heartwire_proto::Time;
use heartwire_proto::bucket::{Bucket, Rate};

use crate::api::HttpError;
use crate::clock;
use crate::shared::Shared;
use crate::sync::lock;

/// How long a client that found the server full is asked to stay away.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// How many connections a server holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConnectionLimits {
    /// WebSockets in all.
    pub total_max: usize,
    /// WebSockets from one address; from one /64 with IPv6, which is what one customer gets. A
    /// proxy in front is one address: raise it there.
    pub per_address_max: usize,
    /// WebSockets that may begin in a second, and as many at once after a quiet time.
    pub handshakes_per_second_max: NonZeroU64,
    /// Bytes of half-received messages in all; whoever brings more is closed with 4100.
    pub partial_bytes_max: usize,
}

impl Default for ConnectionLimits {
    /// 100,000 in all, 20,000 from one address, 10,000 a second, 256 MiB half-received: sized for a machine with a
    /// few GiB, at about 6 KB a connection with the kernel's part.
    fn default() -> Self {
        Self {
            total_max: 100_000,
            per_address_max: 20_000,
            handshakes_per_second_max: const { NonZeroU64::new(10_000).expect("not zero") },
            partial_bytes_max: 256 << 20,
        }
    }
}

/// A connection's place among those that there may be; given back when it is dropped.
pub(crate) struct Seat {
    shared: Arc<Shared>,
    address: Option<IpAddr>,
}

impl Seat {
    /// Takes a place, if one is free.
    pub(crate) fn take(shared: &Arc<Shared>, address: Option<IpAddr>) -> Result<Self, HttpError> {
        shared.seats.take(address, shared.clock.time())?;
        Ok(Self {
            shared: shared.clone(),
            address,
        })
    }

    /// The hub in which it is.
    pub(crate) const fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.shared.seats.leave(self.address);
    }
}

/// The seats taken.
pub(crate) struct Seats {
    limits: ConnectionLimits,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    total: usize,
    handshakes: Bucket,
    by_address: HashMap<IpAddr, usize>,
}

impl Seats {
    pub(crate) fn new(limits: ConnectionLimits) -> Self {
        Self {
            limits,
            taken: Mutex::default(),
        }
    }

    /// Takes a seat, to be given back with [`leave`](Self::leave) and the same address.
    fn take(&self, address: Option<IpAddr>, now: Time) -> Result<(), HttpError> {
        let mut taken = lock(&self.taken);
        let per_second = self.limits.handshakes_per_second_max;
        let rate = Rate::new(per_second, per_second.get());
        if taken.handshakes.take(1, rate, now).is_err() {
            return Err(too_fast());
        }
        if taken.total >= self.limits.total_max {
            return Err(full("the server holds as many WebSockets as it may"));
        }
        if let Some(address) = address.map(counted_as) {
            let seats = taken.by_address.entry(address).or_default();
            if *seats >= self.limits.per_address_max {
                return Err(full("this address holds as many WebSockets as one may"));
            }
            *seats += 1;
        }
        taken.total += 1;
        Ok(())
    }

    /// How many are taken.
    pub(crate) fn taken(&self) -> usize {
        lock(&self.taken).total
    }

    /// Gives a seat back.
    fn leave(&self, address: Option<IpAddr>) {
        let mut taken = lock(&self.taken);
        taken.total = taken.total.saturating_sub(1);
        let Some(address) = address.map(counted_as) else {
            return;
        };
        if let Some(seats) = taken.by_address.get_mut(&address) {
            *seats = seats.saturating_sub(1);
            if *seats == 0 {
                taken.by_address.remove(&address);
            }
        }
    }
}

/// What an address is counted as: itself, or its /64 with IPv6.
pub(crate) fn counted_as(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 => v4,
    }
}

/// Whoever is turned away together is told different delays, not to come back together.
fn too_fast() -> HttpError {
    let seconds = 1 + clock::random() % RETRY_AFTER.as_secs();
    let message = "more WebSockets begin in this second than may";
    HttpError::unavailable("too-many-handshakes", message, Duration::from_secs(seconds))
}

fn full(message: &'static str) -> HttpError {
    HttpError::unavailable("too-many-connections", message, RETRY_AFTER)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seats(total_max: usize, per_address_max: usize) -> Seats {
        Seats::new(ConnectionLimits {
            total_max,
            per_address_max,
            ..ConnectionLimits::default()
        })
    }

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().expect("an address"))
    }

    #[test]
    fn seats_are_counted_in_all_and_by_address() {
        let seats = seats(3, 2);
        let (one, two) = (address("192.0.2.1"), address("192.0.2.2"));
        assert!(seats.take(one, Time::ZERO).is_ok());
        assert!(seats.take(one, Time::ZERO).is_ok());
        let refused = seats
            .take(one, Time::ZERO)
            .expect_err("a third from one address");
        assert_eq!(
            (refused.status.as_u16(), refused.retry_after),
            (503, Some(RETRY_AFTER))
        );
        assert!(seats.take(two, Time::ZERO).is_ok());
        assert!(seats.take(None, Time::ZERO).is_err(), "a fourth in all");
        seats.leave(one);
        assert!(seats.take(one, Time::ZERO).is_ok());
    }

    #[test]
    fn one_customer_of_ipv6_is_one_address() {
        let seats = seats(9, 1);
        assert!(seats.take(address("2001:db8:1:2::1"), Time::ZERO).is_ok());
        assert!(
            seats
                .take(address("2001:db8:1:2:ffff::9"), Time::ZERO)
                .is_err()
        );
        assert!(seats.take(address("2001:db8:1:3::1"), Time::ZERO).is_ok());
        assert!(seats.take(address("::ffff:192.0.2.1"), Time::ZERO).is_ok());
        assert!(seats.take(address("192.0.2.1"), Time::ZERO).is_err());
    }

    #[test]
    fn an_address_without_seats_costs_nothing() {
        let seats = seats(9, 9);
        seats
            .take(address("192.0.2.1"), Time::ZERO)
            .expect("there is room");
        seats.leave(address("192.0.2.1"));
        assert!(lock(&seats.taken).by_address.is_empty());
    }

    #[test]
    fn handshakes_beyond_the_rate_are_turned_away_for_a_moment() {
        let seats = Seats::new(ConnectionLimits {
            handshakes_per_second_max: NonZeroU64::new(10).expect("not zero"),
            ..ConnectionLimits::default()
        });
        let taken = |millis| seats.take(None, Time::from_millis(millis));
        for number in 0..11 {
            assert!(taken(0).is_ok(), "{number}");
        }
        let refused = taken(0).expect_err("the twelfth at once");
        assert_eq!(
            (refused.status.as_u16(), refused.code),
            (503, "too-many-handshakes")
        );
        let delay = refused.retry_after.map(|delay| delay.as_secs());
        assert!(
            delay.is_some_and(|delay| (1..=5).contains(&delay)),
            "{delay:?}"
        );
        assert_eq!(seats.taken(), 11, "who is turned away takes no seat");
        assert!(taken(100).is_ok() && taken(100).is_err() && taken(2_000).is_ok());
    }
}
