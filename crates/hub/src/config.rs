//! What a hub is told when it is made.

use std::time::Duration;

use heartwire_log::LogConfig;
use heartwire_proto::Limits;
use heartwire_proto::frame::Durability;
use heartwire_proto::heartbeat::HeartbeatConfig;

use crate::presence::PresenceConfig;

/// The configuration of a [`HubState`](crate::HubState), shared by all connections.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct HubConfig {
    /// What each connection is allowed.
    pub limits: Limits,
    /// Interval and timeout; clients may ask for another interval within the limits.
    pub heartbeat: HeartbeatConfig,
    /// The bounds of the log; those that `limits` holds as well, the largest payload and the window
    /// of unacknowledged publishes, are taken from there.
    pub log: LogConfig,
    /// How many connections and in-process readers there may be: 1,000,000, more than one process
    /// can hold open; what admits sockets sets the bound that matters.
    pub connections_max: usize,
    /// How many topics all connections together may follow: 4,000,000, about 100 MB.
    pub follows_max: usize,
    /// How many of a connection's topics are told by name when somebody looks at it: 16, enough to
    /// recognise it by.
    pub topics_told_max: usize,
    /// For which topics it is told who is there.
    pub presence: PresenceConfig,
    /// How many identities that were shut out, or lost topics, are remembered: 10,000.
    pub subjects_max: usize,
    /// How long a client waits before it sends again what was refused for the moment: 1 s.
    pub unavailable_retry: Duration,
    /// How long a client stays away that came at a limit: 5 s.
    pub overload_retry: Duration,
    /// What an `ack` means.
    pub durability: Durability,
    /// Program and version, for people.
    pub server: String,
}

impl HubConfig {
    /// A configuration with these limits, and defaults for the rest.
    pub fn new(limits: Limits, heartbeat: HeartbeatConfig) -> Self {
        Self {
            limits,
            heartbeat,
            log: LogConfig::default(),
            connections_max: 1_000_000,
            follows_max: 4_000_000,
            topics_told_max: 16,
            presence: PresenceConfig::default(),
            subjects_max: 10_000,
            unavailable_retry: Duration::from_secs(1),
            overload_retry: Duration::from_secs(5),
            durability: Durability::Memory,
            server: concat!("heartwire/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }

    pub(crate) fn log(&self) -> LogConfig {
        LogConfig {
            message_bytes_max: self.limits.message_bytes_max,
            window: self.limits.unacked_max,
            window_bytes_max: self.limits.unacked_bytes_max,
            ..self.presence.log(&self.log)
        }
    }
}

impl Default for HubConfig {
    fn default() -> Self {
        Self::new(Limits::default(), HeartbeatConfig::default())
    }
}
