//! What `connect` shows: on a terminal messages scroll above a line that holds the link's state and
//! what is being typed; otherwise messages go to standard output and all else to standard error.

use std::fmt;
use std::io::{self, IsTerminal, Write};

use crossterm::cursor::MoveToColumn;
use crossterm::event::{Event, KeyEventKind};
use crossterm::queue;
use crossterm::terminal::{self, Clear, ClearType};
use unicode_width::UnicodeWidthStr;

use super::editor::{Asked, Editor};
use super::status_line::{Health, StatusLine};
use crate::failure::Failure;
use crate::output;
use crate::style::Style;

/// Columns that typing needs at least; a narrower terminal does without the words of the state.
const TYPING_COLUMNS_MIN: usize = 20;

/// Where the user looks.
pub(super) enum Screen {
    Terminal(Terminal),
    Pipe,
}

impl Screen {
    /// A terminal, when both typing and looking happen on one.
    pub(super) fn open() -> Result<Self, Failure> {
        if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
            return Ok(Self::Pipe);
        }
        terminal::enable_raw_mode()
            .map_err(|error| Failure::failed("cannot prepare the terminal", error))?;
        Ok(Self::Terminal(Terminal {
            style: Style::of(&io::stdout()),
            status: StatusLine::default(),
            editor: Editor::default(),
        }))
    }

    pub(super) const fn is_terminal(&self) -> bool {
        matches!(self, Self::Terminal(_))
    }

    /// How messages are coloured.
    pub(super) fn style(&self) -> Style {
        Style::of(&io::stdout())
    }

    /// Something that was received.
    pub(super) fn message(&self, text: impl fmt::Display) -> Result<(), Failure> {
        match self {
            Self::Terminal(terminal) => terminal.above(text).map_err(Failure::output),
            Self::Pipe => output::line(text),
        }
    }

    /// Something about the link, or an answer to a command.
    pub(super) fn note(&self, text: &str) -> Result<(), Failure> {
        match self {
            Self::Terminal(terminal) => text
                .lines()
                .try_for_each(|line| terminal.above(terminal.style.dim(line)))
                .map_err(Failure::output),
            Self::Pipe => {
                output::note(text);
                Ok(())
            }
        }
    }

    /// Shows the link's state.
    pub(super) fn show(&mut self, status: StatusLine) -> Result<(), Failure> {
        match self {
            Self::Terminal(terminal) if terminal.status != status => {
                terminal.status = status;
                terminal.draw_bottom().map_err(Failure::output)
            }
            _ => Ok(()),
        }
    }

    /// A key, or another size.
    pub(super) fn event(&mut self, event: &Event) -> Result<Option<Asked>, Failure> {
        let Self::Terminal(terminal) = self else {
            return Ok(None);
        };
        let asked = match event {
            Event::Key(key) if key.kind != KeyEventKind::Release => terminal.editor.key(*key),
            _ => None,
        };
        terminal.draw_bottom().map_err(Failure::output)?;
        Ok(asked)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if self.is_terminal() {
            let _ = queue!(
                io::stdout(),
                MoveToColumn(0),
                Clear(ClearType::FromCursorDown)
            );
            let _ = io::stdout().flush();
            let _ = terminal::disable_raw_mode();
        }
    }
}

/// A terminal in raw mode.
pub(super) struct Terminal {
    style: Style,
    status: StatusLine,
    editor: Editor,
}

impl Terminal {
    /// Writes a line where the bottom line was, which moves down.
    fn above(&self, text: impl fmt::Display) -> io::Result<()> {
        let mut out = io::stdout().lock();
        queue!(out, MoveToColumn(0), Clear(ClearType::FromCursorDown))?;
        // In raw mode a line feed moves down, and not back to the first column.
        write!(out, "{text}\r\n")?;
        drop(out);
        self.draw_bottom()
    }

    fn draw_bottom(&self) -> io::Result<()> {
        let columns = columns();
        let mark = self.status.health.mark();
        let mut prefix = format!("{mark} {} › ", self.status.text);
        if columns < prefix.width() + TYPING_COLUMNS_MIN {
            prefix = format!("{mark} › ");
        }
        let (typed, cursor) = self.editor.visible(columns.saturating_sub(prefix.width()));
        let column = u16::try_from(prefix.width() + cursor).unwrap_or(u16::MAX);
        let prefix = match self.status.health {
            Health::Good => self.style.green(prefix),
            Health::Waiting => self.style.yellow(prefix),
            Health::Over => self.style.red(prefix),
        };
        let mut out = io::stdout().lock();
        queue!(out, MoveToColumn(0), Clear(ClearType::FromCursorDown))?;
        write!(out, "{prefix}{typed}")?;
        queue!(out, MoveToColumn(column))?;
        out.flush()
    }
}

/// The terminal's width. Some terminals do not know it and say 0.
fn columns() -> usize {
    match terminal::size() {
        Ok((columns @ 1.., _)) => usize::from(columns),
        _ => 80,
    }
}
