//! API keys.

use std::fmt;

use subtle::ConstantTimeEq;

/// How many keys a file may hold: more than any rotation needs.
const KEYS_MAX: usize = 1_000;

/// A secret that opens `/v1/*`, sent as `Authorization: Bearer KEY`. It never appears in logs.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(Box<str>);

/// A key that cannot travel in a header.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("an API key is at least one visible ASCII character, without spaces")]
pub struct ApiKeyError;

impl ApiKey {
    /// Checks that the key can be sent in a header.
    pub fn new(key: &str) -> Result<Self, ApiKeyError> {
        if !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Self(key.into()))
        } else {
            Err(ApiKeyError)
        }
    }

    /// Takes the same time whatever the first difference is; only the length shows.
    fn matches(&self, given: &str) -> bool {
        self.0.as_bytes().ct_eq(given.as_bytes()).into()
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(secret)")
    }
}

/// Whether it is one of the keys. Every key is compared, so that the time does not tell which one
/// came close.
pub(super) fn is_known(given: &str, keys: &[ApiKey]) -> bool {
    keys.iter()
        .fold(false, |known, key| key.matches(given) | known)
}

/// The keys in a file, one a line; blank lines do not count.
pub(super) fn lines(content: &[u8]) -> Result<Vec<ApiKey>, String> {
    let text = std::str::from_utf8(content).map_err(|_| "it is not text".to_owned())?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let keys: Vec<ApiKey> = lines
        .map(ApiKey::new)
        .collect::<Result<_, _>>()
        .map_err(|error| error.to_string())?;
    match keys.len() {
        0 => Err("it holds no key".to_owned()),
        1..=KEYS_MAX => Ok(keys),
        more => Err(format!("it holds {more} keys; at most {KEYS_MAX} are read")),
    }
}
