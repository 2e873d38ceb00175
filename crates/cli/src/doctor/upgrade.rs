//! The HTTP request that asks for a WebSocket, and what proxies and servers make of it.
//!
//! Written by hand over the library's parser, because a library's own handshake drops the answer
//! that is to be explained here.

use std::io;
use std::time::{Duration, Instant};

use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, HOST, LOCATION, RETRY_AFTER, UPGRADE, USER_AGENT,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::handshake::client::{Response, generate_key};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::handshake::machine::TryParse as _;

use super::endpoint::Endpoint;
use super::socket::Wire;
use crate::AGENT;

/// The subprotocol that is offered `[WS-2]`.
pub(super) const SUBPROTOCOL: &str = "heartwire.v1";

/// The longest answer head that is read, in bytes; servers send a few hundred.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// How much of a refusal's body is read, in bytes, and shown, in characters.
const BODY_BYTES_MAX: usize = 2 * 1024;
const BODY_CHARS_MAX: usize = 160;

/// How long the rest of a refusal's body is waited for: it explains, and decides nothing.
const BODY_WAIT: Duration = Duration::from_secs(1);

/// What asks for the WebSocket.
#[derive(Clone)]
pub(super) struct Request {
    pub(super) endpoint: Endpoint,
    /// The user's own.
    pub(super) headers: HeaderMap,
}

/// A head that answered the request, and the bytes behind it.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) took: Duration,
    /// What the `Sec-WebSocket-Accept` header has to be.
    accept: String,
    pub(super) read_ahead: Vec<u8>,
}

/// Why there is no answer in HTTP.
#[derive(Debug)]
pub(super) enum NoAnswer {
    /// Nothing came for as long as the user wanted to wait.
    Silence,
    /// The connection was closed instead.
    Closed,
    /// The connection broke.
    Io(io::Error),
    /// What came is a TLS record.
    Tls,
    /// What came is no HTTP/1.1; its beginning.
    NotHttp(String),
}

/// What is wrong with an answer that switches protocols.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum BadSwitch {
    /// `Upgrade: websocket` is missing.
    Upgrade,
    /// `Connection: Upgrade` is missing.
    Connection,
    /// The accept key is missing, or belongs to another request.
    AcceptKey,
    /// It agrees to an extension that was not offered.
    Extension,
    /// It chooses a subprotocol that was not offered.
    Subprotocol,
}

impl Request {
    /// Asks, and reads the head of the answer.
    pub(super) async fn ask(
        &self,
        wire: &mut Box<dyn Wire>,
        offers_v1: bool,
        wait: Duration,
    ) -> Result<Answer, NoAnswer> {
        let key = generate_key();
        let asked_at = Instant::now();
        let exchange = async {
            wire.write_all(&self.bytes(&key, offers_v1)).await?;
            wire.flush().await?;
            read_head(wire).await
        };
        let (response, read_ahead) = timeout(wait, exchange)
            .await
            .map_err(|_| NoAnswer::Silence)??;
        Ok(Answer {
            status: response.status(),
            headers: response.headers().clone(),
            took: asked_at.elapsed(),
            accept: derive_accept_key(key.as_bytes()),
            read_ahead,
        })
    }

    fn bytes(&self, key: &str, offers_v1: bool) -> Vec<u8> {
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        if let Some(authorization) = &self.endpoint.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        for name in self.headers.keys() {
            headers.remove(name);
            for value in self.headers.get_all(name) {
                headers.append(name, value.clone());
            }
        }
        let endpoint = &self.endpoint;
        let mut bytes = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n",
            endpoint.target, endpoint.host_header
        )
        .into_bytes();
        if offers_v1 {
            bytes.extend(format!("Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n").bytes());
        }
        for (name, value) in &headers {
            bytes.extend(name.as_str().bytes());
            bytes.extend(b": ");
            bytes.extend(value.as_bytes());
            bytes.extend(b"\r\n");
        }
        bytes.extend(b"\r\n");
        bytes
    }
}

