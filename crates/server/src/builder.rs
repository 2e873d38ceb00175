//! What a hub can be told before it opens.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use heartwire_hub::{HubConfig, PresenceConfig};
use heartwire_log::store::Opening;
use heartwire_log::{Pattern, Policy, Retention};
use heartwire_proto::Limits;
use heartwire_proto::frame::Durability;
use heartwire_proto::heartbeat::HeartbeatConfig;
use heartwire_proto::limits::HEADER_BYTES_MAX;
use ipnet::IpNet;

use crate::admission::ConnectionLimits;
use crate::api::UrlTopics;
use crate::ended::ObservationLimits;
use crate::gate::Gate;
use crate::guard::{
    Access, ApiKey, Check, FileError, Guard, Keys, SharedCheck, Tokens, WebSockets,
};
use crate::hub::Hub;
use crate::shut_out;
use crate::storage::{self, Place, StoreError};
use crate::webhook::{self, Webhook, WebhooksError};

/// How long a member may stay away: more than the moment between the two connections of a takeover.
const PRESENCE_GRACE: RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(3_600);

/// Everything that one hub keeps to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Config {
    pub(crate) hub: HubConfig,
    pub(crate) connections: ConnectionLimits,
    pub(crate) observation: ObservationLimits,
    pub(crate) guard: Guard,
    pub(crate) url_topics: UrlTopics,
    pub(crate) gate: Gate,
    pub(crate) webhooks: Vec<Webhook>,
    /// Nothing for a log in memory.
    pub(crate) place: Option<Place>,
}

/// Sets up a [`Hub`]. What is not set has a default that suits a small machine.
///
/// ```
/// use std::time::Duration;
/// use heartwire_server::{HeartbeatConfig, Hub};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let second = Duration::from_secs(1);
/// let hub = Hub::builder()
///     .heartbeat(HeartbeatConfig::new(5 * second, 5 * second)?)
///     .allow_origin("https://app.example")
///     .open()
///     .await?;
/// # drop(hub);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct HubBuilder {
    config: Config,
    keys: Vec<ApiKey>,
    key_files: Vec<PathBuf>,
    tokens: Option<Tokens>,
    check: Option<SharedCheck>,
    open_websocket: bool,
    insecure_open: bool,
    by_application: bool,
}

