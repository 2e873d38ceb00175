//! A log on disk as its operator meets it: looked at, damaged, restored, refused. Each time one
//! clear message.

#![cfg(unix)]

mod common;

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use common::{Heartwire, Server, Signal, address_in};

/// An empty folder of the test's own.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&folder);
    folder
}

fn text(folder: &Path) -> &str {
    folder.to_str().expect("UTF-8")
}

/// A log of ten messages, stopped as a deploy does or killed.
fn ten_messages(folder: &Path, signal: Signal) -> Vec<String> {
    let mut server = Server::start(&["--data", text(folder)]);
    let messages: Vec<String> = (1..=10).map(|n| format!("message {n}")).collect();
    for message in &messages {
        server.publish("task:42", message);
    }
    server.process.signal(signal);
    server.process.exit();
    messages
}

fn run(arguments: &[&str]) -> (i32, String, String) {
    Heartwire::run(arguments)
}

/// Where the text stands in the first segment.
fn position_of(folder: &Path, needle: &str) -> u64 {
    let bytes = fs::read(folder.join("00000001.seg")).expect("a segment");
    let found = bytes
        .windows(needle.len())
        .position(|part| part == needle.as_bytes());
    found.expect("it was stored") as u64
}

fn flip_a_bit(folder: &Path, position: u64) {
    let segment = folder.join("00000001.seg");
    let mut options = fs::OpenOptions::new();
    let file = options.read(true).write(true).open(segment);
    let file = file.expect("a segment");
    let mut byte = [0];
    file.read_exact_at(&mut byte, position)
        .expect("it is there");
    file.write_all_at(&[byte[0] ^ 4], position)
        .expect("it may be written");
}

/// `serve` must fail with code 1 and these words.
fn refuses(folder: &Path, words: &[&str]) {
    let (code, output, errors) = run(&["serve", "--listen", "127.0.0.1:0", "--data", text(folder)]);
    assert_eq!((code, output.as_str()), (1, ""), "{errors}");
    for word in words {
        assert!(errors.contains(word), "{word:?} is not in: {errors}");
    }
}

#[test]
fn a_log_is_checked_and_dumped_without_a_server() {
    let folder = folder("looked-at");
    let messages = ten_messages(&folder, Signal::KILL);
    let (code, output, errors) = run(&["log", "check", text(&folder)]);
    assert_eq!(code, 0, "{errors}");
    assert!(output.contains("1 topics"), "{output}");
    assert!(
        output.contains("topic task:42 epoch ") && output.contains("offsets 1 to 10"),
        "{output}"
    );
    let (code, output, errors) = run(&["log", "dump", text(&folder), "task:42"]);
    assert_eq!(code, 0, "{errors}");
    let dumped: Vec<String> = output
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"))
        .map(|message| message["text"].as_str().expect("a text").to_owned())
        .collect();
    assert_eq!(dumped, messages);
    let (code, _, errors) = run(&["log", "dump", text(&folder), "task:43"]);
    assert_eq!(code, 1);
    assert!(errors.contains("no topic task:43"), "{errors}");
    let (code, _, errors) = run(&["log", "check", "no-such-folder"]);
    assert_eq!(code, 1);
    assert!(errors.contains("no-such-folder"), "{errors}");
}

#[test]
fn one_flipped_bit_is_named_and_costs_its_batch_alone() {
    let folder = folder("flipped");
    ten_messages(&folder, Signal::KILL);
    let position = position_of(&folder, "message 5");
    flip_a_bit(&folder, position);

    let (code, output, errors) = run(&["log", "check", text(&folder)]);
    assert_eq!(code, 1, "{output}");
    assert!(
        output.contains("damage: ") && output.contains("00000001.seg at byte"),
        "{output}"
    );
    assert!(errors.contains("--accept-data-loss"), "{errors}");
    refuses(
        &folder,
        &["damaged", "00000001.seg at byte", "--accept-data-loss"],
    );

    let mut server = Server::start(&["--data", text(&folder), "--accept-data-loss"]);
    let accepted = server.process.error_line("accepted damage").text;
    assert!(accepted.contains("00000001.seg at byte"), "{accepted}");
    server.process.error_line("lost: task:42 5 to 5");
    let (status, page) = server.http("GET", "/v1/topics/task:42", "");
    assert_eq!(status, 200);
    assert!(
        page.contains("message 4") && !page.contains("message 5"),
        "{page}"
    );
    let cursor = page
        .split("\"next\":\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next());
    let cursor = cursor.expect("where to go on");
    let path = format!("/v1/topics/task:42?after={cursor}");
    let (status, gap) = server.http("GET", &path, "");
    assert_eq!(status, 410, "{gap}");
    assert!(
        gap.contains("\"reason\":\"damage\"") && gap.contains("\"first\":5"),
        "{gap}"
    );
    let path = format!("/v1/topics/task:42?after={}", cursor.replace(".4", ".5"));
    let (status, rest) = server.http("GET", &path, "");
    assert_eq!(status, 200, "{rest}");
    assert!(
        rest.contains("message 6") && rest.contains("message 10"),
        "{rest}"
    );
    server.process.interrupt();
    let (code, output, errors) = run(&["log", "check", text(&folder)]);
    assert_eq!(code, 0, "{errors}");
    assert!(output.ends_with("\ntopic task:42 lost 5 to 5"), "{output}");
    assert!(!output.contains("damage: "), "{output}");
    let again = Server::start(&["--data", text(&folder)]);
    again.publish("task:42", "goes on");
}

#[test]
fn without_flags_what_was_published_is_in_the_working_directory_after_a_kill() {
    let folder = folder("without-flags");
    fs::create_dir_all(&folder).expect("it can be made");
    let serve = || {
        let flags = ["serve", "--listen", "127.0.0.1:0"];
        let mut process = Heartwire::start_with(&flags, |command| command.current_dir(&folder));
        let ready = process.line().text;
        assert!(ready.ends_with(" (data: heartwire-data)"), "{ready}");
        let addr = address_in(&ready);
        Server { process, addr }
    };
    let mut server = serve();
    let stored = server.publish("task:42", "kept");
    assert_eq!(stored["durability"], "disk");
    assert!(folder.join("heartwire-data/00000001.seg").exists());
    server.process.signal(Signal::KILL);
    server.process.exit();
    assert_eq!(serve().history("task:42"), ["kept"]);
}

#[test]
fn a_restored_copy_begins_new_epochs() {
    let folder = folder("restored");
    ten_messages(&folder, Signal::TERM);
    let before = epoch(&folder);
    let (code, output, errors) = run(&["log", "reset-epochs", text(&folder)]);
    assert_eq!(code, 0, "{errors}");
    assert!(output.starts_with("1 topics"), "{output}");
    assert_ne!(epoch(&folder), before);
    let server = Server::start(&["--data", text(&folder)]);
    assert_eq!(server.history("task:42").len(), 10, "nothing is lost by it");
}

fn epoch(folder: &Path) -> String {
    let (_, output, _) = run(&["log", "check", text(folder)]);
    let epoch = output
        .split(" epoch ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next());
    epoch.expect("it is told").to_owned()
}

#[test]
fn a_folder_that_cannot_be_served_is_refused_with_one_clear_message() {
    let folder = folder("refused");
    let server = Server::start(&["--data", text(&folder)]);
    refuses(&folder, &["refused is in use by process"]);
    drop(server);

    let file = folder.join("a-file");
    fs::write(&file, "").expect("it may be written");
    refuses(&file, &["cannot use the folder", "a-file"]);
}
