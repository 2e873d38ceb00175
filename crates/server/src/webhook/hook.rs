//! The topics of one webhook: whose turn it is, and what an answer changes. Pure: it is told the
//! time, given random numbers, and fed what happened.
//!
//! It does not read messages ([`batch`](super::batch)) nor send them ([`send`](super::send)); the
//! [`worker`](super::worker) drives it: feed what happened, take attempts until there are none, sleep
//! until [`wake_at`](Hook::wake_at).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound::{Excluded, Unbounded};
use std::time::Duration;

use heartwire_hub::{Moved, Now};
use heartwire_proto::{Cursor, Offset, Time, TopicName};

use super::answer::{Answer, Kind};
use super::config::Begins;
use super::lane::{Lane, Last, State};

/// What bounds one webhook.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct HookLimits {
    /// How many topics it keeps a cursor for: 100,000, some 30 MB. Others wait until some are gone.
    pub(crate) topics_max: usize,
    /// How many requests are under way at once, each of another topic: 8.
    pub(crate) requests_max: usize,
}

impl Default for HookLimits {
    fn default() -> Self {
        Self {
            topics_max: 100_000,
            requests_max: 8,
        }
    }
}

/// A topic whose turn it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Attempt {
    pub(crate) topic: TopicName,
    /// The last message that the receiver has taken.
    pub(crate) cursor: Cursor,
    /// The last message that is there, as far as is known.
    end: Option<Cursor>,
    /// Where the request ends, when it is repeated.
    pub(crate) through: Option<Offset>,
}

/// What came of an attempt.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// The receiver has taken everything up to a cursor.
    Taken {
        to: Cursor,
        /// How many messages; none where a gap was told.
        messages: u64,
        answer: Answer,
    },
    /// It has not.
    NotTaken {
        answer: Answer,
        /// Where the request ended.
        through: Option<Offset>,
    },
    /// There was nothing to send.
    Nothing,
    /// The log does not hold the topic, and the receiver knows.
    Gone {
        /// The answer, if there was something to tell.
        answer: Option<Answer>,
    },
}

/// What has been counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Counts {
    /// Requests, by their [`Kind`].
    pub(crate) requests: [u64; Kind::ALL.len()],
    pub(crate) messages: u64,
    pub(crate) gaps: u64,
    /// How often a topic moved for which there was no room.
    pub(crate) left_out: u64,
}

/// How a webhook stands as a whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) topics: usize,
    /// Topics with something that the receiver has not taken.
    pub(crate) behind: usize,
    pub(crate) sending: usize,
    /// Topics whose last request was not taken.
    pub(crate) waiting: usize,
    /// Messages that the receiver has not taken.
    pub(crate) lag: u64,
    /// How long the oldest of them may have waited.
    pub(crate) oldest: Option<Duration>,
    /// For how long the receiver has asked to be left alone.
    pub(crate) paused: Option<Duration>,
}

/// The topics of one webhook.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Hook {
    limits: HookLimits,
    /// Where a topic begins that has no cursor.
    begins: Begins,
    lanes: BTreeMap<TopicName, Lane>,
    /// The queued lanes, longest first.
    queue: VecDeque<TopicName>,
    /// The waiting lanes.
    waiting: BTreeSet<(Time, TopicName)>,
    sending: usize,
    paused_until: Option<Time>,
    is_stopping: bool,
    has_unsaved: bool,
    counts: Counts,
}

impl Hook {
    /// A webhook that knows these cursors from before; `None` for one that is new.
    pub(crate) fn new(
        limits: HookLimits,
        saved: Option<impl IntoIterator<Item = (TopicName, Cursor)>>,
        begins: Begins,
    ) -> Self {
        let begins = match saved {
            Some(_) => Begins::Start,
            None => begins,
        };
        let lanes = saved.into_iter().flatten();
        Self {
            limits,
            begins,
            lanes: lanes
                .map(|(topic, cursor)| (topic, Lane::new(cursor)))
                .collect(),
            queue: VecDeque::new(),
            waiting: BTreeSet::new(),
            sending: 0,
            paused_until: None,
            is_stopping: false,
            has_unsaved: begins != Begins::Start,
            counts: Counts::default(),
        }
    }

