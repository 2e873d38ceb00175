//! User-space bytes of an idle v1 connection, at 18,000 connections with heartbeats on.
//!
//! # Method
//!
//! The server is a process of its own, as released (with its allocator), with a heartbeat of
//! 10 s + 10 s. First 200 connections come and go, so that what is made once is there. Then the
//! private dirty memory of the process is read from `/proc/PID/smaps_rollup`: heap and stacks, with
//! everything that the allocator holds back, without code and without the kernel's socket buffers.
//! Then 18,000 clients dial, say `hello` and follow a topic, and answer pings for 25 s, so that each
//! has been asked twice or more. The memory is read again; the difference over 18,000 is the figure.
//! Last, the sessions are counted in `/v1/connections`, after the reading, as listing them costs
//! memory of its own.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::child::Server;
use crate::fleet::Fleet;
use crate::http;
use crate::peer::Peer;

const CONNECTIONS: usize = 18_000;
const WARM_UP_CONNECTIONS: usize = 200;
/// Two intervals of the heartbeat and a half.
const IDLE_FOR: Duration = Duration::from_secs(25);
/// The pings of those already connected are answered after each of these.
const DIAL_BATCH: usize = 250;

/// Which topics the connections follow.
#[derive(Clone, Copy, PartialEq)]
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
    if topics == Topics::Shared {
        publish(&server, 1)?;
    }
    drop(dial(&server, topics, WARM_UP_CONNECTIONS)?);
    Fleet::new()?.idle(Duration::from_secs(2))?;

    let before = server.private_bytes()?;
    if topics == Topics::Own {
        publish(&server, CONNECTIONS)?;
    }
    let mut fleet = dial(&server, topics, CONNECTIONS)?;
    fleet.idle(IDLE_FOR)?;
    let after = server.private_bytes()?;

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
        "{:6.0} B per connection: {name} ({:.1} -> {:.1} MiB, {sessions} sessions, {pings} pings answered)",
        (after - before) as f64 / CONNECTIONS as f64,
        mebibytes(before),
        mebibytes(after),
    );
    Ok(())
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

fn dial(server: &Server, topics: Topics, count: usize) -> Result<Fleet> {
    let mut fleet = Fleet::new()?;
    for number in 0..count {
        let topic = topic(topics, number);
        fleet.add(Peer::v1(server.address, number, Some(&topic), b"msg ")?)?;
        if number % DIAL_BATCH == 0 {
            fleet.turn(Duration::ZERO, |_, _| Ok(()))?;
        }
    }
    fleet.until_ready()?;
    Ok(fleet)
}

/// Publishes one message of 128 bytes to each of the first topics.
fn publish(server: &Server, count: usize) -> Result<()> {
    let text = "x".repeat(128);
    for numbers in (0..count).collect::<Vec<_>>().chunks(1_000) {
        let lines = numbers.iter().map(|number| {
            let topic = topic(Topics::Own, *number);
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
