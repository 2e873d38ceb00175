//! One WebSocket connection over a socket.
//!
//! ```text
//!   socket ─► Task: read ─► Decoder ─► heartwire_hub::Connection ─► hub ─► whom it wakes
//!                                            │                               │ Conn::pump
//!   socket ◄──────────── write ◄── Outgoing ◄┘◄──────────────────────────────┘
//! ```
//!
//! A connection is two things. The [`Task`](task::Task) owns the way in: it is a small hand-written future
//! that reads into a buffer of its thread, so that an idle connection owns no buffer and no timer.
//! The [`Conn`] is shared: whoever has something for the connection (a publisher on another one,
//! mostly) [pumps](Conn::pump) it from the thread it is on, which saves waking the task for each
//! delivery. Only when the socket is full does the task wait for room and go on.
//!
//! **Invariant**: one place writes to the socket ([`Output`]), under the connection's lock. A
//! connection's lock comes before the hub's; nobody ever holds two connections' locks.

mod account;
mod admit;
mod input;
mod open;
mod output;
mod secured;
mod task;
mod transport;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Waker;
use std::time::Duration;

use heartwire_hub::Mode;
use heartwire_proto::{Close, Time};

use crate::shared::{Shared, Wakes};
use crate::sync::{lock, try_lock};
use crate::wheel::Alarm;

pub(crate) use admit::Entrance;
pub(crate) use open::{Admission, Opening, open};

use output::{Output, Pumped};

/// The shared half of a connection.
pub(crate) struct Conn {
    shared: Arc<Shared>,
    output: Mutex<Output>,
    /// Somebody came to pump while the lock was held: whoever holds it looks here afterwards.
    came: AtomicBool,
    mode: Mode,
    /// When the request was upgraded: the low 32 bits of the time, in the room that is left beside the
    /// flags. It is told by a time soon after, see [`Conn::opened_at`].
    opened_ms: u32,
}