/// Why a hub is not opened: settings contradict each other, or files cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// [`HubBuilder::open_websocket`] was said, but no key makes a difference.
    #[error("WebSockets are open already: open_websocket needs an API key beside it")]
    NothingToOpen,
    /// [`HubBuilder::open_websocket`] was said, but tokens or a check decide.
    #[error("WebSockets are either open to everybody, or by token")]
    OpenAndByToken,
    /// [`HubBuilder::tokens`] and [`HubBuilder::check`] were both said.
    #[error("either tokens decide, or a check of the application's")]
    TokensAndCheck,
    /// [`HubBuilder::insecure_open`] was said beside something that asks who comes.
    #[error("the server is either open to everybody, or by keys, tokens or a check")]
    OpenAndClosed,
    /// [`HubBuilder::trusted_proxy`] was said where nobody is asked who they are: a proxy makes
    /// loopback public.
    #[error("a trusted proxy makes this server public: it needs a key, tokens or a check")]
    PublicLoopback,
    /// A file with keys cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// [`HubBuilder::access_by_application`] was said beside another way of access.
    #[error("either the application decides about access, or keys, tokens or a check do")]
    TwoWaysOfAccess,
    /// [`Limits::frame_bytes_max`] leaves no room for the largest message.
    #[error(
        "frame_bytes_max has to be at least message_bytes_max and {HEADER_BYTES_MAX} more, for the \
         header"
    )]
    FrameBelowMessage,
    /// [`PresenceConfig::grace`] is too short for a takeover to be none, or so long that nobody would
    /// leave.
    #[error("the grace time of presence is 1 s to 1 h")]
    PresenceGrace,
    /// The least heartbeat interval allowed is above the greatest.
    #[error("heartbeat_interval_min is above heartbeat_interval_max")]
    HeartbeatRange,
    /// The log on disk cannot be opened.
    #[error(transparent)]
    Store(#[from] Box<StoreError>),
    /// It cannot be read who is kept out, and which topics were taken from whom.
    #[error("who is shut out: {0}")]
    ShutOut(#[source] std::io::Error),
    /// Webhooks cannot start.
    #[error(transparent)]
    Webhooks(#[from] WebhooksError),
}

impl HubBuilder {
    /// Interval and timeout of the heartbeat; 10 s and 10 s unless set.
    #[must_use]
    pub fn heartbeat(mut self, heartbeat: HeartbeatConfig) -> Self {
        self.config.hub.heartbeat = heartbeat;
        self
    }

    /// What one connection may do.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.config.hub.limits = limits;
        self
    }

    /// How many connections there may be.
    #[must_use]
    pub fn connection_limits(mut self, limits: ConnectionLimits) -> Self {
        self.config.connections = limits;
        self
    }

    /// How much is kept for whoever looks at metrics and ended connections.
    #[must_use]
    pub const fn observation(mut self, limits: ObservationLimits) -> Self {
        self.config.observation = limits;
        self
    }

    /// How much of each topic is kept: 10,000 messages, 16 MiB and 24 h unless set.
    #[must_use]
    pub fn retention(mut self, retention: Retention) -> Self {
        self.config.hub.log.policy.retention = retention;
        self
    }

    /// How much memory the messages of all topics may take together, in bytes: 512 MiB unless set. Above
    /// that the oldest of the largest topics go: to be read from disk where there is one, else for good.
    #[must_use]
    pub const fn memory_bytes_max(mut self, bytes: usize) -> Self {
        self.config.hub.log.hot_bytes_max = bytes;
        self
    }

    /// Keeps the topics of a pattern in another way than others; the first pattern that matches a
    /// topic counts. A topic on disk that is to be in memory from now on, or the other way round,
    /// changes only once it was forgotten.
    #[must_use]
    pub fn topic(mut self, pattern: Pattern, policy: Policy) -> Self {
        self.config.hub.log.policies.push((pattern, policy));
        self
    }

    /// Keeps topics in a folder, which is made if it does not exist. Without this they are kept in
    /// memory, and a restart loses them.
    #[must_use]
    pub fn data(mut self, folder: impl Into<PathBuf>) -> Self {
        self.config.place = Some(Place {
            folder: folder.into(),
            opening: Opening::Careful,
        });
        self.config.hub.durability = Durability::Disk;
        self
    }

    /// Opens a log that is damaged all the same: what is whole is kept, what is lost is logged, and
    /// topics that may have lost more than can be named begin a new epoch.
    #[must_use]
    pub fn accept_data_loss(mut self) -> Self {
        if let Some(place) = &mut self.config.place {
            place.opening = Opening::AcceptDataLoss;
        }
        self
    }

    /// For which topics it is told who is there; for none unless set. Joins and leaves of a topic are
    /// messages of `$presence:TOPIC`, which is in memory whatever [`topic`](Self::topic) says, and
    /// whose retention is told there or in the configuration.
    #[must_use]
    pub fn presence(mut self, presence: PresenceConfig) -> Self {
        self.config.hub.presence = presence;
        self
    }

    /// Posts messages of some topics to a URL. May be said more than once.
    #[must_use]
    pub fn webhook(mut self, webhook: Webhook) -> Self {
        self.config.webhooks.push(webhook);
        self
    }

    /// The keys of a WebSocket's URL that name topics; `task,user` unless set.
    #[must_use]
    pub fn url_topics(mut self, keys: UrlTopics) -> Self {
        self.config.url_topics = keys;
        self
    }

    /// Adds a key that opens `/v1/*`. With a key the hub answers on every address, and refuses
    /// WebSockets unless [`open_websocket`](Self::open_websocket) is said.
    #[must_use]
    pub fn api_key(mut self, key: ApiKey) -> Self {
        self.keys.push(key);
        self
    }

    /// Adds a file of keys, one a line; it is read again when it changes.
    #[must_use]
    pub fn api_keys_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.key_files.push(path.into());
        self
    }

    /// WebSockets are opened by JSON Web Tokens, which also open GET of the topics that they grant.
    #[must_use]
    pub fn tokens(mut self, tokens: Tokens) -> Self {
        self.tokens = Some(tokens);
        self
    }

    /// A check of the application's own decides about WebSockets and, beside API keys, about the
    /// HTTP API. For whom it grants [everything](heartwire_hub::Grant::operator) the whole API is
    /// open; for others, GET of the topics that they may follow.
    #[must_use]
    pub fn check(mut self, check: impl Check) -> Self {
        self.check = Some(SharedCheck(Arc::new(check)));
        self
    }

    /// Everybody who reaches the hub may do everything, on every address and behind every proxy.
    #[must_use]
    pub const fn insecure_open(mut self, open: bool) -> Self {
        self.insecure_open = open;
        self
    }

    /// Opens WebSockets to everybody although an API key is set.
    #[must_use]
    pub const fn open_websocket(mut self, open: bool) -> Self {
        self.open_websocket = open;
        self
    }

    /// Adds a name by which a server without a key may be called, besides localhost, 127.0.0.1
    /// and \[::1\].
    #[must_use]
    pub fn allow_host(mut self, host: impl Into<String>) -> Self {
        self.config.guard.hosts.push(host.into());
        self
    }

    /// Adds an origin whose pages may open WebSockets and publish, besides those of the same host;
    /// `*` is any.
    #[must_use]
    pub fn allow_origin(mut self, origin: impl Into<String>) -> Self {
        self.config.guard.origins.push(origin.into());
        self
    }

    /// Adds proxies whose word is taken about where a request comes from: by `X-Forwarded-For`, and
    /// by the PROXY protocol where [`Server::proxy_protocol`](crate::Server::proxy_protocol) asks for
    /// it. Nobody else's is.
    #[must_use]
    pub fn trusted_proxy(mut self, network: IpNet) -> Self {
        self.config.guard.trusted_proxies.push(network);
        self
    }

    /// The application in front of [`Hub::router`] decides who gets in: the hub itself asks for no
    /// key and looks at no address, host or origin.
    #[must_use]
    pub const fn access_by_application(mut self) -> Self {
        self.by_application = true;
        self
    }

    /// Holds back what is published until the gate opens; for tests of what happens while storing
    /// is slow.
    #[must_use]
    pub fn gate(mut self, gate: Gate) -> Self {
        self.config.gate = gate;
        self
    }

    /// Opens the hub. Its upkeep runs as a task of the current tokio runtime, and ends when the
    /// last handle and connection are gone.
    ///
    /// # Errors
    ///
    /// When settings contradict each other, a file cannot be used, or the log on disk cannot be opened.
    pub async fn open(self) -> Result<Hub, OpenError> {
        let config = self.checked()?;
        let opening = tokio::task::spawn_blocking(move || {
            let place = config.place.as_ref();
            let opened = place.map(|place| storage::open(place, &config.hub));
            let opened = opened.transpose().map_err(Box::new)?;
            let kept = shut_out::read(place).map_err(OpenError::ShutOut)?;
            let webhooks = webhook::prepare(&config.webhooks, place)?;
            Ok::<_, OpenError>((config, opened, webhooks, kept))
        });
        let opening = opening.await.expect("opening a log does not panic");
        let (config, opened, webhooks, kept) = opening?;
        Ok(Hub::start(config, opened, webhooks, kept).await?)
    }

    fn access(&self) -> Result<Access, OpenError> {
        let keys = Keys {
            given: self.keys.clone(),
            files: self
                .key_files
                .iter()
                .map(|path| Keys::open(path.clone()))
                .collect::<Result<_, _>>()?,
        };
        let websockets = match (&self.tokens, &self.check) {
            (Some(_), Some(_)) => return Err(OpenError::TokensAndCheck),
            (Some(_), _) | (_, Some(_)) if self.open_websocket => {
                return Err(OpenError::OpenAndByToken);
            }
            (Some(tokens), None) => Some(WebSockets::ByToken(tokens.clone())),
            (None, Some(check)) => Some(WebSockets::ByCheck(check.clone())),
            (None, None) if keys.is_empty() && self.open_websocket => {
                return Err(OpenError::NothingToOpen);
            }
            (None, None) if keys.is_empty() => None,
            (None, None) if self.open_websocket => Some(WebSockets::Open),
            (None, None) => Some(WebSockets::Closed),
        };
        match websockets {
            Some(_) if self.by_application => Err(OpenError::TwoWaysOfAccess),
            Some(_) if self.insecure_open => Err(OpenError::OpenAndClosed),
            Some(websockets) => Ok(Access::Credentials { keys, websockets }),
            None if self.by_application => Ok(Access::Application),
            None if self.insecure_open => Ok(Access::Everybody),
            None if !self.config.guard.trusted_proxies.is_empty() => Err(OpenError::PublicLoopback),
            None => Ok(Access::Loopback),
        }
    }

    pub(crate) fn checked(self) -> Result<Config, OpenError> {
        let access = self.access();
        let mut config = self.config;
        config.guard.access = access?;
        let limits = &config.hub.limits;
        if limits.frame_bytes_max < limits.message_bytes_max + HEADER_BYTES_MAX + 1 {
            return Err(OpenError::FrameBelowMessage);
        }
        if limits.heartbeat_interval_min > limits.heartbeat_interval_max {
            return Err(OpenError::HeartbeatRange);
        }
        if !PRESENCE_GRACE.contains(&config.hub.presence.grace) {
            return Err(OpenError::PresenceGrace);
        }
        config.hub.log.message_bytes_max = limits.message_bytes_max;
        config.hub.log.window = limits.unacked_max;
        config.hub.log.window_bytes_max = limits.unacked_bytes_max;
        Ok(config)
    }
}

impl Config {
    /// How wide a slot of the timer wheel is: fine enough that two late slots do not matter beside
    /// the bound within which a dead link is noticed.
    pub(crate) fn tick(&self) -> Duration {
        let shortest = self
            .hub
            .heartbeat
            .interval()
            .min(self.hub.heartbeat.timeout());
        let shortest = shortest.min(self.hub.limits.heartbeat_interval_min);
        (shortest / 50).clamp(Duration::from_millis(10), Duration::from_millis(100))
    }
}
