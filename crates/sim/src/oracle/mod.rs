//! What must be true, judged from outside.
//!
//! The oracle knows what was published, what publishers were told, and what each application was
//! handed, in its order. Of the server it asks where a topic begins and ends, and in which epoch, when
//! somebody begins to follow it: bounds of where following may begin. What the log holds it reads
//! once, when the faults are over, like anybody's.
//!
//! The invariants, as a [`Violation`] names them:
//!
//! - **I1** after the faults, every follower has exactly the log from its first cursor, or a `gap`;
//! - **I2** nothing twice, nothing out of order, nothing altered, as the application sees it;
//! - **I3** what was acknowledged survives every crash;
//! - **I4** what was delivered is never un-written: a place holds one message for ever;
//! - **I5** a client has at most one live connection, and an older one can write nothing;
//! - **I6** both ends notice a dead connection within the stated bound;
//! - **I7** a healthy connection is never declared dead;
//! - **I8** every queue keeps within its limit;
//! - **I9** nobody dials more often, or more in step, than the policy allows;
//! - **I10** soon after the faults everything is open and every outbox empty.

mod damage;
mod dials;
mod ending;
mod starts;

use std::collections::BTreeMap;
use std::fmt;

use heartwire_proto::frame::{Gap, GapReason, Payload};
use heartwire_proto::{Cursor, Epoch, Offset, TopicName};

use damage::Damage;
pub(crate) use dials::Dials;
pub(crate) use ending::FinalTopic;
use starts::Asked;
pub(crate) use starts::Extent;

/// An invariant that was broken, and how.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// `I1` to `I10`, or `panic`.
    pub invariant: &'static str,
    /// When, in milliseconds of the run.
    pub at_ms: u64,
    /// What was seen.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, millis) = (self.at_ms / 1_000, self.at_ms % 1_000);
        write!(
            f,
            "{} at {seconds}.{millis:03} s: {}",
            self.invariant, self.what
        )
    }
}

/// One message that somebody published: whose, and which of theirs. No other has its content.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Mark {
    /// The life of a client, or the server's own publisher.
    pub(crate) life: u32,
    pub(crate) number: u32,
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "m{}.{}", self.life, self.number)
    }
}

impl Mark {
    /// The content of a message of about that many bytes.
    pub(crate) fn payload(self, bytes: u64) -> Payload {
        let mut text = format!("{self} ");
        while (text.len() as u64) < bytes {
            text.push(char::from(b'a' + (text.len() % 26) as u8));
        }
        match self.number % 4 {
            3 => Payload::Binary(text.into_bytes()),
            _ => Payload::Text(text),
        }
    }

    /// The mark that a content begins with.
    fn of(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let (life, number) = text.strip_prefix('m')?.split_once(' ')?.0.split_once('.')?;
        Some(Self {
            life: life.parse().ok()?,
            number: number.parse().ok()?,
        })
    }
}

/// What became of a publish, as its publisher was told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    /// Nothing yet.
    Open,
    /// It is stored.
    Stored,
    /// It is not stored, and never will be.
    Refused,
    /// Nobody knows: its link ended, or was told so.
    Doubtful,
}

#[derive(Clone, Debug)]
struct Published {
    topic: TopicName,
    bytes: u64,
    fate: Fate,
    /// When it was published.
    at_ms: u64,
    /// When its publisher was told of it.
    told_at_ms: u64,
    /// The same on the server's clock, by which messages age.
    server_told_at_ms: u64,
    /// Two processes have the id under which it goes: both may store it, or neither, as the numbers
    /// of one pass for repetitions of the other's. The protocol finds most of such pairs, not all.
    is_shared: bool,
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    pub(crate) now: u64,
    /// How far the server's clock is behind.
    pub(crate) server_behind_ms: u64,
    published: BTreeMap<Mark, Published>,
    /// How many were published to each topic.
    counts: BTreeMap<TopicName, u64>,
    /// What each place was seen to hold.
    places: BTreeMap<(TopicName, Epoch, u64), Mark>,
    /// Where each message was seen, by epoch.
    seen: BTreeMap<(Mark, Epoch), u64>,
    /// How far each application has come with each topic; nothing where the server said where it
    /// begins.
    positions: BTreeMap<(usize, TopicName), Option<Cursor>>,
    /// Where applications asked to begin that have not heard where they do.
    asked: BTreeMap<(usize, TopicName), Asked>,
    /// When the server lost its log, as it may where it keeps it in memory or somebody restores an
    /// older copy: from when to when.
    losses: Vec<(u64, u64)>,
    /// Topics that are kept in memory beside a disk, and when they were last lost with a process, if ever.
    volatile: BTreeMap<TopicName, Option<u64>>,
    damage: Damage,
    /// How many messages of a topic are retained at least, as long as they are not older than so many
    /// milliseconds.
    retained_min: u64,
    age_max_ms: u64,
    /// Whether messages become so old, and are given to nobody then.
    messages_age: bool,
    /// Whether topics may be trimmed so that the index of all fits its bound.
    index_is_short: bool,
    /// After how many milliseconds of silence topics are forgotten.
    topic_age_max_ms: u64,
    /// Whether topics in memory may have to go for want of room.
    memory_is_short: bool,
    violation: Option<Violation>,
}

