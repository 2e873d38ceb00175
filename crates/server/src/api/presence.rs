//! `GET /v1/topics/{topic}/presence`: who is there.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::Response;
use heartwire_hub::PresentMember;
use serde_json::{Value, json};

use super::error::HttpError;
use super::live::answer;
use super::parameters;
use crate::shared::Shared;

/// How long somebody is asked to stay away who asks a server that is being stopped.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// `{"topic", "members", "unlisted", "epoch", "last", "next"}`: who is there when the message `last`
/// of `$presence:{topic}` has been told; following that after `next` tells what comes `[PRES-7]`.
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    request: Request,
) -> Result<Response, HttpError> {
    let (parts, _) = request.into_parts();
    let topic = parameters::topic(&parts)?;
    if shared.is_draining() {
        let message = "the server is being stopped: nobody is told any more who is there";
        return Err(HttpError::unavailable("draining", message, RETRY_AFTER));
    }
    let attendance = shared.lock_hub().attendance(topic.as_topic());
    let attendance = attendance.ok_or_else(not_kept)?;
    let cursor = attendance.cursor;
    let members: Vec<Value> = attendance.members.iter().map(member).collect();
    Ok(answer(&json!({
        "topic": topic.as_str(),
        "members": members,
        "unlisted": attendance.unlisted,
        "epoch": cursor.epoch().map(|epoch| epoch.to_string()),
        "last": cursor.offset().0,
        "next": cursor.to_string(),
    })))
}

fn member(member: &PresentMember) -> Value {
    json!({
        "member": member.name,
        "kind": member.kind,
        "connections": member.connections,
        "since": member.since.as_unix_millis(),
    })
}

fn not_kept() -> HttpError {
    HttpError::not_found(
        "no-presence",
        "who is there is not kept for this topic; `--presence PATTERN` asks for it",
    )
}
