//! `heartwire doctor`: what it says about paths that are well, and about each way of being broken.

#![cfg(unix)]

mod common;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use common::{Heartwire, Proxy, Server};
use serde_json::Value;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Message, WebSocket, accept_with_config};

/// How long a run may take on a busy machine; none here is patient for more than 9 s.
const RUN_MAX: Duration = Duration::from_secs(90);

/// What one run said: its JSON object and its exit code.
struct Diagnosis {
    code: i32,
    report: Value,
}

impl Diagnosis {
    /// Runs to the end.
    fn of(url: &str, flags: &[&str]) -> Self {
        Self::running(start(url, flags))
    }

    /// Of a run that has begun.
    fn running(mut doctor: Heartwire) -> Self {
        let output = doctor.line_by(Instant::now() + RUN_MAX).text;
        let code = doctor.exit_code();
        let report = serde_json::from_str(&output)
            .unwrap_or_else(|error| panic!("{error}: {output}; {}", doctor.errors()));
        Self { code, report }
    }

    fn check(&self, name: &str) -> &Value {
        let checks = self.report["checks"].as_array().expect("a list");
        checks
            .iter()
            .find(|check| check["name"] == name)
            .unwrap_or_else(|| panic!("no check {name}: {:#}", self.report))
    }

    fn assert_verdict(&self, name: &str, verdict: &str) {
        let check = self.check(name);
        assert_eq!(check["verdict"], verdict, "{check:#}");
    }

    /// Exactly these checks have failed, and the exit code says so.
    fn assert_failed(&self, names: &[&str]) {
        let checks = self.report["checks"].as_array().expect("a list");
        let failed: Vec<_> = checks
            .iter()
            .filter(|check| check["verdict"] == "failed")
            .map(|check| check["name"].as_str().expect("a name"))
            .collect();
        assert_eq!(failed, names, "{:#}", self.report);
        assert_eq!(self.code, i32::from(!names.is_empty()));
        assert_eq!(self.report["healthy"], names.is_empty());
    }

    fn assert_summary(&self, name: &str, part: &str) {
        let check = self.check(name);
        let summary = check["summary"].as_str().expect("a text");
        assert!(summary.contains(part), "{check:#}");
    }

    fn assert_advice(&self, part: &str) {
        let advice = self.report["advice"].as_array().expect("a list");
        let said = |sentence: &Value| sentence.as_str().is_some_and(|text| text.contains(part));
        assert!(advice.iter().any(said), "{:#}", self.report);
    }
}

fn start(url: &str, flags: &[&str]) -> Heartwire {
    start_trusting(None, url, flags)
}

fn start_trusting(roots: Option<&PathBuf>, url: &str, flags: &[&str]) -> Heartwire {
    let mut arguments = vec!["doctor", url, "--json"];
    arguments.extend(flags);
    Heartwire::start_with(&arguments, |command| match roots {
        Some(roots) => command
            .env("SSL_CERT_FILE", roots)
            .env_remove("SSL_CERT_DIR"),
        None => command,
    })
}

/// A peer that treats each TCP connection as the script says, on a thread of its own.
fn peer(script: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let addr = listener.local_addr().expect("bound");
    let script = Arc::new(script);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let script = Arc::clone(&script);
            thread::spawn(move || script(stream));
        }
    });
    addr
}

/// A peer that answers each request with these bytes.
fn answering(answer: &'static str) -> String {
    let addr = peer(move |mut stream| {
        read_request(&mut stream);
        // Whoever has gone meanwhile needs no answer.
        let _ = stream.write_all(answer.as_bytes());
    });
    format!("ws://{addr}/x")
}

fn read_request(stream: &mut TcpStream) -> String {
    let mut request = String::new();
    let mut byte = [0];
    while !request.ends_with("\r\n\r\n") && stream.read_exact(&mut byte).is_ok() {
        request.push(char::from(byte[0]));
    }
    request
}

