//! The WebSocket as the generator needs it: the client's handshake, masked frames out, frames in.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use socket2::{Domain, Socket, Type};

/// A frame of text.
pub(crate) const TEXT: u8 = 1;
/// The goodbye.
pub(crate) const CLOSE: u8 = 8;
/// A question of RFC 6455.
pub(crate) const PING: u8 = 9;
/// The answer to it.
pub(crate) const PONG: u8 = 10;

/// How long a server may take for a handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How many clients share an address: below what the server allows one address by default.
const CLIENTS_PER_ADDRESS: usize = 5_000;

/// Connects on plain TCP as the client of that number, which decides the loopback address that it
/// comes from. Closing such a socket resets it, so that no port waits for stray packets while the
/// next round wants thousands.
pub(crate) fn connect(address: SocketAddr, number: usize) -> Result<TcpStream> {
    let last = u8::try_from(1 + number / CLIENTS_PER_ADDRESS).context("too many clients")?;
    let source = SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0));
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&source.into())?;
    socket.set_tcp_nodelay(true)?;
    socket.set_linger(Some(Duration::ZERO))?;
    socket
        .connect(&address.into())
        .with_context(|| format!("dialling {address}"))?;
    Ok(socket.into())
}

/// Dials a WebSocket, in v1 or in plain mode.
pub(crate) fn dial(address: SocketAddr, number: usize, v1: bool) -> Result<TcpStream> {
    let mut stream = connect(address, number)?;
    stream.set_read_timeout(Some(HANDSHAKE_TIMEOUT))?;
    let subprotocol = if v1 {
        "Sec-WebSocket-Protocol: heartwire.v1\r\n"
    } else {
        ""
    };
    write!(
        stream,
        "GET /websocket HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: aGVhcnR3aXJlLWJlbmNoIQ==\r\n\
         {subprotocol}\r\n"
    )?;
    let head = read_head(&mut stream)?;
    if !head.starts_with("HTTP/1.1 101") {
        bail!("the server refused the upgrade: {head}");
    }
    if v1 && !head.to_ascii_lowercase().contains("heartwire.v1") {
        bail!("the server did not agree to heartwire.v1: {head}");
    }
    Ok(stream)
}

/// Reads the head of the answer and not one byte more, as what follows are frames.
fn read_head(stream: &mut TcpStream) -> Result<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte)? == 0 {
            bail!("the server hung up during the handshake");
        }
        head.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

/// Appends a final frame as clients send it. The masking key is zero, which leaves the payload as it
/// is and costs the server what any key costs.
pub(crate) fn write_frame(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    out.push(0x80 | opcode);
    match payload.len() {
        short @ 0..=125 => out.push(0x80 | short as u8),
        long => {
            let long = u16::try_from(long).expect("the generator sends small messages");
            out.push(0x80 | 126);
            out.extend_from_slice(&long.to_be_bytes());
        }
    }
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(payload);
}

/// Frames out of a stream of bytes.
#[derive(Default)]
pub(crate) struct Frames {
    /// The beginning of a frame whose rest has not arrived.
    rest: Vec<u8>,
}

impl Frames {
    /// Hands each complete frame to `each`, as opcode and payload.
    pub(crate) fn feed(&mut self, bytes: &[u8], mut each: impl FnMut(u8, &[u8])) {
        if self.rest.is_empty() {
            let taken = take_frames(bytes, &mut each);
            self.rest.extend_from_slice(&bytes[taken..]);
        } else {
            self.rest.extend_from_slice(bytes);
            let taken = take_frames(&self.rest, &mut each);
            self.rest.drain(..taken);
        }
        if self.rest.is_empty() {
            self.rest = Vec::new();
        }
    }
}

/// Hands over the complete frames and returns how many bytes they took.
fn take_frames(bytes: &[u8], each: &mut impl FnMut(u8, &[u8])) -> usize {
    let mut taken = 0;
    while let Some((opcode, payload, length)) = first_frame(&bytes[taken..]) {
        each(opcode, payload);
        taken += length;
    }
    taken
}

/// The first frame, as servers send them: opcode, payload, and the length of it all.
fn first_frame(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
    let (&first, &second) = (bytes.first()?, bytes.get(1)?);
    let (head, length) = match second {
        126 => {
            let length = bytes.get(2..4)?.try_into().expect("two bytes");
            (4, usize::from(u16::from_be_bytes(length)))
        }
        127 => {
            let length = bytes.get(2..10)?.try_into().expect("eight bytes");
            (10, usize::try_from(u64::from_be_bytes(length)).ok()?)
        }
        short => (2, usize::from(short)),
    };
    let payload = bytes.get(head..head + length)?;
    Some((first & 0x0f, payload, head + length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_however_the_bytes_are_cut() {
        let mut bytes = vec![0x81, 4];
        bytes.extend_from_slice(b"pong");
        bytes.extend_from_slice(&[0x81, 126, 0, 200]);
        bytes.extend_from_slice(&[b'x'; 200]);
        for cut in 0..bytes.len() {
            let mut frames = Frames::default();
            let mut seen = Vec::new();
            for part in [&bytes[..cut], &bytes[cut..]] {
                frames.feed(part, |opcode, payload| seen.push((opcode, payload.len())));
            }
            assert_eq!(seen, [(TEXT, 4), (TEXT, 200)], "cut at {cut}");
        }
    }

    #[test]
    fn client_frames_are_masked() {
        let mut out = Vec::new();
        write_frame(&mut out, TEXT, b"ping");
        assert_eq!(out, b"\x81\x84\0\0\0\0ping");
    }
}
