//! What few connections have, behind one pointer, as very many have none of it.

use std::time::Duration;

use heartwire_proto::bucket::{Bucket, Rate};
use heartwire_proto::{Limits, Time};

use super::progress::NEVER;

/// Nothing, mostly.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Extra(Option<Box<Held>>);

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Held {
    /// When the grant ends.
    expires_at: Time,
    /// A fresh token is being looked at.
    is_renewing: bool,
    messages: Bucket,
    bytes: Bucket,
    /// The latest answer to a ping, as a whole frame, while too much stands before it `[WS-10]`;
    /// empty while there is none.
    late_pong: Vec<u8>,
}

const NOTHING: Held = Held {
    expires_at: NEVER,
    is_renewing: false,
    messages: Bucket::FULL,
    bytes: Bucket::FULL,
    late_pong: Vec::new(),
};

impl Extra {
    pub(super) fn expires_at(&self) -> Time {
        self.0.as_ref().map_or(NEVER, |held| held.expires_at)
    }

    pub(super) fn set_expires_at(&mut self, expires_at: Time) {
        self.change(|held| held.expires_at = expires_at);
    }

    pub(super) fn is_renewing(&self) -> bool {
        self.0.as_ref().is_some_and(|held| held.is_renewing)
    }

    pub(super) fn set_renewing(&mut self, is_renewing: bool) {
        self.change(|held| held.is_renewing = is_renewing);
    }

    /// A message of so many bytes has come. An error says how long to stay away.
    pub(super) fn spend(
        &mut self,
        bytes: usize,
        limits: &Limits,
        now: Time,
    ) -> Result<(), Duration> {
        let (messages, volume) = (limits.messages_rate(), limits.bytes_rate());
        if messages.is_none() && volume.is_none() {
            return Ok(());
        }
        let take = |bucket: &mut Bucket, amount, rate: Option<Rate>| {
            rate.map_or(Ok(()), |rate| bucket.take(amount, rate, now))
        };
        let mut spent = Ok(());
        self.change(|held| {
            spent = take(&mut held.messages, 1, messages)
                .and_then(|()| take(&mut held.bytes, bytes as u64, volume));
        });
        spent
    }

    pub(super) fn set_late_pong(&mut self, frame: Vec<u8>) {
        self.change(|held| held.late_pong = frame);
    }

    pub(super) fn take_late_pong(&mut self) -> Option<Vec<u8>> {
        let waits = self
            .0
            .as_ref()
            .is_some_and(|held| !held.late_pong.is_empty());
        let mut frame = Vec::new();
        if waits {
            self.change(|held| std::mem::swap(&mut held.late_pong, &mut frame));
        }
        waits.then_some(frame)
    }

    /// What has come back to nothing costs nothing.
    fn change(&mut self, change: impl FnOnce(&mut Held)) {
        let mut held = self.0.take().unwrap_or_else(|| Box::new(NOTHING));
        change(&mut held);
        self.0 = (*held != NOTHING).then_some(held);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_gone_leaves_nothing() {
        let mut extra = Extra::default();
        assert_eq!(extra.take_late_pong(), None);
        extra.set_renewing(true);
        extra.set_late_pong(b"late".to_vec());
        extra.set_expires_at(Time::from_millis(7));
        assert_eq!(extra.take_late_pong(), Some(b"late".to_vec()));
        extra.set_renewing(false);
        assert_eq!(extra.expires_at(), Time::from_millis(7));
        extra.set_expires_at(NEVER);
        assert_eq!(extra, Extra(None));
    }
}
