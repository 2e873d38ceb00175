//! A client and a server with a proxy between them, and waits that end.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses its own part"
)]

use std::future::Future;
use std::io;
use std::time::Duration;

use heartwire_proxy::Proxy;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// How long anything may take that is to happen at once, however busy the machine.
pub const SOON: Duration = Duration::from_secs(60);
/// How long nothing must happen before a test believes that nothing will.
pub const QUIET: Duration = Duration::from_millis(150);

/// Both ends of one connection through a proxy.
pub struct Path {
    pub proxy: Proxy,
    pub listener: TcpListener,
    pub client: TcpStream,
    pub server: TcpStream,
}

impl Path {
    pub async fn open() -> Self {
        let (proxy, listener) = proxy().await;
        let (client, server) = connect(&proxy, &listener).await;
        Self {
            proxy,
            listener,
            client,
            server,
        }
    }

    pub async fn apply(&self, command: &str) {
        apply(&self.proxy, command).await;
    }
}

pub async fn apply(proxy: &Proxy, command: &str) {
    let command = command.parse().expect("a command");
    proxy.apply(command).await.expect("carried out");
}

pub async fn proxy() -> (Proxy, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let to = listener.local_addr().expect("bound");
    let proxy = Proxy::start("127.0.0.1:0", to).await.expect("a port");
    (proxy, listener)
}

pub async fn connect(proxy: &Proxy, listener: &TcpListener) -> (TcpStream, TcpStream) {
    let client = TcpStream::connect(proxy.addr()).await.expect("accepted");
    let (server, _) = soon(listener.accept()).await.expect("dialled on");
    (client, server)
}

/// Panics when the future takes unreasonably long.
pub async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(SOON, future).await.expect("it happens soon")
}

/// Whether the future stays pending for a while.
pub async fn stays_quiet<T>(future: impl Future<Output = T>) -> bool {
    timeout(QUIET, future).await.is_err()
}

/// Writes on one socket and reads the same on the other.
pub async fn passes(from: &mut TcpStream, to: &mut TcpStream, text: &str) {
    soon(from.write_all(text.as_bytes()))
        .await
        .expect("written");
    arrives(to, text).await;
}

/// The next bytes are these.
pub async fn arrives(to: &mut TcpStream, text: &str) {
    let mut bytes = vec![0; text.len()];
    soon(to.read_exact(&mut bytes)).await.expect("enough bytes");
    assert_eq!(String::from_utf8_lossy(&bytes), text);
}

/// What a socket says at its end: `Ok(0)` for FIN, an error for RST.
pub async fn end_of(stream: &mut TcpStream) -> io::Result<usize> {
    soon(stream.read(&mut [0; 64])).await
}

pub fn is_reset(end: &io::Result<usize>) -> bool {
    matches!(end, Err(error) if error.kind() == io::ErrorKind::ConnectionReset)
}
