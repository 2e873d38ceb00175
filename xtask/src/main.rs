//! The project's own tasks: `cargo xtask test` runs everything that must hold, `cargo xtask bench`
//! measures. Nothing here is part of what the project ships.

#![allow(
    clippy::print_stdout,
    reason = "a task reports to the terminal that started it"
)]

mod abuse;
mod autobahn;
mod bench;
mod browser;
mod foreign;
mod fuzz;
mod javascript;
mod licences;
mod packages;
mod process;
mod simulate;
mod steps;
mod tidy;

use std::process::ExitCode;

use anyhow::{Result, bail};

const HELP: &str = "\
Usage: cargo xtask COMMAND

  test [--only NAME]…   run everything, or only the steps named; exit code 1 when one fails
  bench [NAME]…         measure, in release: memory, echo, fanout, append, reopen, replay, durable;
                        all without a name
  autobahn [--all]      Autobahn's test suite against server and client; with --all the slow cases too
  fuzz [SECONDS] [TARGET]…
                        run the fuzzer over each target, or those named, for 60 s each or that long
  abuse [OPTION]…       a hundred good links beside a crowd of 15,000 for ten minutes, in release:
                        --minutes N, --seconds N, --connections N, --any-latency (told, not judged);
                        exit code 1 when a good one suffers
  requirements          list the requirements of PROTOCOL.md and the files that cite them
  help                  this text

";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&arguments) {
        Ok(code) => code,
        Err(error) => {
            println!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[&str]) -> Result<ExitCode> {
    match arguments {
        [] | ["help" | "--help" | "-h"] => print!("{HELP}{}", steps::names()),
        ["test", rest @ ..] => return steps::run(rest),
        ["bench", rest @ ..] => bench::run(rest)?,
        ["autobahn"] => autobahn::run(autobahn::Cases::Quick)?,
        ["autobahn", "--all"] => autobahn::run(autobahn::Cases::All)?,
        ["fuzz", rest @ ..] => fuzz::run(rest)?,
        ["abuse", rest @ ..] => abuse::run(rest)?,
        ["requirements"] => print!("{}", tidy::requirements_report()?),
        other => bail!("no such command: {}\n\n{HELP}", other.join(" ")),
    }
    Ok(ExitCode::SUCCESS)
}
