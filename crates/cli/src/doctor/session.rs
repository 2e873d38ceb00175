//! Connections over the path that was found to work, and questions asked on them.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use heartwire_proto::frame::{
    ClientFrame, Hello, Message as Frame, NackCode, Payload, RefusedCode, ServerFrame, Welcome,
};
use heartwire_proto::id::{Attempt, ClientId, PingId, Seq, Token};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use super::reach;
use super::report::shown;
use super::socket::{End, Socket, Wire};
use super::tls::Tls;
use super::upgrade::{NoAnswer, Request};
use crate::AGENT;

/// Everything that a further connection takes.
pub(super) struct Path {
    pub(super) request: Request,
    /// The address that took the first connection.
    pub(super) address: SocketAddr,
    /// Made for `wss:` URLs.
    pub(super) tls: Option<Tls>,
    pub(super) token: Option<Token>,
    /// Whether `heartwire.v1` is offered, and, once known, spoken.
    pub(super) v1: bool,
    /// How long each answer may take.
    pub(super) wait: Duration,
}

/// Why the server did not say `welcome`.
#[derive(Debug)]
pub(super) enum NoWelcome {
    Silence,
    Ended(End),
    /// What came is no frame of the protocol.
    Foreign,
}

/// An open connection: plain, or welcomed.
pub(super) struct Session {
    socket: Socket,
    v1: bool,
    pings: u32,
}

/// Something that a connection brought.
#[derive(Debug)]
pub(super) enum Heard {
    /// The server asked for life, and was answered.
    Question,
    /// `pong` of v1.
    Answer(Option<PingId>),
    /// A WebSocket Pong with this payload.
    ProtocolPong(Vec<u8>),
    Welcome(Box<Welcome>),
    /// The interval in force.
    Interval,
    Followed,
    NotFollowed(RefusedCode),
    Acked(Seq),
    NotStored(NackCode),
    /// A message of the application's: its payload, in bytes.
    Message(usize),
    /// A text of a plain connection.
    Text(String),
    /// Anything else.
    Other,
    /// A message in v1 that is no frame.
    Foreign,
}

/// A way to ask whether the other end is there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Question {
    /// `ping ID` of v1 `[LIVE-2]`.
    V1,
    /// A WebSocket Ping `[WS-9]`.
    Protocol,
    /// A text that the application answers by another `[PLAIN-2]`.
    Text { ping: String, pong: String },
}

/// What came of a question.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Reply {
    After(Duration),
    /// The text itself came back.
    Echo,
    Silence,
    Ended(End),
}

impl Path {
    /// TCP, and TLS where the URL says so.
    pub(super) async fn wire(&self) -> io::Result<Box<dyn Wire>> {
        let tcp = reach::dial(self.address, self.wait).await?;
        match &self.tls {
            None => Ok(Box::new(tcp)),
            Some(tls) => {
                let host = &self.request.endpoint.host;
                Ok(Box::new(tls.connect(host, tcp, self.wait).await?))
            }
        }
    }

    /// A further connection, ready for questions.
    pub(super) async fn open(&self) -> Result<Session, String> {
        let mut wire = self.wire().await.map_err(|error| error.to_string())?;
        let asked = self.request.ask(&mut wire, self.v1, self.wait).await;
        let answer = asked.map_err(|error| error.to_string())?;
        if answer.judge_switch(self.v1).is_err() || self.v1 != answer.subprotocol().is_some() {
            return Err(format!("status {}, other than at first", answer.status));
        }
        let mut session = Session::new(wire, answer.read_ahead, self.v1).await;
        if self.v1 {
            session
                .hello(self)
                .await
                .map_err(|error| error.to_string())?;
        }
        Ok(session)
    }
}

impl Session {
    pub(super) async fn new(wire: Box<dyn Wire>, read_ahead: Vec<u8>, v1: bool) -> Self {
        Self {
            socket: Socket::new(wire, read_ahead).await,
            v1,
            pings: 0,
        }
    }

    /// Introduces a client that nobody has seen before.
    pub(super) async fn hello(&mut self, path: &Path) -> Result<Welcome, NoWelcome> {
        let hello = Hello {
            client: ClientId::from_random(random()),
            attempt: Attempt(1),
            agent: AGENT.to_owned(),
            token: path.token.clone(),
            heartbeat_interval_ms: None,
            features: Vec::new(),
        };
        let frame = ClientFrame::Hello(Box::new(hello));
        let welcomed = async {
            self.frame(&frame).await?;
            loop {
                match self.next().await? {
                    Heard::Welcome(welcome) => return Ok(*welcome),
                    Heard::Foreign => return Err(NoWelcome::Foreign),
                    _ => {}
                }
            }
        };
        timeout(path.wait, welcomed)
            .await
            .unwrap_or(Err(NoWelcome::Silence))
    }

    /// Sends a frame of v1.
    pub(super) async fn frame(&mut self, frame: &ClientFrame<'_>) -> Result<(), End> {
        let message = match frame.to_payload() {
            Payload::Text(text) => Message::text(text),
            Payload::Binary(bytes) => Message::binary(bytes),
        };
        self.socket.send(message).await
    }

