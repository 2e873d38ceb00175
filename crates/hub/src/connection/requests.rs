//! What a connection asks of the hub.

use std::sync::Arc;

use heartwire_log::{Append, AppendError, Appended, ProducerId};
use heartwire_proto::frame::{
    HeartbeatMillis, Hello, Message, NackCode, ServerFrame, SubFrom, Welcome, WelcomeLimits,
    encode_publisher,
};
use heartwire_proto::heartbeat::Heartbeat;
use heartwire_proto::id::TopicRef;
use heartwire_proto::server::{Request, Session};
use heartwire_proto::{Close, CloseCode, Seq, TopicName};

use super::grants::expiry;
use super::{CLOSING_MAX, Connection, Live, Speech, State, decided, heartbeat_config, push_frame};
use crate::Now;
use crate::config::HubConfig;
use crate::grant::Grant;
use crate::outgoing::Outgoing;
use crate::state::{FollowError, HubState, Identity, Mode, Peer, Role, Who};

/// The topic to which plain clients publish `[PLAIN-3]`.
const INBOX: &str = "inbox";

impl Connection {
    /// A plain connection, upgraded just now. It follows `topics` from their ends `[PLAIN-6]`;
    /// `grant` is who it is and what it may do; everything, where nobody is asked. A topic that it
    /// may not follow ends it, as plain mode has no other word. It is to be filled next.
    pub fn plain<H: Clone>(
        peer: Peer<'_>,
        topics: &[TopicName],
        grant: Option<&Arc<Grant>>,
        hub: &mut HubState<H>,
        handle: &H,
        now: Now,
    ) -> Self {
        let config = hub.config().clone();
        let who = Who {
            role: Role::Plain,
            identity: identity(grant),
            agent: hub.share_agent(peer.agent),
            ip: peer.address.map(|address| address.ip()),
            port: peer.address.map_or(0, |address| address.port()),
            opened_at: now.time,
            rtt_ms: u32::MAX,
        };
        let joined = hub.join(handle.clone(), who);
        let mut connection = Self::v1(config, peer, Vec::new(), now.time);
        let key = match joined {
            Ok(key) => key,
            Err(close) => {
                let end = decided(close, now.time);
                connection.close_as(Mode::Plain, end, now.time + CLOSING_MAX);
                return connection;
            }
        };
        if !topics.is_empty() {
            hub.note_asked(key, now.time);
        }
        let heartbeat = Heartbeat::new(connection.config.heartbeat, now.time);
        let speech = Speech::Plain { has_spoken: false };
        let expires_at = expiry(grant, now.time);
        connection.state = State::Live(Live::new(key, heartbeat, speech, expires_at));
        for topic in topics {
            // A topic beyond the limit is left out: plain mode has no word for it.
            let followed = hub.follow(key, topic.as_topic(), SubFrom::Tail);
            if followed == Err(FollowError::Forbidden) {
                connection.close(not_granted(topic.as_topic()), now.time);
                break;
            }
        }
        connection
    }

    /// Accepts a `hello`: `grant` is who it is and what it may do; everything, where nobody is
    /// asked. The answer, `welcome` or a close, stands in [`outgoing`](Self::outgoing).
    pub fn welcome<H: Clone>(
        &mut self,
        hello: &Hello,
        grant: Option<&Arc<Grant>>,
        hub: &mut HubState<H>,
        handle: &H,
        now: Now,
    ) {
        let State::Greeting(greeting) = &mut self.state else {
            return;
        };
        let subject = grant.and_then(|grant| grant.subject());
        let producer = hub.producer_key().producer(subject, &hello.client);
        let agent = match hello.agent.as_str() {
            "" => &greeting.agent,
            agent => agent,
        };
        let who = Who {
            role: Role::V1 {
                producer,
                attempt: hello.attempt,
            },
            identity: identity(grant),
            agent: hub.share_agent(agent),
            ip: greeting.address.map(|address| address.ip()),
            port: greeting.address.map_or(0, |address| address.port()),
            opened_at: now.time,
            rtt_ms: u32::MAX,
        };
        let key = match hub.join(handle.clone(), who) {
            Ok(key) => key,
            Err(close) => return self.close(close, now.time),
        };
        let known = hub.log().durable(producer);
        let heartbeat = heartbeat_config(&self.config, hello.heartbeat_interval_ms);
        let welcome = Welcome {
            connection: key.id(),
            log: hub.log().id(),
            acked: known.unwrap_or_default(),
            producer_known: known.is_some(),
            topics: granted(std::mem::take(&mut greeting.topics), grant, hub),
            heartbeat: HeartbeatMillis {
                interval_ms: heartbeat.interval().as_millis() as u64,
                timeout_ms: heartbeat.timeout().as_millis() as u64,
            },
            limits: WelcomeLimits::from(&self.config.limits),
            durability: self.config.durability,
            features: Vec::new(),
            server: self.config.server.clone(),
        };
        let mut session = greeting.session.clone();
        session.welcomed(welcome.acked);
        push_frame(&mut self.outgoing, &ServerFrame::Welcome(Box::new(welcome)));
        let heartbeat = Heartbeat::with_random_start(heartbeat, now.time, now.random);
        let expires_at = expiry(grant, now.time);
        self.state = State::Live(Live::new(key, heartbeat, Speech::V1(session), expires_at));
    }

