//! An open WebSocket, as the link drives it: one place reads, one place writes, nothing waits for
//! the peer.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::task::noop_waker_ref;
use futures_util::{Sink as _, Stream as _};
use heartwire_proto::{Close, CloseCode};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::wire::Stream;

/// What one read takes from the kernel, in bytes. Links are many and mostly idle, and a larger
/// buffer would be held by each of them.
const READ_BUFFER_BYTES: usize = 8 * 1024;

/// Written messages are gathered up to here, in bytes, before they go to the kernel together; and
/// no more publishes are written while so much waits for the kernel.
const WRITE_BATCH_BYTES: usize = 64 * 1024;

/// What may stand in the write buffer beside the largest message, in bytes: a batch, and Pongs. A
/// peer that sends Pings without end and never reads costs no more than this.
const BESIDE_MESSAGE_BYTES_MAX: usize = 1 << 20;

/// What a poll of the socket brought.
#[derive(Debug)]
pub(crate) enum Arrival {
    /// Bytes that do not complete a message yet; they are life all the same.
    Bytes,
    /// A text or binary message, or a WebSocket Ping or Pong.
    Message(Message),
    /// The kernel took bytes again after it had been full.
    Moved,
    /// Everything sent so far has been taken by the kernel.
    Written,
    /// There is no more.
    Ended(Ended),
}

/// How the peer or the network ended the connection.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The code of the close frame; none when there was no such frame.
    pub(crate) code: Option<CloseCode>,
    /// The reason it gave, or what broke.
    pub(crate) reason: String,
}

/// See the [module](self).
pub(crate) struct Socket {
    websocket: WebSocketStream<Stream>,
    /// What the wire had received when that was last reported, in bytes.
    reported_bytes: u64,
    /// The releases of the wire that have been reported.
    reported_releases: u64,
    /// What the peer's TCP had acknowledged when that was last asked, in bytes.
    acknowledged_bytes: Option<u64>,
    /// What has been sent since the kernel last took everything, in bytes of payload.
    standing_bytes: usize,
    /// Something, be it empty, has been sent since then.
    unwritten: bool,
}

impl Socket {
    pub(super) fn new(websocket: WebSocketStream<Stream>) -> Self {
        Self {
            reported_bytes: websocket.get_ref().wire().received_bytes(),
            reported_releases: websocket.get_ref().wire().releases(),
            websocket,
            acknowledged_bytes: None,
            standing_bytes: 0,
            unwritten: false,
        }
    }

    /// For messages of at most so many bytes in either direction.
    pub(super) fn config(received_bytes_max: usize, sent_bytes_max: usize) -> WebSocketConfig {
        WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            .write_buffer_size(WRITE_BATCH_BYTES)
            .max_write_buffer_size(sent_bytes_max.saturating_add(BESIDE_MESSAGE_BYTES_MAX))
            .max_message_size(Some(received_bytes_max))
            .max_frame_size(Some(received_bytes_max))
    }

    /// Whether another publish may be sent.
    pub(crate) fn has_room(&self) -> bool {
        self.standing_bytes < WRITE_BATCH_BYTES
    }

    /// Queues a message; [`poll`](Self::poll) writes it.
    pub(crate) fn send(&mut self, message: Message) -> Result<(), Ended> {
        self.standing_bytes += message.len();
        self.unwritten = true;
        Pin::new(&mut self.websocket)
            .start_send(message)
            .map_err(|error| Ended::from_error(&error))
    }

