//! Taking from the hub what stands for a connection, as much as there is room for.

use heartwire_log::Form;
use heartwire_proto::frame::{NackCode, RefusedCode, ServerFrame};
use heartwire_proto::planted::{self, Bug};
use heartwire_proto::{Close, Time, TopicName};

use super::requests::not_granted;
use super::{Connection, Live, Speech, State, push_frame};
use crate::config::HubConfig;
use crate::outgoing::Outgoing;
use crate::state::{Delivery, Filled, HubState, Notices};

impl Connection {
    /// Adds to [`outgoing`](Self::outgoing) what is new: acks, and what lies between the cursors and
    /// the topics' ends, until about `budget_bytes` stand there.
    ///
    /// [`Filled::More`] asks to be called again when the socket has taken some; no wake comes
    /// before. A connection that the hub has removed finds out here, and closes.
    pub fn fill<H: Clone>(
        &mut self,
        hub: &mut HubState<H>,
        budget_bytes: usize,
        now: Time,
    ) -> Filled {
        let State::Live(live) = &mut self.state else {
            return Filled::Drained;
        };
        if let Err(close) = hub.check(live.key) {
            self.close(close, now);
            return Filled::Drained;
        }
        let budget_bytes = match planted::has(Bug::UnboundedQueue) {
            true => usize::MAX,
            false => budget_bytes,
        };
        if self.outgoing.bytes() >= budget_bytes {
            return Filled::More;
        }
        let owes_ack = matches!(&live.speech, Speech::V1(session) if session.owes_ack());
        let notices = hub.take_notices(live.key, owes_ack);
        live.say(notices, &mut self.outgoing, &self.config);
        let ended = hub.take_ended(live.key);
        if let Err(close) = live.end(&ended, &mut self.outgoing) {
            self.close(close, now);
            return Filled::Drained;
        }
        let (key, outgoing) = (live.key, &mut self.outgoing);
        let room = budget_bytes.saturating_sub(outgoing.bytes()).max(1);
        match live.speech {
            Speech::V1(_) => hub.read(key, room, &mut |delivery| push_v1(outgoing, delivery)),
            Speech::Plain { .. } => {
                hub.read(key, room, &mut |delivery| push_plain(outgoing, delivery))
            }
        }
    }
}

impl Live {
    /// Says what became of publishes `[PUB-4]` `[PUB-10]`.
    fn say(&mut self, notices: Notices, outgoing: &mut Outgoing, config: &HubConfig) {
        let Speech::V1(session) = &mut self.speech else {
            return;
        };
        if let Some(seq) = notices.failed {
            session.refuse(seq);
            let (code, retry) = (NackCode::Unavailable, Some(config.unavailable_retry));
            push_frame(outgoing, &ServerFrame::Nack { seq, code, retry });
        }
        if let Some(seq) = notices.durable.and_then(|durable| session.ack(durable)) {
            push_frame(outgoing, &ServerFrame::Ack { seq });
        }
    }

    /// Says what is followed no longer `[SUB-12]`. Plain mode has no word for it, and ends.
    fn end(&self, ended: &[TopicName], outgoing: &mut Outgoing) -> Result<(), Close> {
        for topic in ended {
            let topic = topic.as_topic();
            let Speech::V1(_) = self.speech else {
                return Err(not_granted(topic));
            };
            let code = RefusedCode::Forbidden;
            push_frame(outgoing, &ServerFrame::Ended { topic, code });
        }
        Ok(())
    }
}

fn push_v1(outgoing: &mut Outgoing, delivery: Delivery<'_>) {
    match delivery {
        Delivery::Message { entry, .. } => outgoing.push(entry, Form::V1),
        Delivery::Gap { topic, gap } => push_frame(outgoing, &ServerFrame::Gap { topic, gap }),
        Delivery::Epoch { topic, epoch } => {
            push_frame(outgoing, &ServerFrame::Epoch { topic, epoch });
        }
    }
}

/// A plain follower gets messages and nothing else `[PLAIN-1]`.
fn push_plain(outgoing: &mut Outgoing, delivery: Delivery<'_>) {
    if let Delivery::Message { entry, .. } = delivery {
        outgoing.push(entry, Form::Plain);
    }
}
