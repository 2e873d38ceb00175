//! Messages that were too large to be kept `[WS-4]`.

use heartwire_proto::frame::{ClientFrame, FrameError, Message, NackCode, ServerFrame};
use heartwire_proto::{Close, CloseCode, Seq};

use super::{Connection, Live, Speech, State, push_frame};
use crate::Now;
use crate::state::HubState;

impl Connection {
    /// A message has gone by that is larger than any payload which is stored. `head` is how it
    /// began: all of a `pub`'s header line, if it was one. It is answered by `nack SEQ too-large`;
    /// nothing else may be that large. [`Fill`](Self::fill) the connection before the hub is
    /// unlocked, as after [`apply`](Self::apply).
    pub fn receive_oversized<H: Clone>(&mut self, head: &[u8], hub: &mut HubState<H>, now: Now) {
        let State::Live(live) = &mut self.state else {
            return;
        };
        if let Err(close) = hub.check(live.key) {
            return self.close(close, now.time);
        }
        hub.attend(live.key);
        let seq = match live.speech {
            Speech::V1(_) => seq_of(head),
            Speech::Plain { .. } => Ok(None),
        };
        match seq {
            Ok(Some(seq)) => {
                for refused in live.refuse_oversized(seq, hub) {
                    push_frame(&mut self.outgoing, &refused);
                }
            }
            Ok(None) => {
                let bytes_max = self.config.limits.message_bytes_max;
                let reason = format!("a message has at most {bytes_max} bytes");
                self.close(Close::new(CloseCode::TOO_LARGE, reason), now.time);
            }
            Err(broken) => self.close(broken.into(), now.time),
        }
    }
}

impl Live {
    /// The frames to send: a failure of an earlier publish that the client has not heard of comes
    /// first, and discards this one `[PUB-6]`.
    fn refuse_oversized<H: Clone>(
        &mut self,
        seq: Seq,
        hub: &mut HubState<H>,
    ) -> impl Iterator<Item = ServerFrame<'static>> + use<H> {
        let retry = Some(hub.config().unavailable_retry);
        let failed = hub.take_failed(self.key);
        let producer = hub.who(self.key).and_then(|who| who.producer);
        let appended = producer.and_then(|producer| hub.log().appended(producer));
        let mut too_large = None;
        if let Speech::V1(session) = &mut self.speech {
            if let Some(seq) = failed {
                session.refuse(seq);
            }
            if session.admits(seq) {
                if appended.is_some_and(|appended| seq <= appended) {
                    session.repeated();
                } else {
                    session.refuse(seq);
                    too_large = Some(seq);
                }
            }
        }
        let nack = |seq, code, retry| ServerFrame::Nack { seq, code, retry };
        let failed = failed.map(move |seq| nack(seq, NackCode::Unavailable, retry));
        let too_large = too_large.map(move |seq| nack(seq, NackCode::TooLarge, None));
        failed.into_iter().chain(too_large)
    }
}

/// The number of the publish that begins like this; nothing if it is no publish.
fn seq_of(head: &[u8]) -> Result<Option<Seq>, FrameError> {
    let line = head.split(|byte| *byte == b'\n').next().unwrap_or(head);
    match ClientFrame::parse(Message::Binary(line))? {
        ClientFrame::Pub { seq, .. } => Ok(Some(seq)),
        _ => Ok(None),
    }
}
