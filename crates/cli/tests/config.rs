//! `heartwire config`: what it writes, what it accepts, and what it names; and `deploy/`, whose files
//! tell the server what it understands, and hear from it what they wait for.

#![cfg(unix)]

mod common;

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Heartwire, SOON, Signal};

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

fn deployed(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../deploy")
        .join(name);
    fs::read_to_string(path).expect("it is there")
}

/// The configuration is checked with these flags of `serve`; files of the test's own stand in for those
/// named.
fn check(test: &str, flags: &[&str]) -> (i32, String) {
    let config = file(&format!("{test}.toml"), "");
    let keys = file(&format!("{test}-keys"), "a-key-for-this-test-alone\n");
    let known = |flag: &&str| match *flag {
        "/etc/heartwire/heartwire.toml" => config.clone(),
        "${CREDENTIALS_DIRECTORY}/api-keys" => keys.clone(),
        other => other.to_owned(),
    };
    let flags: Vec<String> = flags.iter().map(known).collect();
    let mut arguments = vec!["config", "check"];
    arguments.extend(flags.iter().map(String::as_str));
    let (code, _, errors) = Heartwire::run(&arguments);
    (code, errors)
}

#[test]
fn the_units_flags_are_known() {
    let unit = deployed("heartwire.service");
    let start = unit
        .lines()
        .find_map(|line| line.strip_prefix("ExecStart="));
    let words: Vec<&str> = start.expect("it starts something").split(' ').collect();
    let ["/usr/local/bin/heartwire", "serve", flags @ ..] = words.as_slice() else {
        panic!("the unit starts {words:?}");
    };
    let (code, errors) = check("unit", flags);
    assert_eq!((code, errors.as_str()), (0, ""));
    // The folder of the log is the one that the service may write to.
    assert!(flags.contains(&"/var/lib/heartwire") && unit.contains("\nStateDirectory=heartwire\n"));
    let (code, errors) = check("unit", &["--no-such-flag"]);
    assert_eq!(code, 2, "{errors}");
}

/// systemd's own tool has the last word where there is one: it knows every setting and what it takes.
#[test]
fn systemd_finds_nothing_to_say_about_the_unit() {
    let unit = deployed("heartwire.service");
    let unit = unit.replace("/usr/local/bin/heartwire", env!("CARGO_BIN_EXE_heartwire"));
    let path = file("heartwire.service", &unit);
    let tool = Command::new("systemd-analyze")
        .args(["verify", "--man=no", &path])
        .output();
    let Ok(said) = tool else { return };
    let complaints = String::from_utf8_lossy(&said.stderr);
    assert!(
        said.status.success() && complaints.is_empty(),
        "{complaints}"
    );
}

#[test]
fn the_containers_flags_are_known_and_ask_for_a_key() {
    let file = deployed("Dockerfile");
    let command = file.lines().find_map(|line| line.strip_prefix("CMD "));
    let command: Vec<String> = serde_json::from_str(command.expect("there is a command"))
        .expect("a command is an array of strings");
    let ["serve", flags @ ..] = &command.iter().map(String::as_str).collect::<Vec<_>>()[..] else {
        panic!("the container starts {command:?}");
    };
    let (code, errors) = check("container", flags);
    assert!(
        code == 2 && errors.contains("listen"),
        "open to everybody: {errors}"
    );
    let with_key = [flags, &["--api-key", "a-key-for-this-test-alone"]].concat();
    let (code, errors) = check("container", &with_key);
    assert_eq!((code, errors.as_str()), (0, ""));
}

/// What a supervisor is told within the patience of a test.
fn told(supervisor: &UnixDatagram) -> String {
    let mut message = [0; 256];
    let length = supervisor.recv(&mut message).expect("it is told something");
    String::from_utf8_lossy(&message[..length])
        .trim()
        .to_owned()
}

#[test]
fn a_supervisor_hears_of_the_start_of_life_and_of_the_stop() {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("supervisor");
    let _ = fs::remove_file(&path);
    let supervisor = UnixDatagram::bind(&path).expect("a socket of its own");
    supervisor.set_read_timeout(Some(SOON)).expect("a patience");
    let mut server = Heartwire::start_with(
        &["serve", "--memory", "--listen", "127.0.0.1:0"],
        |command| {
            command
                .env("NOTIFY_SOCKET", &path)
                .env("WATCHDOG_USEC", "300000")
        },
    );
    assert_eq!(told(&supervisor), "READY=1");
    let line = server.line();
    assert!(line.text.contains("listening"), "{}", line.text);
    for _ in 0..3 {
        assert_eq!(told(&supervisor), "WATCHDOG=1");
    }
    server.signal(Signal::TERM);
    let is_stop = |message: &String| message != "WATCHDOG=1";
    let stop = std::iter::repeat_with(|| told(&supervisor)).find(is_stop);
    assert_eq!(stop.as_deref(), Some("STOPPING=1"));
    assert_eq!(server.exit_code(), 0);
}
