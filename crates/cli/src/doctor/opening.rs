//! The upgrade and the welcome, as checks: what a server or a proxy answered, and what it means.

use std::time::Duration;

use heartwire_proto::CloseCode;
use heartwire_proto::frame::Welcome;
use http::{HeaderMap, StatusCode};
use serde_json::{Map, Value};

use super::report::{Check, Outcome, Verdict, millis, shown};
use super::session::{NoWelcome, Path, Session, within};
use super::socket::{End, Wire};
use super::upgrade::{Answer, BadSwitch, NoAnswer, SUBPROTOCOL};

/// Headers by which servers, proxies and caches name themselves.
const NAMING_HEADERS: [&str; 10] = [
    "server",
    "via",
    "x-powered-by",
    "x-cache",
    "x-served-by",
    "x-envoy-upstream-service-time",
    "x-amz-cf-id",
    "cf-ray",
    "fly-request-id",
    "x-vercel-id",
];

/// Those of them that only something on the way sends.
const PROXY_HEADERS: [&str; 8] = [
    "via",
    "x-cache",
    "x-served-by",
    "x-envoy-upstream-service-time",
    "x-amz-cf-id",
    "cf-ray",
    "fly-request-id",
    "x-vercel-id",
];

const PASS_UPGRADES: &str = "If a proxy stands in front, let it pass the upgrade on: HTTP/1.1 to the server, with the headers Upgrade and Connection (nginx: proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection \"upgrade\").";

/// What came of one request.
enum Attempt {
    Open(Check, Session),
    /// Refused by a status for which the client is to blame.
    Refused(Check),
    Failed(Check),
}

/// Asks for the upgrade. A server that refuses whoever offers a subprotocol it does not know is
/// asked once more without; the path then speaks plain mode.
pub(super) async fn upgrade(path: &mut Path, wire: Box<dyn Wire>) -> Outcome<Session> {
    let refusal = match attempt(path, wire).await {
        Attempt::Open(check, session) => return (check, Some(session)),
        Attempt::Failed(check) => return (check, None),
        Attempt::Refused(check) => check,
    };
    if path.v1
        && let Ok(wire) = path.wire().await
    {
        path.v1 = false;
        if let Attempt::Open(check, session) = attempt(path, wire).await {
            let check = check.fact("refuses_subprotocol", true).advise(
                "The server refuses requests that offer heartwire.v1, instead of passing it over: its clients have to be plain ones.",
            );
            return (check, Some(session));
        }
    }
    // It is refused without the offer too, which is therefore not the reason.
    (refusal, None)
}

async fn attempt(path: &mut Path, mut wire: Box<dyn Wire>) -> Attempt {
    let offers_v1 = path.v1;
    let mut answer = match path.request.ask(&mut wire, offers_v1, path.wait).await {
        Ok(answer) => answer,
        Err(error) => return Attempt::Failed(unanswered(path, &error)),
    };
    if answer.status != StatusCode::SWITCHING_PROTOCOLS {
        let excerpt = answer.body_excerpt(&mut wire).await;
        let check = refused(&answer, &excerpt);
        let by_client = answer.status.is_client_error();
        return if by_client {
            Attempt::Refused(check)
        } else {
            Attempt::Failed(check)
        };
    }
    if let Err(wrong) = answer.judge_switch(offers_v1) {
        return Attempt::Failed(switched_wrongly(&answer, wrong));
    }
    path.v1 = answer.subprotocol() == Some(SUBPROTOCOL);
    let check = with_headers(switched(&answer), &answer.headers);
    let session = Session::new(wire, answer.read_ahead, path.v1).await;
    Attempt::Open(check, session)
}

fn switched(answer: &Answer) -> Check {
    let mut summary = format!("101 in {}", shown(answer.took));
    if let Some(names) = named(&answer.headers, &NAMING_HEADERS) {
        summary.push_str(&format!("; {names}"));
    }
    if named(&answer.headers, &PROXY_HEADERS).is_some() {
        summary.push_str("; a proxy stands on the way");
    }
    status(Verdict::Ok, summary, answer)
}

fn status(verdict: Verdict, summary: String, answer: &Answer) -> Check {
    Check::new("upgrade", verdict, summary)
        .fact("status", answer.status.as_u16())
        .fact("took_ms", millis(answer.took))
}

