//! The one dial or socket that a link has at a time.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use heartwire_proto::client::Transmit;
use heartwire_proto::frame::Payload;
use heartwire_proto::{Attempt, Close, Token};
use tokio_tungstenite::tungstenite::Message;

use crate::dial::{Arrival, Dialed, Ended, Socket};

/// How long a connection that is closed in good order may take for its goodbye.
const LINGER: Duration = Duration::from_secs(1);

/// See the [module](self).
pub(crate) struct Connection {
    attempt: Attempt,
    state: State,
    /// Once nothing more has arrived, that is to be said.
    looking: bool,
    /// WebSocket Pings sent so far; a Pong that repeats the number answers the latest.
    pings: u64,
}

enum State {
    Idle,
    Dialing(Dialing),
    Open(Box<Socket>),
}

/// A dial under way, from asking for the token on.
pub(crate) type Dialing = Pin<Box<dyn Future<Output = Result<Answered, NotDialed>> + Send>>;

/// What a dial led to.
pub(crate) struct Answered {
    pub(crate) dialed: Dialed,
    pub(crate) token: Option<Token>,
}

/// What went wrong, for people.
pub(crate) struct NotDialed {
    pub(crate) why: String,
    pub(crate) retry_after: Option<Duration>,
}

/// What a connection reports.
pub(crate) enum Happened {
    Opened {
        agreed: bool,
        token: Option<Token>,
    },
    NotDialed(NotDialed),
    Arrived(Arrival),
    /// Everything that had arrived has been reported.
    Looked,
}

impl Connection {
    pub(crate) const fn idle() -> Self {
        Self {
            attempt: Attempt::ZERO,
            state: State::Idle,
            looking: false,
            pings: 0,
        }
    }

    pub(crate) const fn attempt(&self) -> Attempt {
        self.attempt
    }

    pub(crate) fn dial(&mut self, attempt: Attempt, dialing: Dialing) {
        self.attempt = attempt;
        self.state = State::Dialing(dialing);
        self.looking = false;
    }

    /// Lets go of a dial or socket. With a close, what remains to be done for it is returned; it
    /// takes a second at most.
    pub(crate) fn abandon(
        &mut self,
        attempt: Attempt,
        close: Option<Close>,
    ) -> Option<impl Future<Output = ()> + Send + use<>> {
        if attempt != self.attempt {
            return None;
        }
        self.looking = false;
        let State::Open(socket) = std::mem::replace(&mut self.state, State::Idle) else {
            return None;
        };
        let Some(close) = close else {
            socket.reset();
            return None;
        };
        Some(async move {
            // Who does not answer a goodbye in time is left without it.
            let _ = tokio::time::timeout(LINGER, socket.finish(&close)).await;
        })
    }

    /// Whether the peer's TCP has acknowledged bytes since this was last asked, and others still
    /// wait.
    pub(crate) fn has_progressed(&mut self) -> bool {
        match &mut self.state {
            State::Open(socket) => socket.has_progressed(),
            _ => false,
        }
    }

    /// Asks for [`Happened::Looked`] after everything that has arrived.
    pub(crate) fn look(&mut self, attempt: Attempt) {
        self.looking |= attempt == self.attempt;
    }

    pub(crate) fn has_room(&self) -> bool {
        matches!(&self.state, State::Open(socket) if socket.has_room())
    }

    pub(crate) fn send(&mut self, transmit: Transmit) -> Result<(), Ended> {
        let message = match transmit {
            Transmit::Message(Payload::Text(text)) => Message::Text(text.into()),
            Transmit::Message(Payload::Binary(bytes)) => Message::Binary(bytes.into()),
            Transmit::Ping => {
                self.pings += 1;
                Message::Ping(Bytes::copy_from_slice(&self.pings.to_be_bytes()))
            }
        };
        let State::Open(socket) = &mut self.state else {
            return Ok(());
        };
        let sent = socket.send(message);
        if sent.is_err() {
            self.state = State::Idle;
        }
        sent
    }

    /// Whether a WebSocket Pong with this content answers the latest Ping.
    pub(crate) fn is_latest_pong(&self, content: &[u8]) -> bool {
        content == self.pings.to_be_bytes()
    }

    /// What happens next. Cancelling it loses nothing.
    pub(crate) async fn next(&mut self) -> Happened {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Happened> {
        let polled = match &mut self.state {
            State::Idle => Poll::Pending,
            State::Dialing(dialing) => dialing.as_mut().poll(cx).map(|end| self.dialed(end)),
            State::Open(socket) => socket.poll(cx).map(|arrival| {
                if matches!(arrival, Arrival::Ended(_)) {
                    self.state = State::Idle;
                }
                Happened::Arrived(arrival)
            }),
        };
        if polled.is_pending() && self.looking && !self.has_unread() {
            self.looking = false;
            return Poll::Ready(Happened::Looked);
        }
        polled
    }

    /// Whether bytes have arrived that the runtime has not heard of: it was held up, and is about to
    /// tell `[LIVE-10]`.
    fn has_unread(&self) -> bool {
        matches!(&self.state, State::Open(socket) if socket.has_unread())
    }

    fn dialed(&mut self, end: Result<Answered, NotDialed>) -> Happened {
        match end {
            Ok(Answered { dialed, token }) => {
                self.state = State::Open(Box::new(dialed.socket));
                Happened::Opened {
                    agreed: dialed.v1,
                    token,
                }
            }
            Err(not_dialed) => {
                self.state = State::Idle;
                Happened::NotDialed(not_dialed)
            }
        }
    }
}
