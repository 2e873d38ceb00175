//! The name by which a server without keys was called, against DNS rebinding.

use http::header;
use http::request::Parts;
use http::uri::Authority;

use crate::api::HttpError;

const LOOPBACK_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// The authority that the request names, from its target or its only `Host` header.
pub(super) fn authority(request: &Parts) -> Option<Authority> {
    if let Some(authority) = request.uri.authority() {
        return Some(authority.clone());
    }
    let mut hosts = request.headers.get_all(header::HOST).iter();
    let host = hosts.next()?;
    if hosts.next().is_some() {
        return None;
    }
    Authority::try_from(host.as_bytes()).ok()
}

/// Refuses a name that is neither a loopback one nor allowed: a page whose own name was made to
/// point here would otherwise be this server's own page.
pub(super) fn check(request: &Parts, allowed: &[String]) -> Result<(), HttpError> {
    let Some(authority) = authority(request) else {
        return Err(HttpError::bad_request(
            "bad-host",
            "the request needs one valid Host header",
        ));
    };
    let host = authority.host();
    let known = LOOPBACK_NAMES
        .into_iter()
        .chain(allowed.iter().map(String::as_str))
        .any(|name| name.eq_ignore_ascii_case(host));
    if known {
        Ok(())
    } else {
        Err(HttpError::forbidden(
            "foreign-host",
            format!(
                "this server was called {host}, which is not a name it answers to without an API \
                 key: use localhost, 127.0.0.1 or [::1], or allow the name (--allow-host {host})"
            ),
        ))
    }
}
