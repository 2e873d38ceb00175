//! Who may do what: every row of the table, asked from outside.
//!
//! | API key | tokens | WebSockets | `/v1/*` |
//! |---|---|---|---|
//! | no | no | all, on loopback only | all, on loopback only |
//! | yes | no | refused unless opened | with the key |
//! | no | yes | by token | GET of granted topics by token |
//! | yes | yes | by token | with the key; GET of granted topics by token |

use heartwire_server::{ApiKey, HubBuilder, PresenceConfig, Server, Tokens};
use std::net::SocketAddr;

use crate::support::peer::{Heard, Peer};
use crate::support::token::{Issuer, claims};
use crate::support::{Fixture, http};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const KEY: &str = "correct-horse";

/// Who is there is told of every topic.
fn open(hub: HubBuilder) -> HubBuilder {
    hub.presence(PresenceConfig {
        topics: vec!["*".parse().expect("a pattern")],
        ..PresenceConfig::default()
    })
}

fn keyed(hub: HubBuilder) -> HubBuilder {
    open(hub).api_key(ApiKey::new(KEY).expect("a key"))
}

fn by_token(hub: HubBuilder) -> HubBuilder {
    open(hub).tokens(Tokens::secret(SECRET).expect("a secret"))
}

/// What a plain WebSocket hears that shows this.
async fn websocket(address: SocketAddr, shown: Option<&str>) -> String {
    let bearer = shown.map(|shown| format!("authorization: Bearer {shown}"));
    let headers: Vec<&str> = bearer.iter().map(String::as_str).collect();
    let mut peer = Peer::tcp(address).await;
    peer.upgrade("/websocket", &headers).await;
    peer.say("ping").await;
    match peer.heard().await {
        Heard::Text(text) => text,
        Heard::Close(code, _) => code.to_string(),
        other => panic!("{other:?}"),
    }
}

/// The statuses of: a list, a granted topic, another topic, publishing, who is there on both topics.
async fn api(address: SocketAddr, shown: Option<&str>) -> [u16; 6] {
    let bearer = shown.map(|shown| format!("authorization: Bearer {shown}"));
    let headers: Vec<&str> = bearer.iter().map(String::as_str).collect();
    let mut statuses = [0; 6];
    let lines = [
        "GET /v1/topics",
        "GET /v1/topics/task:42",
        "GET /v1/topics/other",
        "POST /v1/topics/inbox",
        "GET /v1/topics/task:42/presence",
        "GET /v1/topics/other/presence",
    ];
    for (status, line) in statuses.iter_mut().zip(lines) {
        let body: &[u8] = if line.starts_with("POST") { b"x" } else { b"" };
        *status = http::request(address, line, &headers, body).await.status;
    }
    statuses
}

/// What is heard with nothing, the key, and a token.
async fn row(address: SocketAddr) -> [(String, [u16; 6]); 3] {
    let token = Issuer::secret(SECRET).token(&claims("ann", &["task:42"], &["inbox"]));
    let one = async |shown| (websocket(address, shown).await, api(address, shown).await);
    [
        one(None).await,
        one(Some(KEY)).await,
        one(Some(&token)).await,
    ]
}

fn expect(websocket: &str, api: [u16; 6]) -> (String, [u16; 6]) {
    (websocket.to_owned(), api)
}

#[tokio::test]
async fn without_key_and_tokens_everything_is_open_on_loopback() {
    let server = Fixture::with(open).await;
    let all = expect("pong", [200, 200, 200, 201, 200, 200]);
    assert_eq!(row(server.address).await, [all.clone(), all.clone(), all]);
}

#[tokio::test]
async fn with_a_key_the_api_is_open_to_it_and_websockets_to_nobody() {
    let server = Fixture::with(keyed).await;
    let nothing = expect("4001", [401; 6]);
    let key = expect("4001", [200, 200, 200, 201, 200, 200]);
    assert_eq!(row(server.address).await, [nothing.clone(), key, nothing]);
    let server = Fixture::with(|hub| keyed(hub).open_websocket(true)).await;
    let nothing = expect("pong", [401; 6]);
    let key = expect("pong", [200, 200, 200, 201, 200, 200]);
    assert_eq!(row(server.address).await, [nothing.clone(), key, nothing]);
}

#[tokio::test]
async fn with_tokens_they_open_websockets_and_the_topics_that_they_grant() {
    let server = Fixture::with(by_token).await;
    let nothing = expect("4001", [401; 6]);
    let token = expect("pong", [403, 200, 403, 403, 200, 403]);
    assert_eq!(row(server.address).await, [nothing.clone(), nothing, token]);
}

#[tokio::test]
async fn with_both_the_key_opens_the_api_and_tokens_what_they_grant() {
    let server = Fixture::with(|hub| by_token(keyed(hub))).await;
    let nothing = expect("4001", [401; 6]);
    let key = expect("4001", [200, 200, 200, 201, 200, 200]);
    let token = expect("pong", [403, 200, 403, 403, 200, 403]);
    assert_eq!(row(server.address).await, [nothing, key, token]);
}

#[tokio::test]
async fn a_public_address_is_served_with_a_key_or_tokens_or_on_demand() {
    let serve = async |settings: fn(HubBuilder) -> HubBuilder| {
        let hub = settings(heartwire_server::Hub::builder()).open().await;
        let server = Server::bind("0.0.0.0:0", hub.expect("good settings")).await;
        let server = server.expect("a free port");
        let address = SocketAddr::from(([127, 0, 0, 1], server.local_addr().port()));
        tokio::spawn(server.run(std::future::pending()));
        address
    };
    let closed = serve(open).await;
    assert_eq!(api(closed, None).await, [403; 6]);
    let insecure = serve(|hub| open(hub).insecure_open(true)).await;
    assert_eq!(
        row(insecure).await[0],
        expect("pong", [200, 200, 200, 201, 200, 200])
    );
    let tokens = serve(by_token).await;
    assert_eq!(
        row(tokens).await[2],
        expect("pong", [403, 200, 403, 403, 200, 403])
    );
}

#[tokio::test]
async fn settings_that_contradict_each_other_open_nothing() {
    let opens = async |hub: HubBuilder| hub.open().await.is_ok();
    let hub = heartwire_server::Hub::builder;
    assert!(!opens(by_token(hub()).open_websocket(true)).await);
    assert!(!opens(by_token(hub()).access_by_application()).await);
    assert!(!opens(keyed(hub()).insecure_open(true)).await);
    assert!(!opens(hub().open_websocket(true)).await);
    assert!(!opens(hub().api_keys_file("/nowhere")).await);
}
