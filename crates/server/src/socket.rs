//! What is asked of a TCP socket beyond reading and writing.

use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket, TcpStream, ToSocketAddrs, lookup_host};

/// Connections that may wait to be accepted: room for a fleet that comes back at once, where a dial
/// that finds none is tried again by its kernel a second later, and two, and four. The system grants
/// at most what it is set to, 4,096 on Linux by default (`net.core.somaxconn`).
const ACCEPT_QUEUE_MAX: u32 = 16_384;

/// Unsent bytes above which the kernel reports a socket as not writable. Little stands before a
/// ping then, so a slow reader's answer comes soon.
const NOT_SENT_LOW_WATER_BYTES: u32 = 16 * 1024;

/// What `TCP_USER_TIMEOUT` adds to the heartbeat's own bound. It is a backstop for connections
/// that nothing else watches; close to the bound it resets peers that are slow but alive.
const USER_TIMEOUT_ABOVE_BOUND: Duration = Duration::from_secs(60);

/// Listens at the first of these addresses that can be had.
pub(crate) async fn listen(addresses: impl ToSocketAddrs) -> io::Result<TcpListener> {
    let mut refused = io::Error::new(io::ErrorKind::InvalidInput, "the name has no address");
    for address in lookup_host(addresses).await? {
        match listen_at(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

fn listen_at(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // The connections of a server that was stopped a moment ago hold its port for a minute. On
    // Windows the option would let two servers share it instead.
    #[cfg(not(windows))]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(ACCEPT_QUEUE_MAX)
}

/// Prepares a socket for HTTP: small answers leave at once, little is queued in the kernel, and the
/// kernel gives up long after the heartbeat (`bound`) would.
///
/// A socket that lacks an option works all the same, so errors are only traced.
pub(crate) fn prepare_for_http(stream: &TcpStream, bound: Duration) {
    set(stream, Some(bound * 2 + USER_TIMEOUT_ABOVE_BOUND));
}

/// Prepares a socket for a WebSocket: the same, but the kernel does not give up by itself. The
/// heartbeat knows better who is dead `[LIVE-5]`: for `TCP_USER_TIMEOUT` a peer is gone whose window
/// has room for a part of what is to be sent only, however long it goes on taking such parts.
pub(crate) fn prepare_for_websocket(stream: &TcpStream) {
    set(stream, None);
}

fn set(stream: &TcpStream, give_up_after: Option<Duration>) {
    let socket = SockRef::from(stream);
    let outcomes = [
        ("TCP_NODELAY", socket.set_tcp_nodelay(true)),
        (
            "TCP_NOTSENT_LOWAT",
            not_sent_low_water(&socket, NOT_SENT_LOW_WATER_BYTES),
        ),
        ("TCP_USER_TIMEOUT", user_timeout(&socket, give_up_after)),
    ];
    for (option, outcome) in outcomes {
        if let Err(error) = outcome {
            tracing::debug!(option, %error, "a socket option was not accepted");
        }
    }
}

#[cfg(target_os = "linux")]
fn not_sent_low_water(socket: &SockRef<'_>, bytes: u32) -> io::Result<()> {
    socket.set_tcp_notsent_lowat(bytes)
}

#[cfg(target_os = "linux")]
fn user_timeout(socket: &SockRef<'_>, timeout: Option<Duration>) -> io::Result<()> {
    socket.set_tcp_user_timeout(timeout)
}

#[cfg(not(target_os = "linux"))]
fn not_sent_low_water(_: &SockRef<'_>, _: u32) -> io::Result<()> {
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn user_timeout(_: &SockRef<'_>, _: Option<Duration>) -> io::Result<()> {
    Ok(())
}

/// Makes the close of this socket a reset: what is still queued for a peer that is dead is thrown
/// away instead of being offered to it for minutes.
pub(crate) fn reset_on_close(stream: &TcpStream) {
    if let Err(error) = SockRef::from(stream).set_linger(Some(Duration::ZERO)) {
        tracing::debug!(%error, "the socket closes the slow way");
    }
}

/// Whether bytes wait to be read. It asks the system itself, as the runtime knows of what arrived
/// only up to the moment at which it last asked, and may have been held up since.
pub(crate) fn has_unread(stream: &TcpStream) -> bool {
    let mut byte = [MaybeUninit::uninit()];
    matches!(SockRef::from(stream).peek(&mut byte), Ok(1..))
}

/// Bytes written to the socket that the peer's TCP has not acknowledged; `None` where the system
/// cannot tell.
pub(crate) fn unacknowledged_bytes(socket: impl AsFd) -> Option<u64> {
    outgoing_queue(socket).ok()
}

#[cfg(target_os = "linux")]
fn outgoing_queue(socket: impl AsFd) -> rustix::io::Result<u64> {
    use rustix::ioctl::{Getter, Opcode, ioctl};

    /// `SIOCOUTQ`, which is `TIOCOUTQ`, of `linux/sockios.h`.
    const SIOCOUTQ: Opcode = 0x5411;

    // SAFETY: SIOCOUTQ on a TCP socket stores one `int` at the given address, and on any other
    // descriptor fails; `Getter` passes the address of an `i32` and reads it only on success.
    #[allow(unsafe_code)]
    let bytes = unsafe { ioctl(socket, Getter::<SIOCOUTQ, i32>::new())? };
    Ok(u64::try_from(bytes).unwrap_or(0))
}

#[cfg(not(target_os = "linux"))]
fn outgoing_queue(_: impl AsFd) -> rustix::io::Result<u64> {
    Err(rustix::io::Errno::NOTSUP)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn pair() -> io::Result<(TcpStream, TcpStream)> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let dial = TcpStream::connect(listener.local_addr()?);
        let (dialled, accepted) = tokio::join!(dial, listener.accept());
        Ok((dialled?, accepted?.0))
    }

    #[tokio::test]
    async fn options_are_set() -> io::Result<()> {
        let (_peer, stream) = pair().await?;
        prepare_for_http(&stream, Duration::from_secs(20));
        let socket = SockRef::from(&stream);
        assert!(socket.tcp_nodelay()?);
        assert_eq!(socket.tcp_notsent_lowat()?, NOT_SENT_LOW_WATER_BYTES);
        assert_eq!(socket.tcp_user_timeout()?, Some(Duration::from_secs(100)));
        prepare_for_websocket(&stream);
        assert!(socket.tcp_nodelay()?);
        assert_eq!(socket.tcp_user_timeout()?, None, "as before it was set");
        Ok(())
    }

    #[tokio::test]
    async fn what_has_arrived_is_seen_before_the_runtime_hears_of_it() -> io::Result<()> {
        let (peer, stream) = pair().await?;
        let nothing = stream.try_read(&mut [0]).expect_err("nothing was sent");
        assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
        assert!(!has_unread(&stream));
        // Nothing is awaited from here on, so that the runtime has no chance to ask for news.
        SockRef::from(&peer).send(b"x")?;
        let deadline = std::time::Instant::now() + Duration::from_secs(60);
        while !has_unread(&stream) {
            assert!(std::time::Instant::now() < deadline, "loopback delivers");
        }
        let unheard = stream.try_read(&mut [0]).map_err(|error| error.kind());
        assert_eq!(unheard, Err(io::ErrorKind::WouldBlock));
        Ok(())
    }

    #[tokio::test]
    async fn what_the_peer_does_not_take_is_counted() -> io::Result<()> {
        let (mut peer, mut stream) = pair().await?;
        stream
            .write_all(b"taken by the peer's TCP, read or not")
            .await?;
        let mut byte = [0];
        peer.read_exact(&mut byte).await?;
        let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
        while unacknowledged_bytes(&stream) != Some(0) {
            assert!(
                tokio::time::Instant::now() < deadline,
                "loopback acknowledges at once"
            );
            tokio::task::yield_now().await;
        }
        while stream.try_write(&[0; 65_536]).is_ok() {}
        assert!(unacknowledged_bytes(&stream).is_some_and(|bytes| bytes > 0));
        Ok(())
    }
}
