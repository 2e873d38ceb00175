//! A hub behind a listener of its own: the accept loop, and the graceful stop.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use axum::Router;
use tokio::net::{TcpListener, TcpStream, ToSocketAddrs};
use tokio::sync::watch;

use crate::api::HttpError;
use crate::guard::{Via, is_loopback};
use crate::http_connection::HttpConnection;
use crate::http_seats::HttpSeats;
use crate::hub::Hub;
use crate::metrics::{Over, Weight};
use crate::socket;
use crate::tls::Tls;

/// Connections that speak HTTP at the same time. WebSockets are counted elsewhere and do not count
/// here once they are upgraded.
const HTTP_CONNECTIONS_MAX: usize = 4_096;
/// How many of them from one address, unless it is a trusted proxy's.
const HTTP_CONNECTIONS_PER_ADDRESS_MAX: usize = HTTP_CONNECTIONS_MAX / 2;
/// How long the accept loop rests when the process has no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often it is told at most that nothing can be accepted.
const TELL_EVERY: Duration = Duration::from_secs(60);
/// How long requests under way may take after the stop was asked for.
const REQUESTS_END_WITHIN: Duration = Duration::from_secs(5);
/// How often the certificate is read again.
const RELOAD_EVERY: Duration = Duration::from_secs(1);
/// How long a client is asked to stay away that found no room.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// A server with one listener.
///
/// ```no_run
/// use heartwire_server::{Hub, Server};
///
/// # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
/// let hub = Hub::builder().open().await?;
/// let server = Server::bind("127.0.0.1:7070", hub).await?;
/// println!("listening on http://{}", server.local_addr());
/// server.run(std::future::pending()).await;
/// # Ok(())
/// # }
/// ```
pub struct Server {
    hub: Hub,
    listener: TcpListener,
    address: SocketAddr,
    router: Router,
    drain_window: Option<Duration>,
    tls: Option<Tls>,
    proxy_protocol: bool,
}

impl Server {
    /// Listens; nothing is accepted before [`run`](Self::run).
    ///
    /// # Errors
    ///
    /// The operating system's, when the address cannot be had.
    pub async fn bind(address: impl ToSocketAddrs, hub: Hub) -> io::Result<Self> {
        let listener = socket::listen(address).await?;
        Ok(Self {
            address: listener.local_addr()?,
            router: hub.router(),
            drain_window: None,
            tls: None,
            proxy_protocol: false,
            hub,
            listener,
        })
    }

    /// Serves this router instead of [`Hub::router`]; the hub's routes are to be among its own.
    #[must_use]
    pub fn router(mut self, router: Router) -> Self {
        self.router = router;
        self
    }

    /// Over how long clients are asked to come back after the stop. Unless set, it grows with their
    /// number, see [`Hub::drain`].
    #[must_use]
    pub const fn drain_window(mut self, window: Duration) -> Self {
        self.drain_window = Some(window);
        self
    }

    /// Speaks TLS: HTTP/1.1 and WebSockets, and HTTP/2 for the API where a client prefers it.
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Takes from [trusted proxies](crate::HubBuilder::trusted_proxy) connections that begin with a
    /// PROXY header (version 1 or 2), and none without. Others connect as before.
    #[must_use]
    pub const fn proxy_protocol(mut self, is_spoken: bool) -> Self {
        self.proxy_protocol = is_spoken;
        self
    }

    /// Where it listens; with the port that the system picked.
    pub const fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` is ready, then stops gracefully: it accepts no more, is not ready any
    /// more, lets requests under way end, and [drains](Hub::drain) the WebSockets.
    pub async fn run(self, stop: impl Future<Output = ()> + Send) {
        // Each HTTP connection holds a receiver: closing waits for them.
        let stopping = watch::Sender::new(());
        let loopback = is_loopback(self.address.ip());
        let seats = HttpSeats::new(HTTP_CONNECTIONS_MAX, HTTP_CONNECTIONS_PER_ADDRESS_MAX);
        let bound = self.hub.heartbeat_bound();
        let accepting = async {
            let mut told_at = None;
            loop {
                let (stream, peer) = accept(&self.listener, &self.hub, &mut told_at).await;
                let counted = (!self.hub.trusts(peer.ip())).then_some(peer.ip());
                let Some(seat) = seats.take(counted) else {
                    refuse(&stream, &self.hub, self.tls.is_none());
                    continue;
                };
                // Events leave at once, and a peer that takes nothing does not keep its seat.
                socket::prepare_for_http(&stream, bound);
                let connection = HttpConnection {
                    hub: self.hub.clone(),
                    via: Via { peer, loopback },
                    is_proxied: self.proxy_protocol && self.hub.trusts(peer.ip()),
                    tls: self.tls.clone(),
                    router: self.router.clone(),
                    stopping: stopping.subscribe(),
                    seat,
                };
                tokio::spawn(connection.serve(stream));
            }
        };
        tokio::select! {
            () = stop => {}
            () = accepting => {}
            () = keep_fresh(self.tls.as_ref()) => {}
        }
        drop(self.listener);
        let window = self
            .drain_window
            .unwrap_or_else(|| self.hub.default_drain_window());
        stopping.send_replace(());
        let requests_end = tokio::time::timeout(REQUESTS_END_WITHIN, stopping.closed());
        let (_, ()) = tokio::join!(requests_end, self.hub.drain(window));
    }
}

/// Reads a changed certificate, for ever.
async fn keep_fresh(tls: Option<&Tls>) {
    let Some(tls) = tls else {
        return std::future::pending().await;
    };
    loop {
        tokio::time::sleep(RELOAD_EVERY).await;
        tls.reload().await;
    }
}

/// The next connection. Errors of one connection are its own; when the process has no descriptors
/// left, a pause lets some go; that is logged once a minute.
async fn accept(
    listener: &TcpListener,
    hub: &Hub,
    told_at: &mut Option<Instant>,
) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                let errors = &hub.shared().metrics.accept_errors;
                errors.fetch_add(1, Ordering::Relaxed);
                if told_at.is_none_or(|told_at| told_at.elapsed() >= TELL_EVERY) {
                    *told_at = Some(Instant::now());
                    tracing::error!(%error, "no connection can be accepted for a moment");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
    )
}

/// Says 503 as far as it can be said without waiting, and hangs up. Under TLS it cannot be said.
fn refuse(stream: &TcpStream, hub: &Hub, is_plain: bool) {
    let shared = hub.shared();
    let (over, now) = (Over::Accept, shared.clock.time());
    let refusals = &shared.metrics.refusals;
    refusals.note(over, "too-many-connections", Weight::Warning, now);
    if !is_plain {
        return;
    }
    let message = "the server answers as many requests as it may";
    let error = HttpError::unavailable("too-many-connections", message, RETRY_AFTER);
    let body = error.to_json().to_string();
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\nretry-after: {}\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        RETRY_AFTER.as_secs(),
        body.len(),
    );
    // The socket is not known to the runtime as writable yet; the system knows better.
    let _ = socket2::SockRef::from(stream).send(answer.as_bytes());
}
