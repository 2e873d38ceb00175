//! What a request to the API may do, before its handler looks at anything.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use heartwire_hub::Grant;
use http::Method;
use http::request::Parts;

use super::error::HttpError;
use super::parameters;
use crate::guard::Door;
use crate::shared::Shared;

/// Who asks; nothing where nobody is asked.
#[derive(Clone, Debug)]
pub(super) struct Asker(pub(super) Option<Arc<Grant>>);

/// Lets operators alone through.
pub(super) async fn operators(
    State(shared): State<Arc<Shared>>,
    request: Request,
    next: Next,
) -> Result<Response, HttpError> {
    let (parts, body) = request.into_parts();
    if !is_operator(asker(&shared, &parts).await?.as_deref()) {
        return Err(for_operators());
    }
    Ok(next.run(Request::from_parts(parts, body)).await)
}

/// Lets operators through, and whoever reads a topic that is theirs: the grant decides before
/// anybody looks whether there is such a topic.
pub(super) async fn of_topic(
    State(shared): State<Arc<Shared>>,
    request: Request,
    next: Next,
) -> Result<Response, HttpError> {
    let (mut parts, body) = request.into_parts();
    let grant = asker(&shared, &parts).await?;
    if !is_operator(grant.as_deref()) {
        if !matches!(parts.method, Method::GET | Method::HEAD) {
            return Err(for_operators());
        }
        let topic = parameters::topic(&parts)?;
        let hub = shared.lock_hub();
        if !hub.may_subscribe(grant.as_deref(), topic.as_topic()) {
            return Err(not_granted());
        }
    }
    parts.extensions.insert(Asker(grant));
    Ok(next.run(Request::from_parts(parts, body)).await)
}

async fn asker(shared: &Arc<Shared>, parts: &Parts) -> Result<Option<Arc<Grant>>, HttpError> {
    let guard = &shared.config.guard;
    guard.surroundings(Door::Api, parts)?;
    let grant = guard.grant(Door::Api, parts, None).await?;
    let admitted = shared.lock_hub().admits(grant.as_deref());
    admitted.map_err(|close| HttpError::forbidden("forbidden", close.reason))?;
    Ok(grant)
}

fn is_operator(grant: Option<&Grant>) -> bool {
    grant.is_none_or(Grant::is_operator)
}

fn for_operators() -> HttpError {
    HttpError::forbidden(
        "forbidden",
        "a token opens GET of the topics that it grants, and nothing else; this takes an API key",
    )
}

/// The same words for every topic, whether or not there is one.
pub(super) fn not_granted() -> HttpError {
    HttpError::forbidden("forbidden", "the topic is not granted")
}
