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
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use common::{Heartwire, SOON, Server, Signal, address_in, http, wait_until, whole_answer};
use rustix::process::{Resource, Rlimit, prlimit};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Message, WebSocket, client};

/// How many power failures there are.
const IMAGES: usize = 20;
const PUBLISHERS: usize = 4;
/// Before each failure so many times its number of messages are acknowledged, at the least. It is about a
/// thousand from one to the next, as publishing goes on while what the one before left is read.
const ACKNOWLEDGED: usize = 60;
/// After each failure the log is read; after one of so many a server starts on it as well, which takes
/// some seconds: its new segments are written on a file system in a file.
const SERVED_EVERY: usize = 5;

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
        if number % SERVED_EVERY == 0 {
            goes_on(&after.0.join("data"), &messages);
        }
        drop(after);
        fs::remove_file(copy).expect("nothing has it mounted");
    }
    is_over.store(true, Ordering::Relaxed);
    publishers.iter_mut().for_each(Publisher::join);
    println!(
        "{IMAGES} power failures among {} acknowledged messages: none was lost, and after {} of them a \
         server went on",
        total(&publishers),
        IMAGES / SERVED_EVERY
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

/// Reading a log changes nothing in it, and starting a server does: it cuts off what is torn, writes the
/// last batch once more, and begins new segments. The server tells what was read before, and what comes
/// now gets the next offset.
fn goes_on(data: &Path, messages: &[String]) {
    let flags = ["--data", text(data), "--retain-messages", "1000000"];
    let mut server = Server::start(&flags);
    let (told, end) = whole_history(&server);
    assert!(
        told == messages,
        "{} messages are told where {} were read",
        told.len(),
        messages.len()
    );
    let arguments = ["sub", &server.url(), TOPIC, "--json", "--from", &end];
    let mut follower = Heartwire::start(&arguments);
    let stored = server.publish(TOPIC, "after the failure");
    let (epoch, last) = end.split_once('.').expect("a cursor");
    assert_eq!(last, messages.len().to_string(), "{end}");
    assert_eq!(stored["epoch"], epoch, "{stored}");
    assert_eq!(stored["offset"], messages.len() + 1, "{stored}");
    assert_eq!(stored["durability"], "disk", "{stored}");
    let line = follower.line().text;
    let followed: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(
        followed["cursor"],
        *format!("{epoch}.{}", messages.len() + 1),
        "{line}"
    );
    assert_eq!(followed["text"], "after the failure", "{line}");
    follower.interrupt();
    server.process.interrupt();
    let last = dump(data).pop();
    assert_eq!(last.as_deref(), Some("after the failure"));
}

fn text_of(value: &serde_json::Value) -> &str {
    value.as_str().expect("a text")
}

/// All messages of the topic, oldest first, and the cursor behind them.
fn whole_history(server: &Server) -> (Vec<String>, String) {
    let (mut messages, mut next) = (Vec::new(), "0".to_owned());
    loop {
        let path = format!("/v1/topics/{TOPIC}?limit=1000&after={next}");
        let (status, body) = server.http("GET", &path, "");
        assert_eq!(status, 200, "{body}");
        let page: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        let listed = page["messages"].as_array().expect("a list");
        messages.extend(
            listed
                .iter()
                .map(|message| text_of(&message["text"]).to_owned()),
        );
        text_of(&page["next"]).clone_into(&mut next);
        if page["more"] == false {
            return (messages, next);
        }
    }
}

/// A `heartwire.v1` connection spoken by hand: a link would try again by itself, and keep to itself
/// what it was refused for the moment.
struct ByHand(WebSocket<TcpStream>);

impl ByHand {
    fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).expect("somebody listens");
        stream.set_read_timeout(Some(SOON)).expect("not zero");
        let url = format!("ws://{addr}/websocket");
        let mut request = url.into_client_request().expect("a good address");
        let v1 = HeaderValue::from_static("heartwire.v1");
        request.headers_mut().insert("sec-websocket-protocol", v1);
        let (socket, _) = client(request, stream).expect("it becomes a WebSocket");
        let mut connection = Self(socket);
        let hello = r#"hello {"client":"0000000000000000-by-hand","attempt":1}"#;
        let welcome = connection.ask(hello);
        assert!(welcome.starts_with("welcome"), "{welcome}");
        connection
    }

    fn say(&mut self, frame: &str) {
        self.0.send(Message::text(frame)).expect("sent");
    }

    /// Says something, and hears what comes back.
    fn ask(&mut self, frame: &str) -> String {
        self.say(frame);
        loop {
            let heard = self.0.read().expect("an answer");
            let heard = heard.into_text().expect("text");
            let Some(rest) = heard.strip_prefix("ping ") else {
                return heard.to_string();
            };
            let id = rest.lines().next().unwrap_or_default();
            self.say(&format!("pong {id}"));
        }
    }
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
    let mut publisher = ByHand::connect(server.addr);
    let publish = format!("pub load 1\n{message}");
    assert_eq!(publisher.ask(&publish), "nack 1 unavailable 1000");
    let topics = server.http("GET", "/v1/topics", "").1;
    assert!(topics.contains(&format!("\"last\":{stored}")), "{topics}");

    run("mount", &["-o", "remount,size=600m", text(&disk.0)]);
    wait_until("there is room again", || {
        server.http("POST", "/v1/topics/load", "small").0 == 201
    });
    wait_until("what was refused is stored", || {
        publisher.ask(&publish) == "ack 1"
    });
    wait_until("it is ready", || server.http("GET", "/readyz", "").0 == 200);
    server.process.interrupt();
}

