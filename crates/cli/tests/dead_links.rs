//! Links that die and come back, between real programs: both ends notice in time and say why, and
//! everything published meanwhile arrives once and in order, both ways.
//!
//! The heartbeat is 1 s + 1 s. So the server has to notice within 2 s of the last byte, the client,
//! whose interval is a quarter longer, within 2.25 s.

#![cfg(unix)]

mod common;

use std::ops::Range;
use std::thread;
use std::time::{Duration, Instant};

use common::{Heartwire, Line, Proxy, Server, Signal, http};
use heartwire_testing::{Lateness, lasting_address};

const HEARTBEAT: [&str; 4] = ["--heartbeat-interval", "1s", "--heartbeat-timeout", "1s"];
const SERVER_BOUND: Duration = Duration::from_millis(2_000);
const CLIENT_BOUND: Duration = Duration::from_millis(2_250);

/// Somebody who follows `down`, and somebody who publishes to `up`.
struct Clients {
    sub: Heartwire,
    publisher: Heartwire,
}

impl Clients {
    /// Both, over this address; one message has gone each way.
    fn connect(url: &str, server: &Server) -> Self {
        let sub = Heartwire::start(&["sub", url, "down", "--json", "--from", "head"]);
        let publisher = Heartwire::start(&["pub", url, "up", "-"]);
        let mut clients = Self { sub, publisher };
        server.publish("down", "down 0");
        clients.expects_down(0..1);
        clients.publish_up(0..1);
        server.wait_for("up", 1);
        clients
    }

    fn publish_up(&mut self, numbers: Range<u32>) {
        for number in numbers {
            self.publisher.type_line(&format!("up {number}"));
        }
    }

    /// The next messages are these, and nothing is between them.
    fn expects_down(&mut self, numbers: Range<u32>) {
        for number in numbers {
            let line = self.next_json();
            assert_eq!(line["text"], format!("down {number}"), "{line}");
        }
    }

    fn next_json(&mut self) -> serde_json::Value {
        serde_json::from_str(&self.sub.line().text).expect("a JSON line")
    }

    /// Both have noticed in time, and say why. Whoever has published may miss the answer before
    /// the heartbeat does.
    fn notice_silence(&mut self, since: &Since) {
        let lost = self.sub.error_line("lost: ");
        assert!(lost.text.contains("nothing heard"), "{}", lost.text);
        since.assert_in_time(&lost, CLIENT_BOUND);
        let lost = self.publisher.error_line("lost: ");
        let reasons = ["nothing heard", "a publish stayed unanswered"];
        let known = reasons.iter().any(|reason| lost.text.contains(reason));
        assert!(known, "{}", lost.text);
        since.assert_in_time(&lost, CLIENT_BOUND);
    }

    /// Whoever published has an acknowledgement for everything, and whoever follows gets what is
    /// published from here on as well.
    fn finish(mut self, server: &Server, up: u32, down: u32) {
        self.publisher.close_stdin();
        assert_eq!(self.publisher.exit_code(), 0, "{}", self.publisher.errors());
        let expected: Vec<String> = (0..up).map(|number| format!("up {number}")).collect();
        assert_eq!(server.history("up"), expected);
        server.publish("down", &format!("down {down}"));
        self.expects_down(down..down + 1);
        self.sub.interrupt();
    }
}

/// When the silence began, and how late this machine has been since.
struct Since {
    moment: Instant,
    lateness: Lateness,
}

impl Since {
    fn begin() -> Self {
        let lateness = Lateness::watch();
        let moment = Instant::now();
        Self { moment, lateness }
    }

    fn assert_in_time(&self, line: &Line, bound: Duration) {
        let took = line.at.duration_since(self.moment);
        let bound = bound + self.lateness.allowance();
        assert!(
            took <= bound,
            "after {took:?}, not {bound:?}: {}",
            line.text
        );
    }
}

fn publish_down(server: &Server, numbers: Range<u32>) {
    for number in numbers {
        server.publish("down", &format!("down {number}"));
    }
}

#[test]
fn through_a_black_hole() {
    let mut server = Server::start(&HEARTBEAT);
    let mut proxy = Proxy::start(server.addr);
    let mut clients = Clients::connect(&proxy.url(), &server);

    proxy.apply("blackhole");
    let since = Since::begin();
    clients.publish_up(1..20);
    publish_down(&server, 1..20);
    for _ in ["the follower's connection", "the publisher's connection"] {
        let dropped = server.process.error_line("nothing was heard for");
        since.assert_in_time(&dropped, SERVER_BOUND);
    }
    clients.notice_silence(&since);
    clients.publish_up(20..40);
    publish_down(&server, 20..40);

    proxy.apply("pass");
    clients.expects_down(1..40);
    clients.finish(&server, 40, 40);
    server.process.interrupt();
}

#[test]
fn while_the_server_is_stopped_by_the_system() {
    let server = Server::start(&HEARTBEAT);
    let mut clients = Clients::connect(&server.url(), &server);

    server.process.signal(Signal::STOP);
    let since = Since::begin();
    clients.publish_up(1..20);
    // The requests wait in the backlog until the server runs again.
    let addr = server.addr;
    let requests = thread::spawn(move || {
        for number in 1..20 {
            let text = format!("down {number}");
            assert_eq!(http(addr, "POST", "/v1/topics/down", &[], &text).0, 201);
        }
    });
    clients.notice_silence(&since);
    clients.publish_up(20..40);

    server.process.signal(Signal::CONT);
    requests.join().expect("all requests are answered");
    clients.expects_down(1..20);
    clients.finish(&server, 40, 20);
}

#[test]
fn after_a_reset() {
    let server = Server::start(&HEARTBEAT);
    let mut proxy = Proxy::start(server.addr);
    let mut clients = Clients::connect(&proxy.url(), &server);

    for round in 0..3 {
        let numbers = 10 * round + 1..10 * round + 11;
        clients.publish_up(numbers.clone());
        proxy.apply("reset");
        publish_down(&server, numbers.clone());
        for client in [&mut clients.sub, &mut clients.publisher] {
            client.error_line("lost: closed: 1006");
            client.error_line("open again");
        }
        clients.expects_down(numbers);
    }
    clients.finish(&server, 31, 31);
}

#[test]
fn over_a_restart_that_loses_the_memory() {
    let addr = lasting_address().to_string();
    let mut server = Server::start_on(&addr, &HEARTBEAT);
    let mut clients = Clients::connect(&addr, &server);

    server.process.signal(Signal::KILL);
    server.process.exit();
    clients.sub.error_line("lost: closed: 1006");
    clients.publish_up(1..20);
    let server = Server::start_on(&addr, &HEARTBEAT);
    publish_down(&server, 0..20);

    clients.sub.error_line("open again");
    let gap = clients.next_json();
    assert_eq!(
        (&gap["topic"], &gap["gap"]["reason"]),
        (&"down".into(), &"epoch".into())
    );
    assert_eq!(
        (&gap["gap"]["first"], &gap["gap"]["last"]),
        (&2.into(), &serde_json::Value::Null)
    );
    clients.expects_down(0..20);
    clients
        .publisher
        .error_line("the server lost its log, and with it publishes 1 to 1");
    clients.publisher.close_stdin();
    assert_eq!(clients.publisher.exit_code(), 0);
    let expected: Vec<String> = (1..20).map(|number| format!("up {number}")).collect();
    assert_eq!(server.history("up"), expected);
}
