//! What is asked of the log, and what it answers.

use heartwire_proto::frame::{Message, NackCode, Publisher};
use heartwire_proto::id::TopicRef;
use heartwire_proto::{Epoch, Offset, Seq, Time};

use crate::entry::Entry;
use crate::producer::ProducerId;
use crate::store::DiskPlace;
use crate::topic::TopicId;

/// The number of an append, over all topics. What is durable is durable up to an LSN; 0 is that of
/// an append that had to wait for nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Lsn(pub u64);

/// A message to be appended.
///
/// Text is UTF-8 by its type, so that whoever brings text has checked it before `[PUB-12]`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Append<'a> {
    /// The topic; it is created with its first message.
    pub topic: TopicRef<'a>,
    /// The message.
    pub payload: Message<'a>,
    /// Who publishes, as followers are told.
    pub from: Option<Publisher<'a>>,
    /// The producer and its number for the message, where repetitions are to be recognised.
    pub producer: Option<(ProducerId, Seq)>,
}

impl Append<'_> {
    /// What the payload takes of its producer's window; a message has far less than 4 GiB.
    pub(crate) fn payload_bytes(&self) -> u32 {
        u32::try_from(self.payload.len()).unwrap_or(u32::MAX)
    }
}

/// The place of an append.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Place {
    /// Durable once the log is committed through it.
    pub lsn: Lsn,
    /// The topic.
    pub topic: TopicId,
    /// Its epoch.
    pub epoch: Epoch,
    /// The place in the topic.
    pub offset: Offset,
}

/// What has become of an append since.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Fate {
    /// It waits to become durable.
    Pending,
    /// It is durable.
    Durable,
    /// It was undone. Told of the latest failure only: a log whose disk has failed takes no more.
    Failed,
}

/// What became of an append that was not refused.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Appended {
    /// It has its place, and waits to become durable.
    Pending(Place),
    /// The producer's number is not above what it has appended: nothing is stored again. It is
    /// acknowledged when that number is durable, which it may be already `[PUB-3]`.
    Repeated,
}

/// Why an append was refused. Nothing has changed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum AppendError {
    /// The publisher's: topics that begin with `$` belong to the server.
    #[error("topics that begin with $ belong to the server")]
    Reserved,
    /// The publisher's: the payload is too large.
    #[error("a message has at most {bytes_max} bytes")]
    TooLarge {
        /// The bound in force.
        bytes_max: usize,
    },
    /// Ours: the log accepts nothing at the moment.
    #[error("the log does not accept messages at the moment")]
    NotAccepting,
    /// Ours: the disk has no room for it. Nothing that was accepted is concerned.
    #[error("the disk is full")]
    DiskFull,
    /// Ours: too many appends wait to become durable, in all or of this producer.
    #[error("too many messages wait to become durable")]
    Congested,
    /// Ours: there are as many topics, or producers, as there may be.
    #[error("the log has reached its limit of {what}")]
    Full {
        /// `topics` or `producers`.
        what: &'static str,
    },
}

impl AppendError {
    /// The code of the `nack`.
    pub const fn nack_code(self) -> NackCode {
        match self {
            Self::Reserved => NackCode::BadTopic,
            Self::TooLarge { .. } => NackCode::TooLarge,
            Self::NotAccepting | Self::DiskFull | Self::Congested | Self::Full { .. } => {
                NackCode::Unavailable
            }
        }
    }
}

/// An append that is not durable yet.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Pending {
    /// Its number.
    pub lsn: Lsn,
    /// What it is.
    pub what: What,
    /// The producer and its number.
    pub producer: Option<(ProducerId, Seq)>,
    /// What the producer had appended before; `None` when it was not known.
    pub(crate) appended_before: Option<Seq>,
    pub(crate) bytes: usize,
    /// What the payload takes of its producer's window.
    pub(crate) payload_bytes: u32,
    /// A writer has its record, and the commit says where the message stands.
    pub(crate) gets_place: bool,
}

/// What waits to become durable.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum What {
    /// A message, of which the topic holds the entry.
    Message {
        /// Its topic.
        topic: TopicId,
        /// Its place.
        offset: Offset,
        /// It is written; one of a topic in memory waits only for its turn.
        on_disk: bool,
    },
    /// A number that its producer has given up `[PUB-7]`.
    Skip,
    /// A durable message that is to stand in a newer segment as well.
    Moved {
        /// Its topic.
        topic: TopicId,
        /// Its place in the topic.
        offset: Offset,
        /// The message.
        entry: Entry,
        /// Where it stands.
        from: DiskPlace,
    },
    /// A durable message that could not be moved, as damage took it.
    Lost {
        /// Its topic.
        topic: TopicId,
        /// Its place in the topic.
        offset: Offset,
        /// Where it stood.
        from: DiskPlace,
    },
    /// A topic without messages that somebody follows: the disk is told that there still is such a topic,
    /// before it forgets it `[DISK-10]`.
    Kept {
        /// The topic.
        topic: TopicId,
        /// When it is told so.
        at: Time,
    },
}

/// What a commit has moved.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Committed {
    /// Topics with a new durable end, each once, in ascending order.
    pub topics: Vec<TopicId>,
    /// Those of them that were born by it: their first message became durable.
    pub born: Vec<TopicId>,
    /// Producers with a new durable number, each once, in ascending order.
    pub producers: Vec<ProducerId>,
}

impl Committed {
    /// A topic has moved. Messages of one topic often come together, and then it is noted once, which
    /// leaves less to be sorted.
    pub(crate) fn note_topic(&mut self, id: TopicId) {
        if self.topics.last() != Some(&id) {
            self.topics.push(id);
        }
    }

    pub(crate) fn settle(&mut self) {
        self.topics.sort_unstable();
        self.topics.dedup();
        self.producers.sort_unstable();
        self.producers.dedup();
    }

    /// Empties it, to be used again.
    pub fn clear(&mut self) {
        self.topics.clear();
        self.born.clear();
        self.producers.clear();
    }
}
