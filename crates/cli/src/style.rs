//! Colours, and text that a terminal may be trusted with.

use std::borrow::Cow;
use std::fmt;
use std::io::IsTerminal;

/// Whether to colour.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Style {
    on: bool,
}

impl Style {
    /// Colours for a terminal whose user has not refused them by `NO_COLOR`.
    pub(crate) fn of(stream: &impl IsTerminal) -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            on: stream.is_terminal() && !refused,
        }
    }

    /// Less important.
    pub(crate) const fn dim<T>(self, text: T) -> Styled<T> {
        self.with("2", text)
    }

    /// All is well.
    pub(crate) const fn green<T>(self, text: T) -> Styled<T> {
        self.with("32", text)
    }

    /// Not well, but being worked on.
    pub(crate) const fn yellow<T>(self, text: T) -> Styled<T> {
        self.with("33", text)
    }

    /// Not well.
    pub(crate) const fn red<T>(self, text: T) -> Styled<T> {
        self.with("31", text)
    }

    /// A name.
    pub(crate) const fn cyan<T>(self, text: T) -> Styled<T> {
        self.with("36", text)
    }

    const fn with<T>(self, code: &'static str, text: T) -> Styled<T> {
        let code = if self.on { Some(code) } else { None };
        Styled { code, text }
    }
}

/// A text between two escape sequences, or alone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Styled<T> {
    code: Option<&'static str>,
    text: T,
}

impl<T: fmt::Display> fmt::Display for Styled<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code {
            Some(code) => write!(f, "\x1b[{code}m{}\x1b[0m", self.text),
            None => fmt::Display::fmt(&self.text, f),
        }
    }
}

/// The text with its control characters made visible, so that what somebody else wrote can neither
/// move the cursor nor forge lines. Tabs stay.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    let harmless = |character: char| !character.is_control() || character == '\t';
    if text.chars().all(harmless) {
        return Cow::Borrowed(text);
    }
    let visible = text.chars().map(|character| match character {
        character if harmless(character) => character,
        '\x00'..='\x1f' => char::from_u32(0x2400 + u32::from(character)).unwrap_or('\u{fffd}'),
        '\x7f' => '\u{2421}',
        _ => '\u{fffd}',
    });
    Cow::Owned(visible.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_become_pictures() {
        assert_eq!(printable("50 %\tdone ♥"), "50 %\tdone ♥");
        assert_eq!(printable("\x1b[2J\nfake"), "␛[2J␊fake");
        assert_eq!(printable("a\x7fb\u{9b}c"), "a␡b\u{fffd}c");
    }

    #[test]
    fn a_style_that_is_off_adds_nothing() {
        let (on, off) = (Style { on: true }, Style { on: false });
        assert_eq!(off.red("x").to_string(), "x");
        assert_eq!(on.red("x").to_string(), "\x1b[31mx\x1b[0m");
    }
}
