//! Lines from standard input, none longer than allowed.

use std::io;

use tokio::io::{AsyncBufRead, AsyncBufReadExt, BufReader, Stdin};

/// Why there is no next line.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LineError {
    /// The line goes on beyond the bound; what follows it is not read.
    #[error("a line is longer than {line_bytes_max} bytes")]
    TooLong { line_bytes_max: usize },
    /// The line is no text.
    #[error("a line is not UTF-8")]
    NotText,
    /// The input itself has failed.
    #[error("cannot be read: {0}")]
    Input(#[from] io::Error),
}

/// Reads lines; a call that is dropped half way loses nothing.
#[derive(Debug)]
pub(crate) struct Lines<R> {
    input: R,
    line_bytes_max: usize,
    begun: Vec<u8>,
}

impl Lines<BufReader<Stdin>> {
    /// The lines of standard input.
    pub(crate) fn of_stdin(line_bytes_max: usize) -> Self {
        Self::new(BufReader::new(tokio::io::stdin()), line_bytes_max)
    }
}

impl<R: AsyncBufRead + Unpin> Lines<R> {
    pub(crate) const fn new(input: R, line_bytes_max: usize) -> Self {
        Self {
            input,
            line_bytes_max,
            begun: Vec::new(),
        }
    }

    /// The next line without its LF or CRLF; `None` at the end. A last line needs no LF.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<u8>>, LineError> {
        loop {
            let available = self.input.fill_buf().await?;
            if available.is_empty() {
                let last = std::mem::take(&mut self.begun);
                return Ok(Some(last).filter(|line| !line.is_empty()));
            }
            let line_end = available.iter().position(|byte| *byte == b'\n');
            let taken = line_end.map_or(available.len(), |end| end + 1);
            self.begun.extend_from_slice(&available[..taken]);
            self.input.consume(taken);
            let complete = line_end.is_some();
            if complete {
                trim_line_end(&mut self.begun);
            }
            if self.begun.len() > self.line_bytes_max {
                return Err(LineError::TooLong {
                    line_bytes_max: self.line_bytes_max,
                });
            }
            if complete {
                return Ok(Some(std::mem::take(&mut self.begun)));
            }
        }
    }

    /// The next line, which must be UTF-8.
    pub(crate) async fn next_text(&mut self) -> Result<Option<String>, LineError> {
        let line = self.next().await?;
        line.map(String::from_utf8)
            .transpose()
            .map_err(|_| LineError::NotText)
    }
}

fn trim_line_end(line: &mut Vec<u8>) {
    for end in [b'\n', b'\r'] {
        if line.last() == Some(&end) {
            line.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn lines_of(input: &[u8], line_bytes_max: usize) -> Result<Vec<String>, LineError> {
        let mut lines = Lines::new(input, line_bytes_max);
        let mut all = Vec::new();
        while let Some(line) = lines.next().await? {
            all.push(String::from_utf8_lossy(&line).into_owned());
        }
        Ok(all)
    }

    #[tokio::test]
    async fn lines_end_with_lf_crlf_or_the_input() {
        let lines = lines_of(b"one\ntwo\r\n\nlast", 8)
            .await
            .expect("short lines");
        assert_eq!(lines, ["one", "two", "", "last"]);
    }

    #[tokio::test]
    async fn a_line_of_the_greatest_length_passes_and_a_longer_one_is_refused() {
        assert_eq!(lines_of(b"1234\n", 4).await.expect("fits"), ["1234"]);
        let error = lines_of(b"12345\n", 4).await.expect_err("too long");
        assert_eq!(error.to_string(), "a line is longer than 4 bytes");
    }

    #[tokio::test]
    async fn a_line_that_is_no_text_is_refused_where_text_is_wanted() {
        let mut lines = Lines::new(b"caf\xc3\xa9\n\xff\n".as_slice(), 8);
        assert_eq!(lines.next_text().await.expect("text"), Some("café".into()));
        assert!(matches!(lines.next_text().await, Err(LineError::NotText)));
    }

    #[tokio::test]
    async fn input_without_end_is_not_collected() {
        let endless = BufReader::new(tokio::io::repeat(b'x'));
        let mut lines = Lines::new(endless, 1_000);
        assert!(matches!(lines.next().await, Err(LineError::TooLong { .. })));
    }
}
