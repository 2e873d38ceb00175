//! What the server logs: a connection's life at debug, refusals once a minute, secrets never.

#![cfg(unix)]

mod common;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use common::{Heartwire, SOON, address_in, http};

const KEY: &str = "the-key-of-this-server";

/// A server that logs everything that its crates have to say.
fn serve_with(level: &str) -> (Heartwire, SocketAddr) {
    let arguments = [
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--memory",
        "--api-key",
        KEY,
        "--open-websocket",
    ];
    let mut process = Heartwire::start_with(&arguments, |command| command.env("RUST_LOG", level));
    let address = address_in(&process.line().text);
    (process, address)
}

/// A plain WebSocket that comes and goes.
fn come_and_go(address: SocketAddr) {
    let mut stream = TcpStream::connect(address).expect("accepted");
    stream.set_read_timeout(Some(SOON)).expect("not zero");
    let request = format!(
        "GET /websocket?task=7&token=query-secret HTTP/1.1\r\nHost: {address}\r\n\
         Upgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).expect("sent");
    // To its end: what is left unread when a socket is closed makes a reset of its end.
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("an answer");
        head.extend(byte);
    }
    assert!(head.starts_with(b"HTTP/1.1 101"));
}

fn refuse(address: SocketAddr, times: usize) {
    for _ in 0..times {
        let wrong = [("Authorization", "Bearer wrong-secret")];
        let path = "/v1/topics?token=query-secret";
        assert_eq!(http(address, "GET", path, &wrong, "").0, 401);
    }
}

/// Everything that was logged, after the server was stopped.
fn log_of(mut process: Heartwire) -> String {
    process.interrupt();
    process.errors()
}

#[test]
fn a_reason_of_refusals_is_one_line_however_many_come() {
    let (process, address) = serve_with("info");
    refuse(address, 5);
    come_and_go(address);
    let log = log_of(process);
    let warnings: Vec<&str> = log.lines().filter(|line| line.contains("WARN")).collect();
    assert_eq!(warnings.len(), 1, "{log}");
    for part in ["unauthorized", "http", "count=1"] {
        assert!(warnings[0].contains(part), "{part}: {log}");
    }
    assert!(!log.contains("ERROR"), "{log}");
    assert!(!log.contains("a connection"), "its life is no news: {log}");
}

#[test]
fn the_life_of_a_connection_is_told_at_debug_and_no_secret_ever() {
    let (mut process, address) = serve_with("debug");
    refuse(address, 1);
    come_and_go(address);
    process.error_line("a connection opened");
    let end = process.error_line("a connection ended").text;
    assert!(end.contains("DEBUG"), "{end}");
    assert!(end.contains("the peer hung up"), "{end}");
    let log = log_of(process);
    for secret in [KEY, "wrong-secret", "query-secret", "task=7"] {
        assert!(!log.contains(secret), "{secret}: {log}");
    }
}
