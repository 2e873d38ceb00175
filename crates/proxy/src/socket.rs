//! Sockets, and the options that make them behave as the path demands.

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpSocket, TcpStream, lookup_host};

use crate::conditions::Throttle;

/// How many connections wait for the proxy to accept them.
const BACKLOG: i32 = 1_024;

/// The buffer of a socket that is throttled no longer, in bytes.
const BUFFER_BYTES: usize = 1 << 20;

/// The least buffer on a throttled path, in bytes: kernels round smaller ones up.
const THROTTLED_BUFFER_BYTES_MIN: usize = 4 * 1024;

/// Binds an address without listening: dials are refused, and nobody else gets the port.
pub(crate) fn reserve(addr: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    share_port(&socket, true)?;
    socket.bind(&addr.into())?;
    share_port(&socket, false)?;
    Ok(socket)
}

/// Begins to listen on a reserved address.
pub(crate) fn listen(socket: Socket) -> io::Result<TcpListener> {
    share_port(&socket, true)?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Living connections hold the port, too, and must not keep the proxy from binding it again. A
/// socket that does not listen must share with nobody else, or somebody could listen there.
fn share_port(socket: &Socket, share: bool) -> io::Result<()> {
    // On Windows the option would let anybody take the port over; living connections do not hold
    // it there.
    if cfg!(windows) {
        return Ok(());
    }
    socket.set_reuse_address(share)
}

/// Connects to the first address of `to` that answers, with buffers as the path demands.
pub(crate) async fn dial(to: &str, throttle: Throttle) -> io::Result<TcpStream> {
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for addr in lookup_host(to).await? {
        let socket = match addr {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        shape(&SockRef::from(&socket), None, throttle);
        match socket.connect(addr).await {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// From here on, closing the socket without further ado sends RST.
pub(crate) fn reset_on_close(stream: &TcpStream) {
    // It fails only on a socket that the kernel has already ended.
    let _ = stream.set_zero_linger();
}

/// From here on, closing the socket lets the kernel deliver what it holds, then FIN.
pub(crate) fn finish_on_close(stream: &TcpStream) {
    let _ = SockRef::from(stream).set_linger(None);
}

/// Sizes the kernel's buffers when the throttle changes: on a throttled path they hold about a
/// fifth of a second, so that the sender feels the path, and not the proxy's memory.
///
/// A socket that was never throttled is left to the kernel's own tuning.
pub(crate) fn shape(socket: &SockRef<'_>, before: Throttle, after: Throttle) {
    if before == after {
        return;
    }
    let bytes = after.map_or(BUFFER_BYTES, |rate| {
        let fifth = usize::try_from(rate.get() / 5).unwrap_or(BUFFER_BYTES);
        fifth.clamp(THROTTLED_BUFFER_BYTES_MIN, BUFFER_BYTES)
    });
    // A kernel that refuses a size keeps the one it has, which is no reason to drop a connection.
    let _ = socket.set_recv_buffer_size(bytes);
    let _ = socket.set_send_buffer_size(bytes);
}
