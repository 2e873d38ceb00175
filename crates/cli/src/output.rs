//! Standard output and standard error: whole lines, on their way at once.

use std::fmt;
use std::io::{self, Write};

use crate::failure::Failure;

/// Writes one line and flushes it, so that whoever reads a pipe sees it when it happens.
///
/// Blocks while the reader is slow; only the command's own future waits for that.
pub(crate) fn line(text: impl fmt::Display) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{text}")
        .and_then(|()| stdout.flush())
        .map_err(Failure::output)
}

/// Writes one line that may not be text, from its parts.
pub(crate) fn bytes_line(parts: &[&[u8]]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    parts
        .iter()
        .chain([&b"\n".as_slice()])
        .try_for_each(|part| stdout.write_all(part))
        .and_then(|()| stdout.flush())
        .map_err(Failure::output)
}

/// Waits until nobody reads standard output any more, as after `| head -1`; for ever, where the
/// system does not tell. Without this, whoever follows a quiet topic would learn of it with the
/// next message only.
#[cfg(unix)]
pub(crate) async fn closed() {
    use std::os::fd::AsFd;
    use tokio::io::Interest;
    use tokio::net::unix::pipe::Sender;

    // "Unchecked" leaves the pipe as it is: writing to it is to go on blocking. What is no pipe
    // and cannot be watched, such as a file, is refused here.
    let watched = io::stdout()
        .as_fd()
        .try_clone_to_owned()
        .and_then(Sender::from_owned_fd_unchecked);
    match watched {
        Ok(pipe) if pipe.ready(Interest::ERROR).await.is_ok() => {}
        _ => std::future::pending().await,
    }
}

/// Windows does not tell.
#[cfg(not(unix))]
pub(crate) async fn closed() {
    std::future::pending().await
}

/// Writes one line to standard error; if nobody can read it, there is nobody to tell.
pub(crate) fn note(text: impl fmt::Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}
