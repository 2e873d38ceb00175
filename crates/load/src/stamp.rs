//! A message that says its number and when it was sent.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use heartwire::Payload;

/// What times count from. Sender and receiver are the same process, so one clock serves both.
static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The beginning of a numbered message: `NUMBER MICROSECONDS `, with whatever it takes to be of the
/// wanted length behind it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stamp {
    /// Counted from 0 by the publisher of a topic.
    pub number: u64,
    sent_us: u64,
}

impl Stamp {
    /// A message that is sent at this moment.
    pub fn new(number: u64) -> Self {
        Self {
            number,
            sent_us: now_us(),
        }
    }

    /// The message, of at least so many bytes.
    pub fn payload(self, bytes: usize) -> String {
        let text = format!("{} {} ", self.number, self.sent_us);
        format!("{text:x<bytes$}")
    }

    /// Reads a message; nothing if it was not made by [`payload`](Self::payload).
    pub fn parse(payload: &Payload) -> Option<Self> {
        let text = std::str::from_utf8(payload.as_bytes()).ok()?;
        let mut fields = text.split(' ');
        Some(Self {
            number: fields.next()?.parse().ok()?,
            sent_us: fields.next()?.parse().ok()?,
        })
    }

    /// How long ago it was sent.
    pub fn age(self) -> Duration {
        Duration::from_micros(now_us().saturating_sub(self.sent_us))
    }
}

fn now_us() -> u64 {
    u64::try_from(ORIGIN.elapsed().as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_says_what_was_stamped_on_it() {
        let stamp = Stamp::new(7);
        for bytes in [0, 64] {
            let text = stamp.payload(bytes);
            assert!(text.len() >= bytes);
            assert_eq!(Stamp::parse(&text.into()), Some(stamp));
        }
        assert_eq!(Stamp::parse(&"hello".into()), None);
    }
}
