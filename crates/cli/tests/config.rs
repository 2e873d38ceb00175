//! `heartwire config`: what it writes, what it accepts, and what it names.

#![cfg(unix)]

mod common;

use std::fs;
use std::path::PathBuf;

use common::Heartwire;

fn file(name: &str, content: &str) -> String {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, content).expect("written");
    path.to_str().expect("UTF-8").to_owned()
}

#[test]
fn the_default_file_is_good_and_names_every_key() {
    let (code, written, errors) = Heartwire::run(&["config", "default"]);
    assert_eq!((code, errors.as_str()), (0, ""));
    for key in [
        "listen",
        "api-key-file",
        "jwt-audience",
        "tls-cert",
        "retain-age",
    ] {
        assert!(
            written.contains(&format!("\n# {key} = ")),
            "{key} in {written}"
        );
    }
    let path = file("default.toml", &written);
    let (code, output, errors) = Heartwire::run(&["config", "check", "--config", &path]);
    assert_eq!(
        (code, output.as_str()),
        (0, "the configuration is good"),
        "{errors}"
    );
    assert!(errors.contains("on loopback only"), "{errors}");
}

#[test]
fn what_is_wrong_is_named_with_its_key_and_range() {
    let path = file("wrong.toml", "topics-max = 0\n");
    let (code, output, errors) = Heartwire::run(&["config", "check", "--config", &path]);
    assert_eq!((code, output.as_str()), (2, ""));
    assert!(
        errors.contains("topics-max: 0 is out of range; it may be 1 to 100000"),
        "{errors}"
    );
    // The same flags and variables as those of serve.
    let (code, _, errors) = Heartwire::run(&["config", "check", "--listen", "0.0.0.0:7070"]);
    assert_eq!(code, 2);
    assert!(errors.contains("listen: 0.0.0.0:7070"), "{errors}");
    let path = file("typing.toml", "topic-max = 7\n");
    let (code, _, errors) = Heartwire::run(&["config", "check", "--config", &path]);
    assert_eq!(code, 2);
    assert!(errors.contains("topic-max"), "{errors}");
}
