//! The task behind a link: it owns the socket and the timers, and does what the session says.
//!
//! One task does everything, so that nothing needs a channel: it reads, writes, dials and waits by
//! turns, and whichever of them is stuck holds up none of the others.

use std::error::Error;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

use futures_util::FutureExt as _;
use heartwire_proto::client::Input;
use heartwire_proto::frame::{Message as Said, Payload};
use heartwire_proto::{Attempt, Token};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;

use crate::clock::{SleepWatch, TICK};
use crate::connection::{Answered, Connection, Dialing, Happened, NotDialed};
use crate::dial::{Arrival, Dialer, Ended};
use crate::shared::{Shared, Task};

/// A failure of the application's token function.
pub(crate) type TokenError = Box<dyn Error + Send + Sync>;

/// The application's token function.
pub(crate) type TokenSource =
    Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Result<Token, TokenError>> + Send>> + Send + Sync>;

/// Tells whether a message answers a ping.
type IsPong = dyn Fn(Said<'_>) -> bool + Send + Sync;

/// Sends what comes first on a connection.
type OnOpen = dyn Fn(&mut Opening) + Send + Sync;

/// What the application wants to have done in plain mode.
#[derive(Default)]
pub(crate) struct PlainHooks {
    pub(crate) is_pong: Option<Box<IsPong>>,
    pub(crate) on_open: Option<Box<OnOpen>>,
}

/// A plain connection that has just opened: what is sent here goes first, before anything that
/// [`Link::send`](crate::Link::send) sends.
#[derive(Default, Debug)]
pub struct Opening {
    messages: Vec<Payload>,
}

impl Opening {
    /// Sends a message.
    pub fn send(&mut self, payload: impl Into<Payload>) {
        self.messages.push(payload.into());
    }
}

/// See the [module](self).
pub(crate) struct Driver {
    shared: Arc<Shared>,
    dialer: Arc<Dialer>,
    token: Option<TokenSource>,
    /// In plain mode.
    plain: Option<PlainHooks>,
    connection: Connection,
    /// The goodbye of a connection that is over, at most one.
    farewell: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    sleep: SleepWatch,
    /// When the clocks are compared next, and the socket is asked for progress.
    tick_at: Instant,
}

impl Driver {
    pub(crate) fn new(
        shared: Arc<Shared>,
        dialer: Dialer,
        token: Option<TokenSource>,
        plain: Option<PlainHooks>,
    ) -> Self {
        Self {
            sleep: SleepWatch::new(shared.time(), SystemTime::now()),
            tick_at: Instant::now() + TICK,
            shared,
            dialer: Arc::new(dialer),
            token,
            plain,
            connection: Connection::idle(),
            farewell: None,
        }
    }

    /// Runs until the link is closed.
    pub(crate) async fn run(mut self) {
        loop {
            self.do_tasks().await;
            self.transmit();
            if self.shared.is_closed() {
                break;
            }
            let timeout = self.next_timeout();
            tokio::select! {
                happened = self.connection.next() => {
                    self.report(happened);
                    // One read brings many messages. Without a pause between them the consumers
                    // would not run, and their queues would fill however fast they are.
                    tokio::task::consume_budget().await;
                }
                () = self.shared.called() => {}
                () = finished(&mut self.farewell) => self.farewell = None,
                () = tokio::time::sleep_until(timeout) => self.on_time(),
            }
        }
        if let Some(farewell) = self.farewell.take() {
            farewell.await;
        }
    }

    async fn do_tasks(&mut self) {
        while let Some(task) = self.shared.next_task() {
            match task {
                Task::Dial { attempt } => self.connection.dial(attempt, self.dialing()),
                Task::Abandon { attempt, close } => {
                    if let Some(farewell) = self.connection.abandon(attempt, close) {
                        self.farewell = Some(Box::pin(farewell));
                    }
                }
                Task::Look { attempt } => {
                    self.connection.look(attempt);
                    // tokio asks the kernel for news before a task that has yielded runs again.
                    tokio::task::yield_now().await;
                }
            }
        }
    }

    /// Asks for a token, then dials. A token function that panics has failed; the link goes on.
    fn dialing(&self) -> Dialing {
        let dialer = Arc::clone(&self.dialer);
        let source = self.token.clone();
        Box::pin(async move {
            let token = match source {
                None => None,
                Some(source) => Some(fetch(source).await?),
            };
            let bearer = token.as_ref().filter(|_| !dialer.v1).map(Token::as_str);
            match dialer.dial(bearer).await {
                Ok(dialed) => Ok(Answered { dialed, token }),
                Err(error) => Err(NotDialed {
                    why: error.to_string(),
                    retry_after: error.retry_after(),
                }),
            }
        })
    }

    /// Writes as long as there is something to write and room for it.
    fn transmit(&mut self) {
        while self.connection.has_room() {
            let Some(transmit) = self.shared.next_transmit() else {
                return;
            };
            if let Err(ended) = self.connection.send(transmit) {
                self.ended(&ended);
            }
        }
    }

    fn next_timeout(&self) -> Instant {
        let session = self.shared.next_timeout();
        session.map_or(self.tick_at, |at| at.min(self.tick_at))
    }

    fn on_time(&mut self) {
        if Instant::now() >= self.tick_at {
            self.tick_at = Instant::now() + TICK;
            self.note_progress();
            if self.sleep.slept(self.shared.time(), SystemTime::now()) {
                self.shared.drive(|session| session.wake(self.shared.now()));
            }
        }
        self.shared
            .drive(|session| session.timeout(self.shared.now()));
    }

    /// Reports that the peer's TCP takes what is sent, however slowly.
    fn note_progress(&mut self) {
        if self.connection.has_progressed() {
            let attempt = self.connection.attempt();
            self.input(Input::Acknowledged { attempt });
        }
    }

    fn report(&mut self, happened: Happened) {
        let attempt = self.connection.attempt();
        match happened {
            Happened::Opened { agreed, token } => self.opened(attempt, agreed, token),
            Happened::NotDialed(NotDialed { why, retry_after }) => {
                self.input(Input::DialFailed {
                    attempt,
                    why,
                    retry_after,
                });
            }
            Happened::Arrived(arrival) => self.arrived(attempt, arrival),
            Happened::Looked => {
                self.note_progress();
                self.input(Input::Looked { attempt });
            }
        }
    }

    /// The application's first messages are collected before anybody can know that the connection
    /// is open, so that they are the first.
    fn opened(&mut self, attempt: Attempt, agreed: bool, token: Option<Token>) {
        let mut opening = Opening::default();
        if let Some(on_open) = self.plain.as_ref().and_then(|plain| plain.on_open.as_ref()) {
            on_open(&mut opening);
        }
        self.shared.open(
            Input::Opened {
                attempt,
                agreed,
                token,
            },
            opening.messages,
        );
    }

    fn arrived(&mut self, attempt: Attempt, arrival: Arrival) {
        match arrival {
            Arrival::Bytes => self.input(Input::Heard { attempt }),
            Arrival::Message(message) => self.message(attempt, &message),
            Arrival::Moved => self.input(Input::Acknowledged { attempt }),
            Arrival::Written => self.input(Input::Flushed { attempt }),
            Arrival::Ended(ended) => self.ended(&ended),
        }
    }

    fn message(&mut self, attempt: Attempt, message: &Message) {
        let said = match message {
            Message::Text(text) => Said::Text(text.as_str()),
            Message::Binary(bytes) => Said::Binary(bytes),
            Message::Pong(content)
                if self.plain.is_some() && self.connection.is_latest_pong(content) =>
            {
                return self.input(Input::Pong { attempt });
            }
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_) => {
                return self.input(Input::Heard { attempt });
            }
        };
        let is_pong = self.plain.as_ref().and_then(|plain| plain.is_pong.as_ref());
        if is_pong.is_some_and(|is_pong| is_pong(said)) {
            self.input(Input::Pong { attempt });
        } else {
            self.input(Input::Message {
                attempt,
                message: said,
            });
        }
    }

    fn ended(&self, ended: &Ended) {
        self.input(Input::Closed {
            attempt: self.connection.attempt(),
            code: ended.code,
            reason: &ended.reason,
        });
    }

    fn input(&self, input: Input<'_>) {
        self.shared
            .drive(|session| session.handle(input, self.shared.now()));
    }
}

impl Drop for Driver {
    /// Also when the runtime is shut down, or a hook of the application's has panicked: nobody is
    /// left waiting for a link that has no driver.
    fn drop(&mut self) {
        self.shared.abort();
    }
}

/// Waits for a goodbye, if there is one.
async fn finished(farewell: &mut Option<Pin<Box<dyn Future<Output = ()> + Send>>>) {
    match farewell {
        Some(farewell) => farewell.await,
        None => std::future::pending().await,
    }
}

async fn fetch(source: TokenSource) -> Result<Token, NotDialed> {
    let asked = AssertUnwindSafe(async move { source().await });
    let why = match asked.catch_unwind().await {
        Ok(Ok(token)) => return Ok(token),
        Ok(Err(error)) => format!("the token function failed: {error}"),
        Err(_) => "the token function panicked".to_owned(),
    };
    Err(NotDialed {
        why,
        retry_after: None,
    })
}
