//! The socket of a WebSocket under TLS.
//!
//! What TLS has taken has not left: it may stand in TLS itself, then in the kernel. Both are told to
//! whoever asks how far the output has come, as they are for a bare TCP socket.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio_rustls::server::TlsStream;

use crate::socket;
use crate::sync::lock;
use crate::wire::Wire;

/// One of two handles on the same stream, which only the connection's own task polls.
#[derive(Clone)]
pub(crate) struct Secured(Arc<Mutex<Session>>);

struct Session {
    stream: TlsStream<Wire>,
    /// Bytes that TLS has taken since it had handed everything on.
    taken_bytes: u64,
    /// What the kernel had taken by then, with all that TLS adds.
    written_before: u64,
    /// What had arrived when somebody last asked.
    received_before: u64,
}

impl Secured {
    pub(super) fn new(stream: TlsStream<Wire>) -> Self {
        let session = Session {
            stream,
            taken_bytes: 0,
            written_before: 0,
            received_before: 0,
        };
        Self(Arc::new(Mutex::new(session)))
    }

    pub(super) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut session = lock(&self.0);
        match ready!(Pin::new(&mut session.stream).poll_read(cx, buffer)) {
            // Whoever hangs up without a word does so over TLS as well. Frames say where they end, so
            // that nothing cut off is taken for whole.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(())),
            read => Poll::Ready(read),
        }
    }

    /// Whether bytes have arrived since it was last asked: they may be a part of a record, which
    /// gives nothing to read yet.
    pub(super) fn has_received(&self) -> bool {
        let mut session = lock(&self.0);
        let received = session.wire().received_bytes();
        std::mem::replace(&mut session.received_before, received) != received
    }

    /// Whether bytes have arrived that the runtime has not heard of.
    pub(super) fn has_unread(&self) -> bool {
        socket::has_unread(lock(&self.0).wire().tcp())
    }

    pub(super) fn poll_write(
        &self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        lock(&self.0).poll_write(cx, slices)
    }

    pub(super) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        lock(&self.0).poll_flush(cx)
    }

    /// Bytes that TLS holds back, and those written that the peer's TCP has not acknowledged.
    pub(super) fn unacknowledged_bytes(&self) -> Option<u64> {
        let session = lock(&self.0);
        let in_kernel = socket::unacknowledged_bytes(session.wire().tcp())?;
        Some(session.held_bytes() + in_kernel)
    }

    pub(super) fn prepare(&self) {
        socket::prepare_for_websocket(lock(&self.0).wire().tcp());
    }

    /// The stream is dropped soon; with `reset`, or if TLS holds something back, what the kernel
    /// still holds for the peer is thrown away.
    pub(super) fn abandon(&self, reset: bool) {
        let session = lock(&self.0);
        if reset || session.held_bytes() > 0 {
            socket::reset_on_close(session.wire().tcp());
        }
    }
}

impl Session {
    fn wire(&self) -> &Wire {
        self.stream.get_ref().0
    }

    /// TLS is given more only once it has handed everything on: so little stands in it, and it is
    /// known how much.
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_flush(cx))?;
        let taken = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, slices))?;
        self.taken_bytes += taken as u64;
        self.settle();
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.settle();
        flushed
    }

    fn settle(&mut self) {
        if !self.stream.get_ref().1.wants_write() {
            self.taken_bytes = 0;
            self.written_before = self.wire().written_bytes();
        }
    }

    /// What TLS adds to each record counts as handed on, which makes this less by some bytes; it is
    /// nothing only when there is nothing.
    fn held_bytes(&self) -> u64 {
        if !self.stream.get_ref().1.wants_write() {
            return 0;
        }
        let handed_on = self.wire().written_bytes() - self.written_before;
        self.taken_bytes.saturating_sub(handed_on).max(1)
    }
}
