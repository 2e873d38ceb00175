//! Which tokens open, and which do not, on every way in `[REFUSE-1]`.

use heartwire_server::Tokens;
use serde_json::{Value, json};

use crate::support::peer::Peer;
use crate::support::token::{Issuer, Scratch, claims, confused, lasting, now_s, unsigned};
use crate::support::{Fixture, Outcome, http, until};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

async fn by_secret() -> Fixture {
    let tokens = Tokens::secret(SECRET).expect("not empty");
    Fixture::with(|hub| hub.tokens(tokens)).await
}

async fn by_file(file: &Scratch) -> Fixture {
    let tokens = Tokens::public_keys_file(&file.0).expect("a good file");
    Fixture::with(|hub| hub.tokens(tokens)).await
}

fn ann() -> Value {
    claims("ann", &["task:42"], &["inbox"])
}

/// What a v1 client is told that comes with this token: `welcome`, or the code it is refused with,
/// in `bye` and in the close frame alike.
async fn v1(server: &Fixture, token: &str) -> String {
    let mut peer = Peer::v1_with(server.address, "a", token).await;
    let heard = peer.text().await;
    if heard.starts_with("welcome") {
        return "welcome".to_owned();
    }
    let code = peer.closed().await.0.to_string();
    let bye = heard.split(' ').nth(1).unwrap_or_default().to_owned();
    assert_eq!(bye, code, "{heard}");
    code
}

/// A plain client, whose token stands in the query: it is upgraded, and then told.
async fn plain(server: &Fixture, token: &str) -> String {
    let path = format!("/websocket?task=42&token={token}");
    let mut peer = Peer::plain(server.address, &path).await;
    peer.say("ping").await;
    match peer.heard().await {
        crate::support::peer::Heard::Text(text) => text,
        crate::support::peer::Heard::Close(code, _) => code.to_string(),
        other => panic!("{other:?}"),
    }
}

/// Statuses and codes of a topic's history, and of its event stream.
async fn over_http(server: &Fixture, token: &str) -> [(u16, String); 2] {
    let bearer = format!("authorization: Bearer {token}");
    let mut answers = Vec::new();
    for accept in ["application/json", "text/event-stream"] {
        let accept = format!("accept: {accept}");
        let headers = [bearer.as_str(), &accept];
        let line = "GET /v1/topics/task:42";
        let status = if accept.ends_with("stream") {
            stream_status(server, line, &headers).await
        } else {
            let answer = http::request(server.address, line, &headers, b"").await;
            (answer.status, answer.body)
        };
        answers.push(status);
    }
    let code = |(status, body): &(u16, String)| {
        let json: Option<Value> = serde_json::from_str(body).ok();
        let code = json.and_then(|json| json["error"].as_str().map(str::to_owned));
        (*status, code.unwrap_or_default())
    };
    [code(&answers[0]), code(&answers[1])]
}

/// An event stream has no end, so that only its head is waited for; a refusal has a body.
async fn stream_status(server: &Fixture, line: &str, headers: &[&str]) -> (u16, String) {
    let mut peer = Peer::tcp(server.address).await;
    let request = format!(
        "{line} HTTP/1.1\r\nhost: localhost\r\n{}\r\n\r\n",
        headers.join("\r\n")
    );
    peer.send(request.as_bytes()).await;
    let head = peer.head().await;
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    let status = status.expect("a status");
    if status == 200 {
        return (status, String::new());
    }
    let body = peer.heard_raw().await.expect("a body");
    (status, String::from_utf8(body).expect("text"))
}

async fn is_refused_everywhere(server: &Fixture, what: &str, token: &str, expected: (u16, &str)) {
    let (close, code) = expected;
    assert_eq!(v1(server, token).await, close.to_string(), "{what}");
    assert_eq!(plain(server, token).await, close.to_string(), "{what}");
    for answer in over_http(server, token).await {
        assert_eq!(answer, (401, code.to_owned()), "{what}");
    }
}

async fn opens_everything(server: &Fixture, token: &str) {
    assert_eq!(v1(server, token).await, "welcome");
    assert_eq!(plain(server, token).await, "pong");
    for answer in over_http(server, token).await {
        assert_eq!(answer, (200, String::new()));
    }
}

#[tokio::test]
async fn tokens_of_four_algorithms_open_every_way_in() {
    opens_everything(&by_secret().await, &Issuer::secret(SECRET).token(&ann())).await;
    for (number, issuer) in [Issuer::rsa(), Issuer::ec(), Issuer::ed()]
        .iter()
        .enumerate()
    {
        let pem = Scratch::new(&format!("{number}.pem"), &issuer.pem());
        opens_everything(&by_file(&pem).await, &issuer.token(&ann())).await;
        let set = json!({ "keys": [issuer.jwk("now")] }).to_string();
        let set = Scratch::new(&format!("{number}.json"), &set);
        let server = by_file(&set).await;
        opens_everything(&server, &issuer.token_by("now", &ann())).await;
        opens_everything(&server, &issuer.token(&ann())).await;
        let foreign = issuer.token_by("then", &ann());
        is_refused_everywhere(&server, "kid", &foreign, (4001, "unauthorized")).await;
    }
}

