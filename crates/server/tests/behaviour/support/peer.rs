//! A WebSocket client that says exactly what the test says.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::Instant;

use super::within;

/// How often a peer looks that wants to know when something came.
const LOOK_EVERY: Duration = Duration::from_millis(2);

pub(crate) const FINAL: u8 = 0x80;
pub(crate) const CONTINUE: u8 = 0;
pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// What the server said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Heard {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    /// A close frame, its code (0 when empty) and reason.
    Close(u16, String),
    /// The end of the stream, or a reset.
    End,
}

/// A `ping` of the server's.
pub(crate) struct Question {
    pub(crate) id: String,
    /// A moment at which it had not come yet; `None` if it stood there when it was first looked for.
    pub(crate) not_before: Option<Instant>,
}

/// One client.
pub(crate) struct Peer<S = TcpStream> {
    stream: S,
    received: Vec<u8>,
    /// How many bytes it reads at most in every tenth of a second.
    pub(crate) bytes_per_100_ms: usize,
}

/// The request that asks for a WebSocket.
pub(crate) fn upgrade(path: &str, headers: &[&str]) -> String {
    let mut request = format!(
        "GET {path} HTTP/1.1\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    );
    if !headers.iter().any(|line| line.starts_with("host:")) {
        request.push_str("host: localhost\r\n");
    }
    for line in headers {
        request.push_str(line);
        request.push_str("\r\n");
    }
    request.push_str("\r\n");
    request
}

/// One masked frame.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let key = [0x37, 0xfa, 0x21, 0x3d];
    let mut bytes = vec![first];
    match payload.len() {
        length @ 0..126 => bytes.push(0x80 | length as u8),
        length @ 126..65_536 => {
            bytes.push(0x80 | 126);
            bytes.extend((length as u16).to_be_bytes());
        }
        length => {
            bytes.push(0x80 | 127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    bytes.extend(key);
    bytes.extend(payload.iter().zip(key.iter().cycle()).map(|(b, k)| b ^ k));
    bytes
}

pub(crate) fn text(text: &str) -> Vec<u8> {
    frame(FINAL | TEXT, text.as_bytes())
}

/// The `hello` of a client whose id ends with `name`.
pub(crate) fn hello(name: &str, attempt: u64) -> String {
    format!(r#"hello {{"client":"0000000000000000-{name}","attempt":{attempt}}}"#)
}

/// The same with a token.
pub(crate) fn hello_with(name: &str, token: &str) -> String {
    format!(r#"hello {{"client":"0000000000000000-{name}","attempt":1,"token":"{token}"}}"#)
}

impl Peer {
    /// A connection that has said nothing.
    pub(crate) async fn tcp(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address)
            .await
            .expect("the server listens");
        stream.set_nodelay(true).expect("TCP");
        Self {
            stream,
            received: Vec::new(),
            bytes_per_100_ms: usize::MAX,
        }
    }

    /// A connection whose kernel takes little: it is soon full.
    pub(crate) async fn with_small_window(address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket
            .set_recv_buffer_size(8 * 1024)
            .expect("before connecting");
        let stream = socket.connect(address).await.expect("the server listens");
        Self {
            stream,
            received: Vec::new(),
            bytes_per_100_ms: usize::MAX,
        }
    }

    /// A plain WebSocket.
    pub(crate) async fn plain(address: SocketAddr, path: &str) -> Self {
        let mut peer = Self::tcp(address).await;
        peer.upgrade(path, &[]).await;
        peer
    }

    /// A v1 WebSocket that has not said hello.
    pub(crate) async fn silent_v1(address: SocketAddr, path: &str) -> Self {
        let mut peer = Self::tcp(address).await;
        peer.upgrade(path, &["sec-websocket-protocol: heartwire.v1"])
            .await;
        peer
    }

    /// A v1 WebSocket that has been welcomed.
    pub(crate) async fn v1(address: SocketAddr, name: &str) -> Self {
        Self::v1_attempt(address, name, 1).await.0
    }

    /// The same with the number of the attempt, and the `welcome`.
    pub(crate) async fn v1_attempt(
        address: SocketAddr,
        name: &str,
        attempt: u64,
    ) -> (Self, serde_json::Value) {
        let mut peer = Self::silent_v1(address, "/websocket").await;
        peer.say(&hello(name, attempt)).await;
        let welcome = peer.text().await;
        let json = welcome
            .strip_prefix("welcome")
            .expect("a welcome")
            .trim_start();
        let welcome = serde_json::from_str(json).expect("JSON");
        (peer, welcome)
    }

    /// A v1 WebSocket that has said hello with a token.
    pub(crate) async fn v1_with(address: SocketAddr, name: &str, token: &str) -> Self {
        let mut peer = Self::silent_v1(address, "/websocket").await;
        peer.say(&hello_with(name, token)).await;
        peer
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Peer<S> {
    /// A client over any stream.
    pub(crate) const fn over(stream: S) -> Self {
        Self {
            stream,
            received: Vec::new(),
            bytes_per_100_ms: usize::MAX,
        }
    }

    /// The stream; what was received and not looked at is gone.
    pub(crate) fn into_stream(self) -> S {
        self.stream
    }

    /// Asks for the upgrade, which has to succeed; returns the head of the answer.
    pub(crate) async fn upgrade(&mut self, path: &str, headers: &[&str]) -> String {
        self.send(upgrade(path, headers).as_bytes()).await;
        let head = self.head().await;
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        head
    }

    /// The head of an HTTP answer.
    pub(crate) async fn head(&mut self) -> String {
        loop {
            if let Some(end) = self
                .received
                .windows(4)
                .position(|four| four == b"\r\n\r\n")
            {
                let head: Vec<u8> = self.received.drain(..end + 4).collect();
                return String::from_utf8_lossy(&head).into_owned();
            }
            let more = within("the head of an answer", self.fill()).await;
            assert!(
                more,
                "the server hung up: {:?}",
                String::from_utf8_lossy(&self.received)
            );
        }
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        within("room to write", self.stream.write_all(bytes))
            .await
            .expect("the server reads");
    }

    /// Ends its own half of the stream.
    pub(crate) async fn shut_down(&mut self) {
        let ended = within("the end to be sent", self.stream.shutdown()).await;
        ended.expect("the server reads");
    }

    /// Sends as long as the server takes it.
    pub(crate) async fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        within("room to write", self.stream.write_all(bytes)).await
    }

    pub(crate) async fn say(&mut self, message: &str) {
        self.send(&text(message)).await;
    }

    /// The next frame.
    pub(crate) async fn heard(&mut self) -> Heard {
        within("a frame", self.next()).await
    }

    /// The next text; anything else is a failure.
    pub(crate) async fn text(&mut self) -> String {
        match self.heard().await {
            Heard::Text(text) => text,
            other => panic!("expected a text, not {other:?}"),
        }
    }

    /// Says something, and hears the answer.
    pub(crate) async fn ask(&mut self, message: &str) -> String {
        self.say(message).await;
        self.text_after_pings().await
    }

    /// The `welcome`, which is due.
    pub(crate) async fn welcomed(&mut self) {
        let heard = self.text().await;
        assert!(heard.starts_with("welcome\n"), "{heard}");
    }

    /// The next text that is no ping; pings are answered.
    pub(crate) async fn text_after_pings(&mut self) -> String {
        loop {
            let text = self.text().await;
            let Some(id) = text.strip_prefix("ping ") else {
                return text;
            };
            let id = id.lines().next().expect("an id").to_owned();
            self.say(&format!("pong {id}")).await;
        }
    }

    /// What `next` brings, and a moment at which it had not come yet; `None` if it stood there when it
    /// was first looked for.
    pub(crate) async fn noticing<T>(
        &mut self,
        mut next: impl AsyncFnMut(&mut Self) -> T,
    ) -> (T, Option<Instant>) {
        let mut not_before = None;
        loop {
            let looked_at = Instant::now();
            match tokio::time::timeout(LOOK_EVERY, next(self)).await {
                Ok(came) => return (came, not_before),
                Err(_) => not_before = Some(looked_at),
            }
        }
    }

    /// The next question of a v1 server; `None` when it has closed the connection instead.
    pub(crate) async fn question(&mut self) -> Option<Question> {
        let looking = async {
            loop {
                let (heard, not_before) = self.noticing(Self::next).await;
                match heard {
                    Heard::Text(text) => {
                        if let Some(id) = text.strip_prefix("ping ") {
                            let id = id.lines().next().expect("an id").to_owned();
                            return Some(Question { id, not_before });
                        }
                    }
                    Heard::Close(..) | Heard::End => return None,
                    _ => {}
                }
            }
        };
        within("a question, or the end", looking).await
    }

    /// Whether the server still answers on this connection.
    pub(crate) async fn is_answered(&mut self) -> bool {
        if self.try_send(&text("ping alive")).await.is_err() {
            return false;
        }
        loop {
            match self.heard().await {
                Heard::Text(text) if text == "pong alive" => return true,
                Heard::Close(..) | Heard::End => return false,
                _ => {}
            }
        }
    }

    /// Reads until the close frame, and returns its code and reason.
    pub(crate) async fn closed(&mut self) -> (u16, String) {
        loop {
            match self.heard().await {
                Heard::Close(code, reason) => return (code, reason),
                Heard::End => panic!("the stream ended without a close frame"),
                _ => {}
            }
        }
    }

    /// Reads until the end of the stream.
    pub(crate) async fn ended(&mut self) {
        while self.heard().await != Heard::End {}
    }

    async fn next(&mut self) -> Heard {
        loop {
            if let Some((heard, length)) = parse(&self.received) {
                self.received.drain(..length);
                if let Heard::Close(code, _) = heard {
                    // The server may have hung up already.
                    let echo = frame(FINAL | CLOSE, &code.to_be_bytes());
                    let _ = self.stream.write_all(&echo).await;
                }
                return heard;
            }
            if !self.fill().await {
                return Heard::End;
            }
        }
    }

    async fn fill(&mut self) -> bool {
        if self.bytes_per_100_ms == usize::MAX {
            return matches!(self.stream.read_buf(&mut self.received).await, Ok(1..));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        let mut some = vec![0; self.bytes_per_100_ms];
        match self.stream.read(&mut some).await {
            Ok(length @ 1..) => {
                self.received.extend_from_slice(&some[..length]);
                true
            }
            _ => false,
        }
    }

    /// Bytes as they come, first those that stood behind what was read before; `None` at the end.
    pub(crate) async fn heard_raw(&mut self) -> Option<Vec<u8>> {
        let more = !self.received.is_empty() || within("bytes or the end", self.fill()).await;
        more.then(|| std::mem::take(&mut self.received))
    }
}

/// Takes all whole texts out of what was received; other frames are dropped.
pub(crate) fn texts(received: &mut Vec<u8>) -> Vec<String> {
    let mut texts = Vec::new();
    let mut taken = 0;
    while let Some((heard, length)) = parse(&received[taken..]) {
        taken += length;
        if let Heard::Text(text) = heard {
            texts.push(text);
        }
    }
    received.drain(..taken);
    texts
}

fn parse(bytes: &[u8]) -> Option<(Heard, usize)> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    assert_eq!(
        first & 0xf0,
        FINAL,
        "servers send whole frames without extensions"
    );
    assert!(second & 0x80 == 0, "servers do not mask");
    let (length, start) = match second {
        126 => (
            usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)),
            4,
        ),
        127 => (
            u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?) as usize,
            10,
        ),
        short => (usize::from(short), 2),
    };
    let payload = bytes.get(start..start + length)?;
    let as_text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("texts are UTF-8");
    let heard = match first & 0x0f {
        TEXT => Heard::Text(as_text(payload)),
        BINARY => Heard::Binary(payload.to_vec()),
        PING => Heard::Ping(payload.to_vec()),
        PONG => Heard::Pong(payload.to_vec()),
        CLOSE => match payload {
            [high, low, reason @ ..] => {
                Heard::Close(u16::from_be_bytes([*high, *low]), as_text(reason))
            }
            _ => Heard::Close(0, String::new()),
        },
        other => panic!("opcode {other}"),
    };
    Some((heard, start + length))
}
