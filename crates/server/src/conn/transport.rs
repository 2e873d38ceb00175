//! What a WebSocket runs over.
//!
//! A plain TCP socket under hyper is given back by hyper, and split without a lock: then anybody
//! who holds the write half may write to it. TLS of ours is given back as well, but it has one state
//! for both ways, and is polled by the connection's own task alone; likewise anything else, as an
//! embedding application may bring it, which tells nothing of the socket below.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto::upgrade;
use tokio::io::{
    AsyncRead, AsyncWrite, ReadBuf, ReadHalf as AnyReadHalf, WriteHalf as AnyWriteHalf,
};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio_rustls::server::TlsStream;

use super::secured::Secured;
use crate::socket;
use crate::wire::Wire;

/// The way in: owned by the connection's task.
pub(crate) enum ReadHalf {
    Tcp(OwnedReadHalf),
    Tls(Secured),
    Any(AnyReadHalf<TokioIo<Upgraded>>),
}

/// The way out: shared.
pub(crate) enum WriteHalf {
    Tcp(OwnedWriteHalf),
    Tls(Secured),
    Any(Box<AnyWriteHalf<TokioIo<Upgraded>>>),
}

/// Takes the socket back from hyper, with the bytes that it had read already `[WS-6]`. Those are
/// copied: hyper's own buffer pins 8 KiB however little is in it.
pub(crate) fn take(upgraded: Upgraded) -> (ReadHalf, WriteHalf, Box<[u8]>) {
    let upgraded = match tcp(upgraded) {
        Ok((stream, early)) => {
            let (read, write) = stream.into_split();
            let early = Box::from(&*early);
            return (ReadHalf::Tcp(read), WriteHalf::Tcp(write), early);
        }
        Err(upgraded) => upgraded,
    };
    match upgraded.downcast::<TokioIo<TlsStream<Wire>>>() {
        Ok(parts) => {
            let write = Secured::new(parts.io.into_inner());
            let early = Box::from(&*parts.read_buf);
            (ReadHalf::Tls(write.clone()), WriteHalf::Tls(write), early)
        }
        Err(upgraded) => {
            let (read, write) = tokio::io::split(TokioIo::new(upgraded));
            let write = WriteHalf::Any(Box::new(write));
            (ReadHalf::Any(read), write, Box::default())
        }
    }
}

/// The socket under our own accept loop, or under `axum::serve`, which wraps it once more.
fn tcp(upgraded: Upgraded) -> Result<(TcpStream, Bytes), Upgraded> {
    let upgraded = match upgraded.downcast::<TokioIo<TcpStream>>() {
        Ok(parts) => return Ok((parts.io.into_inner(), parts.read_buf)),
        Err(upgraded) => upgraded,
    };
    let parts = upgrade::downcast::<TokioIo<TcpStream>>(upgraded)?;
    Ok((parts.io.into_inner(), parts.read_buf))
}

impl ReadHalf {
    /// Reads into `buffer`; 0 bytes are the end of the stream.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        ready!(match self {
            Self::Tcp(half) => Pin::new(half).poll_read(cx, &mut buffer),
            Self::Tls(half) => half.poll_read(cx, &mut buffer),
            Self::Any(half) => Pin::new(half).poll_read(cx, &mut buffer),
        })?;
        Poll::Ready(Ok(buffer.filled().len()))
    }

    /// Whether bytes have arrived since it was last asked, though there is nothing to read: parts of
    /// a record of TLS.
    pub(crate) fn has_received(&self) -> bool {
        match self {
            Self::Tls(half) => half.has_received(),
            Self::Tcp(_) | Self::Any(_) => false,
        }
    }

    /// Whether bytes have arrived that the runtime has not heard of; `None` where nobody can tell
    /// but by asking the runtime again.
    pub(crate) fn has_unread(&self) -> Option<bool> {
        match self {
            Self::Tcp(half) => Some(socket::has_unread(half.as_ref())),
            Self::Tls(half) => Some(half.has_unread()),
            Self::Any(_) => None,
        }
    }
}

impl WriteHalf {
    /// Writes without a task to wake. `WouldBlock` when the socket is full, and always for a
    /// transport that only its own task may poll.
    pub(crate) fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(half) => half.try_write_vectored(slices),
            Self::Tls(_) | Self::Any(_) => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// Writes, or wakes the task when there is room.
    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(half) => Pin::new(half).poll_write_vectored(cx, slices),
            Self::Tls(half) => half.poll_write(cx, slices),
            Self::Any(half) => Pin::new(half).poll_write_vectored(cx, slices),
        }
    }

    /// Sends what a transport of its own may have buffered.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            // A TCP socket buffers nothing in this process.
            Self::Tcp(_) => Poll::Ready(Ok(())),
            Self::Tls(half) => half.poll_flush(cx),
            Self::Any(half) => Pin::new(half).poll_flush(cx),
        }
    }

    /// Bytes written that the peer's TCP has not acknowledged, where the system can tell.
    pub(crate) fn unacknowledged_bytes(&self) -> Option<u64> {
        match self {
            Self::Tcp(half) => socket::unacknowledged_bytes(half.as_ref()),
            Self::Tls(half) => half.unacknowledged_bytes(),
            Self::Any(_) => None,
        }
    }

    /// Prepares the TCP socket, see [`socket::prepare_for_websocket`].
    pub(crate) fn prepare(&self) {
        match self {
            Self::Tcp(half) => socket::prepare_for_websocket(half.as_ref()),
            Self::Tls(half) => half.prepare(),
            Self::Any(_) => {}
        }
    }

    /// Drops the half without the goodbye of TCP; with `reset`, what the kernel still holds for
    /// the peer is thrown away. The descriptor closes with the other half.
    pub(crate) fn abandon(self, reset: bool) {
        match self {
            Self::Tcp(half) => {
                if reset {
                    socket::reset_on_close(half.as_ref());
                }
                half.forget();
            }
            Self::Tls(half) => half.abandon(reset),
            Self::Any(_) => {}
        }
    }
}