    /// Sends a text as it is.
    pub(super) async fn text(&mut self, text: String) -> Result<(), End> {
        self.socket.send(Message::text(text)).await
    }

    /// What comes next. The server's questions are answered, as a client has to.
    pub(super) async fn next(&mut self) -> Result<Heard, End> {
        let heard = match self.socket.next().await? {
            Message::Ping(_) => Heard::Question,
            Message::Pong(payload) => Heard::ProtocolPong(payload.to_vec()),
            Message::Text(text) if self.v1 => self.read(Frame::Text(&text)).await?,
            Message::Binary(bytes) if self.v1 => self.read(Frame::Binary(&bytes)).await?,
            Message::Text(text) => Heard::Text(text.to_string()),
            _ => Heard::Other,
        };
        Ok(heard)
    }

    async fn read(&mut self, message: Frame<'_>) -> Result<Heard, End> {
        let Ok(frame) = ServerFrame::parse(message) else {
            return Ok(Heard::Foreign);
        };
        Ok(match frame {
            ServerFrame::Welcome(welcome) => Heard::Welcome(welcome),
            ServerFrame::Ping { id, .. } => {
                self.frame(&ClientFrame::Pong { id }).await?;
                Heard::Question
            }
            ServerFrame::Pong { id } => Heard::Answer(id),
            ServerFrame::Heartbeat { .. } => Heard::Interval,
            ServerFrame::Subbed { .. } => Heard::Followed,
            ServerFrame::Refused { code, .. } => Heard::NotFollowed(code),
            ServerFrame::Ack { seq } => Heard::Acked(seq),
            ServerFrame::Nack { code, .. } => Heard::NotStored(code),
            ServerFrame::Msg { payload, .. } => Heard::Message(payload.len()),
            // What comes after it is to be ignored `[CLOSE-2]`.
            ServerFrame::Bye { code, reason, .. } => {
                return Err(End::CloseFrame {
                    code: code.0,
                    reason: reason.to_owned(),
                });
            }
            _ => Heard::Other,
        })
    }

    /// Asks, and waits for the answer; whatever else comes meanwhile is passed over.
    pub(super) async fn ask(&mut self, question: &Question, wait: Duration) -> Reply {
        let asked_at = Instant::now();
        match timeout(wait, self.exchange(question)).await {
            Ok(Ok(true)) => Reply::After(asked_at.elapsed()),
            Ok(Ok(false)) => Reply::Echo,
            Ok(Err(end)) => Reply::Ended(end),
            Err(_) => Reply::Silence,
        }
    }

    /// Whether the answer is the right one, and not an echo.
    async fn exchange(&mut self, question: &Question) -> Result<bool, End> {
        self.pings = self.pings.wrapping_add(1);
        let id = PingId::from_count(self.pings);
        let mark = self.pings.to_be_bytes();
        match question {
            Question::V1 => self.frame(&ClientFrame::Ping { id: Some(id) }).await?,
            Question::Protocol => {
                let ping = Message::Ping(mark.to_vec().into());
                self.socket.send(ping).await?;
            }
            Question::Text { ping, .. } => self.text(ping.clone()).await?,
        }
        loop {
            match (self.next().await?, question) {
                (Heard::Answer(answered), Question::V1) if answered == Some(id) => return Ok(true),
                (Heard::ProtocolPong(payload), Question::Protocol) if payload == mark => {
                    return Ok(true);
                }
                (Heard::Text(text), Question::Text { pong, .. }) if text == *pong => {
                    return Ok(true);
                }
                (Heard::Text(text), Question::Text { ping, .. }) if text == *ping => {
                    return Ok(false);
                }
                _ => {}
            }
        }
    }

    /// Says goodbye; [`next`](Self::next) tells what comes of it.
    pub(super) async fn close(&mut self) -> Result<(), End> {
        self.socket.close().await
    }
}

fn random() -> u128 {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the system's random source works");
    u128::from_le_bytes(bytes)
}

impl From<End> for NoWelcome {
    fn from(end: End) -> Self {
        Self::Ended(end)
    }
}

impl std::fmt::Display for NoWelcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Silence => f.write_str("no welcome came"),
            Self::Ended(end) => write!(f, "hello was answered by {end}"),
            Self::Foreign => f.write_str("hello was answered by something else than a frame"),
        }
    }
}

impl std::fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Silence => f.write_str("no answer to the upgrade request"),
            Self::Closed => f.write_str("the connection was closed instead of an answer"),
            Self::Io(error) => error.fmt(f),
            Self::Tls => f.write_str("the answer is TLS"),
            Self::NotHttp(beginning) if beginning.is_empty() => {
                f.write_str("the answer is not HTTP/1.1")
            }
            Self::NotHttp(beginning) => write!(f, "the answer is not HTTP/1.1: {beginning}"),
        }
    }
}

/// How long somebody was waited for, in a sentence.
pub(super) fn within(wait: Duration) -> String {
    format!("within {}", shown(wait))
}
