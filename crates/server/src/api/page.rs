//! The live page at `/`, its parts under `/page/`, and the JavaScript client at `/heartwire.js`.
//!
//! All of it is in the binary: the page loads nothing from elsewhere and works offline. It needs no
//! key; what it shows of the server comes from the API, which asks for one.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use axum::extract::OriginalUri;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use super::error::HttpError;
use super::parameters::InPath;

/// The page itself. Its own addresses begin with `./`.
const INDEX: &str = include_str!("../../assets/index.html");
const CLIENT: &str = include_str!("../../../../js/dist/heartwire.js");

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

macro_rules! parts {
    ($($name:literal: $kind:ident,)+) => {
        &[$(($name, $kind, include_str!(concat!("../../assets/", $name)))),+]
    };
}

/// What the page is made of: name, media type, text.
const PARTS: &[(&str, &str, &str)] = parts! {
    "api.js": JAVASCRIPT,
    "demo.js": JAVASCRIPT,
    "dom.js": JAVASCRIPT,
    "format.js": JAVASCRIPT,
    "icon.svg": SVG,
    "link-view.js": JAVASCRIPT,
    "lists.css": CSS,
    "page.js": JAVASCRIPT,
    "publish-view.js": JAVASCRIPT,
    "sequence.js": JAVASCRIPT,
    "server-view.js": JAVASCRIPT,
    "style.css": CSS,
    "tape.js": JAVASCRIPT,
    "trace.js": JAVASCRIPT,
    "wire.js": JAVASCRIPT,
};

/// The page. Where a hub is nested in an application, its address may end without a slash; relative
/// addresses in it then begin at the last segment.
pub(super) async fn index(OriginalUri(uri): OriginalUri, headers: HeaderMap) -> Response {
    let folder = folder(uri.path());
    let html = INDEX.replace("\"./", &format!("\"{folder}"));
    let mut response = answer(&headers, HTML, &html);
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    if let Ok(policy) = HeaderValue::from_str(&policy(host)) {
        response
            .headers_mut()
            .insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

/// One of its parts.
pub(super) async fn part(
    InPath(name): InPath<String>,
    headers: HeaderMap,
) -> Result<Response, HttpError> {
    let part = PARTS.iter().find(|(known, ..)| *known == name);
    let (_, kind, text) = part.ok_or_else(|| {
        HttpError::not_found("not-found", "the page has no such part; GET / is the page")
    })?;
    Ok(answer(&headers, kind, text))
}

/// The JavaScript client, which pages of any origin may import.
pub(super) async fn client(headers: HeaderMap) -> Response {
    let mut response = answer(&headers, JAVASCRIPT, CLIENT);
    let any = HeaderValue::from_static("*");
    response
        .headers_mut()
        .insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, any);
    response
}

/// The text, or 304 where the browser has it: it asks each time, so that a page and its parts are
/// always of the same server.
fn answer(request: &HeaderMap, kind: &'static str, text: &str) -> Response {
    let tag = tag(text);
    let is_known = request
        .get(header::IF_NONE_MATCH)
        .is_some_and(|known| known == tag.as_str());
    let headers: [(HeaderName, &str); 5] = [
        (header::CONTENT_TYPE, kind),
        (header::ETAG, &tag),
        (header::CACHE_CONTROL, "no-cache"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    if is_known {
        (StatusCode::NOT_MODIFIED, headers).into_response()
    } else {
        (headers, text.to_owned()).into_response()
    }
}

fn tag(text: &str) -> String {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    format!("\"{:016x}\"", hasher.finish())
}

/// What relative addresses begin with on a page at this path: `./`, or `realtime/` at `/realtime`.
fn folder(path: &str) -> String {
    let last = path.rsplit('/').next().unwrap_or_default();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    if last.is_empty() || !last.bytes().all(is_plain) {
        "./".to_owned()
    } else {
        format!("{last}/")
    }
}

/// What the page may load and reach: this server, whose WebSocket older browsers do not take for
/// `'self'`.
fn policy(host: Option<&str>) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-.:[]".contains(&byte);
    let host = host.filter(|host| !host.is_empty() && host.bytes().all(is_plain));
    let sockets = host
        .map(|host| format!(" ws://{host} wss://{host}"))
        .unwrap_or_default();
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'{sockets}; \
         img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::routing::get;
    use http::Request;
    use http_body_util::BodyExt as _;
    use tower_service::Service as _;

    use super::*;

    /// The names between a mark and the quotation mark that follows it.
    fn named<'a>(text: &'a str, mark: &'a str) -> impl Iterator<Item = &'a str> {
        text.split(mark)
            .skip(1)
            .filter_map(|rest| rest.split(['"', '\'']).next())
    }

    fn has(name: &str) -> bool {
        PARTS.iter().any(|(known, ..)| *known == name)
    }

    #[test]
    fn everything_that_the_page_asks_for_is_embedded() {
        for name in named(INDEX, "\"./page/") {
            assert!(has(name), "the page asks for {name}");
        }
        for (part, _, text) in PARTS {
            for name in named(text, "from './") {
                assert!(has(name), "{part} imports {name}");
            }
        }
    }

    #[test]
    fn the_page_finds_its_parts_wherever_it_is_nested() {
        assert_eq!(folder("/"), "./");
        assert_eq!(folder("/realtime"), "realtime/");
        assert_eq!(folder("/app/realtime/"), "./");
        assert_eq!(folder("/%22%3E"), "./");
    }

    #[tokio::test]
    async fn a_nested_page_finds_its_parts() -> Result<(), Box<dyn std::error::Error>> {
        let hub = Router::new().route("/", get(index));
        let mut app: Router = Router::new().nest("/realtime", hub);
        let request = Request::get("/realtime").body(Body::empty())?;
        let body = app.call(request).await?.into_body();
        let html = body.collect().await?.to_bytes();
        assert!(str::from_utf8(&html)?.contains("src=\"realtime/page/page.js\""));
        Ok(())
    }

    #[test]
    fn the_policy_names_the_socket_of_this_host_and_nothing_odd() {
        let named = policy(Some("127.0.0.1:7070"));
        assert!(named.contains("connect-src 'self' ws://127.0.0.1:7070 wss://127.0.0.1:7070;"));
        assert!(policy(Some("a; script-src *")).contains("connect-src 'self';"));
    }

    #[tokio::test]
    async fn what_the_browser_has_already_is_not_sent_again() {
        let first = client(HeaderMap::new()).await;
        assert_eq!(first.status(), StatusCode::OK);
        let tag = first.headers()[header::ETAG].clone();
        let again = client([(header::IF_NONE_MATCH, tag)].into_iter().collect()).await;
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    }
}
