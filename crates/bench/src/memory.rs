//! User-space bytes of an idle v1 connection, at 18,000 connections with heartbeats on.
//!
//! # Method
//!
//! The server is a process of its own, as released (with its allocator), with a heartbeat of
//! 10 s + 10 s. Memory is private dirty memory from `/proc/PID/smaps_rollup`: heap and stacks, with
//! everything that the allocator holds back, without code and without the kernel's socket buffers.
//! It is read twice: with 2,000 connections, when whatever is made once is there (threads, their
//! buffers and heaps), and with 18,000. Both times every client has said `hello`, follows a topic,
//! has been idle for more than two intervals, and has answered pings. The difference over the
//! 16,000 connections between is the figure. Last, the sessions are counted in `/v1/connections`,
//! after the readings, as listing them costs memory of its own.

use std::ops::Range;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::child::Server;
use crate::fleet::Fleet;
use crate::http;
use crate::peer::Peer;

const CONNECTIONS: usize = 18_000;
/// With so many, everything is there that does not grow with their number.
const BASE_CONNECTIONS: usize = 2_000;
/// Two intervals of the heartbeat and a half.
const IDLE_FOR: Duration = Duration::from_secs(25);
/// The pings of those already connected are answered after each of these.
const DIAL_BATCH: usize = 250;

/// Which topics the connections follow.
#[derive(Clone, Copy)]
enum Topics {
    /// All the same one, which holds a message.
    Shared,
    /// Each its own, which nobody has published to.
    Unborn,
    /// Each its own, which holds one message of 128 bytes, counted with the connection.
    Own,
}

pub(crate) fn run(program: &str) -> Result<()> {
    println!("memory: {CONNECTIONS} idle v1 connections, heartbeats of 10 s + 10 s answered");
    for topics in [Topics::Shared, Topics::Unborn, Topics::Own] {
        measure(program, topics)?;
    }
    Ok(())
}

fn measure(program: &str, topics: Topics) -> Result<()> {
    let server = Server::heartwire(program)?;
    let mut fleet = Fleet::new()?;
    let before = grow(&server, &mut fleet, topics, BASE_CONNECTIONS)?;
    let after = grow(&server, &mut fleet, topics, CONNECTIONS)?;

    let pings: u64 = fleet.peers().iter().map(Peer::pings).sum();
    let asked = fleet.peers().iter().filter(|peer| peer.pings() > 0).count();
    if asked < CONNECTIONS {
        bail!("only {asked} of {CONNECTIONS} connections were asked by the heartbeat");
    }
    let sessions = sessions(&server)?;
    let name = match topics {
        Topics::Shared => "one shared topic",
        Topics::Unborn => "an unborn topic of its own each",
        Topics::Own => "a topic of its own each, with a message of 128 bytes",
    };
    println!(
        "{:6.0} B per connection: {name} ({:.1} MiB with {BASE_CONNECTIONS}, {:.1} MiB with \
         {sessions} sessions, {pings} pings answered)",
        (after - before) as f64 / (CONNECTIONS - BASE_CONNECTIONS) as f64,
        mebibytes(before),
        mebibytes(after),
    );
    Ok(())
}

/// Adds clients until there are `count`, lets them idle, and reads the server's memory.
fn grow(server: &Server, fleet: &mut Fleet, topics: Topics, count: usize) -> Result<u64> {
    let first = fleet.peers().len();
    match topics {
        Topics::Shared => publish(server, topics, 0..1)?,
        Topics::Unborn => {}
        Topics::Own => publish(server, topics, first..count)?,
    }
    for number in first..count {
        let topic = topic(topics, number);
        fleet.add(Peer::v1(server.address, number, Some(&topic), b"msg ")?)?;
        if number % DIAL_BATCH == 0 {
            fleet.turn(Duration::ZERO, |_, _| Ok(()))?;
        }
    }
    fleet.until_ready()?;
    fleet.idle(IDLE_FOR)?;
    server.private_bytes()
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn topic(topics: Topics, number: usize) -> String {
    match topics {
        Topics::Shared => "idle:0".to_owned(),
        Topics::Unborn | Topics::Own => format!("idle:{number}"),
    }
}

/// Publishes one message of 128 bytes to each of these topics.
fn publish(server: &Server, topics: Topics, numbers: Range<usize>) -> Result<()> {
    let text = "x".repeat(128);
    for numbers in numbers.collect::<Vec<_>>().chunks(1_000) {
        let lines = numbers.iter().map(|number| {
            let topic = topic(topics, *number);
            format!("{{\"topic\":\"{topic}\",\"text\":\"{text}\"}}\n")
        });
        let body: String = lines.collect();
        http::request(
            server.address,
            "POST",
            "/v1/publish",
            "application/x-ndjson",
            &body,
        )?;
    }
    Ok(())
}

/// The v1 sessions that follow one topic, as the server lists them.
fn sessions(server: &Server) -> Result<usize> {
    let mut sessions = 0;
    let mut path = "/v1/connections?limit=1000".to_owned();
    loop {
        let page = http::request(server.address, "GET", &path, "text/plain", "")?;
        let page: serde_json::Value = serde_json::from_str(&page)?;
        let connections = page["connections"].as_array();
        sessions += connections
            .context("a list of connections")?
            .iter()
            .filter(|connection| connection["mode"] == "v1" && connection["topics"] == 1)
            .count();
        let Some(next) = page["next"].as_str() else {
            break;
        };
        path = format!("/v1/connections?limit=1000&after={next}");
    }
    if sessions != CONNECTIONS {
        bail!("{sessions} sessions where {CONNECTIONS} dialled");
    }
    Ok(sessions)
}
