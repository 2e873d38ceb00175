//! What a newcomer does first: serve, publish by HTTP and by `pub`, follow by `sub`, stop.

#![cfg(unix)]

mod common;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{Heartwire, Server};

#[test]
fn a_message_published_over_http_is_printed_and_everything_stops_with_code_0() {
    let mut server = Server::start(&[]);
    let answer = server.publish("task:42", "hello");
    assert_eq!(answer["topic"], "task:42");
    assert_eq!(answer["offset"], 1);
    assert_eq!(answer["durability"], "memory");
    assert!(answer["epoch"].is_string(), "{answer}");

    let mut sub = Heartwire::start(&["sub", &server.url(), "task:42", "--from", "head"]);
    assert_eq!(sub.line().text, "hello");
    server.publish("task:42", "50 %");
    assert_eq!(sub.line().text, "50 %");
    sub.interrupt();
    server.process.interrupt();
}

#[test]
fn json_lines_carry_the_cursor_from_which_sub_goes_on() {
    let server = Server::start(&[]);
    server.publish("task:42", "one");
    server.publish("task:42", "two\nlines");
    let arguments = ["sub", &server.url(), "task:42", "--json", "--from"];
    let mut sub = Heartwire::start(&[&arguments[..], &["head"]].concat());
    let mut next =
        || -> serde_json::Value { serde_json::from_str(&sub.line().text).expect("a JSON line") };
    let (one, two) = (next(), next());
    assert_eq!(
        (&one["topic"], &one["text"]),
        (&"task:42".into(), &"one".into())
    );
    assert_eq!(
        (&two["offset"], &two["text"]),
        (&2.into(), &"two\nlines".into())
    );
    assert!(
        one["time"]
            .as_u64()
            .is_some_and(|time| time > 1_600_000_000_000)
    );

    let cursor = one["cursor"].as_str().expect("a cursor");
    let mut later = Heartwire::start(&[&arguments[..], &[cursor]].concat());
    assert!(later.line().text.contains("two\\nlines"));
}

#[test]
fn several_topics_are_told_apart() {
    let server = Server::start(&[]);
    let mut sub = Heartwire::start(&["sub", &server.url(), "task:1", "task:2", "--from", "head"]);
    server.publish("task:2", "b");
    assert_eq!(sub.line().text, "task:2 b");
    server.publish("task:1", "a");
    assert_eq!(sub.line().text, "task:1 a");
}

/// Every flag has a variable, so that containers need no command lines of their own.
#[test]
fn flags_of_clients_come_from_the_environment_as_well() {
    let server = Server::start(&[]);
    server.publish("task:42", "one");
    let variables = [
        ("HEARTWIRE_SUB_FROM", "head"),
        ("HEARTWIRE_SUB_JSON", "true"),
    ];
    let mut sub = Heartwire::start_with(&["sub", &server.url(), "task:42"], |command| {
        command.envs(variables)
    });
    let line: serde_json::Value = serde_json::from_str(&sub.line().text).expect("a JSON line");
    assert_eq!(line["text"], "one");
}

#[test]
fn pub_exits_with_0_when_the_message_is_stored() {
    let server = Server::start(&[]);
    let url = format!("http://{}", server.addr);
    let (code, output, errors) = Heartwire::run(&["pub", &url, "inbox", "please hurry"]);
    assert_eq!((code, output.as_str()), (0, ""), "{errors}");
    assert_eq!(server.history("inbox"), ["please hurry"]);
}

#[test]
fn pub_stores_the_lines_of_its_input_in_order() {
    let server = Server::start(&[]);
    let mut publisher = Heartwire::start(&["pub", &server.url(), "inbox", "-"]);
    let lines: Vec<String> = (0..500).map(|number| format!("line {number}")).collect();
    for line in &lines {
        publisher.type_line(line);
    }
    publisher.close_stdin();
    assert_eq!(publisher.exit_code(), 0, "{}", publisher.errors());
    assert_eq!(server.history("inbox"), lines);
}

#[test]
fn pub_says_why_a_message_is_not_stored() {
    let server = Server::start(&["--message-bytes-max", "10"]);
    let (code, _, errors) = Heartwire::run(&["pub", &server.url(), "inbox", "much too long"]);
    assert_eq!(code, 1);
    assert!(
        errors.contains("message 1 is not known to be stored"),
        "{errors}"
    );
    assert!(server.history("inbox").is_empty());
    assert_eq!(
        Heartwire::run(&["pub", &server.url(), "not a topic", "x"]).0,
        2
    );
    assert_eq!(Heartwire::run(&["pub", &server.url(), "$server", "x"]).0, 1);
    assert_eq!(Heartwire::run(&["pub", "ftp://nowhere", "inbox", "x"]).0, 2);
}

