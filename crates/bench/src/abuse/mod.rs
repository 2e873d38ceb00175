//! A hundred good links beside a crowd that does what one meets on the internet.
//!
//! # Method
//!
//! The server is `heartwire serve` in a process of its own, with its log on disk and limits that
//! suit the load. First the good are alone with it (quiet); then the crowd comes: [`Kind`] says of
//! whom it is made. The run fails
//!
//! - when a message of the good is lost, doubled or out of order, or is never acknowledged;
//! - when a connection of theirs ends unasked;
//! - when the 99th percentile of their latency, to the follower or to the acknowledgement, exceeds
//!   twice its quiet value plus 50 ms, unless `--any-latency` was said;
//! - when the server's resident memory grows over the second half of the time with the crowd by
//!   more than 8 MiB or a twentieth, whichever is more, along the line of least squares;
//! - when the server has more sockets open in the end than before anybody came.

mod crowd;
mod good;
mod kind;
mod peer;
mod watch;

use std::fmt::Write as _;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use heartwire_load::{Latencies, Stamp};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch as channel;

use crate::child::Server;
use crowd::{Crowd, GREEDY, Tally};
use good::{GOOD, Good, Measured, Outcome, Phase};
use kind::Kind;
use watch::Memory;

const USAGE: &str = "usage: heartwire-bench abuse PATH-OF-HEARTWIRE [--minutes N | --seconds N] [--connections N] \
     [--any-latency]";
const CONNECTIONS: usize = 15_000;
const MINUTES: u64 = 10;
/// What the latency of the good may be more than twice the quiet one.
const ABOVE_QUIET: Duration = Duration::from_millis(50);
/// How long the server may take to let go of the last socket: it waits for none longer than for a
/// heartbeat, and resets whom it finds dead.
const GONE_WITHIN: Duration = Duration::from_secs(45);
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How often somebody publishes to the busy topic, and how much.
const BUSY_EVERY: Duration = Duration::from_millis(50);
const BUSY_BYTES: usize = 1_024;

/// What was asked for.
struct Plan {
    program: String,
    /// The whole run, without its beginning and end.
    run: Duration,
    connections: usize,
    /// Latency is told and not judged, as on a machine that does other work meanwhile.
    any_latency: bool,
}

impl Plan {
    fn parse(arguments: &[&str]) -> Result<Self> {
        let [program, options @ ..] = arguments else {
            bail!("{USAGE}");
        };
        let mut plan = Self {
            program: (*program).to_owned(),
            run: Duration::from_secs(MINUTES * 60),
            connections: CONNECTIONS,
            any_latency: false,
        };
        let mut options = options.iter().copied();
        while let Some(option) = options.next() {
            if option == "--any-latency" {
                plan.any_latency = true;
                continue;
            }
            let value = options.next().context(USAGE)?;
            match option {
                "--minutes" => plan.run = Duration::from_secs(value.parse::<u64>()? * 60),
                "--seconds" => plan.run = Duration::from_secs(value.parse()?),
                "--connections" => plan.connections = value.parse()?,
                _ => bail!("{USAGE}"),
            }
        }
        if plan.run < Duration::from_secs(10) || plan.connections < GREEDY * 2 {
            bail!(
                "a run takes 10 seconds and {} connections at least",
                GREEDY * 2
            );
        }
        Ok(plan)
    }

    /// How long the good are alone.
    fn quiet(&self) -> Duration {
        self.run / 8
    }
}

pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let plan = Plan::parse(arguments)?;
    let folder = tempfile::tempdir()?;
    let data = folder.path().to_str().context("a path of text")?;
    let server = start(&plan, data)?;
    println!(
        "abuse: {} connections beside {GOOD} good links for {:?}; load of the machine {}",
        plan.connections,
        plan.run,
        load()
    );
    // Each side has its own threads, so that neither is late because of the other's work.
    let (good_side, crowd_side) = (runtime()?, runtime()?);
    let sockets_before = server.sockets()?;
    let descriptors_before = server.descriptors()?;
    let (phase, phases) = channel::channel(Phase::Between);
    let good = good_side.block_on(Good::start(server.address, &phases))?;
    phase.send_replace(Phase::Quiet);
    std::thread::sleep(plan.quiet());
    phase.send_replace(Phase::Between);

    let crowd = {
        let _inside = crowd_side.enter();
        tokio::spawn(busy(server.address, phases));
        Crowd::send(server.address, plan.connections)?
    };
    std::thread::sleep(crowd::ramp(plan.connections));
    phase.send_replace(Phase::Abuse);
    let (memory, sockets_most) = watch_memory(&server, &plan)?;
    phase.send_replace(Phase::Between);
    let refusals = refusals(&server)?;
    let tally = crowd.leave();
    phase.send_replace(Phase::End);
    let outcome = good_side.block_on(good.finish());
    crowd_side.shutdown_timeout(GONE_WITHIN);
    good_side.shutdown_timeout(GONE_WITHIN);
    let sockets_after = wait_until_gone(&server, sockets_before)?;

    let outcome = outcome?;
    print!("{}", table(&tally));
    println!("refused by the server: {refusals}");
    println!(
        "sockets of the server: {sockets_before} before, {sockets_most} at most, {sockets_after} after; descriptors {descriptors_before} before, {} after",
        server.descriptors()?
    );
    println!("load of the machine at the end: {}", load());
    let mut broken = judge(&plan, &outcome, &memory);
    if sockets_after > sockets_before {
        broken.push(format!(
            "{} sockets are still open",
            sockets_after - sockets_before
        ));
    }
    if broken.is_empty() {
        println!("abuse: ok");
        return Ok(());
    }
    bail!("{}", broken.join("\n"));
}

fn start(plan: &Plan, data: &str) -> Result<Server> {
    let mut command = Command::new(&plan.program);
    let connections_max = (plan.connections + 2 * GOOD).to_string();
    // One address may hold fewer than the greedy one wants, and more than any other does.
    let per_address_max = (GREEDY * 2 / 3).to_string();
    command.args(["serve", "--listen", "127.0.0.1:0", "--data", data]);
    command.args(["--connections-max", &connections_max]);
    command.args(["--connections-per-address-max", &per_address_max]);
    command.args(["--handshakes-per-second-max", "2000"]);
    command.args(["--messages-per-second-max", "200"]);
    command.args(["--bytes-per-second-max", "1MiB"]);
    // What a topic keeps fills within minutes, so that memory has its size in the first half.
    command.args(["--retain-messages", "100"]);
    command.env("RUST_LOG", "error");
    Server::start(command)
}

fn runtime() -> Result<Runtime> {
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build();
    Ok(runtime?)
}

/// Publishes much to one topic, which the slow readers follow.
async fn busy(server: std::net::SocketAddr, mut phase: channel::Receiver<Phase>) -> Result<()> {
    let link = heartwire::Link::builder(&format!("ws://{server}/websocket")).connect()?;
    let mut ticks = tokio::time::interval(BUSY_EVERY);
    let mut number = 0;
    while *phase.borrow_and_update() != Phase::End {
        ticks.tick().await;
        link.publish(peer::BUSY, Stamp::new(number).payload(BUSY_BYTES))
            .await?;
        number += 1;
    }
    link.close().await?;
    Ok(())
}

/// Reads the server's memory now and then as long as the crowd is there.
fn watch_memory(server: &Server, plan: &Plan) -> Result<(Memory, usize)> {
    let end = Instant::now()
        + plan
            .run
            .saturating_sub(plan.quiet() + crowd::ramp(plan.connections));
    let every = watch::read_every(plan.run);
    let (mut memory, mut sockets_most) = (Memory::default(), 0);
    loop {
        memory.read(server)?;
        sockets_most = sockets_most.max(server.sockets()?);
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok((memory, sockets_most));
        }
        std::thread::sleep(every.min(left));
    }
}

