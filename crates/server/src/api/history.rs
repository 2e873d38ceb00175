//! `GET /v1/topics/{topic}`: a page of a topic's messages.

use std::sync::Arc;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use heartwire_hub::History;
use heartwire_proto::frame::{Gap, GapReason, SubFrom};
use heartwire_proto::{Cursor, Epoch, Offset, TopicName};
use http::request::Parts;
use http::{StatusCode, header};
use serde_json::{Value, json};

use super::error::{HttpError, JSON};
use super::{json, parameters};
use crate::shared::Shared;

/// How long a page may take that is read from disk.
const READ_WITHIN: Duration = Duration::from_secs(10);
/// How many messages a page has where nobody says.
const PAGE: usize = 100;

/// `{"topic", "epoch", "first", "messages", "next", "more"}`: `first` is the offset of the oldest
/// message retained, `next` the cursor to ask with for the following page. Without `after` the
/// page begins at the oldest message retained.
pub(super) async fn page(shared: &Arc<Shared>, parts: &Parts) -> Result<Response, HttpError> {
    let topic = parameters::topic(parts)?;
    let from = parameters::after(parts)?.unwrap_or(SubFrom::Head);
    let limit = parameters::limit(parts, PAGE)?;
    let history = read(shared, &topic, from, limit).await?;
    let page = match history {
        History::Page {
            epoch,
            first,
            messages,
            next,
            has_more,
        } => json!({
            "topic": topic.as_str(),
            "epoch": epoch.as_str(),
            "first": first.offset().next().0,
            "messages": messages.iter().map(|(_, entry)| json::message(&entry.frame())).collect::<Vec<_>>(),
            "next": next.to_string(),
            "more": has_more,
        }),
        History::Gone { gap, next } => return Err(gone(&gap, next)),
        History::Cold => unreachable!("what is cold was waited for"),
        // What `sub` answers as well: nobody has published yet, or everything is forgotten.
        History::Unknown => match from {
            SubFrom::After(Cursor::At { epoch, offset }) => {
                return Err(gone(&unknown_epoch(epoch, offset), Cursor::Start));
            }
            _ => json!({
                "topic": topic.as_str(),
                "epoch": Value::Null,
                "first": 1,
                "messages": [],
                "next": "0",
                "more": false,
            }),
        },
    };
    Ok(answer(&page))
}

/// Reads a page; what stands on disk alone is waited for.
async fn read(
    shared: &Arc<Shared>,
    topic: &TopicName,
    from: SubFrom,
    limit: usize,
) -> Result<History, HttpError> {
    let mut loaded = shared.loaded.subscribe();
    let reading = async {
        loop {
            loaded.mark_unchanged();
            match shared.hub(|hub| hub.history(topic.as_topic(), from, limit)) {
                // The sender lives as long as the hub.
                History::Cold => drop(loaded.changed().await),
                read => return read,
            }
        }
    };
    tokio::time::timeout(READ_WITHIN, reading)
        .await
        .map_err(|_| {
            let message = "the messages could not be read from disk in time";
            HttpError::unavailable("unavailable", message, READ_WITHIN)
        })
}

fn answer(page: &Value) -> Response {
    let mut body = page.to_string();
    body.push('\n');
    (StatusCode::OK, [(header::CONTENT_TYPE, JSON)], body).into_response()
}

const fn unknown_epoch(epoch: Epoch, offset: Offset) -> Gap {
    Gap {
        epoch,
        first: offset.next(),
        last: None,
        reason: GapReason::Epoch,
    }
}

fn gone(gap: &Gap, next: Cursor) -> HttpError {
    let error = HttpError::new(
        StatusCode::GONE,
        "gap",
        "messages after this cursor are gone: `gap` says which; go on after `next`",
    );
    error
        .with("gap", json::gap(gap))
        .with("next", next.to_string())
}
