//! The hub: topics, who follows them, and who is connected.
//!
//! A **record** stands for one connection, or one reader inside the process. Its key goes stale when
//! it is removed, so that whatever an old socket still says after a takeover is refused.

mod attendance;
mod deliver;
mod follow;
mod follows;
mod lag;
mod list;
mod publish;
mod subjects;
mod watch;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use heartwire_log::slab::{Key, Slab};
use heartwire_log::store::Recovered;
use heartwire_log::{Committed, Log, ProducerId, ProducerKey};
use heartwire_proto::frame::Publisher;
use heartwire_proto::planted::{self, Bug};
use heartwire_proto::{Attempt, Close, CloseCode, ConnectionId, LogId, Seq, Time, TopicName};

use crate::agents::Agents;
use crate::config::HubConfig;
use crate::connection::{HUNG_UP, Reason, Side, name};
use crate::counts::{ByKind, Counts};
use crate::grant::Grant;
use crate::presence::Presence;
use attendance::Register;
use follow::FollowedTopic;
use follows::Follows;
use list::Following;
use subjects::Subject;
use watch::Watch;

pub use deliver::{Delivery, Filled};
pub use follow::FollowError;
pub use lag::LagPart;
pub use list::{ConnectionInfo, Followed, History, PageLimits, TopicInfo};
pub use subjects::{SubjectInfo, SubjectsFull};
pub use watch::{Moved, WatchKey};

/// The key of a connection, or reader, in its hub; stale once it has left or was removed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConnKey(Key);

impl ConnKey {
    /// The name that clients and operators see.
    pub fn id(self) -> ConnectionId {
        const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
        let mut number = self.0.to_bits().wrapping_add(1);
        let mut digits = Vec::with_capacity(14);
        while number > 0 {
            digits.push(char::from(DIGITS[(number % 36) as usize]));
            number /= 36;
        }
        let id: String = std::iter::once('c')
            .chain(digits.into_iter().rev())
            .collect();
        id.parse()
            .expect("a letter and at most 13 digits of base 36 are an id")
    }

    /// The key with that name, if it can be one of a hub's.
    pub fn from_id(id: ConnectionId) -> Option<Self> {
        let digits = id.as_str().strip_prefix('c')?;
        let number = u64::from_str_radix(digits, 36).ok()?;
        let key = Self(Key::from_bits(number.checked_sub(1)?));
        (key.id() == id).then_some(key)
    }
}

/// What the other end of a connection is known by before it says anything.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Peer<'a> {
    /// Its address.
    pub address: Option<SocketAddr>,
    /// Its program, for people: the `User-Agent`. A v1 client's own `agent` takes its place.
    pub agent: &'a str,
}

/// How a connection speaks.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Mode {
    /// `heartwire.v1`.
    V1,
    /// Plain messages.
    Plain,
}

impl Mode {
    /// The word for people and APIs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::Plain => "plain",
        }
    }
}

/// There are as many connections as there may be.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
#[error("the server has as many connections as it may have")]
pub struct Full;

/// Who is connected.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Who {
    pub(crate) role: Role,
    /// Nothing where nobody was asked, but for plain connections: those have a name at least.
    pub(crate) identity: Option<Arc<Identity>>,
    pub(crate) agent: Arc<str>,
    pub(crate) ip: Option<IpAddr>,
    pub(crate) port: u16,
    pub(crate) opened_at: Time,
    /// The latest round trip that was told, in milliseconds; `u32::MAX` while none was.
    pub(crate) rtt_ms: u32,
}

/// Who a connection is to others, and what it may do.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Identity {
    /// As FROM; a plain connection's is its id where no grant names a subject.
    pub(crate) from: Option<Box<str>>,
    /// Everything where nobody was asked.
    pub(crate) grant: Option<Arc<Grant>>,
}

impl Identity {
    pub(crate) fn publisher(&self) -> Option<Publisher<'_>> {
        Publisher::parse(self.from.as_deref()?).ok()
    }
}

impl Who {
    pub(crate) fn grant(&self) -> Option<&Grant> {
        self.identity.as_ref()?.grant.as_deref()
    }

    pub(crate) fn from(&self) -> Option<&str> {
        self.identity.as_ref()?.from.as_deref()
    }

    fn name_if_nameless(&mut self, id: ConnectionId) {
        if self.from().is_none() {
            self.identity = Some(Arc::new(Identity {
                from: Some(id.as_str().into()),
                grant: self.identity.take().and_then(|known| known.grant.clone()),
            }));
        }
    }
}

/// What a connection is to the hub.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Role {
    /// The only connection of its client.
    V1 {
        producer: ProducerId,
        attempt: Attempt,
    },
    Plain,
}

