//! How far the output of a connection has come: into the kernel, and to the peer's TCP.

use std::time::Duration;

use heartwire_proto::Time;

/// A moment that never comes.
pub(super) const NEVER: Time = Time::from_millis(u64::MAX);

/// No number of bytes that a kernel holds for one socket.
const UNSEEN: u32 = u32::MAX;

/// What is known of the output. Of a ping under way more is, behind a pointer: connections are idle
/// most of the time.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Progress {
    /// Since when output stands here and not one byte of it has moved.
    pub(super) blocked_since: Time,
    /// How much later it was last looked at what the peer's TCP has not acknowledged; 0 while that
    /// has not been done. All of this is small, as each connection has it.
    seen_after_ms: u32,
    /// What that was, in bytes; [`UNSEEN`] before.
    unacknowledged: u32,
    question: Option<Box<Question>>,
}

/// A ping under way. Bytes are counted from the moment when it was put behind the others.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Question {
    /// Where the ping ends.
    end: u64,
    /// What the kernel has taken.
    written: u64,
    /// What the peer's TCP was last seen to have acknowledged, of these bytes and those before them;
    /// `None` while nobody has looked.
    acknowledged: Option<i64>,
    /// When it was last known that the ping had not been acknowledged.
    measured_at: Time,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            blocked_since: NEVER,
            seen_after_ms: 0,
            unacknowledged: UNSEEN,
            question: None,
        }
    }
}

impl Progress {
    /// A ping ends behind `waiting` bytes that are not written yet.
    pub(super) fn asked(&mut self, waiting: usize, now: Time) {
        self.question = Some(Box::new(Question {
            end: waiting as u64,
            written: 0,
            acknowledged: None,
            measured_at: now,
        }));
    }

    /// The question is settled.
    pub(super) fn answered(&mut self) {
        self.question = None;
    }

    /// The kernel took bytes, perhaps none; `is_rest` says whether more stands here. Returns whether
    /// some of them stood before the end of the ping under way.
    pub(super) fn written(&mut self, bytes: usize, is_rest: bool, now: Time) -> bool {
        if !is_rest {
            self.blocked_since = NEVER;
        } else if bytes > 0 || self.blocked_since == NEVER {
            self.blocked_since = now;
            self.seen_after_ms = 0;
            self.unacknowledged = UNSEEN;
        }
        let Some(question) = &mut self.question else {
            return false;
        };
        let moves_ping = bytes > 0 && question.written < question.end;
        question.written += bytes as u64;
        if moves_ping {
            question.measured_at = now;
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
        self.measured_while_blocked(unacknowledged, now);
        let question = self.question.as_mut()?;
        let acknowledged = question.written as i64 - unacknowledged as i64;
        let before = question.acknowledged.replace(acknowledged);
        let measured_before = std::mem::replace(&mut question.measured_at, now);
        if before.is_none_or(|before| acknowledged <= before) {
            return None;
        }
        let end = question.end as i64;
        let ping_was_behind = before.is_some_and(|before| before < end);
        match acknowledged >= end {
            true => ping_was_behind.then_some(measured_before),
            false => Some(now),
        }
    }

    /// Whether the kernel has taken the whole ping under way.
    pub(super) fn is_ping_written(&self) -> bool {
        let question = self.question.as_ref();
        question.is_some_and(|question| question.written >= question.end)
    }

    /// While nothing is written, fewer unacknowledged bytes are progress, whether a question is under
    /// way or not `[LIVE-11]`.
    fn measured_while_blocked(&mut self, unacknowledged: u64, now: Time) {
        if self.blocked_since == NEVER {
            return;
        }
        let unacknowledged = u32::try_from(unacknowledged).unwrap_or(UNSEEN - 1);
        let before = std::mem::replace(&mut self.unacknowledged, unacknowledged);
        if before != UNSEEN && unacknowledged < before {
            self.blocked_since = now;
        }
        let seen_after_ms = now.since(self.blocked_since).as_millis();
        self.seen_after_ms = u32::try_from(seen_after_ms).unwrap_or(u32::MAX);
    }

    /// While the output is blocked: when it was last looked at what the peer's TCP acknowledges, or
    /// could have been for the first time.
    pub(super) fn blocked_seen_at(&self) -> Option<Time> {
        let seen_after = Duration::from_millis(self.seen_after_ms.into());
        (self.blocked_since != NEVER).then(|| self.blocked_since + seen_after)
    }

    /// When it was last seen that the ping under way has not been acknowledged; nothing once it
    /// has.
    pub(super) fn unacknowledged_at(&self) -> Option<Time> {
        let question = self.question.as_ref()?;
        let end = question.end as i64;
        let is_behind = question.acknowledged.is_none_or(|at| at < end);
        is_behind.then_some(question.measured_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::from_millis(millis)
    }

    #[test]
    fn output_is_blocked_since_its_last_byte_moved() {
        let mut progress = Progress::default();
        progress.written(10, false, at(1));
        assert_eq!(progress.blocked_since, NEVER);
        progress.written(0, true, at(2));
        progress.written(0, true, at(3));
        assert_eq!(progress.blocked_since, at(2));
        progress.written(1, true, at(4));
        assert_eq!(progress.blocked_since, at(4));
        progress.written(9, false, at(5));
        assert_eq!(progress.blocked_since, NEVER);
    }

    #[test]
    fn acknowledged_bytes_unblock_without_a_question() {
        let mut progress = Progress::default();
        assert_eq!(progress.blocked_seen_at(), None);
        progress.written(10, true, at(1));
        assert_eq!(progress.blocked_seen_at(), Some(at(1)));
        assert_eq!(progress.measured(500, at(100)), None);
        progress.measured(500, at(200));
        assert_eq!(progress.blocked_since, at(1));
        assert_eq!(progress.blocked_seen_at(), Some(at(200)));
        progress.measured(499, at(300));
        assert_eq!(progress.blocked_since, at(300));
        // More is written, so that more bytes are unacknowledged by then.
        progress.written(1, true, at(400));
        progress.measured(700, at(500));
        assert_eq!(progress.blocked_since, at(400));
    }

    #[test]
    fn the_clock_starts_over_with_each_byte_acknowledged_before_the_ping() {
        let mut progress = Progress::default();
        progress.asked(1_000, at(0));
        assert!(progress.written(1_000, false, at(10)));
        assert_eq!(
            progress.measured(5_000, at(100)),
            None,
            "the first look compares with nothing"
        );
        assert_eq!(progress.measured(3_000, at(200)), Some(at(200)));
        assert_eq!(progress.measured(3_000, at(300)), None);
        assert_eq!(
            progress.measured(0, at(400)),
            Some(at(300)),
            "no later than it may have been"
        );
        assert_eq!(progress.unacknowledged_at(), None);
        assert_eq!(progress.measured(0, at(500)), None);
    }

    #[test]
    fn a_ping_that_was_acknowledged_before_anybody_looked_gains_nothing() {
        let mut progress = Progress::default();
        progress.asked(7, at(0));
        assert!(progress.written(7, false, at(1)));
        assert_eq!(progress.unacknowledged_at(), Some(at(1)));
        assert_eq!(progress.measured(0, at(125)), None);
        assert_eq!(progress.unacknowledged_at(), None);
    }
}
