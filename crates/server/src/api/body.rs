//! Request bodies: bounded in size and in time, and never larger in memory than what has arrived.

use std::time::Duration;

use axum::body::Body;
use http::{HeaderMap, StatusCode, header};
use http_body::Body as _;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

use super::error::HttpError;

/// How long a client may take to send a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Reads a whole body of at most `bytes_max`. A longer one is refused by the length it announces,
/// before anything is kept of it, or as soon as it grows beyond.
pub(crate) async fn read(body: Body, bytes_max: usize) -> Result<Vec<u8>, HttpError> {
    if body.size_hint().lower() > bytes_max as u64 {
        return Err(too_large(bytes_max));
    }
    let collect = Limited::new(body, bytes_max).collect();
    match tokio::time::timeout(BODY_TIMEOUT, collect).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes().into()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large(bytes_max)),
        Ok(Err(_)) => Err(HttpError::bad_request(
            "bad-body",
            "the body did not arrive whole",
        )),
        Err(_) => Err(HttpError::new(
            StatusCode::REQUEST_TIMEOUT,
            "slow-body",
            "the body took longer than 30 s to arrive",
        )),
    }
}

fn too_large(bytes_max: usize) -> HttpError {
    HttpError::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "too-large",
        format!("the body may have at most {bytes_max} bytes"),
    )
}

/// Whether a body is a text message: `text/*` and JSON are, everything else is binary. What curl
/// says without being asked (`-d` means a form) is taken for text where it is UTF-8, so that the
/// shortest command does what one expects.
pub(crate) fn is_text(headers: &HeaderMap, body: &[u8]) -> bool {
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let essence = content_type.map(|value| value.split(';').next().unwrap_or(value).trim());
    match essence {
        None => false,
        Some(essence) => {
            let essence = essence.to_ascii_lowercase();
            match essence.as_str() {
                "application/json" => true,
                "application/x-www-form-urlencoded" => simdutf8::basic::from_utf8(body).is_ok(),
                other => other.starts_with("text/"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_above_the_limit_is_refused() {
        assert_eq!(read(Body::from("12345"), 5).await, Ok(b"12345".to_vec()));
        let refused = read(Body::from("123456"), 5).await;
        assert_eq!(refused.map_err(|error| error.status.as_u16()), Err(413));
    }

    #[test]
    fn the_type_decides_what_a_body_is() {
        for (content_type, body, text) in [
            (None, &b"hello"[..], false),
            (Some("text/plain"), b"hello", true),
            (Some("text/plain; charset=utf-8"), b"\xff", true),
            (Some("Application/JSON"), b"{}", true),
            (Some("application/octet-stream"), b"hello", false),
            (Some("image/png"), b"hello", false),
            (Some("application/x-www-form-urlencoded"), b"hello", true),
            (Some("application/x-www-form-urlencoded"), b"\xff", false),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(content_type) = content_type {
                headers.insert(header::CONTENT_TYPE, content_type.parse().expect("a value"));
            }
            assert_eq!(is_text(&headers, body), text, "{content_type:?} {body:?}");
        }
    }
}
