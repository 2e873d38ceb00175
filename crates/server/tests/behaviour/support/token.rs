//! Issuers of tokens, honest and otherwise.

use std::fs;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use ring::{hmac, signature::KeyPair as _};
use serde_json::{Value, json};

/// Made for these tests, and good for nothing else.
const RSA: &str = include_str!("rsa-for-tests.pem");

/// Somebody who signs tokens.
pub(crate) enum Issuer {
    Secret(String),
    Rsa(rcgen::KeyPair),
    Ec(rcgen::KeyPair),
    Ed(rcgen::KeyPair),
}

impl Issuer {
    pub(crate) fn secret(secret: &str) -> Self {
        Self::Secret(secret.to_owned())
    }

    pub(crate) fn rsa() -> Self {
        Self::Rsa(rcgen::KeyPair::from_pem(RSA).expect("a key"))
    }

    pub(crate) fn ec() -> Self {
        let made = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256);
        Self::Ec(made.expect("a key"))
    }

    pub(crate) fn ed() -> Self {
        let made = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519);
        Self::Ed(made.expect("a key"))
    }

    const fn algorithm(&self) -> &'static str {
        match self {
            Self::Secret(_) => "HS256",
            Self::Rsa(_) => "RS256",
            Self::Ec(_) => "ES256",
            Self::Ed(_) => "EdDSA",
        }
    }

    /// The public key, as PEM.
    pub(crate) fn pem(&self) -> String {
        match self {
            Self::Secret(secret) => secret.clone(),
            Self::Rsa(pair) | Self::Ec(pair) | Self::Ed(pair) => pair.public_key_pem(),
        }
    }

    /// The public key in a JWKS.
    pub(crate) fn jwk(&self, id: &str) -> Value {
        let base64 = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let mut key = match self {
            Self::Secret(secret) => json!({ "kty": "oct", "k": base64(secret.as_bytes()) }),
            Self::Rsa(pair) => {
                let pair = RsaKeyPair::from_pkcs8(&pair.serialize_der()).expect("a key");
                let public = ring::rsa::PublicKeyComponents::<Vec<u8>>::from(pair.public_key());
                json!({ "kty": "RSA", "n": base64(&public.n), "e": base64(&public.e) })
            }
            Self::Ec(pair) => {
                let (x, y) = pair.public_key_raw()[1..].split_at(32);
                json!({ "kty": "EC", "crv": "P-256", "x": base64(x), "y": base64(y) })
            }
            Self::Ed(pair) => {
                let x = base64(pair.public_key_raw());
                json!({ "kty": "OKP", "crv": "Ed25519", "x": x })
            }
        };
        key["kid"] = id.into();
        key["use"] = "sig".into();
        key
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Secret(secret) => hmac_of(secret.as_bytes(), message),
            Self::Rsa(pair) => {
                let pair = RsaKeyPair::from_pkcs8(&pair.serialize_der()).expect("a key");
                let mut signature = vec![0; pair.public().modulus_len()];
                let signed = pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature);
                signed.expect("it signs");
                signature
            }
            Self::Ec(pair) => {
                let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
                let pair = EcdsaKeyPair::from_pkcs8(algorithm, &pair.serialize_der(), &random);
                let signature = pair.expect("a key").sign(&random, message);
                signature.expect("it signs").as_ref().to_vec()
            }
            Self::Ed(pair) => {
                let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&pair.serialize_der());
                pair.expect("a key").sign(message).as_ref().to_vec()
            }
        }
    }

    /// A token with these claims.
    pub(crate) fn token(&self, claims: &Value) -> String {
        self.token_with(&json!({ "alg": self.algorithm(), "typ": "JWT" }), claims)
    }

    /// The same, which names its key.
    pub(crate) fn token_by(&self, id: &str, claims: &Value) -> String {
        self.token_with(&json!({ "alg": self.algorithm(), "kid": id }), claims)
    }

    /// The same with a header that may lie.
    pub(crate) fn token_with(&self, header: &Value, claims: &Value) -> String {
        assemble(header, claims, |message| self.sign(message))
    }
}

/// A token that says HS256 and is signed with what the server knows as a public key.
pub(crate) fn confused(public: &str, claims: &Value) -> String {
    let header = json!({ "alg": "HS256" });
    assemble(&header, claims, |message| {
        hmac_of(public.as_bytes(), message)
    })
}

/// A token that nobody signed.
pub(crate) fn unsigned(claims: &Value) -> String {
    assemble(&json!({ "alg": "none" }), claims, |_| Vec::new())
}

fn assemble(header: &Value, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(header), part(claims));
    let signature = URL_SAFE_NO_PAD.encode(sign(message.as_bytes()));
    format!("{message}.{signature}")
}

fn hmac_of(key: &[u8], message: &[u8]) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    hmac::sign(&key, message).as_ref().to_vec()
}

/// The time that tokens speak of.
pub(crate) fn now_s() -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.expect("after 1970").as_secs_f64()
}

/// Claims of somebody who may do this for an hour.
pub(crate) fn claims(subject: &str, subscribe: &[&str], publish: &[&str]) -> Value {
    lasting(3_600.0, subject, subscribe, publish)
}

/// The same for so many seconds.
pub(crate) fn lasting(seconds: f64, subject: &str, subscribe: &[&str], publish: &[&str]) -> Value {
    json!({
        "sub": subject,
        "exp": now_s() + seconds,
        "heartwire": { "subscribe": subscribe, "publish": publish },
    })
}

/// A file that goes away with the test.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str, content: &str) -> Self {
        let file = format!("{}-{name}", std::process::id());
        let scratch = Self(PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(file));
        scratch.write(content);
        scratch
    }

    pub(crate) fn write(&self, content: &str) {
        fs::write(&self.0, content).expect("it can be written");
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
