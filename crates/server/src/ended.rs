//! The last connections that have ended, so that each dead link can be explained afterwards.
//!
//! A living connection costs nothing here: what is kept is read off its state when it ends.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Mutex;
use std::time::Duration;

use heartwire_hub::{ConnectionInfo, End, Followed, Life, Mode, Reason, Side};
use heartwire_proto::{ConnectionId, Time};

use crate::sync::lock;

/// How much is kept for whoever looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ObservationLimits {
    /// Ended connections that are remembered. Each takes about a kilobyte.
    pub ended_max: usize,
    /// Followed topics whose lag is looked at for one answer of `/metrics`; 200,000 take about 20 ms,
    /// in parts of a thousand.
    pub lag_follows_max: usize,
}

impl Default for ObservationLimits {
    /// 512 ended connections, and the lag of 200,000 followed topics.
    fn default() -> Self {
        Self {
            ended_max: 512,
            lag_follows_max: 200_000,
        }
    }
}

/// How a connection's socket came to its end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Ending {
    /// One end has said so, or found the other dead.
    Closed(End),
    /// The peer ended the stream without a close frame.
    HungUp,
    /// The socket failed.
    Broken(String),
    /// The server's runtime stopped.
    Dropped,
}

impl Ending {
    /// Who, and why, in words that are few.
    pub(crate) fn reason(&self) -> Reason {
        match self {
            Self::Closed(end) => end.reason(),
            Self::HungUp => (Side::Peer, "hung-up"),
            Self::Broken(_) => (Side::Peer, "broken"),
            Self::Dropped => (Side::Server, "dropped"),
        }
    }
}

impl fmt::Display for Ending {
    /// For people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(end) => f.write_str(&end.close.reason),
            Self::HungUp => f.write_str("the peer hung up without a close frame"),
            Self::Broken(error) => f.write_str(error),
            Self::Dropped => f.write_str("the server stopped"),
        }
    }
}

/// What is known of a connection, be it alive or ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Account {
    pub(crate) mode: Mode,
    pub(crate) opened_at: Time,
    /// Nothing for a connection that has not said `hello`.
    pub(crate) info: Option<ConnectionInfo>,
    pub(crate) followed: Vec<Followed>,
    pub(crate) life: Life,
    /// When `info` was taken, or the connection ended.
    pub(crate) at: Time,
    /// Nothing for one that lives.
    pub(crate) ending: Option<Ending>,
}

impl Account {
    /// When it last asked for a topic, or followed those of its URL.
    pub(crate) fn asked_at(&self) -> Option<Time> {
        let after = self.info.as_ref()?.asked_after?;
        Some(self.joined_at()? + after)
    }

    /// When it said `hello`, or was upgraded in plain mode.
    pub(crate) fn joined_at(&self) -> Option<Time> {
        let age = self.info.as_ref()?.age;
        let at = Duration::from_millis(self.at.as_millis());
        let joined = at.saturating_sub(age);
        Some(Time::ZERO + joined)
    }
}

/// The ring.
pub(crate) struct EndedConnections {
    max: usize,
    /// The oldest first.
    ring: Mutex<VecDeque<Account>>,
}

impl EndedConnections {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            max,
            ring: Mutex::default(),
        }
    }

    /// Remembers one, and forgets the oldest if there are too many.
    pub(crate) fn add(&self, account: Account) {
        let mut ring = lock(&self.ring);
        ring.push_back(account);
        while ring.len() > self.max {
            ring.pop_front();
        }
    }

    /// The one with this id.
    pub(crate) fn find(&self, id: ConnectionId) -> Option<Account> {
        let ring = lock(&self.ring);
        let mut latest = ring.iter().rev();
        let found = latest.find(|account| account.info.as_ref().is_some_and(|info| info.id == id));
        found.cloned()
    }

    /// The latest, newest first.
    pub(crate) fn latest(&self, count_max: usize) -> Vec<Account> {
        let ring = lock(&self.ring);
        ring.iter().rev().take(count_max).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use heartwire_proto::CloseCode;

    use super::*;

    fn ended(at: u64) -> Account {
        Account {
            mode: Mode::V1,
            opened_at: Time::ZERO,
            info: None,
            followed: Vec::new(),
            life: Life::default(),
            at: Time::from_millis(at),
            ending: Some(Ending::HungUp),
        }
    }

    #[test]
    fn the_oldest_make_room_for_the_newest() {
        let ring = EndedConnections::new(2);
        for at in 1..=3 {
            ring.add(ended(at));
        }
        let at: Vec<u64> = ring
            .latest(9)
            .iter()
            .map(|account| account.at.as_millis())
            .collect();
        assert_eq!(at, [3, 2]);
        let none = EndedConnections::new(0);
        none.add(ended(1));
        assert_eq!(none.latest(9), []);
    }

    #[test]
    fn whatever_a_peer_closes_with_has_one_of_few_names() {
        let by_peer = |code| {
            let close = heartwire_proto::Close::new(CloseCode(code), "x");
            let end = End {
                by: Side::Peer,
                close,
                at: Time::ZERO,
                death: None,
            };
            Ending::Closed(end).reason().1
        };
        assert_eq!(by_peer(1001), "going-away");
        assert_eq!(by_peer(1005), "no-status");
        assert_eq!(by_peer(3999), "other");
        assert_eq!(by_peer(4242), "other");
    }
}