/// A plain WebSocket server.
fn websockets(
    bytes_max: usize,
    serve: impl Fn(WebSocket<TcpStream>) + Send + Sync + 'static,
) -> String {
    let addr = peer(move |stream| {
        let config = WebSocketConfig::default()
            .max_message_size(Some(bytes_max))
            .max_frame_size(Some(bytes_max));
        if let Ok(websocket) = accept_with_config(stream, Some(config)) {
            serve(websocket);
        }
    });
    format!("ws://{addr}/")
}

/// Answers until the connection ends, or nothing comes for as long as the socket waits.
fn answer_all(websocket: &mut WebSocket<TcpStream>, answer: impl Fn(Message) -> Option<Message>) {
    while let Ok(message) = websocket.read() {
        let answered = match answer(message) {
            Some(message) => websocket.send(message),
            None => websocket.flush(),
        };
        if answered.is_err() {
            return;
        }
    }
}

fn echo(message: Message) -> Option<Message> {
    (message.is_text() || message.is_binary()).then_some(message)
}

/// Reads and drops whatever comes, to the end of the connection.
fn swallow(stream: &mut TcpStream) {
    let _ = stream.set_read_timeout(None);
    let _ = std::io::copy(stream, &mut std::io::sink());
}

#[test]
fn a_heartwire_server_is_well_and_keeps_nothing_of_the_visit() {
    let server = Server::start(&["--heartbeat-interval", "1s"]);
    let diagnosis = Diagnosis::of(&server.url(), &["--patience", "3s"]);
    diagnosis.assert_failed(&[]);
    for name in [
        "dns",
        "tcp",
        "upgrade",
        "subprotocol",
        "welcome",
        "text_ping",
        "protocol_ping",
        "round_trip",
        "close",
        "largest_message",
        "idle",
        "heartbeat",
    ] {
        diagnosis.assert_verdict(name, "ok");
    }
    assert_eq!(diagnosis.check("subprotocol")["mode"], "v1");
    assert_eq!(diagnosis.check("welcome")["interval_ms"], 1_000);
    assert_eq!(diagnosis.check("largest_message")["bytes"], 1 << 20);
    assert_eq!(diagnosis.check("idle")["busy_survives"], true);
    assert!(diagnosis.check("close")["ended_ms"].is_number());
    let (status, topics) = server.http("GET", "/v1/topics", "");
    assert_eq!(status, 200);
    let topics: Value = serde_json::from_str(&topics).expect("JSON");
    assert_eq!(
        topics["topics"].as_array().map(Vec::len),
        Some(0),
        "{topics}"
    );
}

#[test]
fn plain_mode_is_asked_by_text_and_keeps_its_inbox_empty() {
    let server = Server::start(&[]);
    let diagnosis = Diagnosis::of(&server.url(), &["--plain", "--patience", "0s"]);
    diagnosis.assert_failed(&[]);
    assert_eq!(diagnosis.check("subprotocol")["mode"], "plain");
    diagnosis.assert_verdict("text_ping", "ok");
    diagnosis.assert_verdict("protocol_ping", "ok");
    diagnosis.assert_verdict("largest_message", "skipped");
    assert_eq!(server.history("inbox"), [""; 0]);
}

#[test]
fn a_topic_that_is_given_gets_the_largest_message() {
    let server = Server::start(&[]);
    let flags = [
        "--publish-to",
        "probe",
        "--message-bytes-max",
        "64KiB",
        "--patience",
        "0s",
    ];
    let diagnosis = Diagnosis::of(&server.url(), &flags);
    diagnosis.assert_failed(&[]);
    assert_eq!(diagnosis.check("largest_message")["bytes"], 65_536);
    assert_eq!(server.history("probe"), ["x".repeat(65_536)]);
}

#[test]
fn people_read_lines_and_what_to_do() {
    let server = Server::start(&[]);
    let (code, output, errors) = Heartwire::run(&["doctor", &server.url(), "--patience", "0s"]);
    assert_eq!(code, 0, "{errors}");
    assert!(output.starts_with("ok       dns "), "{output}");
    assert!(output.contains("\nWhat to do: nothing"), "{output}");
}

