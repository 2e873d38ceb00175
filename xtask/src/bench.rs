//! The benchmarks: builds the server and the load generator, in release, and runs one beside the
//! other. What is measured and how is written in `crates/bench`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::process::{cargo, output, run as run_command};

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

/// Where cargo puts what it builds, which an environment variable may have moved.
fn target_directory() -> Result<PathBuf> {
    let arguments = ["metadata", "--format-version", "1", "--no-deps", "--locked"];
    let metadata = output(cargo().args(arguments))?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata)?;
    let directory = metadata["target_directory"].as_str();
    Ok(Path::new(directory.context("cargo names its target directory")?).to_owned())
}
