//! HTTP parameters: paths, queries, headers, lines and tokens, through the routes that serve users.

use std::cell::RefCell;

use arbitrary::{Result, Unstructured};
use axum::Router;
use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use heartwire_hub::Pattern;
use heartwire_proto::{Cursor, TopicName};
use heartwire_server::{Hub, Tokens, UrlTopics};
use http::{HeaderName, HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::BodyExt as _;
use tower_service::Service as _;

const SECRET: &str = "made for the fuzzer, good for nothing else";
/// A hub takes so many requests, so that what they left behind does not grow for ever.
const REQUESTS_MAX: u32 = 4_096;
/// The largest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 4 << 20;
const HEADERS_MAX: u8 = 4;

const METHODS: [Method; 4] = [Method::GET, Method::POST, Method::DELETE, Method::HEAD];
/// Paths; a topic or id that is drawn takes the place of `*`.
const PATHS: [&str; 10] = [
    "/v1/topics/*",
    "/v1/topics",
    "/v1/publish",
    "/v1/connections",
    "/v1/connections/*",
    "/v1/subjects/*",
    "/v1/subjects/ann/topics/*",
    "/websocket",
    "/page/*",
    "*",
];
const QUERIES: [&str; 8] = [
    "after=",
    "limit=",
    "state=ended&limit=",
    "task=",
    "task=1&user=",
    "token=",
    "for=",
    "",
];
const HEADERS: [HeaderName; 11] = [
    header::ACCEPT,
    header::AUTHORIZATION,
    header::CONTENT_TYPE,
    header::HOST,
    header::ORIGIN,
    header::SEC_WEBSOCKET_PROTOCOL,
    HeaderName::from_static("idempotency-key"),
    HeaderName::from_static("last-event-id"),
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("forwarded"),
    HeaderName::from_static("sec-fetch-site"),
];

thread_local! {
    static SITE: RefCell<Option<Site>> = const { RefCell::new(None) };
}

/// A hub that everybody may use, and one that asks for tokens.
struct Site {
    runtime: tokio::runtime::Runtime,
    open: Router,
    by_token: Router,
    requests: u32,
}

/// Draws a request, or the claims of a token, or a name on its own.
pub fn http(data: &[u8]) {
    let mut draws = Unstructured::new(data);
    match draws.int_in_range(0..=7_u8) {
        Ok(0) => names(draws.take_rest()),
        Ok(1) => with_site(|site| site.token(draws.take_rest())),
        Ok(_) => {
            if let Ok(Some(mut request)) = request(&mut draws) {
                *request.body_mut() = Body::from(draws.take_rest().to_vec());
                with_site(|site| site.ask(request));
            }
        }
        Err(_) => {}
    }
}

/// What is read from text is written as that text.
fn names(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(cursor) = text.parse::<Cursor>() {
        assert_eq!(cursor.to_string(), text);
    }
    if let Ok(topic) = text.parse::<TopicName>() {
        assert_eq!(topic.as_str(), text);
        let pattern: Pattern = text.parse().expect("a topic's name is a pattern");
        assert!(pattern.covers(topic.as_topic()));
    }
    if let Ok(pattern) = text.parse::<Pattern>() {
        assert_eq!(pattern.to_string(), text);
    }
    drop(UrlTopics::new(text.split(',')));
}

fn request(draws: &mut Unstructured<'_>) -> Result<Option<Request<Body>>> {
    let method = draws.choose(&METHODS)?.clone();
    let path = draws
        .choose(&PATHS)?
        .replace('*', draws.arbitrary::<&str>()?);
    let query = draws.choose(&QUERIES)?;
    let value: &str = draws.arbitrary()?;
    let Ok(uri) = format!("{path}?{query}{value}").parse::<Uri>() else {
        return Ok(None);
    };
    let mut request = Request::new(Body::empty());
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    for _ in 0..draws.int_in_range(0..=HEADERS_MAX)? {
        let name = draws.choose(&HEADERS)?.clone();
        if let Ok(value) = HeaderValue::from_bytes(draws.arbitrary()?) {
            request.headers_mut().append(name, value);
        }
    }
    Ok(Some(request))
}

fn with_site(act: impl FnOnce(&mut Site)) {
    SITE.with_borrow_mut(|site| {
        let is_used_up = |site: &Site| site.requests >= REQUESTS_MAX;
        if site.as_ref().is_none_or(is_used_up) {
            *site = Some(Site::new());
        }
        act(site.as_mut().expect("it was just made"));
    });
}

impl Site {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime starts");
        let tokens = Tokens::secret(SECRET).expect("it is not empty");
        let open = Hub::builder().access_by_application().open();
        let open = runtime.block_on(open).expect("the settings are sound");
        let by_token = runtime.block_on(Hub::builder().tokens(tokens).open());
        let by_token = by_token.expect("the settings are sound");
        Self {
            runtime,
            open: open.router(),
            by_token: by_token.router(),
            requests: 0,
        }
    }

    /// Asks for something where everything is allowed.
    fn ask(&mut self, request: Request<Body>) {
        self.requests += 1;
        let mut router = self.open.clone();
        self.runtime.block_on(answered(&mut router, request));
    }

    /// Shows a token with these claims, rightly signed.
    fn token(&mut self, claims: &[u8]) {
        self.requests += 1;
        let head = URL_SAFE_NO_PAD.encode(br#"{"alg":"HS256"}"#);
        let signed = format!("{head}.{}", URL_SAFE_NO_PAD.encode(claims));
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, SECRET.as_bytes());
        let signature = URL_SAFE_NO_PAD.encode(ring::hmac::sign(&key, signed.as_bytes()));
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = Uri::from_static("/v1/topics/a");
        let bearer = HeaderValue::try_from(format!("Bearer {signed}.{signature}"));
        let bearer = bearer.expect("it is ASCII");
        request.headers_mut().insert(header::AUTHORIZATION, bearer);
        let mut router = self.by_token.clone();
        let status = self.runtime.block_on(answered(&mut router, request));
        let is_known = [
            StatusCode::OK,
            StatusCode::UNAUTHORIZED,
            StatusCode::FORBIDDEN,
        ];
        assert!(
            is_known.contains(&status),
            "a token is answered by {status}"
        );
    }
}

/// Every answer is the server's own: never that it failed, and a refusal says why.
async fn answered(router: &mut Router, request: Request<Body>) -> StatusCode {
    let is_head = request.method() == Method::HEAD;
    // Without a socket nothing can be upgraded, which the server cannot know.
    let is_upgrade = request.uri().path() == "/websocket";
    let answer = match router.call(request).await {
        Ok(answer) => answer,
        Err(never) => match never {},
    };
    let status = answer.status();
    assert!(
        is_upgrade || status != StatusCode::INTERNAL_SERVER_ERROR,
        "{answer:?}"
    );
    if status.is_client_error() && !is_head {
        let body = http_body_util::Limited::new(answer.into_body(), ANSWER_BYTES_MAX);
        let body = body.collect().await.expect("an error is short").to_bytes();
        assert!(body.starts_with(b"{\"error\":\""), "{status}: {body:?}");
    }
    status
}
