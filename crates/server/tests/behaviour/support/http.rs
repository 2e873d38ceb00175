//! HTTP by hand: what is sent is exactly what the test says.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::within;

/// An answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body)
            .unwrap_or_else(|error| panic!("{error} in {:?}", self.body))
    }

    /// The code of an error.
    pub(crate) fn error(&self) -> String {
        self.json()["error"].as_str().unwrap_or("none").to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// One request on a connection of its own. `headers` are lines without their ends.
pub(crate) async fn request(
    address: SocketAddr,
    request_line: &str,
    headers: &[&str],
    body: &[u8],
) -> Answer {
    let mut request = format!("{request_line} HTTP/1.1\r\nconnection: close\r\n");
    if !headers
        .iter()
        .any(|line| line.to_ascii_lowercase().starts_with("host:"))
    {
        request.push_str(&format!("host: {address}\r\n"));
    }
    for line in headers {
        request.push_str(line);
        request.push_str("\r\n");
    }
    if !body.is_empty() {
        request.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    request.push_str("\r\n");
    let mut bytes = request.into_bytes();
    bytes.extend_from_slice(body);
    raw(address, &bytes).await
}

pub(crate) async fn get(address: SocketAddr, path: &str) -> Answer {
    request(address, &format!("GET {path}"), &[], b"").await
}

pub(crate) async fn post(address: SocketAddr, path: &str, text: &str) -> Answer {
    request(
        address,
        &format!("POST {path}"),
        &["content-type: text/plain"],
        text.as_bytes(),
    )
    .await
}

/// Publishes a text, which has to succeed.
pub(crate) async fn publish(address: SocketAddr, topic: &str, text: &str) -> Value {
    let answer = post(address, &format!("/v1/topics/{topic}"), text).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    answer.json()
}

/// Sends bytes, and reads the answer, to its announced end or that of the connection.
pub(crate) async fn raw(address: SocketAddr, bytes: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address)
        .await
        .expect("the server listens");
    // The server may answer and hang up before it has read everything.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    while !is_whole(&answer) {
        match within("the answer", stream.read_buf(&mut answer)).await {
            Ok(1..) => {}
            _ => break,
        }
    }
    parse(&answer)
}

/// Whether the body is as long as was announced.
fn is_whole(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let Some((head, _)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let lengths = head.lines().filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse().ok())?
    });
    let announced: Option<usize> = { lengths }.next();
    announced.is_some_and(|length| bytes.len() >= head.len() + 4 + length)
}

fn parse(bytes: &[u8]) -> Answer {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    let chunked = head
        .to_ascii_lowercase()
        .contains("transfer-encoding: chunked");
    Answer {
        status: status.unwrap_or(0),
        head: head.to_owned(),
        body: if chunked {
            unchunk(body)
        } else {
            body.to_owned()
        },
    }
}

fn unchunk(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((length, rest)) = body.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).unwrap_or(0);
        if length == 0 || rest.len() < length {
            break;
        }
        whole.push_str(&rest[..length]);
        body = rest[length..].trim_start_matches("\r\n");
    }
    whole
}
