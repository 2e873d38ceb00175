//! What can never come any more is named exactly, to people and to programs.

#![cfg(unix)]

mod common;

use common::{Heartwire, Server};
use serde_json::Value;

#[test]
fn what_retention_has_trimmed_is_named_before_what_is_left() {
    let server = Server::start(&["--retain-messages", "5"]);
    let first = server.publish("task:42", "message 1");
    for number in 2..=20 {
        server.publish("task:42", &format!("message {number}"));
    }
    let epoch = first["epoch"].as_str().expect("an epoch");
    let cursor = format!("{epoch}.1");
    let arguments = ["sub", &server.url(), "task:42", "--json", "--from", &cursor];
    let mut sub = Heartwire::start(&arguments);
    let mut next = || -> Value { serde_json::from_str(&sub.line().text).expect("a JSON line") };

    let gap = next();
    assert_eq!(gap["topic"], "task:42");
    assert_eq!(gap["gap"]["epoch"], epoch);
    assert_eq!(
        (&gap["gap"]["first"], &gap["gap"]["last"]),
        (&2.into(), &15.into())
    );
    assert_eq!(gap["gap"]["reason"], "retention");
    for number in 16..=20 {
        assert_eq!(next()["text"], format!("message {number}"));
    }
    let told = sub.error_line("gap: ").text;
    assert_eq!(
        told,
        format!("gap: task:42 {epoch}.2 to 15 will never come (retention)")
    );
    sub.interrupt();
}

#[test]
fn a_cursor_of_another_epoch_is_answered_by_a_gap_and_the_oldest_that_is_there() {
    let server = Server::start(&[]);
    server.publish("task:42", "here");
    let arguments = ["sub", &server.url(), "task:42", "--json", "--from", "0ld.7"];
    let mut sub = Heartwire::start(&arguments);
    let gap: Value = serde_json::from_str(&sub.line().text).expect("a JSON line");
    assert_eq!(
        (&gap["gap"]["epoch"], &gap["gap"]["reason"]),
        (&"0ld".into(), &"epoch".into())
    );
    assert_eq!(
        (&gap["gap"]["first"], &gap["gap"]["last"]),
        (&8.into(), &Value::Null)
    );
    assert!(sub.line().text.contains("\"here\""));
}