    /// All topics that are there have been told of by [`moved`](Self::moved). What comes from here on
    /// is new and begins at its start; and topics with a cursor that the log does not hold are known.
    pub(crate) fn begun(&mut self) {
        self.begins = Begins::Start;
        let missing = self.lanes.iter_mut().filter(|(_, lane)| lane.end.is_none());
        for (topic, lane) in missing {
            lane.state = State::Queued;
            self.queue.push_back(topic.clone());
        }
    }

    /// A topic has a new end.
    pub(crate) fn moved(&mut self, moved: Moved, now: Time) {
        let has_room = self.lanes.len() < self.limits.topics_max;
        if !has_room && !self.lanes.contains_key(&moved.topic) {
            self.counts.left_out += 1;
            return;
        }
        let begins = match self.begins {
            Begins::Start => Cursor::Start,
            Begins::Head => moved.first,
            Begins::Tail => moved.end,
        };
        let lane = self.lanes.entry(moved.topic.clone());
        let lane = lane.or_insert_with(|| Lane::new(begins));
        lane.end = Some(moved.end);
        if lane.state == State::Idle && lane.is_behind() {
            lane.behind_since = Some(now);
            lane.state = State::Queued;
            self.queue.push_back(moved.topic);
        }
    }

    /// The next topic whose turn it is. Its [outcome](Self::ended) is to be told in any case.
    pub(crate) fn next(&mut self, now: Time) -> Option<Attempt> {
        self.release_due(now);
        let is_held = self.is_stopping || self.is_full() || self.is_paused(now);
        let topic = if is_held {
            None
        } else {
            self.queue.pop_front()
        }?;
        let lane = self.lanes.get_mut(&topic)?;
        lane.state = State::Sending;
        self.sending += 1;
        Some(Attempt {
            cursor: lane.cursor,
            end: lane.end,
            through: lane.repeat_through,
            topic,
        })
    }

    /// An attempt is over.
    pub(crate) fn ended(&mut self, attempt: &Attempt, outcome: Outcome, at: Now) {
        let topic = &attempt.topic;
        let Some(lane) = self.lanes.get_mut(topic) else {
            return;
        };
        // What has moved during the attempt has not been looked at by it.
        let has_moved = lane.end != attempt.end;
        self.sending -= 1;
        lane.state = State::Idle;
        match outcome {
            Outcome::Taken {
                to,
                messages,
                answer,
            } => {
                lane.cursor = to;
                self.counts.messages += messages;
                self.counts.gaps += u64::from(messages == 0);
                self.taken(topic, Some(answer), at);
            }
            Outcome::NotTaken { answer, through } => {
                lane.repeat_through = through;
                self.not_taken(topic, answer, at);
            }
            Outcome::Nothing => {
                lane.end = if has_moved {
                    lane.end
                } else {
                    Some(lane.cursor)
                };
                self.taken(topic, None, at);
            }
            Outcome::Gone { answer } => {
                lane.cursor = Cursor::Start;
                lane.end = lane.end.filter(|_| has_moved);
                self.counts.gaps += u64::from(answer.is_some());
                self.taken(topic, answer, at);
                self.forget(topic);
            }
        }
    }

    /// Sees to what is left of a topic after a success.
    fn taken(&mut self, topic: &TopicName, answer: Option<Answer>, at: Now) {
        if let Some(answer) = &answer {
            self.counts.requests[answer.kind() as usize] += 1;
            self.paused_until = None;
        }
        self.has_unsaved = true;
        let Some(lane) = self.lanes.get_mut(topic) else {
            return;
        };
        lane.failures = 0;
        lane.repeat_through = None;
        if let Some(answer) = answer {
            let at = at.wall;
            lane.last = Some(Last { answer, at });
        }
        if lane.is_behind() {
            lane.state = State::Queued;
            self.queue.push_back(topic.clone());
        } else {
            lane.behind_since = None;
        }
    }

    fn not_taken(&mut self, topic: &TopicName, answer: Answer, at: Now) {
        self.counts.requests[answer.kind() as usize] += 1;
        let pause = answer.pause_until(at.time, at.random);
        self.paused_until = self.paused_until.max(pause);
        let Some(lane) = self.lanes.get_mut(topic) else {
            return;
        };
        lane.failures = lane.failures.saturating_add(1);
        let until = answer.retry_at(lane.failures, at.time, at.random);
        let until = until.max(pause.unwrap_or(until));
        lane.state = State::Waiting { until };
        self.waiting.insert((until, topic.clone()));
        lane.last = Some(Last {
            answer,
            at: at.wall,
        });
    }

