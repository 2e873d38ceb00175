//! The memory of producers, by which a repeated publish is recognised `[PUB-3]` `[PUB-9]`.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::time::Duration;

use heartwire_proto::planted::{self, Bug};
use heartwire_proto::{ClientId, Seq, Time};
use siphasher::sip128::{Hasher128 as _, SipHasher24};

use crate::append::AppendError;
use crate::config::LogConfig;

/// How many producers with publishes under way are passed over to find one that can be forgotten.
const TRIES_MAX: usize = 64;

/// The least time for which a producer is remembered.
const AGE_MIN: Duration = Duration::from_millis(1);

/// Who publishes: a keyed hash of the token's subject and the client id. The id itself is a secret
/// and is not kept `[HELLO-3]`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProducerId([u64; 2]);

/// The id is a hash already, whose key nobody knows who chooses ids: half of it tells producers apart
/// as well as any hash of it would.
impl Hash for ProducerId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0[0]);
    }
}

impl ProducerId {
    /// A number that names the producer to others and gives nothing of the secret away: half of the
    /// hash.
    pub const fn public(self) -> u64 {
        self.0[0]
    }

    /// The number as it stands on disk.
    pub(crate) fn to_bytes(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.0[0].to_le_bytes());
        bytes[8..].copy_from_slice(&self.0[1].to_le_bytes());
        bytes
    }

    /// The number that stands on disk.
    pub(crate) fn from_bytes(bytes: [u8; 16]) -> Self {
        let whole = u128::from_le_bytes(bytes);
        Self([whole as u64, (whole >> 64) as u64])
    }
}

impl fmt::Debug for ProducerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.public())
    }
}

/// The key of the hash, drawn at random; a log on disk keeps it with itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProducerKey([u8; 16]);

impl ProducerKey {
    /// A key of 128 random bits.
    pub const fn new(random: u128) -> Self {
        Self(random.to_le_bytes())
    }

    /// The key as it stands on disk.
    pub(crate) const fn to_bytes(self) -> [u8; 16] {
        self.0
    }

    /// The key that stands on disk.
    pub(crate) const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The producer that a client with this id is, for the subject of its token.
    pub fn producer(&self, subject: Option<&str>, client: &ClientId) -> ProducerId {
        let subject = subject.unwrap_or_default();
        ProducerId(self.hash(&[subject.as_bytes(), client.as_str().as_bytes()]))
    }

    /// A keyed hash of several byte strings; where one ends and the next begins counts.
    pub fn hash(&self, parts: &[&[u8]]) -> [u64; 2] {
        let mut hasher = SipHasher24::new_with_key(&self.0);
        for part in parts {
            hasher.write(&(part.len() as u64).to_le_bytes());
            hasher.write(part);
        }
        let hash = hasher.finish128();
        [hash.h1, hash.h2]
    }
}

impl fmt::Debug for ProducerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProducerKey(secret)")
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Producer {
    pub(crate) appended: Seq,
    pub(crate) durable: Seq,
    /// How many of its appends wait to become durable.
    in_flight: u32,
    /// The bytes of their payloads.
    in_flight_bytes: u32,
    /// When it last published, or was kept though it had not for long.
    last_heard: Time,
    /// Under which key the calendar holds it: never later than it is due, often earlier.
    listed: Time,
}

impl Producer {
    /// Whether one more payload may wait to become durable. The first may, whatever its size.
    fn has_room(&self, payload_bytes: u32, bytes_max: usize) -> bool {
        let bytes = self.in_flight_bytes.checked_add(payload_bytes);
        self.in_flight == 0 || bytes.is_some_and(|bytes| bytes as usize <= bytes_max)
    }

    fn settled(&mut self, payload_bytes: u32) {
        self.in_flight -= 1;
        self.in_flight_bytes -= payload_bytes;
    }
}

/// Whether a publish is new.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Admission {
    New { appended_before: Option<Seq> },
    Repeated,
}

/// All producers, and a calendar of who has been silent longest.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Producers {
    by_id: BTreeMap<ProducerId, Producer>,
    calendar: BTreeSet<(Time, ProducerId)>,
}

