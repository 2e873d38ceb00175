//! The settings of a link.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use heartwire_proto::Token;
use heartwire_proto::backoff::Reconnect;
use heartwire_proto::client::{ClientConfig, Mode, PlainConfig, PlainPing};
use heartwire_proto::frame::{Message, Payload};
use heartwire_proto::heartbeat::HeartbeatConfig;
use heartwire_proto::outbox::OutboxLimits;
use http::HeaderMap;
use tokio_rustls::rustls::ClientConfig as TlsConfig;

use crate::dial::{Dialer, Endpoint, SEES_ACKNOWLEDGEMENTS, Tls, UrlError, checked_header};
use crate::driver::{Driver, Opening, PlainHooks, TokenError, TokenSource};
use crate::error::ConfigError;
use crate::link::{Link, Plain, V1};
use crate::queue::QueueLimits;
use crate::shared::Shared;

/// The largest message taken from a server, in bytes: above what servers allow by default, and
/// below what hurts.
const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// The settings of a [`Link`] in the making.
///
/// Nothing is checked before [`connect`](Self::connect), which then reports the first thing that
/// is wrong.
#[must_use = "a builder does nothing until it connects"]
pub struct Builder<M = V1> {
    endpoint: Result<Endpoint, UrlError>,
    headers: HeaderMap,
    tls: Tls,
    token: Option<TokenSource>,
    session: ClientConfig,
    plain: PlainConfig,
    hooks: PlainHooks,
    queue_limits: QueueLimits,
    message_bytes_max: usize,
    wrong: Option<ConfigError>,
    mode: PhantomData<M>,
}

impl<M> fmt::Debug for Builder<M> {
    /// Shows no URL, header or token: any of them may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("reconnect", &self.session.reconnect)
            .field("outbox", &self.session.outbox)
            .field("queue", &self.queue_limits)
            .finish_non_exhaustive()
    }
}

impl<M> Builder<M> {
    pub(crate) fn new(url: &str) -> Self {
        Self {
            endpoint: Endpoint::parse(url),
            headers: HeaderMap::new(),
            tls: Tls::default(),
            token: None,
            session: ClientConfig {
                sees_acknowledgements: SEES_ACKNOWLEDGEMENTS,
                ..ClientConfig::default()
            },
            plain: PlainConfig {
                heartbeat: HeartbeatConfig::default(),
                ping: PlainPing::WebSocket,
                pong: None,
            },
            hooks: PlainHooks::default(),
            queue_limits: QueueLimits::default(),
            message_bytes_max: MESSAGE_BYTES_MAX,
            wrong: None,
            mode: PhantomData,
        }
    }

    /// Asks `fetch` for a token before each dial, so that one that has run out is replaced. In v1
    /// it goes into `hello`, in plain mode into the `Authorization` header as a bearer token.
    ///
    /// The time it takes is part of the attempt's, and an error of it is a failed attempt.
    ///
    /// ```no_run
    /// # use heartwire::Link;
    /// # async fn ask_the_back_end() -> Result<String, std::io::Error> { Ok(String::new()) }
    /// let link = Link::builder("wss://example.org/websocket")
    ///     .token(|| async { ask_the_back_end().await })
    ///     .connect()?;
    /// # Ok::<(), heartwire::ConfigError>(())
    /// ```
    pub fn token<F, A, T, E>(mut self, fetch: F) -> Self
    where
        F: Fn() -> A + Send + Sync + 'static,
        A: Future<Output = Result<T, E>> + Send + 'static,
        T: Into<String>,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        self.token = Some(Arc::new(move || {
            let asked = fetch();
            Box::pin(async move {
                match asked.await {
                    Ok(token) => Ok(Token::new(token)),
                    Err(error) => Err::<_, TokenError>(error.into()),
                }
            })
        }));
        self
    }

    /// Adds a header to the upgrade request, such as a cookie. Several of one name all stand.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        match checked_header(name, value) {
            Ok((name, value)) => {
                self.headers.append(name, value);
            }
            Err(error) => self.note(error),
        }
        self
    }

    /// When a lost connection is dialled again. The default is full jitter and 12 attempts per
    /// outage.
    ///
    /// ```no_run
    /// # use heartwire::{Link, Reconnect};
    /// # use std::time::Duration;
    /// let for_ever = Reconnect::default().unlimited();
    /// let every_five_seconds = Reconnect::fixed(Duration::from_secs(5), 12);
    /// let link = Link::builder("ws://127.0.0.1:7070/websocket").reconnect(for_ever).connect()?;
    /// # Ok::<(), heartwire::ConfigError>(())
    /// ```
    pub fn reconnect(mut self, policy: Reconnect) -> Self {
        self.session.reconnect = policy;
        self
    }

    /// How long one attempt may take, from asking for the token to the welcome. 10 s by default.
    pub fn attempt_timeout(mut self, timeout: Duration) -> Self {
        self.session.attempt_timeout = timeout;
        self
    }

    /// How much may wait to be sent. When that much does, publishing is an error.
    pub fn outbox(mut self, limits: OutboxLimits) -> Self {
        self.session.outbox = limits;
        self
    }

    /// How much may wait for the application, for each subscription.
    pub fn queue(mut self, limits: QueueLimits) -> Self {
        self.queue_limits = limits;
        self
    }

    /// The largest message that is taken from the server, in bytes. A larger one costs the
    /// connection. 16 MiB by default.
    pub fn message_bytes_max(mut self, bytes: usize) -> Self {
        self.message_bytes_max = bytes;
        self
    }

    /// Trusts the certificates in `pem`, beside those that the platform trusts: for servers with a
    /// certificate of an authority of one's own.
    pub fn root_certificates(mut self, pem: &[u8]) -> Self {
        if let Err(error) = self.tls.trust(pem) {
            self.note(error);
        }
        self
    }

    /// Uses a TLS configuration of one's own in place of the platform's trust store: for client
    /// certificates, or for a store of one's own.
    pub fn tls(mut self, config: Arc<TlsConfig>) -> Self {
        self.tls.set_config(config);
        self
    }

    /// Keeps the first thing that is wrong.
    fn note(&mut self, error: impl Into<ConfigError>) {
        self.wrong.get_or_insert(error.into());
    }

    fn link(self, v1: bool) -> Result<Link<M>, ConfigError> {
        let endpoint = self.endpoint?;
        if let Some(wrong) = self.wrong {
            return Err(wrong);
        }
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| ConfigError::NoRuntime)?;
        let dialer = Dialer {
            endpoint,
            headers: self.headers,
            tls: self.tls,
            v1,
            received_bytes_max: self.message_bytes_max,
            sent_bytes_max: self.session.outbox.bytes_max,
        };
        let shared = Shared::start(self.session, self.queue_limits);
        let hooks = (!v1).then_some(self.hooks);
        let driver = Driver::new(Arc::clone(&shared), dialer, self.token, hooks);
        Ok(Link::new(shared, runtime.spawn(driver.run())))
    }
}

