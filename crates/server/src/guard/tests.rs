//! Requests from everywhere, and which of them get through.

use super::*;
use http::Request;

const LOCAL: &str = "127.0.0.1:50000";

fn request(method: &str, headers: &[(&str, &str)]) -> Parts {
    from(Some(LOCAL), method, headers)
}

fn from(peer: Option<&str>, method: &str, headers: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder().method(method).uri("/v1/topics");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (mut parts, ()) = request.body(()).expect("a valid request").into_parts();
    if let Some(peer) = peer {
        let peer: SocketAddr = peer.parse().expect("an address");
        parts.extensions.insert(ConnectInfo(peer));
    }
    parts
}

fn code(outcome: Result<impl Sized, HttpError>) -> &'static str {
    outcome.err().map_or("ok", |error| error.code)
}

fn asked(guard: &Guard, door: Door, request: &Parts) -> Result<(), HttpError> {
    guard.surroundings(door, request)?;
    let granted = guard.grant_at_once(door, request, None);
    granted.expect("no check has to be asked")?;
    Ok(())
}

fn api(guard: &Guard, request: &Parts) -> Result<(), HttpError> {
    asked(guard, Door::Api, request)
}

fn websocket(guard: &Guard, request: &Parts) -> Result<(), HttpError> {
    asked(guard, Door::WebSocket, request)
}

fn keyed(open_websocket: bool) -> Guard {
    let keys = ["first-key", "second-key"].map(|key| ApiKey::new(key).expect("a valid key"));
    let access = Access::Credentials {
        keys: Keys {
            given: keys.into(),
            files: Vec::new(),
        },
        websockets: match open_websocket {
            true => WebSockets::Open,
            false => WebSockets::Closed,
        },
    };
    Guard {
        access,
        ..Guard::default()
    }
}

#[test]
fn loopback_names_and_allowed_ones_are_answered() {
    let mut guard = Guard::default();
    for host in [
        "localhost",
        "localhost:7070",
        "127.0.0.1:7070",
        "[::1]:7070",
        "LOCALHOST",
    ] {
        assert_eq!(
            code(api(&guard, &request("GET", &[("host", host)]))),
            "ok",
            "{host}"
        );
    }
    let rebound = request("GET", &[("host", "evil.example:7070")]);
    assert_eq!(code(api(&guard, &rebound)), "foreign-host");
    assert_eq!(code(websocket(&guard, &rebound)), "foreign-host");
    guard.hosts.push("evil.example".into());
    assert_eq!(code(api(&guard, &rebound)), "ok");
}

#[test]
fn a_missing_or_doubled_host_is_refused() {
    let guard = Guard::default();
    let doubled = [("host", "localhost"), ("host", "evil.example")];
    for headers in [&[][..], &doubled, &[("host", "a b")]] {
        assert_eq!(code(api(&guard, &request("GET", headers))), "bad-host");
    }
}

#[test]
fn other_addresses_are_refused_without_a_key() {
    let guard = Guard::default();
    let host = [("host", "localhost")];
    for (peer, expected) in [
        (Some("127.8.9.10:1"), "ok"),
        (Some("[::1]:1"), "ok"),
        (Some("[::ffff:127.0.0.1]:1"), "ok"),
        (Some("192.0.2.7:1"), "not-loopback"),
        (None, "unknown-peer"),
    ] {
        assert_eq!(
            code(api(&guard, &from(peer, "GET", &host))),
            expected,
            "{peer:?}"
        );
        assert_eq!(
            code(websocket(&guard, &from(peer, "GET", &host))),
            expected,
            "{peer:?}"
        );
    }
}

#[test]
fn a_listener_on_every_address_is_public_even_to_a_local_peer() {
    let mut parts = request("GET", &[("host", "localhost")]);
    parts.extensions.insert(Via {
        peer: LOCAL.parse().expect("an address"),
        loopback: false,
    });
    assert_eq!(code(api(&Guard::default(), &parts)), "not-loopback");
}

