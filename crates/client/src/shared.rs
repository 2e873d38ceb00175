//! What the handles of a link and its driver share: the session, and everybody who waits for it.
//!
//! Whoever calls the session, the application or the driver, drains it before the lock is released:
//! events go to whom they concern, and what only the driver can do is left for it. So there is no
//! channel between them that could fill.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use heartwire_proto::client::{
    ClientConfig, ClientSession, Ending, Event, Input, Now, Output, Status, Transmit,
};
use heartwire_proto::frame::{Durability, Gap, Payload, SubFrom};
use heartwire_proto::{Attempt, ClientId, Close, Seq, Time, TopicName};
use tokio::sync::{Notify, broadcast, oneshot, watch};
use tokio::time::Instant;

use crate::clock::{Clock, random};
use crate::error::SubscribeError;
use crate::events::{EVENTS_MAX, is_told};
use crate::publish::{Outcome, Publish, PublishError, Stored};
use crate::queue::{End, Queue, QueueLimits};
use crate::streams::{Delivery, PlainDelivery, Step, push_message, push_reconnected};

/// See the [module](self).
pub(crate) struct Shared {
    core: Mutex<Core>,
    /// Wakes the driver after the application has called the session.
    driver: Notify,
    clock: Clock,
    queue_limits: QueueLimits,
}

/// What the lock guards. No code of the application's runs under it.
struct Core {
    session: ClientSession,
    /// Where the messages of each followed topic go.
    subscriptions: BTreeMap<TopicName, Arc<Queue<Step>>>,
    /// Topics whose queue has become full in the course of the present call.
    full: Vec<TopicName>,
    /// Who waits for a publish. Never more than the outbox holds.
    publishes: BTreeMap<Seq, oneshot::Sender<Outcome>>,
    /// Where messages go in plain mode.
    messages: Arc<Queue<PlainDelivery>>,
    /// What the driver has to do. A dial takes back an earlier one that the driver has not seen, so
    /// that a busy application cannot let them pile up.
    tasks: VecDeque<Task>,
    status: watch::Sender<Status>,
    /// None once the link is closed, which ends the streams of events.
    events: Option<broadcast::Sender<Event>>,
    /// The link has been open before.
    was_open: bool,
}

/// What only the driver can do, as it owns the socket.
#[derive(Debug)]
pub(crate) enum Task {
    Dial {
        attempt: Attempt,
    },
    Abandon {
        attempt: Attempt,
        close: Option<Close>,
    },
    Look {
        attempt: Attempt,
    },
}

impl Shared {
    /// A link that has begun to dial.
    pub(crate) fn start(config: ClientConfig, queue_limits: QueueLimits) -> Arc<Self> {
        let session = ClientSession::new(config, ClientId::from_random(random()));
        let shared = Self {
            core: Mutex::new(Core {
                status: watch::Sender::new(session.status().clone()),
                session,
                subscriptions: BTreeMap::new(),
                full: Vec::new(),
                publishes: BTreeMap::new(),
                messages: Arc::new(Queue::new(queue_limits)),
                tasks: VecDeque::new(),
                events: Some(broadcast::Sender::new(EVENTS_MAX)),
                was_open: false,
            }),
            driver: Notify::new(),
            clock: Clock::start(),
            queue_limits,
        };
        shared.drive(|session| session.start(shared.now()));
        Arc::new(shared)
    }

    /// Calls the session on behalf of the application, and wakes the driver.
    pub(crate) fn request<R>(&self, call: impl FnOnce(&mut ClientSession) -> R) -> R {
        let result = self.lock().call(call);
        self.driver.notify_one();
        result
    }

    /// Asks the session.
    pub(crate) fn ask<R>(&self, ask: impl FnOnce(&ClientSession) -> R) -> R {
        ask(&self.lock().session)
    }

    pub(crate) fn status(&self) -> watch::Receiver<Status> {
        self.lock().status.subscribe()
    }

    pub(crate) fn events(&self) -> broadcast::Receiver<Event> {
        match &self.lock().events {
            Some(events) => events.subscribe(),
            // The channel's other end is gone at once, so the stream ends at once.
            None => broadcast::channel(1).1,
        }
    }

    pub(crate) fn messages(&self) -> Arc<Queue<PlainDelivery>> {
        Arc::clone(&self.lock().messages)
    }

