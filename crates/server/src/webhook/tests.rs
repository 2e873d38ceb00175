//! Webhooks in virtual time, over a real hub: random publishes, answers and restarts, and a receiver
//! that knows only what it is posted.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use heartwire_hub::{Append, HubConfig, HubState, Now, ProducerKey, TopicRef, WatchKey};
use heartwire_proto::frame::Message;
use heartwire_proto::{Cursor, LogId, Time, TopicName, WallTime};
use heartwire_testing::Dice;
use proptest::prelude::*;
use serde_json::Value;

use super::answer::Answer;
use super::batch::{self, Next, Request};
use super::config::Begins;
use super::hook::{Attempt, Hook, HookLimits, Outcome};

const TOPICS: [&str; 3] = ["news:a", "news:b", "news:c"];
/// So few that what is not taken is trimmed.
const RETAINED: usize = 6;
const LIMITS: HookLimits = HookLimits {
    topics_max: 10,
    requests_max: 2,
};

fn hub(number: u64) -> HubState<()> {
    let mut config = HubConfig::default();
    config.log.policy.retention.count_max = RETAINED;
    let log = LogId::from_random(number);
    HubState::new(Arc::new(config), log, ProducerKey::new(number.into()))
}

/// What a receiver knows of a topic.
#[derive(Default)]
struct Receiver {
    taken: BTreeMap<String, Cursor>,
    /// What each id stood for.
    bodies: BTreeMap<String, String>,
    messages: usize,
}

