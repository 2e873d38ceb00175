//! The benchmarks: builds the server and the load generator, in release, and runs one beside the
//! other. What is measured and how is written in `crates/bench`.

use std::process::Command;

use anyhow::{Result, bail};

use crate::process::{cargo, run as run_command, target_directory};

const NAMES: [&str; 3] = ["memory", "echo", "fanout"];

/// Runs the benchmarks of these names, or all.
pub(crate) fn run(names: &[&str]) -> Result<()> {
    if let Some(unknown) = names.iter().find(|name| !NAMES.contains(name)) {
        bail!(
            "no benchmark is called {unknown}; there are {}",
            NAMES.join(", ")
        );
    }
    let mut build = cargo();
    build.args(["build", "--release", "--locked"]);
    run_command(build.args(["--package", "heartwire-cli", "--package", "heartwire-bench"]))?;
    let programs = target_directory()?.join("release");
    let names = if names.is_empty() { &NAMES[..] } else { names };
    for name in names {
        run_command(
            Command::new(programs.join("heartwire-bench"))
                .arg(name)
                .arg(programs.join("heartwire")),
        )?;
    }
    Ok(())
}
