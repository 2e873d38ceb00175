//! What a plain client says `[PLAIN-1]`.

use crate::frame::{FrameError, Message};

const LOST_SUBPROTOCOL: FrameError = FrameError::new(
    "PLAIN-4",
    "this is plain mode: offer the subprotocol heartwire.v1 to say hello",
);

/// What to do with a message.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Said<'a> {
    /// Answer `pong` `[PLAIN-2]`.
    Ping,
    /// Publish it.
    Message(Message<'a>),
}

/// Reads a message; `is_first` says whether it is the first of its connection.
///
/// ```
/// use heartwire_proto::frame::Message;
/// use heartwire_proto::server::plain::{Said, read};
///
/// assert_eq!(read(Message::Text("ping\r\n"), true), Ok(Said::Ping));
/// let said = Message::Text("I am here");
/// assert_eq!(read(said, true), Ok(Said::Message(said)));
/// ```
pub fn read(message: Message<'_>, is_first: bool) -> Result<Said<'_>, FrameError> {
    match message {
        Message::Text("ping" | "ping\n" | "ping\r\n") => Ok(Said::Ping),
        Message::Text(text)
            if is_first && (text.starts_with("hello\n") || text.starts_with("hello {")) =>
        {
            Err(LOST_SUBPROTOCOL)
        }
        message => Ok(Said::Message(message)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_text_ping_is_a_ping() {
        for text in ["ping ", " ping", "PING", "ping\n\n", "pinge", ""] {
            let said = Message::Text(text);
            assert_eq!(read(said, false), Ok(Said::Message(said)), "{text:?}");
        }
        let binary = Message::Binary(b"ping");
        assert_eq!(read(binary, true), Ok(Said::Message(binary)));
    }

    #[test]
    fn who_lost_the_subprotocol_is_told_before_its_secrets_are_published() {
        for text in ["hello {\"client\":1}", "hello\n{}"] {
            assert!(read(Message::Text(text), true).is_err());
            assert!(
                read(Message::Text(text), false).is_ok(),
                "a chat may say so"
            );
        }
        assert!(read(Message::Text("hello world"), true).is_ok());
    }
}
