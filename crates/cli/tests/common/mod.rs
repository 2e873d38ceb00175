//! Runs the real binary, and waits for what it says with a deadline.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses its own part"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use heartwire::{Link, Reconnect};
use rustix::process::{Pid, kill_process};

pub use rustix::process::Signal;

/// How long anything may take that is to happen at once, on a machine that is busy.
pub const SOON: Duration = Duration::from_secs(60);

/// A running `heartwire`; killed when dropped.
pub struct Heartwire {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Lines,
    stderr: Lines,
}

/// One line, and when it arrived.
#[derive(Clone, Debug)]
pub struct Line {
    pub text: String,
    pub at: Instant,
}

/// The lines of one stream, read by a thread as they come.
struct Lines {
    arriving: Receiver<Line>,
    seen: Vec<String>,
}

impl Lines {
    /// Nothing, where the test has taken the stream for itself.
    fn of(stream: Option<impl Read + Send + 'static>) -> Self {
        let (sender, arriving) = mpsc::channel();
        thread::spawn(move || {
            let Some(stream) = stream else { return };
            for line in BufReader::new(stream).lines() {
                let Ok(text) = line else { return };
                let at = Instant::now();
                if sender.send(Line { text, at }).is_err() {
                    return;
                }
            }
        });
        let seen = Vec::new();
        Self { arriving, seen }
    }

    fn next(&mut self, deadline: Instant) -> Result<Line, RecvTimeoutError> {
        let left = deadline.saturating_duration_since(Instant::now());
        let line = self.arriving.recv_timeout(left)?;
        self.seen.push(line.text.clone());
        Ok(line)
    }

    /// What has arrived so far.
    fn so_far(&mut self) -> String {
        self.seen
            .extend(self.arriving.try_iter().map(|line| line.text));
        self.seen.join("\n")
    }

    /// Everything, once the stream has ended.
    fn drained(&mut self) -> String {
        let deadline = Instant::now() + SOON;
        while self.next(deadline).is_ok() {}
        self.seen.join("\n")
    }
}

impl Heartwire {
    /// Starts `heartwire` with these arguments, and nothing of this process's environment that
    /// could configure it, in a folder without configuration.
    pub fn start(arguments: &[&str]) -> Self {
        Self::start_with(arguments, |command| command)
    }

    /// The same, after `adapt` has changed the command.
    pub fn start_with(
        arguments: &[&str],
        adapt: impl FnOnce(&mut Command) -> &mut Command,
    ) -> Self {
        let command = Command::new(env!("CARGO_BIN_EXE_heartwire"));
        Self::spawn(command, arguments, adapt)
    }

    /// The same by way of a program that is given the command as its own arguments.
    pub fn start_by(program: &[&str], arguments: &[&str]) -> Self {
        let mut command = Command::new(program[0]);
        command
            .args(&program[1..])
            .arg(env!("CARGO_BIN_EXE_heartwire"));
        Self::spawn(command, arguments, |command| command)
    }

