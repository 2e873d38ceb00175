//! A simulated TCP connection: two directions of bytes in order, each with a kernel at both ends.
//!
//! ```text
//!    sender's socket ──► flying (latency, pieces, blocks) ──► arrived ──► receiver's process
//!          ▲                                                     │
//!          └────────────── acknowledged ◄────────────────────────┘
//! ```
//!
//! What flies and what has arrived but was not read share one capacity, as the windows of TCP do.

use std::collections::VecDeque;

use heartwire_proto::Attempt;

/// The number of a connection, rising.
pub(crate) type WireId = usize;

/// Which way bytes go.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Way {
    /// From the client to the server.
    Up,
    /// From the server to the client.
    Down,
}

impl Way {
    pub(crate) const BOTH: [Self; 2] = [Self::Up, Self::Down];

    pub(crate) const fn back(self) -> Self {
        match self {
            Self::Up => Self::Down,
            Self::Down => Self::Up,
        }
    }
}

/// What travels.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Piece {
    Bytes(Vec<u8>),
    /// The server's answer to the upgrade.
    Upgraded,
    /// The sender hung up.
    End,
    /// The sender's socket is gone.
    Reset,
}

/// How a direction ended, as the receiver sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Over {
    End,
    Reset,
}

/// One direction.
#[derive(Debug, Default)]
pub(crate) struct Pipe {
    /// With the time at which each piece arrives, which never falls.
    flying: VecDeque<(u64, Piece)>,
    arrived: VecDeque<u8>,
    /// The upgrade was answered, and nobody has been told.
    pub(crate) upgraded: bool,
    pub(crate) over: Option<Over>,
    /// How many faults hold this direction up.
    blocks: u32,
    unacknowledged: usize,
    /// Arrived while acknowledgements could not travel back.
    owed: usize,
    /// All bytes whose acknowledgement has come back.
    pub(crate) acknowledged: u64,
    /// When the last byte arrived.
    pub(crate) heard_at: u64,
    /// When the last acknowledgement came back.
    pub(crate) acknowledged_at: u64,
}

impl Pipe {
    /// When a piece that is sent at `at` arrives: not before those sent earlier.
    pub(crate) fn not_overtaking(&self, at: u64) -> u64 {
        self.flying.back().map_or(at, |(last, _)| at.max(*last))
    }

    pub(crate) fn send(&mut self, at: u64, piece: Piece) {
        if let Piece::Bytes(bytes) = &piece {
            self.unacknowledged += bytes.len();
        }
        self.flying.push_back((at, piece));
    }

    /// How much more the sender's kernel takes.
    pub(crate) fn room(&self, capacity: usize) -> usize {
        capacity.saturating_sub(self.unacknowledged.max(self.owed) + self.arrived.len())
    }

    /// What the sender sees as not acknowledged, in bytes.
    pub(crate) const fn unacknowledged(&self) -> usize {
        self.unacknowledged
    }

    pub(crate) const fn is_blocked(&self) -> bool {
        self.blocks > 0
    }

    pub(crate) const fn block(&mut self) {
        self.blocks += 1;
    }

    /// Takes a block away; whether it was the last.
    pub(crate) const fn unblock(&mut self) -> bool {
        self.blocks = self.blocks.saturating_sub(1);
        self.blocks == 0
    }

    /// Whether nothing more is to be expected of it.
    pub(crate) fn is_idle(&self) -> bool {
        self.flying.is_empty() || self.is_blocked()
    }

    /// The next piece that has arrived by `now`, with how many of its bytes.
    pub(crate) fn land(&mut self, now: u64, acks_travel: bool) -> Option<Piece> {
        if self.is_blocked() || self.flying.front()?.0 > now {
            return None;
        }
        let (_, piece) = self.flying.pop_front()?;
        if let Piece::Bytes(bytes) = &piece {
            self.owed += bytes.len();
            self.heard_at = now;
        }
        if acks_travel {
            self.acknowledge(now);
        }
        Some(piece)
    }

    /// Acknowledgements travel: everything that has arrived is acknowledged.
    pub(crate) const fn acknowledge(&mut self, now: u64) {
        if self.owed > 0 {
            self.unacknowledged -= self.owed;
            self.acknowledged += self.owed as u64;
            self.acknowledged_at = now;
            self.owed = 0;
        }
    }

    /// Bytes that have landed wait to be read.
    pub(crate) fn keep(&mut self, bytes: &[u8]) {
        self.arrived.extend(bytes);
    }

    /// What flies is sent again when a block ends: nothing arrives before `at`.
    pub(crate) fn resend(&mut self, at: u64) {
        for piece in &mut self.flying {
            piece.0 = piece.0.max(at);
        }
    }

    /// Takes up to `bytes_max` of what has arrived.
    pub(crate) fn read(&mut self, bytes_max: usize) -> Vec<u8> {
        let count = self.arrived.len().min(bytes_max);
        self.arrived.drain(..count).collect()
    }

    pub(crate) fn is_dry(&self) -> bool {
        self.arrived.is_empty()
    }

    /// The arrivals that are due at the earliest, if nothing blocks them.
    pub(crate) fn next_at(&self) -> Option<u64> {
        self.flying.front().map(|(at, _)| *at)
    }
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Wire {
    /// The place of the client that dialled it.
    pub(crate) client: usize,
    pub(crate) attempt: Attempt,
    pub(crate) up: Pipe,
    pub(crate) down: Pipe,
    /// The client's process has its socket.
    pub(crate) client_has_it: bool,
    /// The server's process has its socket.
    pub(crate) server_has_it: bool,
    /// Neither end's kernel answers for the other any more: nothing is refused, everything is lost.
    pub(crate) is_dead: bool,
    /// How many faults touch it.
    troubles: u32,
    /// Since when none does.
    pub(crate) calm_since: u64,
    pub(crate) opened_at: u64,
    /// The longest heartbeat interval that its client has asked for, in milliseconds.
    pub(crate) interval_ms: u64,
}

impl Wire {
    pub(crate) fn new(client: usize, attempt: Attempt, now: u64) -> Self {
        let pipe = || Pipe {
            heard_at: now,
            acknowledged_at: now,
            ..Pipe::default()
        };
        Self {
            client,
            attempt,
            up: pipe(),
            down: pipe(),
            client_has_it: true,
            server_has_it: true,
            is_dead: false,
            troubles: 0,
            calm_since: now,
            opened_at: now,
            interval_ms: 0,
        }
    }

    pub(crate) const fn pipe(&self, way: Way) -> &Pipe {
        match way {
            Way::Up => &self.up,
            Way::Down => &self.down,
        }
    }

    pub(crate) const fn pipe_mut(&mut self, way: Way) -> &mut Pipe {
        match way {
            Way::Up => &mut self.up,
            Way::Down => &mut self.down,
        }
    }

    /// Whether the process at the receiving end of that way has its socket.
    pub(crate) const fn has_receiver(&self, way: Way) -> bool {
        match way {
            Way::Up => self.server_has_it,
            Way::Down => self.client_has_it,
        }
    }

    pub(crate) const fn trouble(&mut self) {
        self.troubles += 1;
    }

    pub(crate) const fn calm(&mut self, now: u64) {
        self.troubles = self.troubles.saturating_sub(1);
        self.calm_since = now;
    }

    /// For how long nothing has touched it; nothing while something does.
    pub(crate) const fn calm_for(&self, now: u64) -> Option<u64> {
        match self.troubles {
            0 => Some(now - self.calm_since),
            _ => None,
        }
    }
}
