//! The power fails, and the disk fills up: on file systems of the test's own, which takes root. As
//! anybody else the tests say that they show nothing.
//!
//! What reaches the device when the power fails is what stands in the file behind a loop-mounted file
//! system while the server is stopped in the middle of its work: a copy of that file, mounted, is the
//! machine after the failure.

#![cfg(target_os = "linux")]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the figures, and what could not be shown, are for who runs the tests"
)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use common::{Heartwire, Server, Signal, http, wait_until};

/// How many power failures there are.
const IMAGES: usize = 20;
const PUBLISHERS: usize = 4;
/// How many messages are acknowledged between two failures.
const ACKNOWLEDGED: usize = 60;

fn is_root() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        eprintln!("nothing is shown: mounting a file system takes root");
    }
    is_root
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {errors}");
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// An empty folder of the test's own.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("it can be made");
    folder
}

/// A mounted file system; unmounted when dropped.
struct Mount(PathBuf);

impl Mount {
    fn new(at: &Path, arguments: &[&str]) -> Self {
        fs::create_dir_all(at).expect("it can be made");
        run("mount", &[arguments, &[text(at)]].concat());
        Self(at.to_owned())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(&self.0).output();
        if !unmounted.is_ok_and(|output| output.status.success()) {
            // A server that a failed test left behind keeps it: it goes when that does.
            let _ = Command::new("umount").arg("-l").arg(&self.0).status();
        }
    }
}

/// The topic of all publishers: reading it once shows what all of them have stored.
const TOPIC: &str = "numbers";

/// Publishes its name with `0`, `1`, … to the topic, one at a time, and notes what was acknowledged.
struct Publisher {
    name: String,
    acknowledged: Arc<Mutex<usize>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Publisher {
    fn start(server: &Server, name: String, is_over: &Arc<AtomicBool>) -> Self {
        let (publisher, addr) = (name.clone(), server.addr);
        let acknowledged = Arc::new(Mutex::new(0));
        let (count, is_over) = (acknowledged.clone(), is_over.clone());
        let thread = thread::spawn(move || {
            let path = format!("/v1/topics/{TOPIC}");
            for number in 0.. {
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
                let message = format!("{publisher} {number}");
                let (status, body) = http(addr, "POST", &path, &[], &message);
                assert_eq!(status, 201, "{body}");
                *count.lock().expect("nobody panics with it") = number + 1;
            }
        });
        Self {
            name,
            acknowledged,
            thread: Some(thread),
        }
    }

    fn acknowledged(&self) -> usize {
        *self.acknowledged.lock().expect("nobody panics with it")
    }

    fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            thread.join().expect("every publish is acknowledged");
        }
    }
}

#[test]
fn what_was_acknowledged_survives_power_loss() {
    if !is_root() {
        return;
    }
    let folder = folder("lost-power");
    let image = folder.join("device");
    fs::File::create(&image)
        .and_then(|file| file.set_len(768 << 20))
        .expect("a file with holes");
    run("mkfs.ext4", &["-q", text(&image)]);
    // Nothing is written behind the server's back for as long as the test takes.
    let mounted = Mount::new(
        &folder.join("before"),
        &["-o", "loop,commit=3600", text(&image)],
    );
    let server = Server::start(&[
        "--data",
        text(&mounted.0.join("data")),
        "--retain-messages",
        "1000000",
    ]);
    let is_over = Arc::new(AtomicBool::new(false));
    let mut publishers: Vec<Publisher> = (0..PUBLISHERS)
        .map(|number| Publisher::start(&server, format!("publisher-{number}"), &is_over))
        .collect();
    let total = |publishers: &[Publisher]| -> usize {
        publishers.iter().map(Publisher::acknowledged).sum()
    };
    for number in 1..=IMAGES {
        let goal = number * ACKNOWLEDGED;
        wait_until("messages are acknowledged", || total(&publishers) >= goal);
        server.process.signal(Signal::STOP);
        // Whatever was acknowledged by now was so before the copy.
        let acknowledged: Vec<usize> = publishers.iter().map(Publisher::acknowledged).collect();
        let copy = folder.join(format!("copy-{number}"));
        run("cp", &["--sparse=always", text(&image), text(&copy)]);
        server.process.signal(Signal::CONT);
        let after = Mount::new(&folder.join("after"), &["-o", "loop", text(&copy)]);
        let messages = dump(&after.0.join("data"));
        for (publisher, acknowledged) in publishers.iter().zip(acknowledged) {
            let stored: Vec<&str> = messages
                .iter()
                .filter_map(|message| message.strip_prefix(publisher.name.as_str()))
                .collect();
            let expected: Vec<String> = (0..stored.len()).map(|n| format!(" {n}")).collect();
            assert_eq!(stored, expected, "once each, in order");
            assert!(
                stored.len() >= acknowledged,
                "{} of {acknowledged}",
                stored.len()
            );
        }
        drop(after);
        fs::remove_file(copy).expect("nothing has it mounted");
    }
    is_over.store(true, Ordering::Relaxed);
    publishers.iter_mut().for_each(Publisher::join);
    println!(
        "{IMAGES} power failures among {} acknowledged messages: none was lost",
        total(&publishers)
    );
}

