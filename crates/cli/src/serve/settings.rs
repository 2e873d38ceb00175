//! What `serve` was told, checked as a whole before anything starts.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::num::NonZeroU64;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use heartwire_server::{
    ConnectionLimits, HeartbeatConfig, Hub, HubBuilder, Limits, Policy, PresenceConfig, Retention,
    Tls, UrlTopics,
};

use super::access;
use super::options::{LogFormat, Options};
use super::webhook_rule;
use crate::failure::Failure;
use crate::size::Size;
use crate::span::Span;

const LISTEN: &str = "127.0.0.1:7070";
const DATA: &str = "heartwire-data";

const DAY: Duration = Duration::from_secs(24 * 3_600);
const HEARTBEAT: RangeInclusive<Span> =
    Span(Duration::from_secs(1))..=Span(Duration::from_secs(3_600));
const MESSAGE_BYTES: RangeInclusive<Size> = Size(1)..=Size(64 << 20);
const TOPICS: RangeInclusive<u64> = 1..=100_000;
const UNACKED: RangeInclusive<u64> = 1..=65_536;
const MEMORY_BYTES: RangeInclusive<Size> = Size(1 << 20)..=Size(1 << 40);
const CONNECTIONS: RangeInclusive<u64> = 1..=10_000_000;
const HANDSHAKES: RangeInclusive<u64> = 1..=1_000_000;
const MESSAGES_PER_SECOND: RangeInclusive<u64> = 1..=10_000_000;
const BYTES_PER_SECOND: RangeInclusive<Size> = Size(1 << 10)..=Size(1 << 40);
const RETAIN_MESSAGES: RangeInclusive<u64> = 1..=100_000_000;
const RETAIN_BYTES: RangeInclusive<Size> = Size(1 << 10)..=Size(1 << 40);
const RETAIN_AGE: RangeInclusive<Span> =
    Span(Duration::from_secs(1))..=Span(DAY.saturating_mul(365));
const PRESENCE_GRACE: RangeInclusive<Span> =
    Span(Duration::from_secs(1))..=Span(Duration::from_secs(3_600));
const DRAIN_WINDOW: RangeInclusive<Span> = Span(Duration::ZERO)..=Span(Duration::from_secs(3_600));

/// What a message above the bound may have over it and still be answered by `nack` instead of the
/// end of the connection, in bytes.
const FRAME_BYTES_OVER: usize = 3 << 20;

/// Settings that make sense together.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(super) listen: SocketAddr,
    pub(super) hub: HubBuilder,
    pub(super) data: Data,
    /// What the operator should hear at start.
    pub(super) warnings: Vec<&'static str>,
    pub(super) drain_window: Option<Duration>,
    pub(super) tls: Option<Tls>,
    pub(super) proxy_protocol: bool,
    pub(super) log_format: LogFormat,
}

impl Settings {
    /// Checks the options; a failure names the key and what it may be.
    pub(super) fn check(options: &Options) -> Result<Self, Failure> {
        let data = data(options)?;
        let listen = listen_address(options.listen.as_deref().unwrap_or(LISTEN))?;
        let mut warnings = Vec::new();
        let hub = access::with_access(Hub::builder(), options, listen, &mut warnings)?
            .heartbeat(heartbeat(options)?)
            .limits(limits(options)?)
            .connection_limits(connection_limits(options)?)
            .url_topics(url_topics(&options.url_topics)?);
        let hub = with_topics(hub, options)?.presence(presence(options)?);
        let hub = webhook_rule::with_webhooks(hub, options)?;
        let hub = match &data {
            Data::Memory => hub,
            Data::Folder(folder) => hub.data(folder),
        };
        let hub = match options.accept_data_loss {
            Some(true) => hub.accept_data_loss(),
            _ => hub,
        };
        let drain_window = options
            .drain_window
            .map(|window| in_range("drain-window", window, &DRAIN_WINDOW))
            .transpose()?;
        Ok(Self {
            listen,
            hub,
            data,
            warnings,
            drain_window: drain_window.map(|window| window.0),
            tls: tls(options)?,
            proxy_protocol: access::speaks_proxy_protocol(options)?,
            log_format: options.log_format.unwrap_or_default(),
        })
    }
}

