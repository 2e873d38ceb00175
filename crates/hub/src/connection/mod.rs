//! One WebSocket, as the server sees it.
//!
//! ```text
//!                 welcome                       close, a broken rule, death, the peer's close
//!   Greeting ────────────────► Live ──────────────────────────────────────┐
//!      │ (v1 only; plain        heartbeat, topics, publishing             ▼
//!      │  is live at once)                                             Closing ──► finished, or Drop
//!      └──────────────────────────────────────────────────────────────────▲
//!          close, no hello in time, refused
//! ```
//!
//! What needs no hub is in this file; `requests` asks the hub, `fill` takes from it, and `life`
//! decides over life and death.

mod account;
mod extra;
mod fill;
mod grants;
mod life;
mod oversized;
mod progress;
mod requests;

use std::sync::Arc;
use std::time::Duration;

use heartwire_proto::frame::{Hello, Message, ServerFrame};
use heartwire_proto::heartbeat::{Heartbeat, HeartbeatConfig};
use heartwire_proto::limits::{BEFORE_WELCOME_BYTES_MAX, HEADER_BYTES_MAX};
use heartwire_proto::server::websocket::{CONTROL_BYTES_MAX, Opcode, write_close, write_frame};
use heartwire_proto::server::{self, Request, Session, interval_in_force, plain};
use heartwire_proto::{Close, CloseCode, PingId, Time, Token, TopicName};

use crate::config::HubConfig;
use crate::outgoing::Outgoing;
use crate::state::{ConnKey, HubState, Mode, Peer};
use extra::Extra;
use progress::Progress;

pub use account::{Asked, Death, End, Life, Reason, Side};
pub(crate) use account::{FORBIDDEN, HUNG_UP, UNAUTHORIZED, UNSUBSCRIBED, name};
pub use life::Due;

/// How long a closing connection may take to get rid of its last bytes and to hear the peer's close
/// frame `[WS-8]`.
const CLOSING_MAX: Duration = Duration::from_secs(2);

/// How long a client stays away at least that sent too much: a moment would bring it back into the
/// same second.
const RATE_RETRY_MIN: Duration = Duration::from_secs(1);

/// What a message asks of whoever drives the connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step<'a> {
    /// Nothing.
    Done,
    /// Find out who speaks, then call [`Connection::welcome`]. Until then
    /// [`Connection::wants_input`] says no.
    Hello(Box<Hello>),
    /// Call [`Connection::apply`] with this request.
    Hub(Request<'a>),
    /// Nothing: the latest ping was answered, after so long.
    RoundTrip(Duration),
    /// Find out what the token grants, then call [`Connection::renew`]. Until then
    /// [`Connection::wants_input`] says no. Whoever asks nobody for tokens calls
    /// [`Connection::keep_grant`].
    Token(Token),
}

/// What a connection is while it lasts.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum State {
    Greeting(Box<Greeting>),
    Live(Live),
    Closing(Box<Closing>),
}