    /// Does what [`receive`](Self::receive) asked the hub for. [`Fill`](Self::fill) the connection
    /// before the hub is unlocked: it is not woken for its own doing.
    pub fn apply<H: Clone>(&mut self, request: Request<'_>, hub: &mut HubState<H>, now: Now) {
        self.ask(hub, now, |asking| asking.ask(request));
    }

    /// Asks the hub, unless it has removed the connection. An error closes the connection.
    pub(super) fn ask<H: Clone>(
        &mut self,
        hub: &mut HubState<H>,
        now: Now,
        ask: impl FnOnce(&mut Asking<'_, H>) -> Result<(), Close>,
    ) {
        let State::Live(live) = &mut self.state else {
            return;
        };
        if let Err(close) = hub.check(live.key) {
            return self.close(close, now.time);
        }
        hub.attend(live.key);
        let asked = ask(&mut Asking {
            live,
            hub,
            outgoing: &mut self.outgoing,
            config: &self.config,
            now,
        });
        if let Err(close) = asked {
            self.close(close, now.time);
        }
    }
}

/// A request under way: what it needs of the connection, and the hub.
pub(super) struct Asking<'a, H> {
    live: &'a mut Live,
    pub(super) hub: &'a mut HubState<H>,
    outgoing: &'a mut Outgoing,
    pub(super) config: &'a HubConfig,
    now: Now,
}

