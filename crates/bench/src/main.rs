//! The load generator of the benchmarks, started by `cargo xtask bench`; and the crowd of `cargo xtask
//! abuse`, in [abuse].
//!
//! One process drives every connection from one thread, by epoll, and measures what another process
//! spends: `heartwire serve`, or a [bare] peer that does the same work on plain TCP sockets
//! with tokio and nothing else. Both are measured in turn, several times, in the same run; the
//! figure that counts is the ratio.
//!
//! The benchmarks use nothing of the project's own crates: what they measure is what a foreign client
//! meets. The good links of the abuse are the project's own.

#![allow(
    clippy::print_stdout,
    reason = "a benchmark reports to the terminal that started it"
)]

#[cfg(target_os = "linux")]
mod abuse;
#[cfg(target_os = "linux")]
mod bare;
#[cfg(target_os = "linux")]
mod child;
#[cfg(target_os = "linux")]
mod echo;
#[cfg(target_os = "linux")]
mod fanout;
#[cfg(target_os = "linux")]
mod figures;
#[cfg(target_os = "linux")]
mod fleet;
#[cfg(target_os = "linux")]
mod http;
#[cfg(target_os = "linux")]
mod memory;
#[cfg(target_os = "linux")]
mod peer;
#[cfg(target_os = "linux")]
mod wire;

use anyhow::{Result, bail};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    run(&arguments)
}

#[cfg(target_os = "linux")]
fn run(arguments: &[&str]) -> Result<()> {
    match arguments {
        ["abuse", rest @ ..] => abuse::run(rest),
        ["bare", "echo"] => bare::echo(),
        ["bare", "fanout"] => bare::fanout(),
        ["memory", server] => memory::run(server),
        ["echo", server] => echo::run(server),
        ["fanout", server] => fanout::run(server),
        _ => bail!("usage: heartwire-bench memory|echo|fanout|abuse PATH-OF-HEARTWIRE"),
    }
}

#[cfg(not(target_os = "linux"))]
fn run(_: &[&str]) -> Result<()> {
    bail!("the benchmarks need epoll and /proc, so Linux")
}
