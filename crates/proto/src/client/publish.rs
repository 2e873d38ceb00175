//! Publishing: what the outbox holds goes out in order, is acknowledged, refused, or given up.

use std::time::Duration;

use super::event::{Event, PublishError};
use super::io::Now;
use super::session::ClientSession;
use super::timer::Timer;
use crate::backoff;
use crate::frame::{ClientFrame, FrameError, NackCode, Payload, Welcome};
use crate::id::{ClientId, LogId, Seq, TopicName};
use crate::outbox::{Outbox, OutboxLimits, Window};
use crate::planted::{self, Bug};
use crate::time::{Time, WallTime};

const ACK: FrameError = FrameError::new("PUB-4", "ack of a publish that was never sent");
const NACK: FrameError = FrameError::new("PUB-5", "nack of a publish that was never sent");

/// Payload in flight is given time at this rate to go up a slow link, before its answer, or that of
/// a ping behind it, is missed.
const SLOW_BYTES_PER_SECOND: u64 = 16 * 1024;

/// The outbox, and what this link knows of the server's side of it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Publishing {
    pub(super) outbox: Outbox,
    window: Window,
    /// The log of the last server.
    log: Option<LogId>,
    /// The highest SEQ that this client has seen acknowledged.
    acked: Seq,
    /// Since when the oldest publish in flight has been waiting without a word about any.
    pub(super) waiting_since: Time,
    /// The server has been asked because of that.
    pub(super) asked: bool,
}

impl Publishing {
    pub(super) const fn new(limits: OutboxLimits) -> Self {
        Self {
            outbox: Outbox::new(limits),
            window: Window {
                messages_max: 0,
                bytes_max: 0,
            },
            log: None,
            acked: Seq::ZERO,
            waiting_since: Time::ZERO,
            asked: false,
        }
    }

    /// The next publish to write.
    pub(super) fn next(&mut self, now: Now) -> Option<Payload> {
        let first_in_flight = self.outbox.in_flight() == 0;
        let entry = self.outbox.send_next(self.window, now.clocks())?;
        let frame = ClientFrame::Pub {
            topic: entry.topic.as_topic(),
            seq: entry.seq,
            payload: entry.payload.as_message(),
        };
        let frame = frame.to_payload();
        if first_in_flight {
            self.answered(now);
        }
        Some(frame)
    }

    /// The server spoke about publishes, or the first one is under way: the waiting starts over.
    fn answered(&mut self, now: Now) {
        self.waiting_since = now.time;
        self.asked = false;
    }

    pub(super) fn disconnected(&mut self) {
        if !planted::has(Bug::NoResend) {
            self.outbox.resend_all();
        }
    }

    /// The time that what is in flight may take to go up.
    pub(super) fn backlog(&self) -> Duration {
        let bytes = self.outbox.in_flight_bytes() as u64;
        Duration::from_millis(bytes.saturating_mul(1_000) / SLOW_BYTES_PER_SECOND)
    }

    /// What the server takes from here on `[PUB-8]`.
    fn set_window(&mut self, welcome: &Welcome) {
        self.window = Window {
            // A server that says 0 would never be sent anything.
            messages_max: welcome.limits.unacked_max.max(1),
            bytes_max: welcome.limits.unacked_bytes_max,
        };
    }
}

impl ClientSession {
    pub(super) fn push_publish(
        &mut self,
        topic: TopicName,
        payload: Payload,
    ) -> Result<Seq, PublishError> {
        if topic.as_topic().is_reserved() {
            return Err(PublishError::Reserved);
        }
        let bytes_max = self.welcome().map(|w| w.limits.message_bytes_max);
        if let Some(bytes_max) = bytes_max.filter(|max| payload.len() as u64 > *max) {
            let bytes = payload.len();
            return Err(PublishError::TooLarge { bytes, bytes_max });
        }
        Ok(self.publishing.outbox.push(topic, payload)?)
    }

    /// Whether `welcome` shows that another process publishes under this client id: more is
    /// acknowledged than was ever sent `[HELLO-11]`.
    pub(super) const fn is_cloned(&self, welcome: &Welcome) -> bool {
        welcome.acked.0 > self.publishing.outbox.highest_sent().0
    }

