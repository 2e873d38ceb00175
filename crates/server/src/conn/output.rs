//! The way out of a connection: what the hub has for it, and the socket.

use std::io::{self, IoSlice};
use std::task::{Context, Poll, Waker};

use heartwire_hub::{Connection, Filled};
use heartwire_proto::Time;

use super::transport::WriteHalf;
use crate::shared::{HubGuard, Shared, Wakes};
use crate::wheel::Alarm;

/// How much is taken from the hub at once, in bytes: enough for one write to be worth its system
/// call, little enough that a slow reader keeps few entries alive.
const FILL_BYTES: usize = 64 * 1024;
/// How many pieces one vectored write takes. Small messages come in many pieces.
const SLICES: usize = 128;
/// How much one connection may write before others have their turn, in bytes.
const TURN_BYTES: usize = 256 * 1024;

/// The connection and its way out, under one lock. Each of many thousands has one, hence the care
/// for its size.
pub(super) struct Output {
    pub(super) connection: Connection,
    /// `None` once the socket has been given up.
    write: Option<WriteHalf>,
    /// Wakes the task.
    pub(super) waker: Option<Waker>,
    /// The latest slot of the wheel that was filed for the connection.
    pub(super) alarm: Alarm,
    /// The wheel holds the connection.
    pub(super) is_filed: bool,
    /// The wheel says that a deadline has passed.
    pub(super) is_due: bool,
    /// The hub may have something that has not been taken.
    may_have_more: bool,
}

/// How far pumping came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Pumped {
    /// Nothing is left to write.
    Drained,
    /// The socket is full: the task waits for room.
    Blocked,
    /// There is more, but others have their turn first.
    Yielded,
    /// The socket is broken, or given up.
    Broken(io::ErrorKind),
}

impl Output {
    pub(super) const fn new(connection: Connection, write: WriteHalf) -> Self {
        Self {
            connection,
            write: Some(write),
            waker: None,
            alarm: Alarm::at(0),
            is_filed: false,
            is_due: false,
            may_have_more: true,
        }
    }

    /// Notes whom to wake.
    pub(super) fn register(&mut self, waker: &Waker) {
        match &mut self.waker {
            Some(known) => known.clone_from(waker),
            None => self.waker = Some(waker.clone()),
        }
    }

    /// Whether the socket has been given up.
    pub(super) const fn is_gone(&self) -> bool {
        self.write.is_none()
    }

    /// Takes what the hub has. Somebody came, or the connection has asked for something.
    pub(super) fn fill(&mut self, shared: &Shared, wakes: &mut Wakes) {
        let mut hub = shared.lock_hub();
        self.fill_from(&mut hub, shared.clock.time());
        hub.settle(wakes);
    }

    /// The same for somebody who holds the hub already.
    pub(super) fn fill_from(&mut self, hub: &mut HubGuard<'_>, now: Time) {
        self.may_have_more = self.connection.fill(hub, FILL_BYTES, now) == Filled::More;
    }

    /// Somebody came: fills and writes until nothing is left, the socket is full, or others have
    /// their turn. With a context the task is woken when there is room.
    pub(super) fn pump(
        &mut self,
        shared: &Shared,
        cx: Option<&mut Context<'_>>,
        wakes: &mut Wakes,
    ) -> Pumped {
        self.may_have_more = true;
        self.drain(shared, cx, wakes)
    }

    /// The same without asking the hub unless it said that there is more.
    pub(super) fn drain(
        &mut self,
        shared: &Shared,
        mut cx: Option<&mut Context<'_>>,
        wakes: &mut Wakes,
    ) -> Pumped {
        let mut written = 0;
        loop {
            if self.may_have_more && self.connection.outgoing().bytes() < FILL_BYTES {
                self.fill(shared, wakes);
            }
            match self.write_all(shared, cx.as_deref_mut()) {
                Ok((bytes, true)) => written += bytes,
                Ok((_, false)) => return Pumped::Blocked,
                Err(error) => return Pumped::Broken(error.kind()),
            }
            if !self.may_have_more {
                return Pumped::Drained;
            }
            if written >= TURN_BYTES {
                return Pumped::Yielded;
            }
        }
    }

    /// Writes what stands ready. Returns how much, and whether that was all.
    fn write_all(
        &mut self,
        shared: &Shared,
        mut cx: Option<&mut Context<'_>>,
    ) -> io::Result<(usize, bool)> {
        let write = self.write.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        let mut written = 0;
        while !self.connection.outgoing().is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let used = self.connection.outgoing().slices(&mut slices);
            let slices = &slices[..used];
            let outcome = match cx.as_deref_mut() {
                Some(cx) => match write.poll_write(cx, slices) {
                    Poll::Ready(outcome) => outcome,
                    Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
                },
                None => write.try_write(slices),
            };
            match outcome {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(bytes) => {
                    self.connection.written(bytes, shared.clock.time());
                    written += bytes;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.connection.written(0, shared.clock.time());
                    return Ok((written, false));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if let Some(cx) = cx {
            // A transport with a buffer of its own goes on flushing when its task is woken.
            match write.poll_flush(cx) {
                Poll::Ready(flushed) => flushed?,
                Poll::Pending => return Ok((written, false)),
            }
        }
        Ok((written, true))
    }

    /// Looks at how much of what was written the peer's TCP has acknowledged.
    pub(super) fn measure(&mut self, now: Time) {
        let unacknowledged = self
            .write
            .as_ref()
            .and_then(WriteHalf::unacknowledged_bytes);
        self.connection.measured(unacknowledged.unwrap_or(0), now);
    }

    /// Hangs up as the peer expects it: it has been told.
    pub(super) fn hang_up(&mut self) {
        self.write = None;
    }

    /// Gives the socket up without a word; what the kernel still holds for the peer is thrown away
    /// if our own output has not even reached the kernel.
    pub(super) fn abandon(&mut self) {
        let is_stuck = !self.connection.outgoing().is_empty();
        if let Some(write) = self.write.take() {
            write.abandon(is_stuck);
        }
    }
}
