//! The simulator, as a step of the tests: seeds, every order of the small core, and planted bugs.

use std::process::Command;

use anyhow::Result;

use crate::process::{cargo, run, target_directory};

/// How many seeds a run of all tests tries. More with `cargo run --release -p heartwire-sim -- run`.
const SEEDS: &str = "2000";
/// Within how many seeds each planted bug has to be found.
const PLANTED_SEEDS: &str = "1000";

/// Runs all of it.
pub(crate) fn all() -> Result<()> {
    run(simulator().args(["past"]))?;
    run(simulator().args(["run", "--seeds", SEEDS]))?;
    run(simulator().args(["model"]))?;
    planted()
}

/// Bugs on purpose are in builds of their own, with a folder of their own, so that neither the
/// simulator's other builds nor anybody else's are made anew for them.
fn planted() -> Result<()> {
    let folder = target_directory()?.join("planted");
    let mut simulator = simulator();
    simulator
        .args(["planted", "--seeds", PLANTED_SEEDS])
        .env("RUSTFLAGS", "--cfg heartwire_planted")
        .env("CARGO_TARGET_DIR", folder);
    run(&mut simulator)
}

/// The simulator in a profile that is as quick as a release and quicker to build.
fn simulator() -> Command {
    let mut cargo = cargo();
    cargo.args([
        "run",
        "--profile",
        "simulate",
        "--locked",
        "-p",
        "heartwire-sim",
        "--",
    ]);
    cargo
}