    /// Takes another client id. What was sent under the old one may be stored or may have been
    /// taken for the other process's: nobody knows.
    pub(super) fn change_client(&mut self, now: Now) {
        self.client = ClientId::from_random(now.random);
        self.tell(Event::ClientChanged(self.client.clone()));
        let sent = self
            .publishing
            .outbox
            .give_up(|entry| entry.first_sent.is_some());
        self.tell_each(sent, |seq| Event::InDoubt { seq });
        self.publishing.acked = Seq::ZERO;
        self.publishing.log = None;
    }

    /// Compares what the server remembers with what this link knows `[HELLO-9]` `[HELLO-10]`
    /// `[PUB-2]`.
    pub(super) fn reconcile(&mut self, welcome: &Welcome, now: Now) {
        let same_log = self.publishing.log == Some(welcome.log);
        let known = self.publishing.acked;
        if self.publishing.log.is_some() && !same_log && welcome.acked < known {
            let from = welcome.acked.next();
            self.tell(Event::LogLost { from, to: known });
        }
        self.publishing.acked = if same_log {
            known.max(welcome.acked)
        } else {
            welcome.acked
        };
        self.publishing.log = Some(welcome.log);
        let stored = self.publishing.outbox.acknowledge(welcome.acked);
        self.tell_each(stored, |seq| Event::Stored { seq });
        if same_log && !welcome.producer_known && !planted::has(Bug::ForgottenResent) {
            self.doubt_what_is_old(now);
        }
        self.refuse_too_large(welcome.limits.message_bytes_max);
        self.publishing.set_window(welcome);
    }

    fn doubt_what_is_old(&mut self, now: Now) {
        let memory = self.config.producer_memory;
        let mut now = now.clocks();
        if planted::has(Bug::SleepNotCounted) {
            now.wall = WallTime::default();
        }
        let old = self.publishing.outbox.give_up(|entry| {
            let sent = entry.first_sent;
            sent.is_some_and(|sent| now.since(sent) > memory)
        });
        self.tell_each(old, |seq| Event::InDoubt { seq });
    }

    /// What the server would refuse, and, far above its bound, close the connection for, again and
    /// again, is not sent at all.
    fn refuse_too_large(&mut self, bytes_max: u64) {
        let too_large = self
            .publishing
            .outbox
            .give_up(|entry| entry.payload.len() as u64 > bytes_max);
        let code = NackCode::TooLarge;
        self.tell_each(too_large, |seq| Event::PublishRefused { seq, code });
    }

    /// Everything up to `seq` is durable, or was given up `[PUB-4]`.
    pub(super) fn acked(&mut self, seq: Seq, now: Now) -> Result<(), FrameError> {
        if seq > self.publishing.outbox.highest_sent() {
            return Err(ACK);
        }
        self.publishing.acked = self.publishing.acked.max(seq);
        self.publishing.answered(now);
        let stored = self.publishing.outbox.acknowledge(seq);
        self.tell_each(stored, |seq| Event::Stored { seq });
        Ok(())
    }

    /// One publish was not stored, and what follows it is being discarded `[PUB-5]` `[PUB-6]`.
    pub(super) fn nacked(
        &mut self,
        seq: Seq,
        code: NackCode,
        retry: Option<Duration>,
        now: Now,
    ) -> Result<(), FrameError> {
        if seq > self.publishing.outbox.highest_sent() {
            return Err(NACK);
        }
        self.publishing.answered(now);
        let refused = if code.is_final() {
            self.publishing.outbox.give_up(|entry| entry.seq == seq)
        } else {
            Vec::new()
        };
        self.tell_each(refused, |seq| Event::PublishRefused { seq, code });
        self.publishing.outbox.resend_from(seq);
        if !code.is_final() {
            let delay = match retry {
                Some(delay) => backoff::named(delay, now.fraction()),
                None => backoff::soon(now.fraction()),
            };
            self.timers.set(Timer::Resend, now.time + delay);
        }
        let is_given_up = !self.publishing.outbox.contains(seq);
        if let Some(connection) = self.state.connection().filter(|_| is_given_up) {
            connection.slots.skip = Some(seq);
        }
        Ok(())
    }

    fn tell_each(&mut self, seqs: Vec<Seq>, event: impl Fn(Seq) -> Event) {
        for seq in seqs {
            self.tell(event(seq));
        }
    }
}
