//! A line that is being typed: pure, without a terminal.

use std::collections::VecDeque;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use unicode_width::UnicodeWidthChar;

/// How many lines the arrow keys bring back.
const HISTORY_LINES_MAX: usize = 100;
/// The longest line that can be typed or pasted, in characters.
const LINE_CHARS_MAX: usize = 16 * 1024;

/// What a key asks for beyond editing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Asked {
    /// The line is complete.
    Line(String),
    /// Ctrl-C, or Ctrl-D on an empty line.
    Quit,
}

/// The line, the cursor in it, and the lines before it.
#[derive(Clone, Debug, Default)]
pub(super) struct Editor {
    text: Vec<char>,
    /// Characters before the cursor.
    cursor: usize,
    history: VecDeque<String>,
    /// Which line of the history is shown, counted from the latest; `None` shows a new line.
    recalled: Option<usize>,
    /// The new line, while one of the history is shown.
    put_aside: Vec<char>,
}

impl Editor {
    /// Handles one key press.
    pub(super) fn key(&mut self, key: KeyEvent) -> Option<Asked> {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return self.control_key(key.code);
        }
        match key.code {
            KeyCode::Enter => return self.complete(),
            KeyCode::Char(character) if !key.modifiers.contains(KeyModifiers::ALT) => {
                self.insert(character);
            }
            KeyCode::Backspace if self.cursor > 0 => {
                self.cursor -= 1;
                self.text.remove(self.cursor);
            }
            KeyCode::Delete if self.cursor < self.text.len() => {
                self.text.remove(self.cursor);
            }
            KeyCode::Left => self.cursor = self.cursor.saturating_sub(1),
            KeyCode::Right => self.cursor = (self.cursor + 1).min(self.text.len()),
            KeyCode::Home => self.cursor = 0,
            KeyCode::End => self.cursor = self.text.len(),
            KeyCode::Up => self.recall_older(),
            KeyCode::Down => self.recall_newer(),
            _ => {}
        }
        None
    }

    fn control_key(&mut self, code: KeyCode) -> Option<Asked> {
        match code {
            KeyCode::Char('c') => return Some(Asked::Quit),
            KeyCode::Char('d') if self.text.is_empty() => return Some(Asked::Quit),
            KeyCode::Char('a') => self.cursor = 0,
            KeyCode::Char('e') => self.cursor = self.text.len(),
            KeyCode::Char('u') => {
                self.text.drain(..self.cursor);
                self.cursor = 0;
            }
            KeyCode::Char('k') => self.text.truncate(self.cursor),
            KeyCode::Char('w') => self.remove_word(),
            _ => {}
        }
        None
    }

    fn insert(&mut self, character: char) {
        if self.text.len() < LINE_CHARS_MAX && !character.is_control() {
            self.text.insert(self.cursor, character);
            self.cursor += 1;
        }
    }

    fn remove_word(&mut self) {
        let before = &self.text[..self.cursor];
        let word_ends = before.iter().rposition(|c| !c.is_whitespace());
        let gap = word_ends.and_then(|end| before[..end].iter().rposition(|c| c.is_whitespace()));
        let start = gap.map_or(0, |gap| gap + 1);
        self.text.drain(start..self.cursor);
        self.cursor = start;
    }

    fn complete(&mut self) -> Option<Asked> {
        let line: String = std::mem::take(&mut self.text).into_iter().collect();
        self.cursor = 0;
        self.recalled = None;
        self.put_aside.clear();
        if line.is_empty() {
            return None;
        }
        if self.history.front() != Some(&line) {
            self.history.push_front(line.clone());
            self.history.truncate(HISTORY_LINES_MAX);
        }
        Some(Asked::Line(line))
    }

    fn recall_older(&mut self) {
        let older = self.recalled.map_or(0, |shown| shown + 1);
        let Some(line) = self.history.get(older) else {
            return;
        };
        if self.recalled.is_none() {
            self.put_aside = std::mem::take(&mut self.text);
        }
        self.text = line.chars().collect();
        self.cursor = self.text.len();
        self.recalled = Some(older);
    }

    fn recall_newer(&mut self) {
        let Some(shown) = self.recalled else { return };
        self.recalled = shown.checked_sub(1);
        self.text = match self.recalled {
            Some(newer) => self.history[newer].chars().collect(),
            None => std::mem::take(&mut self.put_aside),
        };
        self.cursor = self.text.len();
    }

    /// The part of the line around the cursor that fits into `columns`, and the column of the
    /// cursor in it.
    pub(super) fn visible(&self, columns: usize) -> (String, usize) {
        let width = |character: &char| character.width().unwrap_or(0);
        // The cursor itself takes a column behind the last character.
        let columns_before_max = columns.saturating_sub(1);
        let mut columns_before = 0;
        let mut start = self.cursor;
        while start > 0 && columns_before + width(&self.text[start - 1]) <= columns_before_max {
            start -= 1;
            columns_before += width(&self.text[start]);
        }
        let mut columns_shown = 0;
        let shown = self.text[start..].iter().take_while(|character| {
            columns_shown += width(character);
            columns_shown <= columns
        });
        (shown.collect(), columns_before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn press(editor: &mut Editor, code: KeyCode) -> Option<Asked> {
        editor.key(KeyEvent::new(code, KeyModifiers::NONE))
    }

    fn control(editor: &mut Editor, character: char) -> Option<Asked> {
        editor.key(KeyEvent::new(
            KeyCode::Char(character),
            KeyModifiers::CONTROL,
        ))
    }

    fn type_text(editor: &mut Editor, text: &str) {
        for character in text.chars() {
            assert_eq!(press(editor, KeyCode::Char(character)), None);
        }
    }

    fn enter(editor: &mut Editor, text: &str) {
        type_text(editor, text);
        assert_eq!(
            press(editor, KeyCode::Enter),
            Some(Asked::Line(text.into()))
        );
    }

    fn shown(editor: &Editor) -> String {
        editor.visible(80).0
    }

    #[test]
    fn what_is_typed_and_corrected_becomes_a_line() {
        let mut editor = Editor::default();
        type_text(&mut editor, "hllo");
        press(&mut editor, KeyCode::Home);
        press(&mut editor, KeyCode::Right);
        type_text(&mut editor, "e");
        press(&mut editor, KeyCode::End);
        type_text(&mut editor, "!?");
        press(&mut editor, KeyCode::Backspace);
        assert_eq!(
            press(&mut editor, KeyCode::Enter),
            Some(Asked::Line("hello!".into()))
        );
        assert_eq!(
            press(&mut editor, KeyCode::Enter),
            None,
            "an empty line is none"
        );
    }

    #[test]
    fn the_usual_control_keys_work() {
        let mut editor = Editor::default();
        type_text(&mut editor, "one two  three ");
        control(&mut editor, 'w');
        assert_eq!(shown(&editor), "one two  ");
        control(&mut editor, 'w');
        assert_eq!(shown(&editor), "one ");
        control(&mut editor, 'a');
        control(&mut editor, 'k');
        assert_eq!(shown(&editor), "");
        type_text(&mut editor, "xyz");
        assert_eq!(control(&mut editor, 'd'), None, "only an empty line ends");
        control(&mut editor, 'u');
        assert_eq!(control(&mut editor, 'd'), Some(Asked::Quit));
        assert_eq!(control(&mut editor, 'c'), Some(Asked::Quit));
    }

    #[test]
    fn arrows_bring_earlier_lines_back_and_the_new_one_again() {
        let mut editor = Editor::default();
        enter(&mut editor, "first");
        enter(&mut editor, "second");
        type_text(&mut editor, "new");
        for (key, line) in [
            (KeyCode::Up, "second"),
            (KeyCode::Up, "first"),
            (KeyCode::Up, "first"),
            (KeyCode::Down, "second"),
            (KeyCode::Down, "new"),
            (KeyCode::Down, "new"),
        ] {
            press(&mut editor, key);
            assert_eq!(shown(&editor), line);
        }
    }

    #[test]
    fn a_long_line_shows_the_part_around_the_cursor() {
        let mut editor = Editor::default();
        type_text(&mut editor, "0123456789");
        assert_eq!(editor.visible(5), ("6789".into(), 4));
        press(&mut editor, KeyCode::Home);
        assert_eq!(editor.visible(5), ("01234".into(), 0));
    }

    #[test]
    fn wide_characters_take_two_columns() {
        let mut editor = Editor::default();
        type_text(&mut editor, "心跳重连");
        assert_eq!(editor.visible(80), ("心跳重连".into(), 8));
        assert_eq!(editor.visible(6), ("重连".into(), 4));
    }
}