/// Where topics are kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Data {
    Memory,
    Folder(PathBuf),
}

impl fmt::Display for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory"),
            Self::Folder(folder) => folder.display().fmt(f),
        }
    }
}

fn data(options: &Options) -> Result<Data, Failure> {
    let in_memory = options.memory.unwrap_or(false);
    match (&options.data, in_memory) {
        (Some(_), true) => Err(invalid(
            "memory",
            "topics are kept in memory or in a folder: leave out `memory` or `data`",
        )),
        (None, true) if options.accept_data_loss == Some(true) => Err(invalid(
            "accept-data-loss",
            "there is no log on disk with `memory`",
        )),
        (None, true) => Ok(Data::Memory),
        (folder, false) => Ok(Data::Folder(folder.clone().unwrap_or_else(|| DATA.into()))),
    }
}

fn heartbeat(options: &Options) -> Result<HeartbeatConfig, Failure> {
    let default = HeartbeatConfig::default();
    let part = |key, given: Option<Span>, default| {
        in_range(key, given.unwrap_or(Span(default)), &HEARTBEAT).map(|span| span.0)
    };
    let interval = part(
        "heartbeat-interval",
        options.heartbeat_interval,
        default.interval(),
    )?;
    let timeout = part(
        "heartbeat-timeout",
        options.heartbeat_timeout,
        default.timeout(),
    )?;
    HeartbeatConfig::new(interval, timeout).map_err(|error| invalid("heartbeat", error))
}

fn limits(options: &Options) -> Result<Limits, Failure> {
    let mut limits = Limits::default();
    if let Some(bytes) = options.message_bytes_max {
        let bytes = in_range("message-bytes-max", bytes, &MESSAGE_BYTES)?;
        limits.message_bytes_max = count(bytes.0);
        limits.frame_bytes_max = limits.message_bytes_max + FRAME_BYTES_OVER;
        limits.unacked_bytes_max = limits.unacked_bytes_max.max(limits.message_bytes_max);
    }
    if let Some(messages) = options.messages_per_second_max {
        let messages = in_range("messages-per-second-max", messages, &MESSAGES_PER_SECOND)?;
        limits.messages_per_second_max = NonZeroU64::new(messages);
    }
    if let Some(bytes) = options.bytes_per_second_max {
        let bytes = in_range("bytes-per-second-max", bytes, &BYTES_PER_SECOND)?;
        limits.bytes_per_second_max = NonZeroU64::new(bytes.0);
    }
    if let Some(topics) = options.topics_max {
        limits.topics_max = count(in_range("topics-max", topics, &TOPICS)?);
    }
    if let Some(publishes) = options.unacked_max {
        limits.unacked_max = in_range("unacked-max", publishes, &UNACKED)?;
    }
    Ok(limits)
}

fn connection_limits(options: &Options) -> Result<ConnectionLimits, Failure> {
    let mut limits = ConnectionLimits::default();
    if let Some(total) = options.connections_max {
        limits.total_max = count(in_range("connections-max", total, &CONNECTIONS)?);
    }
    if let Some(number) = options.connections_per_address_max {
        let number = in_range("connections-per-address-max", number, &CONNECTIONS)?;
        limits.per_address_max = count(number);
    }
    if let Some(number) = options.handshakes_per_second_max {
        let number = in_range("handshakes-per-second-max", number, &HANDSHAKES)?;
        limits.handshakes_per_second_max = NonZeroU64::new(number).expect("the range begins at 1");
    }
    Ok(limits)
}