    pub(crate) fn subscribe(
        &self,
        topic: &TopicName,
        from: SubFrom,
    ) -> Result<Arc<Queue<Step>>, SubscribeError> {
        let queue = Arc::new(Queue::new(self.queue_limits));
        let mut core = self.lock();
        if core.subscriptions.contains_key(topic) {
            return Err(SubscribeError::AlreadyFollowed);
        }
        core.call(|session| session.subscribe(topic, from))?;
        core.subscriptions.insert(topic.clone(), Arc::clone(&queue));
        drop(core);
        self.driver.notify_one();
        Ok(queue)
    }

    /// Stops following, unless the topic is followed by another subscription than that of `queue`:
    /// the server may have stopped the one, and the application begun the other.
    pub(crate) fn unsubscribe(&self, topic: &TopicName, queue: &Arc<Queue<Step>>) {
        let mut core = self.lock();
        if core.is_followed_by(topic, queue) {
            core.subscriptions.remove(topic);
            core.call(|session| session.unsubscribe(topic));
            drop(core);
            self.driver.notify_one();
        }
    }

    /// The consumer of `queue` has caught up.
    pub(crate) fn resume(&self, topic: &TopicName, queue: &Arc<Queue<Step>>) {
        let mut core = self.lock();
        if core.is_followed_by(topic, queue) {
            core.call(|session| session.resume(topic));
            drop(core);
            self.driver.notify_one();
        }
    }

    pub(crate) fn publish(&self, topic: TopicName, payload: Payload) -> Publish {
        let mut core = self.lock();
        let accepted = core.call(|session| session.publish(topic, payload));
        let seq = match accepted {
            Ok(seq) => seq,
            Err(error) => return Publish::failed(error.into()),
        };
        let (tell, outcome) = oneshot::channel();
        core.publishes.insert(seq, tell);
        drop(core);
        self.driver.notify_one();
        Publish::waiting(seq, outcome)
    }

    /// The moment, and randomness, for a call that asks for them.
    pub(crate) fn now(&self) -> Now {
        self.clock.now()
    }

    fn lock(&self) -> MutexGuard<'_, Core> {
        // Only a bug of ours can panic under the lock. The driver closes the link on its way out;
        // the handles then find a closed link, and not a second panic.
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// For the driver alone.
impl Shared {
    /// Calls the session.
    pub(crate) fn drive<R>(&self, call: impl FnOnce(&mut ClientSession) -> R) -> R {
        self.lock().call(call)
    }

    /// Reports that a plain connection is open, and sends the application's first messages before
    /// any other.
    pub(crate) fn open(&self, opened: Input<'_>, first: Vec<Payload>) {
        let mut core = self.lock();
        core.call(|session| session.handle(opened, self.now()));
        for payload in first {
            // It is refused only where the link has been given up meanwhile, or where the first
            // messages alone are more than may wait; the application learns of neither from here,
            // but of the connection's end by its status and of a hole by what the server says.
            let _ = core.call(|session| session.send(payload));
        }
    }

    /// The next task.
    pub(crate) fn next_task(&self) -> Option<Task> {
        self.lock().tasks.pop_front()
    }

    /// The next thing to write.
    pub(crate) fn next_transmit(&self) -> Option<Transmit> {
        self.drive(|session| session.poll_transmit(self.now()))
    }

    /// When the session wants to be called again.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        let timeout = self.ask(ClientSession::next_timeout)?;
        Some(self.clock.instant(timeout))
    }

    pub(crate) fn time(&self) -> Time {
        self.clock.time()
    }

    /// Waits until the application has called the session.
    pub(crate) async fn called(&self) {
        self.driver.notified().await;
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.ask(|session| matches!(session.status(), Status::Closed { .. }))
    }

    /// Closes the link without waiting for anything, as there is no driver any more; a closed one
    /// stays as it is.
    pub(crate) fn abort(&self) {
        let now = self.now();
        self.drive(|session| session.close(Duration::ZERO, now));
        // With something in the outbox, the close is due only as a timeout of this very moment.
        self.drive(|session| session.timeout(now));
    }
}

impl Core {
    fn call<R>(&mut self, call: impl FnOnce(&mut ClientSession) -> R) -> R {
        let result = call(&mut self.session);
        self.drain();
        while let Some(topic) = self.full.pop() {
            self.session.pause(&topic);
            self.drain();
        }
        result
    }

