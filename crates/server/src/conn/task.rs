//! The task of a connection: reading, deadlines, and the end.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use heartwire_hub::Due;
use heartwire_proto::Time;

use super::Conn;
use super::input::{Input, Intake};
use super::output::{Output, Pumped};
use super::transport::ReadHalf;
use crate::admission::Seat;
use crate::shared::Wakes;
use crate::sync::lock;

/// The buffer that all connections of a thread read into, in bytes. A smaller one splits large
/// frames, which are then copied twice.
const BUFFER_BYTES: usize = 256 * 1024;
/// How often one connection may fill the buffer before others have their turn.
const READS_PER_TURN: usize = 2;
/// How many things may be due at once: an answer looked at, a ping, a close.
const DUE_PER_TURN: usize = 4;

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; BUFFER_BYTES].into());
}

/// Drives one connection to its end.
pub(crate) struct Task {
    conn: Arc<Conn>,
    read: ReadHalf,
    input: Input,
    is_over: bool,
    /// The judgement over a silent peer waits for the wheel's next slot.
    has_looked: bool,
    /// Its place among the connections that there may be.
    _seat: Seat,
}

/// How a turn of the task ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Turn {
    /// Everything waits for somebody else.
    Wait,
    /// There is more to do; others have their turn first.
    Yield,
    /// Both ends have said goodbye, or the peer hung up.
    HangUp,
    /// The socket failed.
    Broken(io::ErrorKind),
    /// The peer is dead, or its time is over.
    Abandon,
}

/// How reading ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Read {
    /// Nothing more has arrived.
    Dry,
    /// More may have arrived.
    More,
    /// The peer does not read what it is told, so it is not read from.
    Paused,
    /// The peer hung up.
    End,
    /// The socket failed.
    Broken(io::ErrorKind),
}

impl Future for Task {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut wakes = Wakes::default();
        let turn = self.turn(cx, &mut wakes);
        self.conn.pump_for_who_came();
        wakes.run();
        match turn {
            Turn::Wait => Poll::Pending,
            Turn::Yield => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Turn::HangUp | Turn::Broken(_) | Turn::Abandon => {
                self.finish(turn);
                Poll::Ready(())
            }
        }
    }
}

impl Drop for Task {
    /// A task that is dropped before its end (the runtime stops) leaves the hub all the same.
    fn drop(&mut self) {
        if !self.is_over {
            self.finish(Turn::Abandon);
        }
    }
}

impl Task {
    pub(super) const fn new(conn: Arc<Conn>, read: ReadHalf, input: Input, seat: Seat) -> Self {
        Self {
            conn,
            read,
            input,
            is_over: false,
            has_looked: false,
            _seat: seat,
        }
    }

    /// Reads, does what is due, writes. Reading comes first, so that a deadline that a paused
    /// process has missed is judged by everything that has arrived `[LIVE-10]`.
    ///
    /// The runtime hands out what had arrived when it last asked the system. Something may have held
    /// it up since, so before a peer is judged a TCP socket is asked itself whether bytes wait. If so,
    /// or if a transport cannot tell, it is read once more in the wheel's next slot: timers fire only
    /// after the runtime has asked for news.
    fn turn(&mut self, cx: &mut Context<'_>, wakes: &mut Wakes) -> Turn {
        let conn = self.conn.clone();
        let shared = &conn.shared;
        let now = shared.clock.time();
        let mut output = lock(&conn.output);
        let somebody_came = conn.came.swap(false, Ordering::SeqCst);
        let was_due = std::mem::take(&mut output.is_due);
        output.register(cx.waker());

        let mut intake = Intake::new(&conn, &mut output, now, wakes);
        let read = read(&mut self.read, &mut self.input, &mut intake, cx);
        let has_ended = matches!(read, Read::End | Read::Broken(_));
        if was_due && !has_ended && self.is_due_to_end(read, &mut output, now, cx, wakes) {
            return Turn::Abandon;
        }
        let pumped = match somebody_came {
            _ if output.is_gone() => Pumped::Drained,
            true => output.pump(shared, Some(cx), wakes),
            false => output.drain(shared, Some(cx), wakes),
        };
        match (read, pumped) {
            (Read::Broken(kind), _) => return Turn::Broken(kind),
            // A peer that has sent its last may still read what it is answered.
            (Read::End, _) => return Turn::HangUp,
            // The last may still stand in the buffer of a transport.
            (_, Pumped::Blocked) => {}
            _ if output.connection.is_finished() => return Turn::HangUp,
            (_, Pumped::Broken(kind)) => return Turn::Broken(kind),
            _ => {}
        }
        if pumped == Pumped::Drained && self.input.is_deaf() {
            // The peer broke the framing and has been told: it is shown the end of the stream, and
            // the socket stays only until it hangs up as well.
            output.hang_up();
        }
        let is_new = conn.arm(&mut output, now, was_due);
        if is_new && shared.is_draining() {
            // Whoever drains may have looked for connections just before this one was filed.
            output.connection.close(shared.draining(), now);
            return Turn::Yield;
        }
        let may_read_on = read == Read::Paused && output.connection.wants_input();
        if pumped == Pumped::Yielded || read == Read::More || may_read_on {
            Turn::Yield
        } else {
            Turn::Wait
        }
    }

