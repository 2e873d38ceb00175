//! Two processes with one client id, as after copying a machine that runs one: both are real, and so
//! is the server. A wire between the copy and the server puts the other's id into its first `hello`.

#![cfg(unix)]

mod common;

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use common::{Heartwire, Proxy, SOON, Server};

/// What stands before the client id in a `hello`.
const CLIENT: &[u8] = br#""client":""#;
/// How long the client ids of this client are, in bytes.
const ID_BYTES: usize = 32;

/// A wire to the server. It tells the client ids that it has seen.
struct Wire {
    addr: SocketAddr,
    ids: Receiver<String>,
}

impl Wire {
    fn start(to: SocketAddr, mut disguise: Option<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let addr = listener.local_addr().expect("bound");
        let (tell, ids) = mpsc::channel();
        thread::spawn(move || {
            for client in listener.incoming() {
                let Ok(client) = client else { return };
                let server = TcpStream::connect(to).expect("the server listens");
                let Ok(id) = pass_hello(&client, &server, &mut disguise) else {
                    // The client hung up before it had said hello.
                    continue;
                };
                if tell.send(id).is_err() {
                    return;
                }
                pass(&client, &server);
                pass(&server, &client);
            }
        });
        Self { addr, ids }
    }

    fn url(&self) -> String {
        self.addr.to_string()
    }

    /// The client id of the next `hello`, as the server reads it.
    fn next_id(&self) -> String {
        self.ids.recv_timeout(SOON).expect("a hello")
    }
}

/// Passes the upgrade and the `hello`, with the disguise in place of the client's id.
fn pass_hello(
    mut client: &TcpStream,
    mut server: &TcpStream,
    disguise: &mut Option<String>,
) -> io::Result<String> {
    let request = read_head(client)?;
    server.write_all(&request)?;
    let answer = read_head(server)?;
    client.write_all(&answer)?;

    let mut head = [0; 2];
    client.read_exact(&mut head)?;
    assert_eq!(head[0], 0x81, "a whole text comes first");
    let mut extended = [0; 2];
    let length = match head[1] & 0x7f {
        126 => {
            client.read_exact(&mut extended)?;
            usize::from(u16::from_be_bytes(extended))
        }
        short => usize::from(short),
    };
    let (mut key, mut hello) = ([0; 4], vec![0; length]);
    client.read_exact(&mut key)?;
    client.read_exact(&mut hello)?;
    mask(&mut hello, key);
    let at = hello.windows(CLIENT.len()).position(|part| part == CLIENT);
    let at = at.expect("hello names its client") + CLIENT.len();
    if let Some(disguise) = disguise.take() {
        hello[at..at + ID_BYTES].copy_from_slice(disguise.as_bytes());
    }
    let id = String::from_utf8_lossy(&hello[at..at + ID_BYTES]).into_owned();
    mask(&mut hello, key);
    let extended = if length < 126 { &[][..] } else { &extended };
    server.write_all(&[&head, extended, &key, &hello].concat())?;
    Ok(id)
}

fn read_head(mut stream: &TcpStream) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.extend(byte);
    }
    Ok(head)
}

fn mask(bytes: &mut [u8], key: [u8; 4]) {
    for (byte, key) in bytes.iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
}

/// Passes everything else in one direction, and then the end to both.
fn pass(from: &TcpStream, to: &TcpStream) {
    let mut from = from.try_clone().expect("another handle");
    let mut to = to.try_clone().expect("another handle");
    thread::spawn(move || {
        // Whatever ends it, an end or an error, ends the connection.
        let _ = io::copy(&mut from, &mut to);
        for stream in [from, to] {
            let _ = stream.shutdown(Shutdown::Both);
        }
    });
}

fn publisher(url: &str) -> Heartwire {
    Heartwire::start(&["pub", url, "up", "-"])
}

fn finish(mut publisher: Heartwire) {
    publisher.close_stdin();
    assert_eq!(publisher.exit_code(), 0, "{}", publisher.errors());
}

/// `[HELLO-11]`: the copy has sent less than the server has acknowledged under its id.
#[test]
fn a_copy_that_comes_while_the_other_is_away_draws_an_id_of_its_own() {
    let server = Server::start(&[]);
    let wire = Wire::start(server.addr, None);
    let mut network = Proxy::start(wire.addr);
    let mut original = publisher(&network.url());
    let id = wire.next_id();
    original.type_line("original 1");
    original.type_line("original 2");
    server.wait_for("up", 2);
    network.apply("refuse");
    network.apply("reset");
    original.error_line("lost: ");
    original.type_line("original 3");

    let wire_of_the_copy = Wire::start(server.addr, Some(id.clone()));
    let mut copy = publisher(&wire_of_the_copy.url());
    copy.type_line("copy 1");
    assert_eq!(wire_of_the_copy.next_id(), id);
    copy.error_line("another process used this client's id; a new one was drawn");
    assert_ne!(wire_of_the_copy.next_id(), id);
    copy.type_line("copy 2");
    server.wait_for("up", 4);

    network.apply("pass");
    original.error_line("open again");
    assert_eq!(wire.next_id(), id, "the original keeps its id");
    original.type_line("original 4");
    server.wait_for("up", 6);
    let stored = [
        "original 1",
        "original 2",
        "copy 1",
        "copy 2",
        "original 3",
        "original 4",
    ];
    assert_eq!(server.history("up"), stored);
    finish(original);
    finish(copy);
}

/// `[HELLO-8]`: the higher attempt wins, and the other is told for good.
#[test]
fn a_copy_that_comes_later_takes_over_and_the_other_ends() {
    let server = Server::start(&[]);
    let wire = Wire::start(server.addr, None);
    let mut original = publisher(&wire.url());
    let id = wire.next_id();
    original.type_line("original 1");
    server.wait_for("up", 1);

    let wire_of_the_copy = Wire::start(server.addr, Some(id.clone()));
    let mut network = Proxy::start(wire_of_the_copy.addr);
    network.apply("refuse");
    let mut copy = publisher(&network.url());
    copy.error_line("no connection: ");
    network.apply("pass");
    assert_eq!(wire_of_the_copy.next_id(), id);
    original.error_line("4009 taken-over");
    copy.error_line("another process used this client's id; a new one was drawn");
    assert_ne!(wire_of_the_copy.next_id(), id);
    copy.type_line("copy 1");
    server.wait_for("up", 2);
    assert_eq!(server.history("up"), ["original 1", "copy 1"]);
    finish(copy);
    // It does not wait for lines that it could not publish.
    assert_eq!(original.exit_code(), 1, "{}", original.errors());
}
