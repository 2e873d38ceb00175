//! The HTTP side of a hub: the WebSocket's upgrade, and the API that scripts use.
//!
//! | request | module |
//! |---|---|
//! | `GET /websocket` | [`websocket`], [`handshake`], [`url_topics`] |
//! | `POST /v1/topics/{topic}`, `POST /v1/publish` | [`publish`], [`batch`], [`idempotency`] |
//! | `GET /v1/topics/{topic}` | [`history`], or [`sse`] where events are asked for |
//! | `GET /v1/topics/{topic}/presence` | [`presence`] |
//! | `GET /v1/topics`, `/v1/connections`, `DELETE /v1/connections/{id}` | [`live`] |
//! | `GET /v1/connections/{id}` | [`account`] |
//! | `/v1/subjects…` | [`subjects`] |
//! | `/v1/webhooks…` | [`webhooks`] |
//! | `GET /`, `/page/…`, `/heartwire.js` | [`page`] |
//! | `GET /healthz`, `/readyz` | [`status`] |
//! | `GET /metrics` | [`mod@metrics`] |
//!
//! Every request passes the [guard](crate::guard) first ([`access`]); every refusal is JSON
//! `{"error": code, "message": …}`.

mod access;
mod account;
mod batch;
mod body;
mod error;
mod handshake;
mod history;
mod idempotency;
pub(crate) mod json;
mod live;
mod metrics;
mod page;
mod parameters;
mod presence;
mod publish;
mod sse;
mod status;
mod subjects;
mod url_topics;
mod webhooks;
mod websocket;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use http::StatusCode;

use crate::metrics::{Over, Weight};
use crate::shared::Shared;

use error::RefusedAs;

pub(crate) use error::HttpError;
pub(crate) use idempotency::IdempotencyKeys;
pub(crate) use parameters::query;
pub(crate) use publish::Stored;
pub use url_topics::{UrlTopics, UrlTopicsError};

/// The routes of one hub.
pub(crate) fn router(shared: Arc<Shared>) -> Router {
    let of_topics = Router::new()
        .route("/v1/topics/{topic}", get(topic).post(publish::one))
        .route("/v1/topics/{topic}/presence", get(presence::list))
        .route_layer(middleware::from_fn_with_state(
            shared.clone(),
            access::of_topic,
        ));
    let of_operators = Router::new()
        .route("/v1/topics", get(live::topics))
        .route("/v1/publish", post(publish::many))
        .route("/v1/connections", get(live::connections))
        .route(
            "/v1/connections/{id}",
            get(account::one).delete(live::close),
        )
        .route("/metrics", get(metrics::page))
        .route("/v1/webhooks", get(webhooks::list))
        .route("/v1/webhooks/{webhook}", get(webhooks::one))
        .route("/v1/webhooks/{webhook}/retry", post(webhooks::retry))
        .route("/v1/subjects", get(subjects::list))
        .route("/v1/subjects/{subject}", delete(subjects::kick))
        .route("/v1/subjects/{subject}/readmit", post(subjects::readmit))
        .route(
            "/v1/subjects/{subject}/topics/{topics}",
            delete(subjects::revoke),
        )
        .route_layer(middleware::from_fn_with_state(
            shared.clone(),
            access::operators,
        ));
    Router::new()
        .merge(of_topics)
        .merge(of_operators)
        .route("/websocket", get(websocket::upgrade))
        .route("/", get(page::index))
        .route("/page/{name}", get(page::part))
        .route("/heartwire.js", get(page::client))
        .route("/healthz", get(status::health))
        .route("/readyz", get(status::readiness))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(middleware::map_response_with_state(
            shared.clone(),
            note_refusal,
        ))
        .with_state(shared)
}

/// Counts errors by their code. Who may not, and what is at a limit, is also logged as a warning.
async fn note_refusal(State(shared): State<Arc<Shared>>, response: Response) -> Response {
    if let Some(RefusedAs(code)) = response.extensions().get().copied() {
        let weight = match response.status() {
            StatusCode::UNAUTHORIZED
            | StatusCode::FORBIDDEN
            | StatusCode::TOO_MANY_REQUESTS
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::INSUFFICIENT_STORAGE => Weight::Warning,
            _ => Weight::Mistake,
        };
        let now = shared.clock.time();
        shared.metrics.refusals.note(Over::Http, code, weight, now);
    }
    response
}

/// One topic: live where events are asked for, else its history.
async fn topic(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    if sse::is_asked_for(&parts.headers) {
        sse::events(&shared, &parts).into_response()
    } else {
        history::page(&shared, &parts).await.into_response()
    }
}

async fn not_found() -> HttpError {
    HttpError::not_found(
        "not-found",
        "there is nothing at this address; GET / says what is where",
    )
}

async fn method_not_allowed() -> HttpError {
    HttpError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method-not-allowed",
        "this address does not take this method; GET / says what is where",
    )
}