#[test]
fn a_port_that_refuses_fails_at_tcp() {
    let server = Server::start(&[]);
    let mut proxy = Proxy::start(server.addr);
    proxy.apply("refuse");
    let diagnosis = Diagnosis::of(&proxy.url(), &[]);
    diagnosis.assert_failed(&["tcp"]);
    diagnosis.assert_advice("No address takes a TCP connection");
}

#[test]
fn a_black_hole_fails_at_the_upgrade() {
    let server = Server::start(&[]);
    let mut proxy = Proxy::start(server.addr);
    proxy.apply("blackhole");
    let diagnosis = Diagnosis::of(&proxy.url(), &["--timeout", "1s"]);
    diagnosis.assert_verdict("tcp", "ok");
    diagnosis.assert_failed(&["upgrade"]);
    diagnosis.assert_advice("no answer within 1 s");
}

#[test]
fn a_limit_on_the_age_of_connections_is_told_from_an_idle_time_out() {
    let server = Server::start(&[]);
    let mut proxy = Proxy::start(server.addr);
    let mut doctor = start(&proxy.url(), &["--patience", "8s"]);
    doctor.error_line("silent for");
    proxy.apply("cut-every 2s");
    let diagnosis = Diagnosis::running(doctor);
    diagnosis.assert_failed(&["idle"]);
    let idle = diagnosis.check("idle");
    assert_eq!(
        (&idle["kind"], &idle["by"]),
        (&"age".into(), &"reset".into()),
        "{idle:#}"
    );
    assert_eq!(idle["busy_survives"], false);
    assert!(
        idle["cut_after_ms"].as_f64().expect("a number") >= 1_900.0,
        "{idle:#}"
    );
    diagnosis.assert_advice("however busy they are, by a reset");
}

#[test]
fn a_path_that_dies_in_silence_is_noticed_by_asking_alone() {
    let server = Server::start(&["--heartbeat-interval", "1m"]);
    let mut proxy = Proxy::start(server.addr);
    let flags = ["--patience", "4s", "--timeout", "3s"];
    let mut doctor = start(&proxy.url(), &flags);
    doctor.error_line("silent for");
    proxy.apply("blackhole");
    let diagnosis = Diagnosis::running(doctor);
    diagnosis.assert_failed(&["idle"]);
    let idle = diagnosis.check("idle");
    assert_eq!(
        (&idle["kind"], &idle["by"]),
        (&"dead".into(), &"silence".into()),
        "{idle:#}"
    );
    assert_eq!(idle["noticed"], "never");
    diagnosis.assert_advice("only a heartbeat notices");
}

/// How long the scripted proxies bear silence. The busy connection asks six times as often, so that
/// a machine that stalls for seconds does not make it an idle one.
const IDLE_MAX: Duration = Duration::from_secs(3);

#[test]
fn an_idle_time_out_names_the_interval_to_keep() {
    let url = websockets(1 << 20, |mut websocket| {
        websocket
            .get_ref()
            .set_read_timeout(Some(IDLE_MAX))
            .expect("not zero");
        answer_all(&mut websocket, |_| None);
    });
    let diagnosis = Diagnosis::of(&url, &["--no-text-ping", "--patience", "9s"]);
    diagnosis.assert_failed(&[]);
    diagnosis.assert_verdict("idle", "warning");
    let idle = diagnosis.check("idle");
    assert_eq!(
        (&idle["kind"], &idle["by"]),
        (&"idle".into(), &"fin".into()),
        "{idle:#}"
    );
    assert_eq!(
        (&idle["busy_survives"], &idle["noticed"]),
        (&true.into(), &"at once".into())
    );
    assert!(
        idle["cut_after_ms"].as_f64().expect("a number") >= 2_900.0,
        "{idle:#}"
    );
    diagnosis.assert_advice("keep the heartbeat's interval under");
}

