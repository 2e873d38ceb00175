//! Posting over HTTP. Decides nothing: what an answer means is [`answer`](super::answer)'s to say.

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use heartwire_proto::WallTime;
use http::{HeaderValue, Method, Response, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls_platform_verifier::Verifier;
use tokio::time::timeout;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{self, ClientConfig};

use super::answer::{Answer, retry_after};
use super::batch::Request;
use super::config::Webhook;

/// How long a connection may take to be there.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// How long a connection is kept that nobody uses: less than receivers do, as a rule.
const IDLE_MAX: Duration = Duration::from_secs(30);
/// How many such connections to one host.
const IDLE_CONNECTIONS_MAX: usize = 8;
/// How much of an answer's body is read, so that the connection can be used again, in bytes.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// How long that may take.
const BODY_WITHIN: Duration = Duration::from_secs(1);

/// A client for all webhooks. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Sender {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl Sender {
    /// Reads the platform's trust store, if anything is encrypted. Blocks for as long as that takes.
    pub(super) fn make(is_encrypted: bool) -> Result<Self, rustls::Error> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_WITHIN));
        let https = HttpsConnectorBuilder::new()
            .with_tls_config(tls(is_encrypted)?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_MAX)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .build(https);
        Ok(Self { client })
    }

    /// Posts a request, and waits for the answer as long as the webhook allows. Redirections are
    /// answers, and are not followed: a signed message goes where the operator said, or nowhere.
    pub(super) async fn post(&self, hook: &Webhook, request: &Request, wall: WallTime) -> Answer {
        let answering = self.client.request(signed(hook, request, wall));
        match timeout(hook.timeout, answering).await {
            Ok(Ok(response)) => answer(response, wall).await,
            Ok(Err(error)) => Answer::unreachable(&explained(&error)),
            Err(_) => Answer::Silent,
        }
    }
}

fn signed(hook: &Webhook, request: &Request, wall: WallTime) -> http::Request<Full<Bytes>> {
    let timestamp = wall.as_unix_millis() / 1_000;
    let body = Bytes::from(request.body.clone());
    let signature = hook.secrets.sign(&request.id, timestamp, &body);
    let mut post = http::Request::new(Full::new(body));
    *post.method_mut() = Method::POST;
    *post.uri_mut() = hook.url.clone();
    let agent = concat!("heartwire/", env!("CARGO_PKG_VERSION"));
    let headers = post.headers_mut();
    headers.insert(header::USER_AGENT, HeaderValue::from_static(agent));
    let json = HeaderValue::from_static("application/json");
    headers.insert(header::CONTENT_TYPE, json);
    let text = |text: &str| HeaderValue::from_str(text).expect("digits and base64");
    headers.insert("webhook-id", text(&request.id));
    headers.insert("webhook-timestamp", timestamp.into());
    headers.insert("webhook-signature", text(&signature));
    post
}

/// The status counts; of the body so much is read that the connection can be used again.
async fn answer(response: Response<Incoming>, wall: WallTime) -> Answer {
    let now = SystemTime::UNIX_EPOCH + Duration::from_millis(wall.as_unix_millis());
    let named = response.headers().get(header::RETRY_AFTER);
    let named = named.and_then(|value| value.to_str().ok());
    let answer = Answer::Status {
        status: response.status().as_u16(),
        retry_after: named.and_then(|value| retry_after(value, now)),
    };
    // A longer body, or one without an end, costs its connection and changes nothing about the answer.
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX);
    let _ = timeout(BODY_WITHIN, body.collect()).await;
    answer
}

fn tls(is_encrypted: bool) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&TLS13, &TLS12])?;
    Ok(if is_encrypted {
        let verifier = Arc::new(Verifier::new(provider)?);
        let builder = builder
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        builder.with_no_client_auth()
    } else {
        let nobody = rustls::RootCertStore::empty();
        builder.with_root_certificates(nobody).with_no_client_auth()
    })
}

/// The cause, which hides behind the client's own words; no part of the URL.
fn explained(error: &Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    let what = match (error.is_connect(), cause.downcast_ref::<io::Error>()) {
        (true, Some(io)) if io.kind() == io::ErrorKind::TimedOut => {
            return "cannot connect: no answer in time".to_owned();
        }
        (true, _) => "cannot connect",
        (false, _) => "the connection broke",
    };
    format!("{what}: {cause}")
}
