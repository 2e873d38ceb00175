//! The `heartwire` command.
//!
//! Each command is a module with its arguments and a `run`; this file parses, dispatches and turns
//! the outcome into an exit code: 0 done, 1 failed, 2 wrong usage.

mod bench;
mod config;
mod connect;
mod doctor;
mod failure;
mod followed;
mod lines;
mod log;
mod output;
mod payload;
mod place;
mod proxy;
mod publish;
mod secret;
mod serve;
mod signals;
mod size;
mod span;
mod story;
mod style;
mod sub;
mod token;
mod url;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio::runtime::Runtime;

use failure::Failure;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How the links of these commands introduce themselves to servers.
const AGENT: &str = concat!("heartwire-cli/", env!("CARGO_PKG_VERSION"));

/// WebSocket links that never die silently.
#[derive(Debug, Parser)]
#[command(name = "heartwire", version, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(Box<serve::ServeArgs>),
    Config(config::ConfigArgs),
    Sub(sub::SubArgs),
    Pub(publish::PubArgs),
    Connect(connect::ConnectArgs),
    Proxy(proxy::ProxyArgs),
    Log(log::LogArgs),
    Doctor(Box<doctor::DoctorArgs>),
    Bench(bench::BenchArgs),
}

fn main() -> ExitCode {
    let command = Arguments::parse().command;
    let runtime = match Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return report(&Failure::failed("cannot start", error)),
    };
    // The commands' own future runs on this thread, where it may block on standard output; links
    // and connections live on the runtime's threads and do not notice.
    let outcome = runtime.block_on(run(command));
    // A thread may still be waiting for standard input, which cannot be cancelled.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => report(&failure),
    }
}

async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Serve(args) => serve::run(*args).await,
        Command::Config(args) => config::run(args),
        Command::Sub(args) => sub::run(args).await,
        Command::Pub(args) => publish::run(args).await,
        Command::Connect(args) => connect::run(args).await,
        Command::Proxy(args) => proxy::run(args).await,
        Command::Log(args) => log::run(&args),
        Command::Doctor(args) => doctor::run(*args).await,
        Command::Bench(args) => bench::run(args).await,
    }
}

fn report(failure: &Failure) -> ExitCode {
    if let Some(message) = failure.message() {
        output::note(format_args!("heartwire: {message}"));
    }
    failure.exit_code()
}
