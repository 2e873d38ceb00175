//! As much HTTP as the benchmarks need: one request per connection, an answer of known length.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;

use anyhow::{Context as _, Result, bail};

use crate::wire;

/// Sends a request and returns the body of a successful answer.
pub(crate) fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    content_type: &str,
    body: &str,
) -> Result<String> {
    let mut stream = wire::connect(address, 0)?;
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
         Content-Type: {content_type}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .context("the answer has a head")?;
    if !head.starts_with("HTTP/1.1 20") {
        bail!("{method} {path}: {head}\n{body}");
    }
    Ok(
        if head
            .to_ascii_lowercase()
            .contains("transfer-encoding: chunked")
        {
            join_chunks(body).context("the chunks are complete")?
        } else {
            body.to_owned()
        },
    )
}

fn join_chunks(mut body: &str) -> Option<String> {
    let mut joined = String::new();
    loop {
        let (length, rest) = body.split_once("\r\n")?;
        let length = usize::from_str_radix(length.trim(), 16).ok()?;
        if length == 0 {
            return Some(joined);
        }
        joined.push_str(rest.get(..length)?);
        body = rest.get(length + 2..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_joined() {
        let body = "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
        assert_eq!(join_chunks(body).as_deref(), Some("abcde"));
        assert_eq!(join_chunks("3\r\nab"), None);
    }
}
