//! `GET /v1/connections/{id}` and `GET /v1/connections?state=ended`: what happened to a connection.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use heartwire_hub::Now;
use heartwire_proto::Time;
use serde_json::{Value, json};

use super::error::HttpError;
use super::live::{answer, connection, no_such_connection, parse_id};
use super::parameters;
use crate::ended::{Account, Ending};
use crate::shared::{Handle, Shared};

/// One connection, alive or among the last that have ended.
pub(super) async fn one(
    State(shared): State<Arc<Shared>>,
    request: Request,
) -> Result<Response, HttpError> {
    let (parts, _) = request.into_parts();
    let id = parse_id(&parameters::last_segment(&parts)).map_err(|_| no_such_connection())?;
    let handle = shared.lock_hub().handle(id);
    let account = match handle {
        Some(Handle::Connection(conn)) => Some(conn.account()),
        _ => shared.ended.find(id),
    };
    let account = account.ok_or_else(no_such_connection)?;
    Ok(answer(&describe(&account, &shared.clock.now())))
}

/// The last connections that have ended, newest first.
pub(super) fn ended(shared: &Shared, count_max: usize) -> Response {
    let now = shared.clock.now();
    let accounts = shared.ended.latest(count_max);
    let ended: Vec<Value> = accounts
        .iter()
        .map(|account| describe(account, &now))
        .collect();
    answer(&json!({ "connections": ended }))
}

fn describe(account: &Account, now: &Now) -> Value {
    let mut object = match &account.info {
        Some(info) => connection(info),
        None => json!({ "connection": null, "mode": account.mode.as_str() }),
    };
    let topics: Vec<Value> = account
        .followed
        .iter()
        .map(|one| json!({ "topic": one.topic.as_str(), "sent": one.sent.0, "last": one.end.0 }))
        .collect();
    let state = match &account.ending {
        Some(_) => "ended",
        None => "live",
    };
    let more = json!({
        "state": state,
        "ended": account.ending.as_ref().map(verdict),
        "followed": topics,
        "unwritten_bytes": account.life.unwritten_bytes,
        "events": events(account, now),
    });
    if let (Some(object), Value::Object(more)) = (object.as_object_mut(), more) {
        object.extend(more);
    }
    object
}

/// How it ended.
fn verdict(ending: &Ending) -> Value {
    let (by, name) = ending.reason();
    let end = match ending {
        Ending::Closed(end) => Some(end),
        Ending::HungUp | Ending::Broken(_) | Ending::Dropped => None,
    };
    let death = end.and_then(|end| end.death);
    json!({
        "by": by.as_str(),
        "code": end.map(|end| end.close.code.0),
        "name": name,
        "reason": ending.to_string(),
        "dead": death.map(|(death, _)| death.as_str()),
        "delay_ms": death.map(|(_, delay)| delay.as_millis() as u64),
    })
}

/// What is known to have happened, in the order of time; what is still awaited comes last.
fn events(account: &Account, now: &Now) -> Vec<Value> {
    let life = &account.life;
    let ping = life.ping;
    let ended_at = account.ending.as_ref().map(|ending| match ending {
        Ending::Closed(end) => end.at,
        Ending::HungUp | Ending::Broken(_) | Ending::Dropped => account.at,
    });
    let mut events: Vec<(Time, &str)> = [
        (Some(account.opened_at), "opened"),
        (account.joined_at(), "welcomed"),
        (account.asked_at(), "topic asked for"),
        (life.heard_at, "last heard"),
        (ping.map(|ping| ping.at), "last pinged"),
        (ping.and_then(|ping| ping.written_at), "ping written"),
        (ping.and_then(|ping| ping.due_at), "answer due"),
        (life.blocked_since, "output blocked"),
        (ended_at, "ended"),
    ]
    .into_iter()
    .filter_map(|(at, event)| Some((at?, event)))
    .collect();
    events.sort_by_key(|(at, _)| *at);
    let time = |at: Time| {
        let past = now.time.since(at).as_millis() as u64;
        let ahead = at.since(now.time).as_millis() as u64;
        (now.wall.as_unix_millis() + ahead).saturating_sub(past)
    };
    let to_json = |(at, event)| json!({ "event": event, "time": time(at) });
    events.into_iter().map(to_json).collect()
}