    /// The oldest message that waits was appended then.
    pub(crate) fn oldest(&mut self, topic: &TopicName, appended: Time) {
        if let Some(lane) = self.lanes.get_mut(topic) {
            lane.behind_since = Some(appended);
        }
    }

    /// When there is something to do at the latest, if nothing else happens.
    pub(crate) fn wake_at(&self, now: Time) -> Option<Time> {
        if self.is_stopping || self.is_full() {
            return None;
        }
        let due = self.waiting.first().map(|(until, _)| *until);
        let next = match self.queue.is_empty() {
            true => due?,
            false => now,
        };
        Some(next.max(self.paused_until.unwrap_or(next)))
    }

    /// Nobody waits any longer, whatever the receiver has said.
    pub(crate) fn retry_now(&mut self) {
        self.paused_until = None;
        while let Some((_, topic)) = self.waiting.pop_first() {
            self.enqueue(topic);
        }
    }

    /// Nothing more is begun.
    pub(crate) fn stop(&mut self) {
        self.is_stopping = true;
    }

    /// Forgets a topic of which nothing is left to deliver; one that has moved meanwhile stays.
    pub(crate) fn forget(&mut self, topic: &TopicName) {
        let lane = self.lanes.get(topic);
        if lane.is_some_and(|lane| lane.state == State::Idle) {
            self.lanes.remove(topic);
            self.has_unsaved = true;
        }
    }

    /// Topics in the order of their names, after `after`.
    pub(crate) fn lanes(
        &self,
        after: Option<&TopicName>,
    ) -> impl Iterator<Item = (&TopicName, &Lane)> {
        let from = after.map_or(Unbounded, Excluded);
        self.lanes.range::<TopicName, _>((from, Unbounded))
    }

    /// The cursors that are to be kept: a topic without one begins at its start.
    pub(crate) fn cursors(&self) -> impl Iterator<Item = (TopicName, Cursor)> {
        let lanes = self.lanes.iter().map(|(topic, lane)| (topic, lane.cursor));
        let begun = lanes.filter(|(_, cursor)| *cursor != Cursor::Start);
        begun.map(|(topic, cursor)| (topic.clone(), cursor))
    }

    /// Whether cursors have changed since this was asked last.
    pub(crate) fn take_unsaved(&mut self) -> bool {
        std::mem::take(&mut self.has_unsaved)
    }

    /// They could not be saved, and have changed still.
    pub(crate) fn not_saved(&mut self) {
        self.has_unsaved = true;
    }

    /// What has been counted.
    pub(crate) const fn counts(&self) -> &Counts {
        &self.counts
    }

    /// How it stands. Looks at every topic.
    pub(crate) fn totals(&self, now: Time) -> Totals {
        let left = |until: Time| (until > now).then(|| until.since(now));
        let mut totals = Totals {
            topics: self.lanes.len(),
            sending: self.sending,
            waiting: self.waiting.len(),
            paused: self.paused_until.and_then(left),
            ..Totals::default()
        };
        for lane in self.lanes.values().filter(|lane| lane.is_behind()) {
            totals.behind += 1;
            totals.lag += lane.lag();
            let waited = lane.behind_since.map(|since| now.since(since));
            totals.oldest = totals.oldest.max(waited);
        }
        totals
    }

    fn release_due(&mut self, now: Time) {
        while self.waiting.first().is_some_and(|(until, _)| *until <= now)
            && let Some((_, topic)) = self.waiting.pop_first()
        {
            self.enqueue(topic);
        }
    }

    fn enqueue(&mut self, topic: TopicName) {
        if let Some(lane) = self.lanes.get_mut(&topic) {
            lane.state = State::Queued;
            self.queue.push_back(topic);
        }
    }

    const fn is_full(&self) -> bool {
        self.sending >= self.limits.requests_max
    }

    fn is_paused(&self, now: Time) -> bool {
        self.paused_until.is_some_and(|until| now < until)
    }
}
