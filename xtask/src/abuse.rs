//! The abuse run: builds the server and the crowd, and sets one upon the other. What the crowd does,
//! and when the run fails, is written in `crates/bench/src/abuse`.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::process::{build_programs, cargo, run as run_command, target_directory};

/// What the short run asks for, which is part of the tests: it takes the builds that these have made,
/// and judges no speed, as no test does.
const SHORT: [&str; 5] = ["--seconds", "20", "--connections", "2000", "--any-latency"];

/// Runs it as released, for ten minutes unless the arguments say otherwise.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let packages = ["--package", "heartwire-cli", "--package", "heartwire-bench"];
    run_command(
        cargo()
            .args(["build", "--locked", "--release"])
            .args(packages),
    )?;
    set_upon(&target_directory()?.join("release"), arguments)
}

/// A short one.
pub(crate) fn short() -> Result<()> {
    set_upon(&build_programs()?, &SHORT)
}

/// Starts the server and the crowd that stand in a folder.
fn set_upon(programs: &Path, arguments: &[&str]) -> Result<()> {
    run_command(
        Command::new(programs.join("heartwire-bench"))
            .arg("abuse")
            .arg(programs.join("heartwire"))
            .args(arguments),
    )
}
