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

/// Writes one line to standard error; if nobody can read it, there is nobody to tell.
pub(crate) fn note(text: impl fmt::Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}