    fn spawn(
        mut command: Command,
        arguments: &[&str],
        adapt: impl FnOnce(&mut Command) -> &mut Command,
    ) -> Self {
        command
            .args(arguments)
            .current_dir(env!("CARGO_TARGET_TMPDIR"))
            .env("NO_COLOR", "1")
            .env_remove("RUST_LOG")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("HEARTWIRE_") {
                command.env_remove(name);
            }
        }
        let mut child = adapt(&mut command).spawn().expect("the binary starts");
        let stdout = Lines::of(child.stdout.take());
        let stderr = Lines::of(child.stderr.take());
        let stdin = child.stdin.take();
        Self {
            child,
            stdin,
            stdout,
            stderr,
        }
    }

    /// Runs to the end: exit code, standard output, standard error.
    pub fn run(arguments: &[&str]) -> (i32, String, String) {
        let mut running = Self::start(arguments);
        running.close_stdin();
        let code = running.exit_code();
        (code, running.output(), running.errors())
    }

    /// The next line of standard output.
    pub fn line(&mut self) -> Line {
        self.line_by(Instant::now() + SOON)
    }

    /// The next line of standard output, which has to come by then.
    pub fn line_by(&mut self, deadline: Instant) -> Line {
        match self.stdout.next(deadline) {
            Ok(line) => line,
            Err(error) => panic!("no further line ({error}); {}", self.all_it_said()),
        }
    }

    /// The next line of standard error that contains `part`.
    pub fn error_line(&mut self, part: &str) -> Line {
        let deadline = Instant::now() + SOON;
        loop {
            match self.stderr.next(deadline) {
                Ok(line) if line.text.contains(part) => return line,
                Ok(_) => {}
                Err(error) => panic!("no {part:?} ({error}); {}", self.all_it_said()),
            }
        }
    }

    /// All that standard output has said; the process has ended.
    pub fn output(&mut self) -> String {
        self.stdout.drained()
    }

    /// All that standard error has said; the process has ended.
    pub fn errors(&mut self) -> String {
        self.stderr.drained()
    }

    fn all_it_said(&mut self) -> String {
        let (output, errors) = (self.stdout.so_far(), self.stderr.so_far());
        format!("output so far:\n{output}\nerrors so far:\n{errors}")
    }

    /// Writes one line to standard input.
    pub fn type_line(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("standard input is open");
        writeln!(stdin, "{line}").expect("it reads its standard input");
    }

    /// Ends standard input.
    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Its number.
    pub fn pid(&self) -> Pid {
        let pid = i32::try_from(self.child.id()).expect("a process id");
        Pid::from_raw(pid).expect("not zero")
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("the process lives");
    }

    /// Waits for the end of the process.
    pub fn exit(&mut self) -> ExitStatus {
        let deadline = Instant::now() + SOON;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child of ours") {
                return status;
            }
            if Instant::now() > deadline {
                panic!("it does not end; {}", self.all_it_said());
            }
            // The one way to wait for a child with a deadline.
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits for the end of the process, which must be one of its own making.
    pub fn exit_code(&mut self) -> i32 {
        let status = self.exit();
        match status.code() {
            Some(code) => code,
            None => panic!("killed: {status}; {}", self.all_it_said()),
        }
    }

    /// Asks it to stop as Ctrl-C does; it must end without complaint.
    pub fn interrupt(&mut self) {
        self.signal(Signal::INT);
        let code = self.exit_code();
        assert_eq!(code, 0, "{}", self.all_it_said());
    }
}

impl Drop for Heartwire {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server on a port of its own.
pub struct Server {
    pub process: Heartwire,
    pub addr: SocketAddr,
}

impl Server {
    /// `heartwire serve` on a free port, and these flags; in memory, unless they name a folder.
    pub fn start(flags: &[&str]) -> Self {
        Self::start_on("127.0.0.1:0", flags)
    }

    /// `heartwire serve` on this address.
    pub fn start_on(listen: &str, flags: &[&str]) -> Self {
        let mut arguments = vec!["serve", "--listen", listen];
        if !flags.contains(&"--data") && !flags.contains(&"--memory") {
            arguments.push("--memory");
        }
        arguments.extend(flags);
        // The life and death of connections is told at this level.
        let level = "info,heartwire_server=debug";
        let mut process =
            Heartwire::start_with(&arguments, |command| command.env("RUST_LOG", level));
        let ready = process.line().text;
        let addr = address_in(&ready);
        Self { process, addr }
    }

    /// The address as text, for command lines.
    pub fn url(&self) -> String {
        self.addr.to_string()
    }

    /// Publishes over HTTP; it must be stored.
    pub fn publish(&self, topic: &str, text: &str) -> serde_json::Value {
        let (status, body) = self.http("POST", &format!("/v1/topics/{topic}"), text);
        assert_eq!(status, 201, "{body}");
        serde_json::from_str(&body).expect("JSON")
    }

    /// The texts of a topic, oldest first.
    pub fn history(&self, topic: &str) -> Vec<String> {
        let (status, body) = self.http("GET", &format!("/v1/topics/{topic}?limit=1000"), "");
        assert_eq!(status, 200, "{body}");
        let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        let messages = body["messages"].as_array().expect("a list");
        messages
            .iter()
            .map(|message| message["text"].as_str().expect("a text").to_owned())
            .collect()
    }