#[test]
fn forwarded_requests_are_refused_without_a_key() {
    for header in ["Forwarded", "X-Forwarded-For", "Via", "X-Real-IP"] {
        let headers = [("host", "localhost"), (header, "192.0.2.7")];
        let parts = request("GET", &headers);
        assert_eq!(
            code(api(&Guard::default(), &parts)),
            "forwarded",
            "{header}"
        );
        assert_eq!(code(websocket(&keyed(true), &parts)), "ok");
    }
}

#[test]
fn pages_of_other_hosts_are_refused_where_something_changes() {
    let guard = Guard::default();
    for (origin, expected) in [
        ("http://localhost:7070", "ok"),
        ("http://localhost:5173", "ok"),
        ("https://evil.example", "foreign-origin"),
        ("http://localhost.evil.example", "foreign-origin"),
        ("http://127.0.0.1:7070", "foreign-origin"),
        ("null", "foreign-origin"),
        ("", "foreign-origin"),
    ] {
        let headers = [("host", "localhost:7070"), ("origin", origin)];
        assert_eq!(
            code(api(&guard, &request("POST", &headers))),
            expected,
            "{origin}"
        );
        assert_eq!(
            code(api(&guard, &request("DELETE", &headers))),
            expected,
            "{origin}"
        );
        assert_eq!(
            code(websocket(&guard, &request("GET", &headers))),
            expected,
            "{origin}"
        );
        assert_eq!(
            code(api(&guard, &request("GET", &headers))),
            "ok",
            "{origin}"
        );
    }
}

#[test]
fn cross_site_is_foreign_unless_the_origin_is_allowed() {
    let mut guard = Guard::default();
    let bare = request(
        "POST",
        &[("host", "localhost"), ("sec-fetch-site", "cross-site")],
    );
    assert_eq!(code(api(&guard, &bare)), "foreign-origin");
    let named = [
        ("host", "localhost"),
        ("origin", "https://app.example"),
        ("sec-fetch-site", "cross-site"),
    ];
    assert_eq!(
        code(websocket(&guard, &request("GET", &named))),
        "foreign-origin"
    );
    guard.origins.push("https://app.example/".into());
    assert_eq!(code(websocket(&guard, &request("GET", &named))), "ok");
    let two = [
        ("host", "localhost"),
        ("origin", "https://app.example"),
        ("origin", "https://evil.example"),
    ];
    assert_eq!(
        code(websocket(&guard, &request("GET", &two))),
        "foreign-origin"
    );
}

#[test]
fn a_key_opens_the_api_from_anywhere_and_only_a_right_one() {
    let guard = keyed(false);
    for (authorization, expected) in [
        ("Bearer first-key", "ok"),
        ("bearer second-key", "ok"),
        ("Bearer first-ke", "unauthorized"),
        ("Bearer first-key2", "unauthorized"),
        ("Basic first-key", "unauthorized"),
        ("first-key", "unauthorized"),
        ("", "unauthorized"),
    ] {
        let headers = [("host", "rt.example"), ("authorization", authorization)];
        let outcome = api(&guard, &from(Some("192.0.2.7:1"), "GET", &headers));
        assert_eq!(code(outcome), expected, "{authorization}");
    }
    assert_eq!(code(api(&guard, &request("GET", &[]))), "unauthorized");
}

#[test]
fn with_a_key_websockets_are_refused_unless_opened() {
    let headers = [
        ("host", "rt.example"),
        ("authorization", "Bearer first-key"),
    ];
    let parts = from(Some("192.0.2.7:1"), "GET", &headers);
    assert_eq!(code(websocket(&keyed(false), &parts)), "unauthorized");
    assert_eq!(code(websocket(&keyed(true), &parts)), "ok");
}

#[test]
fn keys_are_visible_ascii_and_never_shown() {
    for wrong in ["", "two words", "ключ", "tab\t"] {
        assert_eq!(ApiKey::new(wrong), Err(ApiKeyError), "{wrong:?}");
    }
    let shown = format!("{:?}", keyed(true));
    assert!(!shown.contains("first-key"), "{shown}");
}
