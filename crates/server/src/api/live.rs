//! What is live: topics and connections.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use heartwire_hub::{ConnectionInfo, TopicInfo};
use heartwire_proto::{Close, CloseCode, ConnectionId};
use http::{StatusCode, header};
use serde_json::{Value, json};

use super::error::{HttpError, JSON};
use super::{account, parameters};
use crate::shared::Shared;

/// How many topics or connections a page has where nobody says.
const PAGE: usize = 100;

/// `{"topics": […], "next"}` in the order of their names; `?after=NAME` continues after `next`.
pub(super) async fn topics(
    State(shared): State<Arc<Shared>>,
    request: Request,
) -> Result<Response, HttpError> {
    let (parts, _) = request.into_parts();
    let limit = parameters::limit(&parts, PAGE)?;
    let after = parameters::query(&parts, "after");
    let after = after
        .map(|name| parameters::parse_topic(&name))
        .transpose()?;
    let now = shared.clock.time();
    let topics = shared
        .lock_hub()
        .topics(after.as_ref().map(|name| name.as_topic()), limit, now);
    let next = topics.last().filter(|_| topics.len() == limit);
    let next = next.map(|topic| topic.name.to_string());
    let topics: Vec<Value> = topics.iter().map(topic).collect();
    Ok(answer(&json!({ "topics": topics, "next": next })))
}

/// `{"connections": […], "next"}`; `?after=ID` continues after `next`, `?state=ended` asks for those
/// that are gone.
pub(super) async fn connections(
    State(shared): State<Arc<Shared>>,
    request: Request,
) -> Result<Response, HttpError> {
    let (parts, _) = request.into_parts();
    let limit = parameters::limit(&parts, PAGE)?;
    match parameters::query(&parts, "state").as_deref() {
        None | Some("live") => {}
        Some("ended") => return Ok(account::ended(&shared, limit)),
        Some(_) => return Err(bad_state()),
    }
    let after = parameters::query(&parts, "after")
        .map(|id| parse_id(&id))
        .transpose()?;
    let now = shared.clock.time();
    let connections = shared.lock_hub().connections(after, limit, now);
    let next = connections.last().filter(|_| connections.len() == limit);
    let next = next.map(|connection| connection.id.to_string());
    let connections: Vec<Value> = connections.iter().map(connection).collect();
    Ok(answer(&json!({ "connections": connections, "next": next })))
}

/// Closes one connection with 4202.
pub(super) async fn close(
    State(shared): State<Arc<Shared>>,
    request: Request,
) -> Result<StatusCode, HttpError> {
    let (parts, _) = request.into_parts();
    let id = parse_id(&parameters::last_segment(&parts)).map_err(|_| no_such_connection())?;
    let close = Close::new(CloseCode::CLOSED_BY_OPERATOR, "closed by the operator");
    if shared.hub(|hub| hub.close_connection(id, close)) {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(no_such_connection())
    }
}

pub(super) fn parse_id(id: &str) -> Result<ConnectionId, HttpError> {
    id.parse().map_err(|_| {
        HttpError::bad_request(
            "bad-connection",
            "a connection's id is what the list calls `connection`",
        )
    })
}

fn bad_state() -> HttpError {
    HttpError::bad_request("bad-state", "state is live or ended")
}

pub(super) fn no_such_connection() -> HttpError {
    HttpError::not_found(
        "no-such-connection",
        "no connection has this id; GET /v1/connections lists them, and with ?state=ended those that \
         ended last",
    )
}

fn topic(info: &TopicInfo) -> Value {
    json!({
        "topic": info.name.as_str(),
        "epoch": info.epoch.map(|epoch| epoch.to_string()),
        "first": info.base.next().0,
        "last": info.end.0,
        "bytes": info.bytes,
        "disk_bytes": info.disk_bytes,
        "followers": info.followers,
        "messages_per_second": f64::from(info.appends_per_ten_seconds) / 10.0,
    })
}

pub(super) fn connection(info: &ConnectionInfo) -> Value {
    let millis = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    json!({
        "connection": info.id.as_str(),
        "mode": info.mode.as_str(),
        "identity": info.identity,
        "attempt": info.attempt.0,
        "agent": &*info.agent,
        "address": info.address.map(|address| address.to_string()),
        "age_ms": millis(info.age),
        "round_trip_ms": info.round_trip.map(millis),
        "topics": info.topics,
        "lag": info.lag,
    })
}

pub(super) fn answer(value: &Value) -> Response {
    let mut body = value.to_string();
    body.push('\n');
    ([(header::CONTENT_TYPE, JSON)], body).into_response()
}
