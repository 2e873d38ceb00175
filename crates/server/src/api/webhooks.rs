//! Webhooks: how far their receivers are, and what waits.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::Response;
use heartwire_proto::{Cursor, Time, TopicName};
use http::StatusCode;
use serde_json::{Value, json};

use super::error::HttpError;
use super::live::answer;
use super::parameters::{self, InPath};
use crate::shared::Shared;
use crate::sync::lock;
use crate::webhook::{Counts, Kind, Lane, LaneState, Running, Totals};

/// How many topics a page has where nobody says.
const PAGE: usize = 100;

/// `{"webhooks": […]}`, in the order in which they are configured.
pub(super) async fn list(State(shared): State<Arc<Shared>>) -> Response {
    let now = shared.clock.time();
    let webhooks = shared.webhooks.all().iter();
    let webhooks: Vec<Value> = webhooks.map(|running| webhook(running, now)).collect();
    answer(&json!({ "webhooks": webhooks }))
}

/// One of them, with topics in the order of their names: those for which something waits, or with
/// `?state=all` every one; `?after=NAME` continues after `next`.
pub(super) async fn one(
    State(shared): State<Arc<Shared>>,
    InPath(name): InPath<String>,
    request: Request,
) -> Result<Response, HttpError> {
    let (parts, _) = request.into_parts();
    let running = shared.webhooks.named(&name).ok_or_else(no_such_webhook)?;
    let limit = parameters::limit(&parts, PAGE)?;
    let after = parameters::query(&parts, "after");
    let after = after
        .map(|name| parameters::parse_topic(&name))
        .transpose()?;
    let shows_all = match parameters::query(&parts, "state").as_deref() {
        None | Some("waiting") => false,
        Some("all") => true,
        Some(_) => return Err(bad_state()),
    };
    let now = shared.clock.time();
    let mut shown = webhook(running, now);
    let hook = lock(&running.hook);
    let lanes = hook.lanes(after.as_ref());
    let lanes = lanes.filter(|(_, lane)| shows_all || lane.state != LaneState::Idle);
    let lanes: Vec<_> = lanes.take(limit).collect();
    let next = lanes.last().filter(|_| lanes.len() == limit);
    shown["next"] = next.map(|(topic, _)| topic.as_str()).into();
    let lanes = lanes.iter().map(|(topic, lane)| describe(topic, lane, now));
    shown["topics"] = lanes.collect();
    drop(hook);
    Ok(answer(&shown))
}

/// Tries at once what waits.
pub(super) async fn retry(
    State(shared): State<Arc<Shared>>,
    InPath(name): InPath<String>,
) -> Result<StatusCode, HttpError> {
    let running = shared.webhooks.named(&name).ok_or_else(no_such_webhook)?;
    running.retry_now();
    Ok(StatusCode::NO_CONTENT)
}

fn webhook(running: &Running, now: Time) -> Value {
    let config = &running.config;
    let (totals, counts) = {
        let hook = lock(&running.hook);
        (hook.totals(now), *hook.counts())
    };
    let Totals {
        topics,
        behind,
        sending,
        waiting,
        lag,
        oldest,
        paused,
    } = totals;
    json!({
        "webhook": config.called(),
        "pattern": config.topics().to_string(),
        "url": config.shown_url(),
        "topics_known": topics,
        "topics_behind": behind,
        "topics_sending": sending,
        "topics_waiting": waiting,
        "lag": lag,
        "oldest_ms": oldest.map(millis),
        "paused_ms": paused.map(millis),
        "counts": counted(&counts),
    })
}

fn counted(counts: &Counts) -> Value {
    let requests = Kind::ALL.map(|kind| (kind.as_str(), counts.requests[kind as usize]));
    let requests = requests.into_iter().filter(|(_, count)| *count > 0);
    let requests: Value = requests.collect();
    json!({
        "requests": requests,
        "messages": counts.messages,
        "gaps": counts.gaps,
        "left_out": counts.left_out,
    })
}

fn describe(topic: &TopicName, lane: &Lane, now: Time) -> Value {
    let next = match lane.state {
        LaneState::Waiting { until } => Some(millis(until.since(now))),
        LaneState::Idle | LaneState::Queued | LaneState::Sending => None,
    };
    let last = lane.last.as_ref();
    json!({
        "topic": topic.as_str(),
        "cursor": lane.cursor.to_string(),
        "end": lane.end.as_ref().map(Cursor::to_string),
        "lag": lane.lag(),
        "state": lane.state.as_str(),
        "failures": lane.failures,
        "next_ms": next,
        "last": last.map(|last| json!({
            "outcome": last.answer.kind().as_str(),
            "message": last.answer.to_string(),
            "at": last.at.as_unix_millis(),
        })),
    })
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

fn no_such_webhook() -> HttpError {
    HttpError::not_found(
        "no-such-webhook",
        "no webhook has this name; GET /v1/webhooks lists them",
    )
}

fn bad_state() -> HttpError {
    HttpError::bad_request("bad-state", "state is waiting or all")
}
