//! The keys that tokens are checked with: a secret, PEM, or a JWKS.

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

/// How many keys a file may hold; each may have to be tried for one token.
const KEYS_MAX: usize = 32;
/// The bytes of an uncompressed point of P-256.
const P256_POINT_BYTES: usize = 65;
/// The bytes of an Ed25519 public key.
const ED25519_BYTES: usize = 32;

/// One key, good for one algorithm.
pub(super) struct Key {
    pub(super) algorithm: Algorithm,
    /// Its name, which a token may ask for.
    id: Option<String>,
    pub(super) key: DecodingKey,
}

/// All keys of one server.
pub(crate) struct Keys(Vec<Key>);

impl Keys {
    /// A shared secret, for HS256.
    pub(crate) fn secret(secret: &[u8]) -> Result<Self, String> {
        let secret = secret.trim_ascii();
        let key = DecodingKey::from_secret(secret).map_err(|_| "the secret is empty".to_owned())?;
        Ok(Self(vec![Key::new(key, None)?]))
    }

    /// Public keys as PEM, one or several, or a JWKS. A secret hides in a JWKS alone, as `oct`.
    pub(crate) fn public(content: &[u8]) -> Result<Self, String> {
        let keys = match content.trim_ascii_start().first() {
            Some(b'{') => jwks(content)?,
            _ => pem(content)?,
        };
        match keys.len() {
            0 => Err("it holds no key for HS256, RS256, ES256 or EdDSA".to_owned()),
            1..=KEYS_MAX => Ok(Self(keys)),
            more => Err(format!("it holds {more} keys; at most {KEYS_MAX} are read")),
        }
    }

    /// Those with which a token of this algorithm and key id may have been signed.
    pub(super) fn candidates<'a>(
        &'a self,
        algorithm: Algorithm,
        id: Option<&'a str>,
    ) -> impl Iterator<Item = &'a Key> {
        self.0.iter().filter(move |key| {
            let is_named = match (id, key.id.as_deref()) {
                (Some(asked), Some(known)) => asked == known,
                _ => true,
            };
            key.algorithm == algorithm && is_named
        })
    }
}

impl Key {
    fn new(key: DecodingKey, id: Option<String>) -> Result<Self, String> {
        let bytes = key.try_get_as_bytes().map_or(0, <[u8]>::len);
        let algorithm = match key.family() {
            AlgorithmFamily::Hmac => Algorithm::HS256,
            AlgorithmFamily::Rsa => Algorithm::RS256,
            AlgorithmFamily::Ec if bytes == P256_POINT_BYTES => Algorithm::ES256,
            AlgorithmFamily::Ec => return Err("a key is not of the curve P-256".to_owned()),
            AlgorithmFamily::Ed if bytes == ED25519_BYTES => Algorithm::EdDSA,
            AlgorithmFamily::Ed => return Err("a key is not of the curve Ed25519".to_owned()),
        };
        Ok(Self { algorithm, id, key })
    }
}

fn pem(content: &[u8]) -> Result<Vec<Key>, String> {
    const BEGIN: &str = "-----BEGIN ";
    let text = std::str::from_utf8(content).map_err(|_| "it is not text".to_owned())?;
    let blocks = text.split(BEGIN).skip(1);
    blocks.map(|block| pem_block(BEGIN, block)).collect()
}

fn pem_block(begin: &str, block: &str) -> Result<Key, String> {
    if !block.starts_with("PUBLIC KEY-") && !block.starts_with("RSA PUBLIC KEY-") {
        return Err("it holds something else than public keys".to_owned());
    }
    let block = format!("{begin}{block}");
    let block = block.as_bytes();
    let key = DecodingKey::from_rsa_pem(block)
        .or_else(|_| DecodingKey::from_ec_pem(block))
        .or_else(|_| DecodingKey::from_ed_pem(block))
        .map_err(|_| "a key is neither RSA nor P-256 nor Ed25519".to_owned())?;
    Key::new(key, None)
}

/// Keys for other algorithms and purposes are left out: issuers publish them side by side.
fn jwks(content: &[u8]) -> Result<Vec<Key>, String> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<Value>,
    }
    let set: Set = serde_json::from_slice(content)
        .map_err(|error| format!("it is no JWKS: line {}", error.line()))?;
    Ok(set.keys.into_iter().filter_map(of_jwk).collect())
}

fn of_jwk(jwk: Value) -> Option<Key> {
    let jwk: Jwk = serde_json::from_value(jwk).ok()?;
    let is_for_signatures = matches!(
        jwk.common.public_key_use,
        None | Some(PublicKeyUse::Signature)
    );
    let has_our_curve = match &jwk.algorithm {
        AlgorithmParameters::EllipticCurve(key) => key.curve == EllipticCurve::P256,
        AlgorithmParameters::OctetKeyPair(key) => key.curve == EllipticCurve::Ed25519,
        _ => true,
    };
    if !is_for_signatures || !has_our_curve {
        return None;
    }
    let key = Key::new(DecodingKey::from_jwk(&jwk).ok()?, jwk.common.key_id).ok()?;
    let said = jwk.common.key_algorithm.map(|said| said.to_string());
    said.is_none_or(|said| said == format!("{:?}", key.algorithm))
        .then_some(key)
}