fn dump(data: &Path) -> Vec<String> {
    let (code, output, errors) = Heartwire::run(&["log", "dump", text(data), TOPIC]);
    assert_eq!(code, 0, "{errors}");
    let lines = output.lines().map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).expect("JSON");
        message["text"].as_str().expect("a text").to_owned()
    });
    lines.collect()
}

#[test]
fn a_full_disk_refuses_messages_and_nothing_else() {
    if !is_root() {
        return;
    }
    let folder = folder("full-disk");
    let disk = Mount::new(
        &folder.join("disk"),
        &["-t", "tmpfs", "-o", "size=160m", "tmpfs"],
    );
    let mut server = Server::start(&[
        "--data",
        text(&disk.0.join("data")),
        "--retain-bytes",
        "1GiB",
    ]);
    let message = "x".repeat(1 << 20);
    let mut stored = 0;
    let mut refusal = String::new();
    wait_until("the disk is full", || {
        let (status, body) = server.http("POST", "/v1/topics/load", &message);
        match status {
            201 => stored += 1,
            // The server does not know yet that there is no room for more.
            503 => {}
            _ => refusal = format!("{status} {body}"),
        }
        !refusal.is_empty()
    });
    assert!(
        refusal.starts_with("507 ") && refusal.contains("disk-full"),
        "{refusal}"
    );
    let (status, body) = server.http("GET", "/readyz", "");
    assert_eq!(status, 503);
    assert!(body.contains("the disk is full"), "{body}");
    let (status, _) = server.http("GET", "/healthz", "");
    assert_eq!(status, 200, "it lives");
    let topics = server.http("GET", "/v1/topics", "").1;
    assert!(topics.contains(&format!("\"last\":{stored}")), "{topics}");

    run("mount", &["-o", "remount,size=600m", text(&disk.0)]);
    wait_until("there is room again", || {
        server.http("POST", "/v1/topics/load", "small").0 == 201
    });
    wait_until("it is ready", || server.http("GET", "/readyz", "").0 == 200);
    server.process.interrupt();
}

#[test]
fn a_folder_that_cannot_be_written_to_is_refused_with_one_clear_message() {
    if !is_root() {
        return;
    }
    let folder = folder("read-only");
    let disk = Mount::new(
        &folder.join("disk"),
        &["-t", "tmpfs", "-o", "size=160m", "tmpfs"],
    );
    let data = disk.0.join("data");
    let mut server = Server::start(&["--data", text(&data)]);
    server.publish("task:42", "kept");
    server.process.interrupt();
    server.process.exit();

    run("mount", &["-o", "remount,ro", text(&disk.0)]);
    for folder in [data.clone(), disk.0.join("another")] {
        let (code, _, errors) =
            Heartwire::run(&["serve", "--listen", "127.0.0.1:0", "--data", text(&folder)]);
        assert_eq!(code, 1, "{errors}");
        let lines: Vec<&str> = errors.lines().collect();
        let [line] = lines[..] else {
            panic!("one line: {errors}");
        };
        assert!(line.contains(text(&folder)), "{line}");
        assert!(line.contains("Read-only file system"), "{line}");
    }

    run("mount", &["-o", "remount,rw", text(&disk.0)]);
    let mut server = Server::start(&["--data", text(&data)]);
    let history = server.http("GET", "/v1/topics/task:42", "").1;
    assert!(history.contains("\"kept\""), "{history}");
    server.process.interrupt();
}