impl Role {
    pub(crate) const fn producer(self) -> Option<ProducerId> {
        match self {
            Self::V1 { producer, .. } => Some(producer),
            Self::Plain => None,
        }
    }

    const fn attempt(self) -> Attempt {
        match self {
            Self::V1 { attempt, .. } => attempt,
            Self::Plain => Attempt::ZERO,
        }
    }
}

/// What the hub keeps of a connection or reader. What a publish looks at stands in the record
/// itself, the rest behind a pointer.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Record<H> {
    handle: H,
    follows: Follows,
    /// Nothing for a reader inside the process.
    who: Option<Box<Who>>,
    /// It has been woken, or fills itself, and has not been found drained since.
    awake: bool,
    /// Its producer's durable number has moved, or publishes of it have failed.
    noticed: bool,
    /// When it last asked for a topic, in milliseconds after it joined; `u32::MAX` for never.
    asked_after_ms: u32,
}

impl<H: Clone> Record<H> {
    fn wake(&mut self, wakes: &mut Vec<H>) {
        if !self.awake {
            self.awake = true;
            wakes.push(self.handle.clone());
        }
    }
}

/// A connection that the hub has removed, until it has left: why it ends, and what it was.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Evicted {
    close: Close,
    who: Option<Box<Who>>,
    following: Following,
    followed: Vec<Followed>,
}

/// What a connection has to say that no topic holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Notices {
    /// The lowest publish that failed after it had been taken.
    pub(crate) failed: Option<Seq>,
    /// What is durable of its producer.
    pub(crate) durable: Option<Seq>,
}

/// The hub. `H` is the driver's handle of a connection or reader: what it wakes.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct HubState<H> {
    config: Arc<HubConfig>,
    key: ProducerKey,
    log: Log,
    records: Slab<Record<H>>,
    /// Which connection a client has: at most one.
    clients: BTreeMap<ProducerId, ConnKey>,
    topics: Slab<FollowedTopic>,
    names: BTreeMap<TopicName, u32>,
    /// The followed topic of each topic of the log, by its index; `u32::MAX` for none.
    by_log: Vec<u32>,
    follows: usize,
    /// Connections that were removed and have not left yet.
    evicted: BTreeMap<ConnKey, Evicted>,
    /// Publishes that failed and whose `nack` is not sent yet.
    failed: BTreeMap<ConnKey, Seq>,
    /// Topics that were taken from connections which have not been told yet.
    ended: BTreeMap<ConnKey, Vec<TopicName>>,
    subjects: BTreeMap<Arc<str>, Subject>,
    presence: Presence,
    agents: Agents,
    watches: Vec<Watch<H>>,
    wakes: Vec<H>,
    committed: Committed,
    counts: Counts,
}

impl<H: Clone> HubState<H> {
    /// A hub with an empty log in memory. `log` and `key` are drawn at random.
    pub fn new(config: Arc<HubConfig>, log: LogId, key: ProducerKey) -> Self {
        let log = Log::new(log, &key, config.log());
        Self::with_log(config, log, key)
    }

    /// A hub that goes on from what a disk held. Its driver makes durable what it
    /// [takes](Self::take_batch).
    pub fn recover(config: Arc<HubConfig>, recovered: Recovered) -> Self {
        let (log, key) = Log::recover(config.log(), recovered);
        Self::with_log(config, log, key)
    }

    fn with_log(config: Arc<HubConfig>, log: Log, key: ProducerKey) -> Self {
        Self {
            log,
            presence: Presence::new(config.presence.clone()),
            config,
            key,
            records: Slab::default(),
            clients: BTreeMap::new(),
            topics: Slab::default(),
            names: BTreeMap::new(),
            by_log: Vec::new(),
            follows: 0,
            evicted: BTreeMap::new(),
            failed: BTreeMap::new(),
            ended: BTreeMap::new(),
            subjects: BTreeMap::new(),
            agents: Agents::default(),
            watches: Vec::new(),
            wakes: Vec::new(),
            committed: Committed::default(),
            counts: Counts::default(),
        }
    }

    /// The configuration.
    pub const fn config(&self) -> &Arc<HubConfig> {
        &self.config
    }

    /// The log, to look at.
    pub const fn log(&self) -> &Log {
        &self.log
    }

    /// Refuses publishes, or takes them again: while the server drains, or its disk has failed.
    pub fn set_accepting(&mut self, accepting: bool) {
        self.log.set_accepting(accepting);
    }

    /// Counters.
    pub const fn counts(&self) -> &Counts {
        &self.counts
    }

    /// How many topics all connections and readers together follow.
    pub const fn follows_len(&self) -> usize {
        self.follows
    }

    /// How many connections and readers there are.
    pub fn connections_len(&self) -> usize {
        self.records.len()
    }

