//! Messages that were too large to be kept `[WS-4]`.

use heartwire_proto::frame::{ClientFrame, FrameError, Message, NackCode};
use heartwire_proto::{Close, CloseCode, Seq};

use super::Connection;
use super::requests::Asking;
use crate::Now;
use crate::state::HubState;

impl Connection {
    /// A message has gone by that is larger than any payload which is stored. `head` is how it
    /// began: all of a `pub`'s header line, if it was one. It is answered by `nack SEQ too-large`;
    /// nothing else may be that large. [`Fill`](Self::fill) the connection before the hub is
    /// unlocked, as after [`apply`](Self::apply).
    pub fn receive_oversized<H: Clone>(&mut self, head: &[u8], hub: &mut HubState<H>, now: Now) {
        let bytes = self.config.limits.message_bytes_max;
        match self.spend(bytes, now.time) {
            Ok(()) => self.ask(hub, now, |asking| asking.refuse_oversized(head)),
            Err(close) => self.close(close, now.time),
        }
    }
}

impl<H: Clone> Asking<'_, H> {
    fn refuse_oversized(&mut self, head: &[u8]) -> Result<(), Close> {
        self.hear_of_failure();
        let Some(producer) = self.producer() else {
            return Err(self.too_large());
        };
        let Some(seq) = seq_of(head)? else {
            return Err(self.too_large());
        };
        let appended = self.hub.log().appended(producer);
        if !self.session().is_some_and(|session| session.admits(seq)) {
            return Ok(());
        }
        if appended.is_some_and(|appended| seq <= appended) {
            self.owe_ack();
        } else {
            self.nack(seq, NackCode::TooLarge);
        }
        Ok(())
    }

    fn too_large(&self) -> Close {
        let bytes_max = self.config.limits.message_bytes_max;
        let reason = format!("a message has at most {bytes_max} bytes");
        Close::new(CloseCode::TOO_LARGE, reason)
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