impl Oracle {
    pub(crate) fn violate(&mut self, invariant: &'static str, what: impl Into<String>) {
        let at_ms = self.now;
        self.violation.get_or_insert_with(|| Violation {
            invariant,
            at_ms,
            what: what.into(),
        });
    }

    const fn server_now(&self) -> u64 {
        self.now - self.server_behind_ms
    }

    pub(crate) const fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    /// What was stored since then is gone.
    pub(crate) fn log_was_lost(&mut self, since: u64) {
        self.losses.push((since, self.now));
    }

    /// A process has ended, and with it what it kept in memory alone.
    pub(crate) fn memory_was_lost(&mut self) {
        let now = self.now;
        self.volatile
            .values_mut()
            .for_each(|lost_at| *lost_at = Some(now));
    }

    pub(crate) const fn may_lose_log(&self) -> bool {
        !self.losses.is_empty() || self.damage.is_accepted
    }

    /// Whether messages become so old, and are given to nobody then.
    pub(crate) const fn messages_age(&self) -> bool {
        self.messages_age
    }

    /// Whether a topic may have come to another epoch.
    fn may_lose(&self, topic: &TopicName) -> bool {
        let was_in_memory = self.volatile.get(topic).is_some_and(Option::is_some);
        self.may_lose_log() || was_in_memory || self.was_silent_since(topic, 0)
    }

    /// Whether a topic was silent for so long since then that it may have been forgotten. What a copied
    /// process publishes may pass for a repetition, and what a log lost was never said there: neither
    /// breaks a silence.
    fn was_silent_since(&self, topic: &TopicName, since_ms: u64) -> bool {
        if self.now - since_ms < self.topic_age_max_ms {
            return false;
        }
        let is_of = |of: &&Published| of.topic == *topic && of.at_ms >= since_ms;
        let breaks = |of: &&Published| {
            of.fate == Fate::Stored && !of.is_shared && !self.was_lost_with_log(of)
        };
        let said = self.published.values().filter(is_of).filter(breaks);
        let ends = [(since_ms, since_ms), (self.now, self.now)];
        let times = said.map(|of| (of.at_ms, of.told_at_ms)).chain(ends);
        let mut times: Vec<(u64, u64)> = times.collect();
        times.sort_unstable();
        let mut pairs = times.windows(2);
        pairs.any(|pair| pair[1].1 - pair[0].0 >= self.topic_age_max_ms)
    }

    fn was_lost_with_log(&self, published: &Published) -> bool {
        let mut losses = self.losses.iter();
        losses.any(|(since, until)| published.at_ms <= *until && published.told_at_ms >= *since)
    }

    /// Whether a message may have gone with a log, with a process, or with a topic that was forgotten.
    fn was_lost(&self, published: &Published) -> bool {
        let lost_at = self.volatile.get(&published.topic).copied().flatten();
        let with_process = lost_at.is_some_and(|at| published.at_ms <= at);
        self.was_lost_with_log(published)
            || with_process
            || self.was_silent_since(&published.topic, published.at_ms)
    }

    // ---- Publishing ----

    pub(crate) fn published(&mut self, mark: Mark, topic: &TopicName, bytes: u64) {
        let fate = Fate::Open;
        let topic = topic.clone();
        *self.counts.entry(topic.clone()).or_default() += 1;
        let published = Published {
            topic,
            bytes,
            fate,
            at_ms: self.now,
            told_at_ms: self.now,
            server_told_at_ms: self.server_now(),
            is_shared: false,
        };
        self.published.insert(mark, published);
    }

    /// A process was copied with this in its outbox, or published it while the copy had its id.
    pub(crate) fn shared(&mut self, mark: Mark) {
        if let Some(published) = self.published.get_mut(&mark) {
            published.is_shared = true;
            *self.counts.entry(published.topic.clone()).or_default() += 1;
        }
    }

