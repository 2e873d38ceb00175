//! The handle of a hub.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use heartwire_hub::{Attendance, Pattern, SubjectsFull};
use heartwire_log::store::Recovered;
use heartwire_proto::frame::{Payload, SubFrom};
use heartwire_proto::id::{IdError, TopicRef};

use crate::api;
use crate::builder::{Config, HubBuilder};
use crate::follow::{FollowRefused, Follower};
use crate::guard;
use crate::metrics::Origin;
use crate::publish::{Position, PublishError, STORED_WITHIN};
use crate::shared::Shared;
use crate::shut_out::Kept;
use crate::storage::Opened;
use crate::upkeep;
use crate::waiting;
use crate::webhook::{Prepared, Webhooks, WebhooksError};

/// All connections and topics of one server. Cheap to clone: every clone is the same hub.
///
/// ```
/// use axum::Router;
/// use axum::routing::get;
/// use heartwire_server::Hub;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let hub = Hub::builder().open().await?;
/// let app: Router = Router::new()
///     .route("/hello", get(|| async { "hello" }))
///     .nest("/realtime", hub.router());
/// let position = hub.publish("task:42", "50 %").await?;
/// assert_eq!(position.offset.0, 1);
/// # drop(app);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Hub {
    shared: Arc<Shared>,
}

impl Hub {
    /// Sets up a hub.
    pub fn builder() -> HubBuilder {
        HubBuilder::default()
    }

    pub(crate) async fn start(
        config: Config,
        opened: Option<(Opened, Recovered)>,
        webhooks: Option<Prepared>,
        kept: Option<Kept>,
    ) -> Result<Self, WebhooksError> {
        let shared = Shared::start(config, opened, webhooks, kept);
        Webhooks::begin(&shared).await?;
        tokio::spawn(waiting::answer(Arc::downgrade(&shared)));
        tokio::spawn(upkeep::run(Arc::downgrade(&shared)));
        if shared.config.guard.reads_files() || !shared.webhooks.all().is_empty() {
            tokio::spawn(guard::keep_fresh(Arc::downgrade(&shared)));
        }
        Ok(Self { shared })
    }

    /// The hub's routes: the WebSocket at `/websocket`, the API under `/v1`, and a start page.
    ///
    /// Without an API key they answer on loopback only. To know where a request comes from they
    /// need axum's connect info: serve the application with
    /// `into_make_service_with_connect_info::<SocketAddr>()`. An application that decides about
    /// access itself says so with [`HubBuilder::access_by_application`].
    pub fn router(&self) -> Router {
        api::router(self.shared.clone())
    }

    /// Publishes a message, text or bytes. When it returns the message is stored, and its
    /// followers are being told. Messages are stored in the order of the calls.
    ///
    /// # Errors
    ///
    /// See [`PublishError`]; but for [`PublishError::Slow`] and [`PublishError::Failed`] nothing was
    /// stored.
    pub async fn publish(
        &self,
        topic: &str,
        payload: impl Into<Payload>,
    ) -> Result<Position, PublishError> {
        let storing = {
            let payload = payload.into();
            self.shared.publish(
                Origin::Embedded,
                TopicRef::parse(topic)?,
                payload.as_message(),
                None,
                STORED_WITHIN,
            )?
        };
        let position = storing.await;
        // What is kept in memory is stored at once: without a pause now and then, a task that
        // publishes in a loop would never let others run.
        tokio::task::coop::consume_budget().await;
        position
    }

    /// Follows a topic from inside the process: a stream of messages and gaps.
    ///
    /// # Errors
    ///
    /// See [`FollowRefused`].
    pub fn follow(&self, topic: &str, from: SubFrom) -> Result<Follower, FollowRefused> {
        Follower::open(&self.shared, TopicRef::parse(topic)?, from)
    }

    /// Who is there on a topic, and the place at which to follow its presence topic for what comes;
    /// nothing where that is not kept, see [`HubBuilder::presence`].
    ///
    /// # Errors
    ///
    /// When the name is no topic's.
    pub fn attendance(&self, topic: &str) -> Result<Option<Attendance>, IdError> {
        let topic = TopicRef::parse(topic)?;
        Ok(self.shared.lock_hub().attendance(topic))
    }

    /// Closes every connection and event stream of an identity, and keeps it out for `span`: the
    /// connections end with 4003, and those it tries meanwhile as well. Without any time they end
    /// with 4202, after which a client comes back. Returns how many were closed, once that is written
    /// down: with topics in a folder it holds after a restart as well.
    ///
    /// # Errors
    ///
    /// When as many identities are shut out as can be remembered; then nothing was done.
    pub async fn kick(&self, subject: &str, span: Duration) -> Result<usize, SubjectsFull> {
        self.shared.kick(subject, span).await
    }

    /// Takes topics from an identity for `span`, whatever its grants say: followers are told `ended`,
    /// plain connections and event streams end. Returns how many that were, once it is written down.
    ///
    /// # Errors
    ///
    /// As [`kick`](Self::kick).
    pub async fn revoke(
        &self,
        subject: &str,
        topics: &Pattern,
        span: Duration,
    ) -> Result<usize, SubjectsFull> {
        self.shared.revoke(subject, topics, span).await
    }

    /// Forgets what holds against an identity; whether anything did.
    pub async fn readmit(&self, subject: &str) -> bool {
        self.shared.readmit(subject).await
    }

    /// Reads files with keys and secrets again at once; they are read every second anyway.
    pub async fn reload(&self) {
        guard::reload(self.shared.clone()).await;
    }

    /// Whether new connections and messages are taken: not any more once the hub drains.
    pub fn is_ready(&self) -> bool {
        !self.shared.is_draining()
    }

    /// How many connections and followers there are.
    pub fn connections(&self) -> usize {
        self.shared.lock_hub().connections_len()
    }

    /// How long ago the hub's own task last came round, which asks who has been silent and forgets
    /// what is too old: about a second at most, unless the runtime or the hub is stuck. For a
    /// watchdog.
    pub fn stalled_for(&self) -> Duration {
        self.shared.stalled_for()
    }

    pub(crate) const fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Whether an address is a trusted proxy's.
    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        self.shared.config.guard.trusts(address)
    }

    /// How long a dead connection may go unnoticed: interval and timeout of the heartbeat.
    pub(crate) fn heartbeat_bound(&self) -> Duration {
        self.shared.config.hub.heartbeat.bound()
    }

    /// Stops gracefully: takes nothing new, waits until what was published is stored and
    /// acknowledged, then closes the connections in paced batches, each with a delay of its own to
    /// come back. The delays spread over `window`, which begins a second after all have been told, so
    /// that the next process listens by then; without a window it begins at once. Returns when they
    /// are gone. A hub that has drained stays so.
    pub async fn drain(&self, window: Duration) {
        upkeep::drain(&self.shared, window).await;
    }

    /// A window that grows with the number of connections, so that about a thousand come back in
    /// each second; at least two seconds, which a restart takes anyway, and at most a minute.
    pub fn default_drain_window(&self) -> Duration {
        let millis = self.connections() as u64;
        Duration::from_millis(millis.clamp(2_000, 60_000))
    }
}