#[test]
fn idle_connections_that_are_forgotten_in_silence_are_bracketed() {
    let url = websockets(1 << 20, |mut websocket| {
        websocket
            .get_ref()
            .set_read_timeout(Some(IDLE_MAX))
            .expect("not zero");
        answer_all(&mut websocket, |_| None);
        swallow(websocket.get_mut());
    });
    let flags = ["--no-text-ping", "--patience", "8s", "--timeout", "3s"];
    let diagnosis = Diagnosis::of(&url, &flags);
    diagnosis.assert_verdict("idle", "warning");
    let idle = diagnosis.check("idle");
    assert_eq!(
        (&idle["kind"], &idle["by"]),
        (&"idle".into(), &"silence".into()),
        "{idle:#}"
    );
    assert_eq!(
        (&idle["busy_survives"], &idle["noticed"]),
        (&true.into(), &"never".into())
    );
    assert!(
        idle["dead_after_ms"].as_f64().expect("a number") >= 2_900.0,
        "{idle:#}"
    );
    diagnosis.assert_advice("tells nobody");
}

#[test]
fn an_echo_server_is_known_and_its_limit_found() {
    let url = websockets(20_000, |mut websocket| answer_all(&mut websocket, echo));
    let flags = [
        "--echo",
        "--message-bytes-max",
        "100000",
        "--patience",
        "0s",
    ];
    let diagnosis = Diagnosis::of(&url, &flags);
    diagnosis.assert_failed(&[]);
    assert_eq!(diagnosis.check("text_ping")["echo"], true);
    let bytes = diagnosis.check("largest_message")["bytes"]
        .as_u64()
        .expect("a number");
    assert!((18_976..=20_000).contains(&bytes), "{bytes}");
}

#[test]
fn a_server_that_never_answers_pings_gets_no_clean_bill() {
    let url = websockets(1 << 20, |mut websocket| swallow(websocket.get_mut()));
    let flags = ["--timeout", "3s", "--patience", "0s"];
    let diagnosis = Diagnosis::of(&url, &flags);
    diagnosis.assert_verdict("text_ping", "note");
    diagnosis.assert_failed(&["protocol_ping"]);
    diagnosis.assert_verdict("close", "warning");
    diagnosis.assert_advice("a dead connection looks like a quiet one");
}

#[test]
fn a_path_that_is_not_there_is_named_with_what_the_server_wrote() {
    let url = answering(
        "HTTP/1.1 404 Not Found\r\nServer: nginx/1.2\r\nVia: 1.1 cache\r\n\
         Content-Length: 28\r\n\r\n<h1>Nothing\nto see here</h1>",
    );
    let diagnosis = Diagnosis::of(&url, &[]);
    diagnosis.assert_failed(&["upgrade"]);
    let upgrade = diagnosis.check("upgrade");
    assert_eq!(upgrade["status"], 404);
    assert_eq!(upgrade["body"], "Nothing to see here");
    assert_eq!(upgrade["headers"]["server"], "nginx/1.2");
    assert_eq!(upgrade["proxy"], true);
    diagnosis.assert_advice("Nothing is served at this path");
}

#[test]
fn a_redirect_says_where_to_dial() {
    let url = answering(
        "HTTP/1.1 301 Moved Permanently\r\nLocation: https://example.org/ws\r\n\
         Content-Length: 0\r\n\r\n",
    );
    let diagnosis = Diagnosis::of(&url, &[]);
    diagnosis.assert_failed(&["upgrade"]);
    diagnosis.assert_advice("dial wss://example.org/ws itself");
}

#[test]
fn an_accept_key_of_another_request_is_refused() {
    let url = answering(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
    );
    let diagnosis = Diagnosis::of(&url, &[]);
    diagnosis.assert_failed(&["upgrade"]);
    diagnosis.assert_summary("upgrade", "accept key");
}