    fn drain(&mut self) {
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Dial { attempt } => self.leave_dial(attempt),
                Output::Abandon { attempt, close } => self.leave_abandon(attempt, close),
                Output::Look { attempt } => self.tasks.push_back(Task::Look { attempt }),
                Output::Event(event) => {
                    self.tell(&event);
                    self.hand_on(event);
                }
            }
        }
    }

    fn leave_dial(&mut self, attempt: Attempt) {
        // What is left of a connection that is over needs no look.
        self.tasks
            .retain(|task| matches!(task, Task::Abandon { .. }));
        self.tasks.push_back(Task::Dial { attempt });
    }

    fn leave_abandon(&mut self, abandoned: Attempt, close: Option<Close>) {
        let before = self.tasks.len();
        self.tasks
            .retain(|task| !matches!(task, Task::Dial { attempt } if *attempt == abandoned));
        let never_dialled = self.tasks.len() < before;
        if !never_dialled {
            self.tasks.push_back(Task::Abandon {
                attempt: abandoned,
                close,
            });
        }
    }

    fn tell(&self, event: &Event) {
        if let Some(events) = self.events.as_ref().filter(|_| is_told(event)) {
            // An error says that nobody listens.
            let _ = events.send(event.clone());
        }
    }

    /// Brings an event to whom it concerns.
    fn hand_on(&mut self, event: Event) {
        match event {
            Event::Status(status) => self.change(status),
            Event::Followed { topic, cursor } => {
                if let Some(queue) = self.subscriptions.get(&topic) {
                    let step = Step {
                        cursor: Some(cursor),
                        delivery: None,
                    };
                    queue.push_mark(step, |last| last.move_to(cursor));
                }
            }
            Event::Message(message) => {
                let bytes = message.payload.len();
                let topic = message.topic.clone();
                self.deliver(&topic, Delivery::Message(message), bytes);
            }
            Event::Gap { topic, gap } => self.deliver(&topic, Delivery::Gap(gap), size_of::<Gap>()),
            Event::Refused { topic, code } => self.stop(&topic, End::Refused(code)),
            Event::Ended { topic, code } => self.stop(&topic, End::Stopped(code)),
            Event::Stored { seq } => {
                let durability = self.durability();
                self.settle(seq, Ok(Stored { seq, durability }));
            }
            Event::PublishRefused { seq, code } => {
                self.settle(seq, Err(PublishError::Refused(code)));
            }
            Event::InDoubt { seq } => self.settle(seq, Err(PublishError::InDoubt)),
            Event::Received(payload) => push_message(&self.messages, payload),
            Event::Welcome(_)
            | Event::LogLost { .. }
            | Event::ClientChanged(_)
            | Event::Rtt(_)
            | Event::Unsent { .. } => {}
        }
    }

    fn change(&mut self, status: Status) {
        if matches!(status, Status::Open { .. }) {
            if self.was_open {
                push_reconnected(&self.messages);
            }
            self.was_open = true;
        }
        if let Status::Closed { why } = &status {
            self.end(why);
        }
        self.status.send_replace(status);
    }

    fn deliver(&mut self, topic: &TopicName, delivery: Delivery, bytes: usize) {
        let Some(queue) = self.subscriptions.get(topic) else {
            return;
        };
        // The session is drained after each input, so its cursor is the one after this delivery.
        let step = Step {
            cursor: self.session.cursor(topic),
            delivery: Some(delivery),
        };
        if queue.push(step, bytes) {
            self.full.push(topic.clone());
        }
    }

    fn stop(&mut self, topic: &TopicName, end: End) {
        if let Some(queue) = self.subscriptions.remove(topic) {
            queue.end(end);
        }
    }

    fn settle(&mut self, seq: Seq, outcome: Outcome) {
        if let Some(tell) = self.publishes.remove(&seq) {
            // An error says that nobody waits for it any more.
            let _ = tell.send(outcome);
        }
    }

    fn durability(&self) -> Durability {
        self.session
            .welcome()
            .map_or_else(Durability::default, |welcome| welcome.durability)
    }

    /// Tells everybody that nothing follows.
    fn end(&mut self, why: &Ending) {
        for queue in std::mem::take(&mut self.subscriptions).into_values() {
            queue.end(End::LinkClosed(why.clone()));
        }
        self.messages.end(End::LinkClosed(why.clone()));
        for tell in std::mem::take(&mut self.publishes).into_values() {
            let _ = tell.send(Err(PublishError::Closed));
        }
        self.events = None;
    }

    fn is_followed_by(&self, topic: &TopicName, queue: &Arc<Queue<Step>>) -> bool {
        self.subscriptions
            .get(topic)
            .is_some_and(|followed| Arc::ptr_eq(followed, queue))
    }
}