    /// Moves the handles that are to be woken into `wakes`: each of them is to be filled, or read.
    pub fn take_wakes(&mut self, wakes: &mut Vec<H>) {
        wakes.append(&mut self.wakes);
    }

    /// Adds a reader inside the process, which [follows](Self::follow) and [reads](Self::read) with
    /// its key.
    pub fn open_reader(&mut self, handle: H) -> Result<ConnKey, Full> {
        self.add(handle, None)
    }

    /// Removes a connection or reader; it may have been removed already.
    pub fn leave(&mut self, key: ConnKey) {
        self.depart(key, HUNG_UP);
    }

    /// The same, for whom it concerns why.
    pub(crate) fn depart(&mut self, key: ConnKey, reason: Reason) {
        self.evicted.remove(&key);
        self.remove(key, reason);
    }

    /// Closes a connection for the operator, or whoever decides; false if there is none with this
    /// id. It is woken, and finds out when it is filled. A reader inside the process is nobody's to
    /// close: it could not be told, and would wait for ever.
    pub fn close_connection(&mut self, id: ConnectionId, close: Close) -> bool {
        let key = ConnKey::from_id(id).filter(|key| self.who(*key).is_some());
        key.is_some_and(|key| self.evict(key, close))
    }

    /// Forgets what is too old. Call it about once a second, and soon again while it answers yes.
    pub fn expire(&mut self, now: Time) -> bool {
        const AT_ONCE: usize = 1_024;
        self.expire_subjects(now);
        let (clients, by_log) = (&self.clients, &self.by_log);
        // An `ack` that is owed is told from what the log knows of the producer.
        let is_connected = |producer| clients.contains_key(&producer);
        let more_producers = self.log.expire_producers(now, AT_ONCE, is_connected);
        let more_topics = self.log.expire(now, AT_ONCE, |topic| {
            let followed = by_log.get(topic.index() as usize);
            followed.is_some_and(|topic| *topic != u32::MAX)
        });
        more_producers || more_topics
    }

    /// Adds a connection. A client that has one already keeps the one with the higher attempt
    /// `[HELLO-8]`.
    pub(crate) fn join(&mut self, handle: H, who: Who) -> Result<ConnKey, Close> {
        self.admits(who.grant())?;
        if let Role::V1 { producer, attempt } = who.role
            && !planted::has(Bug::NoTakeover)
        {
            self.take_over(producer, attempt)?;
        }
        let role = who.role;
        let reconnects = role.attempt() > Attempt(1);
        let key = self.add(handle, Some(Box::new(who))).map_err(|full| {
            Close::new(CloseCode::OVERLOADED, full.to_string())
                .retry_after(self.config.overload_retry)
        })?;
        self.counts.reconnects += u64::from(reconnects);
        if let Some(producer) = role.producer() {
            self.clients.insert(producer, key);
        } else if let Some(who) = self.who_mut(key) {
            who.name_if_nameless(key.id());
        }
        Ok(key)
    }

    fn take_over(&mut self, producer: ProducerId, attempt: Attempt) -> Result<(), Close> {
        let Some(held) = self.clients.get(&producer).copied() else {
            return Ok(());
        };
        if self
            .who(held)
            .is_some_and(|who| who.role.attempt() >= attempt)
            && !planted::has(Bug::StaleHelloWins)
        {
            self.counts.stale_dials += 1;
            let reason = "HELLO-8: a later attempt of this client is connected";
            return Err(Close::new(CloseCode::TAKEN_OVER, reason));
        }
        self.counts.takeovers += 1;
        let reason = "HELLO-8: a later attempt of this client took over";
        self.evict(held, Close::new(CloseCode::TAKEN_OVER, reason));
        Ok(())
    }

    fn add(&mut self, handle: H, who: Option<Box<Who>>) -> Result<ConnKey, Full> {
        if self.records.len() >= self.config.connections_max {
            return Err(Full);
        }
        *self.present(who.as_deref()) += 1;
        Ok(ConnKey(self.records.insert(Record {
            handle,
            follows: Follows::default(),
            who,
            // Whoever opens it fills or reads it next.
            awake: true,
            noticed: false,
            asked_after_ms: u32::MAX,
        })))
    }

    /// Removes a connection that is to be told why, and wakes it.
    fn evict(&mut self, key: ConnKey, close: Close) -> bool {
        let held = self.records.get(key.0);
        let (following, followed) = held.map_or_else(Default::default, |record| {
            (self.following(record), self.followed(record))
        });
        let reason = (Side::Server, name(close.code));
        let Some(record) = self.remove(key, reason) else {
            return false;
        };
        let evicted = Evicted {
            close,
            who: record.who,
            following,
            followed,
        };
        self.evicted.insert(key, evicted);
        self.wakes.push(record.handle);
        true
    }