    pub(crate) fn told(&mut self, mark: Mark, fate: Fate) {
        let server_now = self.server_now();
        let Some(published) = self.published.get_mut(&mark) else {
            return self.violate("I2", format!("{mark} was never published, but is {fate:?}"));
        };
        let before = published.fate;
        // A copy of a process may be told of the same publish once more.
        if before != Fate::Stored {
            published.fate = fate;
            published.told_at_ms = self.now;
            published.server_told_at_ms = server_now;
        }
        let is_shared = published.is_shared;
        if is_shared {
            return;
        }
        if before == Fate::Refused && fate == Fate::Stored {
            self.violate("I2", format!("{mark} was refused, and is stored"));
        }
        if fate == Fate::Refused && self.was_seen(mark) {
            self.violate("I2", format!("{mark} stands in the log, and is refused"));
        }
    }

    /// Whether anybody has seen the message in any place.
    fn was_seen(&self, mark: Mark) -> bool {
        self.seen.keys().any(|(seen, _)| *seen == mark)
    }

    /// A message that was refused for good, and is nobody else's, stands nowhere `[PUB-7]`.
    fn was_refused(&self, mark: Mark) -> bool {
        let published = self.published.get(&mark);
        published.is_some_and(|of| of.fate == Fate::Refused && !of.is_shared)
    }

    // ---- Following ----

    /// The application decided where it begins, or has forgotten the topic.
    pub(crate) fn begins(&mut self, client: usize, topic: &TopicName, at: Option<Cursor>) {
        self.positions.insert((client, topic.clone()), at);
        self.asked.remove(&(client, topic.clone()));
    }

    pub(crate) fn forgets(&mut self, client: usize, topic: &TopicName) {
        self.positions.remove(&(client, topic.clone()));
        self.asked.remove(&(client, topic.clone()));
    }

    /// A copy of a process has come as far as its original.
    pub(crate) fn copies(&mut self, client: usize, copy: usize) {
        let theirs: Vec<_> = self
            .positions
            .iter()
            .filter(|((of, _), _)| *of == client)
            .map(|((_, topic), at)| (topic.clone(), *at))
            .collect();
        for (topic, at) in theirs {
            if let Some(asked) = self.asked.get(&(client, topic.clone())).copied() {
                self.asked.insert((copy, topic.clone()), asked);
            }
            self.positions.insert((copy, topic), at);
        }
    }

    /// Following begins behind `cursor`; by now the topic goes as far as `extent`.
    pub(crate) fn followed(
        &mut self,
        client: usize,
        topic: &TopicName,
        cursor: Cursor,
        extent: Extent,
    ) {
        self.judge_start(client, topic, cursor, extent);
        let Some(held) = self.positions.get_mut(&(client, topic.clone())) else {
            return self.violate("I2", format!("client {client} does not follow {topic:?}"));
        };
        let before = held.replace(cursor);
        let fits = match before {
            None => true,
            // The topic was born meanwhile.
            Some(Cursor::Start) => cursor.offset() == Offset::ZERO,
            Some(before) => before == cursor,
        };
        if !fits {
            let what =
                format!("client {client} had {before:?} of {topic:?} and goes on from {cursor:?}");
            self.violate("I1", what);
        }
    }

    /// Messages that will never come.
    pub(crate) fn gap(&mut self, client: usize, topic: &TopicName, gap: Gap) {
        if let Err(why) = self.judge_gap(client, topic, gap) {
            let what = format!("client {client} was told {gap:?} of {topic:?}: {why}");
            return self.violate("I1", what);
        }
        if gap.reason == GapReason::Damage {
            self.is_damaged(topic, gap);
        }
        let last = gap.last.filter(|_| gap.reason != GapReason::Epoch);
        let at = last.map(|offset| Cursor::At {
            epoch: gap.epoch,
            offset,
        });
        // Of an epoch that is gone, the server says where it goes on.
        self.positions.insert((client, topic.clone()), at);
    }

