//! `connect`, typed into a pipe and into a terminal.

#![cfg(unix)]

mod common;

use std::fs::File;
use std::io::{Read, Write};
use std::process::Stdio;
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use common::{Heartwire, SOON, Server};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};

#[test]
fn topics_are_followed_and_published_to() {
    let server = Server::start(&[]);
    server.publish("task:42", "hello");
    let mut connect = Heartwire::start(&["connect", &server.url()]);
    connect.type_line("/sub task:42 head");
    assert!(connect.line().text.ends_with(" hello"));
    connect.type_line("/pub task:42 50 %");
    let line = connect.line().text;
    assert!(
        line.starts_with("task:42 ") && line.ends_with(" 50 %"),
        "{line}"
    );
    connect.type_line("to the inbox");
    connect.type_line("/to notes");
    connect.type_line("//noted");
    connect.type_line("/explode");
    connect.error_line("no such command: /explode");
    connect.type_line("/quit");
    assert_eq!(connect.exit_code(), 0, "{}", connect.errors());
    assert_eq!(server.history("inbox"), ["to the inbox"]);
    assert_eq!(server.history("notes"), ["/noted"]);
}

#[test]
fn topics_in_the_url_are_followed_at_once() {
    let server = Server::start(&[]);
    let url = format!("ws://{}/websocket?task=42&user=7", server.addr);
    let mut connect = Heartwire::start(&["connect", &url]);
    connect.error_line("following user:7 from 0");
    server.publish("user:7", "hi");
    assert!(connect.line().text.starts_with("user:7 "));
    connect.type_line("/topics");
    connect.error_line("following task:42, user:7; text goes to inbox");
    connect.interrupt();
}

#[test]
fn a_plain_link_passes_messages_as_they_are() {
    let server = Server::start(&[]);
    let url = format!("ws://{}/websocket?42&7", server.addr);
    let mut connect = Heartwire::start(&["connect", "--plain", &url]);
    connect.type_line("ping");
    assert_eq!(connect.line().text, "pong");
    server.publish("task:42", "{\"done\": 50}");
    assert_eq!(connect.line().text, "{\"done\": 50}");
    server.publish("user:7", "hi");
    assert_eq!(connect.line().text, "hi");
    connect.type_line("please hurry");
    server.wait_for("inbox", 1);
    connect.interrupt();
}

#[test]
fn a_text_heartbeat_stays_out_of_sight() {
    let server = Server::start(&[]);
    let url = format!("ws://{}/websocket?task=42", server.addr);
    let arguments = [
        "connect", "--plain", &url, "--ping", "ping", "--pong", "pong",
    ];
    let mut connect = Heartwire::start(&arguments);
    connect.error_line("open");
    connect.type_line("/ping");
    connect.error_line("answered after");
    server.publish("task:42", "the first that is shown");
    assert_eq!(connect.line().text, "the first that is shown");
}

#[test]
fn a_final_refusal_ends_it_with_code_1() {
    let server = Server::start(&["--api-key", "secret"]);
    let (code, _, errors) = Heartwire::run(&["connect", &server.url()]);
    assert_eq!(code, 1);
    assert!(errors.contains("4001 unauthorized"), "{errors}");
}

#[test]
fn wrong_usage_is_code_2() {
    for arguments in [
        &["connect"][..],
        &["connect", "ws://127.0.0.1:1", "--ping", "x"],
        &["connect", "--plain", "ws://127.0.0.1:1", "--pong", "x"],
        &["connect", "ftp://127.0.0.1"],
    ] {
        assert_eq!(Heartwire::run(arguments).0, 2, "{arguments:?}");
    }
}

#[test]
fn a_terminal_shows_the_state_beside_what_is_typed_and_is_left_as_it_was() {
    let server = Server::start(&[]);
    let mut terminal = Terminal::open();
    let url = server.url();
    let mut connect = terminal.run(&["connect", &url]);
    terminal.shows("/help lists what can be typed");
    terminal.shows("● open");
    assert!(!terminal.echoes(), "raw while it runs");
    terminal.types("/sub task:42\r");
    terminal.shows("following task:42 from 0");
    server.publish("task:42", "\x1b[2Jhello");
    terminal.shows("␛[2Jhello");
    terminal.types("please hurrx\x7fy\r");
    terminal.shows("stored in inbox");
    assert_eq!(server.history("inbox"), ["please hurry"]);
    terminal.types("\x03");
    assert_eq!(connect.exit_code(), 0);
    assert!(terminal.echoes(), "cooked again");
}

/// A pseudo terminal, and what has been written to it.
struct Terminal {
    master: File,
    device: String,
    arriving: mpsc::Receiver<Vec<u8>>,
    shown: String,
}

impl Terminal {
    fn open() -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pseudo terminal");
        grantpt(&master).expect("ours");
        unlockpt(&master).expect("ours");
        let device = ptsname(&master, Vec::new()).expect("named");
        let master = File::from(master);
        let mut reader = master.try_clone().expect("another handle");
        let (sender, arriving) = mpsc::channel();
        thread::spawn(move || {
            let mut bytes = [0; 4_096];
            while let Ok(count @ 1..) = reader.read(&mut bytes) {
                if sender.send(bytes[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self {
            master,
            device: device.into_string().expect("ASCII"),
            arriving,
            shown: String::new(),
        }
    }

    fn side_of_the_program(&self) -> File {
        let opened = File::options().read(true).write(true).open(&self.device);
        opened.expect("the other side")
    }

    fn run(&self, arguments: &[&str]) -> Heartwire {
        Heartwire::start_with(arguments, |command| {
            command
                .stdin(Stdio::from(self.side_of_the_program()))
                .stdout(Stdio::from(self.side_of_the_program()))
                .env("TERM", "xterm")
        })
    }

    fn types(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).expect("typed");
    }

    /// Waits until this has been written behind everything that was waited for before.
    fn shows(&mut self, text: &str) {
        let deadline = Instant::now() + SOON;
        loop {
            if let Some(at) = self.shown.find(text) {
                self.shown.drain(..at + text.len());
                return;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.arriving.recv_timeout(left) {
                Ok(bytes) => self.shown.push_str(&String::from_utf8_lossy(&bytes)),
                Err(error) => panic!("no {text:?} ({error}) in {:?}", self.shown),
            }
        }
    }

    /// Whether the terminal itself shows what is typed, as it does outside of raw mode.
    fn echoes(&self) -> bool {
        let modes = tcgetattr(&self.master).expect("a terminal").local_modes;
        modes.contains(LocalModes::ECHO)
    }
}
