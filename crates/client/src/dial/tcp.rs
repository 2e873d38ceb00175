//! A TCP connection to the first address of a host that answers.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::net::{TcpStream, lookup_host};

/// How long an address may be silent before the next one is tried beside it (RFC 8305 recommends
/// 250 ms). A black-holed IPv6 route then costs a quarter of a second and not the whole attempt.
const STAGGER: Duration = Duration::from_millis(250);

/// How many addresses of a name are tried; a name with more has them for balancing, not for reach.
const ADDRESSES_MAX: usize = 8;

/// Unsent bytes that the kernel may hold before it calls the socket full. A ping then never stands
/// behind more than this and what is in flight, and a slow line shows as slow progress instead of
/// as silence `[LIVE-5]`.
#[cfg(any(target_os = "linux", target_os = "android"))]
const UNSENT_BYTES_MAX: u32 = 16 * 1024;

/// The addresses of a host, in the order in which to try them.
pub(super) async fn resolve(host: &str, port: u16) -> io::Result<VecDeque<SocketAddr>> {
    let found: Vec<_> = lookup_host((host, port)).await?.collect();
    if found.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "no address"));
    }
    let mut addresses = alternate(&found);
    addresses.truncate(ADDRESSES_MAX);
    Ok(addresses)
}

/// IPv6 and IPv4 in turn, beginning with what the resolver put first, so that a family without a
/// route delays the other by one step only.
fn alternate(found: &[SocketAddr]) -> VecDeque<SocketAddr> {
    let first_is_v6 = found.first().is_some_and(SocketAddr::is_ipv6);
    let (mut first, mut second): (VecDeque<SocketAddr>, VecDeque<SocketAddr>) = found
        .iter()
        .partition(|address| address.is_ipv6() == first_is_v6);
    let mut turns = VecDeque::with_capacity(found.len());
    while !(first.is_empty() && second.is_empty()) {
        turns.extend(first.pop_front());
        turns.extend(second.pop_front());
    }
    turns
}

/// Connects to whichever address answers first. Dropping the future drops every socket it opened.
pub(super) async fn connect(mut waiting: VecDeque<SocketAddr>) -> io::Result<TcpStream> {
    let mut racing = FuturesUnordered::new();
    let mut last_error = io::Error::from(io::ErrorKind::AddrNotAvailable);
    loop {
        if let Some(address) = waiting.pop_front() {
            racing.push(TcpStream::connect(address));
        }
        tokio::select! {
            result = racing.next() => match result {
                Some(Ok(stream)) => return tuned(stream),
                Some(Err(error)) => last_error = error,
                None => return Err(last_error),
            },
            () = tokio::time::sleep(STAGGER), if !waiting.is_empty() => {}
        }
    }
}

fn tuned(stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        // A kernel or sandbox without the option only loses the early warning.
        let _ = socket2::SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT_BYTES_MAX);
    }
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[test]
    fn families_take_turns() {
        let all: Vec<SocketAddr> = ["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "2.2.2.2:1"]
            .iter()
            .map(|address| address.parse().expect("an address"))
            .collect();
        let order: Vec<_> = alternate(&all).iter().map(ToString::to_string).collect();
        assert_eq!(
            order,
            ["[::1]:1", "1.1.1.1:1", "[::2]:1", "2.2.2.2:1", "[::3]:1"]
        );
    }

    #[tokio::test]
    async fn a_refusing_address_gives_way_to_the_next() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let alive = listener.local_addr().expect("an address");
        let refusing = {
            let closed = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            closed.local_addr().expect("an address")
        };
        let stream = connect([refusing, alive].into()).await.expect("connected");
        assert_eq!(stream.peer_addr().expect("a peer"), alive);
        assert!(stream.nodelay().expect("an option"));

        let error = connect([refusing].into()).await.expect_err("refused");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}
