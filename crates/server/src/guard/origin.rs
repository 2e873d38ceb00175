//! The page that a browser sent a request for.

use http::header;
use http::request::Parts;
use http::uri::Authority;

use super::host;
use crate::api::HttpError;

/// Refuses what another host's page asks for. Requests without `Origin` come from no page, except
/// where the browser says `Sec-Fetch-Site: cross-site`.
pub(super) fn check(request: &Parts, allowed: &[String]) -> Result<(), HttpError> {
    let mut origins = request.headers.get_all(header::ORIGIN).iter();
    let Some(origin) = origins.next() else {
        return if is_cross_site(request) {
            Err(foreign("a page of another site"))
        } else {
            Ok(())
        };
    };
    // An origin that is not text is nobody's; it is shown by no name.
    let origin = origin.to_str().unwrap_or("null");
    let single = origins.next().is_none();
    let listed = allowed.iter().any(|entry| is_listed(entry, origin));
    if single && (listed || (is_same_host(request, origin) && !is_cross_site(request))) {
        Ok(())
    } else {
        Err(foreign(origin))
    }
}

fn is_listed(entry: &str, origin: &str) -> bool {
    entry == "*" || entry.trim_end_matches('/').eq_ignore_ascii_case(origin)
}

/// Whether the page was served by the host that is being called, on whatever port: a page under
/// development has a server of its own.
fn is_same_host(request: &Parts, origin: &str) -> bool {
    let page = origin
        .split_once("://")
        .and_then(|(_, authority)| Authority::try_from(authority).ok());
    match (page, host::authority(request)) {
        (Some(page), Some(called)) => page.host().eq_ignore_ascii_case(called.host()),
        _ => false,
    }
}

fn is_cross_site(request: &Parts) -> bool {
    let mut values = request.headers.get_all("sec-fetch-site").iter();
    values.any(|value| value.as_bytes().eq_ignore_ascii_case(b"cross-site"))
}

fn foreign(origin: &str) -> HttpError {
    HttpError::forbidden(
        "foreign-origin",
        format!(
            "{origin} is not of this host: to let its pages in, start the server with \
             --allow-origin and the page's origin"
        ),
    )
}