    /// How many there are of this one's kind; a reader inside the process is nobody.
    const fn present(&mut self, who: Option<&Who>) -> &mut usize {
        let ByKind { v1, plain, reader } = &mut self.counts.present;
        match who {
            None => reader,
            Some(Who {
                role: Role::V1 { .. },
                ..
            }) => v1,
            Some(Who {
                role: Role::Plain, ..
            }) => plain,
        }
    }

    fn remove(&mut self, key: ConnKey, reason: Reason) -> Option<Record<H>> {
        let record = self.records.remove(key.0)?;
        *self.present(record.who.as_deref()) -= 1;
        for follow in record.follows.iter() {
            let mut register = Register {
                presence: &mut self.presence,
                topics: &self.topics,
            };
            register.left(key, record.who.as_deref(), follow.topic, reason);
            self.release(follow);
        }
        self.failed.remove(&key);
        self.ended.remove(&key);
        if let Some(producer) = record.who.as_ref().and_then(|who| who.role.producer())
            && self.clients.get(&producer) == Some(&key)
        {
            self.clients.remove(&producer);
        }
        Some(record)
    }

    /// Whether the connection is still one of the hub's; if not, why it ends.
    pub(crate) fn check(&self, key: ConnKey) -> Result<(), Close> {
        if self.records.get(key.0).is_some() {
            return Ok(());
        }
        let evicted = self.evicted.get(&key);
        Err(evicted.map_or_else(
            || Close::new(CloseCode::CLOSED_BY_OPERATOR, "the connection was removed"),
            |evicted| evicted.close.clone(),
        ))
    }

    /// The connection is about to be filled by its driver: it needs no wake.
    pub(crate) fn attend(&mut self, key: ConnKey) {
        if let Some(record) = self.records.get_mut(key.0) {
            record.awake = true;
        }
    }

    pub(crate) fn who(&self, key: ConnKey) -> Option<&Who> {
        self.records.get(key.0)?.who.as_deref()
    }

    pub(crate) fn share_agent(&mut self, agent: &str) -> Arc<str> {
        self.agents.share(agent)
    }

    pub(crate) const fn producer_key(&self) -> &ProducerKey {
        &self.key
    }

    fn who_mut(&mut self, key: ConnKey) -> Option<&mut Who> {
        self.records.get_mut(key.0)?.who.as_deref_mut()
    }

    /// A connection asks for a topic, for whoever wants to know when it last did.
    pub(crate) fn note_asked(&mut self, key: ConnKey, now: Time) {
        if let Some(record) = self.records.get_mut(key.0)
            && let Some(who) = &record.who
        {
            let after_ms = now.since(who.opened_at).as_millis();
            record.asked_after_ms = u32::try_from(after_ms).unwrap_or(u32::MAX);
        }
    }

    pub(crate) fn set_round_trip(&mut self, key: ConnKey, rtt_ms: u32) {
        if let Some(who) = self.who_mut(key) {
            who.rtt_ms = rtt_ms;
        }
    }

    /// What has happened to the connection's publishes; `anyway` when it owes an `ack` in any case.
    pub(crate) fn take_notices(&mut self, key: ConnKey, anyway: bool) -> Notices {
        let Some(record) = self.records.get_mut(key.0) else {
            return Notices::default();
        };
        if !record.noticed && !anyway {
            return Notices::default();
        }
        record.noticed = false;
        let producer = record.who.as_ref().and_then(|who| who.role.producer());
        Notices {
            failed: self.failed.remove(&key),
            durable: producer.and_then(|producer| self.log.durable(producer)),
        }
    }

    /// The lowest publish of the connection that failed, if its `nack` is still to be sent.
    pub(crate) fn take_failed(&mut self, key: ConnKey) -> Option<Seq> {
        self.failed.remove(&key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_found_by_its_name_alone() {
        let key = |bits| ConnKey(Key::from_bits(bits));
        assert_eq!(key(0).id().as_str(), "c1");
        for bits in [0, 1, 35, 36, 17_999, 1 << 32, (7 << 32) | 35] {
            assert_eq!(ConnKey::from_id(key(bits).id()), Some(key(bits)));
        }
        for foreign in ["c", "c0", "c01", "x1", "1"] {
            let id = foreign
                .parse()
                .expect("it is an id, if not of a connection");
            assert_eq!(ConnKey::from_id(id), None, "{foreign}");
        }
    }

    #[test]
    fn what_the_hub_keeps_of_an_idle_connection_is_small() {
        let record = size_of::<Option<Record<Arc<()>>>>() + size_of::<u64>();
        let sum = record + size_of::<Who>();
        assert!(
            sum <= 168,
            "{record} of the record, {} of who it is",
            size_of::<Who>()
        );
    }
}
