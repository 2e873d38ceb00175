//! What happened in a run, line by line, for people and for comparing two runs.

use std::fmt::{self, Write as _};

/// The trace of a run. It costs nothing where nobody wants it.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    text: Option<String>,
}

impl Trace {
    pub(crate) const fn kept() -> Self {
        Self {
            text: Some(String::new()),
        }
    }

    pub(crate) const fn is_kept(&self) -> bool {
        self.text.is_some()
    }

    pub(crate) fn line(&mut self, now_ms: u64, what: fmt::Arguments<'_>) {
        if let Some(text) = &mut self.text {
            let (seconds, millis) = (now_ms / 1_000, now_ms % 1_000);
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{seconds:5}.{millis:03}  {what}");
        }
    }

    pub(crate) fn into_text(self) -> String {
        self.text.unwrap_or_default()
    }
}

/// Adds a line to a world's trace, if it is kept.
macro_rules! note {
    ($world:expr, $($what:tt)*) => {
        if $world.trace.is_kept() {
            $world.trace.line($world.now, format_args!($($what)*));
        }
    };
}

pub(crate) use note;
