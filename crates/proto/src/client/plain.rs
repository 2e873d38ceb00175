//! Plain mode: raw messages, no topics, no acknowledgements, and so no promises about loss
//! `[PLAIN-9]`.

use std::collections::VecDeque;

use super::config::Mode;
use super::event::Event;
use super::io::Now;
use super::session::ClientSession;
use crate::frame::{Message, Payload};
use crate::outbox::{OutboxFull, OutboxLimits};

/// Messages that wait for the transport.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct PlainQueue {
    limits: OutboxLimits,
    messages: VecDeque<Payload>,
    bytes: usize,
}

impl PlainQueue {
    pub(super) const fn new(limits: OutboxLimits) -> Self {
        Self {
            limits,
            messages: VecDeque::new(),
            bytes: 0,
        }
    }

    pub(super) fn push(&mut self, message: Payload) -> Result<(), OutboxFull> {
        let bytes = self.bytes.saturating_add(message.len());
        if self.messages.len() >= self.limits.messages_max || bytes > self.limits.bytes_max {
            return Err(OutboxFull {
                messages: self.messages.len(),
                messages_max: self.limits.messages_max,
                bytes: self.bytes,
                bytes_max: self.limits.bytes_max,
            });
        }
        self.bytes = bytes;
        self.messages.push_back(message);
        Ok(())
    }

    pub(super) fn pop(&mut self) -> Option<Payload> {
        let message = self.messages.pop_front()?;
        self.bytes -= message.len();
        Some(message)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Drops everything; returns how many messages that were.
    pub(super) fn clear(&mut self) -> usize {
        self.bytes = 0;
        std::mem::take(&mut self.messages).len()
    }
}

impl ClientSession {
    /// A message is an answer to a ping, or the application's; both are life `[PLAIN-7]`.
    pub(super) fn receive_plain(&mut self, message: Message<'_>, now: Now) {
        let Mode::Plain(plain) = &self.config.mode else {
            return;
        };
        let is_pong = |pong: &Payload| pong.as_message() == message;
        if plain.pong.as_ref().is_some_and(is_pong) {
            self.answered(now);
        } else {
            self.heard(now);
            if self.state.is_open() {
                self.tell(Event::Received(message.to_payload()));
            }
        }
    }
}
