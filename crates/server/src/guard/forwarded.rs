//! Signs that a request came through a proxy.

use http::request::Parts;

use crate::api::HttpError;

/// What proxies add. A browser cannot be made to send these to another host without asking first.
const FORWARDING_HEADERS: [&str; 9] = [
    "forwarded",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-forwarded-server",
    "x-real-ip",
    "cf-connecting-ip",
    "true-client-ip",
];

/// Refuses a forwarded request: on loopback without keys everybody is trusted, and a proxy in
/// front would make that everybody on its network.
pub(super) fn check(request: &Parts) -> Result<(), HttpError> {
    let found = FORWARDING_HEADERS
        .into_iter()
        .find(|name| request.headers.contains_key(*name));
    match found {
        None => Ok(()),
        Some(name) => Err(HttpError::forbidden(
            "forwarded",
            format!(
                "the request came through a proxy ({name} is set), which makes this loopback \
                 server public: set an API key (--api-key)"
            ),
        )),
    }
}
