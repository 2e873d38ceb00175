//! Refusals over HTTP: a status, a code for programs, a sentence for people.

use std::borrow::Cow;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};

/// An answer that says what is wrong and what to do about it, as JSON
/// `{"error": code, "message": …}`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct HttpError {
    pub(crate) status: StatusCode,
    /// For programs; it never changes.
    pub(crate) code: &'static str,
    /// For people.
    pub(crate) message: Cow<'static, str>,
    /// When to try again.
    pub(crate) retry_after: Option<Duration>,
    /// Further members of the JSON object.
    pub(crate) details: Option<Box<Map<String, Value>>>,
}

impl HttpError {
    pub(crate) fn new(
        status: StatusCode,
        code: &'static str,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            retry_after: None,
            details: None,
        }
    }

    pub(crate) fn bad_request(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    pub(crate) fn forbidden(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::FORBIDDEN, code, message)
    }

    pub(crate) fn not_found(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, message)
    }

    pub(crate) fn unavailable(
        code: &'static str,
        message: impl Into<Cow<'static, str>>,
        retry_after: Duration,
    ) -> Self {
        Self {
            retry_after: Some(retry_after),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, code, message)
        }
    }

    /// A bug of ours; what happened stands in the log.
    pub(crate) fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "the server failed; its log says more",
        )
    }

    /// The same error with one more member in its JSON.
    #[must_use]
    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        let details = self.details.get_or_insert_default();
        details.insert(name.to_owned(), value.into());
        self
    }

    /// The error as one JSON object.
    pub(crate) fn to_json(&self) -> Value {
        let mut object = json!({ "error": self.code, "message": self.message });
        if let (Some(members), Some(details)) = (object.as_object_mut(), &self.details) {
            members.extend(
                details
                    .iter()
                    .map(|(name, value)| (name.clone(), value.clone())),
            );
        }
        object
    }
}

/// The code of the error that a response tells, for whoever counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct RefusedAs(pub(super) &'static str);

impl IntoResponse for HttpError {
    fn into_response(self) -> Response {
        let mut body = self.to_json().to_string();
        body.push('\n');
        let mut response = (self.status, [(header::CONTENT_TYPE, JSON)], body).into_response();
        response.extensions_mut().insert(RefusedAs(self.code));
        let headers = response.headers_mut();
        if let Some(delay) = self.retry_after {
            // Whole seconds, rounded up: coming a little late is better than too early.
            let seconds = delay.as_millis().div_ceil(1_000);
            if let Ok(value) = HeaderValue::from_str(&seconds.to_string()) {
                headers.insert(header::RETRY_AFTER, value);
            }
        }
        if self.status == StatusCode::UPGRADE_REQUIRED {
            headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(
                header::SEC_WEBSOCKET_VERSION,
                HeaderValue::from_static("13"),
            );
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// The content type of every JSON answer.
pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_is_told_in_whole_seconds_rounded_up() {
        let error = HttpError::unavailable("draining", "later", Duration::from_millis(1_200));
        let response = error.into_response();
        assert_eq!(response.headers()[header::RETRY_AFTER], "2");
    }

    #[test]
    fn details_stand_beside_code_and_message() {
        let error = HttpError::not_found("no-topic", "nothing here").with("first", 7);
        let expected = json!({ "error": "no-topic", "message": "nothing here", "first": 7 });
        assert_eq!(error.to_json(), expected);
    }
}