    fn judge_gap(&self, client: usize, topic: &TopicName, gap: Gap) -> Result<(), &'static str> {
        let Some(Some(at)) = self.positions.get(&(client, topic.clone())) else {
            return Err("where it stands is not known");
        };
        let is_here = at.epoch().is_none_or(|epoch| epoch == gap.epoch);
        if !is_here {
            return Err("it stands in another epoch");
        }
        let next = at.offset().next();
        match gap.reason {
            GapReason::Retention => {
                let last = gap.last.ok_or("it has no end")?;
                let published = self.counts.get(topic).copied().unwrap_or_default();
                if gap.first != next || last < next {
                    Err("it does not begin where the client stands")
                } else if last.0 + self.retained_min > published
                    && !self.damage.hides_firsts(topic, last.0)
                    && !self.is_over_age(topic, gap.epoch, last)
                    && !self.has_no_room(topic)
                {
                    Err("by their number, their age and the room for them all were retained")
                } else {
                    Ok(())
                }
            }
            GapReason::Damage if self.damage.hits == 0 => Err("nothing was damaged"),
            GapReason::Damage if gap.first != next => {
                Err("it does not begin where the client stands")
            }
            GapReason::Epoch if !self.may_lose(topic) => Err("the log was never lost"),
            GapReason::Epoch if gap.last.is_none() && gap.first != next => {
                Err("it does not begin where the client stands")
            }
            GapReason::Damage | GapReason::Epoch => Ok(()),
        }
    }

    /// Whether a message may be older than any that is retained.
    fn is_over_age(&self, topic: &TopicName, epoch: Epoch, offset: Offset) -> bool {
        let is_old = |published: &Published| published.at_ms + self.age_max_ms <= self.now;
        match self.places.get(&(topic.clone(), epoch, offset.0)) {
            Some(mark) => self.published.get(mark).is_some_and(is_old),
            // Nobody saw which one it was.
            None => {
                let mut published = self.published.values();
                published.any(|published| published.topic == *topic && is_old(published))
            }
        }
    }

    /// Whether messages of a topic may have to go for want of memory.
    fn has_no_room(&self, topic: &TopicName) -> bool {
        self.memory_is_short && self.volatile.contains_key(topic)
    }

    /// A message was handed to an application.
    pub(crate) fn message(
        &mut self,
        client: usize,
        topic: &TopicName,
        cursor: Cursor,
        payload: &Payload,
    ) {
        let key = (client, topic.clone());
        let before = self.positions.insert(key, Some(cursor)).flatten();
        let fits = match before {
            None => false,
            Some(before) => {
                let same_epoch = before
                    .epoch()
                    .is_none_or(|epoch| Some(epoch) == cursor.epoch());
                same_epoch && before.offset().next() == cursor.offset()
            }
        };
        if !fits {
            let what =
                format!("client {client} had {before:?} of {topic:?} and was handed {cursor:?}");
            self.violate("I2", what);
        }
        self.sighted(topic, cursor, payload.as_bytes());
    }

    /// A publisher was told the place of its message.
    pub(crate) fn placed(&mut self, mark: Mark, topic: &TopicName, cursor: Cursor) {
        let Some(published) = self.published.get(&mark) else {
            return;
        };
        let payload = mark.payload(published.bytes);
        self.sighted(topic, cursor, payload.as_bytes());
    }

    /// A message was seen at a place.
    pub(crate) fn sighted(&mut self, topic: &TopicName, cursor: Cursor, content: &[u8]) {
        let Cursor::At { epoch, offset } = cursor else {
            return self.violate("I2", format!("a message of {topic:?} has no place"));
        };
        let Some((mark, bytes)) = self.recognise(topic, content) else {
            let what = format!("{topic:?} {cursor:?} holds what nobody published to it");
            return self.violate("I2", what);
        };
        if mark.payload(bytes).as_bytes() != content {
            self.violate("I2", format!("{mark} was altered in {topic:?} {cursor:?}"));
        }
        if self.was_refused(mark) {
            self.violate(
                "I2",
                format!("{mark} was refused, and stands in {topic:?} {cursor:?}"),
            );
        }
        let place = (topic.clone(), epoch, offset.0);
        let other = *self.places.entry(place).or_insert(mark);
        if other != mark {
            let what = format!("{topic:?} {cursor:?} held {other} and holds {mark}");
            self.violate("I4", what);
        }
        let first = *self.seen.entry((mark, epoch)).or_insert(offset.0);
        // Damage takes a publisher's number with its message, which is stored again then; and who
        // was sent the lost one may read it later than the other.
        let is_lost = [first, offset.0].iter().any(|at| self.is_lost(topic, *at));
        if first != offset.0 && !is_lost && !self.may_repeat(mark) {
            let what = format!("{mark} is stored twice in {topic:?}, at {first} and {offset:?}");
            self.violate("I2", what);
        }
    }

    fn may_repeat(&self, mark: Mark) -> bool {
        self.published
            .get(&mark)
            .is_some_and(|published| published.is_shared)
    }

    /// Which message that is, and how large it should be.
    fn recognise(&self, topic: &TopicName, content: &[u8]) -> Option<(Mark, u64)> {
        let mark = Mark::of(content)?;
        let published = self.published.get(&mark)?;
        (published.topic == *topic).then_some((mark, published.bytes))
    }
}
