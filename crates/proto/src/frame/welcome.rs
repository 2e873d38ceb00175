//! The JSON of `welcome`: what the server tells a client when the connection opens.

use serde::{Deserialize, Serialize};

use crate::id::{ConnectionId, LogId, Seq, TopicName};
use crate::limits::Limits;

/// The JSON of `welcome`. Fields it does not name are ignored.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Welcome {
    /// The server's name for this connection.
    pub connection: ConnectionId,
    /// The server's log; another id than before means that the old one is gone.
    pub log: LogId,
    /// The last SEQ of this client that is durable.
    pub acked: Seq,
    /// Whether the server remembers publishes of this client.
    pub producer_known: bool,
    /// Topics named in the URL and granted; the server follows none of them unasked.
    #[serde(default)]
    pub topics: Vec<TopicName>,
    /// Interval and timeout in force.
    pub heartbeat: HeartbeatMillis,
    /// What the server allows.
    #[serde(default)]
    pub limits: WelcomeLimits,
    /// What an `ack` means.
    #[serde(default)]
    pub durability: Durability,
    /// What the server can do beyond the first version of the protocol; a client uses nothing that
    /// is not named here `[HELLO-7]`.
    #[serde(default)]
    pub features: Vec<String>,
    /// Program and version, for people.
    #[serde(default)]
    pub server: String,
}

/// Interval and timeout of a heartbeat as `welcome` tells them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct HeartbeatMillis {
    /// Silence after which the server asks, in milliseconds.
    pub interval_ms: u64,
    /// How long an answer may take, in milliseconds.
    pub timeout_ms: u64,
}

/// The limits that `welcome` tells; what it leaves out has the default of [`Limits`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct WelcomeLimits {
    /// The largest payload that is stored, in bytes.
    pub message_bytes_max: u64,
    /// How many topics a connection may follow.
    pub topics_max: u64,
    /// How many publishes may be without an `ack`.
    pub unacked_max: u64,
    /// How many bytes of them.
    pub unacked_bytes_max: u64,
}

impl From<&Limits> for WelcomeLimits {
    fn from(limits: &Limits) -> Self {
        Self {
            message_bytes_max: limits.message_bytes_max as u64,
            topics_max: limits.topics_max as u64,
            unacked_max: limits.unacked_max,
            unacked_bytes_max: limits.unacked_bytes_max as u64,
        }
    }
}

impl Default for WelcomeLimits {
    fn default() -> Self {
        Self::from(&Limits::default())
    }
}

/// What it takes before the server acknowledges.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// Stored in the server's memory; a restart loses it.
    #[default]
    Memory,
    /// On disk, after fsync.
    Disk,
    /// On the disks of most nodes.
    Quorum,
}
