//! Publishing once although asked twice: the `Idempotency-Key` of HTTP.
//!
//! A key is remembered for 10 minutes, and at most 100,000 are; the oldest give way. The same key
//! with another body is refused, and a second request with a key in flight waits for the first.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Mutex;
use std::time::Duration;

use heartwire_proto::Time;
use http::StatusCode;
use tokio::sync::watch;

use super::error::HttpError;
use crate::sync::lock;

/// How long a key is remembered.
pub(crate) const REMEMBERED: Duration = Duration::from_secs(10 * 60);
/// How many keys are remembered at most.
const KEYS_MAX: usize = 100_000;
/// The longest key, in bytes.
const KEY_BYTES_MAX: usize = 255;

/// Which key, and what it was used for; hashes, so that memory does not depend on what was sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Use {
    key: u64,
    request: u64,
}

/// The answers given to requests with a key. `T` is the answer of a success; a request that failed
/// may be tried again under its key.
pub(crate) struct IdempotencyKeys<T> {
    hasher: RandomState,
    remembered: Mutex<Remembered<T>>,
}

struct Remembered<T> {
    by_key: HashMap<u64, Slot<T>>,
    /// Keys by their age, the oldest first.
    order: VecDeque<(Time, u64)>,
}

struct Slot<T> {
    since: Time,
    request: u64,
    answer: watch::Receiver<Answer<T>>,
}

/// `None` while the first request is in flight.
type Answer<T> = Option<Result<T, HttpError>>;

/// Whose turn it is to publish.
pub(crate) enum Turn<T> {
    /// This request's: it publishes, and tells what came of it.
    First(First<T>, Repeat<T>),
    /// Another's, which has published or is about to.
    Repeat(Repeat<T>),
}

/// The right to publish under a key.
pub(crate) struct First<T> {
    used: Use,
    since: Time,
    answer: watch::Sender<Answer<T>>,
}

/// The answer to come.
pub(crate) struct Repeat<T>(watch::Receiver<Answer<T>>);

impl<T> Default for IdempotencyKeys<T> {
    fn default() -> Self {
        Self {
            hasher: RandomState::new(),
            remembered: Mutex::new(Remembered {
                by_key: HashMap::new(),
                order: VecDeque::new(),
            }),
        }
    }
}

impl<T: Clone> IdempotencyKeys<T> {
    /// Checks a key, and notes what it is used for: `request` is everything that makes two
    /// requests the same.
    pub(crate) fn use_of(&self, key: &[u8], request: impl Hash) -> Result<Use, HttpError> {
        if key.is_empty() || key.len() > KEY_BYTES_MAX || !key.iter().all(u8::is_ascii_graphic) {
            return Err(HttpError::bad_request(
                "bad-idempotency-key",
                format!("an idempotency key is 1-{KEY_BYTES_MAX} visible ASCII characters"),
            ));
        }
        Ok(Use {
            key: self.hasher.hash_one(key),
            request: self.hasher.hash_one(request),
        })
    }

    /// Decides who publishes.
    ///
    /// Whoever is first publishes to the end even if its caller goes away, and then calls
    /// [`settle`](Self::settle): a message that was stored while nobody waited would otherwise be
    /// stored again by the next try.
    pub(crate) fn turn(&self, used: Use, now: Time) -> Result<Turn<T>, HttpError> {
        let mut remembered = lock(&self.remembered);
        remembered.forget(now);
        if let Some(slot) = remembered.by_key.get(&used.key) {
            return if slot.request == used.request {
                Ok(Turn::Repeat(Repeat(slot.answer.clone())))
            } else {
                Err(reused())
            };
        }
        let (sender, receiver) = watch::channel(None);
        let slot = Slot {
            since: now,
            request: used.request,
            answer: receiver.clone(),
        };
        remembered.by_key.insert(used.key, slot);
        remembered.order.push_back((now, used.key));
        let first = First {
            used,
            since: now,
            answer: sender,
        };
        Ok(Turn::First(first, Repeat(receiver)))
    }

    /// What came of publishing. A failure frees the key, so that it may be tried again.
    pub(crate) fn settle(&self, first: First<T>, answer: Result<T, HttpError>) {
        let First {
            used,
            since,
            answer: sender,
        } = first;
        if answer.is_err() {
            lock(&self.remembered).free(used.key, since);
        }
        sender.send_replace(Some(answer));
    }
}

impl<T: Clone> Repeat<T> {
    /// Waits for the first request with the key.
    pub(crate) async fn answer(mut self) -> Result<T, HttpError> {
        match self.0.wait_for(Option::is_some).await {
            Ok(answer) => answer.clone().unwrap_or_else(|| Err(HttpError::internal())),
            Err(_) => Err(HttpError::internal()),
        }
    }
}

