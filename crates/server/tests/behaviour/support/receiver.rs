//! A back end that webhooks post to: it checks every signature, and answers by script.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::stream::pending;
use heartwire_server::{Webhook, WebhookSecrets};
use http::{HeaderMap, StatusCode, header};
use ring::hmac;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::within;

/// How one request is answered; once the script is at its end, with 204.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Say {
    Status(u16),
    /// With this `Retry-After`.
    Later(u16, &'static str),
    /// With a redirection to the same address.
    Elsewhere,
    /// With 200, and a body that never ends.
    Endlessly,
    /// Never.
    Nothing,
}

/// A request that came, with a good signature.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Posted {
    pub(crate) id: String,
    pub(crate) body: Value,
    /// The signatures, one for each secret that the sender has.
    pub(crate) signatures: usize,
}

impl Posted {
    /// The texts of its messages.
    pub(crate) fn texts(&self) -> Vec<String> {
        let messages = self.body["messages"].as_array().into_iter().flatten();
        let texts = messages.map(|message| message["text"].as_str().expect("a text").to_owned());
        texts.collect()
    }
}

#[derive(Default)]
struct Inner {
    script: VecDeque<Say>,
    posted: Vec<Posted>,
    /// The texts of requests that were answered with 2xx, one after the other.
    taken: Vec<String>,
}

struct Shared {
    key: hmac::Key,
    inner: Mutex<Inner>,
    moved: watch::Sender<()>,
}

pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

/// A secret for tests; `number` makes others.
pub(crate) fn secret(number: u8) -> String {
    format!("whsec_{}", STANDARD.encode([number; 32]))
}

pub(crate) fn secrets(number: u8) -> WebhookSecrets {
    WebhookSecrets::parse(&secret(number)).expect("a secret")
}

/// A webhook of topics that nobody publishes to.
pub(crate) fn idle_webhook() -> Webhook {
    let topics = "nobody:*".parse().expect("a pattern");
    Webhook::new(topics, "http://127.0.0.1:9/", secrets(1)).expect("a URL")
}

impl Receiver {
    pub(crate) async fn start(script: &[Say]) -> Self {
        Self::knowing(1, script).await
    }

    /// The same with another secret.
    pub(crate) async fn knowing(number: u8, script: &[Say]) -> Self {
        let inner = Inner {
            script: script.iter().cloned().collect(),
            ..Inner::default()
        };
        let shared = Arc::new(Shared {
            key: hmac::Key::new(hmac::HMAC_SHA256, &[number; 32]),
            inner: Mutex::new(inner),
            moved: watch::Sender::new(()),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let app = Router::new().fallback(take).with_state(shared.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { address, shared }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook?token=swordfish", self.address)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        lock(&self.shared)
    }

    /// Adds to what is answered next.
    pub(crate) fn say(&self, script: &[Say]) {
        self.inner().script.extend(script.iter().cloned());
    }

    /// Everything that came.
    pub(crate) fn posted(&self) -> Vec<Posted> {
        self.inner().posted.clone()
    }

    /// The texts that were taken.
    pub(crate) fn taken(&self) -> Vec<String> {
        self.inner().taken.clone()
    }

    /// Waits until so many texts were taken; all of them.
    pub(crate) async fn takes(&self, count: usize) -> Vec<String> {
        self.until("messages", |inner| inner.taken.len() >= count)
            .await;
        self.taken()
    }

    /// Waits until so many requests came; all of them.
    pub(crate) async fn is_posted(&self, count: usize) -> Vec<Posted> {
        self.until("requests", |inner| inner.posted.len() >= count)
            .await;
        self.posted()
    }

    async fn until(&self, what: &str, holds: impl Fn(&Inner) -> bool) {
        let mut moved = self.shared.moved.subscribe();
        within(what, async {
            while !holds(&self.inner()) {
                moved.changed().await.expect("the receiver lives");
            }
        })
        .await;
    }
}

fn lock(shared: &Shared) -> MutexGuard<'_, Inner> {
    shared.inner.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn take(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    let posted = checked(&shared.key, &headers, &body);
    let say = {
        let mut inner = lock(&shared);
        let say = inner.script.pop_front().unwrap_or(Say::Status(204));
        if matches!(say, Say::Status(204) | Say::Endlessly) {
            inner.taken.extend(posted.texts());
        }
        inner.posted.push(posted);
        say
    };
    shared.moved.send_replace(());
    let status = |status| StatusCode::from_u16(status).expect("a status");
    match say {
        Say::Status(code) => status(code).into_response(),
        Say::Later(code, after) => (status(code), [(header::RETRY_AFTER, after)]).into_response(),
        Say::Elsewhere => (
            StatusCode::TEMPORARY_REDIRECT,
            [(header::LOCATION, "/elsewhere")],
        )
            .into_response(),
        Say::Endlessly => Body::from_stream(pending::<io::Result<Bytes>>()).into_response(),
        Say::Nothing => std::future::pending().await,
    }
}

/// As a receiver has to: the signature first, then the age, then the content.
fn checked(key: &hmac::Key, headers: &HeaderMap, body: &[u8]) -> Posted {
    let header = |name: &str| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_else(|| panic!("no {name}")).to_owned()
    };
    let (id, timestamp) = (header("webhook-id"), header("webhook-timestamp"));
    let mut signed = format!("{id}.{timestamp}.").into_bytes();
    signed.extend_from_slice(body);
    let signatures = header("webhook-signature");
    let is_good = signatures.split(' ').any(|signature| {
        let signature = signature.strip_prefix("v1,").expect("version 1");
        let signature = STANDARD.decode(signature).expect("base64");
        hmac::verify(key, &signed, &signature).is_ok()
    });
    assert!(is_good, "a good signature among {signatures}");
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = now.expect("after 1970").as_secs();
    assert!(timestamp.parse::<u64>().expect("seconds").abs_diff(now) < 300);
    assert_eq!(header("content-type"), "application/json");
    Posted {
        id,
        body: serde_json::from_slice(body).expect("JSON"),
        signatures: signatures.split(' ').count(),
    }
}
