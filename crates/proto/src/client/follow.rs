//! Which topics a link follows, how far each has been delivered, and what is to be asked.
//!
//! Each topic has a wish (the application's) and a place on the wire (this connection's). At most
//! one question per topic is under way, so an answer always belongs to the latest `[SUB-2]`; a wish
//! that changes meanwhile is acted upon when the answer is there.
//!
//! ```text
//!              sub sent             subbed
//!     Off ──────────────► Asked ──────────────► On
//!      ▲                    │ refused: forgotten │ ▲
//!      │ unsubbed           │                    │ │ sub sent, subbed: a hole was found,
//!      └───── Leaving ◄─────┼────────────────────┘ │ or the application moved the cursor
//!                           └──────────────────────┘
//! ```
//!
//! Only `On`, wished for and with nothing to ask again delivers. All else is dropped without moving
//! the cursor `[SUB-3]`.

use std::collections::{BTreeMap, VecDeque};

use super::event::{Counters, Event, SubscribeError, TopicMessage};
use crate::frame::{FrameError, Gap, GapReason, Message, Publisher, RefusedCode, SubFrom};
use crate::id::{Cursor, Epoch, Offset, TopicName, TopicRef};
use crate::planted::{self, Bug};
use crate::time::WallTime;

/// How often in a row a topic may show a hole before the server is taken to be broken.
const HOLES_MAX: u8 = 8;

const ANSWER: FrameError = FrameError::new(
    "SUB-4",
    "this subbed does not fit the cursor that was asked for",
);
const HOLES: FrameError = FrameError::new("MSG-3", "a topic comes with holes, again and again");
const LAST: FrameError = FrameError::new("MSG-5", "a gap while following names its last offset");

/// What the application wants of a topic.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Wish {
    Follow,
    /// It is slow, and will come back to it.
    Pause,
    Leave,
}

/// Where a topic stands on this connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Wire {
    /// The server does not send it.
    Off,
    /// `sub` has been sent, with this beginning.
    Asked(SubFrom),
    /// The server sends it.
    On,
    /// `unsub` has been sent.
    Leaving,
}

/// A question for the server.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) enum Question {
    Sub(TopicName, SubFrom),
    Unsub(TopicName),
}

/// Where a message stands in its topic.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) offset: Offset,
    pub(super) prev: Offset,
}

/// What a message holds besides its place.
#[derive(Clone, Copy)]
pub(super) struct Content<'a> {
    pub(super) time: WallTime,
    pub(super) from: Option<Publisher<'a>>,
    pub(super) payload: Message<'a>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Topic {
    /// Where the application wanted to begin; it counts until there is a cursor.
    from: SubFrom,
    cursor: Option<Cursor>,
    wish: Wish,
    wire: Wire,
    /// The server's place is not ours: `sub` is to be sent (again), and its last answer is void.
    again: bool,
    /// The topic stands in the queue of questions.
    queued: bool,
    holes_in_row: u8,
}

impl Topic {
    const fn new() -> Self {
        Self {
            from: SubFrom::Tail,
            cursor: None,
            wish: Wish::Follow,
            wire: Wire::Off,
            again: false,
            queued: false,
            holes_in_row: 0,
        }
    }

    /// Where the next `sub` begins.
    fn beginning(&self) -> SubFrom {
        if planted::has(Bug::ResumeOffByOne)
            && let Some(Cursor::At { epoch, offset }) = self.cursor
        {
            let offset = offset.next();
            return SubFrom::After(Cursor::At { epoch, offset });
        }
        self.cursor.map_or(self.from, SubFrom::After)
    }

    fn delivers(&self) -> bool {
        let is_asked = matches!(self.wire, Wire::Asked(_)) && self.cursor.is_some();
        if is_asked && planted::has(Bug::CountsBeforeSubbed) {
            return self.wish == Wish::Follow;
        }
        matches!((self.wish, self.wire), (Wish::Follow, Wire::On)) && !self.again
    }

    const fn has_question(&self) -> bool {
        match (self.wish, self.wire) {
            (Wish::Follow, Wire::Off) | (Wish::Pause | Wish::Leave, Wire::On) => true,
            (Wish::Follow, Wire::On) => self.again,
            _ => false,
        }
    }
}

