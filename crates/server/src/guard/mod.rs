//! Who may do what: one code path for WebSockets, the HTTP API, event streams and embedding
//! applications.
//!
//! ```text
//!  keys   tokens, or a check      WebSockets                     /v1/*
//!  no     no                      on loopback only, own pages    the same
//!  yes    no                      refused unless opened          with the key
//!  no     yes                     by token, or the check         GET of granted topics
//!  yes    yes                     by token, or the check         with the key, or as above
//! ```
//!
//! Two questions are asked of each request. [`Guard::surroundings`] looks at where it comes from;
//! [`Guard::grant`] at who it is. The topics that the grant covers are looked at by the hub,
//! before it looks for the topic.
//!
//! A loopback port is reachable from every web page in the user's browser, and a proxy in front
//! makes it public `[REFUSE-3]`. So without keys a request must name a loopback host, must come
//! from a page of the same host where it changes anything, and must not have been forwarded.
//! `hub.router()` applies all this itself; an application that has checks of its own in front of
//! it says [`Access::Application`].

mod check;
mod credentials;
mod file;
mod forwarded;
mod host;
mod key;
mod origin;
mod token;

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Weak};
use std::time::Duration;

use axum::extract::ConnectInfo;
use heartwire_hub::Grant;
use http::request::Parts;
use http::{Method, StatusCode};
use ipnet::IpNet;

use crate::api::HttpError;
use crate::shared::Shared;

pub(crate) use check::SharedCheck;
pub use check::{Check, CheckRequest, Refusal};
pub use file::FileError;
pub(crate) use file::Watched;
pub use key::{ApiKey, ApiKeyError};
pub use token::{EmptySecret, Tokens};

/// How often files with secrets are read again.
const RELOAD_EVERY: Duration = Duration::from_secs(1);

/// What decides about a request.
#[derive(Clone, Debug, Default)]
pub(crate) enum Access {
    /// Nothing was set: everything is allowed, on loopback only.
    #[default]
    Loopback,
    /// Everything is allowed to everybody, as somebody insisted.
    Everybody,
    /// Whoever shows something that is known.
    Credentials { keys: Keys, websockets: WebSockets },
    /// The application around the hub has decided already.
    Application,
}

/// How a WebSocket gets in where credentials decide. What it takes opens topics over HTTP as well.
#[derive(Clone, Debug)]
pub(crate) enum WebSockets {
    Closed,
    /// To everybody.
    Open,
    ByToken(Tokens),
    ByCheck(SharedCheck),
}

/// API keys: given, and read from files.
#[derive(Clone, Debug, Default)]
pub(crate) struct Keys {
    pub(crate) given: Vec<ApiKey>,
    pub(crate) files: Vec<Arc<Watched<Vec<ApiKey>>>>,
}

/// The rules of one hub.
#[derive(Clone, Debug, Default)]
pub(crate) struct Guard {
    pub(crate) access: Access,
    /// Names besides the loopback ones under which a server without keys may be called.
    pub(crate) hosts: Vec<String>,
    /// Proxies whose word about where a request comes from is taken.
    pub(crate) trusted_proxies: Vec<IpNet>,
    /// Origins besides the same host that may open WebSockets and change things; `*` is any.
    pub(crate) origins: Vec<String>,
}

/// What a request wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Door {
    WebSocket,
    Api,
}

