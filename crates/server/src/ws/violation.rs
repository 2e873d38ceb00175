//! What a peer can do wrong below the messages, and the close code each earns.

use heartwire_proto::{Close, CloseCode};

/// A breach of RFC 6455, or of the size limits, that ends the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum Violation {
    #[error("a client must mask its frames")]
    Unmasked,
    #[error("a reserved bit is set though no extension was agreed")]
    ReservedBits,
    #[error("the opcode is reserved")]
    ReservedOpcode,
    #[error("a control frame holds at most 125 bytes")]
    ControlTooLong,
    #[error("a control frame must not be fragmented")]
    ControlFragmented,
    #[error("the frame's length is not a 63-bit number in its shortest form")]
    Length,
    #[error("a continuation without a message to continue")]
    NothingToContinue,
    #[error("a new message inside an unfinished one")]
    MessageUnfinished,
    #[error("a close frame's payload is empty or at least two bytes")]
    ClosePayload,
    #[error("the close code is not one that a peer may send")]
    CloseCode,
    #[error("a text is not UTF-8")]
    InvalidText,
    #[error("the message is larger than the server reads")]
    TooLarge,
}

impl Violation {
    /// The close code that RFC 6455 section 7.4.1 gives it.
    pub(crate) const fn code(self) -> CloseCode {
        match self {
            Self::InvalidText => CloseCode::INVALID_TEXT,
            Self::TooLarge => CloseCode::TOO_LARGE,
            _ => CloseCode::WEBSOCKET_PROTOCOL,
        }
    }
}

impl From<Violation> for Close {
    fn from(violation: Violation) -> Self {
        Self::new(violation.code(), violation.to_string())
    }
}
