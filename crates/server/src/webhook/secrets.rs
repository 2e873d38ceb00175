//! What requests are signed with, and how: the signatures of Standard Webhooks, version 1.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac::{Context, HMAC_SHA256, Key};

use crate::guard::{FileError, Watched};

/// How many secrets may be good at once: a rotation takes two.
const SECRETS_MAX: usize = 4;
/// How long a secret is, in bytes: shorter ones can be found by trying, longer ones are no better.
const SECRET_BYTES_MIN: usize = 24;
const SECRET_BYTES_MAX: usize = 64;
/// How secrets begin that say what they are.
const PREFIX: &str = "whsec_";

/// The secrets of a webhook. Each request carries a signature by each of them, so that a receiver
/// may know the old one or the new one during a rotation.
#[derive(Clone)]
pub struct WebhookSecrets(Held);

#[derive(Clone)]
enum Held {
    Given(Arc<Vec<Key>>),
    InFile(Arc<Watched<Vec<Key>>>),
}

/// The text holds no secrets, or others than they are to be. Says nothing of what it holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "a webhook has 1 to {SECRETS_MAX} secrets, one a line: {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX} \
     random bytes in base64, with or without {PREFIX} before them"
)]
pub struct WebhookSecretsError;

impl WebhookSecrets {
    /// Secrets in base64, one a line, with or without `whsec_` before them.
    ///
    /// # Errors
    ///
    /// When there is none, or one is not 24 to 64 bytes in base64.
    pub fn parse(text: &str) -> Result<Self, WebhookSecretsError> {
        let keys = keys(text.as_bytes()).ok_or(WebhookSecretsError)?;
        Ok(Self(Held::Given(Arc::new(keys))))
    }

    /// The same in a file, which is read again within a second of a change.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or holds something else.
    pub fn file(path: impl Into<PathBuf>) -> Result<Self, FileError> {
        let parse = |contents: &[Vec<u8>]| {
            let keys = contents.first().and_then(|content| keys(content));
            keys.ok_or_else(|| WebhookSecretsError.to_string())
        };
        let watched = Watched::open(vec![path.into()], parse)?;
        Ok(Self(Held::InFile(Arc::new(watched))))
    }

    /// Reads the file again. Blocks for as long as the file system does.
    pub(super) fn reload(&self) {
        if let Held::InFile(file) = &self.0 {
            file.reload();
        }
    }

    /// The value of `webhook-signature`: over id, time and body, one for each secret.
    pub(super) fn sign(&self, id: &str, timestamp: u64, body: &[u8]) -> String {
        let keys = match &self.0 {
            Held::Given(keys) => keys.clone(),
            Held::InFile(file) => file.get(),
        };
        let signatures = keys.iter().map(|key| {
            let mut signing = Context::with_key(key);
            signing.update(format!("{id}.{timestamp}.").as_bytes());
            signing.update(body);
            format!("v1,{}", STANDARD.encode(signing.sign()))
        });
        signatures.collect::<Vec<_>>().join(" ")
    }
}

impl fmt::Debug for WebhookSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecrets")
    }
}

fn keys(text: &[u8]) -> Option<Vec<Key>> {
    let text = str::from_utf8(text).ok()?;
    let lines = text.lines().map(str::trim);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    let keys = lines.map(|line| {
        let secret = STANDARD
            .decode(line.strip_prefix(PREFIX).unwrap_or(line))
            .ok()?;
        let is_secret = (SECRET_BYTES_MIN..=SECRET_BYTES_MAX).contains(&secret.len());
        is_secret.then(|| Key::new(HMAC_SHA256, &secret))
    });
    let keys: Vec<Key> = keys.collect::<Option<_>>()?;
    (1..=SECRETS_MAX).contains(&keys.len()).then_some(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Worked out with Python's `hmac` and `base64`.
    #[test]
    fn a_signature_is_what_others_make_of_it() {
        let secret = "whsec_aGVhcnRzIGJlYXQsIG9yIHRoZXkgYXJlIG5vIG1vcmU=";
        let secrets = WebhookSecrets::parse(secret).expect("a secret");
        let signature = secrets.sign("msg_7", 1_795_468_747, b"{\"beat\":true}");
        assert_eq!(signature, "v1,RyPpG7Of5ZU0pdmPvF/RD5KQywFUPPDCHnBeqkcsiEo=");
    }

    #[test]
    fn each_secret_signs() {
        let (old, new) = ("A".repeat(32), "B".repeat(32));
        let alone = |secret: &str| {
            WebhookSecrets::parse(secret)
                .expect("a secret")
                .sign("id", 7, b"x")
        };
        let both = WebhookSecrets::parse(&format!("# new\nwhsec_{new}\n\n{old}\n")).expect("two");
        assert_eq!(
            both.sign("id", 7, b"x"),
            format!("{} {}", alone(&new), alone(&old))
        );
        assert_ne!(alone(&new), alone(&old));
    }

    #[test]
    fn what_is_no_secret_is_refused_and_not_shown() {
        let five = format!("{}\n", "A".repeat(32)).repeat(5);
        for wrong in [
            "",
            "# nothing",
            "swordfish",
            "whsec_AAAA",
            five.as_str(),
            "ü",
        ] {
            let error = WebhookSecrets::parse(wrong).expect_err(wrong);
            assert!(!error.to_string().contains("swordfish"));
        }
    }
}