impl Producers {
    pub(crate) fn get(&self, id: ProducerId) -> Option<&Producer> {
        self.by_id.get(&id)
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether an append of the producer waits to become durable.
    pub(crate) fn is_in_flight(&self, id: ProducerId) -> bool {
        self.get(id).is_some_and(|producer| producer.in_flight > 0)
    }

    /// Looks where a number stands, and whether there is room for its payload `[PUB-8]`; changes
    /// nothing.
    pub(crate) fn admit(
        &self,
        id: ProducerId,
        seq: Seq,
        payload_bytes: u32,
        config: &LogConfig,
    ) -> Result<Admission, AppendError> {
        let window = config.window;
        let Some(producer) = self.by_id.get(&id) else {
            return Ok(Admission::New {
                appended_before: None,
            });
        };
        let appended = producer.appended;
        if seq <= appended && planted::has(Bug::NoDedup) {
            let appended_before = Some(appended);
            return Ok(Admission::New { appended_before });
        }
        if seq <= appended {
            Ok(Admission::Repeated)
        } else if u64::from(producer.in_flight) >= window
            || !producer.has_room(payload_bytes, config.window_bytes_max)
        {
            Err(AppendError::Congested)
        } else {
            Ok(Admission::New {
                appended_before: Some(appended),
            })
        }
    }

    /// Makes room for one more, by forgetting the longest silent if need be.
    pub(crate) fn make_room(&mut self, config: &LogConfig) -> Result<(), AppendError> {
        for _ in 0..TRIES_MAX {
            if self.by_id.len() < config.producers_max {
                return Ok(());
            }
            let Some((listed, id)) = self.calendar.pop_first() else {
                break;
            };
            let Some(producer) = self.by_id.get_mut(&id) else {
                continue;
            };
            if producer.last_heard == listed && producer.in_flight == 0 {
                self.by_id.remove(&id);
            } else {
                // Whoever is in flight published a moment ago: it goes behind everybody else.
                let behind = self.calendar.last().map_or(listed, |last| last.0);
                producer.listed = match producer.in_flight > 0 {
                    true => behind.max(producer.last_heard),
                    false => producer.last_heard,
                };
                self.calendar.insert((producer.listed, id));
            }
        }
        Err(AppendError::Full { what: "producers" })
    }

    /// The producer has appended its number `seq`.
    pub(crate) fn appended(&mut self, id: ProducerId, seq: Seq, payload_bytes: u32, now: Time) {
        let calendar = &mut self.calendar;
        let producer = self.by_id.entry(id).or_insert_with(|| {
            calendar.insert((now, id));
            Producer {
                appended: seq,
                durable: Seq::ZERO,
                in_flight: 0,
                in_flight_bytes: 0,
                last_heard: now,
                listed: now,
            }
        });
        producer.appended = seq;
        producer.in_flight += 1;
        producer.in_flight_bytes += payload_bytes;
        producer.last_heard = now;
    }

    /// A producer that a disk remembered.
    pub(crate) fn restore(&mut self, id: ProducerId, durable: Seq, last_heard: Time) {
        let producer = Producer {
            appended: durable,
            durable,
            in_flight: 0,
            in_flight_bytes: 0,
            last_heard,
            listed: last_heard,
        };
        if self.by_id.insert(id, producer).is_none() {
            self.calendar.insert((last_heard, id));
        }
    }

    pub(crate) fn committed(&mut self, id: ProducerId, seq: Seq, payload_bytes: u32) {
        if let Some(producer) = self.by_id.get_mut(&id) {
            producer.durable = producer.durable.max(seq);
            producer.settled(payload_bytes);
        }
    }

    /// Undoes an append: the producer falls back, or was never known.
    pub(crate) fn undo(
        &mut self,
        id: ProducerId,
        appended_before: Option<Seq>,
        payload_bytes: u32,
    ) {
        let Some(producer) = self.by_id.get_mut(&id) else {
            return;
        };
        match appended_before {
            Some(appended) => {
                producer.appended = appended;
                producer.settled(payload_bytes);
            }
            None => {
                self.calendar.remove(&(producer.listed, id));
                self.by_id.remove(&id);
            }
        }
    }

    /// Forgets who has been silent for too long, looking at no more than `count_max`; whether there
    /// may be more. Whoever is kept counts as heard of.
    pub(crate) fn expire(
        &mut self,
        config: &LogConfig,
        now: Time,
        count_max: usize,
        keep: impl Fn(ProducerId) -> bool,
    ) -> bool {
        for _ in 0..count_max {
            let Some((listed, id)) = self.calendar.first().copied() else {
                return false;
            };
            // Without any age those who are kept would be due again at once.
            let age_max = config.producer_age_max.max(AGE_MIN);
            if listed + age_max > now {
                return false;
            }
            self.calendar.pop_first();
            let Some(producer) = self.by_id.get_mut(&id) else {
                continue;
            };
            if keep(id) {
                producer.last_heard = now;
            }
            if producer.in_flight > 0 {
                producer.listed = now;
            } else if producer.last_heard > listed {
                producer.listed = producer.last_heard;
            } else {
                self.by_id.remove(&id);
                continue;
            }
            self.calendar.insert((producer.listed, id));
        }
        true
    }
}

/// Of too many producers, those that `published` last stay.
pub(crate) fn keep_latest<T>(
    producers: &mut Vec<T>,
    count_max: usize,
    published: impl Fn(&T) -> Time,
) {
    if producers.len() > count_max {
        producers.sort_unstable_by_key(|known| Reverse(published(known)));
        producers.truncate(count_max);
    }
}