impl<T> Remembered<T> {
    /// Makes room for one more, and drops what is too old.
    fn forget(&mut self, now: Time) {
        while let Some((since, key)) = self.order.front().copied() {
            if now.since(since) < REMEMBERED && self.order.len() < KEYS_MAX {
                break;
            }
            self.order.pop_front();
            self.free(key, since);
        }
    }

    /// Frees a key, unless it has been used anew meanwhile: one that failed and was used again
    /// stands in the order twice, and one that gave way at the cap may be somebody else's.
    fn free(&mut self, key: u64, since: Time) {
        let slot = self.by_key.get(&key);
        if slot.is_some_and(|slot| slot.since == since) {
            self.by_key.remove(&key);
        }
    }
}

fn reused() -> HttpError {
    HttpError::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "idempotency-key-reused",
        "this key was used for another message: draw a new key for each message",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::from_millis(seconds * 1_000)
    }

    fn turn(
        keys: &IdempotencyKeys<u32>,
        key: &str,
        body: &str,
        seconds: u64,
    ) -> Result<Turn<u32>, u16> {
        let used = keys.use_of(key.as_bytes(), body);
        used.and_then(|used| keys.turn(used, at(seconds)))
            .map_err(|error| error.status.as_u16())
    }

    fn first(keys: &IdempotencyKeys<u32>, key: &str, seconds: u64) -> First<u32> {
        match turn(keys, key, "body", seconds) {
            Ok(Turn::First(first, _)) => first,
            _ => panic!("{key} is nobody else's at {seconds} s"),
        }
    }

    fn repeat(keys: &IdempotencyKeys<u32>, key: &str, seconds: u64) -> Repeat<u32> {
        match turn(keys, key, "body", seconds) {
            Ok(Turn::Repeat(repeat)) => repeat,
            _ => panic!("{key} is in use at {seconds} s"),
        }
    }

    #[tokio::test]
    async fn the_first_answer_is_the_answer_for_ten_minutes() {
        let keys = IdempotencyKeys::default();
        keys.settle(first(&keys, "k", 0), Ok(7));
        assert_eq!(repeat(&keys, "k", 599).answer().await, Ok(7));
        first(&keys, "other", 599);
        first(&keys, "k", 600);
    }

    #[test]
    fn another_body_under_the_same_key_is_refused() {
        let keys = IdempotencyKeys::default();
        keys.settle(first(&keys, "k", 0), Ok(7));
        assert_eq!(turn(&keys, "k", "another body", 1).err(), Some(422));
        assert_eq!(turn(&keys, "", "body", 1).err(), Some(400));
        assert_eq!(turn(&keys, &"k".repeat(256), "body", 1).err(), Some(400));
    }

    #[tokio::test]
    async fn a_failure_is_told_to_who_waits_and_may_be_tried_again() {
        let keys = IdempotencyKeys::default();
        let failing = first(&keys, "k", 0);
        let waiting = repeat(&keys, "k", 0);
        keys.settle(failing, Err(HttpError::internal()));
        assert!(waiting.answer().await.is_err());
        first(&keys, "k", 0);
    }

    #[test]
    fn a_late_failure_frees_nobody_elses_key() {
        let keys = IdempotencyKeys::default();
        let late = first(&keys, "k", 0);
        let newer = first(&keys, "k", 600);
        keys.settle(late, Err(HttpError::internal()));
        assert!(matches!(turn(&keys, "k", "body", 601), Ok(Turn::Repeat(_))));
        keys.settle(newer, Ok(7));
    }

    #[tokio::test]
    async fn the_second_request_waits_for_the_first() {
        let keys = IdempotencyKeys::default();
        let in_flight = first(&keys, "k", 0);
        let mut waiting = std::pin::pin!(repeat(&keys, "k", 0).answer());
        let early = tokio::time::timeout(Duration::ZERO, waiting.as_mut()).await;
        assert!(early.is_err(), "there is no answer yet");
        keys.settle(in_flight, Ok(7));
        assert_eq!(waiting.await, Ok(7));
    }

    #[test]
    fn the_oldest_give_way_at_the_cap() {
        let keys = IdempotencyKeys::<u32>::default();
        for number in 0..=KEYS_MAX {
            assert!(turn(&keys, &number.to_string(), "body", 0).is_ok());
        }
        assert_eq!(lock(&keys.remembered).order.len(), KEYS_MAX);
        assert_eq!(lock(&keys.remembered).by_key.len(), KEYS_MAX);
    }
}