impl From<io::Error> for NoAnswer {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::Io(error),
        }
    }
}

async fn read_head(wire: &mut Box<dyn Wire>) -> Result<(Response, Vec<u8>), NoAnswer> {
    let mut bytes = Vec::with_capacity(1_024);
    loop {
        match Response::try_parse(&bytes) {
            Ok(Some((head, response))) => return Ok((response, bytes.split_off(head))),
            Ok(None) if bytes.len() < HEAD_BYTES_MAX => {}
            _ => return Err(not_http(&bytes)),
        }
        if wire.read_buf(&mut bytes).await? == 0 {
            return Err(NoAnswer::Closed);
        }
    }
}

fn not_http(bytes: &[u8]) -> NoAnswer {
    // An alert or a handshake record, of any version of TLS.
    if matches!(bytes, [0x15 | 0x16, 0x03, ..]) {
        return NoAnswer::Tls;
    }
    NoAnswer::NotHttp(excerpt(bytes))
}

impl Answer {
    /// Whether the answer really opens a WebSocket for this request; 101 alone does not.
    pub(super) fn judge_switch(&self, offers_v1: bool) -> Result<(), BadSwitch> {
        let lists = |name: HeaderName, word: &str| {
            let values = self.headers.get_all(name).into_iter();
            values
                .filter_map(|value| value.to_str().ok())
                .flat_map(|value| value.split(','))
                .any(|part| part.trim().eq_ignore_ascii_case(word))
        };
        if !lists(UPGRADE, "websocket") {
            return Err(BadSwitch::Upgrade);
        }
        if !lists(CONNECTION, "upgrade") {
            return Err(BadSwitch::Connection);
        }
        if self.text("sec-websocket-accept") != Some(&self.accept) {
            return Err(BadSwitch::AcceptKey);
        }
        if self.headers.contains_key("sec-websocket-extensions") {
            return Err(BadSwitch::Extension);
        }
        match self.subprotocol() {
            None => Ok(()),
            Some(SUBPROTOCOL) if offers_v1 => Ok(()),
            Some(_) => Err(BadSwitch::Subprotocol),
        }
    }

    /// What the server chose.
    pub(super) fn subprotocol(&self) -> Option<&str> {
        self.text("sec-websocket-protocol")
    }

    /// A header's value, if it is text.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok().map(str::trim)
    }

    /// Where a redirect points.
    pub(super) fn location(&self) -> Option<&str> {
        self.text(LOCATION.as_str())
    }

    /// How long the server asks to stay away.
    pub(super) fn retry_after(&self) -> Option<&str> {
        self.text(RETRY_AFTER.as_str())
    }

    /// The beginning of the body, in one line.
    pub(super) async fn body_excerpt(&mut self, wire: &mut Box<dyn Wire>) -> String {
        let length = self
            .text(CONTENT_LENGTH.as_str())
            .and_then(|text| text.parse().ok());
        let wanted = length.unwrap_or(BODY_BYTES_MAX).min(BODY_BYTES_MAX);
        let rest = async {
            while self.read_ahead.len() < wanted {
                match wire.read_buf(&mut self.read_ahead).await {
                    Ok(1..) => {}
                    Ok(0) | Err(_) => return,
                }
            }
        };
        // What has come by then has to do.
        let _ = timeout(BODY_WAIT, rest).await;
        excerpt(&self.read_ahead)
    }
}

/// The words of a text, without tags, line ends and more than a line holds.
fn excerpt(bytes: &[u8]) -> String {
    let bytes = &bytes[..bytes.len().min(BODY_BYTES_MAX)];
    let text = String::from_utf8_lossy(bytes);
    let mut words = String::new();
    for part in text.split('<') {
        let visible = part.split_once('>').map_or(part, |(_, after)| after);
        for word in visible.split_whitespace() {
            if !words.is_empty() {
                words.push(' ');
            }
            words.push_str(word);
        }
    }
    words.chars().take(BODY_CHARS_MAX).collect()
}

