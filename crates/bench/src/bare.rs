//! The bare peers: what tokio's TCP sockets do without frames, topics or a heartbeat.
//!
//! They are the floor that the server is measured above, and run in a process of their own.

use std::io::{self, Write as _};

use anyhow::Result;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What one read may bring.
const BUFFER_BYTES: usize = 64 * 1_024;

/// Returns what it reads, on any number of connections.
#[tokio::main]
pub(crate) async fn echo() -> Result<()> {
    let listener = listen().await?;
    loop {
        let (mut stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            let mut buffer = vec![0; BUFFER_BYTES];
            while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                if stream.write_all(&buffer[..length]).await.is_err() {
                    break;
                }
            }
        });
    }
}

/// Writes what its first connection sends to all the others, one after the other.
#[tokio::main]
pub(crate) async fn fanout() -> Result<()> {
    let listener = listen().await?;
    let (mut publisher, _) = listener.accept().await?;
    let mut followers = Vec::new();
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        tokio::select! {
            // Whoever dialled before the publisher wrote is served with what it wrote.
            biased;
            accepted = listener.accept() => {
                let (stream, _) = accepted?;
                stream.set_nodelay(true)?;
                followers.push(stream);
            }
            read = publisher.read(&mut buffer) => match read {
                Ok(length @ 1..) => write_to_all(&mut followers, &buffer[..length]).await?,
                _ => return Ok(()),
            },
        }
    }
}

async fn write_to_all(followers: &mut [TcpStream], bytes: &[u8]) -> io::Result<()> {
    for follower in followers {
        follower.write_all(bytes).await?;
    }
    Ok(())
}

/// Listens on a port of the system's choice and names it as the server does.
async fn listen() -> Result<TcpListener> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!(
        "bare peer listening on http://{} ()",
        listener.local_addr()?
    );
    io::stdout().flush()?;
    Ok(listener)
}
