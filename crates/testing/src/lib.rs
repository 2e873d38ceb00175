//! What the tests of several crates share: how late this machine does what is due, an address that
//! stays free, and random numbers that are the same each time.
//!
//! A test in real time says that something happens within a bound. On a busy machine everything
//! comes late, the test itself included, and a bound with a fixed surcharge then fails by chance,
//! or is so wide that it never fails. So the surcharge is measured: a thread that does nothing but
//! wake up again and again notes how much later than due it ran.

use std::net::{SocketAddr, TcpListener};
use std::process;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

pub use heartwire_disk::Dice;

/// How often the watching thread wants to run.
const EVERY: Duration = Duration::from_millis(5);
/// Lateness up to here is the rule with timers, and no sign of a busy machine.
const USUAL: Duration = Duration::from_millis(10);
/// What timers, system calls and the way through several threads may take on an idle machine.
const IDLE_ALLOWANCE: Duration = Duration::from_millis(400);
/// How often lateness counts. Both ends may be late, one after the other; and an end that finds its
/// own deadline half a second overdue gives its peer a second more.
const TIMES: u32 = 4;

/// A free address on loopback on which one server can follow another: below the ports that the
/// system hands out by itself, so that nobody gets it in between.
///
/// # Panics
///
/// When none of thousands of ports is free.
pub fn lasting_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Other processes of tests begin elsewhere.
    let first = 20_000 + u16::try_from(process::id() % 8_000).expect("below 8,000");
    loop {
        let port = first + NEXT.fetch_add(1, Ordering::SeqCst);
        assert!(port < 32_000, "no port is free");
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

/// Watches how late this machine is, from its creation until it is dropped.
#[derive(Debug)]
pub struct Lateness {
    noted: Arc<Mutex<Noted>>,
}

#[derive(Debug)]
struct Noted {
    /// When the thread runs next, if nothing holds it up.
    due: Instant,
    /// All lateness before that.
    total: Duration,
}

impl Lateness {
    /// Begins to watch.
    pub fn watch() -> Self {
        let noted = Arc::new(Mutex::new(Noted::beginning(Instant::now())));
        let thread_s = Arc::downgrade(&noted);
        thread::spawn(move || watch(&thread_s));
        Self { noted }
    }

    /// All lateness so far: the sum of how much later than due the thread ran.
    pub fn total(&self) -> Duration {
        // What holds this moment up holds the thread up as well, which has not noted it yet.
        let noted = lock(&self.noted);
        noted.total + noted.late_by(Instant::now())
    }

    /// What may be added to a bound for what has happened on this machine since
    /// [`watch`](Self::watch).
    pub fn allowance(&self) -> Duration {
        allowance(self.total())
    }
}

fn allowance(total: Duration) -> Duration {
    IDLE_ALLOWANCE + total * TIMES
}

/// Runs until nobody wants to know any more.
fn watch(noted: &Weak<Mutex<Noted>>) {
    loop {
        thread::sleep(EVERY);
        let Some(noted) = noted.upgrade() else { return };
        lock(&noted).note(Instant::now());
    }
}

impl Noted {
    fn beginning(now: Instant) -> Self {
        Self {
            due: now + EVERY,
            total: Duration::ZERO,
        }
    }

    fn note(&mut self, now: Instant) {
        self.total += self.late_by(now);
        self.due = now + EVERY;
    }

    fn late_by(&self, now: Instant) -> Duration {
        let late = now.saturating_duration_since(self.due);
        if late > USUAL { late } else { Duration::ZERO }
    }
}

fn lock(noted: &Mutex<Noted>) -> MutexGuard<'_, Noted> {
    noted.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_free_and_given_once() {
        let (one, other) = (lasting_address(), lasting_address());
        assert_ne!(one, other);
        let again = [one, other].map(TcpListener::bind);
        assert!(again.iter().all(Result::is_ok), "{again:?}");
    }

    #[test]
    fn lateness_adds_up_and_what_is_usual_does_not_count() {
        let begin = Instant::now();
        let mut noted = Noted::beginning(begin);
        noted.note(begin + EVERY + USUAL);
        assert_eq!(noted.total, Duration::ZERO);
        let second = Duration::from_secs(1);
        noted.note(noted.due + second);
        noted.note(noted.due + second / 2);
        assert_eq!(noted.total, second * 3 / 2);
        assert_eq!(noted.late_by(noted.due + second), second);
    }

    #[test]
    fn a_thread_that_is_held_up_counts_before_it_has_noted() {
        let held_up = Duration::from_millis(300);
        let lateness = Lateness {
            noted: Arc::new(Mutex::new(Noted {
                due: Instant::now() - held_up,
                total: held_up,
            })),
        };
        assert!(lateness.total() >= held_up * 2);
        assert!(lateness.allowance() >= IDLE_ALLOWANCE + held_up * 2 * TIMES);
    }
}
