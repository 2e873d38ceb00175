//! An open WebSocket, and how it ended: by a close frame, the end of the stream, or a reset. Which
//! of them tells who cut the path.

use std::fmt;
use std::io;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

/// The largest message taken from a server, in bytes: more than any that is asked for.
pub(super) const RECEIVED_BYTES_MAX: usize = 64 << 20;

/// How long is looked for the reason when writing has failed; it has arrived before, or never will.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// The bytes under a WebSocket, with or without TLS.
pub(super) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// How a connection ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum End {
    /// By a close frame, or `bye` before it: whoever closed speaks WebSocket.
    CloseFrame {
        /// 1005 when the frame had none.
        code: u16,
        reason: String,
    },
    /// The stream ended without a close frame (TCP FIN).
    Fin,
    /// TCP RST.
    Reset,
    /// The other end broke a protocol.
    Broken(String),
}

impl End {
    /// The word that programs read.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::CloseFrame { .. } => "close-frame",
            Self::Fin => "fin",
            Self::Reset => "reset",
            Self::Broken(_) => "broken",
        }
    }

    fn from_frame(frame: Option<CloseFrame>) -> Self {
        let (code, reason) = frame.map_or((1005, String::new()), |frame| {
            (frame.code.into(), frame.reason.to_string())
        });
        Self::CloseFrame { code, reason }
    }

    fn from_error(error: &Error) -> Self {
        match error {
            Error::ConnectionClosed
            | Error::AlreadyClosed
            | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => Self::Fin,
            Error::Io(error) => match error.kind() {
                io::ErrorKind::UnexpectedEof => Self::Fin,
                io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe => Self::Reset,
                _ => Self::Broken(error.to_string()),
            },
            error => Self::Broken(error.to_string()),
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CloseFrame { code, reason } if reason.is_empty() => {
                write!(f, "a close frame with {code}")
            }
            Self::CloseFrame { code, reason } => {
                write!(f, "a close frame with {code} ({reason})")
            }
            Self::Fin => f.write_str("the end of the stream, without a close frame"),
            Self::Reset => f.write_str("a reset"),
            Self::Broken(what) => write!(f, "a broken rule ({what})"),
        }
    }
}

/// See the [module](self).
pub(super) struct Socket(WebSocketStream<Box<dyn Wire>>);

impl Socket {
    /// Behind an upgrade; `read_ahead` came with its answer.
    pub(super) async fn new(wire: Box<dyn Wire>, read_ahead: Vec<u8>) -> Self {
        let config = WebSocketConfig::default()
            .max_message_size(Some(RECEIVED_BYTES_MAX))
            .max_frame_size(Some(RECEIVED_BYTES_MAX));
        Self(
            WebSocketStream::from_partially_read(wire, read_ahead, Role::Client, Some(config))
                .await,
        )
    }

    /// What comes next; WebSocket Pings have been answered.
    pub(super) async fn next(&mut self) -> Result<Message, End> {
        match self.0.next().await {
            Some(Ok(Message::Close(frame))) => Err(End::from_frame(frame)),
            Some(Ok(message)) => Ok(message),
            Some(Err(error)) => Err(End::from_error(&error)),
            None => Err(End::Fin),
        }
    }

    /// Sends, and waits until the system has taken it.
    pub(super) async fn send(&mut self, message: Message) -> Result<(), End> {
        match self.0.send(message).await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.last_words().await.unwrap_or(End::from_error(&error))),
        }
    }

    /// The close frame, if one had arrived before writing failed.
    async fn last_words(&mut self) -> Option<End> {
        let ended = async {
            loop {
                if let Err(end) = self.next().await {
                    return end;
                }
            }
        };
        let end = timeout(LAST_WORDS, ended).await.ok()?;
        matches!(end, End::CloseFrame { .. }).then_some(end)
    }

    /// Says goodbye; [`next`](Self::next) tells what comes of it.
    pub(super) async fn close(&mut self) -> Result<(), End> {
        let frame = CloseFrame {
            code: CloseCode::Normal,
            reason: Utf8Bytes::default(),
        };
        self.send(Message::Close(Some(frame))).await
    }
}
