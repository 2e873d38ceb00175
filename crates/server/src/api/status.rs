//! Whether the server lives and is ready.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header;

use super::error::{HttpError, JSON};
use crate::shared::Shared;

/// How long a load balancer may wait before it asks a server again that is not ready.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// The process answers: it lives.
pub(super) async fn health() -> Response {
    ([(header::CONTENT_TYPE, JSON)], "{\"status\":\"ok\"}\n").into_response()
}

/// New connections and messages are taken.
pub(super) async fn readiness(State(shared): State<Arc<Shared>>) -> Result<Response, HttpError> {
    if shared.is_draining() {
        let message = "the server is being stopped";
        return Err(HttpError::unavailable("draining", message, RETRY_AFTER));
    }
    if let Some(failure) = shared.disk_failure() {
        let message = failure.to_string();
        return Err(HttpError::unavailable("disk-failed", message, RETRY_AFTER));
    }
    let (is_accepting, is_full) = {
        let hub = shared.lock_hub();
        (hub.log().is_accepting(), hub.log().is_disk_full())
    };
    if is_full {
        let message = "the disk is full: messages are refused until there is room again";
        return Err(HttpError::unavailable("disk-full", message, RETRY_AFTER));
    }
    if let Some(failure) = shared.room_failure() {
        let message = failure.to_string();
        return Err(HttpError::unavailable("unavailable", message, RETRY_AFTER));
    }
    if !is_accepting {
        let message = "the log takes no messages at the moment";
        return Err(HttpError::unavailable("unavailable", message, RETRY_AFTER));
    }
    Ok(([(header::CONTENT_TYPE, JSON)], "{\"status\":\"ready\"}\n").into_response())
}
