//! What a receiver answers, and what that means.

use std::fmt;
use std::time::{Duration, SystemTime};

use heartwire_proto::Time;
use heartwire_proto::backoff::uniform;

/// The least delay before a request is repeated.
const DELAY_MIN: Duration = Duration::from_millis(100);
/// After n failures the delay is drawn from up to this times 2ⁿ.
const DELAY_UNIT: Duration = Duration::from_millis(500);
/// Where that stops growing for a receiver that is down: it should be found soon after it is back.
const DOWN_MAX: Duration = Duration::from_secs(60);
/// The same for one that refuses what it is sent: somebody has to mend something first.
const REFUSED_MAX: Duration = Duration::from_secs(300);
/// The longest that a receiver can ask to be left alone.
pub(super) const RETRY_AFTER_MAX: Duration = Duration::from_secs(600);
/// What is kept of an explanation, in characters.
const WHY_CHARS_MAX: usize = 200;

/// What became of a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Answer {
    /// The receiver has answered.
    Status {
        status: u16,
        /// For how long it asks to be left alone.
        retry_after: Option<Duration>,
    },
    /// It did not answer in time.
    Silent,
    /// It could not be reached, or broke off.
    Unreachable(Box<str>),
    /// There is nothing to send yet, as the messages could not be read from disk in time.
    Unreadable,
}

/// The kinds of answers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum Kind {
    /// 2xx: done.
    Taken,
    /// 3xx, and most of 4xx: the receiver does not want it as it is.
    Refused,
    /// 408, 425, 429: not at the moment.
    Busy,
    /// 5xx, and what is no status of HTTP.
    Failed,
    /// No answer in time.
    Silent,
    /// No connection, or it broke.
    Unreachable,
    /// Our own disk.
    Unreadable,
}

impl Kind {
    pub(crate) const ALL: [Self; 7] = [
        Self::Taken,
        Self::Refused,
        Self::Busy,
        Self::Failed,
        Self::Silent,
        Self::Unreachable,
        Self::Unreadable,
    ];

    /// The word for people and metrics.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::Refused => "refused",
            Self::Busy => "busy",
            Self::Failed => "failed",
            Self::Silent => "timeout",
            Self::Unreachable => "unreachable",
            Self::Unreadable => "unreadable",
        }
    }
}

impl Answer {
    /// A status without more.
    #[cfg(test)]
    pub(super) const fn status(status: u16) -> Self {
        let retry_after = None;
        Self::Status {
            status,
            retry_after,
        }
    }

    /// It could not be reached; the explanation is cut to what is shown.
    pub(super) fn unreachable(why: &str) -> Self {
        Self::Unreachable(why.chars().take(WHY_CHARS_MAX).collect())
    }

    pub(crate) const fn kind(&self) -> Kind {
        match self {
            Self::Status { status, .. } => match status {
                200..300 => Kind::Taken,
                408 | 425 | 429 => Kind::Busy,
                300..500 => Kind::Refused,
                _ => Kind::Failed,
            },
            Self::Silent => Kind::Silent,
            Self::Unreachable(_) => Kind::Unreachable,
            Self::Unreadable => Kind::Unreadable,
        }
    }

    /// When the topic is tried again after so many failures in a row.
    pub(super) fn retry_at(&self, failures: u32, now: Time, random: u64) -> Time {
        let most = match self.kind() {
            Kind::Refused => REFUSED_MAX,
            _ => DOWN_MAX,
        };
        // 2¹⁰ times the unit lies above either bound.
        let range_end = DELAY_UNIT * (1 << failures.min(10));
        now + uniform(DELAY_MIN, range_end.min(most), random)
    }

    /// Until when the receiver asks to be left alone, within bounds, and up to a tenth longer, so
    /// that not all who were told the same come back together.
    pub(super) fn pause_until(&self, now: Time, random: u64) -> Option<Time> {
        let Self::Status {
            retry_after: Some(asked),
            ..
        } = self
        else {
            return None;
        };
        let asked = (*asked).min(RETRY_AFTER_MAX);
        (self.kind() != Kind::Taken).then(|| now + uniform(asked, asked + asked / 10, random))
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status { status, .. } => write!(f, "answered {status}"),
            Self::Silent => f.write_str("no answer in time"),
            Self::Unreachable(why) => f.write_str(why),
            Self::Unreadable => f.write_str("the messages could not be read from disk in time"),
        }
    }
}

/// `Retry-After`, in either form; nothing when it makes no sense.
pub(super) fn retry_after(value: &str, wall: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(wall).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time::from_millis(1_000_000);

    fn delays(answer: &Answer, random: u64) -> Vec<u64> {
        let at = (1..=12).map(|failures| answer.retry_at(failures, NOW, random));
        at.map(|at| at.since(NOW).as_millis() as u64).collect()
    }

    #[test]
    fn two_hundreds_alone_are_done() {
        for (status, kind) in [
            (200, Kind::Taken),
            (204, Kind::Taken),
            (299, Kind::Taken),
            (301, Kind::Refused),
            (400, Kind::Refused),
            (408, Kind::Busy),
            (410, Kind::Refused),
            (425, Kind::Busy),
            (429, Kind::Busy),
            (500, Kind::Failed),
            (503, Kind::Failed),
            (101, Kind::Failed),
            (999, Kind::Failed),
        ] {
            assert_eq!(Answer::status(status).kind(), kind, "{status}");
        }
    }

    #[test]
    fn the_range_of_delays_doubles_up_to_a_bound() {
        let most = delays(&Answer::Silent, u64::MAX);
        assert_eq!(most[..4], [999, 1_999, 3_999, 7_999]);
        assert_eq!(most[11], 59_999);
        assert_eq!(delays(&Answer::status(404), u64::MAX)[11], 299_999);
        assert_eq!(delays(&Answer::status(500), 0), [100; 12]);
    }

    #[test]
    fn a_receiver_may_ask_to_be_left_alone_within_a_bound() {
        let asks = |seconds| Answer::Status {
            status: 429,
            retry_after: Some(Duration::from_secs(seconds)),
        };
        let pause = |seconds, random| asks(seconds).pause_until(NOW, random);
        assert_eq!(pause(10, 0), Some(NOW + Duration::from_secs(10)));
        let longest = Duration::from_secs(660);
        assert!(pause(u64::MAX, u64::MAX).is_some_and(|until| until <= NOW + longest));
        assert_eq!(Answer::status(429).pause_until(NOW, 0), None);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let after = |text| retry_after(text, wall).map(|span| span.as_secs());
        assert_eq!(after(" 120 "), Some(120));
        assert_eq!(after("Sun, 06 Nov 1994 08:50:00 GMT"), Some(23));
        assert_eq!(after("Sun, 06 Nov 1994 08:00:00 GMT"), Some(0));
        for wrong in ["", "-1", "1.5", "soon"] {
            assert_eq!(after(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn an_explanation_is_cut_to_what_is_shown() {
        let long = "é".repeat(1_000);
        assert_eq!(Answer::unreachable(&long).to_string().chars().count(), 200);
    }
}
