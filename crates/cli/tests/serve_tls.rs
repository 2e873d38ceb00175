//! `serve` with a certificate, and the signal that has it read again.

#![cfg(unix)]

mod common;

use std::fs;
use std::path::PathBuf;

use common::{Heartwire, Signal};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
}

/// A certificate that nobody has signed, and its key, in files.
fn certificate(name: &str) -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("made");
    let path = |end: &str| folder().join(format!("{name}.{end}"));
    fs::write(path("crt"), made.cert.pem()).expect("written");
    fs::write(path("key"), made.signing_key.serialize_pem()).expect("written");
    let text = |end| path(end).to_str().expect("UTF-8").to_owned();
    (text("crt"), text("key"))
}

#[test]
fn a_link_goes_over_tls_and_the_certificate_is_read_again_on_sighup() {
    let (chain, key) = certificate("served");
    let arguments = [
        "serve",
        "--memory",
        "--listen",
        "127.0.0.1:0",
        "--tls-cert",
        &chain,
        "--tls-key",
        &key,
    ];
    let mut server = Heartwire::start(&arguments);
    let ready = server.line().text;
    let address = ready
        .strip_prefix("heartwire listening on https://")
        .and_then(|rest| rest.strip_suffix(" (data: memory)"))
        .unwrap_or_else(|| panic!("not the ready line: {ready:?}"));
    let port = address.rsplit(':').next().expect("a port");
    let url = format!("wss://localhost:{port}/websocket");
    let run = |root: &str| Heartwire::run(&["pub", "--ca", root, &url, "inbox", "x"]);
    let (code, _, errors) = run(&chain);
    assert_eq!(code, 0, "{errors}");
    let (other, _) = certificate("renewed");
    let renewed = folder().join("renewed.key");
    fs::copy(&other, &chain).expect("replaced");
    fs::copy(renewed, &key).expect("replaced");
    server.signal(Signal::HUP);
    server.error_line("were read again");
    let (code, _, errors) = run(&other);
    assert_eq!(code, 0, "{errors}");
    server.interrupt();
}

#[test]
fn half_of_a_pair_is_refused() {
    let (chain, key) = certificate("half");
    let (other, _) = certificate("other");
    for (flags, word) in [
        (vec!["--tls-cert", &chain], "tls-key"),
        (vec!["--tls-key", &key], "tls-cert"),
        (vec!["--tls-cert", &other, "--tls-key", &key], "tls-cert"),
        (
            vec!["--tls-cert", "not-there", "--tls-key", &key],
            "not-there",
        ),
    ] {
        let (code, _, errors) = Heartwire::run(&[&["serve"], &flags[..]].concat());
        assert_eq!(code, 2, "{errors}");
        assert!(errors.contains(word), "{errors}");
    }
}
