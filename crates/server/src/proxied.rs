//! Where a connection comes from that a proxy passes on, by the PROXY protocol, versions 1 and 2.
//!
//! Its specification forbids to guess whether a connection begins with it: it is asked for, and
//! then whoever does not speak it is not served.

use std::io;
use std::net::SocketAddr;

use proxy_header::{ParseConfig, ProxyHeader};
use tokio::io::{AsyncRead, AsyncReadExt as _};

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// The longest line of version 1, in bytes.
const LINE_BYTES_MAX: usize = 107;
/// The most that a header of version 2 may hold behind its first 16 bytes: addresses, and what some
/// clouds add.
const REST_BYTES_MAX: usize = 2_048;

/// Reads the header and not a byte more. Nothing is known of who a proxy itself is that asks whether
/// the server lives.
pub(crate) async fn source(
    stream: &mut (impl AsyncRead + Unpin),
) -> io::Result<Option<SocketAddr>> {
    let mut header = vec![0; SIGNATURE.len()];
    stream.read_exact(&mut header).await?;
    if header == SIGNATURE {
        read_rest(stream, &mut header).await?;
    } else {
        read_line(stream, &mut header).await?;
    }
    let parsed = ProxyHeader::parse(&header, ParseConfig::default());
    let (header, _) = parsed.map_err(|_| wrong("the PROXY header makes no sense"))?;
    Ok(header.proxied_address().map(|address| address.source))
}

async fn read_rest(stream: &mut (impl AsyncRead + Unpin), header: &mut Vec<u8>) -> io::Result<()> {
    let mut fixed = [0; 4];
    stream.read_exact(&mut fixed).await?;
    header.extend_from_slice(&fixed);
    let length = usize::from(u16::from_be_bytes([fixed[2], fixed[3]]));
    if length > REST_BYTES_MAX {
        return Err(wrong("the PROXY header is too long"));
    }
    let start = header.len();
    header.resize(start + length, 0);
    stream.read_exact(&mut header[start..]).await?;
    Ok(())
}

async fn read_line(stream: &mut (impl AsyncRead + Unpin), header: &mut Vec<u8>) -> io::Result<()> {
    if !header.starts_with(b"PROXY ") {
        return Err(wrong("a PROXY header is missing"));
    }
    while !header.ends_with(b"\r\n") {
        if header.len() >= LINE_BYTES_MAX {
            return Err(wrong("the PROXY header is too long"));
        }
        header.push(stream.read_u8().await?);
    }
    Ok(())
}

fn wrong(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The source, and what is left behind the header.
    async fn read(bytes: &[u8]) -> Result<(Option<SocketAddr>, Vec<u8>), String> {
        let mut rest = bytes;
        let source = source(&mut rest).await.map_err(|error| error.to_string())?;
        Ok((source, rest.to_vec()))
    }

    fn v2(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
        let length = (addresses.len() as u16).to_be_bytes();
        [
            &SIGNATURE[..],
            &[command, family],
            &length,
            addresses,
            b"GET",
        ]
        .concat()
    }

    #[tokio::test]
    async fn both_versions_name_the_source_and_leave_the_rest() {
        let expected = |source: &str| Ok((source.parse().ok(), b"GET".to_vec()));
        let line = b"PROXY TCP4 192.0.2.7 127.0.0.1 50000 80\r\nGET";
        assert_eq!(read(line).await, expected("192.0.2.7:50000"));
        let line = b"PROXY TCP6 2001:db8::7 ::1 50000 80\r\nGET";
        assert_eq!(read(line).await, expected("[2001:db8::7]:50000"));
        assert_eq!(
            read(b"PROXY UNKNOWN\r\nGET").await,
            Ok((None, b"GET".to_vec()))
        );
        let addresses = [192, 0, 2, 7, 127, 0, 0, 1, 0xC3, 0x50, 0, 80];
        assert_eq!(
            read(&v2(0x21, 0x11, &addresses)).await,
            expected("192.0.2.7:50000")
        );
        assert_eq!(
            read(&v2(0x20, 0x00, &[])).await,
            Ok((None, b"GET".to_vec()))
        );
    }

    #[tokio::test]
    async fn anything_else_is_an_error_without_end() {
        let long = [&b"PROXY TCP4 "[..], &[b'1'; 200]].concat();
        let huge = [&SIGNATURE[..], &[0x21, 0x11, 0xFF, 0xFF], &[0; 70_000]].concat();
        for wrong in [
            &b"GET / HTTP/1.1\r\n\r\n"[..],
            b"PROXY TCP4 nonsense\r\n",
            b"PROXY ",
            b"",
            &long,
            &huge,
            &v2(0x21, 0x11, &[1, 2, 3]),
            &v2(0x31, 0x11, &[0; 12]),
        ] {
            assert!(read(wrong).await.is_err(), "{wrong:?}");
        }
    }
}