/// All topics of a link.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Topics {
    topics_max: usize,
    topics: BTreeMap<TopicName, Topic>,
    /// Topics with a question for the server, each once; empty without a connection.
    questions: VecDeque<TopicName>,
    connected: bool,
}

impl Topics {
    pub(super) const fn new(topics_max: usize) -> Self {
        Self {
            topics_max,
            topics: BTreeMap::new(),
            questions: VecDeque::new(),
            connected: false,
        }
    }

    pub(super) fn cursor(&self, name: &TopicName) -> Option<Cursor> {
        self.topics.get(name)?.cursor
    }

    pub(super) fn subscribe(
        &mut self,
        name: &TopicName,
        from: SubFrom,
    ) -> Result<(), SubscribeError> {
        if !self.topics.contains_key(name) && self.topics.len() >= self.topics_max {
            let topics_max = self.topics_max;
            return Err(SubscribeError::TooMany { topics_max });
        }
        let topic = self.topics.entry(name.clone()).or_insert_with(Topic::new);
        topic.wish = Wish::Follow;
        topic.from = from;
        topic.cursor = match from {
            SubFrom::After(cursor) => Some(cursor),
            _ => None,
        };
        topic.again = matches!(topic.wire, Wire::Asked(_) | Wire::On);
        self.ask(name);
        Ok(())
    }

    pub(super) fn unsubscribe(&mut self, name: &TopicName) {
        self.wish(name, Wish::Leave);
        self.forget_left(name);
    }

    pub(super) fn pause(&mut self, name: &TopicName) {
        if self
            .topics
            .get(name)
            .is_some_and(|topic| topic.wish == Wish::Follow)
        {
            self.wish(name, Wish::Pause);
        }
    }

    pub(super) fn resume(&mut self, name: &TopicName) {
        let Some(topic) = self.topics.get_mut(name) else {
            return;
        };
        if topic.wish == Wish::Pause {
            // What came while it was paused and still on has been dropped.
            topic.again |= topic.wire == Wire::On;
            self.wish(name, Wish::Follow);
        }
    }

    fn wish(&mut self, name: &TopicName, wish: Wish) {
        if let Some(topic) = self.topics.get_mut(name) {
            topic.wish = wish;
            self.ask(name);
        }
    }

    /// A new connection follows nothing: every topic is asked for, in the order of the names
    /// `[SUB-14]`.
    pub(super) fn connected(&mut self) {
        self.connected = true;
        let names: Vec<_> = self.topics.keys().cloned().collect();
        for name in names {
            self.ask(&name);
        }
    }

    pub(super) fn disconnected(&mut self) {
        self.connected = false;
        self.questions.clear();
        self.topics.retain(|_, topic| topic.wish != Wish::Leave);
        for topic in self.topics.values_mut() {
            topic.wire = Wire::Off;
            topic.again = false;
            topic.queued = false;
            topic.holes_in_row = 0;
        }
    }

    /// Whether no `sub` is unsent or unanswered.
    pub(super) fn all_answered(&self) -> bool {
        let waits = |topic: &Topic| {
            let subs = topic.wish == Wish::Follow && topic.has_question();
            subs || matches!(topic.wire, Wire::Asked(_))
        };
        !self.topics.values().any(waits)
    }

    /// Queues the topic if it has a question.
    fn ask(&mut self, name: &TopicName) {
        if !self.connected {
            return;
        }
        if let Some(topic) = self.topics.get_mut(name)
            && topic.has_question()
            && !topic.queued
        {
            topic.queued = true;
            self.questions.push_back(name.clone());
        }
    }

    /// Takes the next question, which the caller sends.
    pub(super) fn next_question(&mut self) -> Option<Question> {
        while let Some(name) = self.questions.pop_front() {
            let Some(topic) = self.topics.get_mut(&name) else {
                continue;
            };
            topic.queued = false;
            if !topic.has_question() {
                continue;
            }
            if topic.wish == Wish::Follow {
                let from = topic.beginning();
                topic.wire = Wire::Asked(from);
                topic.again = false;
                return Some(Question::Sub(name, from));
            }
            topic.wire = Wire::Leaving;
            return Some(Question::Unsub(name));
        }
        None
    }

