//! Where following begins, when the client leaves that to the server.

use heartwire_proto::frame::SubFrom;
use heartwire_proto::{Cursor, Epoch, TopicName};

use super::Oracle;

/// How far a topic goes: the last offset that was trimmed, and the last that is durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Extent {
    /// `None` while there is no such topic.
    pub(crate) epoch: Option<Epoch>,
    pub(crate) base: u64,
    pub(crate) end: u64,
    /// Which process it is that knows it so.
    pub(crate) starts: u32,
}

impl Extent {
    /// The same at the least after another process has begun: its log's time is that of the last message
    /// that was written, by which fewer are too old; and it may make room by trimming other topics.
    const fn after_a_start(self) -> Self {
        Self { base: 0, ..self }
    }

    /// The same at the most before that: all messages were too old, or trimmed.
    const fn before_a_start(self) -> Self {
        Self {
            base: self.end,
            ..self
        }
    }

    /// The offset behind which a follower begins that asks now.
    fn start(&self, from: SubFrom) -> u64 {
        match from {
            SubFrom::Head => self.base,
            SubFrom::Last(count) => self.base.max(self.end.saturating_sub(count)),
            SubFrom::Tail | SubFrom::After(_) => self.end,
        }
    }
}

/// What an application asked for, and how far the topic went then.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    from: SubFrom,
    extent: Extent,
}

impl Oracle {
    /// The application leaves it to the server where it begins.
    pub(crate) fn asks(&mut self, client: usize, name: &TopicName, from: SubFrom, extent: Extent) {
        let asked = Asked { from, extent };
        self.asked.insert((client, name.clone()), asked);
    }

    /// The server has answered, some time after it was asked and before the topic went as far as
    /// `now` says: the start lies in between. Both bounds of a topic only rise, but that what was trimmed
    /// for its age, or for others' sake, may be back after a start.
    pub(super) fn judge_start(
        &mut self,
        client: usize,
        name: &TopicName,
        cursor: Cursor,
        now: Extent,
    ) {
        let Some(Asked { from, extent }) = self.asked.remove(&(client, name.clone())) else {
            return;
        };
        let epoch = cursor.epoch();
        // Of a log that was lost in between, or is damaged, no earlier end says anything.
        let is_same = extent.epoch.is_some() && extent.epoch == epoch && !self.may_be_damaged();
        let may_be_back = self.messages_age || self.index_is_short;
        let has_restarted = may_be_back && extent.starts != now.starts;
        let least = match is_same {
            true if has_restarted => extent.after_a_start().start(from),
            true => extent.start(from),
            false => 0,
        };
        let most = match now.epoch == epoch {
            true if has_restarted => now.before_a_start().start(from),
            true => now.start(from),
            false => u64::MAX,
        };
        let offset = cursor.offset().0;
        if !(least..=most).contains(&offset) {
            let what = format!(
                "client {client} asked for {from:?} of {name:?} and begins at {cursor:?}, \
                 which was to lie between {least} and {most}"
            );
            self.violate("I1", what);
        }
        if epoch.is_none() && extent.epoch.is_some() && !self.may_lose(name) {
            let what = format!("client {client} is told that there is no {name:?}");
            self.violate("I1", what);
        }
    }
}
