//! What a request shows of itself.

use std::borrow::Cow;

use http::header;
use http::request::Parts;

use crate::api::query;

/// What follows `Bearer` in the only `Authorization` header.
pub(super) fn bearer(request: &Parts) -> Option<&str> {
    let mut headers = request.headers.get_all(header::AUTHORIZATION).iter();
    let value = headers.next()?.to_str().ok()?;
    if headers.next().is_some() {
        return None;
    }
    let (scheme, credentials) = value.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| credentials.trim())
}

/// The token of a request: from its first frame, the header, or the query, in this order.
pub(super) fn token<'a>(request: &'a Parts, frame: Option<&'a str>) -> Option<Cow<'a, str>> {
    frame
        .or_else(|| bearer(request))
        .map(Cow::Borrowed)
        .or_else(|| query(request, "token"))
}
