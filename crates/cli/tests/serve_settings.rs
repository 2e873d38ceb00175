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
    refuses(
        &["--listen", "0.0.0.0:0"],
        &["0.0.0.0:0", "--api-key", "--insecure-open"],
    );
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
        let base = [
            "serve",
            "--memory",
            "--config",
            path,
            "--listen",
            "127.0.0.1:0",
        ];
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
    let (code, _, errors) = Heartwire::run(&["serve", "--memory", "--listen", &server.url()]);
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

#[test]
fn an_open_address_is_served_to_whoever_insists_and_says_so() {
    let listen = [
        "serve",
        "--memory",
        "--listen",
        "0.0.0.0:0",
        "--insecure-open",
    ];
    let mut server = Heartwire::start(&listen);
    let ready = server.line().text;
    let port = common::address_in(&ready).port();
    server.error_line("insecure-open: everybody");
    let address = ([127, 0, 0, 1], port).into();
    assert_eq!(common::http(address, "GET", "/v1/topics", &[], "").0, 200);
    refuses(&["--insecure-open", "--api-key", "k"], &["insecure-open"]);
}

#[test]
fn contradictions_about_tokens_are_refused() {
    let secret = "0123456789abcdef0123456789abcdef";
    refuses(&["--jwt-secret", ""], &["jwt-secret", "empty"]);
    refuses(
        &["--jwt-public-key", "not-there"],
        &["jwt-public-key", "not-there"],
    );
    refuses(&["--jwt-audience", "a"], &["jwt-audience"]);
    let both = ["--jwt-secret", secret, "--jwt-public-key", "not-there"];
    refuses(&both, &["one of jwt-secret"]);
    let open = ["--jwt-secret", secret, "--open-websocket"];
    refuses(&open, &["open-websocket"]);
    let empty = file("no-keys", "\n");
    refuses(
        &["--api-key-file", empty.to_str().expect("UTF-8")],
        &["no-keys", "no key"],
    );
}

#[test]
fn secrets_come_from_files_and_the_environment_and_are_never_shown() {
    const SECRET: &str = "a-secret-that-nobody-may-ever-see-in-a-log";
    let keys = file("keys", &format!("{SECRET}-1\n\n{SECRET}-2\n"));
    let keys = keys.to_str().expect("UTF-8");
    let arguments = [
        "serve",
        "--memory",
        "--listen",
        "127.0.0.1:0",
        "--log-format",
        "json",
    ];
    let mut server = Heartwire::start_with(&arguments, |command| {
        command
            .env("RUST_LOG", "trace")
            .env("HEARTWIRE_API_KEY_FILE", keys)
            .env("HEARTWIRE_API_KEY", format!("{SECRET}-3"))
            .env("HEARTWIRE_JWT_SECRET", format!("{SECRET}-4"))
    });
    let ready = server.line().text;
    let addr = common::address_in(&ready);
    for (key, status) in [("1", 200), ("2", 200), ("3", 200), ("4", 401)] {
        let header = [("Authorization", &*format!("Bearer {SECRET}-{key}"))];
        let answer = common::http(addr, "GET", "/v1/topics", &header, "");
        assert_eq!(answer.0, status, "{key}: {}", answer.1);
    }
    let path = format!("/v1/topics/task:42?token={SECRET}-5");
    assert_eq!(common::http(addr, "GET", &path, &[], "").0, 401);
    let url = format!("ws://{addr}/websocket");
    let (_, _, errors) = Heartwire::run(&["pub", "--token", SECRET, &url, "inbox", "x"]);
    assert!(
        errors.contains("unauthorized") && !errors.contains(SECRET),
        "{errors}"
    );
    server.interrupt();
    let all = server.errors() + &server.output();
    assert!(all.contains("a connection ended"), "it does log: {all}");
    assert!(!all.contains(SECRET), "{all}");
    let help = Heartwire::start_with(&["serve", "--help"], |command| {
        command.env("HEARTWIRE_JWT_SECRET", SECRET)
    })
    .output();
    assert!(help.contains("--jwt-secret") && !help.contains(SECRET));
}