impl<H: Clone> Asking<'_, H> {
    /// An error closes the connection.
    fn ask(&mut self, request: Request<'_>) -> Result<(), Close> {
        match request {
            Request::Sub { topic, from } => {
                self.sub(topic, from);
                Ok(())
            }
            Request::Unsub { topic } => {
                self.hub.unfollow(self.live.key, topic);
                self.push(&ServerFrame::Unsubbed { topic });
                Ok(())
            }
            Request::Publish {
                topic,
                seq,
                payload,
            } => {
                self.publish(topic, seq, payload);
                Ok(())
            }
            Request::Skip { seq } => self.skip(seq),
            Request::Say { payload } => self.say(payload),
        }
    }

    /// `[SUB-2]` `[SUB-11]`
    fn sub(&mut self, topic: TopicRef<'_>, from: SubFrom) {
        match self.hub.follow(self.live.key, topic, from) {
            Ok(start) => {
                self.hub.note_asked(self.live.key, self.now.time);
                self.push(&ServerFrame::Subbed {
                    topic,
                    cursor: start.cursor,
                    gap: start.gap,
                });
            }
            Err(error) => {
                if let Some(code) = error.code() {
                    self.push(&ServerFrame::Refused { topic, code });
                }
            }
        }
    }

    /// `[PUB-3]` `[PUB-5]` `[PUB-6]`
    fn publish(&mut self, topic: TopicRef<'_>, seq: Seq, payload: Message<'_>) {
        self.hear_of_failure();
        let Some(producer) = self.producer() else {
            return;
        };
        if !self.session().is_some_and(|session| session.admits(seq)) {
            return;
        }
        if !self.may_publish(topic) {
            return self.forbid(producer, seq);
        }
        let identity = self.identity();
        let append = Append {
            topic,
            payload,
            from: identity.as_deref().and_then(Identity::publisher),
            producer: Some((producer, seq)),
        };
        match self.hub.append(append, self.now) {
            Ok(Appended::Pending(_)) => {}
            Ok(Appended::Repeated) => self.owe_ack(),
            Err(error) => self.nack(seq, error.nack_code()),
        }
    }

    /// `[PUB-7]`
    fn skip(&mut self, seq: Seq) -> Result<(), Close> {
        self.hear_of_failure();
        let Some(producer) = self.producer() else {
            return Ok(());
        };
        let appended = self.hub.log().appended(producer).unwrap_or_default();
        let gives_up = match self.session() {
            Some(session) => session.skip(seq, appended)?,
            None => false,
        };
        if !gives_up {
            return Ok(());
        }
        match self.hub.skip(producer, seq, self.now) {
            Ok(()) => {}
            Err(error) => self.nack(seq, error.nack_code()),
        }
        Ok(())
    }

    /// What a plain client says is published; there is no frame to refuse it with `[PLAIN-3]`.
    fn say(&mut self, payload: Message<'_>) -> Result<(), Close> {
        let inbox = TopicRef::parse(INBOX).expect("the name keeps to the charset");
        if !self.may_publish(inbox) {
            self.hub.note_forbidden();
            return Err(not_granted(inbox));
        }
        let identity = self.identity();
        let append = Append {
            topic: inbox,
            payload,
            from: identity.as_deref().and_then(Identity::publisher),
            producer: None,
        };
        match self.hub.append(append, self.now) {
            Ok(_) => Ok(()),
            Err(error @ AppendError::TooLarge { .. }) => {
                Err(Close::new(CloseCode::TOO_LARGE, error.to_string()))
            }
            Err(error) => Err(Close::new(CloseCode::OVERLOADED, error.to_string())
                .retry_after(self.config.overload_retry)),
        }
    }

    fn may_publish(&self, topic: TopicRef<'_>) -> bool {
        let grant = self.hub.who(self.live.key).and_then(|who| who.grant());
        self.hub.may_publish(grant, topic)
    }

    /// What was stored while it was granted is acknowledged; the rest is refused `[PUB-3]`.
    fn forbid(&mut self, producer: ProducerId, seq: Seq) {
        let appended = self.hub.log().appended(producer);
        if appended.is_some_and(|appended| seq <= appended) {
            self.owe_ack();
        } else {
            self.hub.note_forbidden();
            self.nack(seq, NackCode::Forbidden);
        }
    }

    /// A failure that the client has not been told of discards what comes after it `[PUB-10]`.
    pub(super) fn hear_of_failure(&mut self) {
        if let Some(seq) = self.hub.take_failed(self.live.key) {
            self.nack(seq, NackCode::Unavailable);
        }
    }

    pub(super) fn nack(&mut self, seq: Seq, code: NackCode) {
        if let Some(session) = self.session() {
            session.refuse(seq);
        }
        let retry = (!code.is_final()).then_some(self.config.unavailable_retry);
        self.push(&ServerFrame::Nack { seq, code, retry });
    }

    pub(super) fn owe_ack(&mut self) {
        if let Some(session) = self.session() {
            session.repeated();
        }
    }

    /// Nobody in plain mode.
    pub(super) fn producer(&self) -> Option<ProducerId> {
        self.hub.who(self.live.key)?.role.producer()
    }

    pub(super) fn session(&mut self) -> Option<&mut Session> {
        match &mut self.live.speech {
            Speech::V1(session) => Some(session),
            Speech::Plain { .. } => None,
        }
    }

    fn identity(&self) -> Option<Arc<Identity>> {
        self.hub.who(self.live.key)?.identity.clone()
    }

    fn push(&mut self, frame: &ServerFrame<'_>) {
        push_frame(self.outgoing, frame);
    }
}

fn identity(grant: Option<&Arc<Grant>>) -> Option<Arc<Identity>> {
    let grant = grant?;
    Some(Arc::new(Identity {
        // Nobody where it is too long to be told.
        from: grant.subject().and_then(encode_publisher).map(Into::into),
        grant: Some(grant.clone()),
    }))
}

/// Those of the topics from the URL that may be followed.
fn granted<H: Clone>(
    topics: Vec<TopicName>,
    grant: Option<&Arc<Grant>>,
    hub: &HubState<H>,
) -> Vec<TopicName> {
    let grant = grant.map(|grant| &**grant);
    let topics = topics.into_iter();
    let granted = topics.filter(|topic| hub.may_subscribe(grant, topic.as_topic()));
    granted.collect()
}

pub(super) fn not_granted(topic: TopicRef<'_>) -> Close {
    let reason = format!("the topic {topic} is not granted");
    Close::new(CloseCode::FORBIDDEN, reason)
}
