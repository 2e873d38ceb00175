//! What `serve` is told: flags, environment, file; and what it refuses.

#![cfg(unix)]

mod common;

use std::fs;
use std::path::PathBuf;

use common::{Heartwire, Server};

/// A configuration file of the test's own.
fn file(name: &str, content: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, content).expect("written");
    path
}

/// `serve` must refuse these flags, with code 2 and these words.
fn refuses(flags: &[&str], words: &[&str]) {
    let (code, output, errors) = Heartwire::run(&[&["serve"], flags].concat());
    assert_eq!((code, output.as_str()), (2, ""), "{flags:?}: {errors}");
    for word in words {
        assert!(errors.contains(word), "{flags:?} lacks {word:?}: {errors}");
    }
}

#[test]
fn what_is_out_of_range_is_named_with_its_range() {
    refuses(
        &["--heartbeat-interval", "10ms"],
        &["heartbeat-interval: 10ms", "1s to 1h"],
    );
    refuses(
        &["--message-bytes-max", "1GiB"],
        &["message-bytes-max", "1 to 64MiB"],
    );
    refuses(&["--heartbeat-timeout", "10"], &["--heartbeat-timeout"]);
    refuses(&["--log-format", "xml"], &["--log-format", "text", "json"]);
    refuses(&["--listen", "nonsense"], &["listen: \"nonsense\""]);
}

#[test]
fn an_open_address_without_a_key_is_refused() {
    refuses(&["--listen", "0.0.0.0:0"], &["0.0.0.0:0", "--api-key"]);
    refuses(&["--open-websocket"], &["open-websocket"]);
}

#[test]
fn a_wrong_file_is_named_with_the_key() {
    let unknown = file("unknown-key.toml", "hartbeat-interval = \"5s\"\n");
    let unknown = unknown.to_str().expect("UTF-8");
    refuses(&["--config", unknown], &[unknown, "hartbeat-interval"]);
    let range = file("out-of-range.toml", "heartbeat-timeout = \"2h\"\n");
    refuses(
        &["--config", range.to_str().expect("UTF-8")],
        &["heartbeat-timeout: 2h", "1s to 1h"],
    );
    refuses(&["--config", "not-there.toml"], &["not-there.toml"]);
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let path = file(
        "all.toml",
        "api-key = \"from-file\"\nlisten = \"nonsense\"\n",
    );
    let path = path.to_str().expect("UTF-8");
    let key_of = |flags: &[&str], environment: &[(&str, &str)]| {
        let base = ["serve", "--config", path, "--listen", "127.0.0.1:0"];
        let mut server = Heartwire::start_with(&[&base[..], flags].concat(), |command| {
            command.envs(environment.iter().copied())
        });
        let ready = server.line().text;
        let addr = common::address_in(&ready);
        let works = |key: &str| {
            let header = [("Authorization", &*format!("Bearer {key}"))];
            common::http(addr, "GET", "/v1/topics", &header, "").0 == 200
        };
        ["from-flag", "from-environment", "from-file"]
            .into_iter()
            .filter(|key| works(key))
            .collect::<Vec<_>>()
    };
    assert_eq!(key_of(&[], &[]), ["from-file"]);
    let environment = [("HEARTWIRE_API_KEY", "from-environment")];
    assert_eq!(key_of(&[], &environment), ["from-environment"]);
    let flags = ["--api-key", "from-flag"];
    assert_eq!(key_of(&flags, &environment), ["from-flag"]);
}

#[test]
fn an_address_that_is_taken_is_a_failure() {
    let server = Server::start(&[]);
    let (code, _, errors) = Heartwire::run(&["serve", "--listen", &server.url()]);
    assert_eq!(code, 1);
    assert!(
        errors.contains(&format!("cannot listen on {}", server.addr)),
        "{errors}"
    );
}

#[test]
fn log_lines_can_be_json_and_standard_output_holds_the_ready_line_alone() {
    let mut server = Server::start(&["--memory", "--log-format", "json"]);
    let warning: serde_json::Value =
        serde_json::from_str(&server.process.error_line("API key").text).expect("JSON");
    assert_eq!(warning["level"], "WARN");
    server.publish("task:42", "hello");
    server.process.interrupt();
    assert_eq!(server.process.output().lines().count(), 1);
}
