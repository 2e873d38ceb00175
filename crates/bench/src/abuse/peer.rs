//! One connection of the crowd, and what each kind does with it.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::sleep;

use super::kind::Kind;
use crate::peer::answer;
use crate::wire::{CLOSE, Frames, TEXT, write_frame};

/// What one read may bring.
const BUFFER_BYTES: usize = 4 * 1_024;
/// How much a slow reader takes, and how often.
const SLOW_BYTES: usize = 256;
const SLOW_EVERY: Duration = Duration::from_secs(1);
/// What a slow reader lets its kernel hold; the least there is.
const SLOW_BUFFER_BYTES: u32 = 2 * 1_024;
/// The head of an answer is shorter than that.
const HEAD_BYTES_MAX: usize = 8 * 1_024;
/// Above the server's hard cap for one message.
const ANNOUNCED_BYTES: u64 = 8 << 20;
/// Above the largest message that is stored, and below the hard cap.
const LARGE_MESSAGE_BYTES: usize = (1 << 20) + 1;
/// Pings in one write of a flood.
const FLOOD: usize = 100;
/// The topic that much is published to.
pub(super) const BUSY: &str = "busy";

/// How a connection of the crowd ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ended {
    /// There was no connection, or it was cut before anything was answered.
    NotDialled,
    /// By a status: 503, or 400 and its like for what was no request.
    Refused(u16),
    /// By a close frame with this code.
    Closed(u16),
    /// Cut by the server without a word.
    Cut,
    /// By itself.
    Left,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotDialled => f.write_str("not dialled"),
            Self::Refused(status) => write!(f, "HTTP {status}"),
            Self::Closed(code) => write!(f, "closed {code}"),
            Self::Cut => f.write_str("cut"),
            Self::Left => f.write_str("left"),
        }
    }
}

/// A peer: who it is, and where it goes.
#[derive(Clone, Copy)]
pub(super) struct Peer {
    pub(super) kind: Kind,
    pub(super) number: usize,
    pub(super) server: SocketAddr,
    /// The loopback address that it comes from.
    pub(super) source: SocketAddr,
}

impl Peer {
    /// Lives through one connection.
    pub(super) async fn live(self, round: usize) -> Ended {
        // Neighbours do different things, and each of them other things the next time.
        let variant = self.number + round;
        let lived = match self.kind {
            Kind::Ordinary | Kind::Greedy => self.ordinary(round).await,
            Kind::Slow => self.slow(round).await,
            Kind::Silent => self.silent(round).await,
            Kind::Garbage => self.garbage(round, variant).await,
            Kind::Looping => self.looping(round, variant).await,
            Kind::Oversized => self.oversized(round, variant).await,
            Kind::Half => self.half(variant).await,
            Kind::Flooding => self.flooding(round).await,
        };
        lived.unwrap_or_else(|ended| ended)
    }

    async fn ordinary(self, round: usize) -> Result<Ended, Ended> {
        let topic = format!("own:{}", self.number);
        let mut socket = self.v1(round, Some(&topic)).await?;
        loop {
            if let Some(ended) = socket.receive(true).await {
                return Ok(ended);
            }
        }
    }

    async fn slow(self, round: usize) -> Result<Ended, Ended> {
        let mut socket = self.v1(round, Some(BUSY)).await?;
        socket.read_bytes = SLOW_BYTES;
        loop {
            if let Some(ended) = socket.receive(true).await {
                return Ok(ended);
            }
            sleep(SLOW_EVERY).await;
        }
    }

    async fn silent(self, round: usize) -> Result<Ended, Ended> {
        self.v1(round, None).await?.until_ended().await
    }

    async fn garbage(self, round: usize, variant: usize) -> Result<Ended, Ended> {
        let noise: Vec<u8> = (0..512).map(|_| fastrand::u8(..)).collect();
        let mut socket = if variant.is_multiple_of(2) {
            self.dial().await?
        } else {
            self.v1(round, None).await?
        };
        socket.send(&noise).await?;
        socket.until_ended().await
    }

    async fn looping(self, round: usize, variant: usize) -> Result<Ended, Ended> {
        let mut socket = self.v1(round, Some(BUSY)).await?;
        if variant.is_multiple_of(2) {
            // Long enough to be served; half of them do not even wait for that.
            if let Some(ended) = socket.receive(true).await {
                return Ok(ended);
            }
        }
        Ok(Ended::Left)
    }