impl Builder<V1> {
    /// Asks the server for this heartbeat interval, within the range that it allows; the server's
    /// own by default. The timeout is the server's in any case.
    pub fn heartbeat_interval(mut self, interval: Duration) -> Self {
        match HeartbeatConfig::new(interval, HeartbeatConfig::default().timeout()) {
            Ok(_) => self.session.heartbeat_interval = Some(interval),
            Err(error) => self.note(error),
        }
        self
    }

    /// Program and version for the server's operators, such as `dashboard/2.1`.
    pub fn agent(mut self, agent: impl Into<String>) -> Self {
        self.session.agent = agent.into();
        self
    }

    /// How many topics the link follows at most; 1,000 by default, as servers allow by default.
    pub fn topics_max(mut self, topics: usize) -> Self {
        self.session.topics_max = topics;
        self
    }

    /// Dials in the background and returns at once. Whether and when the link opens is its
    /// [status](Link::status); nothing needs to wait for it.
    pub fn connect(mut self) -> Result<Link<V1>, ConfigError> {
        self.session.mode = Mode::V1;
        self.link(true)
    }
}

impl Builder<Plain> {
    /// Asks after `interval` of silence, and takes the link for dead after another `timeout`.
    /// 10 s each by default.
    pub fn heartbeat(mut self, interval: Duration, timeout: Duration) -> Self {
        match HeartbeatConfig::new(interval, timeout) {
            Ok(heartbeat) => self.plain.heartbeat = heartbeat,
            Err(error) => self.note(error),
        }
        self
    }

    /// Asks with this message. Without it the link asks with WebSocket Ping frames, which every
    /// server answers; but a proxy may answer them in the server's place, and a server may want
    /// to hear its own kind of ping.
    pub fn ping(mut self, message: impl Into<Payload>) -> Self {
        self.plain.ping = PlainPing::Message(message.into());
        self
    }

    /// Recognises the answers, which are then kept from the application and measured as round
    /// trips. Without it the answers come as messages; they are life in any case.
    pub fn pong(mut self, is_pong: impl Fn(Message<'_>) -> bool + Send + Sync + 'static) -> Self {
        self.hooks.is_pong = Some(Box::new(is_pong));
        self
    }

    /// Called for each connection when it opens: what it sends goes out first. This is the place
    /// for subscriptions, which a plain server forgets with the connection.
    pub fn on_open(mut self, open: impl Fn(&mut Opening) + Send + Sync + 'static) -> Self {
        self.hooks.on_open = Some(Box::new(open));
        self
    }

    /// Dials in the background and returns at once. Whether and when the link opens is its
    /// [status](Link::status).
    pub fn connect(mut self) -> Result<Link<Plain>, ConfigError> {
        self.session.mode = Mode::Plain(self.plain.clone());
        self.link(false)
    }
}
