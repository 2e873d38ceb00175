//! What is written next to the current connection.
//!
//! Answers and questions lie in slots that hold the latest of their kind, topics and publishes in
//! structures with bounds of their own. So whatever waits for a slow transport is bounded.

use std::time::Duration;

use super::config::{Mode, PlainPing};
use super::follow::Question;
use super::io::{Now, Transmit};
use super::session::ClientSession;
use super::timer::Timer;
use crate::frame::{ClientFrame, FreshToken, Hello, Payload};
use crate::id::{Attempt, PingId, Seq, Token};

/// The longest agent that is sent, in bytes `[HELLO-2]`.
const AGENT_BYTES_MAX: usize = 200;

/// Frames that wait to be written, one of each kind.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Slots {
    pub(super) hello: Option<Box<Hello>>,
    /// The latest question's id, if it had one; an older question needs no answer any more.
    pub(super) pong: Option<Option<PingId>>,
    pub(super) ping: Option<PingId>,
    pub(super) token: Option<Token>,
    pub(super) interval: Option<Duration>,
    pub(super) skip: Option<Seq>,
}

impl Slots {
    /// The next frame; `skip` has its place behind the topics.
    fn take(&mut self) -> Option<ClientFrame<'static>> {
        if let Some(hello) = self.hello.take() {
            return Some(ClientFrame::Hello(hello));
        }
        if let Some(id) = self.pong.take() {
            return Some(ClientFrame::Pong { id });
        }
        if let Some(id) = self.ping.take() {
            return Some(ClientFrame::Ping { id: Some(id) });
        }
        if let Some(token) = self.token.take() {
            return Some(ClientFrame::Token(FreshToken { token }));
        }
        if let Some(interval) = self.interval.take() {
            let interval_ms = interval.as_millis() as u64;
            return Some(ClientFrame::Heartbeat { interval_ms });
        }
        None
    }
}

impl ClientSession {
    /// The next thing to write to the current connection: answers first, then publishes as far as
    /// the server's window allows. To be called when the outputs have been done and while the
    /// transport has room: what is not asked for waits here, where it is bounded.
    pub fn poll_transmit(&mut self, now: Now) -> Option<Transmit> {
        let transmit = match self.config.mode {
            Mode::V1 => self.next_frame(now).map(Transmit::Message),
            Mode::Plain(_) => self.next_plain(now),
        };
        self.arm();
        transmit
    }

    /// `hello` and all `sub` go in one flight; publishes wait for `welcome` `[HELLO-5]`.
    fn next_frame(&mut self, now: Now) -> Option<Payload> {
        let open = self.state.is_open();
        let connection = self.state.connection()?;
        if let Some(frame) = connection.slots.take() {
            if let ClientFrame::Ping { .. } = frame {
                connection.heartbeat.ping_written(now.time);
                connection.ping_unflushed = true;
            }
            return Some(frame.to_payload());
        }
        if let Some(question) = self.topics.next_question() {
            return Some(question.to_payload());
        }
        if !open {
            return None;
        }
        if self.timers.is_set(Timer::Resend) {
            return None;
        }
        if let Some(seq) = connection.slots.skip.take() {
            return Some(ClientFrame::Skip { seq }.to_payload());
        }
        self.publishing.next(now)
    }

    fn next_plain(&mut self, now: Now) -> Option<Transmit> {
        let Mode::Plain(plain) = &self.config.mode else {
            return None;
        };
        let connection = self.state.open()?;
        if connection.slots.ping.take().is_some() {
            connection.heartbeat.ping_written(now.time);
            connection.ping_unflushed = true;
            return Some(match &plain.ping {
                PlainPing::Message(ping) => Transmit::Message(ping.clone()),
                PlainPing::WebSocket => Transmit::Ping,
            });
        }
        let message = self.plain.pop()?;
        if self.closing && self.plain.is_empty() {
            // Nothing is left to flush: the close is due, as a timeout of this very moment.
            self.timers.set(Timer::Flush, now.time);
        }
        Some(Transmit::Message(message))
    }

    /// What the first frame of a connection says `[HELLO-2]`.
    pub(super) fn hello(&self, attempt: Attempt, token: Option<Token>) -> Hello {
        let fits = |(at, c): &(usize, char)| at + c.len_utf8() <= AGENT_BYTES_MAX;
        let agent = self.config.agent.char_indices().take_while(fits);
        let agent = agent.map(|(_, c)| c).collect();
        let interval = self.config.heartbeat_interval;
        Hello {
            client: self.client.clone(),
            attempt,
            agent,
            token,
            heartbeat_interval_ms: interval.map(|interval| interval.as_millis() as u64),
            features: Vec::new(),
        }
    }

    /// Asks the server for another heartbeat interval.
    pub(super) fn ask_for_interval(&mut self, interval: Duration) {
        if let Some(connection) = self.state.connection() {
            connection.slots.interval = Some(interval);
        }
    }
}

impl Question {
    fn to_payload(&self) -> Payload {
        match self {
            Self::Sub(topic, from) => ClientFrame::Sub {
                topic: topic.as_topic(),
                from: *from,
            }
            .to_payload(),
            Self::Unsub(topic) => ClientFrame::Unsub {
                topic: topic.as_topic(),
            }
            .to_payload(),
        }
    }
}
