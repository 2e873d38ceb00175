//! Identities that are shut out, and topics taken from them.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use heartwire_hub::{Pattern, SubjectInfo, SubjectsFull};
use heartwire_proto::Time;
use http::request::Parts;
use http::{StatusCode, header};
use serde_json::{Value, json};

use super::error::{HttpError, JSON};
use super::parameters::{self, InPath};
use crate::shared::Shared;

/// How long somebody is kept out where nobody says.
const FOR: Duration = Duration::from_secs(600);
/// The longest time that may be asked for.
const FOR_MAX: Duration = Duration::from_secs(30 * 86_400);
/// How many identities a page has where nobody says.
const PAGE: usize = 100;
/// How long an operator waits who finds that nothing more can be remembered.
const RETRY_AFTER: Duration = Duration::from_secs(60);

/// `{"subjects": […], "next"}`: who is kept out, and what was taken from whom.
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    request: Request,
) -> Result<Response, HttpError> {
    let (parts, _) = request.into_parts();
    let limit = parameters::limit(&parts, PAGE)?;
    let after = parameters::query(&parts, "after");
    let now = shared.clock.time();
    let subjects = shared.lock_hub().subjects(after.as_deref(), limit);
    let next = subjects.last().filter(|_| subjects.len() == limit);
    let next = next.map(|info| info.subject.to_string());
    let subjects: Vec<Value> = subjects.iter().map(|info| subject(info, now)).collect();
    Ok(answer(&json!({ "subjects": subjects, "next": next })))
}

/// Closes every connection of an identity, and keeps it out for a time.
pub(super) async fn kick(
    State(shared): State<Arc<Shared>>,
    InPath(subject): InPath<String>,
    request: Request,
) -> Result<Response, HttpError> {
    let (parts, _) = request.into_parts();
    let span = span(&parts)?;
    let closed = shared.kick(&subject, span).await?;
    let kept_out_ms = millis(span);
    Ok(answer(
        &json!({ "subject": subject, "closed": closed, "kept_out_ms": kept_out_ms }),
    ))
}

/// Takes topics from an identity for a time, whatever its tokens say.
pub(super) async fn revoke(
    State(shared): State<Arc<Shared>>,
    InPath((subject, topics)): InPath<(String, String)>,
    request: Request,
) -> Result<Response, HttpError> {
    let (parts, _) = request.into_parts();
    let span = span(&parts)?;
    let pattern: Pattern = topics.parse().map_err(|_| {
        HttpError::bad_request("bad-topic", "this is no topic, nor one's beginning and *")
    })?;
    let ended = shared.revoke(&subject, &pattern, span).await?;
    let revoked_ms = millis(span);
    Ok(answer(
        &json!({ "subject": subject, "topics": topics, "ended": ended, "revoked_ms": revoked_ms }),
    ))
}

/// Forgets what holds against an identity.
pub(super) async fn readmit(
    State(shared): State<Arc<Shared>>,
    InPath(subject): InPath<String>,
) -> Result<StatusCode, HttpError> {
    if shared.readmit(&subject).await {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(HttpError::not_found(
            "no-such-subject",
            "nothing holds against this identity; GET /v1/subjects lists those it does",
        ))
    }
}

fn span(parts: &Parts) -> Result<Duration, HttpError> {
    let Some(given) = parameters::query(parts, "for") else {
        return Ok(FOR);
    };
    parse_span(&given)
        .filter(|span| *span <= FOR_MAX)
        .ok_or_else(|| {
            HttpError::bad_request("bad-for", "for is 0s to 30d, such as 90s, 10m, 12h or 7d")
        })
}

/// A number and one of `s`, `m`, `h`, `d`.
fn parse_span(text: &str) -> Option<Duration> {
    let unit = text.char_indices().last()?;
    let seconds = match unit.1 {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return None,
    };
    let number: u32 = text[..unit.0].parse().ok()?;
    Some(Duration::from_secs(u64::from(number) * seconds))
}

fn subject(info: &SubjectInfo, now: Time) -> Value {
    let left = |until: Time| millis(until.since(now));
    let revoked = info.revoked.iter();
    let revoked: Vec<Value> = revoked
        .map(|(topics, until)| json!({ "topics": topics.to_string(), "revoked_ms": left(*until) }))
        .collect();
    json!({
        "subject": &*info.subject,
        "kept_out_ms": info.kept_out_until.map(left),
        "revoked": revoked,
    })
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

fn answer(value: &Value) -> Response {
    let mut body = value.to_string();
    body.push('\n');
    ([(header::CONTENT_TYPE, JSON)], body).into_response()
}

impl From<SubjectsFull> for HttpError {
    fn from(error: SubjectsFull) -> Self {
        Self::unavailable("too-many-subjects", error.to_string(), RETRY_AFTER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_a_number_and_a_unit() {
        let seconds = |text| parse_span(text).map(|span| span.as_secs());
        assert_eq!(seconds("90s"), Some(90));
        assert_eq!(seconds("10m"), Some(600));
        assert_eq!(seconds("7d"), Some(604_800));
        for wrong in [
            "",
            "m",
            "10",
            "-1s",
            "1.5h",
            "1w",
            "10 m",
            "99999999999s",
            "1ä",
        ] {
            assert_eq!(parse_span(wrong), None, "{wrong:?}");
        }
    }
}
