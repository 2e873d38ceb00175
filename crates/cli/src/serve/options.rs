//! What `serve` can be told: the same keys as flags, as environment variables and in a file.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::builder::BoolishValueParser;
use clap::{Args, ValueEnum};
use heartwire_server::Pattern;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::topic_rule::TopicRule;
use super::webhook_rule::WebhookRule;
use crate::failure::Failure;
use crate::secret::Secret;
use crate::size::Size;
use crate::span::Span;

/// The file that is read when no other is named, if it is there.
const DEFAULT_FILE: &str = "heartwire.toml";

/// The largest configuration file that is read; real ones hold a few hundred bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Run the server.
///
/// Every flag is also a key of the configuration file (`heartbeat-interval = "10s"`) and an
/// environment variable (HEARTWIRE_HEARTBEAT_INTERVAL). Flags win over the environment, and that
/// over the file.
///
/// Without an API key or tokens everything is allowed, on loopback addresses only.
#[derive(Clone, Debug, Args)]
pub(crate) struct ServeArgs {
    /// The configuration file; without this, heartwire.toml in the working directory, if it exists.
    #[arg(long, value_name = "FILE", env = "HEARTWIRE_CONFIG")]
    config: Option<PathBuf>,
    #[command(flatten)]
    options: Options,
}

