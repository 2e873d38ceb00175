//! `GET /websocket`: from an HTTP request to a connection.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::Response;
use heartwire_proto::{Close, CloseCode};
use http::header;
use hyper::upgrade;

use super::error::HttpError;
use super::handshake::Handshake;
use crate::admission::Seat;
use crate::conn::{self, Opening};
use crate::guard::{Admission, Via};
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
    let admission = shared.config.guard.websocket(&parts)?;
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
    let address = Via::of(&parts).map(|via| via.peer);
    let seat = Seat::take(&shared, address.map(|address| address.ip()))?;
    let agent = parts.headers.get(header::USER_AGENT);
    let is_refused = admission == Admission::Unauthorized;
    let opening = Opening {
        mode: handshake.mode,
        topics: if is_refused { Vec::new() } else { topics },
        address,
        agent: agent
            .and_then(|agent| agent.to_str().ok())
            .unwrap_or_default()
            .to_owned(),
        refusal: is_refused.then(unauthorized),
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

fn unauthorized() -> Close {
    let reason = "this server has an API key and its WebSockets are not open to everybody";
    Close::new(CloseCode::UNAUTHORIZED, reason)
}
