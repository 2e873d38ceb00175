//! The upgrade request of a WebSocket, checked and answered (RFC 6455 section 4.2).

use axum::body::Body;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use heartwire_hub::Mode;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};
use tungstenite::handshake::derive_accept_key;

use super::error::HttpError;

/// The subprotocol of v1.
const V1: &str = "heartwire.v1";
/// What every version's name begins with.
const FAMILY: &str = "heartwire.";

/// A request that may be answered with 101.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Handshake {
    pub(crate) mode: Mode,
    accept: HeaderValue,
}

impl Handshake {
    /// Checks everything that RFC 6455 asks of the request, and the offer of subprotocols
    /// `[WS-2]`.
    pub(crate) fn check(request: &Parts) -> Result<Self, HttpError> {
        let headers = &request.headers;
        let upgrade = request.method == Method::GET
            && request.version == Version::HTTP_11
            && has_token(headers, &header::CONNECTION, "upgrade")
            && has_token(headers, &header::UPGRADE, "websocket");
        if !upgrade {
            return Err(upgrade_needed(
                "this address speaks WebSocket (RFC 6455) over HTTP/1.1",
            ));
        }
        if single(headers, &header::SEC_WEBSOCKET_VERSION) != Some(b"13") {
            return Err(upgrade_needed("Sec-WebSocket-Version has to be 13"));
        }
        let key = single(headers, &header::SEC_WEBSOCKET_KEY).filter(|key| is_nonce(key));
        let key = key.ok_or_else(|| {
            HttpError::bad_request(
                "bad-handshake",
                "Sec-WebSocket-Key has to be 16 bytes, base64",
            )
        })?;
        let accept = HeaderValue::try_from(derive_accept_key(key))
            .expect("an accept key is base64, which any header can hold");
        Ok(Self {
            mode: mode(headers)?,
            accept,
        })
    }

    /// The answer: 101, without extensions `[WS-5]`.
    pub(crate) fn response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, self.accept);
        if self.mode == Mode::V1 {
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(V1));
        }
        response
    }
}

fn mode(headers: &HeaderMap) -> Result<Mode, HttpError> {
    let mut of_ours = tokens(headers, &header::SEC_WEBSOCKET_PROTOCOL)
        .filter(|offer| offer.starts_with(FAMILY))
        .peekable();
    if of_ours.peek().is_none() {
        Ok(Mode::Plain)
    } else if of_ours.any(|offer| offer == V1) {
        Ok(Mode::V1)
    } else {
        Err(HttpError::bad_request(
            "unknown-subprotocol",
            "this server speaks heartwire.v1, or plain mode to who offers no heartwire.*",
        ))
    }
}

/// The comma-separated values of all headers of that name.
fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).into_iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    tokens(headers, name).any(|found| found.eq_ignore_ascii_case(token))
}

fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a [u8]> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.as_bytes();
    values.next().is_none().then_some(value)
}

fn is_nonce(key: &[u8]) -> bool {
    let mut nonce = [0; 18];
    STANDARD.decode_slice(key, &mut nonce) == Ok(16)
}

fn upgrade_needed(message: &'static str) -> HttpError {
    HttpError::new(StatusCode::UPGRADE_REQUIRED, "upgrade-required", message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    const VALID: [(&str, &str); 4] = [
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];

    fn check<'a>(
        headers: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Handshake, HttpError> {
        let request = headers
            .into_iter()
            .fold(Request::get("/websocket"), |request, (name, value)| {
                request.header(name, value)
            });
        Handshake::check(&request.body(()).expect("a valid request").into_parts().0)
    }

    fn offering(offers: &[&'static str]) -> Result<Mode, &'static str> {
        let offers = offers
            .iter()
            .map(|offer| ("sec-websocket-protocol", *offer));
        check(VALID.into_iter().chain(offers))
            .map(|handshake| handshake.mode)
            .map_err(|error| error.code)
    }

    #[test]
    fn the_example_of_the_rfc_is_answered_as_it_says() {
        let response = check(VALID).expect("a valid handshake").response();
        assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
        let headers = response.headers();
        assert_eq!(
            headers["sec-websocket-accept"],
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
        assert!(!headers.contains_key("sec-websocket-protocol"));
        assert!(!headers.contains_key("sec-websocket-extensions"));
    }

    #[test]
    fn whatever_is_missing_is_told() {
        for (name, status) in [
            ("connection", 426),
            ("upgrade", 426),
            ("sec-websocket-version", 426),
            ("sec-websocket-key", 400),
        ] {
            let without = VALID.into_iter().filter(|(header, _)| *header != name);
            let error = check(without).expect_err("a header is missing");
            assert_eq!(error.status, status, "{name}");
        }
        for key in [
            "dGhlIHNhbXBsZQ==",
            "not base64 at all!!!",
            "dGhlIHNhbXBsZSBub25jZQ",
        ] {
            let bad = VALID.map(|(name, value)| {
                (
                    name,
                    if name == "sec-websocket-key" {
                        key
                    } else {
                        value
                    },
                )
            });
            assert_eq!(check(bad).expect_err("a bad key").status, 400, "{key}");
        }
    }

    #[test]
    fn the_offer_decides_the_mode() {
        assert_eq!(offering(&[]), Ok(Mode::Plain));
        assert_eq!(offering(&["mqtt, chat"]), Ok(Mode::Plain));
        assert_eq!(offering(&["heartwire.v1"]), Ok(Mode::V1));
        assert_eq!(offering(&["heartwire.v2,heartwire.v1"]), Ok(Mode::V1));
        assert_eq!(offering(&["chat", "heartwire.v1"]), Ok(Mode::V1));
        assert_eq!(offering(&["heartwire.v2"]), Err("unknown-subprotocol"));
        assert_eq!(
            offering(&["heartwire.v9, chat"]),
            Err("unknown-subprotocol")
        );
    }
}
