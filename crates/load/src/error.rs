//! Why load was not what was asked for.

use std::time::Duration;

use heartwire::{ConfigError, Ending, PublishError, SubscribeError};

use crate::sequence::Faults;

/// What keeps a measurement from being one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The caller's: no link can be made of these settings.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The caller's: what links are to be made with cannot be had, for the reason given.
    #[error("{0}")]
    Settings(String),
    /// The caller's: a topic cannot be followed.
    #[error(transparent)]
    Subscribe(#[from] SubscribeError),
    /// A message was not stored.
    #[error("a message was not stored: {0}")]
    Publish(#[from] PublishError),
    /// The server ended a link for good.
    #[error("the server ended a link: {0}")]
    Ended(Ending),
    /// The server ended a subscription.
    #[error("the server does not let the topic be followed")]
    NotFollowed,
    /// Something took longer than anything may.
    #[error("{what} took longer than {patience:?}")]
    Impatient {
        /// What was waited for.
        what: &'static str,
        /// For how long.
        patience: Duration,
    },
    /// Messages did not come once each, in order.
    #[error("the server broke its promise: {0}")]
    Faults(Faults),
}

/// How long anything may take: longer than a link needs to notice a dead connection and to come back.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for something, for [`PATIENCE`] at most.
pub(crate) async fn patiently<T>(
    what: &'static str,
    future: impl Future<Output = T>,
) -> Result<T, LoadError> {
    let patience = PATIENCE;
    let outcome = tokio::time::timeout(patience, future).await;
    outcome.map_err(|_| LoadError::Impatient { what, patience })
}