impl Conn {
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
            let pumped = output.pump(&self.shared, None, &mut wakes);
            let task_is_needed = pumped != Pumped::Drained || output.connection.closing().is_some();
            let waker = output.waker.clone().filter(|_| task_is_needed);
            drop(output);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
        wakes.run();
    }

    /// Leaves the pumping to the connection's own task.
    pub(crate) fn call(&self) {
        self.came.store(true, Ordering::SeqCst);
        // Whoever holds the lock pumps for who came.
        let waker = try_lock(&self.output).and_then(|output| output.waker.clone());
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Ends the connection, behind the acks that it is still owed.
    pub(crate) fn close(self: &Arc<Self>, close: Close) {
        let mut wakes = Wakes::default();
        let now = self.shared.clock.time();
        let waker = {
            let mut output = lock(&self.output);
            output.fill(&self.shared, &mut wakes);
            output.connection.close(close, now);
            output.pump(&self.shared, None, &mut wakes);
            output.waker.clone()
        };
        // The task sees the end through, and pumps for whoever came meanwhile.
        if let Some(waker) = waker {
            waker.wake();
        }
        wakes.run();
    }

    /// Whether it has been told goodbye, or is over.
    pub(crate) fn is_closing(&self) -> bool {
        lock(&self.output).connection.ended().is_some()
    }

    /// The wheel's slot of the connection has come: its task is woken if something is due, else it
    /// is filed for the deadline that it has by now.
    pub(crate) fn alarm(self: &Arc<Self>, now: Time) {
        let Some(mut output) = try_lock(&self.output) else {
            // Whoever holds it is about to move the deadline: the next slot asks again.
            let soon = now + Duration::from_millis(1);
            lock(&self.shared.wheel).file(Arc::downgrade(self), soon);
            return;
        };
        let waker = self.ring(&mut output, now);
        drop(output);
        if let Some(waker) = waker {
            waker.wake();
        }
        self.pump_for_who_came();
    }

    /// Whom to wake, if something is due. A peer that has been shown the end of the stream but stays
    /// has its deadline like any other.
    fn ring(self: &Arc<Self>, output: &mut Output, now: Time) -> Option<Waker> {
        if output.alarm.is_ahead(self.shared.ticks, now) {
            // A later slot holds it as well.
            return None;
        }
        let deadline = output.connection.deadline();
        if deadline > now {
            self.file(output, deadline);
            return None;
        }
        output.is_due = true;
        output.waker.clone()
    }

    /// To be called by whoever has held the lock: those who came meanwhile rely on it.
    fn pump_for_who_came(self: &Arc<Self>) {
        if self.came.load(Ordering::SeqCst) {
            self.pump();
        }
    }

    /// Files the connection in the wheel, unless a slot that comes in time holds it already. Returns
    /// whether that was for the first time.
    fn arm(self: &Arc<Self>, output: &mut Output, now: Time, was_due: bool) -> bool {
        let deadline = output.connection.deadline();
        let is_new = !output.is_filed;
        if is_new || was_due || !output.alarm.is_in_time(self.shared.ticks, now, deadline) {
            output.is_filed = true;
            self.file(output, deadline);
        }
        is_new
    }

    fn file(self: &Arc<Self>, output: &mut Output, deadline: Time) {
        let mut wheel = lock(&self.shared.wheel);
        output.alarm = Alarm::at(wheel.file(Arc::downgrade(self), deadline));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use heartwire_hub::{Connection, Peer};
    use heartwire_proto::frame::Message;
    use heartwire_proto::id::TopicRef;
    use tokio::io::AsyncReadExt as _;
    use tokio::net::{TcpListener, TcpStream};

    use super::input::Input;
    use super::task::Task;
    use super::transport::{ReadHalf, WriteHalf};
    use crate::admission::Seat;
    use crate::builder::HubBuilder;
    use crate::metrics::Origin;
    use crate::shared::Handle;

    /// What a connection costs beside the socket, the task's frame and the hub's record; the sizes
    /// that an allocator hands out are 128 and 256.
    #[test]
    fn an_idle_connection_is_small() {
        let counters = 2 * size_of::<usize>();
        assert!(size_of::<Conn>() + counters <= 256, "{}", size_of::<Conn>());
        assert!(size_of::<Task>() <= 128, "{}", size_of::<Task>());
    }

    /// The far end of a connection that follows `t`, the connection, and its task.
    async fn following(shared: &Arc<Shared>) -> (TcpStream, Arc<Conn>, Task) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let dial = TcpStream::connect(listener.local_addr().expect("it is bound"));
        let (peer, accepted) = tokio::join!(dial, listener.accept());
        let (read, write) = accepted.expect("loopback").0.into_split();
        let (config, now) = (shared.hub_config.clone(), shared.clock.now());
        let unnamed = Connection::v1(config, Peer::default(), Vec::new(), now.time);
        let write = WriteHalf::Tcp(write);
        let conn = Arc::new(Conn {
            shared: shared.clone(),
            output: Mutex::new(Output::new(unnamed, write)),
            came: AtomicBool::new(false),
            mode: Mode::Plain,
            opened_ms: now.time.as_millis() as u32,
        });
        let topics = ["t".parse().expect("a topic")];
        let handle = Handle::Connection(conn.clone());
        let mut hub = shared.lock_hub();
        lock(&conn.output).connection =
            Connection::plain(Peer::default(), &topics, None, &mut hub, &handle, now);
        drop(hub);
        let seat = Seat::take(shared, None).expect("there is room");
        let task = Task::new(conn.clone(), ReadHalf::Tcp(read), Input::default(), seat);
        (peer.expect("loopback"), conn, task)
    }

    #[tokio::test]
    async fn whoever_comes_while_the_wheel_asks_is_served() {
        let config = HubBuilder::default().checked().expect("valid defaults");
        let shared = Shared::start(config, None, None, None);
        let (mut peer, conn, task) = following(&shared).await;
        tokio::spawn(task);
        let is_over = Arc::new(AtomicBool::new(false));
        let wheel = std::thread::spawn({
            let is_over = is_over.clone();
            move || {
                while !is_over.load(Ordering::Relaxed) {
                    conn.alarm(Time::ZERO);
                }
            }
        });
        let topic = TopicRef::parse("t").expect("a topic");
        for _ in 0..2_000 {
            let stored = shared.publish(
                Origin::Embedded,
                topic,
                Message::Text("x"),
                None,
                Duration::ZERO,
            );
            stored.expect("it is taken").await.expect("it is stored");
            let mut frame = [0; 3];
            let arrives = peer.read_exact(&mut frame);
            let arrived = tokio::time::timeout(Duration::from_secs(60), arrives).await;
            assert!(arrived.is_ok(), "a wake-up was lost");
        }
        is_over.store(true, Ordering::Relaxed);
        wheel.join().expect("the wheel does not panic");
    }
    #[tokio::test]
    async fn a_drain_finds_whoever_the_wheel_was_asking_when_it_looked_first() {
        let config = HubBuilder::default().checked().expect("valid defaults");
        let shared = Shared::start(config, None, None, None);
        let (mut peer, conn, task) = following(&shared).await;
        tokio::spawn(task);
        let (far, mut asked) = (Time::from_millis(3_600_000), Vec::new());
        while asked.is_empty() {
            tokio::task::yield_now().await;
            lock(&shared.wheel).turn(far, &mut asked);
        }
        let drain = tokio::spawn({
            let shared = shared.clone();
            async move { crate::upkeep::drain(&shared, Duration::from_secs(1)).await }
        });
        while !shared.is_draining() {
            tokio::task::yield_now().await;
        }
        lock(&shared.wheel).file(Arc::downgrade(&conn), far);
        let mut close = [0; 4];
        let arrives = peer.read_exact(&mut close);
        let arrived = tokio::time::timeout(Duration::from_secs(60), arrives).await;
        arrived.expect("it is told goodbye").expect("in whole");
        assert_eq!(
            (close[0], u16::from_be_bytes([close[2], close[3]])),
            (0x88, 4201)
        );
        drop(peer);
        drain.await.expect("it does not panic");
    }
}
