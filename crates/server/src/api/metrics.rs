//! `GET /metrics`: for Prometheus.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header;

use crate::metrics::{MEDIA_TYPE, collect};
use crate::shared::Shared;

/// Every metric, in the text format.
pub(super) async fn page(State(shared): State<Arc<Shared>>) -> Response {
    let headers = [
        (header::CONTENT_TYPE, MEDIA_TYPE),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, collect(&shared).await).into_response()
}