#[tokio::test]
async fn wrong_tokens_are_refused_on_every_way_in() {
    let server = by_secret().await;
    let issuer = Issuer::secret(SECRET);
    let (header, right) = (json!({ "alg": "HS256" }), issuer.token(&ann()));
    let mut forged: Vec<&str> = right.split('.').collect();
    let other = issuer.token(&claims("root", &["*"], &["*"]));
    forged[1] = other.split('.').nth(1).expect("three parts");
    let without = |claim: &str| {
        let mut claims = ann();
        claims.as_object_mut().expect("an object").remove(claim);
        issuer.token(&claims)
    };
    let with = |claim: &str, value: Value| {
        let mut claims = ann();
        claims[claim] = value;
        issuer.token(&claims)
    };
    for (what, token) in [
        ("nonsense", "nonsense".to_owned()),
        ("alg none", unsigned(&ann())),
        (
            "alg none with a signature",
            issuer.token_with(&json!({ "alg": "none" }), &ann()),
        ),
        (
            "alg None",
            issuer.token_with(&json!({ "alg": "None" }), &ann()),
        ),
        (
            "an algorithm of the same family",
            issuer.token_with(&json!({ "alg": "HS512" }), &ann()),
        ),
        (
            "an algorithm of another family",
            issuer.token_with(&json!({ "alg": "RS256" }), &ann()),
        ),
        ("another secret", Issuer::secret("another").token(&ann())),
        ("other claims", forged.join(".")),
        (
            "no signature",
            format!("{}.", right.rsplit_once('.').expect("three parts").0),
        ),
        (
            "an unknown critical header",
            issuer.token_with(&json!({ "alg": "HS256", "crit": ["x"], "x": 1 }), &ann()),
        ),
        (
            "a key of its own",
            Issuer::secret("own").token_with(
                &json!({ "alg": "HS256", "jwk": Issuer::secret("own").jwk("x") }),
                &ann(),
            ),
        ),
        ("no sub", without("sub")),
        ("an empty sub", with("sub", "".into())),
        ("no exp", without("exp")),
        ("an exp that is no number", with("exp", "tomorrow".into())),
        ("not valid yet", with("nbf", (now_s() + 120.0).into())),
        ("an audience", with("aud", "elsewhere".into())),
        (
            "a grant that is none",
            with("heartwire", json!({ "subscribe": ["a b"] })),
        ),
        (
            "a grant of another form",
            with("heartwire", json!({ "subscribe": "a" })),
        ),
        ("no claims", issuer.token_with(&header, &json!([]))),
    ] {
        is_refused_everywhere(&server, what, &token, (4001, "unauthorized")).await;
    }
    let expired = issuer.token(&lasting(-1.0, "ann", &["task:42"], &[]));
    is_refused_everywhere(&server, "expired", &expired, (4002, "token-expired")).await;
    opens_everything(&server, &right).await;
}

#[tokio::test]
async fn a_public_key_is_no_secret() {
    for (number, issuer) in [Issuer::rsa(), Issuer::ec(), Issuer::ed()]
        .iter()
        .enumerate()
    {
        let pem = Scratch::new(&format!("confused-{number}.pem"), &issuer.pem());
        let server = by_file(&pem).await;
        let der = issuer.pem().replace('\n', "");
        for public in [issuer.pem(), issuer.pem().trim().to_owned(), der] {
            let token = confused(&public, &ann());
            is_refused_everywhere(&server, "confusion", &token, (4001, "unauthorized")).await;
        }
    }
}

#[tokio::test]
async fn a_token_needs_the_audience_of_this_server() -> Outcome {
    let tokens = Tokens::secret(SECRET)?.audience("heartwire");
    let server = Fixture::with(|hub| hub.tokens(tokens)).await;
    let issuer = Issuer::secret(SECRET);
    let with = |audience: Value| {
        let mut claims = ann();
        claims["aud"] = audience;
        issuer.token(&claims)
    };
    opens_everything(&server, &with("heartwire".into())).await;
    opens_everything(&server, &with(json!(["elsewhere", "heartwire"]))).await;
    for audience in [
        json!("elsewhere"),
        json!(["elsewhere"]),
        json!(7),
        json!([]),
    ] {
        let token = with(audience);
        is_refused_everywhere(&server, "audience", &token, (4001, "unauthorized")).await;
    }
    let token = issuer.token(&ann());
    is_refused_everywhere(&server, "no audience", &token, (4001, "unauthorized")).await;
    Ok(())
}

