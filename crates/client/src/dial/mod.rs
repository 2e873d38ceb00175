//! One dial: name resolution, TCP, TLS, and the WebSocket handshake.
//!
//! A dial is a future without tasks of its own: dropping it closes whatever it has opened. It knows
//! no deadline either; the session abandons an attempt that takes too long `[RETRY-6]`.

mod endpoint;
mod socket;
mod tcp;
mod tls;
mod upgrade;
mod wire;

use std::io;
use std::time::Duration;

use http::{HeaderMap, StatusCode};

pub(crate) use endpoint::Endpoint;
pub use endpoint::UrlError;
pub(crate) use socket::{Arrival, Ended, Socket};
pub use tls::PemError;
pub(crate) use tls::Tls;
pub use upgrade::HeaderError;
pub(crate) use upgrade::checked_header;
pub(crate) use wire::SEES_ACKNOWLEDGEMENTS;
use wire::{Stream, Wire};

/// The subprotocol that v1 offers and insists on `[WS-2]`.
const SUBPROTOCOL_V1: &str = "heartwire.v1";

/// Everything a dial needs to know, the same for each attempt of a link.
pub(crate) struct Dialer {
    pub(crate) endpoint: Endpoint,
    /// The application's own headers.
    pub(crate) headers: HeaderMap,
    pub(crate) tls: Tls,
    /// Whether `heartwire.v1` is offered.
    pub(crate) v1: bool,
    /// The largest message that is taken from the server, in bytes.
    pub(crate) received_bytes_max: usize,
    /// The largest message that the application can send, in bytes.
    pub(crate) sent_bytes_max: usize,
}

/// An open WebSocket.
pub(crate) struct Dialed {
    pub(crate) socket: Socket,
    /// Whether the server agreed to `heartwire.v1`.
    pub(crate) v1: bool,
}

/// Why a dial came to nothing. Its text becomes the reason of the `lost` that follows.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    #[error("the name {host} cannot be resolved: {source}")]
    Resolve { host: String, source: io::Error },
    #[error("{host} port {port} cannot be reached: {source}")]
    Connect {
        host: String,
        port: u16,
        source: io::Error,
    },
    #[error("no TLS with {host}: {source}")]
    Tls { host: String, source: io::Error },
    #[error("refused with HTTP status {status}{explanation}")]
    Refused {
        status: StatusCode,
        /// What the server wrote for people, with a colon before it, or nothing.
        explanation: String,
        /// Its `Retry-After`.
        retry_after: Option<Duration>,
    },
    #[error("the server did not agree to {SUBPROTOCOL_V1}; a proxy may have dropped the header")]
    NoV1,
    #[error("the server closed the connection instead of answering the WebSocket request")]
    Cut,
    #[error("no WebSocket: {0}")]
    Handshake(#[from] tokio_tungstenite::tungstenite::Error),
}

impl DialError {
    /// How long the server asked to stay away `[REFUSE-2]`.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

impl Dialer {
    /// Dials once. `bearer` is a token for the `Authorization` header.
    pub(crate) async fn dial(&self, bearer: Option<&str>) -> Result<Dialed, DialError> {
        let stream = self.connect().await?;
        upgrade::upgrade(self, bearer, stream).await
    }

    async fn connect(&self) -> Result<Stream, DialError> {
        let Endpoint {
            host, port, secure, ..
        } = &self.endpoint;
        let resolved = tcp::resolve(host, *port).await;
        let addresses = resolved.map_err(|source| DialError::Resolve {
            host: host.clone(),
            source,
        })?;
        let connected = tcp::connect(addresses).await;
        let wire = Wire::new(connected.map_err(|source| DialError::Connect {
            host: host.clone(),
            port: *port,
            source,
        })?);
        if !secure {
            return Ok(Stream::Plain(wire));
        }
        let tls = self.tls.connect(host, wire).await;
        tls.map(|stream| Stream::Tls(Box::new(stream)))
            .map_err(|source| DialError::Tls {
                host: host.clone(),
                source,
            })
    }
}
