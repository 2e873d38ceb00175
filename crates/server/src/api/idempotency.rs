//! Publishing once although asked twice: the `Idempotency-Key` of HTTP.
//!
//! A key is remembered for 10 minutes, and at most 100,000 are; the oldest give way. The same key
//! with another body is refused, and a second request with a key in flight waits for the first.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use heartwire_proto::Time;
use http::StatusCode;
use tokio::sync::OnceCell;

use super::error::HttpError;
use crate::sync::lock;

/// How long a key is remembered.
const REMEMBERED: Duration = Duration::from_secs(10 * 60);
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
    request: u64,
    answer: Arc<OnceCell<T>>,
}

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

impl<T: Clone + Send + Sync + 'static> IdempotencyKeys<T> {
    /// Checks a key, and notes what it is used for: `request` is everything that makes two
    /// requests the same.
    pub(crate) fn use_of(
        &self,
        key: &[u8],
        request: impl std::hash::Hash,
    ) -> Result<Use, HttpError> {
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

    /// Runs `publish`, unless a request with this key has done so or is about to: then its answer
    /// is the answer.
    ///
    /// It runs to its end even if the caller goes away: a message that is stored while nobody
    /// waits would otherwise be stored again by the next try.
    pub(crate) async fn once<F>(&self, used: Use, now: Time, publish: F) -> Result<T, HttpError>
    where
        F: Future<Output = Result<T, HttpError>> + Send + 'static,
    {
        let answer = self.slot(used, now)?;
        let task = tokio::spawn(async move { answer.get_or_try_init(|| publish).await.cloned() });
        task.await.unwrap_or_else(|_| Err(HttpError::internal()))
    }

    fn slot(&self, used: Use, now: Time) -> Result<Arc<OnceCell<T>>, HttpError> {
        let mut remembered = lock(&self.remembered);
        remembered.forget(now);
        if let Some(slot) = remembered.by_key.get(&used.key) {
            return if slot.request == used.request {
                Ok(slot.answer.clone())
            } else {
                Err(reused())
            };
        }
        let answer = Arc::new(OnceCell::new());
        let slot = Slot {
            request: used.request,
            answer: answer.clone(),
        };
        remembered.by_key.insert(used.key, slot);
        remembered.order.push_back((now, used.key));
        Ok(answer)
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
    use std::sync::atomic::{AtomicU32, Ordering};
    use tokio::sync::Notify;

    fn at(seconds: u64) -> Time {
        Time::from_millis(seconds * 1_000)
    }

    async fn publish(
        keys: &IdempotencyKeys<u32>,
        key: &str,
        body: &str,
        seconds: u64,
        answer: u32,
    ) -> Result<u32, u16> {
        let used = keys
            .use_of(key.as_bytes(), body)
            .map_err(|error| error.status.as_u16())?;
        let outcome = keys
            .once(used, at(seconds), async move { Ok(answer) })
            .await;
        outcome.map_err(|error| error.status.as_u16())
    }

    #[tokio::test]
    async fn the_first_answer_is_the_answer_for_ten_minutes() {
        let keys = IdempotencyKeys::default();
        assert_eq!(publish(&keys, "k", "a", 0, 1).await, Ok(1));
        assert_eq!(publish(&keys, "k", "a", 599, 2).await, Ok(1));
        assert_eq!(publish(&keys, "other", "a", 599, 3).await, Ok(3));
        assert_eq!(publish(&keys, "k", "a", 600, 4).await, Ok(4));
    }

    #[tokio::test]
    async fn another_body_under_the_same_key_is_refused() {
        let keys = IdempotencyKeys::default();
        assert_eq!(publish(&keys, "k", "a", 0, 1).await, Ok(1));
        assert_eq!(publish(&keys, "k", "b", 1, 2).await, Err(422));
        assert_eq!(publish(&keys, "", "b", 1, 2).await, Err(400));
    }

    #[tokio::test]
    async fn a_failure_may_be_tried_again() {
        let keys = IdempotencyKeys::<u32>::default();
        let used = keys.use_of(b"k", "a").expect("a valid key");
        let failed = keys
            .once(used, at(0), async { Err(HttpError::internal()) })
            .await;
        assert!(failed.is_err());
        assert_eq!(publish(&keys, "k", "a", 1, 2).await, Ok(2));
    }

    #[tokio::test]
    async fn the_second_request_waits_for_the_first_even_if_that_one_is_gone() {
        let keys = Arc::new(IdempotencyKeys::default());
        let used = keys.use_of(b"k", "a").expect("a valid key");
        let (stored, runs) = (Arc::new(Notify::new()), Arc::new(AtomicU32::new(0)));
        let slow = {
            let (stored, runs) = (stored.clone(), runs.clone());
            async move {
                stored.notified().await;
                Ok(runs.fetch_add(1, Ordering::Relaxed) + 1)
            }
        };
        // The first caller is dropped while its publish waits to be stored.
        let first = tokio::time::timeout(Duration::ZERO, keys.once(used, at(0), slow)).await;
        assert!(first.is_err(), "nothing was stored yet");
        stored.notify_one();
        assert_eq!(publish(&keys, "k", "a", 1, 99).await, Ok(1));
        assert_eq!(runs.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn the_oldest_give_way_at_the_cap() {
        let keys = IdempotencyKeys::<u32>::default();
        for number in 0..=KEYS_MAX {
            let used = keys
                .use_of(number.to_string().as_bytes(), "a")
                .expect("a valid key");
            keys.slot(used, at(0)).expect("a new key");
        }
        assert_eq!(lock(&keys.remembered).order.len(), KEYS_MAX);
        assert_eq!(lock(&keys.remembered).by_key.len(), KEYS_MAX);
    }
}
