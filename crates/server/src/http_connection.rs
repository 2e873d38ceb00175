//! One accepted connection: the PROXY header, TLS, then HTTP, until it ends or becomes a WebSocket.
//!
//! ```text
//!   accepted ─► PROXY header ─► TLS handshake ─┬─► HTTP/1.1 ─► requests, or a WebSocket
//!               where it is       where there  │
//!               asked for         is a         └─► HTTP/2 ─► requests
//!                                 certificate
//! ```
//!
//! Each phase has a deadline: whoever trickles bytes is gone by then.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::response::Response;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;
use tower_service::Service as _;

use crate::guard::Via;
use crate::http_seats::HttpSeat;
use crate::hub::Hub;
use crate::metrics::{Over, Weight};
use crate::proxied;
use crate::tls::{HTTP_2, Tls};
use crate::wire::Wire;

/// How long a proxy may take to say where a connection comes from.
const PROXY_HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a TLS handshake may take.
const TLS_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client may take to send the header of a request, the first one or a later one on a
/// connection kept alive.
const REQUEST_HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest request header, in bytes; a longer one is answered with 431.
const REQUEST_HEADER_BYTES_MAX: u32 = 32 * 1024;
/// How many requests of one HTTP/2 connection are answered at the same time.
const STREAMS_MAX: u32 = 64;
/// How often the other end of an HTTP/2 connection is asked whether it lives, and how long it may
/// take to say so: the header's deadline does not hold between requests there.
const STREAMS_ASKED_EVERY: Duration = Duration::from_secs(20);
const STREAMS_ANSWERED_WITHIN: Duration = Duration::from_secs(10);

/// A connection that was accepted just now.
pub(crate) struct HttpConnection {
    pub(crate) hub: Hub,
    pub(crate) via: Via,
    /// The connection has to begin with a PROXY header.
    pub(crate) is_proxied: bool,
    pub(crate) tls: Option<Tls>,
    pub(crate) router: Router,
    pub(crate) stopping: watch::Receiver<()>,
    pub(crate) seat: HttpSeat,
}

impl HttpConnection {
    /// Serves it to its end.
    pub(crate) async fn serve(self, stream: TcpStream) {
        let peer = self.via.peer;
        if let Err(error) = self.try_serve(stream).await {
            tracing::debug!(%peer, %error, "an HTTP connection ended with an error");
        }
    }

    async fn try_serve(mut self, mut stream: TcpStream) -> io::Result<()> {
        if self.is_proxied {
            let source = timeout(PROXY_HEADER_TIMEOUT, proxied::source(&mut stream)).await;
            let source = source.map_err(io::Error::from).flatten();
            let source = source.inspect_err(|_| self.refused("bad-proxy-header"))?;
            self.via.peer = source.unwrap_or(self.via.peer);
        }
        let Some(tls) = self.tls.take() else {
            return self.speak_http1(stream).await;
        };
        let handshake = tls.acceptor().accept(Wire::new(stream));
        // Boxed, as what a handshake needs is more than all that comes after it.
        let stream = timeout(TLS_HANDSHAKE_TIMEOUT, Box::pin(handshake)).await;
        let stream = stream.map_err(io::Error::from).flatten();
        let stream = stream.inspect_err(|_| self.refused("bad-tls-handshake"))?;
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(HTTP_2);
        if is_http2 {
            self.speak_http2(stream).await
        } else {
            self.speak_http1(stream).await
        }
    }

    async fn speak_http1(
        self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    ) -> io::Result<()> {
        let Self {
            hub,
            via,
            router,
            mut stopping,
            seat: _seat,
            ..
        } = self;
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(REQUEST_HEADER_TIMEOUT)
            .max_buf_size(REQUEST_HEADER_BYTES_MAX as usize)
            .serve_connection(
                TokioIo::new(stream),
                service_fn(|request| answer(&router, via, request)),
            )
            .with_upgrades();
        let mut connection = pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            _ = stopping.changed() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Some(reason) = ended.as_ref().err().and_then(refused_as) {
            note(&hub, reason);
        }
        ended.map_err(io::Error::other)
    }

    /// Counts somebody with whom there will be no HTTP.
    fn refused(&self, reason: &'static str) {
        note(&self.hub, reason);
    }

    /// The API alone: WebSockets are dialled by HTTP/1.1.
    async fn speak_http2(
        self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    ) -> io::Result<()> {
        let Self {
            via,
            router,
            mut stopping,
            seat: _seat,
            ..
        } = self;
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS_MAX)
            .max_header_list_size(REQUEST_HEADER_BYTES_MAX)
            .keep_alive_interval(STREAMS_ASKED_EVERY)
            .keep_alive_timeout(STREAMS_ANSWERED_WITHIN)
            .serve_connection(
                TokioIo::new(stream),
                service_fn(move |request| answer(&router, via, request)),
            );
        let mut connection = pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            _ = stopping.changed() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        ended.map_err(io::Error::other)
    }
}

/// Why the HTTP library has given up a request that nobody else has seen, if the peer is to blame.
fn refused_as(error: &hyper::Error) -> Option<&'static str> {
    if error.is_timeout() {
        Some("slow-head")
    } else if error.is_parse_too_large() {
        Some("large-head")
    } else if error.is_parse() {
        Some("malformed")
    } else {
        None
    }
}

fn note(hub: &Hub, reason: &'static str) {
    let shared = hub.shared();
    let now = shared.clock.time();
    let refusals = &shared.metrics.refusals;
    refusals.note(Over::Accept, reason, Weight::Mistake, now);
}

type Answer = Pin<Box<dyn Future<Output = Result<Response, std::convert::Infallible>> + Send>>;

fn answer(router: &Router, via: Via, mut request: Request<Incoming>) -> Answer {
    let extensions = request.extensions_mut();
    extensions.insert(via);
    extensions.insert(ConnectInfo::<SocketAddr>(via.peer));
    Box::pin(router.clone().call(request))
}