/// Who somebody is, or why they do not come in. No grant at all means that nobody is asked.
pub(crate) type Granted = Result<Option<Arc<Grant>>, Refusal>;

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
    fn of(request: &Parts) -> Option<Self> {
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

impl Keys {
    pub(crate) fn open(path: std::path::PathBuf) -> Result<Arc<Watched<Vec<ApiKey>>>, FileError> {
        let parse = |contents: &[Vec<u8>]| key::lines(contents.first().map_or(&[], Vec::as_slice));
        Watched::open(vec![path], parse).map(Arc::new)
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.given.is_empty() && self.files.is_empty()
    }

    fn know(&self, given: &str) -> bool {
        let files = self.files.iter();
        files.fold(key::is_known(given, &self.given), |known, file| {
            key::is_known(given, &file.get()) | known
        })
    }
}

impl Guard {
    /// Where a request comes from: the peer, or whom a trusted proxy names.
    pub(crate) fn via(&self, request: &Parts) -> Option<Via> {
        let via = Via::of(request)?;
        if !self.trusts(via.peer.ip()) {
            return Some(via);
        }
        let client = forwarded::client(&request.headers, &self.trusted_proxies);
        Some(Via {
            // A proxy does not say which port its client has.
            peer: client.map_or(via.peer, |client| SocketAddr::new(client, 0)),
            ..via
        })
    }

    /// Whether an address is a trusted proxy's.
    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        forwarded::is_trusted(address, &self.trusted_proxies)
    }

    /// Does the request come from where requests may come from?
    pub(crate) fn surroundings(&self, door: Door, request: &Parts) -> Result<(), HttpError> {
        match self.access {
            Access::Application => return Ok(()),
            Access::Loopback => self.loopback_only(request)?,
            Access::Everybody | Access::Credentials { .. } => {}
        }
        if door == Door::WebSocket || changes_something(&request.method) {
            origin::check(request, &self.origins)?;
        }
        Ok(())
    }

    /// Who asks, and what may they do? `frame` is the token of a WebSocket's first frame.
    pub(crate) async fn grant(&self, door: Door, request: &Parts, frame: Option<&str>) -> Granted {
        if let Some(granted) = self.grant_at_once(door, request, frame) {
            return granted;
        }
        let token = credentials::token(request, frame);
        let asked = CheckRequest {
            parts: request,
            token: token.as_deref(),
            peer: self.via(request).map(|via| via.peer),
        };
        match &self.access {
            Access::Credentials {
                websockets: WebSockets::ByCheck(check),
                ..
            } => check
                .0
                .check(asked)
                .await
                .map(|grant| Some(Arc::new(grant))),
            _ => Err(closed()),
        }
    }

    /// The same where nobody has to be waited for; `None` where an application's check is to be
    /// asked.
    pub(crate) fn grant_at_once(
        &self,
        door: Door,
        request: &Parts,
        frame: Option<&str>,
    ) -> Option<Granted> {
        let (keys, websockets) = match &self.access {
            Access::Loopback | Access::Everybody | Access::Application => return Some(Ok(None)),
            Access::Credentials { keys, websockets } => (keys, websockets),
        };
        let shown = credentials::bearer(request);
        if door == Door::Api && shown.is_some_and(|shown| keys.know(shown)) {
            return Some(Ok(Some(Arc::new(Grant::operator()))));
        }
        let granted = match websockets {
            WebSockets::ByCheck(_) => return None,
            WebSockets::ByToken(tokens) => match credentials::token(request, frame) {
                Some(token) => tokens.grant(&token),
                None => Err(Refusal::unauthorized(match door {
                    Door::Api if !keys.is_empty() => "an API key or a token is needed",
                    Door::Api | Door::WebSocket => "a token is needed",
                })),
            },
            WebSockets::Open if door == Door::WebSocket => return Some(Ok(None)),
            WebSockets::Closed if door == Door::WebSocket => Err(closed()),
            WebSockets::Closed | WebSockets::Open => Err(key_needed(shown)),
        };
        Some(granted.map(|grant| Some(Arc::new(grant))))
    }

    /// Whether a v1 connection is let in by what stands in its `hello`, so that nothing is decided
    /// before.
    pub(crate) const fn waits_for_hello(&self) -> bool {
        matches!(
            &self.access,
            Access::Credentials {
                websockets: WebSockets::ByToken(_) | WebSockets::ByCheck(_),
                ..
            }
        )
    }

    /// What a fresh token grants that a living connection shows. `None` where nobody asks for
    /// tokens.
    pub(crate) fn renewal(&self) -> Option<Renewal> {
        let Access::Credentials { websockets, .. } = &self.access else {
            return None;
        };
        match websockets {
            WebSockets::ByToken(tokens) => Some(Renewal::AtOnce(tokens.clone())),
            WebSockets::ByCheck(check) => Some(Renewal::ByCheck(check.clone())),
            WebSockets::Closed | WebSockets::Open => None,
        }
    }

    /// Whether there is any file to be read again.
    pub(crate) const fn reads_files(&self) -> bool {
        matches!(self.access, Access::Credentials { .. })
    }

    /// Reads again every file that holds a secret. Blocks for as long as the file system does.
    pub(crate) fn reload(&self) {
        let Access::Credentials { keys, websockets } = &self.access else {
            return;
        };
        for file in &keys.files {
            file.reload();
        }
        if let WebSockets::ByToken(tokens) = websockets {
            tokens.reload();
        }
    }

    fn loopback_only(&self, request: &Parts) -> Result<(), HttpError> {
        match self.via(request) {
            Some(via) if via.loopback => {}
            Some(_) => return Err(not_loopback()),
            None => return Err(unknown_peer()),
        }
        forwarded::check(request)?;
        host::check(request, &self.hosts)
    }
}

/// How a fresh token is looked at.
pub(crate) enum Renewal {
    AtOnce(Tokens),
    ByCheck(SharedCheck),
}

/// Reads changed files again for as long as the hub lives.
pub(crate) async fn keep_fresh(shared: Weak<Shared>) {
    while let Some(shared) = shared.upgrade() {
        reload(shared).await;
        tokio::time::sleep(RELOAD_EVERY).await;
    }
}

/// Reads changed files again, on a thread that may block.
pub(crate) async fn reload(shared: Arc<Shared>) {
    let reading = tokio::task::spawn_blocking(move || {
        shared.config.guard.reload();
        shared.webhooks.reload();
    });
    if let Err(error) = reading.await {
        tracing::error!(%error, "files with secrets were not read again");
    }
}

const fn changes_something(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

fn closed() -> Refusal {
    let reason = "this server has an API key and its WebSockets are not open to everybody";
    Refusal::unauthorized(reason)
}

fn key_needed(shown: Option<&str>) -> Refusal {
    Refusal::unauthorized(match shown {
        Some(_) => "the API key is not one of this server's",
        None => "an API key is needed: send it as `Authorization: Bearer KEY`",
    })
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
