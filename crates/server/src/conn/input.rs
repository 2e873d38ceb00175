//! The way in: from bytes to what the connection asks of the hub. Whatever they are, they cost their
//! connection alone `[REFUSE-4]`.

use std::sync::Arc;

use heartwire_hub::Step;
use heartwire_proto::limits::HEADER_BYTES_MAX;
use heartwire_proto::{Close, CloseCode, Time};
use heartwire_websocket::{Caps, ClosePayload, Control, ControlKind, Decoder, Event};

use super::Conn;
use super::admit::{Answer, Entrance};
use super::output::Output;
use crate::shared::{HubGuard, Shared, Wakes};

/// What a connection keeps between two reads: nothing, mostly.
#[derive(Default)]
pub(super) struct Input {
    decoder: Decoder,
    /// Bytes that were read but not taken, as the peer did not read its answers.
    held: Box<[u8]>,
    /// What comes means nothing any more: the framing was broken, or the peer has closed.
    is_deaf: bool,
    /// What a v1 connection came with, until its `hello` has come.
    entrance: Option<Box<Entrance>>,
}

/// What handling input needs for the length of a turn.
pub(super) struct Intake<'a> {
    conn: &'a Arc<Conn>,
    output: &'a mut Output,
    now: Time,
    wakes: &'a mut Wakes,
    /// A token was looked at, which takes long beside all else: once in a turn is enough.
    has_looked: bool,
}

impl Input {
    /// Input that begins with bytes that came right behind the upgrade request `[WS-6]`.
    pub(super) fn beginning_with(
        early: Box<[u8]>,
        entrance: Option<Box<Entrance>>,
        shared: &Shared,
    ) -> Self {
        // They are taken in the first turn; whether there is room is judged by what that leaves.
        shared.account_partial(0, early.len());
        Self {
            held: early,
            entrance,
            ..Self::default()
        }
    }

    /// Whether nothing that comes will be understood.
    pub(super) const fn is_deaf(&self) -> bool {
        self.is_deaf
    }

    /// Takes what was held back; see [`take`](Self::take).
    pub(super) fn take_held(&mut self, intake: &mut Intake<'_>) -> bool {
        if self.held.is_empty() {
            return intake.output.connection.wants_input();
        }
        let mut held = std::mem::take(&mut self.held);
        intake.conn.shared.account_partial(held.len(), 0);
        self.take(&mut held, intake)
    }

    /// Handles bytes that were read. Returns whether more may be read; if not, those that were not
    /// handled are held back.
    pub(super) fn take(&mut self, bytes: &mut [u8], intake: &mut Intake<'_>) -> bool {
        let before = self.decoder.held_bytes();
        let mut rest = bytes;
        let mut hub = None;
        while !self.is_deaf && intake.wants_more() {
            match self.decoder.next(&mut rest, &intake.caps()) {
                Ok(None) => break,
                Ok(Some(event)) => {
                    self.is_deaf = intake.handle(event, &mut self.entrance, &mut hub);
                }
                Err(violation) => {
                    intake.output.connection.close(violation.into(), intake.now);
                    self.is_deaf = true;
                }
            }
        }
        intake.finish(hub);
        if !self.is_deaf && !rest.is_empty() {
            self.held = Box::from(&*rest);
        }
        let after = self.decoder.held_bytes() + self.held.len();
        if !intake.conn.shared.account_partial(before, after) {
            intake.close_for_memory();
        }
        self.held.is_empty() && intake.wants_more()
    }

    /// The connection is over: its share of the bytes held for all is given back.
    pub(super) fn forget(&mut self, shared: &Shared) {
        let held = self.decoder.held_bytes() + self.held.len();
        shared.account_partial(held, 0);
        *self = Self::default();
    }
}

impl<'a> Intake<'a> {
    pub(super) const fn new(
        conn: &'a Arc<Conn>,
        output: &'a mut Output,
        now: Time,
        wakes: &'a mut Wakes,
    ) -> Self {
        Self {
            conn,
            output,
            now,
            wakes,
            has_looked: false,
        }
    }

