//! What a peer can do wrong below the messages, and the close code each earns.

use heartwire_proto::{Close, CloseCode};

/// A breach of RFC 6455, or of the size limits, that ends the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Violation {
    /// A client must mask its frames.
    #[error("a client must mask its frames")]
    Unmasked,
    /// A reserved bit is set though no extension was agreed.
    #[error("a reserved bit is set though no extension was agreed")]
    ReservedBits,
    /// The opcode is reserved.
    #[error("the opcode is reserved")]
    ReservedOpcode,
    /// A control frame holds at most 125 bytes.
    #[error("a control frame holds at most 125 bytes")]
    ControlTooLong,
    /// A control frame must not be fragmented.
    #[error("a control frame must not be fragmented")]
    ControlFragmented,
    /// The frame's length is not a 63-bit number in its shortest form.
    #[error("the frame's length is not a 63-bit number in its shortest form")]
    Length,
    /// A continuation without a message to continue.
    #[error("a continuation without a message to continue")]
    NothingToContinue,
    /// A new message inside an unfinished one.
    #[error("a new message inside an unfinished one")]
    MessageUnfinished,
    /// A close frame's payload is empty or at least two bytes.
    #[error("a close frame's payload is empty or at least two bytes")]
    ClosePayload,
    /// The close code is not one that a peer may send.
    #[error("the close code is not one that a peer may send")]
    CloseCode,
    /// A text is not UTF-8.
    #[error("a text is not UTF-8")]
    InvalidText,
    /// The message is larger than the server reads.
    #[error("the message is larger than the server reads")]
    TooLarge,
}

impl Violation {
    /// The close code that RFC 6455 section 7.4.1 gives it.
    pub const fn code(self) -> CloseCode {
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