/// Reads a header of the user's: `NAME: VALUE`.
pub(super) fn parse_header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let malformed = || "write NAME: VALUE, such as Origin: https://example.org".to_owned();
    let (name, value) = text.split_once(':').ok_or_else(malformed)?;
    let name: HeaderName = name.trim().parse().map_err(|_| malformed())?;
    let mut value: HeaderValue = value.trim().parse().map_err(|_| malformed())?;
    let handshake = [CONNECTION, UPGRADE, HOST].contains(&name);
    if handshake || name.as_str().starts_with("sec-websocket-") {
        return Err(format!("{name} belongs to the WebSocket handshake"));
    }
    value.set_sensitive(true);
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(headers: &[(&'static str, &'static str)]) -> Answer {
        let pairs = headers.iter().map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        });
        Answer {
            status: StatusCode::SWITCHING_PROTOCOLS,
            headers: pairs.collect(),
            took: Duration::ZERO,
            accept: "right".to_owned(),
            read_ahead: Vec::new(),
        }
    }

    const RIGHT: [(&str, &str); 3] = [
        ("upgrade", "WebSocket"),
        ("connection", "keep-alive, Upgrade"),
        ("sec-websocket-accept", "right"),
    ];

    #[test]
    fn a_right_switch_passes_whatever_the_case_of_its_words() {
        assert_eq!(answer(&RIGHT).judge_switch(true), Ok(()));
    }

    #[test]
    fn each_way_of_switching_wrongly_has_its_name() {
        let without = |name: &str| {
            let rest: Vec<_> = RIGHT.into_iter().filter(|(n, _)| *n != name).collect();
            answer(&rest).judge_switch(true)
        };
        assert_eq!(without("upgrade"), Err(BadSwitch::Upgrade));
        assert_eq!(without("connection"), Err(BadSwitch::Connection));
        assert_eq!(without("sec-websocket-accept"), Err(BadSwitch::AcceptKey));
        let with = |name, value, offers_v1| {
            let mut all = RIGHT.to_vec();
            all.push((name, value));
            answer(&all).judge_switch(offers_v1)
        };
        let deflate = with("sec-websocket-extensions", "permessage-deflate", true);
        assert_eq!(deflate, Err(BadSwitch::Extension));
        let protocol = "sec-websocket-protocol";
        assert_eq!(with(protocol, SUBPROTOCOL, true), Ok(()));
        assert_eq!(
            with(protocol, SUBPROTOCOL, false),
            Err(BadSwitch::Subprotocol)
        );
        assert_eq!(with(protocol, "mqtt", true), Err(BadSwitch::Subprotocol));
    }

    #[test]
    fn an_excerpt_holds_words_and_no_tags() {
        let page = b"<html><h1>404  Not\nFound</h1><hr>nginx</html>";
        assert_eq!(excerpt(page), "404 Not Found nginx");
        assert_eq!(excerpt("ä ".repeat(900).as_bytes()).chars().count(), 160);
    }

    #[test]
    fn tls_records_are_known_for_what_they_are() {
        assert!(matches!(not_http(&[0x15, 3, 1, 0, 2]), NoAnswer::Tls));
        assert!(matches!(not_http(b"SSH-2.0"), NoAnswer::NotHttp(text) if text == "SSH-2.0"));
    }

    #[test]
    fn headers_of_the_handshake_are_not_the_users() {
        let (name, value) = parse_header("Origin: https://example.org").expect("a header");
        assert_eq!((name.as_str(), value.is_sensitive()), ("origin", true));
        for wrong in [
            "Origin",
            "Host: x",
            "Sec-WebSocket-Key: x",
            "a b: c",
            "x: a\nb",
        ] {
            assert!(parse_header(wrong).is_err(), "{wrong}");
        }
    }
}
