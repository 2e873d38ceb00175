//! A hub behind a listener of its own: the accept loop, and the graceful stop.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::ConnectInfo;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream, ToSocketAddrs};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tower_service::Service as _;

use crate::api::HttpError;
use crate::guard::{Via, is_loopback};
use crate::hub::Hub;
use crate::metrics::{Over, Weight};
use crate::socket;

/// How long a client may take to send the header of a request, the first one or a later one on a
/// connection kept alive: whoever trickles bytes is gone by then.
const REQUEST_HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest request header, in bytes; a longer one is answered with 431.
const REQUEST_HEADER_BYTES_MAX: usize = 32 * 1024;
/// Connections that speak HTTP at the same time. WebSockets are counted elsewhere and do not count
/// here once they are upgraded.
const HTTP_CONNECTIONS_MAX: usize = 4_096;
/// How long the accept loop rests when the process has no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often it is told at most that nothing can be accepted.
const TELL_EVERY: Duration = Duration::from_secs(60);
/// How long requests under way may take after the stop was asked for.
const REQUESTS_END_WITHIN: Duration = Duration::from_secs(5);
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
}

impl Server {
    /// Listens; nothing is accepted before [`run`](Self::run).
    ///
    /// # Errors
    ///
    /// The operating system's, when the address cannot be had.
    pub async fn bind(address: impl ToSocketAddrs, hub: Hub) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        Ok(Self {
            address: listener.local_addr()?,
            router: hub.router(),
            drain_window: None,
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
        let seats = Arc::new(Semaphore::new(HTTP_CONNECTIONS_MAX));
        let bound = self.hub.heartbeat_bound();
        let accepting = async {
            let mut told_at = None;
            loop {
                let (stream, peer) = accept(&self.listener, &self.hub, &mut told_at).await;
                let Ok(seat) = seats.clone().try_acquire_owned() else {
                    refuse(&stream, &self.hub);
                    continue;
                };
                // Events leave at once, and a peer that takes nothing does not keep its seat.
                socket::prepare(&stream, bound);
                let via = Via { peer, loopback };
                let connection = HttpConnection {
                    via,
                    router: self.router.clone(),
                    stopping: stopping.subscribe(),
                    _seat: seat,
                };
                tokio::spawn(connection.serve(stream));
            }
        };
        tokio::select! {
            () = stop => {}
            () = accepting => {}
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

/// Says 503 as far as it can be said without waiting, and hangs up.
fn refuse(stream: &TcpStream, hub: &Hub) {
    let shared = hub.shared();
    let (over, now) = (Over::Accept, shared.clock.time());
    let refusals = &shared.metrics.refusals;
    refusals.note(over, "too-many-connections", Weight::Warning, now);
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

/// One connection that speaks HTTP/1.1, until it ends or becomes a WebSocket.
struct HttpConnection {
    via: Via,
    router: Router,
    stopping: watch::Receiver<()>,
    _seat: OwnedSemaphorePermit,
}

impl HttpConnection {
    async fn serve(self, stream: TcpStream) {
        let Self {
            via,
            router,
            mut stopping,
            _seat,
        } = self;
        let service = service_fn(move |mut request: Request<Incoming>| {
            let extensions = request.extensions_mut();
            extensions.insert(via);
            extensions.insert(ConnectInfo(via.peer));
            router.clone().call(request)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(REQUEST_HEADER_TIMEOUT)
            .max_buf_size(REQUEST_HEADER_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        let mut connection = pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            _ = stopping.changed() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(peer = %via.peer, %error, "an HTTP connection ended with an error");
        }
    }
}