fn tls(options: &Options) -> Result<Option<Tls>, Failure> {
    match (&options.tls_cert, &options.tls_key) {
        (None, None) => Ok(None),
        (Some(certificates), Some(key)) => Tls::files(certificates, key)
            .map(Some)
            .map_err(|error| invalid("tls-cert", error)),
        (Some(_), None) => Err(invalid("tls-key", "tls-cert needs it beside it")),
        (None, Some(_)) => Err(invalid("tls-cert", "tls-key needs it beside it")),
    }
}

/// How topics are kept: all of them, and those of each rule.
fn with_topics(mut hub: HubBuilder, options: &Options) -> Result<HubBuilder, Failure> {
    let (messages, bytes, age) = (
        options.retain_messages,
        options.retain_bytes,
        options.retain_age,
    );
    let retention = retention("retain-", messages, bytes, age)?;
    hub = hub.retention(retention);
    if let Some(bytes) = options.memory_bytes_max {
        let bytes = in_range("memory-bytes-max", bytes, &MEMORY_BYTES)?;
        hub = hub.memory_bytes_max(count(bytes.0));
    }
    let others = Policy {
        retention,
        ..Policy::default()
    };
    for rule in &options.topic {
        if rule.is_of_own_on_disk() {
            let message = "the server's own topics are in memory: each start begins them anew";
            return Err(invalid("topic", message));
        }
        let policy = rule.policy(&others, |messages, bytes, age| {
            self::retention("topic: ", messages, bytes, age)
        })?;
        hub = hub.topic(rule.pattern.clone(), policy);
    }
    Ok(hub)
}

/// For which topics it is told who is there.
fn presence(options: &Options) -> Result<PresenceConfig, Failure> {
    let mut presence = PresenceConfig::default();
    for pattern in &options.presence {
        if pattern.is_of_own() {
            let message =
                format_args!("{pattern}: nobody is told who follows the server's own topics");
            return Err(invalid("presence", message));
        }
        presence.topics.push(pattern.clone());
    }
    if let Some(grace) = options.presence_grace {
        presence.grace = in_range("presence-grace", grace, &PRESENCE_GRACE)?.0;
    }
    Ok(presence)
}

/// The defaults, changed by what is said; `key` begins the name of what is out of range.
fn retention(
    key: &str,
    messages: Option<u64>,
    bytes: Option<Size>,
    age: Option<Span>,
) -> Result<Retention, Failure> {
    let mut retention = Retention::default();
    if let Some(messages) = messages {
        let messages = in_range(&format!("{key}messages"), messages, &RETAIN_MESSAGES)?;
        retention.count_max = count(messages);
    }
    if let Some(bytes) = bytes {
        retention.bytes_max = count(in_range(&format!("{key}bytes"), bytes, &RETAIN_BYTES)?.0);
    }
    if let Some(age) = age {
        retention.age_max = in_range(&format!("{key}age"), age, &RETAIN_AGE)?.0;
    }
    Ok(retention)
}

