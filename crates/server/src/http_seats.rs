//! How many connections may speak HTTP at the same time, in all and from one address. Whoever
//! dials and says nothing holds a place until its deadline: one address alone must not be able to
//! hold them all, as then nobody else could dial.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use crate::admission::counted_as;
use crate::sync::lock;

/// The places there are, and who has them.
pub(crate) struct HttpSeats {
    total_max: usize,
    per_address_max: usize,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    total: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// One place; given back when it is dropped.
pub(crate) struct HttpSeat {
    seats: Arc<HttpSeats>,
    address: Option<IpAddr>,
}

impl HttpSeats {
    /// So many places in all, and so many for one address.
    pub(crate) fn new(total_max: usize, per_address_max: usize) -> Arc<Self> {
        Arc::new(Self {
            total_max,
            per_address_max,
            taken: Mutex::default(),
        })
    }

    /// Takes a place, if there is one. A proxy, which comes for many, has no `address`.
    pub(crate) fn take(self: &Arc<Self>, address: Option<IpAddr>) -> Option<HttpSeat> {
        let address = address.map(counted_as);
        let mut taken = lock(&self.taken);
        if taken.total >= self.total_max {
            return None;
        }
        if let Some(address) = address {
            let of_address = taken.by_address.entry(address).or_default();
            if *of_address >= self.per_address_max {
                return None;
            }
            *of_address += 1;
        }
        taken.total += 1;
        Some(HttpSeat {
            seats: self.clone(),
            address,
        })
    }
}

impl Drop for HttpSeat {
    fn drop(&mut self) {
        let mut taken = lock(&self.seats.taken);
        taken.total -= 1;
        let Some(address) = self.address else {
            return;
        };
        if let Some(of_address) = taken.by_address.get_mut(&address) {
            *of_address -= 1;
            if *of_address == 0 {
                taken.by_address.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().expect("an address"))
    }

    #[test]
    fn one_address_leaves_places_for_others_and_gives_its_own_back() {
        let seats = HttpSeats::new(3, 2);
        let (one, other) = (address("192.0.2.1"), address("192.0.2.2"));
        let first = seats.take(one).expect("free");
        let _second = seats.take(one).expect("free");
        assert!(seats.take(one).is_none(), "a third from one address");
        let third = seats.take(other).expect("another address has room");
        assert!(seats.take(other).is_none(), "a fourth in all");
        drop((first, third));
        assert!(seats.take(one).is_some());
        assert_eq!(lock(&seats.taken).by_address.len(), 1);
    }

    #[test]
    fn a_proxy_is_bounded_by_the_total_alone() {
        let seats = HttpSeats::new(3, 1);
        let held: Vec<_> = (0..3).map(|_| seats.take(None)).collect();
        assert!(held.iter().all(Option::is_some));
        assert!(seats.take(None).is_none());
    }
}
