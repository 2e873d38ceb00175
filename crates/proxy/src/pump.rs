//! One direction of one connection: read, hold back as the path demands, write.

use std::collections::VecDeque;
use std::io;
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::command::Direction;
use crate::conditions::Conditions;

/// The most that is read at once.
const READ_BYTES_MAX: usize = 16 * 1024;
/// The most that stands in a direction without delay.
const STANDING_BYTES_MAX: usize = 64 * 1024;
/// The most that stands in a direction with delay.
const DELAYED_BYTES_MAX: usize = 256 * 1024;
/// A throttled direction writes pieces worth this much of its rate, and makes up for no more
/// lateness of its timer than this.
const THROTTLE_SLICE: Duration = Duration::from_millis(20);

/// One of the two sockets of a connection.
#[derive(Debug)]
pub(crate) struct Side {
    pub(crate) stream: TcpStream,
    /// Writing has failed. The kernel tells of a reset once, so whoever reads afterwards finds
    /// an orderly end, and must know better.
    is_gone: AtomicBool,
}

impl Side {
    pub(crate) const fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            is_gone: AtomicBool::new(false),
        }
    }
}

/// How a direction ended while the other may go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    /// FIN has been passed on.
    Finished,
    /// Whoever the bytes went to takes no more. The other direction reads from that same socket,
    /// and so learns of it after everything that was sent before.
    Unwanted,
}

/// Both directions end at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Broken {
    /// A reset has come through: the other end gets one, too.
    Reset,
    /// The proxy itself has stopped.
    Stopped,
}

/// What passes along a direction, in order.
enum Passing {
    Bytes { bytes: Vec<u8>, written: usize },
    Fin,
    Rst,
}

/// Something read that waits for its time.
struct Standing {
    due: Instant,
    what: Passing,
}

pub(crate) struct Pump<'a> {
    direction: Direction,
    from: &'a Side,
    to: &'a Side,
    transferred: &'a AtomicU64,
    conditions: watch::Receiver<Conditions>,
    line: VecDeque<Standing>,
    /// Bytes in `line` that are not yet written.
    standing_bytes: usize,
    /// The last of `line` is FIN or RST.
    end_was_read: bool,
    /// When a throttled direction may write again.
    free_at: Instant,
}

impl<'a> Pump<'a> {
    pub(crate) fn new(
        direction: Direction,
        from: &'a Side,
        to: &'a Side,
        transferred: &'a AtomicU64,
        conditions: watch::Receiver<Conditions>,
    ) -> Self {
        Self {
            direction,
            from,
            to,
            transferred,
            conditions,
            line: VecDeque::new(),
            standing_bytes: 0,
            end_was_read: false,
            free_at: Instant::now(),
        }
    }

    /// Forwards until one end has said or shown that it is over.
    pub(crate) async fn run(mut self) -> Result<End, Broken> {
        loop {
            let path = *self.conditions.borrow_and_update();
            let open = !path.holed(self.direction);
            let room = self.room(&path);
            let write_at = self.write_at(&path);
            let write_is_due = write_at.is_some_and(|at| at <= Instant::now());
            tokio::select! {
                changed = self.conditions.changed() => changed.map_err(|_| Broken::Stopped)?,
                _ = self.to.stream.writable(), if open && write_is_due => {
                    if let Some(end) = self.write()? {
                        return Ok(end);
                    }
                }
                () = sleep_until(write_at.unwrap_or(self.free_at)),
                    if open && write_at.is_some() && !write_is_due => {}
                _ = self.from.stream.readable(), if open && room > 0 => self.read(room, &path),
            }
        }
    }

    /// How many bytes may be read.
    fn room(&self, path: &Conditions) -> usize {
        if self.end_was_read {
            return 0;
        }
        let delayed = !path.delay.is_zero() || !path.jitter.is_zero();
        let standing_max = match path.throttle {
            _ if delayed => DELAYED_BYTES_MAX,
            Some(rate) => slice_bytes(rate.get()),
            None => STANDING_BYTES_MAX,
        };
        standing_max
            .saturating_sub(self.standing_bytes)
            .min(READ_BYTES_MAX)
    }

