//! One WebSocket connection over a socket.
//!
//! ```text
//!   socket ─► Task: read ─► Decoder ─► heartwire_hub::Connection ─► hub ─► whom it wakes
//!                                            │                               │ Conn::pump
//!   socket ◄──────────── write ◄── Outgoing ◄┘◄──────────────────────────────┘
//! ```
//!
//! A connection is two things. The [`Task`] owns the way in: it is a small hand-written future
//! that reads into a buffer of its thread, so that an idle connection owns no buffer and no timer.
//! The [`Conn`] is shared: whoever has something for the connection (a publisher on another one,
//! mostly) [pumps](Conn::pump) it from the thread it is on, which saves waking the task for each
//! delivery. Only when the socket is full does the task wait for room and go on.
//!
//! **Invariant**: one place writes to the socket ([`Output`]), under the connection's lock. A
//! connection's lock comes before the hub's; nobody ever holds two connections' locks.

mod input;
mod open;
mod output;
mod task;
mod transport;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::task::AtomicWaker;
use heartwire_proto::{Close, Time};

use crate::admission::Seat;
use crate::shared::{Shared, Wakes};
use crate::sync::{lock, try_lock};

pub(crate) use open::{Opening, open};

use output::{Output, Pumped};

/// What [`Conn::alarm_ms`] is before the wheel holds the connection.
const NEVER_FILED: u64 = u64::MAX;

/// The shared half of a connection.
pub(crate) struct Conn {
    seat: Seat,
    output: Mutex<Output>,
    /// Somebody came to pump while the lock was held: whoever holds it looks here afterwards.
    came: AtomicBool,
    /// The wheel says that a deadline has passed.
    is_due: AtomicBool,
    /// The deadline for which the wheel holds the connection, in milliseconds of the hub's clock.
    alarm_ms: AtomicU64,
    /// Wakes the task.
    waker: AtomicWaker,
}

impl Conn {
    fn shared(&self) -> &Arc<Shared> {
        self.seat.shared()
    }

    /// Takes from the hub what has come for the connection, and writes what the socket takes.
    ///
    /// If somebody holds the connection just now, it is they who do it when they are done.
    pub(crate) fn pump(self: &Arc<Self>) {
        self.came.store(true, Ordering::SeqCst);
        let mut wakes = Wakes::default();
        while self.came.load(Ordering::SeqCst) {
            let Some(mut output) = try_lock(&self.output) else {
                break;
            };
            self.came.store(false, Ordering::SeqCst);
            let pumped = output.pump(self.shared(), None, &mut wakes);
            let task_is_needed = pumped != Pumped::Drained || output.connection.closing().is_some();
            drop(output);
            if task_is_needed {
                self.waker.wake();
            }
        }
        wakes.run();
    }

    /// Ends the connection, behind the acks that it is still owed.
    pub(crate) fn close(self: &Arc<Self>, close: Close) {
        let mut wakes = Wakes::default();
        {
            let now = self.shared().clock.time();
            let mut output = lock(&self.output);
            output.fill(self.shared(), &mut wakes);
            output.connection.close(close, now);
            output.pump(self.shared(), None, &mut wakes);
        }
        // The task sees the end through, and pumps for whoever came meanwhile.
        self.waker.wake();
        wakes.run();
    }

    /// The wheel's slot of the connection has come: its task is woken if something is due, else it
    /// is filed for the deadline that it has by now.
    pub(crate) fn alarm(self: &Arc<Self>, now: Time) {
        if self.alarm_ms.load(Ordering::Acquire) > now.as_millis() {
            // A later slot holds it as well.
            return;
        }
        let deadline = match try_lock(&self.output) {
            Some(output) if output.is_gone() => return,
            Some(output) => output.connection.deadline(),
            // Whoever holds it is about to move the deadline: the next slot asks again.
            None => now + self.shared().config.tick(),
        };
        if deadline > now {
            self.file(deadline);
        } else {
            self.is_due.store(true, Ordering::Release);
            self.waker.wake();
        }
    }

    /// Files the connection in the wheel, unless a slot that comes in time holds it already. Returns
    /// whether that was for the first time.
    fn arm(self: &Arc<Self>, deadline: Time, was_due: bool) -> bool {
        let filed = self.alarm_ms.load(Ordering::Acquire);
        if was_due || deadline.as_millis() < filed {
            self.file(deadline);
        }
        filed == NEVER_FILED
    }

    fn file(self: &Arc<Self>, deadline: Time) {
        let mut wheel = lock(&self.shared().wheel);
        let due = wheel.file(Arc::downgrade(self), deadline);
        self.alarm_ms.store(due.as_millis(), Ordering::Release);
    }
}