    fn get(&mut self, name: TopicRef<'_>) -> Option<&mut Topic> {
        self.topics.get_mut(name.as_str())
    }

    fn forget_left(&mut self, name: &TopicName) {
        let left = |topic: &Topic| topic.wish == Wish::Leave && topic.wire == Wire::Off;
        if self.topics.get(name).is_some_and(left) {
            self.topics.remove(name);
        }
    }

    /// The answer to `sub`: the cursor stands where the server says, if the question still holds.
    pub(super) fn subbed(
        &mut self,
        name: TopicRef<'_>,
        cursor: Cursor,
        gap: Option<Gap>,
    ) -> Result<Vec<Event>, FrameError> {
        let Some(topic) = self.get(name) else {
            return Ok(Vec::new());
        };
        let Wire::Asked(from) = topic.wire else {
            return Ok(Vec::new());
        };
        topic.wire = Wire::On;
        let mut events = Vec::new();
        if !topic.again && topic.wish != Wish::Leave {
            if !fits(from, cursor, gap) {
                return Err(ANSWER);
            }
            topic.cursor = Some(cursor);
            let topic = name.to_name();
            let gap = gap.filter(|_| !planted::has(Bug::GapNotReported));
            events.extend(gap.map(|gap| Event::Gap {
                topic: topic.clone(),
                gap,
            }));
            events.push(Event::Followed { topic, cursor });
        }
        self.ask(&name.to_name());
        Ok(events)
    }

    /// The other answer to `sub`.
    pub(super) fn refused(&mut self, name: TopicRef<'_>, code: RefusedCode) -> Option<Event> {
        let topic = self.get(name)?;
        if !matches!(topic.wire, Wire::Asked(_)) {
            return None;
        }
        topic.wire = Wire::Off;
        if topic.again {
            topic.again = false;
            let name = name.to_name();
            self.ask(&name);
            self.forget_left(&name);
            return None;
        }
        self.forget(name)
            .map(|topic| Event::Refused { topic, code })
    }

    /// The server stopped a topic. One with a question under way is left to the answer.
    pub(super) fn ended(&mut self, name: TopicRef<'_>, code: RefusedCode) -> Option<Event> {
        if self.get(name)?.wire != Wire::On {
            return None;
        }
        self.forget(name).map(|topic| Event::Ended { topic, code })
    }

    /// Removes a topic; its name, unless the application has left it anyway.
    fn forget(&mut self, name: TopicRef<'_>) -> Option<TopicName> {
        let (name, topic) = self.topics.remove_entry(name.as_str())?;
        (topic.wish != Wish::Leave).then_some(name)
    }

    /// The answer to `unsub`.
    pub(super) fn unsubbed(&mut self, name: TopicRef<'_>) {
        let Some(topic) = self.get(name) else {
            return;
        };
        if topic.wire == Wire::Leaving {
            topic.wire = Wire::Off;
            let name = name.to_name();
            self.ask(&name);
            self.forget_left(&name);
        }
    }

    /// A topic that was followed from cursor `0` has been born `[SUB-7]`.
    pub(super) fn born(
        &mut self,
        name: TopicRef<'_>,
        epoch: Epoch,
        counters: &mut Counters,
    ) -> Result<(), FrameError> {
        let Some(topic) = self.delivering(name) else {
            return Ok(());
        };
        match topic.cursor.and_then(Cursor::epoch) {
            None => {
                let offset = Offset::ZERO;
                topic.cursor = Some(Cursor::At { epoch, offset });
                Ok(())
            }
            Some(known) if known == epoch => Ok(()),
            Some(_) => self.hole(name, counters),
        }
    }

