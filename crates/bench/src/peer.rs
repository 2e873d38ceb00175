//! One connection of the generator.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use anyhow::{Result, bail};

use crate::wire::{self, Frames, PING, PONG, TEXT, write_frame};

/// A connection, and what it has counted.
pub(crate) struct Peer {
    stream: TcpStream,
    kind: Kind,
    /// What was counted since the last [`Peer::take`].
    counted: usize,
    is_ready: bool,
    pings: u64,
}

/// What a peer makes of what it receives.
enum Kind {
    /// Bytes, in units of that many: the bare peers know no frames.
    Bare { unit_bytes: usize, surplus: usize },
    /// Text frames by their beginnings.
    WebSocket {
        frames: Frames,
        /// A frame to count.
        counted: &'static [u8],
        /// The frame after which the peer is ready.
        awaited: &'static [u8],
    },
}

impl Peer {
    /// A bare TCP connection; it is ready at once.
    pub(crate) fn bare(address: SocketAddr, unit_bytes: usize) -> Result<Self> {
        let kind = Kind::Bare {
            unit_bytes,
            surplus: 0,
        };
        Self::new(wire::connect(address, 0)?, kind, true)
    }

    /// A WebSocket in plain mode; it is ready at once.
    pub(crate) fn plain(address: SocketAddr, counted: &'static [u8]) -> Result<Self> {
        let kind = Kind::WebSocket {
            frames: Frames::default(),
            counted,
            awaited: b"welcome",
        };
        Self::new(wire::dial(address, 0, false)?, kind, true)
    }

    /// A WebSocket in v1 that follows a topic, or none. It is ready when the server has answered.
    pub(crate) fn v1(
        address: SocketAddr,
        number: usize,
        topic: Option<&str>,
        counted: &'static [u8],
    ) -> Result<Self> {
        let mut stream = wire::dial(address, number, true)?;
        let hello = format!(
            r#"hello {{"client":"bench-client-{number:08}","attempt":1,"agent":"heartwire-bench"}}"#
        );
        let mut first = Vec::new();
        write_frame(&mut first, TEXT, hello.as_bytes());
        if let Some(topic) = topic {
            write_frame(&mut first, TEXT, format!("sub {topic}").as_bytes());
        }
        stream.write_all(&first)?;
        let kind = Kind::WebSocket {
            frames: Frames::default(),
            counted,
            awaited: if topic.is_some() {
                b"subbed "
            } else {
                b"welcome"
            },
        };
        Self::new(stream, kind, false)
    }

    fn new(stream: TcpStream, kind: Kind, is_ready: bool) -> Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream,
            kind,
            counted: 0,
            is_ready,
            pings: 0,
        })
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Whether the server has answered what was sent at the beginning.
    pub(crate) fn is_ready(&self) -> bool {
        self.is_ready
    }

    /// How many of the server's pings were answered.
    pub(crate) fn pings(&self) -> u64 {
        self.pings
    }

    /// What was counted since the last call.
    pub(crate) fn take(&mut self) -> usize {
        std::mem::take(&mut self.counted)
    }

    /// Sends bytes as they are. They are few and the server reads: a full socket is an error.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result<()> {
        match self.stream.write(bytes) {
            Ok(sent) if sent == bytes.len() => Ok(()),
            Ok(_) => bail!("the server does not read what it is sent"),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads once, counts, and answers pings. One read is enough where readiness is told again as
    /// long as bytes are left.
    pub(crate) fn receive(&mut self, buffer: &mut [u8]) -> Result<()> {
        let length = match self.stream.read(buffer) {
            Ok(0) => bail!("the server closed a connection"),
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let mut answers = Vec::new();
        match &mut self.kind {
            Kind::Bare {
                unit_bytes,
                surplus,
            } => {
                let bytes = *surplus + length;
                self.counted += bytes / *unit_bytes;
                *surplus = bytes % *unit_bytes;
            }
            Kind::WebSocket {
                frames,
                counted,
                awaited,
            } => frames.feed(&buffer[..length], |opcode, payload| {
                if payload.starts_with(counted) {
                    self.counted += 1;
                } else if payload.starts_with(awaited) {
                    self.is_ready = true;
                } else {
                    answer(&mut answers, opcode, payload);
                }
            }),
        }
        if answers.is_empty() {
            return Ok(());
        }
        self.pings += 1;
        self.send(&answers)
    }
}

/// Appends the answer to a ping, of the protocol or of RFC 6455.
pub(crate) fn answer(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    if opcode == PING {
        write_frame(out, PONG, payload);
    } else if let Some(rest) = payload.strip_prefix(b"ping") {
        let header_end = rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len());
        let pong = [b"pong", &rest[..header_end]].concat();
        write_frame(out, TEXT, &pong);
    }
}