/// Every write into a file fails from here on, or none does any more.
fn let_writes_fail(server: &Server, fail: bool) {
    let limit = Rlimit {
        current: fail.then_some(1),
        maximum: None,
    };
    prlimit(Some(server.process.pid()), Resource::Fsize, limit).expect("it may be set");
}

/// The answer to whoever asks something of a server whose disk has failed.
fn refused_for_good(addr: SocketAddr, method: &str, path: &str) -> String {
    let answer = whole_answer(addr, method, path, &[], "lost");
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.contains("\"error\":\"disk-failed\""), "{answer}");
    assert!(answer.contains("takes no more messages"), "{answer}");
    answer
}

#[test]
fn a_disk_that_fails_refuses_messages_says_so_and_keeps_its_links() {
    let data = folder("failing-disk");
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--data", text(&data)];
    // Without that a write beyond the limit would end the process instead of failing.
    let mut process = Heartwire::start_by(&["env", "--ignore-signal=XFSZ"], &arguments);
    let addr = address_in(&process.line().text);
    let mut server = Server { process, addr };
    server.publish("task:42", "kept");
    let topic = format!("ws://{addr}/websocket?task=42");
    let mut link = Heartwire::start(&["connect", &topic, "--plain"]);
    link.type_line("ping");
    assert_eq!(link.line().text, "pong");

    let_writes_fail(&server, true);
    let mut publisher = ByHand::connect(addr);
    let answer = refused_for_good(addr, "POST", "/v1/topics/task:42");
    assert!(answer.contains("\r\nretry-after: 1\r\n"), "{answer}");
    // Whoever comes later is told the same, and what the system had said.
    for (method, path) in [("POST", "/v1/topics/task:42"), ("GET", "/readyz")] {
        let answer = refused_for_good(addr, method, path);
        assert!(answer.contains("00000001.seg"), "{answer}");
    }
    for _ in 0..2 {
        let answer = publisher.ask("pub task:42 1\nlost");
        assert_eq!(answer, "nack 1 unavailable 1000");
    }
    let metrics = server.http("GET", "/metrics", "").1;
    let counted = "heartwire_refusals_total{over=\"http\",reason=\"disk-failed\"} 3\n";
    assert!(metrics.contains(counted), "{metrics}");
    assert!(
        metrics.contains("\nheartwire_log_accepting 0\n"),
        "{metrics}"
    );
    link.type_line("ping");
    assert_eq!(link.line().text, "pong");
    assert_eq!(server.history("task:42"), ["kept"]);

    // Who is shut out holds, is tried to be written again, and is known after the restart.
    let kick = "/v1/subjects/ann?for=1h";
    assert_eq!(server.http("DELETE", kick, "").0, 200);
    server.process.error_line("a restart would forget it");
    let_writes_fail(&server, false);
    let file = data.join("shut-out");
    wait_until("it is written down", || file.exists());
    server.process.signal(Signal::KILL);
    server.process.exit();
    let server = Server::start(&["--data", text(&data)]);
    assert_eq!(server.history("task:42"), ["kept"]);
    let listed = server.http("GET", "/v1/subjects", "").1;
    assert!(listed.contains("\"ann\""), "{listed}");
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