    /// When the oldest that stands may pass.
    fn write_at(&self, path: &Conditions) -> Option<Instant> {
        let due = self.line.front()?.due;
        Some(match path.throttle {
            Some(_) => due.max(self.free_at),
            None => due,
        })
    }

    fn read(&mut self, room: usize, path: &Conditions) {
        let mut bytes = vec![0; room];
        let what = match self.from.stream.try_read(&mut bytes) {
            Ok(0) if self.from.is_gone.load(Ordering::Relaxed) => Passing::Rst,
            Ok(0) => Passing::Fin,
            Ok(count) => {
                bytes.truncate(count);
                bytes.shrink_to_fit();
                self.standing_bytes += count;
                Passing::Bytes { bytes, written: 0 }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(_) => Passing::Rst,
        };
        self.end_was_read = !matches!(what, Passing::Bytes { .. });
        let due = Instant::now() + path.delay + part_of(path.jitter);
        // Jitter must not let later bytes overtake earlier ones.
        let due = self.line.back().map_or(due, |last| last.due.max(due));
        self.line.push_back(Standing { due, what });
    }

    /// Lets the oldest that stands pass, as far as the path and the socket take it.
    fn write(&mut self) -> Result<Option<End>, Broken> {
        // The path cannot change while it is borrowed: once `Proxy::apply` has answered, not one
        // byte more passes a black hole.
        let path = self.conditions.borrow();
        if path.holed(self.direction) {
            return Ok(None);
        }
        let Some(Standing { what, .. }) = self.line.front_mut() else {
            return Ok(None);
        };
        let (bytes, written) = match what {
            Passing::Bytes { bytes, written } => (bytes, written),
            Passing::Fin => {
                // It fails only when the socket is gone, and then the other direction knows.
                let _ = SockRef::from(&self.to.stream).shutdown(Shutdown::Write);
                return Ok(Some(End::Finished));
            }
            Passing::Rst => return Err(Broken::Reset),
        };
        let slice_max = path
            .throttle
            .map_or(usize::MAX, |rate| slice_bytes(rate.get()));
        let slice_end = bytes.len().min(written.saturating_add(slice_max));
        let count = match self.to.stream.try_write(&bytes[*written..slice_end]) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(_) => {
                self.to.is_gone.store(true, Ordering::Relaxed);
                return Ok(Some(End::Unwanted));
            }
        };
        *written += count;
        if *written == bytes.len() {
            self.line.pop_front();
        }
        self.standing_bytes -= count;
        self.transferred.fetch_add(count as u64, Ordering::Relaxed);
        if let Some(rate) = path.throttle {
            let earliest = Instant::now()
                .checked_sub(THROTTLE_SLICE)
                .unwrap_or(self.free_at);
            let cost = Duration::from_secs_f64(count as f64 / rate.get() as f64);
            self.free_at = self.free_at.max(earliest) + cost;
        }
        Ok(None)
    }
}

/// The bytes that a rate lets through in one slice of time, at least one.
fn slice_bytes(rate: u64) -> usize {
    let bytes = u128::from(rate) * THROTTLE_SLICE.as_millis() / 1_000;
    usize::try_from(bytes)
        .unwrap_or(usize::MAX)
        .clamp(1, READ_BYTES_MAX)
}

/// A random part of `span`, evenly distributed.
fn part_of(span: Duration) -> Duration {
    if span.is_zero() {
        return span;
    }
    // Without the system's randomness the jitter is at its middle, which harms nobody.
    let random = getrandom::u32().unwrap_or(u32::MAX / 2);
    span.mul_f64(f64::from(random) / f64::from(u32::MAX))
}