    /// Waits until a topic holds that many messages.
    pub fn wait_for(&self, topic: &str, messages: usize) {
        let path = format!("/v1/topics/{topic}?limit=1000");
        wait_until("the messages are there", || {
            let (status, body) = self.http("GET", &path, "");
            let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
            let list = body["messages"].as_array().map_or(0, Vec::len);
            status == 200 && list >= messages
        });
    }

    /// One HTTP request: status and body.
    pub fn http(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        http(self.addr, method, path, &[], body)
    }
}

/// The address in the ready line of `serve`, which is part of the interface to the letter.
pub fn address_in(ready: &str) -> SocketAddr {
    ready
        .strip_prefix("heartwire listening on http://")
        .and_then(|rest| rest.split_once(" (data: "))
        .filter(|(_, data)| data.ends_with(')'))
        .and_then(|(addr, _)| addr.parse().ok())
        .unwrap_or_else(|| panic!("not the ready line: {ready:?}"))
}

/// A proxy in front of an address, driven over its standard input.
pub struct Proxy {
    pub process: Heartwire,
    pub addr: SocketAddr,
}

impl Proxy {
    /// `heartwire proxy` on a free port.
    pub fn start(to: SocketAddr) -> Self {
        let to = to.to_string();
        let arguments = ["proxy", "--listen", "127.0.0.1:0", "--to", &to];
        let mut process = Heartwire::start(&arguments);
        let ready = process.line().text;
        let addr = ready
            .strip_prefix("heartwire proxy listening on ")
            .and_then(|rest| rest.strip_suffix(&format!(" → {to}")))
            .and_then(|addr| addr.parse().ok())
            .unwrap_or_else(|| panic!("not the ready line: {ready:?}"));
        Self { process, addr }
    }

    /// Gives a command and waits until it is in force.
    pub fn apply(&mut self, command: &str) {
        self.process.type_line(command);
        let answer = self.process.line().text;
        assert!(answer.starts_with("ok: "), "{answer}");
    }

    /// The address as text, for command lines.
    pub fn url(&self) -> String {
        self.addr.to_string()
    }
}

/// Asks again and again, until it is so.
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !is_so() {
        assert!(Instant::now() < deadline, "never: {what}");
        // The one way to wait for another process that cannot be listened to.
        thread::sleep(Duration::from_millis(5));
    }
}

/// A link of the Rust client.
pub fn link(server: &str) -> Link {
    // Whoever is cut off comes back at once: a test has no herd.
    let policy = Reconnect::fixed(Duration::from_millis(50), 1).unlimited();
    let link = Link::builder(&format!("ws://{server}/websocket")).reconnect(policy);
    link.connect().expect("a good address")
}

/// Checks a log on disk: there is no damage, and the line of each topic says this.
pub fn assert_whole(folder: &Path, topics: impl IntoIterator<Item = (String, String)>) {
    let folder = folder.to_str().expect("UTF-8");
    let (code, output, errors) = Heartwire::run(&["log", "check", folder]);
    assert_eq!(code, 0, "{output}\n{errors}");
    assert!(!output.contains("damage"), "{output}");
    for (topic, says) in topics {
        let begin = format!("topic {topic} ");
        let told = output.lines().find(|line| line.starts_with(&begin));
        let told = told.unwrap_or_else(|| panic!("no {topic} in: {output}"));
        assert!(told.contains(&says), "{told}: {says} is expected");
    }
}

/// An address at which nobody listens.
pub fn unused_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("bound").to_string()
}

/// One HTTP request over a connection of its own: status and body.
pub fn http(
    addr: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> (u16, String) {
    let answer = whole_answer(addr, method, path, headers, body);
    let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    (
        status.unwrap_or_else(|| panic!("not HTTP: {answer:?}")),
        body.to_owned(),
    )
}

/// The same: the answer as it came.
pub fn whole_answer(
    addr: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> String {
    let mut stream = TcpStream::connect(addr).expect("somebody listens");
    stream.set_read_timeout(Some(SOON)).expect("not zero");
    let mut request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\
         Content-Type: text/plain\r\nContent-Length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("\r\n");
    request.push_str(body);
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}
