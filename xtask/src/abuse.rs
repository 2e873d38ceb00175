//! The abuse run: builds the server and the crowd, and sets one upon the other. What the crowd does,
//! and when the run fails, is written in `crates/bench/src/abuse`.

use std::process::Command;

use anyhow::Result;

use crate::process::{cargo, run as run_command, target_directory};

/// What the short run asks for, which is part of the tests: it takes the builds that these have made,
/// and judges no speed, as no test does.
const SHORT: [&str; 5] = ["--seconds", "20", "--connections", "2000", "--any-latency"];

/// Runs it as released, for ten minutes unless the arguments say otherwise.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    build_and_run(&["--release"], "release", arguments)
}

/// A short one.
pub(crate) fn short() -> Result<()> {
    build_and_run(&[], "debug", &SHORT)
}

fn build_and_run(profile: &[&str], folder: &str, arguments: &[&str]) -> Result<()> {
    let mut build = cargo();
    build.args(["build", "--locked"]).args(profile);
    run_command(build.args(["--package", "heartwire-cli", "--package", "heartwire-bench"]))?;
    let programs = target_directory()?.join(folder);
    run_command(
        Command::new(programs.join("heartwire-bench"))
            .arg("abuse")
            .arg(programs.join("heartwire"))
            .args(arguments),
    )
}