    async fn oversized(self, round: usize, variant: usize) -> Result<Ended, Ended> {
        let mut socket = if variant.is_multiple_of(4) || variant % 4 == 1 {
            self.dial().await?
        } else {
            self.v1(round, None).await?
        };
        match variant % 4 {
            0 => {
                let head = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(100_000));
                socket.send(head.as_bytes()).await?;
            }
            1 => {
                let head = format!(
                    "POST /v1/topics/a HTTP/1.1\r\nHost: {}\r\nContent-Length: 99999999\r\n\r\n",
                    self.server
                );
                socket.send(head.as_bytes()).await?;
                socket.send(&[b'x'; 4_096]).await?;
            }
            2 => {
                let mut head = vec![0x81, 0xff];
                head.extend_from_slice(&ANNOUNCED_BYTES.to_be_bytes());
                head.extend_from_slice(&[0; 4]);
                socket.send(&head).await?;
            }
            _ => {
                let mut publish = b"pub own:0 1\n".to_vec();
                publish.resize(publish.len() + LARGE_MESSAGE_BYTES, b'x');
                let mut frame = vec![0x81, 0xff];
                frame.extend_from_slice(&(publish.len() as u64).to_be_bytes());
                frame.extend_from_slice(&[0; 4]);
                frame.extend_from_slice(&publish);
                socket.send(&frame).await?;
                // It is refused and the connection lives on; the refusal is all that is waited for.
                socket.receive(true).await;
                return Ok(Ended::Left);
            }
        }
        socket.until_ended().await
    }

    async fn half(self, variant: usize) -> Result<Ended, Ended> {
        let mut socket = self.dial().await?;
        match variant % 3 {
            0 => {}
            1 => socket.send(b"GET /websocket HTTP/1.1\r\nHost: loc").await?,
            _ => socket.upgrade(self.server).await?,
        }
        socket.until_ended().await
    }

    async fn flooding(self, round: usize) -> Result<Ended, Ended> {
        let mut socket = self.v1(round, None).await?;
        let mut ping = Vec::new();
        write_frame(&mut ping, TEXT, b"ping");
        let flood = ping.repeat(FLOOD);
        loop {
            socket.send(&flood).await?;
            if let Some(ended) = socket.receive(false).await {
                return Ok(ended);
            }
        }
    }

    async fn dial(self) -> Result<Socket, Ended> {
        let dial = async {
            let socket = TcpSocket::new_v4()?;
            if self.kind == Kind::Slow {
                socket.set_recv_buffer_size(SLOW_BUFFER_BYTES)?;
            }
            socket.bind(self.source)?;
            let stream = socket.connect(self.server).await?;
            // A reset leaves no port waiting for stray packets, of which there would be thousands.
            SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
            io::Result::Ok(stream)
        };
        let stream = dial.await.map_err(|_| Ended::NotDialled)?;
        Ok(Socket {
            stream,
            frames: Frames::default(),
            read_bytes: BUFFER_BYTES,
            is_http: true,
        })
    }

    /// A v1 connection that has said `hello`, and what it follows.
    async fn v1(self, round: usize, topic: Option<&str>) -> Result<Socket, Ended> {
        let mut socket = self.dial().await?;
        socket.upgrade(self.server).await?;
        let (number, attempt) = (self.number, round + 1);
        let hello = format!(
            r#"hello {{"client":"crowd-client-{number:08}","attempt":{attempt},"agent":"crowd"}}"#
        );
        let mut first = Vec::new();
        write_frame(&mut first, TEXT, hello.as_bytes());
        if let Some(topic) = topic {
            write_frame(&mut first, TEXT, format!("sub {topic}").as_bytes());
        }
        socket.send(&first).await?;
        Ok(socket)
    }
}

struct Socket {
    stream: TcpStream,
    frames: Frames,
    /// What one read takes.
    read_bytes: usize,
    /// No upgrade has been answered: what comes is a status.
    is_http: bool,
}

impl Socket {
    /// Asks for an upgrade to v1 and reads the answer.
    async fn upgrade(&mut self, server: SocketAddr) -> Result<(), Ended> {
        let request = format!(
            "GET /websocket HTTP/1.1\r\nHost: {server}\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: aGVhcnR3aXJlLWJlbmNoIQ==\r\n\
             Sec-WebSocket-Protocol: heartwire.v1\r\n\r\n"
        );
        self.send(request.as_bytes()).await?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") && head.len() < HEAD_BYTES_MAX {
            // The server says nothing behind the head before it has heard `hello`.
            match self.stream.read_buf(&mut head).await {
                Ok(0) | Err(_) => return Err(Ended::NotDialled),
                Ok(_) => {}
            }
            if status_in(&head).is_some_and(|status| status != 101) {
                break;
            }
        }
        match status_in(&head) {
            Some(101) => {
                self.is_http = false;
                Ok(())
            }
            Some(status) => Err(Ended::Refused(status)),
            None => Err(Ended::NotDialled),
        }
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), Ended> {
        match self.stream.write_all(bytes).await {
            Ok(()) => Ok(()),
            // Why is to be read: it was said before the connection was cut.
            Err(_) => Err(self.until_ended().await.unwrap_or_else(|ended| ended)),
        }
    }

    /// Reads once; tells how the connection ended, if it did. Pings are answered when `answers`.
    async fn receive(&mut self, answers: bool) -> Option<Ended> {
        let mut buffer = [0; BUFFER_BYTES];
        let length = match self.stream.read(&mut buffer[..self.read_bytes]).await {
            Ok(0) | Err(_) => return Some(Ended::Cut),
            Ok(length) => length,
        };
        if self.is_http {
            return status_in(&buffer[..length]).map(Ended::Refused);
        }
        let (mut closed, mut pongs) = (None, Vec::new());
        self.frames.feed(&buffer[..length], |opcode, payload| {
            if opcode == CLOSE {
                let code = payload.first_chunk().copied().map(u16::from_be_bytes);
                closed = Some(Ended::Closed(code.unwrap_or_default()));
            } else if answers {
                answer(&mut pongs, opcode, payload);
            }
        });
        if closed.is_none() && !pongs.is_empty() {
            return self
                .stream
                .write_all(&pongs)
                .await
                .err()
                .map(|_| Ended::Cut);
        }
        closed
    }

    /// Reads and answers nothing until the server has had enough.
    async fn until_ended(&mut self) -> Result<Ended, Ended> {
        loop {
            if let Some(ended) = self.receive(false).await {
                return Ok(ended);
            }
        }
    }
}

/// The status in the beginning of an HTTP answer.
fn status_in(head: &[u8]) -> Option<u16> {
    let line = head.strip_prefix(b"HTTP/1.1 ")?.get(..3)?;
    std::str::from_utf8(line).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_read_from_the_head() {
        assert_eq!(
            status_in(b"HTTP/1.1 503 Service Unavailable\r\n"),
            Some(503)
        );
        assert_eq!(status_in(b"HTTP/1.1 5"), None);
        assert_eq!(status_in(b"\x88\x02\x03\xe8"), None);
    }
}
