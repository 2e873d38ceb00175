//! What stands in a request's path and query.

use std::borrow::Cow;

use axum::extract::{FromRequestParts, Path};
use heartwire_proto::frame::SubFrom;
use heartwire_proto::{Cursor, TopicName};
use http::request::Parts;
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;

use super::error::HttpError;

/// The most messages, topics or connections of one page.
const LIMIT_MAX: usize = 1_000;

/// What stands in the path where its route has parameters, decoded.
pub(super) struct InPath<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for InPath<T> {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, HttpError> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(values)) => Ok(Self(values)),
            Err(error) => Err(HttpError::bad_request("bad-path", error.body_text())),
        }
    }
}

/// The last segment of the path, decoded.
pub(super) fn last_segment(parts: &Parts) -> Cow<'_, str> {
    let segment = parts.uri.path().rsplit('/').next().unwrap_or_default();
    percent_decode_str(segment).decode_utf8_lossy()
}

/// The topic that the path names: the segment behind `/v1/topics/`, whatever comes after.
pub(super) fn topic(parts: &Parts) -> Result<TopicName, HttpError> {
    let path = parts.uri.path();
    let (_, behind) = path.split_once("/v1/topics/").unwrap_or_default();
    let segment = behind.split('/').next().unwrap_or_default();
    parse_topic(&percent_decode_str(segment).decode_utf8_lossy())
}

/// A topic's name, or an error that says how names look.
pub(super) fn parse_topic(name: &str) -> Result<TopicName, HttpError> {
    name.parse::<TopicName>()
        .map_err(|error| HttpError::bad_request("bad-topic", error.to_string()))
}

/// One value of the query, decoded; the first if there are several.
pub(crate) fn query<'a>(parts: &'a Parts, name: &str) -> Option<Cow<'a, str>> {
    let pairs = parts.uri.query().unwrap_or_default().split('&');
    let mut values = pairs.filter_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        (key == name).then(|| percent_decode_str(value).decode_utf8_lossy())
    });
    values.next()
}

/// `limit=`, or what it is without.
pub(super) fn limit(parts: &Parts, default: usize) -> Result<usize, HttpError> {
    let Some(given) = query(parts, "limit") else {
        return Ok(default);
    };
    let limit = given
        .parse()
        .ok()
        .filter(|limit| (1..=LIMIT_MAX).contains(limit));
    limit.ok_or_else(|| {
        HttpError::bad_request(
            "bad-limit",
            format!("limit is a number from 1 to {LIMIT_MAX}"),
        )
    })
}

/// `after=CURSOR`, if it is there.
pub(super) fn after(parts: &Parts) -> Result<Option<SubFrom>, HttpError> {
    query(parts, "after")
        .map(|cursor| parse_cursor(&cursor))
        .transpose()
}

/// A cursor to follow or read from.
pub(super) fn parse_cursor(text: &str) -> Result<SubFrom, HttpError> {
    text.parse::<Cursor>()
        .map(SubFrom::After)
        .map_err(|error| HttpError::bad_request("bad-cursor", error.to_string()))
}
