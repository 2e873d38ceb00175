//! Errors of the caller's, by what was asked for. What a server or the network does wrong is a
//! state of the link, not an error of a call.

use heartwire_proto::client::SubscribeError as NotFollowed;
use heartwire_proto::heartbeat::HeartbeatRange;
use heartwire_proto::id::IdError;

use crate::dial::{HeaderError, PemError, UrlError};

/// A link that cannot be made as configured.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ConfigError {
    /// The URL is none that can be dialled.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// A header cannot be sent.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// A heartbeat is out of range.
    #[error(transparent)]
    Heartbeat(#[from] HeartbeatRange),
    /// Root certificates cannot be read.
    #[error(transparent)]
    RootCertificates(#[from] PemError),
    /// Links are driven by a task of tokio's.
    #[error("a link is made within a tokio runtime")]
    NoRuntime,
}

/// Why a topic is not followed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum SubscribeError {
    /// This is no name of a topic.
    #[error(transparent)]
    Topic(#[from] IdError),
    /// This link follows the topic already, by another [`Subscription`](crate::Subscription).
    #[error("this link follows the topic already")]
    AlreadyFollowed,
    /// This link follows as many topics as it may.
    #[error("the link follows {topics_max} topics already, as many as it may")]
    TooMany {
        /// The bound.
        topics_max: usize,
    },
    /// The link is closed.
    #[error("the link is closed")]
    Closed,
}

impl From<NotFollowed> for SubscribeError {
    fn from(error: NotFollowed) -> Self {
        match error {
            NotFollowed::TooMany { topics_max } => Self::TooMany { topics_max },
            NotFollowed::Plain | NotFollowed::Closed => Self::Closed,
        }
    }
}

/// The link was closed before the server had confirmed every publish.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
#[error("{publishes} publishes were not confirmed before the link was closed")]
pub struct Unflushed {
    /// How many were not. Some of them may have been stored.
    pub publishes: usize,
}
