//! `POST /v1/topics/{topic}` and `POST /v1/publish`.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use heartwire_hub::AppendError;
use heartwire_proto::TopicName;
use heartwire_proto::frame::Payload;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use super::error::{HttpError, JSON};
use super::idempotency::{First, REMEMBERED, Repeat, Turn};
use super::{batch, body, parameters};
use crate::metrics::Origin;
use crate::publish::{Position, PublishError, STORED_WITHIN};
use crate::shared::Shared;

/// The answer that an idempotency key keeps.
pub(crate) type Stored = Position;

/// How long a publisher waits that came while the server drains, or its log takes nothing.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// How many lines one batch may have.
const LINES_MAX: usize = 10_000;
/// After so many lines of a batch, others get their turn.
const LINES_PER_TURN: usize = 64;
/// How large a batch may be, in bytes: some thousand small messages. Where one message may be
/// larger than that, one message in base64.
const BATCH_BYTES_MAX: usize = 8 << 20;

/// One message: the body.
pub(super) async fn one(
    State(shared): State<Arc<Shared>>,
    request: Request,
) -> Result<Response, HttpError> {
    let (parts, body) = request.into_parts();
    let topic = parameters::topic(&parts)?;
    let key = idempotency_key(&parts.headers)?;
    let body = body::read(body, shared.config.hub.limits.message_bytes_max).await?;
    let payload = payload(&parts.headers, body)?;
    let position = publish(&shared, &topic, &payload, key).await?;
    let mut body = stored(&shared, &topic, position).to_string();
    body.push('\n');
    Ok((StatusCode::CREATED, [(header::CONTENT_TYPE, JSON)], body).into_response())
}

/// Many messages: one JSON object a line, one result a line, in order. All lines are appended
/// before the first is waited for.
pub(super) async fn many(
    State(shared): State<Arc<Shared>>,
    request: Request,
) -> Result<Response, HttpError> {
    let message_bytes_max = shared.config.hub.limits.message_bytes_max;
    let bytes_max = BATCH_BYTES_MAX.max(message_bytes_max / 3 * 4 + 1_024);
    let body = body::read(request.into_body(), bytes_max).await?;
    if batch::lines(&body).nth(LINES_MAX).is_some() {
        return Err(HttpError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too-many-lines",
            format!("a batch has at most {LINES_MAX} lines"),
        ));
    }
    let mut results = Vec::new();
    for (number, line) in batch::lines(&body).enumerate() {
        if number % LINES_PER_TURN == LINES_PER_TURN - 1 {
            tokio::task::yield_now().await;
        }
        results.push(batch::parse(line).map(|item| {
            let key = item.key.as_deref().map(str::as_bytes);
            let publishing = publish(&shared, &item.topic, &item.payload, key);
            (item.topic, publishing)
        }));
    }
    drop(body);
    let mut answer = String::new();
    for result in results {
        let line = match result {
            Ok((topic, publishing)) => match publishing.await {
                Ok(position) => stored(&shared, &topic, position),
                Err(error) => error.to_json(),
            },
            Err(error) => error.to_json(),
        };
        answer.push_str(&line.to_string());
        answer.push('\n');
    }
    let ndjson = HeaderValue::from_static("application/x-ndjson");
    Ok(([(header::CONTENT_TYPE, ndjson)], answer).into_response())
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<&[u8]>, HttpError> {
    let mut keys = headers.get_all("idempotency-key").iter();
    let key = keys.next().map(HeaderValue::as_bytes);
    if keys.next().is_some() {
        let message = "a request has one Idempotency-Key";
        return Err(HttpError::bad_request("bad-idempotency-key", message));
    }
    Ok(key)
}

/// Text is checked here, whatever its type promised: one that is not UTF-8 would close every
/// follower `[PUB-12]`.
fn payload(headers: &HeaderMap, body: Vec<u8>) -> Result<Payload, HttpError> {
    if !body::is_text(headers, &body) {
        return Ok(Payload::Binary(body));
    }
    String::from_utf8(body).map(Payload::Text).map_err(|_| {
        HttpError::bad_request(
            "invalid-text",
            "the text is not UTF-8: send other bytes as application/octet-stream",
        )
    })
}

