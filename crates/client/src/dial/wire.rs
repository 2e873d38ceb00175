//! The byte streams under a WebSocket, and what they tell about the peer's life.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// A TCP connection that counts what arrives, below TLS and below WebSocket frames. So a large
/// message shows as life while it is still on its way, and not only once it is complete
/// `[LIVE-1]`.
pub(crate) struct Wire {
    tcp: TcpStream,
    received_bytes: u64,
    written_bytes: u64,
    /// The kernel refused bytes, and has taken none since.
    blocked: bool,
    /// How often the kernel took bytes again after it had refused some.
    releases: u64,
}

impl Wire {
    pub(super) fn new(tcp: TcpStream) -> Self {
        Self {
            tcp,
            received_bytes: 0,
            written_bytes: 0,
            blocked: false,
            releases: 0,
        }
    }

    /// Bytes received so far.
    pub(super) fn received_bytes(&self) -> u64 {
        self.received_bytes
    }

    /// Rises each time that a full socket takes bytes again, which it does only because the peer's
    /// TCP has acknowledged some: the peer is slow but alive `[LIVE-5]`.
    pub(super) fn releases(&self) -> u64 {
        self.releases
    }

    /// How many bytes the peer's TCP has acknowledged, unless that is all or the system cannot
    /// tell. All tells nothing: the kernel of a frozen peer acknowledges the last bytes as well.
    pub(super) fn acknowledged_bytes(&self) -> Option<u64> {
        let unacknowledged = unacknowledged_bytes(&self.tcp)?;
        (unacknowledged > 0).then(|| self.written_bytes.saturating_sub(unacknowledged))
    }

    /// Whether bytes wait to be read. It asks the system itself: the runtime knows of what had
    /// arrived when it last asked, and may have been held up since.
    pub(super) fn has_unread(&self) -> bool {
        let mut byte = [MaybeUninit::uninit()];
        matches!(socket2::SockRef::from(&self.tcp).peek(&mut byte), Ok(1..))
    }

    /// Makes the close of the socket a reset: a peer that is still there learns of it at once, and
    /// for one that is not, the kernel keeps nothing to send again and again.
    pub(super) fn reset_on_close(&self) {
        // Without the option the socket closes the slow way.
        let _ = socket2::SockRef::from(&self.tcp).set_linger(Some(Duration::ZERO));
    }

    fn note_write(&mut self, written: &Poll<io::Result<usize>>) {
        match written {
            Poll::Pending => self.blocked = true,
            Poll::Ready(Ok(bytes)) => {
                self.written_bytes += *bytes as u64;
                self.releases += u64::from(self.blocked);
                self.blocked = false;
            }
            Poll::Ready(Err(_)) => {}
        }
    }
}

/// Whether [`unacknowledged_bytes`] can tell.
pub(crate) const SEES_ACKNOWLEDGEMENTS: bool =
    cfg!(any(target_os = "linux", target_os = "android"));

/// What the kernel holds for the peer until it is acknowledged, in bytes.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn unacknowledged_bytes(tcp: &TcpStream) -> Option<u64> {
    use rustix::ioctl::{Getter, Opcode, ioctl};

    /// `SIOCOUTQ` of Linux's `sockios.h`.
    const SIOCOUTQ: Opcode = 0x5411;

    // SAFETY: on a TCP socket SIOCOUTQ stores one `int` at the address given, and elsewhere it
    // fails; `Getter` gives the address of an `i32` and reads it only after success.
    #[allow(unsafe_code)]
    let bytes = unsafe { ioctl(tcp, Getter::<SIOCOUTQ, i32>::new()) };
    bytes.ok().and_then(|bytes| u64::try_from(bytes).ok())
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn unacknowledged_bytes(_: &TcpStream) -> Option<u64> {
    None
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.tcp).poll_read(cx, buffer))?;
        self.received_bytes += (buffer.filled().len() - before) as u64;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.tcp).poll_write(cx, bytes);
        self.note_write(&written);
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

/// A wire with or without TLS.
pub(crate) enum Stream {
    Plain(Wire),
    // Boxed because the state of TLS is a kilobyte that plain connections need not carry.
    Tls(Box<TlsStream<Wire>>),
}

impl Stream {
    pub(super) fn wire(&self) -> &Wire {
        match self {
            Self::Plain(wire) => wire,
            Self::Tls(tls) => tls.get_ref().0,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(wire) => Pin::new(wire).poll_read(cx, buffer),
            Self::Tls(tls) => Pin::new(tls).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(wire) => Pin::new(wire).poll_write(cx, bytes),
            Self::Tls(tls) => Pin::new(tls).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(wire) => Pin::new(wire).poll_flush(cx),
            Self::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(wire) => Pin::new(wire).poll_shutdown(cx),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn what_has_arrived_is_seen_before_the_runtime_hears_of_it() -> io::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let dial = TcpStream::connect(listener.local_addr()?);
        let (tcp, accepted) = tokio::join!(dial, listener.accept());
        let (wire, (peer, _)) = (Wire::new(tcp?), accepted?);
        let nothing = wire.tcp.try_read(&mut [0]).map_err(|error| error.kind());
        assert_eq!(nothing, Err(io::ErrorKind::WouldBlock));
        assert!(!wire.has_unread());
        // Nothing is awaited from here on, so that the runtime has no chance to ask for news.
        socket2::SockRef::from(&peer).send(b"x")?;
        let deadline = std::time::Instant::now() + Duration::from_secs(60);
        while !wire.has_unread() {
            assert!(std::time::Instant::now() < deadline, "loopback delivers");
        }
        let unheard = wire.tcp.try_read(&mut [0]).map_err(|error| error.kind());
        assert_eq!(unheard, Err(io::ErrorKind::WouldBlock));
        Ok(())
    }
}
