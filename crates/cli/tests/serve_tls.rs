//! `serve` with a certificate, and the signal that has it read again.

#![cfg(unix)]

mod common;

use std::fs;
use std::path::PathBuf;

use common::{Heartwire, Server, Signal, address_in, wait_until};

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

/// What a back end was posted, which is another server here; and why not, where its certificate is
/// not trusted.
#[test]
fn webhooks_go_over_tls_to_whom_the_platform_trusts() {
    let (chain, key) = certificate("back-end");
    let listen = ["serve", "--memory", "--listen", "127.0.0.1:0"];
    let tls = ["--tls-cert", chain.as_str(), "--tls-key", &key];
    let mut back_end = Heartwire::start(&[&listen[..], &tls].concat());
    let ready = back_end.line().text;
    let port = ready
        .split(" (data")
        .next()
        .and_then(|url| url.rsplit(':').next());
    let url = format!(
        "https://localhost:{}/v1/topics/posted",
        port.expect("a port")
    );
    let post = |roots: &str, outcome: &str| {
        let hook = format!("inbox {url}");
        let secret = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
        let webhook = ["--webhook", hook.as_str(), "--webhook-secret", secret];
        let arguments = [&listen[..], &webhook].concat();
        let mut process =
            Heartwire::start_with(&arguments, |command| command.env("SSL_CERT_FILE", roots));
        let addr = address_in(&process.line().text);
        let server = Server { process, addr };
        server.publish("inbox", "hello");
        let path = "/v1/webhooks/inbox?state=all";
        wait_until(outcome, || server.http("GET", path, "").1.contains(outcome));
    };
    post(&chain, "answered 201");
    post(&certificate("somebody-else").0, "invalid peer certificate");
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