/// Appends a message at once, unless its key has been used; the future waits until it is stored.
fn publish(
    shared: &Arc<Shared>,
    topic: &TopicName,
    payload: &Payload,
    key: Option<&[u8]>,
) -> impl Future<Output = Result<Position, HttpError>> + Send + use<> {
    let begun = match key {
        None => append(shared, topic, payload, STORED_WITHIN).map(Publishing::Own),
        Some(key) => once(shared, topic, payload, key).map(Publishing::Keyed),
    };
    async move {
        match begun? {
            Publishing::Own(storing) => storing.await,
            Publishing::Keyed(repeat) => tokio::time::timeout(STORED_WITHIN, repeat.answer())
                .await
                .unwrap_or_else(|_| Err(PublishError::Slow.into())),
        }
    }
}

/// What is waited for.
enum Publishing<F> {
    Own(F),
    Keyed(Repeat<Stored>),
}

fn append(
    shared: &Arc<Shared>,
    topic: &TopicName,
    payload: &Payload,
    within: Duration,
) -> Result<impl Future<Output = Result<Position, HttpError>> + Send + use<>, HttpError> {
    let (topic, payload) = (topic.as_topic(), payload.as_message());
    let storing = shared.publish(Origin::Http, topic, payload, None, within)?;
    Ok(async move { storing.await.map_err(HttpError::from) })
}

fn once(
    shared: &Arc<Shared>,
    topic: &TopicName,
    payload: &Payload,
    key: &[u8],
) -> Result<Repeat<Stored>, HttpError> {
    let used = shared.idempotency.use_of(key, (topic, payload))?;
    match shared.idempotency.turn(used, shared.clock.time())? {
        Turn::Repeat(repeat) => Ok(repeat),
        Turn::First(first, repeat) => {
            // As long as the message may still be stored, its key is in use: freed earlier, it would
            // let the next try store the message again.
            let begun = append(shared, topic, payload, REMEMBERED);
            settle_later(shared, first, begun);
            Ok(repeat)
        }
    }
}

/// Sees to it that the key learns what came of the message, whether or not its sender still waits.
fn settle_later(
    shared: &Arc<Shared>,
    first: First<Stored>,
    begun: Result<impl Future<Output = Result<Position, HttpError>> + Send + 'static, HttpError>,
) {
    let shared = shared.clone();
    tokio::spawn(async move {
        let outcome = match begun {
            Ok(storing) => storing.await,
            Err(error) => Err(error),
        };
        shared.idempotency.settle(first, outcome);
    });
}

fn stored(shared: &Shared, topic: &TopicName, position: Position) -> Value {
    json!({
        "topic": topic.as_str(),
        "epoch": position.epoch.as_str(),
        "offset": position.offset.0,
        "durability": shared.lock_hub().log().durability(topic.as_topic()),
    })
}

impl From<PublishError> for HttpError {
    fn from(error: PublishError) -> Self {
        let message = error.to_string();
        match error {
            PublishError::Topic(_) | PublishError::Reserved => {
                Self::bad_request("bad-topic", message)
            }
            PublishError::TooLarge { .. } => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", message)
            }
            PublishError::Draining => Self::unavailable("draining", message, RETRY_AFTER),
            PublishError::Unavailable(AppendError::DiskFull) => {
                Self::new(StatusCode::INSUFFICIENT_STORAGE, "disk-full", message)
            }
            PublishError::Failed | PublishError::DiskFailed { .. } => {
                Self::unavailable("disk-failed", message, RETRY_AFTER)
            }
            PublishError::Unavailable(_) | PublishError::NoRoom { .. } | PublishError::Slow => {
                Self::unavailable("unavailable", message, RETRY_AFTER)
            }
        }
    }
}
