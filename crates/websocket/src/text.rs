//! UTF-8, checked while a text message is still arriving.

use super::violation::Violation;

/// How far a growing text has been found to be UTF-8.
///
/// A text that goes wrong is refused at the first bad byte, not at its end `[WS-1]`; a character
/// that is cut in two by a frame's end is waited for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct TextCheck {
    /// Everything before this place is whole, valid characters.
    valid_up_to: usize,
}

impl TextCheck {
    pub(super) const fn new() -> Self {
        Self { valid_up_to: 0 }
    }

    /// Looks at what was added to `text` since the last call.
    pub(super) fn advance(&mut self, text: &[u8]) -> Result<(), Violation> {
        match simdutf8::compat::from_utf8(&text[self.valid_up_to..]) {
            Ok(_) => self.valid_up_to = text.len(),
            Err(error) if error.error_len().is_none() => self.valid_up_to += error.valid_up_to(),
            Err(_) => return Err(Violation::InvalidText),
        }
        Ok(())
    }
}

/// The whole text of a message whose last byte is here.
pub(super) fn whole_text(bytes: &[u8]) -> Result<&str, Violation> {
    simdutf8::basic::from_utf8(bytes).map_err(|_| Violation::InvalidText)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_may_be_cut_anywhere() {
        let text = "aé漢🙂z".as_bytes();
        for cut in 0..=text.len() {
            let mut check = TextCheck::new();
            assert_eq!(check.advance(&text[..cut]), Ok(()), "cut at {cut}");
            assert_eq!(check.advance(text), Ok(()), "cut at {cut}");
            assert_eq!(check.valid_up_to, text.len());
        }
    }

    #[test]
    fn a_bad_byte_is_refused_before_the_end() {
        // A surrogate and a value above U+10FFFF are wrong from their second byte on.
        for bad in [
            &b"ok\xed\xa0"[..],
            b"\xf4\x90",
            b"\xff",
            b"\xc0\x80",
            b"a\x80",
        ] {
            let refused = TextCheck::new().advance(bad);
            assert_eq!(refused, Err(Violation::InvalidText), "{bad:02x?}");
        }
    }
}