    /// Does what is due; whether that was the end.
    fn is_due_to_end(
        &mut self,
        read: Read,
        output: &mut Output,
        now: Time,
        cx: &mut Context<'_>,
        wakes: &mut Wakes,
    ) -> bool {
        let shared = &self.conn.shared;
        let has_looked = std::mem::take(&mut self.has_looked);
        for _ in 0..DUE_PER_TURN {
            match output.connection.poll(now) {
                Due::Nothing => return false,
                Due::Ping => {
                    let mut hub = shared.lock_hub();
                    output.connection.ping(&mut hub, shared.clock.now());
                    output.fill_from(&mut hub, now);
                    hub.settle(wakes);
                }
                Due::Measure => output.measure(now),
                Due::Look => {
                    output.pump(shared, Some(cx), wakes);
                    output.measure(now);
                    match self.read.has_unread() {
                        Some(false) => {}
                        _ if read == Read::Dry && !has_looked => {
                            self.has_looked = true;
                            return false;
                        }
                        Some(true) => output.connection.heard(now),
                        None => {}
                    }
                    if output.connection.judge(now) {
                        // The goodbye is best effort: it goes if there is room.
                        output.drain(shared, Some(cx), wakes);
                        return true;
                    }
                }
                Due::Drop => return true,
            }
        }
        false
    }

    fn finish(&mut self, turn: Turn) {
        self.is_over = true;
        let shared = &self.conn.shared;
        let mut output = lock(&self.conn.output);
        if turn == Turn::Abandon {
            output.abandon();
        } else {
            output.hang_up();
        }
        output.waker = None;
        self.input.forget(shared);
        let reason = self.conn.bury(&output, turn);
        let mut wakes = Wakes::default();
        let mut hub = shared.lock_hub();
        output.connection.leave_for(&mut hub, reason);
        hub.settle(&mut wakes);
        drop(output);
        // The runtime may be stopping: others are left to their own tasks.
        wakes.call();
    }
}

/// Reads what has arrived, and handles it.
fn read(
    socket: &mut ReadHalf,
    input: &mut Input,
    intake: &mut Intake<'_>,
    cx: &mut Context<'_>,
) -> Read {
    if !input.take_held(intake) {
        return Read::Paused;
    }
    BUFFER.with_borrow_mut(|buffer| {
        for _ in 0..READS_PER_TURN {
            match socket.poll_read(cx, buffer) {
                Poll::Pending => {
                    if socket.has_received() {
                        intake.heard();
                    }
                    return Read::Dry;
                }
                Poll::Ready(Ok(0)) => return Read::End,
                Poll::Ready(Ok(length)) => {
                    if !input.take(&mut buffer[..length], intake) {
                        return Read::Paused;
                    }
                }
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Poll::Ready(Err(error)) => return Read::Broken(error.kind()),
            }
        }
        Read::More
    })
}