    /// Writes what stands, and reads. Reading goes on while writing is blocked.
    ///
    /// After [`Arrival::Ended`] the socket is to be dropped.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Arrival> {
        if let Poll::Ready(arrival) = self.poll_write(cx) {
            return Poll::Ready(arrival);
        }
        let read = Pin::new(&mut self.websocket).poll_next(cx);
        let received_bytes = self.websocket.get_ref().wire().received_bytes();
        let heard = received_bytes > self.reported_bytes;
        self.reported_bytes = received_bytes;
        match read {
            Poll::Ready(Some(Ok(Message::Close(frame)))) => Poll::Ready(Arrival::Ended({
                // The answer that RFC 6455 asks for stands in the write buffer `[WS-8]`.
                self.flush_once();
                Ended::from_frame(frame)
            })),
            Poll::Ready(Some(Ok(message))) => Poll::Ready(Arrival::Message(message)),
            Poll::Ready(Some(Err(error))) => {
                self.answer_error(&error);
                Poll::Ready(Arrival::Ended(Ended::from_error(&error)))
            }
            Poll::Ready(None) => Poll::Ready(Arrival::Ended(Ended::cut())),
            Poll::Pending if heard => Poll::Ready(Arrival::Bytes),
            Poll::Pending => Poll::Pending,
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Arrival> {
        if !self.unwritten {
            return Poll::Pending;
        }
        let flushed = Pin::new(&mut self.websocket).poll_flush(cx);
        match flushed {
            Poll::Ready(Ok(())) => {
                self.unwritten = false;
                self.standing_bytes = 0;
                self.reported_releases = self.websocket.get_ref().wire().releases();
                Poll::Ready(Arrival::Written)
            }
            // What the peer said before it went away is still to be read; the read that follows
            // ends with the same error.
            Poll::Ready(Err(_)) => {
                self.unwritten = false;
                Poll::Pending
            }
            Poll::Pending => {
                let releases = self.websocket.get_ref().wire().releases();
                if releases == self.reported_releases {
                    return Poll::Pending;
                }
                self.reported_releases = releases;
                Poll::Ready(Arrival::Moved)
            }
        }
    }

    /// Whether bytes wait in the system that no [`poll`](Self::poll) has been given yet.
    pub(crate) fn has_unread(&self) -> bool {
        self.websocket.get_ref().wire().has_unread()
    }

    /// Whether the peer's TCP has acknowledged bytes since this was last asked, and others still
    /// wait: it is slow, but alive `[LIVE-5]`.
    pub(crate) fn has_progressed(&mut self) -> bool {
        let acknowledged = self.websocket.get_ref().wire().acknowledged_bytes();
        let before = std::mem::replace(&mut self.acknowledged_bytes, acknowledged);
        matches!((before, acknowledged), (Some(before), Some(after)) if after > before)
    }

    /// Drops the socket on the spot, for a connection that nothing can be said on any more
    /// `[LIVE-4]`.
    pub(crate) fn reset(self) {
        self.websocket.get_ref().wire().reset_on_close();
    }

    /// Closes in good order: writes everything, says goodbye, and reads until the peer has closed
    /// as well, so that the kernel does not reset the connection over unread bytes and thereby
    /// discard what was written last. The caller sets the bound.
    pub(crate) async fn finish(mut self, close: &Close) {
        self.send_close(close);
        std::future::poll_fn(|cx| {
            while let Poll::Ready(arrival) = self.poll(cx) {
                if let Arrival::Ended(_) = arrival {
                    return Poll::Ready(());
                }
            }
            Poll::Pending
        })
        .await;
    }

    fn send_close(&mut self, close: &Close) {
        let frame = CloseFrame {
            code: close.code.0.into(),
            reason: bounded_reason(&close.reason).into(),
        };
        // A connection on which nothing can be sent any more needs no goodbye.
        let _ = self.send(Message::Close(Some(frame)));
    }

    /// Fails a connection whose peer broke RFC 6455 with the code that it names for that `[WS-1]`.
    fn answer_error(&mut self, error: &Error) {
        let code = match error {
            Error::Capacity(_) => CloseCode::TOO_LARGE,
            Error::Utf8(_) => CloseCode::INVALID_TEXT,
            Error::Protocol(error) if *error != ProtocolError::ResetWithoutClosingHandshake => {
                CloseCode::WEBSOCKET_PROTOCOL
            }
            _ => return,
        };
        self.send_close(&Close::new(code, error.to_string()));
        self.flush_once();
    }

    fn flush_once(&mut self) {
        let mut cx = Context::from_waker(noop_waker_ref());
        let _ = Pin::new(&mut self.websocket).poll_flush(&mut cx);
    }
}

impl Ended {
    fn from_frame(frame: Option<CloseFrame>) -> Self {
        match frame {
            Some(frame) => Self {
                code: Some(CloseCode(frame.code.into())),
                reason: frame.reason.to_string(),
            },
            None => Self {
                code: None,
                reason: "closed without a code".to_owned(),
            },
        }
    }

    fn from_error(error: &Error) -> Self {
        match error {
            Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => Self::cut(),
            _ => Self {
                code: None,
                reason: error.to_string(),
            },
        }
    }

    fn cut() -> Self {
        Self {
            code: None,
            reason: "the connection ended without a close frame".to_owned(),
        }
    }
}

/// The 123 bytes of a reason that fit into a close frame `[CLOSE-6]`.
fn bounded_reason(reason: &str) -> String {
    const REASON_BYTES_MAX: usize = 123;
    let mut end = reason.len().min(REASON_BYTES_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    reason[..end].to_owned()
}