#[test]
fn pub_gives_up_when_nobody_answers() {
    let unused = common::unused_address();
    let start = Instant::now();
    let (code, _, errors) = Heartwire::run(&["pub", &unused, "inbox", "x", "--timeout", "500ms"]);
    assert_eq!(code, 1);
    assert!(start.elapsed() >= Duration::from_millis(500));
    assert!(
        errors.contains("nothing was acknowledged in time"),
        "{errors}"
    );
}

#[test]
fn sub_into_head_ends_quietly() {
    let server = Server::start(&[]);
    for number in 0..100 {
        server.publish("task:42", &format!("{number}"));
    }
    let mut head = Command::new("head")
        .arg("-1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("head is there");
    let pipe = head.stdin.take().expect("piped");
    let arguments = ["sub", &server.url(), "task:42", "--from", "head"];
    let mut sub = Heartwire::start_with(&arguments, |command| command.stdout(pipe));
    let output = head.wait_with_output().expect("head ends");
    assert_eq!(output.stdout, b"0\n");
    assert_eq!(sub.exit_code(), 0);
    assert!(!sub.errors().contains("heartwire:"), "{}", sub.errors());
}

#[test]
fn wrong_usage_is_code_2() {
    for arguments in [
        &["sub"][..],
        &["sub", "127.0.0.1:1"],
        &["sub", "127.0.0.1:1", "task:42", "--from", "middle"],
        &["sub", "127.0.0.1:1", "a", "b", "--from", "k3v9.1"],
        &["sub", "127.0.0.1:1", "a", "a"],
        &["pub", "127.0.0.1:1"],
        &["explode"],
    ] {
        assert_eq!(Heartwire::run(arguments).0, 2, "{arguments:?}");
    }
}

#[test]
fn bench_measures_a_running_server() {
    let server = Server::start(&[]);
    let url = server.url();
    for (what, flags, figure, expected) in [
        ("connections", &["--count", "20"][..], "connections", 20.0),
        (
            "fan-out",
            &["--count", "5", "--messages", "10"],
            "deliveries",
            50.0,
        ),
        ("latency", &["--messages", "10"], "messages", 10.0),
        ("recovery", &["--count", "10"], "links", 10.0),
    ] {
        let arguments = [&["bench", &url, what, "--json"][..], flags].concat();
        let (code, output, errors) = Heartwire::run(&arguments);
        assert_eq!(code, 0, "{what}: {errors}");
        let report: serde_json::Value = serde_json::from_str(&output).expect("one JSON object");
        assert_eq!(report["bench"], what, "{report}");
        assert_eq!(report[figure], expected, "{report}");
        let percentiles = report.as_object().expect("an object").keys();
        assert!(
            percentiles.filter(|name| name.ends_with("_p99_ms")).count() > 0,
            "{report}"
        );
    }
    let (code, output, _) = Heartwire::run(&["bench", &url, "latency", "--messages", "3"]);
    assert_eq!(code, 0);
    assert!(
        output
            .lines()
            .any(|line| line.starts_with("stored_p99 ") && line.ends_with(" ms")),
        "{output}"
    );
    common::wait_until("every link has said goodbye", || {
        let (_, listed) = server.http("GET", "/v1/connections", "");
        listed.contains("\"connections\":[]")
    });
}

#[test]
fn bench_tells_what_is_wrong_with_its_arguments_and_with_the_server() {
    let server = Server::start(&["--api-key", "a-key-of-some-length"]);
    let url = server.url();
    for arguments in [
        &["bench", &url, "everything"][..],
        &["bench", &url, "latency", "--messages", "0"],
        &["bench", "nonsense://x", "latency"],
        &["bench", &url, "latency", "--ca", "no-such-file"],
    ] {
        let (code, _, errors) = Heartwire::run(arguments);
        assert_eq!(code, 2, "{arguments:?}: {errors}");
    }
    let (code, _, errors) = Heartwire::run(&["bench", &url, "connections", "--count", "1"]);
    assert_eq!(code, 1, "{errors}");
    assert!(errors.contains("4001"), "{errors}");
}