#[test]
fn a_server_that_takes_connections_and_says_nothing_is_told_from_one_that_closes() {
    let silent = peer(|mut stream| swallow(&mut stream));
    let diagnosis = Diagnosis::of(&format!("ws://{silent}/"), &["--timeout", "1s"]);
    diagnosis.assert_failed(&["upgrade"]);
    diagnosis.assert_summary("upgrade", "no answer");

    let closing = peer(|mut stream| drop(read_request(&mut stream)));
    let diagnosis = Diagnosis::of(&format!("ws://{closing}/"), &[]);
    diagnosis.assert_failed(&["upgrade"]);
    diagnosis.assert_summary("upgrade", "closed instead of an answer");
}

#[test]
fn a_server_that_refuses_the_subprotocol_is_met_without_it() {
    let addr = peer(|mut stream| {
        let mut request = [0; 2_048];
        let read = stream.peek(&mut request).unwrap_or(0);
        if String::from_utf8_lossy(&request[..read]).contains("heartwire.v1") {
            read_request(&mut stream);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        } else if let Ok(mut websocket) = accept_with_config(stream, None) {
            answer_all(&mut websocket, echo);
        }
    });
    let diagnosis = Diagnosis::of(&format!("ws://{addr}/"), &["--patience", "0s"]);
    diagnosis.assert_failed(&[]);
    assert_eq!(diagnosis.check("upgrade")["refuses_subprotocol"], true);
    assert_eq!(diagnosis.check("subprotocol")["mode"], "plain");
}

/// A TLS server for these names behind which an echo server stands, and the file with the
/// certificate to trust.
fn tls_server(file: &str, names: &[&str]) -> (SocketAddr, PathBuf) {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names).expect("names");
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("a certificate");
    let config = Arc::new(config);
    let addr = peer(move |stream| {
        let connection = ServerConnection::new(Arc::clone(&config)).expect("a configuration");
        let stream = StreamOwned::new(connection, stream);
        if let Ok(mut websocket) = accept_with_config(stream, None) {
            while let Ok(message) = websocket.read() {
                if message.is_text() && websocket.send(message).is_err() {
                    return;
                }
            }
        }
    });
    let roots = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(file);
    std::fs::write(&roots, made.cert.pem()).expect("a file");
    (addr, roots)
}

#[test]
fn tls_tells_its_version_and_the_certificates_end() {
    let (addr, roots) = tls_server("doctor-right.pem", &["127.0.0.1"]);
    let url = format!("wss://{addr}/");
    let diagnosis = Diagnosis::running(start_trusting(Some(&roots), &url, &["--patience", "0s"]));
    diagnosis.assert_failed(&[]);
    let tls = diagnosis.check("tls");
    assert_eq!(tls["version"], "TLS 1.3");
    assert!(
        tls["days_left"].as_u64().expect("a number") > 300,
        "{tls:#}"
    );
}

#[test]
fn a_certificate_for_another_name_is_explained() {
    let (addr, roots) = tls_server("doctor-other.pem", &["example.org"]);
    let url = format!("wss://{addr}/");
    let diagnosis = Diagnosis::running(start_trusting(Some(&roots), &url, &[]));
    diagnosis.assert_failed(&["tls"]);
    diagnosis.assert_summary("tls", "for example.org, not for 127.0.0.1");
    diagnosis.assert_advice("have one made that holds 127.0.0.1");
}

#[test]
fn plain_and_secure_ports_are_told_apart() {
    let server = Server::start(&[]);
    let diagnosis = Diagnosis::of(&format!("wss://{}/websocket", server.addr), &[]);
    diagnosis.assert_failed(&["tls"]);
    diagnosis.assert_advice("dial ws://");
}

#[test]
fn wrong_usage_has_its_code() {
    for arguments in [
        vec!["doctor"],
        vec!["doctor", "ftp://example.org/"],
        vec!["doctor", "ws://127.0.0.1:1/", "--header", "Host: x"],
        vec!["doctor", "ws://127.0.0.1:1/", "--timeout", "0s"],
    ] {
        let (code, output, _) = Heartwire::run(&arguments);
        assert_eq!((code, output.as_str()), (2, ""), "{arguments:?}");
    }
}