fn with_headers(check: Check, headers: &HeaderMap) -> Check {
    let found: Map<String, Value> = NAMING_HEADERS
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), text_of(headers, name)?.into())))
        .collect();
    let is_proxied = named(headers, &PROXY_HEADERS).is_some();
    check.fact("headers", found).fact("proxy", is_proxied)
}

fn named(headers: &HeaderMap, names: &[&str]) -> Option<String> {
    let found: Vec<_> = names
        .iter()
        .filter_map(|name| Some(format!("{name}: {}", text_of(headers, name)?)))
        .collect();
    (!found.is_empty()).then(|| found.join(", "))
}

fn text_of(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(ToOwned::to_owned)
}

fn unanswered(path: &Path, error: &NoAnswer) -> Check {
    let check = Check::new("upgrade", Verdict::Failed, error);
    match error {
        NoAnswer::Silence => check.advise(format_args!(
            "TCP connects, but the upgrade request gets no answer {}: the server hangs, or something on the way takes connections whose other side is dead.",
            within(path.wait)
        )),
        NoAnswer::Tls => check.advise("This port speaks TLS: dial wss://."),
        NoAnswer::Closed if path.tls.is_none() => check.advise(
            "The connection is closed instead of an answer: the port may want TLS (dial wss://), or a proxy cannot reach its server.",
        ),
        NoAnswer::Closed | NoAnswer::Io(_) => check.advise(
            "The connection is closed instead of an answer: a proxy cannot reach its server, or the server refuses this address.",
        ),
        NoAnswer::NotHttp(_) => {
            check.advise("Something else than a web server answers: check the port.")
        }
    }
}

fn refused(answer: &Answer, excerpt: &str) -> Check {
    let mut summary = format!("status {}", answer.status);
    if let Some(location) = answer.location() {
        summary.push_str(&format!(", to {location}"));
    }
    if let Some(names) = named(&answer.headers, &NAMING_HEADERS) {
        summary.push_str(&format!("; {names}"));
    }
    if !excerpt.is_empty() {
        summary.push_str(&format!("; \"{excerpt}\""));
    }
    let mut check = status(Verdict::Failed, summary, answer).fact("body", excerpt);
    if let Some(location) = answer.location() {
        check = check.fact("location", location);
    }
    with_headers(check, &answer.headers).advise(advice_on(answer))
}

/// What a status other than 101 most often comes from.
fn advice_on(answer: &Answer) -> String {
    let status = answer.status;
    if let (true, Some(location)) = (status.is_redirection(), answer.location()) {
        return format!(
            "WebSocket clients follow no redirects: dial {} itself.",
            as_websocket(location)
        );
    }
    match status.as_u16() {
        200..=299 => format!(
            "The answer is an ordinary page ({status}): the URL is not that of a WebSocket, or the request lost its upgrade on the way. {PASS_UPGRADES}"
        ),
        400 | 426 => format!("The server does not take the request for an upgrade. {PASS_UPGRADES}"),
        401 | 407 => "Credentials are missing or wrong: give --token, or --header \"Authorization: …\".".to_owned(),
        403 => "The server forbids this client: it may want a token (--token), an Origin it knows (--header \"Origin: …\"), or no proxy in front.".to_owned(),
        404 => "Nothing is served at this path: check it (a Heartwire server upgrades at /websocket), and what the proxy makes of it.".to_owned(),
        429 | 503 => answer.retry_after().map_or_else(
            || "The server, or a proxy that does not find it, is at a limit: look there.".to_owned(),
            |delay| format!("The server is at a limit or being stopped, and asks to stay away (Retry-After: {delay})."),
        ),
        502 | 504 => "A proxy answers, but cannot reach the server behind it: check where it forwards to.".to_owned(),
        _ => format!("The server answers the upgrade with {status}: look into its log."),
    }
}

fn as_websocket(location: &str) -> String {
    match location.split_once("://") {
        Some(("http", rest)) => format!("ws://{rest}"),
        Some(("https", rest)) => format!("wss://{rest}"),
        _ => location.to_owned(),
    }
}