/// The keys. `None` and empty lists mean that nothing was said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Options {
    /// Where to listen; port 0 picks one and names it in the ready line [default: 127.0.0.1:7070].
    #[arg(long, value_name = "ADDR", env = "HEARTWIRE_LISTEN")]
    pub(super) listen: Option<String>,

    /// The folder that topics are kept in; it is made if it does not exist [default: heartwire-data].
    #[arg(
        long,
        value_name = "DIR",
        env = "HEARTWIRE_DATA",
        conflicts_with = "memory"
    )]
    pub(super) data: Option<PathBuf>,

    /// Keep topics in memory; they are gone when the server stops.
    #[arg(long, env = "HEARTWIRE_MEMORY", value_parser = BoolishValueParser::new(),
          num_args = 0..=1, require_equals = true, default_missing_value = "true", hide_possible_values = true)]
    pub(super) memory: Option<bool>,

    /// Start although the log is damaged: what is whole is kept, what is lost is logged, and topics
    /// that may have lost more than can be named begin a new epoch.
    #[arg(long, env = "HEARTWIRE_ACCEPT_DATA_LOSS", value_parser = BoolishValueParser::new(),
          num_args = 0..=1, require_equals = true, default_missing_value = "true", hide_possible_values = true)]
    pub(super) accept_data_loss: Option<bool>,

    /// A key that opens /v1/*, sent as `Authorization: Bearer KEY`; may be repeated.
    #[arg(
        long,
        value_name = "KEY",
        env = "HEARTWIRE_API_KEY",
        hide_env_values = true,
        value_delimiter = ','
    )]
    #[serde(deserialize_with = "one_or_many")]
    pub(super) api_key: Vec<Secret>,

    /// A file of such keys, one a line, read again when it changes; may be repeated.
    #[arg(
        long,
        value_name = "FILE",
        env = "HEARTWIRE_API_KEY_FILE",
        value_delimiter = ','
    )]
    #[serde(deserialize_with = "one_or_many")]
    pub(super) api_key_file: Vec<String>,

    /// Open WebSockets, and GET of the topics that they grant, to JSON Web Tokens signed with this
    /// secret (HS256).
    #[arg(
        long,
        value_name = "SECRET",
        env = "HEARTWIRE_JWT_SECRET",
        hide_env_values = true
    )]
    pub(super) jwt_secret: Option<Secret>,

    /// The same with a file that holds the secret, read again when it changes.
    #[arg(long, value_name = "FILE", env = "HEARTWIRE_JWT_SECRET_FILE")]
    pub(super) jwt_secret_file: Option<PathBuf>,

    /// The same with public keys: a file of PEM, or a JWKS (RS256, ES256, EdDSA), read again when it
    /// changes.
    #[arg(
        long,
        visible_alias = "jwt-public-key-file",
        value_name = "FILE",
        env = "HEARTWIRE_JWT_PUBLIC_KEY"
    )]
    #[serde(alias = "jwt-public-key-file")]
    pub(super) jwt_public_key: Option<PathBuf>,

    /// The audience (`aud`) that a token has to name; without it, tokens for any audience are
    /// refused.
    #[arg(long, value_name = "NAME", env = "HEARTWIRE_JWT_AUDIENCE")]
    pub(super) jwt_audience: Option<String>,

    /// Listen on any address without a key or tokens: everybody who reaches it may read and publish
    /// everything.
    #[arg(long, env = "HEARTWIRE_INSECURE_OPEN", value_parser = BoolishValueParser::new(),
          num_args = 0..=1, require_equals = true, default_missing_value = "true", hide_possible_values = true)]
    pub(super) insecure_open: Option<bool>,

    /// Open WebSockets to everybody although an API key is set.
    #[arg(long, env = "HEARTWIRE_OPEN_WEBSOCKET", value_parser = BoolishValueParser::new(),
          num_args = 0..=1, require_equals = true, default_missing_value = "true", hide_possible_values = true)]
    pub(super) open_websocket: Option<bool>,

    /// A host name, besides localhost, 127.0.0.1 and [::1], by which a server without key may be
    /// called; may be repeated.
    #[arg(
        long,
        value_name = "HOST",
        env = "HEARTWIRE_ALLOW_HOST",
        value_delimiter = ','
    )]
    #[serde(deserialize_with = "one_or_many")]
    pub(super) allow_host: Vec<String>,

    /// An origin, besides those of the same host, whose pages may use this server; `*` is any; may
    /// be repeated.
    #[arg(
        long,
        value_name = "ORIGIN",
        env = "HEARTWIRE_ALLOW_ORIGIN",
        value_delimiter = ','
    )]
    #[serde(deserialize_with = "one_or_many")]
    pub(super) allow_origin: Vec<String>,

    /// The keys of a WebSocket's URL that name topics, in the order of the bare form `?42&7`
    /// [default: task,user].
    #[arg(
        long,
        value_name = "KEYS",
        env = "HEARTWIRE_URL_TOPICS",
        value_delimiter = ','
    )]
    #[serde(deserialize_with = "one_or_many")]
    pub(super) url_topics: Vec<String>,

    /// Silence after which a client is asked for a sign of life: 1s to 1h [default: 10s].
    #[arg(long, value_name = "DURATION", env = "HEARTWIRE_HEARTBEAT_INTERVAL")]
    pub(super) heartbeat_interval: Option<Span>,

    /// How long its answer may take before the connection is dropped: 1s to 1h [default: 10s].
    #[arg(long, value_name = "DURATION", env = "HEARTWIRE_HEARTBEAT_TIMEOUT")]
    pub(super) heartbeat_timeout: Option<Span>,

    /// The largest message that is stored: 1 to 64MiB [default: 1MiB].
    #[arg(long, value_name = "BYTES", env = "HEARTWIRE_MESSAGE_BYTES_MAX")]
    pub(super) message_bytes_max: Option<Size>,

    /// How many topics one connection may follow: 1 to 100000 [default: 1000].
    #[arg(long, value_name = "COUNT", env = "HEARTWIRE_TOPICS_MAX")]
    pub(super) topics_max: Option<u64>,

    /// How many publishes of one client may wait for their acknowledgement: 1 to 65536 [default: 1024].
    #[arg(long, value_name = "COUNT", env = "HEARTWIRE_UNACKED_MAX")]
    pub(super) unacked_max: Option<u64>,

    /// How much memory the recent messages of all topics take together; those of the largest topics go
    /// first, and are read from disk where there is one: 1MiB to 1024GiB [default: 512MiB].
    #[arg(long, value_name = "BYTES", env = "HEARTWIRE_MEMORY_BYTES_MAX")]
    pub(super) memory_bytes_max: Option<Size>,

    /// How many WebSockets there may be: 1 to 10000000 [default: 100000].
    #[arg(long, value_name = "COUNT", env = "HEARTWIRE_CONNECTIONS_MAX")]
    pub(super) connections_max: Option<u64>,

    /// How many of them from one address, or from one /64 with IPv6: 1 to 10000000
    /// [default: 20000].
    #[arg(
        long,
        value_name = "COUNT",
        env = "HEARTWIRE_CONNECTIONS_PER_ADDRESS_MAX"
    )]
    pub(super) connections_per_address_max: Option<u64>,

    /// How many WebSockets may begin in a second: 1 to 1000000 [default: 10000].
    #[arg(
        long,
        value_name = "COUNT",
        env = "HEARTWIRE_HANDSHAKES_PER_SECOND_MAX"
    )]
    pub(super) handshakes_per_second_max: Option<u64>,

    /// How many messages of one connection are read in a second, on average: 1 to 10000000
    /// [default: no limit].
    #[arg(long, value_name = "COUNT", env = "HEARTWIRE_MESSAGES_PER_SECOND_MAX")]
    pub(super) messages_per_second_max: Option<u64>,

    /// How many bytes of them: 1KiB to 1024GiB [default: no limit].
    #[arg(long, value_name = "BYTES", env = "HEARTWIRE_BYTES_PER_SECOND_MAX")]
    pub(super) bytes_per_second_max: Option<Size>,

    /// A proxy, or a network of them (10.0.0.0/8), whose X-Forwarded-For is believed; may be
    /// repeated.
    #[arg(
        long,
        value_name = "ADDR",
        env = "HEARTWIRE_TRUSTED_PROXY",
        value_delimiter = ','
    )]
    #[serde(deserialize_with = "one_or_many")]
    pub(super) trusted_proxy: Vec<String>,

    /// Connections from trusted proxies begin with a PROXY header, version 1 or 2.
    #[arg(long, env = "HEARTWIRE_PROXY_PROTOCOL", value_parser = BoolishValueParser::new(),
          num_args = 0..=1, require_equals = true, default_missing_value = "true", hide_possible_values = true)]
    pub(super) proxy_protocol: Option<bool>,

    /// Speak TLS with this chain of certificates, PEM, read again when it changes.
    #[arg(long, value_name = "FILE", env = "HEARTWIRE_TLS_CERT")]
    pub(super) tls_cert: Option<PathBuf>,

    /// The private key of the first of them, PEM.
    #[arg(long, value_name = "FILE", env = "HEARTWIRE_TLS_KEY")]
    pub(super) tls_key: Option<PathBuf>,

    /// How many messages of each topic are kept: 1 to 100000000 [default: 10000].
    #[arg(long, value_name = "COUNT", env = "HEARTWIRE_RETAIN_MESSAGES")]
    pub(super) retain_messages: Option<u64>,

    /// How many bytes of each topic are kept: 1KiB to 1024GiB [default: 16MiB].
    #[arg(long, value_name = "BYTES", env = "HEARTWIRE_RETAIN_BYTES")]
    pub(super) retain_bytes: Option<Size>,

    /// How long messages are kept: 1s to 365d [default: 24h].
    #[arg(long, value_name = "DURATION", env = "HEARTWIRE_RETAIN_AGE")]
    pub(super) retain_age: Option<Span>,

    /// How topics of a pattern are kept, where that differs: `PATTERN [memory|disk] [messages=N]
    /// [bytes=SIZE] [age=DURATION]`, where PATTERN is a name, or a beginning and `*`. May be repeated;
    /// the first that matches counts.
    #[arg(
        long,
        value_name = "RULE",
        env = "HEARTWIRE_TOPIC",
        value_delimiter = ','
    )]
    #[serde(deserialize_with = "one_or_many")]
    pub(super) topic: Vec<TopicRule>,

    /// Topics for which it is told who is there: a name, or a beginning and `*`; may be repeated. Joins
    /// and leaves are messages of `$presence:TOPIC`.
    #[arg(
        long,
        value_name = "PATTERN",
        env = "HEARTWIRE_PRESENCE",
        value_delimiter = ','
    )]
    #[serde(deserialize_with = "one_or_many")]
    pub(super) presence: Vec<Pattern>,

    /// How long somebody may stay away and come back before that is told as a leave: 1s to 1h
    /// [default: 10s].
    #[arg(long, value_name = "DURATION", env = "HEARTWIRE_PRESENCE_GRACE")]
    pub(super) presence_grace: Option<Span>,

    /// Post the messages of some topics to a URL: `PATTERN URL [name=NAME] [batch=N]
    /// [timeout=DURATION] [from=head|tail] [secret-file=FILE]`. May be repeated; in the environment one
    /// a line.
    #[arg(
        long,
        value_name = "WEBHOOK",
        env = "HEARTWIRE_WEBHOOK",
        value_delimiter = '\n'
    )]
    #[serde(deserialize_with = "one_or_many")]
    pub(super) webhook: Vec<WebhookRule>,

    /// What is posted is signed with this secret, 24 to 64 random bytes in base64; may be repeated,
    /// for a rotation.
    #[arg(
        long,
        value_name = "SECRET",
        env = "HEARTWIRE_WEBHOOK_SECRET",
        hide_env_values = true,
        value_delimiter = ','
    )]
    #[serde(deserialize_with = "one_or_many")]
    pub(super) webhook_secret: Vec<Secret>,

    /// The same with a file of secrets, one a line, read again when it changes.
    #[arg(long, value_name = "FILE", env = "HEARTWIRE_WEBHOOK_SECRET_FILE")]
    pub(super) webhook_secret_file: Option<PathBuf>,

    /// Over how long clients are asked to spread their return when the server stops: 0s to 1h
    /// [default: it grows with their number].
    #[arg(long, value_name = "DURATION", env = "HEARTWIRE_DRAIN_WINDOW")]
    pub(super) drain_window: Option<Span>,

    /// How log lines are written to standard error; RUST_LOG chooses which [default: text].
    #[arg(long, value_name = "FORMAT", env = "HEARTWIRE_LOG_FORMAT")]
    pub(super) log_format: Option<LogFormat>,
}

