//! The simulator, as a step of the tests: seeds, every order of the small core, and planted bugs.

use std::process::Command;

use anyhow::Result;

use crate::process::{cargo, run, target_directory};

/// How many seeds a run of all tests tries. More with `cargo run --release -p heartwire-sim -- run`.
const SEEDS: &str = "2000";
/// Within how many seeds each planted bug has to be found.
const PLANTED_SEEDS: &str = "1000";

/// How many messages, cuts and crashes there are in the models. `model` without bounds tries 3, 2 and 2,
/// which takes a quarter of an hour and 17 GB.
const MODELS: [[&str; 3]; 2] = [["3", "1", "2"], ["2", "2", "1"]];

/// Runs all of it, in one build: that with the planted bugs, none of which is there until it is
/// switched on. It has a folder of its own, so that nobody else's builds are made anew for it.
pub(crate) fn all() -> Result<()> {
    run(&mut simulator(&["past"])?)?;
    run(&mut simulator(&["run", "--seeds", SEEDS])?)?;
    for [messages, cuts, crashes] in MODELS {
        let bounds = [
            "model",
            "--messages",
            messages,
            "--cuts",
            cuts,
            "--crashes",
            crashes,
        ];
        run(&mut simulator(&bounds)?)?;
    }
    run(&mut simulator(&["planted", "--seeds", PLANTED_SEEDS])?)
}

/// The simulator in a profile that is as quick as a release and quicker to build.
fn simulator(arguments: &[&str]) -> Result<Command> {
    let mut cargo = cargo();
    cargo
        .args(["run", "--profile", "simulate", "--locked"])
        .args(["-p", "heartwire-sim", "--"])
        .args(arguments)
        .env("RUSTFLAGS", "--cfg heartwire_planted")
        .env("CARGO_TARGET_DIR", target_directory()?.join("planted"));
    Ok(cargo)
}
