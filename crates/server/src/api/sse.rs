//! `GET /v1/topics/{topic}` with `Accept: text/event-stream`: following live.
//!
//! Each event's `id` is a cursor, so that a browser's `EventSource` resumes by itself: it sends the
//! last one back as `Last-Event-ID`. A message is an event without a name, with the JSON of the
//! history as its data; what will never come is an event `gap`. The place at which following
//! begins is told at once, before any traffic. The stream ends when the grant does, or is taken;
//! a browser then asks again, and is refused for good. A comment every heartbeat interval lets both ends
//! notice a dead connection.

use std::convert::Infallible;
use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::response::{IntoResponse, Response};
use futures_util::Stream;
use heartwire_proto::Cursor;
use heartwire_proto::frame::{Gap, GapReason, SubFrom};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::Value;
use tokio::time::{Instant, Interval, MissedTickBehavior, Sleep};

use super::access::{Asker, not_granted};
use super::error::HttpError;
use super::{json, parameters};
use crate::follow::{Delivery, FollowRefused, Follower};
use crate::shared::Shared;

/// How long a follower that found no room is asked to stay away.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Whether the request asks for events.
pub(super) fn is_asked_for(headers: &HeaderMap) -> bool {
    let accepts = headers.get_all(header::ACCEPT).iter();
    accepts
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|media| {
            media
                .split(';')
                .next()
                .is_some_and(|media| media.trim() == "text/event-stream")
        })
}

/// The stream, from `Last-Event-ID`, or `after`, or else the end of the topic.
pub(super) fn events(shared: &Arc<Shared>, parts: &Parts) -> Result<Response, HttpError> {
    let topic = parameters::topic(parts)?;
    let from = match parts.headers.get("last-event-id") {
        Some(id) => parameters::parse_cursor(id.to_str().unwrap_or_default())?,
        None => parameters::after(parts)?.unwrap_or(SubFrom::Tail),
    };
    let grant = parts
        .extensions
        .get::<Asker>()
        .and_then(|asker| asker.0.as_ref());
    let follower = Follower::granted(shared, topic.as_topic(), from, grant)?;
    let validity = grant.and_then(|grant| grant.validity());
    let interval = shared.config.hub.heartbeat.interval();
    let mut beat = tokio::time::interval_at(Instant::now() + interval, interval);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let events = Events {
        hello: Some(block(follower.start(), None, None)),
        follower,
        beat,
        end: validity.map(|validity| Box::pin(tokio::time::sleep(validity))),
    };
    let headers = [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/event-stream"),
        ),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    Ok((headers, Body::from_stream(events)).into_response())
}

/// The body of the answer.
struct Events {
    hello: Option<String>,
    follower: Follower,
    beat: Interval,
    /// When the grant ends, and the stream with it.
    end: Option<Pin<Box<Sleep>>>,
}

impl Stream for Events {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(hello) = self.hello.take() {
            return Poll::Ready(Some(Ok(hello.into())));
        }
        if let Some(end) = &mut self.end
            && end.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(None);
        }
        match Pin::new(&mut self.follower).poll_next(cx) {
            Poll::Ready(Some(delivery)) => {
                let event = event(&delivery, self.follower.start());
                return Poll::Ready(Some(Ok(event.into())));
            }
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Pending => {}
        }
        match self.beat.poll_tick(cx) {
            Poll::Ready(_) => Poll::Ready(Some(Ok(Bytes::from_static(b":\n\n")))),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// `start` is the place at which following began.
fn event(delivery: &Delivery, start: Cursor) -> String {
    match delivery {
        Delivery::Message(message) => block(
            message.cursor(),
            None,
            Some(&json::message(&message.frame())),
        ),
        Delivery::Gap(gap) => block(behind(gap, start), Some("gap"), Some(&json::gap(gap))),
    }
}

/// Where to go on after a gap. What never was in this log is named before all else, and its offsets
/// are no places of the topic: following goes on where it began.
const fn behind(gap: &Gap, start: Cursor) -> Cursor {
    match (gap.reason, gap.last) {
        (GapReason::Retention | GapReason::Damage, Some(offset)) => Cursor::At {
            epoch: gap.epoch,
            offset,
        },
        _ => start,
    }
}

/// One event. JSON has no line ends, so that one `data` line holds it.
fn block(id: Cursor, name: Option<&str>, data: Option<&Value>) -> String {
    let mut block = format!("id: {id}\n");
    if let Some(name) = name {
        block.push_str(&format!("event: {name}\n"));
    }
    if let Some(data) = data {
        block.push_str(&format!("data: {data}\n"));
    }
    block.push('\n');
    block
}

impl From<FollowRefused> for HttpError {
    fn from(error: FollowRefused) -> Self {
        let message = error.to_string();
        match error {
            FollowRefused::Topic(_) => Self::bad_request("bad-topic", message),
            FollowRefused::Forbidden => not_granted(),
            FollowRefused::NoSuchTopic => Self::new(StatusCode::NOT_FOUND, "bad-topic", message),
            FollowRefused::Limit => Self::unavailable("limit", message, RETRY_AFTER),
            FollowRefused::Draining => Self::unavailable("draining", message, RETRY_AFTER),
        }
    }
}
