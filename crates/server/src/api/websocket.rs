//! `GET /websocket`: from an HTTP request to a connection.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::Response;
use heartwire_hub::Mode;
use http::header;
use http::request::Parts;
use hyper::upgrade;

use super::error::HttpError;
use super::handshake::Handshake;
use crate::admission::Seat;
use crate::conn::{self, Admission, Entrance, Opening};
use crate::guard::Door;
use crate::shared::Shared;

/// How long a client is asked to stay away that came while the server was being stopped.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Checks everything that can be refused with a status, then answers 101; the connection begins
/// when hyper has given the socket back.
pub(super) async fn upgrade(
    State(shared): State<Arc<Shared>>,
    request: Request,
) -> Result<Response, HttpError> {
    let (mut parts, _) = request.into_parts();
    let guard = &shared.config.guard;
    guard.surroundings(Door::WebSocket, &parts)?;
    let handshake = Handshake::check(&parts)?;
    let topics = shared
        .config
        .url_topics
        .parse(parts.uri.query().unwrap_or_default())?;
    if shared.is_draining() {
        let message = "the server is being stopped";
        return Err(HttpError::unavailable("draining", message, RETRY_AFTER));
    }
    let Some(upgrade) = parts.extensions.remove::<upgrade::OnUpgrade>() else {
        return Err(HttpError::internal());
    };
    let address = guard.via(&parts).map(|via| via.peer);
    let seat = Seat::take(&shared, address.map(|address| address.ip()))?;
    let agent = parts.headers.get(header::USER_AGENT);
    let agent = agent.and_then(|agent| agent.to_str().ok());
    let agent = agent.unwrap_or_default().to_owned();
    let mode = handshake.mode;
    let admission = admit(&shared, mode, parts).await;
    let is_refused = matches!(admission, Admission::Refused(_));
    let opening = Opening {
        mode,
        topics: if is_refused { Vec::new() } else { topics },
        address,
        agent,
        admission,
        seat,
    };
    tokio::spawn(async move {
        match upgrade.await {
            // A task of its own, so that nothing of the upgrade stays with the connection.
            Ok(upgraded) => drop(tokio::spawn(conn::open(upgraded, opening))),
            Err(error) => tracing::debug!(%error, "an upgrade did not come about"),
        }
    });
    Ok(handshake.response())
}

/// A plain connection is known by its request; a v1 connection may say who it is in its `hello`.
async fn admit(shared: &Shared, mode: Mode, parts: Parts) -> Admission {
    let guard = &shared.config.guard;
    if mode == Mode::V1 && guard.waits_for_hello() {
        return Admission::Hello(Box::new(Entrance(parts)));
    }
    match guard.grant(Door::WebSocket, &parts, None).await {
        Ok(grant) => Admission::Granted(grant),
        Err(refusal) => Admission::Refused(refusal.into()),
    }
}