#[tokio::test]
async fn an_old_key_opens_nothing_once_the_file_has_changed() -> Outcome {
    let (old, new) = (Issuer::ec(), Issuer::ed());
    let set = |keys: &[Value]| json!({ "keys": keys }).to_string();
    let file = Scratch::new("rotated.json", &set(&[old.jwk("old")]));
    let server = by_file(&file).await;
    let (by_old, by_new) = (old.token_by("old", &ann()), new.token_by("new", &ann()));
    opens_everything(&server, &by_old).await;
    is_refused_everywhere(&server, "to come", &by_new, (4001, "unauthorized")).await;
    // Both, while tokens of the old key are about; it is noticed without being told.
    file.write(&set(&[old.jwk("old"), new.jwk("new")]));
    until("the new key", async || {
        v1(&server, &by_new).await == "welcome"
    })
    .await;
    opens_everything(&server, &by_old).await;
    // What makes no sense changes nothing.
    file.write("{\"keys\": [");
    server.hub.reload().await;
    opens_everything(&server, &by_new).await;
    file.write(&set(&[new.jwk("new")]));
    server.hub.reload().await;
    opens_everything(&server, &by_new).await;
    is_refused_everywhere(&server, "replay", &by_old, (4001, "unauthorized")).await;
    let unnamed = old.token(&ann());
    is_refused_everywhere(
        &server,
        "without its name",
        &unnamed,
        (4001, "unauthorized"),
    )
    .await;
    Ok(())
}

#[tokio::test]
async fn a_secret_in_a_file_may_change() -> Outcome {
    let file = Scratch::new("secret", &format!("{SECRET}\n"));
    let tokens = Tokens::secret_file(&file.0)?;
    let server = Fixture::with(|hub| hub.tokens(tokens)).await;
    let token = Issuer::secret(SECRET).token(&ann());
    opens_everything(&server, &token).await;
    file.write("another secret, as long as it should be");
    server.hub.reload().await;
    is_refused_everywhere(&server, "replay", &token, (4001, "unauthorized")).await;
    Ok(())
}

#[test]
fn files_that_hold_no_key_are_named() {
    let private = include_str!("support/rsa-for-tests.pem");
    let p384 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).expect("a key");
    for (name, content, word) in [
        ("empty", "", "no key"),
        ("set", "{\"keys\":[]}", "no key"),
        (
            "other",
            "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-384\",\"x\":\"\",\"y\":\"\"}]}",
            "no key",
        ),
        ("json", "{", "JWKS"),
        ("private", private, "public keys"),
        ("curve", &p384.public_key_pem(), "P-256"),
    ] {
        let file = Scratch::new(&format!("no-key-{name}"), content);
        let error = Tokens::public_keys_file(&file.0)
            .expect_err(name)
            .to_string();
        assert!(error.contains(word) && error.contains(name), "{error}");
        assert!(!error.contains("MII"), "it shows nothing: {error}");
    }
    assert!(Tokens::public_keys_file("/nowhere").is_err());
    assert!(Tokens::secret(" \n").is_err());
    let shown = format!("{:?}", Tokens::secret(SECRET));
    assert!(!shown.contains(SECRET), "{shown}");
}

#[tokio::test]
async fn a_token_may_stand_in_the_first_frame_the_header_or_the_query() {
    let server = by_secret().await;
    let right = Issuer::secret(SECRET).token(&ann());
    let hello = crate::support::peer::hello("a", 1);
    let path = format!("/websocket?token={right}");
    let header = format!("authorization: Bearer {right}");
    const V1: &str = "sec-websocket-protocol: heartwire.v1";
    for (path, headers) in [(path.as_str(), &[V1][..]), ("/websocket", &[V1, &header])] {
        let mut peer = Peer::tcp(server.address).await;
        peer.upgrade(path, headers).await;
        peer.say(&hello).await;
        peer.welcomed().await;
    }
    // The first frame is the last word.
    let mut peer = Peer::tcp(server.address).await;
    peer.upgrade(&path, &[V1]).await;
    peer.say(&crate::support::peer::hello_with("a", "wrong"))
        .await;
    assert!(peer.text().await.starts_with("bye 4001 "));
    // None at all.
    let mut peer = Peer::silent_v1(server.address, "/websocket").await;
    peer.say(&hello).await;
    assert!(peer.text().await.starts_with("bye 4001 "));
    let answer = http::get(server.address, "/v1/topics/task:42").await;
    assert_eq!(
        (answer.status, answer.error().as_str()),
        (401, "unauthorized")
    );
    let answer = http::get(server.address, &format!("/v1/topics/task:42?token={right}")).await;
    assert_eq!(answer.status, 200);
}
