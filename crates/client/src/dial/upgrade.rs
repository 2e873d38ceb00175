//! The HTTP request that turns a connection into a WebSocket, and what servers answer to it.

use std::time::{Duration, SystemTime};

use http::header::{AUTHORIZATION, HOST, HeaderName, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio_tungstenite::client_async_with_config;
use tokio_tungstenite::tungstenite::Error as WebSocketError;
use tokio_tungstenite::tungstenite::error::{ProtocolError, SubProtocolError};
use tokio_tungstenite::tungstenite::handshake::client::generate_key;

use super::wire::Stream;
use super::{DialError, Dialed, Dialer, SUBPROTOCOL_V1, Socket};

/// How much of a refusal's text is passed on, in characters.
const EXPLANATION_CHARS_MAX: usize = 200;

/// A header that cannot be sent with the upgrade request.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum HeaderError {
    /// Name or value hold characters that HTTP does not allow.
    #[error("{0:?} is no valid HTTP header")]
    Malformed(String),
    /// The WebSocket handshake sets this one itself.
    #[error("the header {0} belongs to the WebSocket handshake")]
    Reserved(HeaderName),
}

/// Checks a header of the application's.
pub(crate) fn checked_header(
    name: &str,
    value: &str,
) -> Result<(HeaderName, HeaderValue), HeaderError> {
    let malformed = || HeaderError::Malformed(name.to_owned());
    let name: HeaderName = name.parse().map_err(|_| malformed())?;
    let mut value: HeaderValue = value.parse().map_err(|_| malformed())?;
    let handshake = name.as_str().starts_with("sec-websocket-")
        || matches!(name.as_str(), "connection" | "upgrade" | "host");
    if handshake {
        return Err(HeaderError::Reserved(name));
    }
    // Applications put cookies and keys here; none of them shall appear in a debug output.
    value.set_sensitive(true);
    Ok((name, value))
}

/// Asks for the upgrade and waits for the answer.
pub(super) async fn upgrade(
    dialer: &Dialer,
    bearer: Option<&str>,
    stream: Stream,
) -> Result<Dialed, DialError> {
    let config = Socket::config(dialer.received_bytes_max, dialer.sent_bytes_max);
    let request = request(dialer, bearer)?;
    match client_async_with_config(request, stream, Some(config)).await {
        Ok((websocket, _)) => Ok(Dialed {
            socket: Socket::new(websocket),
            v1: dialer.v1,
        }),
        Err(WebSocketError::Http(response)) => Err(refusal(&response)),
        Err(WebSocketError::Protocol(ProtocolError::SecWebSocketSubProtocolError(
            SubProtocolError::NoSubProtocol,
        ))) if dialer.v1 => Err(DialError::NoV1),
        Err(WebSocketError::Protocol(ProtocolError::HandshakeIncomplete)) => Err(DialError::Cut),
        Err(error) => Err(error.into()),
    }
}

fn request(dialer: &Dialer, bearer: Option<&str>) -> Result<Request<()>, DialError> {
    let invalid = |error: http::Error| DialError::Handshake(error.into());
    let endpoint = &dialer.endpoint;
    let mut request = Request::get(endpoint.uri.clone())
        .header(HOST, &endpoint.host_header)
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", generate_key())
        .body(())
        .map_err(invalid)?;
    let headers = request.headers_mut();
    headers.insert(
        USER_AGENT,
        HeaderValue::from_static(concat!("heartwire-rust/", env!("CARGO_PKG_VERSION"))),
    );
    if let Some(authorization) = &endpoint.authorization {
        headers.insert(AUTHORIZATION, authorization.clone());
    }
    if dialer.v1 {
        headers.insert(
            "Sec-WebSocket-Protocol",
            HeaderValue::from_static(SUBPROTOCOL_V1),
        );
    }
    add(headers, &dialer.headers);
    if let Some(token) = bearer {
        let mut value = HeaderValue::try_from(format!("Bearer {token}"))
            .map_err(|error| invalid(error.into()))?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    Ok(request)
}

/// The application's headers replace those set here, and several of one name all stand.
fn add(headers: &mut HeaderMap, given: &HeaderMap) {
    for name in given.keys() {
        headers.remove(name);
        for value in given.get_all(name) {
            headers.append(name, value.clone());
        }
    }
}

fn refusal(response: &Response<Option<Vec<u8>>>) -> DialError {
    DialError::Refused {
        status: response.status(),
        explanation: explanation(response.body().as_deref().unwrap_or_default()),
        retry_after: retry_after(response.headers(), SystemTime::now()),
    }
}

/// The first line of the body if it is text for people, as far as it came with the headers.
fn explanation(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let line = text.lines().next().unwrap_or_default().trim();
    if line.is_empty() || line.starts_with('<') || line.chars().any(char::is_control) {
        return String::new();
    }
    let shown: String = line.chars().take(EXPLANATION_CHARS_MAX).collect();
    format!(": {shown}")
}

/// `Retry-After` in either of its forms, seconds or a date `[REFUSE-2]`.
fn retry_after(headers: &HeaderMap, wall: SystemTime) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(wall).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_read_in_both_forms() {
        let wall = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").expect("a date");
        let read = |value: &'static str| {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(value))]);
            retry_after(&headers, wall)
        };
        assert_eq!(read("7"), Some(Duration::from_secs(7)));
        assert_eq!(
            read("Sun, 06 Nov 1994 08:50:00 GMT"),
            Some(Duration::from_secs(23))
        );
        assert_eq!(read("Sun, 06 Nov 1994 08:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(read("soon"), None);
        assert_eq!(retry_after(&HeaderMap::new(), wall), None);
    }

    #[test]
    fn explanations_are_one_short_line_of_text() {
        assert_eq!(explanation(b"no room\nat all"), ": no room");
        assert_eq!(explanation(b""), "");
        assert_eq!(explanation(b"<html>502</html>"), "");
        assert_eq!(explanation(b"\x1b[31mred"), "");
        assert_eq!(explanation("ä".repeat(500).as_bytes()).chars().count(), 202);
    }

    #[test]
    fn the_headers_of_the_handshake_are_reserved() {
        for name in [
            "Host",
            "upgrade",
            "Sec-WebSocket-Key",
            "Sec-WebSocket-Protocol",
        ] {
            assert!(matches!(
                checked_header(name, "x"),
                Err(HeaderError::Reserved(_))
            ));
        }
        let (_, cookie) = checked_header("Cookie", "secret=1").expect("a header");
        assert!(cookie.is_sensitive());
        for (name, value) in [("a b", "x"), ("x", "line\nbreak")] {
            assert!(matches!(
                checked_header(name, value),
                Err(HeaderError::Malformed(_))
            ));
        }
    }
}
