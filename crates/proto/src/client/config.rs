//! What an application chooses for a link.

use std::time::Duration;

use crate::backoff::Reconnect;
use crate::frame::Payload;
use crate::heartbeat::HeartbeatConfig;
use crate::outbox::OutboxLimits;

/// The settings of a [`ClientSession`](super::ClientSession). The defaults are those of
/// PROTOCOL.md; every field can be set on its own.
///
/// ```
/// use heartwire_proto::client::{ClientConfig, Mode, PlainConfig};
///
/// let config = ClientConfig { mode: Mode::Plain(PlainConfig::default()), ..Default::default() };
/// assert_eq!(config.attempt_timeout.as_secs(), 10);
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ClientConfig {
    /// Which protocol is spoken.
    pub mode: Mode,
    /// Program and version for the server's operators, as `hello` tells them; v1 only. At most 200
    /// bytes are sent.
    pub agent: String,
    /// When a lost connection is dialled again, and how often.
    pub reconnect: Reconnect,
    /// How long one attempt may take, from asking for the token and resolving the name to
    /// `welcome`, or to the end of the handshake in plain mode `[RETRY-6]`.
    pub attempt_timeout: Duration,
    /// The heartbeat interval that `hello` asks for; `None` leaves it to the server. v1 only.
    pub heartbeat_interval: Option<Duration>,
    /// What the outbox holds at most; in plain mode, what waits for the transport.
    pub outbox: OutboxLimits,
    /// How many topics the link follows at most.
    pub topics_max: usize,
    /// How long servers remember a producer, as this end sees it: a publish that was first sent longer
    /// ago is not resent to a server that does not know this client any more `[HELLO-10]`. 23 h, an hour
    /// less than `[PUB-9]` says, as two clocks are at work.
    pub producer_memory: Duration,
    /// Whether the driver reports [`Input::Acknowledged`](super::Input::Acknowledged) at least
    /// once a second while the peer's TCP takes bytes. Otherwise payload in flight is allowed 1 s
    /// for each 16 KiB, which a dead connection then takes longer to be noticed `[LIVE-5]`.
    pub sees_acknowledgements: bool,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            mode: Mode::V1,
            agent: concat!("heartwire-rust/", env!("CARGO_PKG_VERSION")).to_owned(),
            reconnect: Reconnect::default(),
            // Long enough for Chromium, which holds back dials by up to 5 s after some refusals.
            attempt_timeout: Duration::from_secs(10),
            heartbeat_interval: None,
            outbox: OutboxLimits::default(),
            topics_max: 1_000,
            producer_memory: Duration::from_secs(23 * 3_600),
            sees_acknowledgements: false,
        }
    }
}

/// Which protocol a link speaks.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub enum Mode {
    /// `heartwire.v1`: cursors, acknowledgements, a heartbeat that the server dictates.
    #[default]
    V1,
    /// Raw messages with any WebSocket server; only heartbeat and reconnecting are ours.
    Plain(PlainConfig),
}

/// How a plain link keeps watch.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct PlainConfig {
    /// Interval and timeout. Any message is life, so a feed that never pauses is never asked.
    pub heartbeat: HeartbeatConfig,
    /// How the server is asked.
    pub ping: PlainPing,
    /// The message that answers a ping, if it is always the same: it is not handed to the
    /// application. A driver with a predicate of its own reports what it accepts as
    /// [`Input::Pong`](super::Input::Pong) and leaves this `None`.
    pub pong: Option<Payload>,
}

impl Default for PlainConfig {
    /// The brief's own: text `ping`, text `pong`, 10 s and 10 s.
    fn default() -> Self {
        Self {
            heartbeat: HeartbeatConfig::default(),
            ping: PlainPing::Message("ping".into()),
            pong: Some("pong".into()),
        }
    }
}

/// How a plain link asks whether the server is there.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum PlainPing {
    /// By a message of the application's protocol.
    Message(Payload),
    /// By an RFC 6455 Ping frame, which every server must answer. Browsers cannot send it.
    WebSocket,
}
