//! What a webhook is told before it starts.

use std::time::Duration;

use heartwire_log::Pattern;
use http::Uri;

use super::secrets::WebhookSecrets;

/// The longest name of a webhook, in bytes: a pattern fits.
const NAME_BYTES_MAX: usize = 201;

/// How many messages one request may hold at most.
const BATCH_MAX: usize = 1_000;

/// How long a request may take, from the first look for a connection to the head of the answer.
const TIMEOUT_MIN: Duration = Duration::from_millis(100);
const TIMEOUT_MAX: Duration = Duration::from_secs(120);
const TIMEOUT: Duration = Duration::from_secs(10);

/// Where a topic begins that a webhook has no cursor of.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Begins {
    /// At its first message; what of it is gone already is named.
    Start,
    /// At the oldest message retained, when the webhook itself is new.
    Head,
    /// Behind the newest, when the webhook itself is new.
    Tail,
}

/// Messages of some topics are posted to a URL: in order for each topic, at least once, signed.
///
/// ```
/// use heartwire_server::{Hub, Webhook, WebhookSecrets};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let secrets = WebhookSecrets::parse("whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=")?;
/// let hook = Webhook::new("inbox".parse()?, "http://127.0.0.1:8080/heartwire", secrets)?;
/// let hub = Hub::builder().webhook(hook).open().await?;
/// # drop(hub);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Webhook {
    pub(super) name: String,
    pub(super) topics: Pattern,
    pub(super) url: Uri,
    pub(super) secrets: WebhookSecrets,
    pub(super) begins: Begins,
    pub(super) batch_max: usize,
    pub(super) timeout: Duration,
}

/// Why there is no such webhook.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WebhookError {
    /// The URL cannot be posted to.
    #[error(
        "the URL of a webhook is http:// or https://, a host without user or password, a path and a query"
    )]
    Url,
    /// The name is too long, empty, or has characters that names do not have.
    #[error(
        "the name of a webhook is 1 to {NAME_BYTES_MAX} printable ASCII characters without / \" and \\"
    )]
    Name,
    /// The number of messages is out of range.
    #[error("a request of a webhook holds 1 to {BATCH_MAX} messages")]
    Batch,
    /// The time is out of range.
    #[error("a request of a webhook may take {TIMEOUT_MIN:?} to {TIMEOUT_MAX:?}")]
    Timeout,
}

impl Webhook {
    /// Posts messages of these topics to this URL. The webhook is named after the topics.
    ///
    /// # Errors
    ///
    /// [`WebhookError::Url`].
    pub fn new(topics: Pattern, url: &str, secrets: WebhookSecrets) -> Result<Self, WebhookError> {
        let url: Uri = url.parse().map_err(|_| WebhookError::Url)?;
        let is_http = matches!(url.scheme_str(), Some("http" | "https"));
        let has_user = url
            .authority()
            .is_none_or(|host| host.as_str().contains('@'));
        if !is_http || has_user || url.host().is_none_or(str::is_empty) {
            return Err(WebhookError::Url);
        }
        Ok(Self {
            name: topics.to_string(),
            topics,
            url,
            secrets,
            begins: Begins::Tail,
            batch_max: 1,
            timeout: TIMEOUT,
        })
    }

    /// Another name than the topics'. Cursors are kept under it, so that topics and URL may change.
    ///
    /// # Errors
    ///
    /// [`WebhookError::Name`].
    pub fn name(mut self, name: impl Into<String>) -> Result<Self, WebhookError> {
        self.name = name.into();
        let is_of_names = |byte: u8| byte.is_ascii_graphic() && !b"/\"\\".contains(&byte);
        let is_name = (1..=NAME_BYTES_MAX).contains(&self.name.len());
        if is_name && self.name.bytes().all(is_of_names) {
            Ok(self)
        } else {
            Err(WebhookError::Name)
        }
    }

    /// Up to so many messages of a topic in one request, 1 unless set. With more of them the
    /// receiver tells repetitions by the offsets of the messages alone.
    ///
    /// # Errors
    ///
    /// [`WebhookError::Batch`], unless it is 1 to 1,000.
    pub fn batch(mut self, messages: usize) -> Result<Self, WebhookError> {
        self.batch_max = messages;
        match messages {
            1..=BATCH_MAX => Ok(self),
            _ => Err(WebhookError::Batch),
        }
    }

    /// How long a request may take, 10 s unless set.
    ///
    /// # Errors
    ///
    /// [`WebhookError::Timeout`], unless it is 0.1 s to 2 min.
    pub fn timeout(mut self, timeout: Duration) -> Result<Self, WebhookError> {
        self.timeout = timeout;
        if (TIMEOUT_MIN..=TIMEOUT_MAX).contains(&timeout) {
            Ok(self)
        } else {
            Err(WebhookError::Timeout)
        }
    }

    /// When the webhook is new, it begins with the oldest messages retained. Unless this is said it
    /// begins with what comes.
    #[must_use]
    pub const fn from_head(mut self) -> Self {
        self.begins = Begins::Head;
        self
    }

    /// What it is called.
    pub fn called(&self) -> &str {
        &self.name
    }

    /// Whose messages it posts.
    pub(crate) const fn topics(&self) -> &Pattern {
        &self.topics
    }

    /// Whether messages travel by TLS.
    pub(super) fn is_encrypted(&self) -> bool {
        self.url.scheme_str() == Some("https")
    }

    /// The URL without its query, which may hold a secret.
    pub(crate) fn shown_url(&self) -> String {
        let (scheme, host) = (self.url.scheme_str(), self.url.authority());
        let host = host.map_or("", |host| host.as_str());
        format!("{}://{host}{}", scheme.unwrap_or_default(), self.url.path())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hook(url: &str) -> Result<Webhook, WebhookError> {
        let secrets = WebhookSecrets::parse(&"A".repeat(32)).expect("a secret");
        Webhook::new("news:*".parse().expect("a pattern"), url, secrets)
    }

    #[test]
    fn a_url_is_of_http_and_names_nobody() {
        for right in [
            "http://127.0.0.1:9/x?k=1",
            "https://back.example",
            "http://[::1]:9/",
        ] {
            assert!(hook(right).is_ok(), "{right}");
        }
        for wrong in [
            "",
            "back.example",
            "/path",
            "ftp://back.example/",
            "http://",
            "http://user:pass@back.example/",
        ] {
            assert_eq!(hook(wrong).err(), Some(WebhookError::Url), "{wrong}");
        }
    }

    #[test]
    fn what_is_shown_of_it_holds_no_secret() {
        let hook = hook("https://back.example:8443/hook/path?token=swordfish").expect("a URL");
        let shown = hook.shown_url();
        assert_eq!(shown, "https://back.example:8443/hook/path");
    }

    #[test]
    fn numbers_and_names_have_bounds() {
        let hook = || hook("http://back.example").expect("a URL");
        assert_eq!(hook().name, "news:*");
        assert!(hook().name("billing").is_ok() && hook().name("").is_err());
        assert!(hook().name("two words").is_err() && hook().name("a/b").is_err());
        assert!(hook().name("n".repeat(201)).is_ok() && hook().name("n".repeat(202)).is_err());
        assert!(hook().batch(1_000).is_ok() && hook().batch(0).is_err());
        assert!(hook().batch(1_001).is_err());
        assert!(hook().timeout(TIMEOUT_MIN).is_ok() && hook().timeout(TIMEOUT_MAX).is_ok());
        assert!(hook().timeout(Duration::ZERO).is_err());
    }
}