    /// Before `welcome` little may be read; afterwards a message above the largest payload is
    /// skipped, and one above the hard cap ends the connection `[WS-4]` `[WS-7]`.
    fn caps(&self) -> Caps {
        let limits = &self.conn.shared.config.hub.limits;
        let hard_max = self.output.connection.frame_bytes_max();
        Caps {
            whole_max: hard_max.min(limits.message_bytes_max + HEADER_BYTES_MAX + 1),
            head_max: HEADER_BYTES_MAX + 1,
            hard_max,
        }
    }

    /// Handles one event; whether it was the peer's last. The hub is locked when it is first
    /// needed, and stays so for the rest of what one read brought.
    fn handle<'s>(
        &mut self,
        event: Event<'_>,
        entrance: &mut Option<Box<Entrance>>,
        hub: &mut Option<HubGuard<'s>>,
    ) -> bool
    where
        'a: 's,
    {
        let shared = &self.conn.shared;
        let connection = &mut self.output.connection;
        let step = match event {
            Event::Message(message) => connection.receive(message, self.now),
            Event::Oversized { head } => {
                let hub = hub.get_or_insert_with(|| shared.lock_hub());
                connection.receive_oversized(head, hub, shared.clock.now());
                return false;
            }
            Event::Control(control) => return self.handle_control(&control),
        };
        match step {
            Step::Done => {}
            Step::RoundTrip(span) => shared.metrics.round_trips.observe_duration(span),
            Step::Hub(request) => {
                let hub = hub.get_or_insert_with(|| shared.lock_hub());
                connection.apply(request, hub, shared.clock.now());
            }
            Step::Hello(hello) => {
                let answer = self.conn.look_at_hello(&hello, entrance.take());
                if let Answer::Now(granted) = answer {
                    let hub = hub.get_or_insert_with(|| shared.lock_hub());
                    self.conn.welcome(self.output, hub, &hello, granted);
                }
            }
            Step::Token(token) => {
                // Others need the hub meanwhile.
                self.put_down(hub.take());
                self.has_looked = true;
                match self.conn.look_at_token(token) {
                    None => self.output.connection.keep_grant(),
                    Some(Answer::Later) => {}
                    Some(Answer::Now(granted)) => {
                        let hub = hub.insert(shared.lock_hub());
                        self.conn.renew(self.output, hub, granted);
                    }
                }
            }
        }
        false
    }

    fn handle_control(&mut self, control: &Control) -> bool {
        let payload = control.payload();
        let connection = &mut self.output.connection;
        match control.kind() {
            ControlKind::Ping => connection.receive_ping(payload),
            ControlKind::Pong => {
                if let Some(span) = connection.receive_pong(payload, self.now) {
                    let metrics = &self.conn.shared.metrics;
                    metrics.round_trips.observe_duration(span);
                }
            }
            ControlKind::Close => {
                match ClosePayload::parse(payload) {
                    Ok(close) => connection.receive_close(close.code, self.now),
                    Err(violation) => connection.close(violation.into(), self.now),
                }
                return true;
            }
        }
        false
    }

    /// Bytes have arrived.
    pub(super) fn heard(&mut self) {
        self.output.connection.heard(self.now);
    }

    /// Everything that one read brought has been handled: it is stored, and answered by one write.
    fn finish(&mut self, hub: Option<HubGuard<'_>>) {
        self.heard();
        self.put_down(hub);
    }

    /// Whether the next message is to be taken in this turn.
    fn wants_more(&self) -> bool {
        !self.has_looked && self.output.connection.wants_input()
    }

    fn put_down(&mut self, hub: Option<HubGuard<'_>>) {
        if let Some(mut hub) = hub {
            hub.store();
            self.output.fill_from(&mut hub, self.now);
            hub.settle(self.wakes);
        }
    }

    fn close_for_memory(&mut self) {
        let shared = &self.conn.shared;
        let reason = "the server holds as many half-received messages as it may";
        let close = Close::new(CloseCode::OVERLOADED, reason);
        let close = close.retry_after(shared.config.hub.overload_retry);
        self.output.connection.close(close, self.now);
    }
}
