//! What comes from the user: keys on a terminal, lines otherwise.

use std::io;
use std::thread;

use crossterm::event::{self, Event};
use tokio::io::{BufReader, Stdin};
use tokio::sync::mpsc;

use crate::failure::Failure;
use crate::lines::Lines;

/// Keys that wait while something is being printed; a paste blocks its reader, not this program.
const KEYS_MAX: usize = 1_024;

/// The longest line of a pipe, in bytes: no server takes a larger message.
const LINE_BYTES_MAX: usize = 64 << 20;

/// Where it comes from.
pub(super) enum Input {
    Terminal(mpsc::Receiver<io::Result<Event>>),
    Pipe(Lines<BufReader<Stdin>>),
    /// A pipe that has ended.
    Dry,
}

/// What has come.
pub(super) enum Came {
    /// A key, or a change of the terminal's size.
    Event(Event),
    /// A line of a pipe.
    Line(String),
}

impl Input {
    /// Keys of a terminal in raw mode, or lines of standard input.
    pub(super) fn open(is_terminal: bool) -> Self {
        if !is_terminal {
            return Self::Pipe(Lines::of_stdin(LINE_BYTES_MAX));
        }
        let (sender, events) = mpsc::channel(KEYS_MAX);
        // Reading keys blocks and cannot be cancelled; the thread ends with the process.
        thread::spawn(move || {
            loop {
                let event = event::read();
                let failed = event.is_err();
                if sender.blocking_send(event).is_err() || failed {
                    return;
                }
            }
        });
        Self::Terminal(events)
    }

    /// Waits for the user; for ever, once there is nothing more to come. Cancelling it loses
    /// nothing.
    pub(super) async fn next(&mut self) -> Result<Came, Failure> {
        loop {
            match self {
                Self::Terminal(events) => {
                    let event = events.recv().await.unwrap_or_else(|| {
                        Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it is gone"))
                    });
                    return event
                        .map(Came::Event)
                        .map_err(|error| Failure::failed("cannot read the terminal", error));
                }
                Self::Pipe(lines) => match next_line(lines).await? {
                    Some(line) => return Ok(Came::Line(line)),
                    None => *self = Self::Dry,
                },
                Self::Dry => std::future::pending().await,
            }
        }
    }
}

async fn next_line(lines: &mut Lines<BufReader<Stdin>>) -> Result<Option<String>, Failure> {
    let line = lines.next_text().await;
    line.map_err(|error| Failure::failed("standard input", error))
}
