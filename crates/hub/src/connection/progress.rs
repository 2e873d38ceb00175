//! How far the output of a connection has come: into the kernel, and to the peer's TCP.

use heartwire_proto::Time;

/// A moment that never comes.
pub(super) const NEVER: Time = Time::from_millis(u64::MAX);

/// Bytes are counted from the connection's beginning.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Progress {
    /// What the kernel has taken.
    pub(super) written: u64,
    /// What the peer's TCP had acknowledged at `measured_at`; `None` while nobody looked since the
    /// latest ping.
    pub(super) acknowledged: Option<u64>,
    /// Where the latest ping ends.
    pub(super) ping_end: u64,
    /// When it was last known that the ping had not been acknowledged.
    pub(super) measured_at: Time,
    /// Since when output stands here and not one byte of it has moved.
    pub(super) blocked_since: Time,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            written: 0,
            acknowledged: None,
            ping_end: 0,
            measured_at: Time::ZERO,
            blocked_since: NEVER,
        }
    }
}

impl Progress {
    /// A ping ends behind `waiting` bytes that are not written yet.
    pub(super) fn asked(&mut self, waiting: usize, now: Time) {
        self.ping_end = self.written + waiting as u64;
        self.acknowledged = None;
        self.measured_at = now;
    }

    /// The kernel took bytes, perhaps none. Returns whether some of them stood before the end of the
    /// latest ping.
    pub(super) fn written(&mut self, bytes: usize, is_rest: bool, now: Time) -> bool {
        let moves_ping = bytes > 0 && self.written < self.ping_end;
        self.written += bytes as u64;
        if moves_ping {
            self.measured_at = now;
        }
        if !is_rest {
            self.blocked_since = NEVER;
        } else if bytes > 0 || self.blocked_since == NEVER {
            self.blocked_since = now;
        }
        moves_ping
    }

    /// `unacknowledged` bytes of what the kernel took have not been acknowledged. Returns since when
    /// the answer's clock runs, if that has changed `[LIVE-5]`.
    ///
    /// While the ping stands behind others, each acknowledged byte starts the clock over. Once it
    /// has been acknowledged itself, the clock runs from when that was last known not to be so: the
    /// moment of the last acknowledgement is not known, and a frozen peer gains nothing by it.
    pub(super) fn measured(&mut self, unacknowledged: u64, now: Time) -> Option<Time> {
        let acknowledged = self.written.saturating_sub(unacknowledged);
        let before = self.acknowledged.replace(acknowledged);
        let measured_before = std::mem::replace(&mut self.measured_at, now);
        if before.is_none_or(|before| acknowledged <= before) {
            return None;
        }
        if self.blocked_since != NEVER {
            self.blocked_since = now;
        }
        let ping_was_behind = before.is_some_and(|before| before < self.ping_end);
        match acknowledged >= self.ping_end {
            true => ping_was_behind.then_some(measured_before),
            false => Some(now),
        }
    }

    /// Whether the latest ping has not been seen acknowledged.
    pub(super) fn ping_is_under_way(&self) -> bool {
        self.acknowledged
            .is_none_or(|acknowledged| acknowledged < self.ping_end)
    }
}
