//! SIGTERM and Ctrl-C drain and exit with 0; a second signal exits at once; and everybody comes back
//! to the next server.

#![cfg(unix)]

#[path = "../common/mod.rs"]
mod common;
#[cfg(target_os = "linux")]
mod fleet;

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use common::{Heartwire, Server, Signal};
use heartwire_testing::{Lateness, lasting_address};

#[test]
fn a_drain_tells_clients_and_they_come_back_to_the_next_server() {
    let addr = lasting_address().to_string();
    let mut server = Server::start_on(&addr, &["--drain-window", "1s"]);
    let mut sub = Heartwire::start(&["sub", &addr, "task:42"]);
    sub.error_line("open");
    server.process.signal(Signal::TERM);
    sub.error_line("4201 draining");
    assert_eq!(server.process.exit_code(), 0);

    let server = Server::start_on(&addr, &[]);
    sub.error_line("open again");
    server.publish("task:42", "still here");
    assert_eq!(sub.line().text, "still here");
    sub.interrupt();
}

#[test]
fn a_second_signal_exits_at_once() {
    let mut server = Server::start(&[]);
    // A request that never ends holds the drain up, for a while.
    let mut stream = TcpStream::connect(server.addr).expect("accepted");
    let half = format!(
        "POST /v1/topics/task:42 HTTP/1.1\r\nHost: {}\r\nContent-Length: 100\r\n\r\nhalf",
        server.addr
    );
    stream.write_all(half.as_bytes()).expect("sent");
    common::wait_until("the request is under way", || {
        server.http("GET", "/healthz", "").0 == 200
    });

    server.process.signal(Signal::TERM);
    common::wait_until("it accepts no more", || {
        TcpStream::connect(server.addr).is_err()
    });
    let (start, lateness) = (Instant::now(), Lateness::watch());
    server.process.signal(Signal::INT);
    assert_eq!(server.process.exit_code(), 1);
    let (took, bound) = (
        start.elapsed(),
        Duration::from_secs(1) + lateness.allowance(),
    );
    assert!(took <= bound, "after {took:?}, not {bound:?}");
}

#[test]
fn a_drain_without_clients_takes_no_time() {
    let mut server = Server::start(&[]);
    let (start, lateness) = (Instant::now(), Lateness::watch());
    server.process.interrupt();
    let (took, bound) = (
        start.elapsed(),
        Duration::from_secs(1) + lateness.allowance(),
    );
    assert!(took <= bound, "after {took:?}, not {bound:?}");
}