    /// A message: delivered if it is the one after the cursor `[MSG-4]`.
    pub(super) fn message(
        &mut self,
        name: TopicRef<'_>,
        place: Place,
        content: Content<'_>,
        counters: &mut Counters,
    ) -> Result<Option<Event>, FrameError> {
        let Some(topic) = self.delivering(name) else {
            return Ok(None);
        };
        let Some(Cursor::At { epoch, offset }) = topic.cursor else {
            self.hole(name, counters)?;
            return Ok(None);
        };
        if place.offset <= offset {
            counters.repeats += 1;
            return Ok(None);
        }
        if place.prev != offset {
            self.hole(name, counters)?;
            return Ok(None);
        }
        let offset = place.offset;
        let cursor = Cursor::At { epoch, offset };
        topic.cursor = Some(cursor);
        topic.holes_in_row = 0;
        Ok(Some(Event::Message(TopicMessage {
            topic: name.to_name(),
            cursor,
            time: content.time,
            from: content.from.map(|from| from.decode().into_owned()),
            payload: content.payload.to_payload(),
        })))
    }

    /// Messages that will never come `[MSG-5]`; the part of them that was delivered is not named.
    pub(super) fn gap(
        &mut self,
        name: TopicRef<'_>,
        gap: Gap,
        counters: &mut Counters,
    ) -> Result<Option<Event>, FrameError> {
        let Some(topic) = self.delivering(name) else {
            return Ok(None);
        };
        let last = gap.last.ok_or(LAST)?;
        let cursor = topic.cursor.unwrap_or_default();
        let next = cursor.offset().next();
        if cursor.epoch().is_some_and(|epoch| epoch != gap.epoch) || gap.first > next {
            self.hole(name, counters)?;
            return Ok(None);
        }
        if last < next {
            counters.repeats += 1;
            return Ok(None);
        }
        topic.cursor = Some(Cursor::At {
            epoch: gap.epoch,
            offset: last,
        });
        topic.holes_in_row = 0;
        let gap = Gap { first: next, ..gap };
        let topic = name.to_name();
        Ok(Some(Event::Gap { topic, gap }))
    }

    /// A ping told how far the server has sent; if less has arrived, it is asked for `[LIVE-9]`.
    pub(super) fn tail(&mut self, name: TopicRef<'_>, tail: Cursor, counters: &mut Counters) {
        let Some(topic) = self.delivering(name) else {
            return;
        };
        let cursor = topic.cursor.unwrap_or_default();
        let behind = match tail.epoch() {
            None => false,
            Some(epoch) if cursor.epoch() == Some(epoch) => cursor.offset() < tail.offset(),
            Some(_) => cursor.epoch().is_some() || tail.offset() > Offset::ZERO,
        };
        if behind {
            counters.behind += 1;
            topic.again = true;
            self.ask(&name.to_name());
        }
    }

    /// A topic whose frames count; those of others are ignored `[MSG-8]`.
    fn delivering(&mut self, name: TopicRef<'_>) -> Option<&mut Topic> {
        self.get(name).filter(|topic| topic.delivers())
    }

    /// What came is not what comes next: the topic is asked for again.
    fn hole(&mut self, name: TopicRef<'_>, counters: &mut Counters) -> Result<(), FrameError> {
        counters.holes += 1;
        if let Some(topic) = self.get(name) {
            topic.holes_in_row += 1;
            if topic.holes_in_row > HOLES_MAX {
                return Err(HOLES);
            }
            topic.again = true;
            self.ask(&name.to_name());
        }
        Ok(())
    }
}

/// Whether an answer fits what was asked: nothing may be skipped, nor repeated, that no gap names
/// `[SUB-8]` `[SUB-9]` `[SUB-10]`.
fn fits(asked: SubFrom, cursor: Cursor, gap: Option<Gap>) -> bool {
    let SubFrom::After(asked) = asked else {
        return true;
    };
    match gap {
        None => cursor == asked || (asked == Cursor::Start && cursor.offset() == Offset::ZERO),
        Some(gap) if gap.reason == GapReason::Epoch => asked.epoch() == Some(gap.epoch),
        Some(gap) => {
            let same_epoch = asked.epoch().is_none_or(|epoch| epoch == gap.epoch);
            let to_cursor = cursor.epoch() == Some(gap.epoch) && gap.last == Some(cursor.offset());
            same_epoch && to_cursor && gap.first == asked.offset().next()
        }
    }
}
