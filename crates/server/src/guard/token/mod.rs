//! JSON Web Tokens: who somebody is, until when, and which topics are theirs.
//!
//! ```json
//! {"sub": "ann", "exp": 1790000000, "heartwire": {"subscribe": ["news:*"], "publish": ["inbox"]}}
//! ```

mod keys;
mod ring;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use heartwire_hub::{Grant, Pattern};
use heartwire_proto::limits::JSON_BYTES_MAX;
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::{Validation, decode, decode_header};
use serde::Deserialize;

use super::check::Refusal;
use super::file::{FileError, Watched};
use keys::{Key, Keys};

/// How far an issuer's clock may be ahead, in seconds: a token that begins later is refused. Its
/// end is kept to the second.
const NOT_BEFORE_LEEWAY_S: u64 = 60;
/// The longest identity, in bytes; it is kept for each connection.
const SUBJECT_BYTES_MAX: usize = 1_024;
/// A grant that lasts longer than the hub is as good as one for this long.
const VALIDITY_MAX: Duration = Duration::from_secs(10 * 365 * 86_400);

/// How tokens are checked: by which keys, and for which audience.
///
/// Accepted are HS256 with a secret, and RS256, ES256 and EdDSA (Ed25519) with public keys. A key is
/// good for the algorithm that it was made for and no other, whatever a token says.
#[derive(Clone, Debug)]
pub struct Tokens {
    keys: Source,
    audience: Option<String>,
}

#[derive(Clone)]
enum Source {
    Fixed(Arc<Keys>),
    File(Arc<Watched<Keys>>),
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Fixed(_) => f.write_str("Keys(secret)"),
            Self::File(file) => file.fmt(f),
        }
    }
}

/// The secret is empty.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the secret is empty")]
pub struct EmptySecret;

impl Tokens {
    /// Tokens signed with a shared secret (HS256). One of 32 random bytes or more cannot be guessed
    /// from a token; white space around it does not count.
    ///
    /// # Errors
    ///
    /// When it is empty.
    pub fn secret(secret: &str) -> Result<Self, EmptySecret> {
        let keys = Keys::secret(secret.as_bytes()).map_err(|_| EmptySecret)?;
        Ok(Self::by(Source::Fixed(Arc::new(keys))))
    }

    /// The same with a file that holds the secret; it is read again when it changes.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or is empty.
    pub fn secret_file(path: impl Into<PathBuf>) -> Result<Self, FileError> {
        Self::by_file(path.into(), |contents| Keys::secret(first(contents)))
    }

    /// Tokens signed by whoever holds the other half of a public key: PEM, one or several, or a
    /// JWKS, whose `kid` chooses. The file is read again when it changes.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or holds no key that can be used.
    pub fn public_keys_file(path: impl Into<PathBuf>) -> Result<Self, FileError> {
        Self::by_file(path.into(), |contents| Keys::public(first(contents)))
    }

    fn by_file(
        path: PathBuf,
        parse: fn(&[Vec<u8>]) -> Result<Keys, String>,
    ) -> Result<Self, FileError> {
        let file = Watched::open(vec![path], parse)?;
        Ok(Self::by(Source::File(Arc::new(file))))
    }

    const fn by(keys: Source) -> Self {
        let audience = None;
        Self { keys, audience }
    }

    /// The name that a token has to hold in `aud`. Without one, tokens that are made for a certain
    /// audience are refused, as it may be another.
    #[must_use]
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audience = Some(audience.into());
        self
    }

    /// Reads the file again, if it is one.
    pub(crate) fn reload(&self) {
        if let Source::File(file) = &self.keys {
            file.reload();
        }
    }

    /// What a token grants.
    pub(crate) fn grant(&self, token: &str) -> Result<Grant, Refusal> {
        let claims = self.claims(token)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let left_s = claims.exp - now.unwrap_or_default().as_secs_f64();
        let left = Duration::from_secs_f64(left_s.clamp(0.0, VALIDITY_MAX.as_secs_f64()));
        if left.is_zero() {
            return Err(Refusal::expired("the token has run out"));
        }
        if claims.sub.is_empty() || claims.sub.len() > SUBJECT_BYTES_MAX {
            return Err(refused("sub is 1-1024 bytes"));
        }
        let grant = Grant::new(claims.sub).valid_for(left);
        let grant = add(grant, claims.heartwire.subscribe, Grant::subscribe)?;
        add(grant, claims.heartwire.publish, Grant::publish)
    }

    fn claims(&self, token: &str) -> Result<Claims, Refusal> {
        if token.len() > JSON_BYTES_MAX {
            return Err(refused("the token is larger than 16 KiB"));
        }
        ring::install();
        let header = decode_header(token).map_err(|_| {
            refused("this is no JSON Web Token, or its alg is not HS256, RS256, ES256 or EdDSA")
        })?;
        let keys = match &self.keys {
            Source::Fixed(keys) => keys.clone(),
            Source::File(file) => file.get(),
        };
        let mut outcome = Err(refused(
            "no key of this server is for the token's alg and kid",
        ));
        for key in keys.candidates(header.alg, header.kid.as_deref()) {
            outcome = match decode::<Claims>(token, &key.key, &self.validation(key)) {
                Ok(token) => return Ok(token.claims),
                Err(error) if matches!(error.kind(), ErrorKind::InvalidSignature) => Err(refused(
                    "the token's signature is not by a key of this server",
                )),
                Err(error) => return Err(refused(reason(&error))),
            };
        }
        outcome
    }

    fn validation(&self, key: &Key) -> Validation {
        let mut validation = Validation::new(key.algorithm);
        // The end is judged with more precision than whole seconds, and without leeway.
        validation.validate_exp = false;
        validation.validate_nbf = true;
        validation.leeway = NOT_BEFORE_LEEWAY_S;
        let mut required = vec!["exp", "sub"];
        if let Some(audience) = &self.audience {
            validation.set_audience(&[audience]);
            required.push("aud");
        }
        validation.set_required_spec_claims(&required);
        validation
    }
}

fn first(contents: &[Vec<u8>]) -> &[u8] {
    contents.first().map_or(&[], Vec::as_slice)
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
    /// Seconds since 1970, with a fraction perhaps.
    exp: f64,
    #[serde(default)]
    heartwire: Topics,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Topics {
    subscribe: Vec<String>,
    publish: Vec<String>,
}

fn add(
    grant: Grant,
    topics: Vec<String>,
    add: impl Fn(Grant, Pattern) -> Grant,
) -> Result<Grant, Refusal> {
    topics.into_iter().try_fold(grant, |grant, topics| {
        let pattern = topics.parse().map_err(|_| {
            refused("the token grants what is no topic, nor the beginning of one and *")
        })?;
        Ok(add(grant, pattern))
    })
}

fn reason(error: &Error) -> &'static str {
    match error.kind() {
        ErrorKind::InvalidAudience => "the token is for another audience",
        ErrorKind::ImmatureSignature => "the token is not valid yet",
        ErrorKind::MissingRequiredClaim(_) => "the token lacks sub, exp or aud",
        ErrorKind::Json(_) => "the token's claims are not of the form that this server knows",
        _ => "the token is not valid",
    }
}

fn refused(reason: &'static str) -> Refusal {
    Refusal::unauthorized(reason)
}
