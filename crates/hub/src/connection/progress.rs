//! How far the output of a connection has come: into the kernel, and to the peer's TCP.

use heartwire_proto::Time;

/// A moment that never comes.
pub(super) const NEVER: Time = Time::from_millis(u64::MAX);

/// What is known of the output. It is behind a pointer: connections are idle most of the time.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Progress(Option<Box<Watched>>);

#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
struct Watched {
    blocked: Option<Blocked>,
    question: Option<Question>,
}

/// Output that stands here and does not move.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Blocked {
    /// Since when not one byte of it has moved, into the kernel or to the peer.
    since: Time,
    /// When it was last looked at what the peer's TCP has not acknowledged, or when that could have
    /// been done for the first time.
    seen_at: Time,
    /// What that was, in bytes; `None` while nobody has looked.
    unacknowledged: Option<u64>,
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

impl Progress {
    /// A ping ends behind `waiting` bytes that are not written yet.
    pub(super) fn asked(&mut self, waiting: usize, now: Time) {
        self.0.get_or_insert_default().question = Some(Question {
            end: waiting as u64,
            written: 0,
            acknowledged: None,
            measured_at: now,
        });
    }

    /// The question is settled.
    pub(super) fn answered(&mut self) {
        if let Some(watched) = &mut self.0 {
            watched.question = None;
        }
        self.forget();
    }

    /// Since when output stands here and has not moved; [`NEVER`] if it is not so.
    pub(super) fn blocked_since(&self) -> Time {
        self.blocked().map_or(NEVER, |blocked| blocked.since)
    }

    /// Output that is blocked counts as blocked since then.
    pub(super) fn set_blocked_since(&mut self, since: Time) {
        if let Some(blocked) = self.0.as_mut().and_then(|it| it.blocked.as_mut()) {
            blocked.since = since;
        }
    }

    /// The kernel took bytes, perhaps none; `is_rest` says whether more stands here. Returns whether
    /// some of them stood before the end of the ping under way.
    pub(super) fn written(&mut self, bytes: usize, is_rest: bool, now: Time) -> bool {
        if is_rest && (bytes > 0 || self.blocked().is_none()) {
            self.0.get_or_insert_default().blocked = Some(Blocked {
                since: now,
                seen_at: now,
                unacknowledged: None,
            });
        }
        let Some(watched) = &mut self.0 else {
            return false;
        };
        let moves_ping =
            (watched.question.as_mut()).is_some_and(|question| question.written(bytes as u64, now));
        if !is_rest {
            watched.blocked = None;
            self.forget();
        }
        moves_ping
    }

    /// `unacknowledged` bytes of what the kernel took have not been acknowledged. Returns since when
    /// the answer's clock runs, if that has changed `[LIVE-5]`.
    pub(super) fn measured(&mut self, unacknowledged: u64, now: Time) -> Option<Time> {
        let watched = self.0.as_mut()?;
        if let Some(blocked) = &mut watched.blocked {
            blocked.measured(unacknowledged, now);
        }
        let question = watched.question.as_mut()?;
        question.measured(unacknowledged, now)
    }

    /// When it was last looked at what the peer's TCP has acknowledged, or could have been for the
    /// first time, if there is a reason to look again.
    pub(super) fn measured_at(&self) -> Option<Time> {
        let watched = self.0.as_ref()?;
        let question = watched.question.as_ref().and_then(Question::measured_at);
        let blocked = watched.blocked.as_ref().map(|blocked| blocked.seen_at);
        question.into_iter().chain(blocked).min()
    }

    fn blocked(&self) -> Option<&Blocked> {
        self.0.as_ref()?.blocked.as_ref()
    }

    /// Gives the memory back when there is nothing to watch.
    fn forget(&mut self) {
        let is_idle = |it: &mut Box<Watched>| it.blocked.is_none() && it.question.is_none();
        self.0.take_if(is_idle);
    }
}

impl Blocked {
    /// While nothing is written, fewer unacknowledged bytes are progress, whether a question is under
    /// way or not `[LIVE-11]`.
    fn measured(&mut self, unacknowledged: u64, now: Time) {
        self.seen_at = now;
        let before = self.unacknowledged.replace(unacknowledged);
        if before.is_some_and(|before| unacknowledged < before) {
            self.since = now;
        }
    }
}

impl Question {
    fn written(&mut self, bytes: u64, now: Time) -> bool {
        let moves_ping = bytes > 0 && self.written < self.end;
        self.written += bytes;
        if moves_ping {
            self.measured_at = now;
        }
        moves_ping
    }

    /// While the ping stands behind others, each acknowledged byte starts the clock over. Once it
    /// has been acknowledged itself, the clock runs from when that was last known not to be so: the
    /// moment of the last acknowledgement is not known, and a frozen peer gains nothing by it.
    fn measured(&mut self, unacknowledged: u64, now: Time) -> Option<Time> {
        let acknowledged = self.written as i64 - unacknowledged as i64;
        let before = self.acknowledged.replace(acknowledged);
        let measured_before = std::mem::replace(&mut self.measured_at, now);
        if before.is_none_or(|before| acknowledged <= before) {
            return None;
        }
        let end = self.end as i64;
        let ping_was_behind = before.is_some_and(|before| before < end);
        match acknowledged >= end {
            true => ping_was_behind.then_some(measured_before),
            false => Some(now),
        }
    }

    /// When it was last seen that the ping has not been acknowledged; nothing once it has.
    fn measured_at(&self) -> Option<Time> {
        let end = self.end as i64;
        let is_behind = self.acknowledged.is_none_or(|at| at < end);
        is_behind.then_some(self.measured_at)
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
        assert_eq!(progress.blocked_since(), NEVER);
        progress.written(0, true, at(2));
        progress.written(0, true, at(3));
        assert_eq!(progress.blocked_since(), at(2));
        progress.written(1, true, at(4));
        assert_eq!(progress.blocked_since(), at(4));
        progress.written(9, false, at(5));
        assert_eq!(progress, Progress::default());
    }

    #[test]
    fn acknowledged_bytes_unblock_without_a_question() {
        let mut progress = Progress::default();
        assert_eq!(progress.measured_at(), None);
        progress.written(10, true, at(1));
        assert_eq!(progress.measured_at(), Some(at(1)));
        assert_eq!(progress.measured(500, at(100)), None);
        progress.measured(500, at(200));
        assert_eq!(progress.blocked_since(), at(1));
        assert_eq!(progress.measured_at(), Some(at(200)));
        progress.measured(499, at(300));
        assert_eq!(progress.blocked_since(), at(300));
        // More is written, so that more bytes are unacknowledged by then.
        progress.written(1, true, at(400));
        progress.measured(700, at(500));
        assert_eq!(progress.blocked_since(), at(400));
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
        assert_eq!(progress.measured_at(), None);
        assert_eq!(progress.measured(0, at(500)), None);
    }

    #[test]
    fn a_ping_that_was_acknowledged_before_anybody_looked_gains_nothing() {
        let mut progress = Progress::default();
        progress.asked(7, at(0));
        assert!(progress.written(7, false, at(1)));
        assert_eq!(progress.measured_at(), Some(at(1)));
        assert_eq!(progress.measured(0, at(125)), None);
        assert_eq!(progress.measured_at(), None);
    }
}
