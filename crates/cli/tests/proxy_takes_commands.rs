//! `heartwire proxy`: one line in, one line out; the same over HTTP.

#![cfg(unix)]

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use common::{Heartwire, Proxy, SOON, http};

fn server() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let addr = listener.local_addr().expect("bound");
    (listener, addr)
}

#[test]
fn each_command_is_answered_by_one_line() {
    let (_listener, to) = server();
    let mut proxy = Proxy::start(to);
    let mut answer = |command: &str| {
        proxy.process.type_line(command);
        proxy.process.line().text
    };
    assert_eq!(answer("delay 20ms 5ms"), "ok: delay 20ms 5ms");
    assert_eq!(answer("throttle 9000"), "ok: delay 20ms 5ms, throttle 9000");
    assert_eq!(answer("pass"), "ok: pass");
    assert_eq!(answer("blackhole up"), "ok: blackhole up");
    assert!(answer("status").starts_with("blackhole up; 0 connections of 0 live"));
    assert!(answer("explode").starts_with("error: no such command"));
    assert!(answer("delay").starts_with("error: usage: delay DURATION"));
}

#[test]
fn a_black_hole_holds_what_pass_lets_through() {
    let (listener, to) = server();
    let mut proxy = Proxy::start(to);
    let mut client = TcpStream::connect(proxy.addr).expect("accepted");
    let (mut server, _) = listener.accept().expect("dialled on");
    proxy.apply("blackhole");
    client.write_all(b"held").expect("buffered");
    server
        .set_read_timeout(Some(Duration::from_millis(100)))
        .expect("not zero");
    let mut bytes = [0; 4];
    let nothing = server.read(&mut bytes).expect_err("nothing passes");
    assert!(matches!(
        nothing.kind(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut
    ));
    proxy.apply("pass");
    server.set_read_timeout(Some(SOON)).expect("not zero");
    server.read_exact(&mut bytes).expect("it arrives");
    assert_eq!(&bytes, b"held");
}

#[test]
fn it_goes_on_without_standard_input_until_a_signal() {
    let (_listener, to) = server();
    let mut proxy = Proxy::start(to);
    proxy.process.close_stdin();
    TcpStream::connect(proxy.addr).expect("accepted");
    proxy.process.interrupt();
}

#[test]
fn commands_come_over_http_as_well_but_not_from_web_pages() {
    let (_listener, to) = server();
    let to = to.to_string();
    let mut proxy = Heartwire::start(&[
        "proxy",
        "--listen",
        "127.0.0.1:0",
        "--to",
        &to,
        "--control",
        "127.0.0.1:0",
    ]);
    let ready = proxy.line().text;
    let control: SocketAddr = ready
        .split_once("(control: http://")
        .and_then(|(_, rest)| rest.strip_suffix(')'))
        .and_then(|addr| addr.parse().ok())
        .unwrap_or_else(|| panic!("not the ready line: {ready:?}"));

    let (status, body) = http(control, "POST", "/throttle/50000", &[], "");
    assert_eq!(status, 200);
    let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(body["throttle_bytes_per_second"], 50_000);
    assert_eq!(http(control, "POST", "/throttle/fast", &[], "").0, 400);
    assert_eq!(http(control, "GET", "/throttle/1", &[], "").0, 404);

    let page = [("Origin", "https://example.com")];
    assert_eq!(http(control, "POST", "/blackhole", &page, "").0, 403);
    let (status, body) = http(control, "GET", "/status", &[], "");
    let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!((status, &body["blackhole_up"]), (200, &false.into()));
    assert_eq!(body["to"], to);
    proxy.interrupt();
}

#[test]
fn wrong_usage_and_failure_have_codes_of_their_own() {
    assert_eq!(Heartwire::run(&["proxy"]).0, 2);
    assert_eq!(Heartwire::run(&["proxy", "--explode"]).0, 2);
    let (_listener, taken) = server();
    let taken = taken.to_string();
    let (code, _, errors) = Heartwire::run(&["proxy", "--listen", &taken, "--to", &taken]);
    assert_eq!(code, 1);
    assert!(
        errors.contains(&format!("cannot listen on {taken}")),
        "{errors}"
    );
}
