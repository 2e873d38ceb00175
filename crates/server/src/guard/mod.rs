//! Who may do what: one code path for WebSockets and HTTP.
//!
//! ```text
//!  API key set?   WebSockets                                 /v1/*
//!  no             on loopback only, own pages only           the same
//!  yes            refused unless `open_websocket`            with the key
//! ```
//!
//! A loopback port is reachable from every web page in the user's browser, and a proxy in front
//! makes it public `[REFUSE-3]`. So without keys a request must name a loopback host, must come
//! from a page of the same host where it changes anything, and must not have been forwarded.
//! `hub.router()` applies all this itself; an application that has checks of its own in front of
//! it says [`Access::Application`].

mod forwarded;
mod host;
mod key;
mod origin;

use std::net::{IpAddr, SocketAddr};

use axum::extract::ConnectInfo;
use http::request::Parts;
use http::{Method, StatusCode};

use crate::api::HttpError;

pub use key::{ApiKey, ApiKeyError};

/// What decides about a request.
#[derive(Clone, Debug, Default)]
pub(crate) enum Access {
    /// Nothing was set: everything is allowed, on loopback only.
    #[default]
    Loopback,
    /// `/v1/*` by one of these keys.
    Keys {
        keys: Vec<ApiKey>,
        /// WebSockets are open to everybody.
        open_websocket: bool,
    },
    /// The application around the hub has decided already.
    Application,
}

/// The rules of one hub.
#[derive(Clone, Debug, Default)]
pub(crate) struct Guard {
    pub(crate) access: Access,
    /// Names besides the loopback ones under which a server without keys may be called.
    pub(crate) hosts: Vec<String>,
    /// Origins besides the same host that may open WebSockets and change things; `*` is any.
    pub(crate) origins: Vec<String>,
}

/// Where a request came in, as far as the accept loop can tell.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Via {
    pub(crate) peer: SocketAddr,
    /// Whether the listener's own address is a loopback one.
    pub(crate) loopback: bool,
}

impl Via {
    /// What our own accept loop noted, or axum's `ConnectInfo` for a router that is served
    /// elsewhere. `None` when neither is there.
    pub(crate) fn of(request: &Parts) -> Option<Self> {
        if let Some(via) = request.extensions.get::<Self>() {
            return Some(*via);
        }
        let ConnectInfo(peer) = *request.extensions.get::<ConnectInfo<SocketAddr>>()?;
        Some(Self {
            peer,
            loopback: is_loopback(peer.ip()),
        })
    }
}

/// Loopback, also when written as an IPv4 address inside IPv6.
pub(crate) fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// What becomes of an upgrade that may go ahead as far as HTTP is concerned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Admission {
    Open,
    /// To be upgraded and then closed with 4001, so that a browser can see it `[REFUSE-1]`.
    Unauthorized,
}

impl Guard {
    /// May this request become a WebSocket?
    pub(crate) fn websocket(&self, request: &Parts) -> Result<Admission, HttpError> {
        match &self.access {
            Access::Application => return Ok(Admission::Open),
            Access::Loopback => self.loopback_only(request)?,
            Access::Keys { .. } => {}
        }
        origin::check(request, &self.origins)?;
        match &self.access {
            Access::Keys {
                open_websocket: false,
                ..
            } => Ok(Admission::Unauthorized),
            _ => Ok(Admission::Open),
        }
    }

    /// May this request use `/v1/*`?
    pub(crate) fn api(&self, request: &Parts) -> Result<(), HttpError> {
        match &self.access {
            Access::Application => return Ok(()),
            Access::Loopback => self.loopback_only(request)?,
            Access::Keys { keys, .. } => key::check(request, keys)?,
        }
        if changes_something(&request.method) {
            origin::check(request, &self.origins)?;
        }
        Ok(())
    }

    fn loopback_only(&self, request: &Parts) -> Result<(), HttpError> {
        match Via::of(request) {
            Some(via) if via.loopback => {}
            Some(_) => return Err(not_loopback()),
            None => return Err(unknown_peer()),
        }
        forwarded::check(request)?;
        host::check(request, &self.hosts)
    }
}

const fn changes_something(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

fn not_loopback() -> HttpError {
    HttpError::forbidden(
        "not-loopback",
        "without an API key this server answers on a loopback address only: set one (--api-key), \
         or listen on 127.0.0.1",
    )
}

fn unknown_peer() -> HttpError {
    HttpError::new(
        StatusCode::FORBIDDEN,
        "unknown-peer",
        "without an API key the hub answers on loopback only, and it was not told where this \
         request comes from: serve the application with \
         into_make_service_with_connect_info::<SocketAddr>(), set an API key, or let the \
         application decide (HubBuilder::access_by_application)",
    )
}

#[cfg(test)]
mod tests;
