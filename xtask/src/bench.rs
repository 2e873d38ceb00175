//! The benchmarks, in release. Those of the server build it and the load generator, and run one
//! beside the other; those of the disk are benchmarks of their crates. What is measured and how is
//! written where they are: `crates/bench`, `crates/log/benches`, `crates/server/benches`.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::process::{cargo, run as run_command, target_directory};

/// Of the server, over its sockets.
const SERVER: [&str; 3] = ["memory", "echo", "fanout"];
/// Of the log's store on disk.
const STORE: [&str; 3] = ["append", "reopen", "replay"];
/// Of publishing, from the call to the follower.
const DURABLE: &str = "durable";

/// Runs the benchmarks of these names, or all.
pub(crate) fn run(names: &[&str]) -> Result<()> {
    let all: Vec<&str> = SERVER.into_iter().chain(STORE).chain([DURABLE]).collect();
    if let Some(unknown) = names.iter().find(|name| !all.contains(name)) {
        bail!(
            "no benchmark is called {unknown}; there are {}",
            all.join(", ")
        );
    }
    let names = if names.is_empty() { &all[..] } else { names };
    let target = target_directory()?;
    let programs = target.join("release");
    if names.iter().any(|name| SERVER.contains(name)) {
        let mut build = cargo();
        build.args(["build", "--release", "--locked"]);
        run_command(build.args(["--package", "heartwire-cli", "--package", "heartwire-bench"]))?;
    }
    for name in names {
        match *name {
            DURABLE => of_disk("heartwire-server", "durable", &[], &target)?,
            name if STORE.contains(&name) => of_disk("heartwire-log", "store", &[name], &target)?,
            name => run_command(
                Command::new(programs.join("heartwire-bench"))
                    .arg(name)
                    .arg(programs.join("heartwire")),
            )?,
        }
    }
    Ok(())
}

/// One that writes to a folder below the target directory: what it measures is that disk.
fn of_disk(package: &str, bench: &str, arguments: &[&str], target: &Path) -> Result<()> {
    let folder = target.join("bench").join(bench);
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    let mut bench_command = cargo();
    bench_command.args(["bench", "--locked", "-p", package, "--bench", bench, "--"]);
    run_command(bench_command.args(arguments).arg(&folder))?;
    Ok(std::fs::remove_dir_all(&folder)?)
}