/// A number that was checked to be far below what memory could hold anyway.
fn count(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn in_range<T: PartialOrd + fmt::Display>(
    key: &str,
    given: T,
    range: &RangeInclusive<T>,
) -> Result<T, Failure> {
    if range.contains(&given) {
        return Ok(given);
    }
    let (min, max) = (range.start(), range.end());
    Err(invalid(
        key,
        format_args!("{given} is out of range; it may be {min} to {max}"),
    ))
}

pub(super) fn invalid(key: &str, message: impl fmt::Display) -> Failure {
    Failure::usage(format_args!("{key}: {message}"))
}

fn listen_address(text: &str) -> Result<SocketAddr, Failure> {
    let addresses = text.to_socket_addrs().map_err(|error| {
        let message = format!("{text:?} is no address ({error}); write for example 127.0.0.1:7070");
        invalid("listen", message)
    })?;
    let mut addresses: Vec<SocketAddr> = addresses.collect();
    // A name such as `localhost` has an address of each kind; most clients dial IPv4.
    addresses.sort_by_key(SocketAddr::is_ipv6);
    addresses
        .first()
        .copied()
        .ok_or_else(|| invalid("listen", format_args!("{text:?} has no address")))
}

fn url_topics(keys: &[String]) -> Result<UrlTopics, Failure> {
    if keys.is_empty() {
        return Ok(UrlTopics::default());
    }
    // A single empty key stands for none: `--url-topics ''` takes no topics from URLs.
    let named = keys.iter().map(String::as_str);
    UrlTopics::new(named.filter(|key| !key.is_empty()))
        .map_err(|error| invalid("url-topics", error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(toml: &str) -> Options {
        toml::from_str(toml).expect("well-formed options")
    }

    fn error(toml: &str) -> String {
        let failure = Settings::check(&options(toml)).expect_err(toml);
        assert!(matches!(failure, Failure::Usage(_)), "exit code 2");
        failure.message().expect("an explanation").to_owned()
    }

    #[test]
    fn nothing_said_is_a_server_on_loopback() {
        let settings = Settings::check(&Options::default()).expect("the defaults");
        assert_eq!(settings.listen.to_string(), LISTEN);
        assert!(settings.warnings[0].contains("on loopback only"));
    }

    #[test]
    fn an_open_address_needs_a_key() {
        assert!(error("listen = '0.0.0.0:7070'").contains("--api-key"));
        assert!(error("listen = '[::]:7070'").contains("--api-key"));
        Settings::check(&options("listen = '0.0.0.0:7070'\napi-key = 'k'")).expect("with a key");
        Settings::check(&options("listen = '[::1]:7070'")).expect("on loopback");
    }

    #[test]
    fn what_is_out_of_range_is_named_with_its_range() {
        assert_eq!(
            error("heartbeat-interval = '500ms'"),
            "heartbeat-interval: 500ms is out of range; it may be 1s to 1h"
        );
        assert!(error("heartbeat-timeout = '61m'").starts_with("heartbeat-timeout: 1h 1m"));
        assert!(error("message-bytes-max = '1GiB'").contains("may be 1 to 64MiB"));
        assert!(error("connections-max = 0").starts_with("connections-max: 0 is out"));
        assert!(error("topics-max = 1000000").contains("1 to 100000"));
        assert!(error("unacked-max = 0").contains("1 to 65536"));
        assert!(error("memory-bytes-max = '1KiB'").contains("1MiB to 1024GiB"));
        assert!(error("retain-bytes = 12").contains("1KiB to 1024GiB"));
        assert!(error("retain-age = '2years'").contains("1s to 365d"));
        assert!(error("drain-window = '1day'").contains("0s to 1h"));
        assert!(error("listen = 'nonsense'").starts_with("listen: \"nonsense\""));
        assert!(error("api-key = 'two words'").starts_with("api-key: "));
        assert!(error("url-topics = ['task', 'task']").starts_with("url-topics: "));
        assert!(error("open-websocket = true").starts_with("open-websocket: "));
        assert!(error("memory = true\ndata = 'd'").starts_with("memory: "));
        assert!(error("memory = true\naccept-data-loss = true").contains("no log on disk"));
        assert!(error("topic = 't messages=0'").starts_with("topic: messages: 0"));
        assert!(error("topic = '$presence:* disk'").contains("are in memory"));
        assert!(error("presence = '$presence:*'").starts_with("presence: $presence:*: "));
        assert!(error("presence-grace = '0s'").contains("may be 1s to 1h"));
    }

    #[test]
    fn bounds_on_publishes_and_memory_reach_the_hub() {
        let given = options("unacked-max = 7\nmemory-bytes-max = '3MiB'");
        let settings = format!("{:?}", Settings::check(&given).expect("in range"));
        for said in ["unacked_max: 7,", "hot_bytes_max: 3145728,"] {
            assert!(settings.contains(said), "{settings}");
        }
    }

    #[test]
    fn a_key_that_does_not_exist_is_named() {
        let error = toml::from_str::<Options>("hartbeat-interval = '5s'").expect_err("unknown");
        assert!(error.to_string().contains("hartbeat-interval"));
    }
}
