//! API keys.

use std::fmt;

use http::request::Parts;
use http::{StatusCode, header};
use subtle::ConstantTimeEq;

use crate::api::HttpError;

/// A secret that opens `/v1/*`, sent as `Authorization: Bearer KEY`. It never appears in logs.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(Box<str>);

/// A key that cannot travel in a header.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("an API key is at least one visible ASCII character, without spaces")]
pub struct ApiKeyError;

impl ApiKey {
    /// Checks that the key can be sent in a header.
    pub fn new(key: &str) -> Result<Self, ApiKeyError> {
        if !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Self(key.into()))
        } else {
            Err(ApiKeyError)
        }
    }

    /// Takes the same time whatever the first difference is; only the length shows.
    fn matches(&self, given: &str) -> bool {
        self.0.as_bytes().ct_eq(given.as_bytes()).into()
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(secret)")
    }
}

/// Refuses a request that shows none of the keys.
pub(super) fn check(request: &Parts, keys: &[ApiKey]) -> Result<(), HttpError> {
    let given = bearer(request).ok_or_else(|| {
        unauthorized("an API key is needed: send it as `Authorization: Bearer KEY`")
    })?;
    // Every key is compared, so that the time does not tell which one came close.
    let known = keys
        .iter()
        .fold(false, |known, key| key.matches(given) | known);
    if known {
        Ok(())
    } else {
        Err(unauthorized("the API key is not one of this server's"))
    }
}

fn bearer(request: &Parts) -> Option<&str> {
    let value = request.headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, credentials) = value.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| credentials.trim())
}

fn unauthorized(message: &'static str) -> HttpError {
    HttpError::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
}