fn switched_wrongly(answer: &Answer, wrong: BadSwitch) -> Check {
    let (what, advice) = match wrong {
        BadSwitch::Upgrade => (
            "without the header Upgrade: websocket",
            "Something on the way drops the header Upgrade from the answer: let the proxy pass it on.",
        ),
        BadSwitch::Connection => (
            "without the header Connection: Upgrade",
            "Something on the way drops the header Connection from the answer: let the proxy pass it on.",
        ),
        BadSwitch::AcceptKey => (
            "with an accept key that does not belong to this request",
            "The answer belongs to another request: a cache or a proxy has replaced it or the key, or the server computes Sec-WebSocket-Accept wrongly. Browsers refuse this.",
        ),
        BadSwitch::Extension => (
            "with an extension that was not offered",
            "The server or a proxy adds Sec-WebSocket-Extensions on its own; clients must refuse that. Switch compression off there.",
        ),
        BadSwitch::Subprotocol => (
            "with a subprotocol that was not offered",
            "The server chooses a subprotocol that nobody offered; clients must refuse that.",
        ),
    };
    let summary = format!("101, but {what}");
    with_headers(status(Verdict::Failed, summary, answer), &answer.headers).advise(advice)
}

/// Whether v1 was agreed.
pub(super) fn subprotocol(offered: bool, agreed: bool) -> Check {
    let check = |verdict, mode: &str, summary| {
        Check::new("subprotocol", verdict, summary).fact("mode", mode)
    };
    if agreed {
        return check(Verdict::Ok, "v1", "heartwire.v1");
    }
    if !offered {
        return check(Verdict::Ok, "plain", "none offered: plain mode");
    }
    check(Verdict::Note, "plain", "heartwire.v1 is not agreed to: plain mode").advise(
        "The server does not speak heartwire.v1. If it is a Heartwire server, something on the way drops the header Sec-WebSocket-Protocol.",
    )
}

/// Says hello in v1.
pub(super) async fn welcome(path: &Path, session: &mut Session) -> Outcome<Welcome> {
    match session.hello(path).await {
        Ok(welcome) => (welcomed(&welcome), Some(welcome)),
        Err(error) => (unwelcome(&error, path.wait), None),
    }
}

fn welcomed(welcome: &Welcome) -> Check {
    let heartbeat = welcome.heartbeat;
    let [interval, timeout] =
        [heartbeat.interval_ms, heartbeat.timeout_ms].map(|ms| shown(Duration::from_millis(ms)));
    let summary = format!(
        "{}; heartbeat interval {interval}, timeout {timeout}; messages up to {} bytes",
        welcome.server, welcome.limits.message_bytes_max
    );
    Check::new("welcome", Verdict::Ok, summary)
        .fact("server", welcome.server.as_str())
        .fact("interval_ms", heartbeat.interval_ms)
        .fact("timeout_ms", heartbeat.timeout_ms)
        .fact("message_bytes_max", welcome.limits.message_bytes_max)
}

fn unwelcome(error: &NoWelcome, wait: Duration) -> Check {
    let check = Check::new("welcome", Verdict::Failed, error);
    match error {
        NoWelcome::Ended(End::CloseFrame { code, .. }) => match CloseCode(*code) {
            CloseCode::UNAUTHORIZED | CloseCode::TOKEN_EXPIRED | CloseCode::FORBIDDEN => {
                check.advise("The server wants another token: give it with --token.")
            }
            _ => check.advise("The server refuses the session: its reason stands above, more in its log."),
        },
        NoWelcome::Silence => check.advise(format_args!(
            "The server agreed to heartwire.v1 but says no welcome {}: it may agree to any subprotocol without knowing it (try --plain), or messages do not pass.",
            within(wait)
        )),
        NoWelcome::Ended(_) | NoWelcome::Foreign => check.advise(
            "The server agreed to heartwire.v1 without speaking it: try --plain.",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_is_named_as_the_url_to_dial() {
        assert_eq!(as_websocket("https://h/x"), "wss://h/x");
        assert_eq!(as_websocket("http://h/x"), "ws://h/x");
        assert_eq!(as_websocket("/x"), "/x");
    }

    #[test]
    fn a_missing_subprotocol_is_no_failure() {
        assert_eq!(subprotocol(true, false).verdict(), Verdict::Note);
        assert_eq!(subprotocol(false, false).verdict(), Verdict::Ok);
    }
}