/// A v1 connection that has not been welcomed.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Greeting {
    session: Session,
    topics: Vec<TopicName>,
    address: Option<std::net::SocketAddr>,
    agent: Box<str>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Live {
    key: ConnKey,
    heartbeat: Heartbeat,
    speech: Speech,
    extra: Extra,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Speech {
    V1(Session),
    Plain { has_spoken: bool },
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Closing {
    end: End,
    life: Life,
    key: Option<ConnKey>,
    until: Time,
    peer_has_closed: bool,
}

/// One WebSocket. See the [crate's documentation](crate) for how it is driven.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Connection {
    config: Arc<HubConfig>,
    state: State,
    outgoing: Outgoing,
    progress: Progress,
}

impl Connection {
    /// A v1 connection that was upgraded just now. It waits for `hello`; `topics` are those that its
    /// URL named.
    pub fn v1(config: Arc<HubConfig>, peer: Peer<'_>, topics: Vec<TopicName>, now: Time) -> Self {
        let greeting = Greeting {
            session: Session::new(&config.limits, now),
            topics,
            address: peer.address,
            agent: peer.agent.into(),
        };
        Self {
            config,
            state: State::Greeting(Box::new(greeting)),
            outgoing: Outgoing::default(),
            progress: Progress::default(),
        }
    }

    // ---- What comes in ----

    /// Whether the next message may be received. While it says no, whoever reads keeps what it has
    /// and reads no more: the peer does not read its answers, or its `hello` or token is being
    /// looked at.
    pub fn wants_input(&self) -> bool {
        let greets = match &self.state {
            State::Greeting(greeting) => greeting.session.wants_input(),
            State::Live(live) => !live.extra.is_renewing(),
            State::Closing(_) => true,
        };
        greets && self.outgoing.control_bytes() <= self.config.limits.output_bytes_max
    }

    /// The largest message that may be read now, in bytes: little before `welcome` `[WS-7]`.
    pub fn frame_bytes_max(&self) -> usize {
        match &self.state {
            State::Greeting(_) => BEFORE_WELCOME_BYTES_MAX + HEADER_BYTES_MAX,
            State::Live(_) | State::Closing(_) => self.config.limits.frame_bytes_max,
        }
    }

    /// Bytes have come, whatever they are; call it when those of a read are used up `[LIVE-1]`.
    pub fn heard(&mut self, now: Time) {
        if let State::Live(live) = &mut self.state {
            live.heartbeat.heard(now);
            self.progress.answered();
        }
    }

    /// Takes one message, text or binary.
    pub fn receive<'a>(&mut self, message: Message<'a>, now: Time) -> Step<'a> {
        if let Err(close) = self.spend(message.as_bytes().len(), now) {
            self.close(close, now);
            return Step::Done;
        }
        let read = match &mut self.state {
            State::Greeting(greeting) => greeting.session.receive(message),
            State::Live(live) => match &mut live.speech {
                Speech::V1(session) => session.receive(message),
                Speech::Plain { has_spoken } => {
                    let is_first = !std::mem::replace(has_spoken, true);
                    return self.receive_plain(message, is_first, now);
                }
            },
            State::Closing(_) => return Step::Done,
        };
        match read {
            Ok(server::Step::Nothing) => {}
            Ok(server::Step::Hello(hello)) => return Step::Hello(hello),
            Ok(server::Step::Request(request)) => return Step::Hub(request),
            Ok(server::Step::Token(token)) => {
                self.set_renewing(true);
                return Step::Token(token);
            }
            Ok(server::Step::Ping(id)) => self.answer(|out| {
                ServerFrame::Pong { id }.encode(out);
                Opcode::Text
            }),
            Ok(server::Step::Pong(id)) => {
                if let Some(round_trip) = self.answered(id, now) {
                    return Step::RoundTrip(round_trip);
                }
            }
            Ok(server::Step::Heartbeat { interval_ms }) => self.change_interval(interval_ms),
            Err(broken) => self.close(broken.into(), now),
        }
        Step::Done
    }

    /// A message has come; an error says that it was too much `[CLOSE-7]`. Before `welcome` other
    /// bounds hold.
    fn spend(&mut self, bytes: usize, now: Time) -> Result<(), Close> {
        let State::Live(live) = &mut self.state else {
            return Ok(());
        };
        let spent = live.extra.spend(bytes, &self.config.limits, now);
        spent.map_err(|wait| {
            let reason = "CLOSE-7: more was sent than this server takes";
            Close::new(CloseCode::RATE_LIMITED, reason).retry_after(wait.max(RATE_RETRY_MIN))
        })
    }

    fn receive_plain<'a>(&mut self, message: Message<'a>, is_first: bool, now: Time) -> Step<'a> {
        match plain::read(message, is_first) {
            Ok(plain::Said::Message(payload)) => return Step::Hub(Request::Say { payload }),
            Ok(plain::Said::Ping) => self.answer(|out| {
                out.extend_from_slice(b"pong");
                Opcode::Text
            }),
            Err(broken) => self.close(broken.into(), now),
        }
        Step::Done
    }

    /// Takes an RFC 6455 Ping, and answers it `[WS-9]`.
    pub fn receive_ping(&mut self, payload: &[u8]) {
        if self.closing().is_some() {
            return;
        }
        let payload = &payload[..payload.len().min(CONTROL_BYTES_MAX)];
        self.answer(|out| {
            out.extend_from_slice(payload);
            Opcode::Pong
        });
    }

    /// Takes an RFC 6455 Pong, which answers a plain connection's question: then after how long.
    pub fn receive_pong(&mut self, payload: &[u8], now: Time) -> Option<Duration> {
        let text = std::str::from_utf8(payload).unwrap_or_default();
        self.answered(text.parse().ok(), now)
    }

    /// Takes the peer's close frame, and answers it unless it is an answer itself `[WS-8]`.
    pub fn receive_close(&mut self, code: Option<CloseCode>, now: Time) {
        if let State::Closing(closing) = &mut self.state {
            closing.peer_has_closed = true;
            return;
        }
        let code = code.unwrap_or(CloseCode::NO_STATUS);
        self.outgoing.drop_messages();
        let echo = Close::new(code, "");
        self.outgoing
            .push_control(|out| write_close(out, &echo, false));
        let end = End {
            by: Side::Peer,
            close: Close::new(code, "the peer closed"),
            at: now,
            death: None,
        };
        self.end(end, now + CLOSING_MAX, true);
    }

    // ---- What goes out ----

    /// What stands ready for the socket. Tell [`written`](Self::written) how much of it was taken.
    pub const fn outgoing(&self) -> &Outgoing {
        &self.outgoing
    }

    /// The connection ends: `bye` and a close frame are the last that is sent, behind acks, answers
    /// and a message that has been begun `[CLOSE-2]`. Only the first close counts. Whoever drains
    /// the server commits and [fills](Self::fill) before, so that nothing stored goes without its
    /// `ack` `[CLOSE-5]`.
    pub fn close(&mut self, close: Close, now: Time) {
        self.close_within(decided(close, now), now + CLOSING_MAX);
    }

    fn close_within(&mut self, end: End, until: Time) {
        let mode = match &self.state {
            State::Closing(_) => return,
            State::Live(Live {
                speech: Speech::Plain { .. },
                ..
            }) => Mode::Plain,
            State::Live(_) | State::Greeting(_) => Mode::V1,
        };
        self.close_as(mode, end, until);
    }

    fn close_as(&mut self, mode: Mode, end: End, until: Time) {
        let close = &end.close;
        self.outgoing.drop_messages();
        if mode == Mode::V1 {
            let bye = ServerFrame::Bye {
                code: close.code,
                retry: close.retry,
                reason: &close.reason,
            };
            push_frame(&mut self.outgoing, &bye);
        }
        let with_retry = mode == Mode::Plain;
        self.outgoing
            .push_control(|out| write_close(out, close, with_retry));
        self.end(end, until, false);
    }

    fn end(&mut self, end: End, until: Time, peer_has_closed: bool) {
        self.state = State::Closing(Box::new(Closing {
            end,
            life: self.life(),
            key: self.key(),
            until,
            peer_has_closed,
        }));
    }

    /// Why the connection ends, once it does.
    pub fn closing(&self) -> Option<&Close> {
        match &self.state {
            State::Closing(closing) => Some(&closing.end.close),
            State::Greeting(_) | State::Live(_) => None,
        }
    }

    /// Whether both ends have said that it is over, and the socket can be dropped.
    pub fn is_finished(&self) -> bool {
        match &self.state {
            State::Closing(closing) => closing.peer_has_closed && self.outgoing.is_empty(),
            State::Greeting(_) | State::Live(_) => false,
        }
    }

    /// Takes the connection out of the hub: it was closed, or its peer hung up. The last that is done
    /// with it.
    pub fn leave<H: Clone>(&mut self, hub: &mut HubState<H>) {
        let reason = self.ended().map_or(HUNG_UP, End::reason);
        self.leave_for(hub, reason);
    }

    /// The same for whoever knows better how it ended.
    pub fn leave_for<H: Clone>(&mut self, hub: &mut HubState<H>, reason: Reason) {
        if let Some(key) = self.key() {
            hub.depart(key, reason);
        }
    }

    /// The connection's key in the hub, once it has one.
    pub fn key(&self) -> Option<ConnKey> {
        match &self.state {
            State::Greeting(_) => None,
            State::Live(live) => Some(live.key),
            State::Closing(closing) => closing.key,
        }
    }

    // ---- Small answers ----

    /// Answers a ping at once where there is room; else the latest answer waits alone.
    fn answer(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Opcode) {
        if self.outgoing.bytes() < self.config.limits.output_bytes_max {
            self.outgoing.push_control(|out| write_frame(out, write));
        } else if let State::Live(live) = &mut self.state {
            let mut frame = Vec::new();
            write_frame(&mut frame, write);
            live.extra.set_late_pong(frame);
        }
    }

    /// The answer that waited goes as soon as there is room. Nothing else need come for the
    /// connection: some peers drop a link on which their own ping stays without answer.
    fn answer_late(&mut self) {
        if self.outgoing.bytes() < self.config.limits.output_bytes_max
            && let State::Live(live) = &mut self.state
            && let Some(frame) = live.extra.take_late_pong()
        {
            self.outgoing
                .push_control(|out| out.extend_from_slice(&frame));
        }
    }

    /// The round trip, if it answers the latest ping for the first time.
    fn answered(&mut self, id: Option<PingId>, now: Time) -> Option<Duration> {
        match (&mut self.state, id) {
            (State::Live(live), Some(id)) => live.heartbeat.pong(id, now),
            _ => None,
        }
    }

    fn change_interval(&mut self, interval_ms: u64) {
        let State::Live(live) = &mut self.state else {
            return;
        };
        let config = heartbeat_config(&self.config, Some(interval_ms));
        live.heartbeat.set_config(config);
        let interval_ms = config.interval().as_millis() as u64;
        push_frame(&mut self.outgoing, &ServerFrame::Heartbeat { interval_ms });
    }
}

/// An end of this server's choice.
const fn decided(close: Close, now: Time) -> End {
    End {
        by: Side::Server,
        close,
        at: now,
        death: None,
    }
}

/// The heartbeat of a connection that asks for an interval, or does not.
fn heartbeat_config(config: &HubConfig, wish_ms: Option<u64>) -> HeartbeatConfig {
    let Some(wish_ms) = wish_ms else {
        return config.heartbeat;
    };
    let interval = interval_in_force(wish_ms, &config.limits);
    HeartbeatConfig::new(interval, config.heartbeat.timeout()).unwrap_or(config.heartbeat)
}

fn push_frame(outgoing: &mut Outgoing, frame: &ServerFrame<'_>) {
    outgoing.push_control(|out| write_frame(out, |out| frame.encode(out).into()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_connection_is_small() {
        assert!(
            size_of::<Connection>() <= 184,
            "{}",
            size_of::<Connection>()
        );
    }
}