/// The form of a log line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(super) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl ServeArgs {
    /// Flags and environment, with the file's word where they say nothing.
    pub(super) fn options(self) -> Result<Options, Failure> {
        let file = match self.config {
            Some(path) => read(&path)
                .map_err(|error| Failure::usage(format_args!("{}: {error}", path.display())))?,
            None => match read(Path::new(DEFAULT_FILE)) {
                Ok(options) => options,
                Err(FileError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
                    Options::default()
                }
                Err(error) => return Err(Failure::usage(format_args!("{DEFAULT_FILE}: {error}"))),
            },
        };
        Ok(self.options.or(file))
    }
}

impl Options {
    fn or(self, other: Self) -> Self {
        Self {
            listen: self.listen.or(other.listen),
            data: self.data.or(other.data),
            memory: self.memory.or(other.memory),
            accept_data_loss: self.accept_data_loss.or(other.accept_data_loss),
            api_key: or_list(self.api_key, other.api_key),
            api_key_file: or_list(self.api_key_file, other.api_key_file),
            jwt_secret: self.jwt_secret.or(other.jwt_secret),
            jwt_secret_file: self.jwt_secret_file.or(other.jwt_secret_file),
            jwt_public_key: self.jwt_public_key.or(other.jwt_public_key),
            jwt_audience: self.jwt_audience.or(other.jwt_audience),
            insecure_open: self.insecure_open.or(other.insecure_open),
            open_websocket: self.open_websocket.or(other.open_websocket),
            allow_host: or_list(self.allow_host, other.allow_host),
            allow_origin: or_list(self.allow_origin, other.allow_origin),
            url_topics: or_list(self.url_topics, other.url_topics),
            heartbeat_interval: self.heartbeat_interval.or(other.heartbeat_interval),
            heartbeat_timeout: self.heartbeat_timeout.or(other.heartbeat_timeout),
            message_bytes_max: self.message_bytes_max.or(other.message_bytes_max),
            topics_max: self.topics_max.or(other.topics_max),
            unacked_max: self.unacked_max.or(other.unacked_max),
            memory_bytes_max: self.memory_bytes_max.or(other.memory_bytes_max),
            connections_max: self.connections_max.or(other.connections_max),
            connections_per_address_max: self
                .connections_per_address_max
                .or(other.connections_per_address_max),
            handshakes_per_second_max: self
                .handshakes_per_second_max
                .or(other.handshakes_per_second_max),
            messages_per_second_max: self
                .messages_per_second_max
                .or(other.messages_per_second_max),
            bytes_per_second_max: self.bytes_per_second_max.or(other.bytes_per_second_max),
            trusted_proxy: or_list(self.trusted_proxy, other.trusted_proxy),
            proxy_protocol: self.proxy_protocol.or(other.proxy_protocol),
            tls_cert: self.tls_cert.or(other.tls_cert),
            tls_key: self.tls_key.or(other.tls_key),
            retain_messages: self.retain_messages.or(other.retain_messages),
            retain_bytes: self.retain_bytes.or(other.retain_bytes),
            retain_age: self.retain_age.or(other.retain_age),
            topic: or_list(self.topic, other.topic),
            presence: or_list(self.presence, other.presence),
            presence_grace: self.presence_grace.or(other.presence_grace),
            webhook: or_list(self.webhook, other.webhook),
            webhook_secret: or_list(self.webhook_secret, other.webhook_secret),
            webhook_secret_file: self.webhook_secret_file.or(other.webhook_secret_file),
            drain_window: self.drain_window.or(other.drain_window),
            log_format: self.log_format.or(other.log_format),
        }
    }
}

fn or_list<T>(list: Vec<T>, other: Vec<T>) -> Vec<T> {
    if list.is_empty() { other } else { list }
}

/// A list in the file may be a single text.
fn one_or_many<'de, T, D>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    T: FromStr<Err: fmt::Display>,
    D: Deserializer<'de>,
{
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected a text or a list of texts")]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }
    let texts = match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(text) => vec![text],
        OneOrMany::Many(texts) => texts,
    };
    let items = texts.iter().map(|text| text.parse());
    items.collect::<Result<_, _>>().map_err(D::Error::custom)
}

#[derive(Debug, thiserror::Error)]
enum FileError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("larger than {FILE_BYTES_MAX} bytes, which is no configuration")]
    TooLarge,
    #[error("{}", .0.to_string().trim_end())]
    Toml(#[from] toml::de::Error),
}

fn read(path: &Path) -> Result<Options, FileError> {
    if fs::metadata(path)?.len() > FILE_BYTES_MAX {
        return Err(FileError::TooLarge);
    }
    Ok(toml::from_str(&fs::read_to_string(path)?)?)
}