/// Waits until the server has let go of the crowd's sockets; how many it has then.
fn wait_until_gone(server: &Server, before: usize) -> Result<usize> {
    let end = Instant::now() + GONE_WITHIN;
    loop {
        let sockets = server.sockets()?;
        if sockets <= before || Instant::now() > end {
            return Ok(sockets);
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// The refusals that the server has counted.
fn refusals(server: &Server) -> Result<String> {
    let metrics = crate::http::request(server.address, "GET", "/metrics", "text/plain", "")?;
    let counts = metrics.lines().filter_map(|line| {
        let rest = line.strip_prefix("heartwire_refusals_total{")?;
        let (labels, count) = rest.split_once("} ")?;
        let labels = labels
            .replace("over=", "")
            .replace(",reason=", " ")
            .replace('"', "");
        Some(format!("{labels} {count}"))
    });
    Ok(counts.collect::<Vec<_>>().join(", "))
}

/// How the crowd fared.
fn table(tally: &Tally) -> String {
    let mut table = String::from("connections of the crowd, by how they ended:\n");
    for (index, kind) in Kind::ALL.iter().enumerate() {
        let ends = tally.get(&index).into_iter().flatten();
        let ends: Vec<String> = ends.map(|(end, count)| format!("{count} {end}")).collect();
        let ends = if ends.is_empty() {
            "none".to_owned()
        } else {
            ends.join(", ")
        };
        let _ = writeln!(table, "  {kind:24} {ends}");
    }
    table
}

/// Prints the figures of the good and of memory, and returns the rules that were broken.
fn judge(plan: &Plan, outcome: &Outcome, memory: &Memory) -> Vec<String> {
    let book = &outcome.book;
    let mut broken = Vec::new();
    println!(
        "the good: {} messages published and followed, {}; {} connections given up on purpose, {} lost",
        outcome.published,
        outcome.faults,
        book.reconnects,
        book.lost.len()
    );
    if !outcome.faults.none() {
        broken.push(format!("the good: {}", outcome.faults));
    }
    for why in &book.lost {
        broken.push(format!("a good link lost its connection: {why}"));
    }
    type Of = fn(&Measured) -> &Latencies;
    let figures: [(&str, Of); 2] = [
        ("to the follower", |measured| &measured.delivered),
        ("to the acknowledgement", |measured| &measured.stored),
    ];
    for (name, of) in figures {
        let (quiet, abuse) = (of(&book.quiet), of(&book.abuse));
        println!(
            "  {name:24} quiet {}; with the crowd {}",
            shown(quiet),
            shown(abuse)
        );
        let bound = quiet.quantile(0.99) * 2 + ABOVE_QUIET;
        let exceeds = abuse.quantile(0.99) > bound && !plan.any_latency;
        if abuse.count() == 0 || exceeds {
            broken.push(format!("{name}: the 99th percentile exceeds {bound:?}"));
        }
    }
    let (growth, growth_max) = memory.growth();
    let mebibytes = |bytes: f64| bytes / f64::from(1 << 20);
    println!(
        "resident memory of the server: {:.1} MiB at most; {:+.1} MiB in the second half, where {:.1} may be",
        mebibytes(memory.most() as f64),
        mebibytes(growth),
        mebibytes(growth_max)
    );
    if growth > growth_max {
        broken.push("the server's memory grows".to_owned());
    }
    broken
}

fn shown(latencies: &Latencies) -> String {
    let millis = |part| latencies.quantile(part).as_secs_f64() * 1e3;
    format!(
        "p50 {:.1} ms, p99 {:.1} ms, most {:.1} ms ({})",
        millis(0.5),
        millis(0.99),
        latencies.max().as_secs_f64() * 1e3,
        latencies.count()
    )
}

/// How many processes wanted to run in the last one, five and fifteen minutes.
fn load() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').take(3).collect::<Vec<_>>().join(" ")
}