impl Receiver {
    /// Handles a request as the documentation tells: what does not lie above the cursor is a
    /// repetition. Everything else has to follow what was taken before.
    fn take(&mut self, request: &Request) {
        let before = self.bodies.insert(request.id.clone(), request.body.clone());
        assert!(
            before.is_none_or(|before| before == request.body),
            "one id, two bodies"
        );
        let body: Value = serde_json::from_str(&request.body).expect("JSON");
        let topic = body["topic"].as_str().expect("a topic").to_owned();
        let taken = self.taken.entry(topic).or_default();
        match body["type"].as_str() {
            Some("heartwire.messages") => {
                let epoch = body["epoch"].as_str().expect("an epoch");
                for message in body["messages"].as_array().expect("messages") {
                    let offset = message["offset"].as_u64().expect("an offset");
                    let at = format!("{epoch}.{offset}").parse().expect("a cursor");
                    self.messages += usize::from(follow(taken, at));
                }
            }
            Some("heartwire.gap") => {
                let next = body["next"].as_str();
                let next = next.map_or(Cursor::Start, |next| next.parse().expect("a cursor"));
                let is_old = next.epoch() == taken.epoch() && next.offset() <= taken.offset();
                if !is_old {
                    *taken = next;
                }
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Whether the message was new.
fn follow(taken: &mut Cursor, message: Cursor) -> bool {
    if taken.epoch() == message.epoch() && message.offset() <= taken.offset() {
        return false;
    }
    // Of another epoch nothing was taken yet: a receiver sees that by itself, where the server has
    // forgotten that there was one before.
    let before = match taken.epoch() == message.epoch() {
        true => taken.offset().0,
        false => 0,
    };
    assert_eq!(
        message.offset().0,
        before + 1,
        "{message} comes after {taken}"
    );
    *taken = message;
    true
}

/// What happens next.
#[derive(Clone, Copy, Debug)]
enum Step {
    Publish {
        topic: usize,
        count: usize,
    },
    /// Begins a request, which the receiver may take whatever becomes of its answer.
    Begin {
        reaches: bool,
    },
    /// A request is answered: taken, if it reached the receiver and `answer` is 200.
    End {
        which: usize,
        answer: u16,
    },
    Pass {
        millis: u64,
    },
    Save,
    /// The process is killed: what was not saved is forgotten, the log is not.
    Kill,
    /// The log is lost as well, as one in memory is.
    Lose,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let publish = (0..TOPICS.len(), 1_usize..10);
    let answers =
        prop_oneof![4 => Just(200), 1 => Just(429), 1 => Just(500), 1 => Just(404), 1 => Just(0)];
    let step = prop_oneof![
        6 => publish.prop_map(|(topic, count)| Step::Publish { topic, count }),
        8 => any::<bool>().prop_map(|reaches| Step::Begin { reaches }),
        8 => (0_usize..4, answers).prop_map(|(which, answer)| Step::End { which, answer }),
        3 => (0_u64..3_000).prop_map(|millis| Step::Pass { millis }),
        2 => Just(Step::Save),
        1 => Just(Step::Kill),
        1 => Just(Step::Lose),
    ];
    prop::collection::vec(step, 1..200)
}

struct World {
    hub: HubState<()>,
    key: WatchKey,
    hook: Hook,
    saved: Vec<(TopicName, Cursor)>,
    receiver: Receiver,
    /// Requests under way, and whether they reach the receiver.
    under_way: Vec<(Attempt, Next, bool)>,
    batch_max: usize,
    dice: Dice,
    now: Now,
}

impl World {
    fn new(batch_max: usize) -> Self {
        let mut hub = hub(1);
        let now = Now {
            time: Time::ZERO,
            wall: WallTime::default(),
            random: 1,
        };
        let nothing: Option<Vec<(TopicName, Cursor)>> = None;
        Self {
            key: hub.watch("news:*".parse().expect("a pattern"), ()),
            hub,
            hook: Hook::new(LIMITS, nothing, Begins::Tail),
            saved: Vec::new(),
            receiver: Receiver::default(),
            under_way: Vec::new(),
            batch_max,
            dice: Dice::new(1),
            now,
        }
    }

    fn run(&mut self, step: Step) {
        self.now.random = self.dice.roll();
        match step {
            Step::Publish { topic, count } => self.publish(TOPICS[topic], count),
            Step::Begin { reaches } => self.begin(reaches),
            Step::End { which, answer } => self.end(which, answer),
            Step::Pass { millis } => self.now.time = self.now.time + Duration::from_millis(millis),
            Step::Save => self.saved = self.hook.cursors().collect(),
            Step::Kill => self.restart(),
            Step::Lose => {
                self.hub = hub(self.now.random);
                self.restart();
            }
        }
    }

    fn publish(&mut self, topic: &str, count: usize) {
        for _ in 0..count {
            let append = Append {
                topic: TopicRef::parse(topic).expect("a topic"),
                payload: Message::Text("x"),
                from: None,
                producer: None,
            };
            self.hub.publish(append, self.now).expect("there is room");
        }
        self.hub.commit_memory();
        self.take_moved();
    }

    fn take_moved(&mut self) {
        for moved in self.hub.take_moved(self.key, usize::MAX) {
            self.hook.moved(moved, self.now.time);
        }
    }

    fn begin(&mut self, reaches: bool) {
        let Some(attempt) = self.hook.next(self.now.time) else {
            return;
        };
        let doubled = self
            .under_way
            .iter()
            .any(|(other, ..)| other.topic == attempt.topic);
        assert!(!doubled, "one request for a topic at a time");
        assert!(self.under_way.len() < LIMITS.requests_max);
        let next = batch::next(&mut self.hub, "hook", self.batch_max, &attempt);
        if let (true, Next::Request(request) | Next::Gone(Some(request))) = (reaches, &next) {
            self.receiver.take(request);
        }
        self.under_way.push((attempt, next, reaches));
    }

    fn end(&mut self, which: usize, status: u16) {
        if which >= self.under_way.len() {
            return;
        }
        let (attempt, next, reached) = self.under_way.swap_remove(which);
        let answer = match status {
            0 => Answer::Silent,
            429 => Answer::Status {
                status,
                retry_after: Some(Duration::from_secs(3)),
            },
            _ => Answer::status(status),
        };
        let outcome = match next {
            Next::Nothing => Outcome::Nothing,
            Next::Gone(None) => Outcome::Gone { answer: None },
            Next::Cold => unreachable!("a log in memory is never cold"),
            Next::Request(request) | Next::Gone(Some(request)) if !(reached && status == 200) => {
                let answer = if status == 200 {
                    Answer::Silent
                } else {
                    answer
                };
                let through = Some(request.to.offset());
                Outcome::NotTaken { answer, through }
            }
            Next::Gone(Some(_)) => Outcome::Gone {
                answer: Some(answer),
            },
            Next::Request(request) => Outcome::Taken {
                to: request.to,
                messages: request.messages,
                answer,
            },
        };
        self.hook.ended(&attempt, outcome, self.now);
    }

    fn restart(&mut self) {
        self.under_way.clear();
        self.hook = Hook::new(LIMITS, Some(self.saved.clone()), Begins::Tail);
        self.key = self.hub.watch("news:*".parse().expect("a pattern"), ());
        self.take_moved();
        self.hook.begun();
    }

    /// Everything works from here on: until nothing is left to be done.
    fn settle(&mut self) {
        for round in 0.. {
            assert!(round < 10_000, "it never comes to rest: {:?}", self.hook);
            while !self.under_way.is_empty() {
                self.end(0, 200);
            }
            match self.hook.wake_at(self.now.time) {
                Some(at) => self.now.time = self.now.time.max(at),
                None => return,
            }
            self.begin(true);
        }
    }

    fn has_everything(&self) -> bool {
        let mut topics = self.hub.log().topics_after(None);
        topics.all(|(_, topic)| {
            let taken = self.receiver.taken.get(topic.name().as_str()).copied();
            taken == Some(topic.cursor(topic.end()))
        })
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// Whatever fails and whenever the process ends: each topic arrives in order, nothing is missing
    /// that was not named, and an id stands for one request.
    #[test]
    fn nothing_is_lost_or_out_of_order(steps in steps(), batch_max in 1_usize..4) {
        let mut world = World::new(batch_max);
        world.hook.begun();
        for step in steps {
            world.run(step);
        }
        world.settle();
        prop_assert!(world.has_everything(), "{:?}", world.receiver.taken);
        let totals = world.hook.totals(world.now.time);
        prop_assert_eq!((totals.lag, totals.behind, totals.sending), (0, 0, 0));
        prop_assert_eq!(totals.oldest, None);
    }
}

fn settled(world: &mut World) -> usize {
    world.settle();
    std::mem::take(&mut world.receiver.messages)
}

#[test]
fn a_new_webhook_begins_with_what_comes_or_with_what_is_there() {
    for (begins, there) in [(Begins::Tail, 0), (Begins::Head, 4)] {
        let mut world = World::new(1);
        world.publish("news:a", 4);
        let nothing: Option<Vec<(TopicName, Cursor)>> = None;
        world.hook = Hook::new(LIMITS, nothing, begins);
        world.key = world.hub.watch("news:*".parse().expect("a pattern"), ());
        world.take_moved();
        world.hook.begun();
        assert!(world.hook.take_unsaved(), "where it begins is to be kept");
        world.receiver.taken = world
            .hook
            .cursors()
            .map(|(topic, at)| (topic.to_string(), at))
            .collect();
        assert_eq!(settled(&mut world), there, "{begins:?}");
        world.publish("news:a", 1);
        world.publish("news:b", 2);
        assert_eq!(settled(&mut world), 3, "{begins:?}");
    }
}

#[test]
fn a_receiver_that_asks_for_it_is_left_alone_with_all_topics() {
    let mut world = World::new(1);
    world.hook.begun();
    world.publish("news:a", 1);
    world.publish("news:b", 1);
    world.begin(false);
    world.end(0, 429);
    assert!(
        world.hook.next(world.now.time).is_none(),
        "the other topic waits as well"
    );
    let at = world
        .hook
        .wake_at(world.now.time)
        .expect("it is tried again");
    assert!(at.since(world.now.time) >= Duration::from_secs(3));
    world.hook.retry_now();
    assert_eq!(world.hook.wake_at(world.now.time), Some(world.now.time));
    assert_eq!(settled(&mut world), 2);
}

#[test]
fn a_request_that_is_repeated_stays_the_same() {
    let mut world = World::new(10);
    world.hook.begun();
    world.publish("news:a", 2);
    world.begin(true);
    world.end(0, 500);
    world.publish("news:a", 3);
    world.settle();
    assert_eq!(
        world.receiver.bodies.len(),
        2,
        "one of two messages, one of three"
    );
    assert_eq!(world.receiver.messages, 5);
}

#[test]
fn a_topic_for_which_there_is_no_room_waits_until_there_is() {
    let mut world = World::new(1);
    world.hook = Hook::new(
        HookLimits {
            topics_max: 1,
            ..LIMITS
        },
        Some(Vec::new()),
        Begins::Tail,
    );
    world.hook.begun();
    world.publish("news:a", 1);
    world.publish("news:b", 1);
    assert_eq!(settled(&mut world), 1);
    assert_eq!(world.hook.counts().left_out, 1);
    world.hook.forget(&"news:a".parse().expect("a topic"));
    world.publish("news:b", 1);
    assert_eq!(settled(&mut world), 2, "from its start");
}

#[test]
fn nothing_is_begun_after_the_stop() {
    let mut world = World::new(1);
    world.hook.begun();
    world.publish("news:a", 1);
    world.hook.stop();
    assert!(world.hook.next(world.now.time).is_none());
    assert_eq!(world.hook.wake_at(world.now.time), None);
}
