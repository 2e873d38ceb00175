//! `cargo xtask fuzz`: runs libFuzzer over each target of `crates/fuzz-targets`. What it finds worth
//! keeping goes below the target directory; the committed corpora are read, and not written.

use std::fs;

use anyhow::{Context as _, Result, bail};

use crate::process::{program, root, run as run_command, target_directory, works};

const TARGETS: [&str; 6] = [
    "frame",
    "client_session",
    "server_session",
    "websocket",
    "log",
    "http",
];
/// How long each target is run, in seconds, where nobody says.
const SECONDS: u32 = 60;

/// `[SECONDS] [TARGET]…`
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let (seconds, names) = match arguments {
        [first, rest @ ..] if first.starts_with(|c: char| c.is_ascii_digit()) => {
            let seconds = first.parse().context("SECONDS is a number of seconds")?;
            (seconds, rest)
        }
        names => (SECONDS, names),
    };
    if let Some(unknown) = names.iter().find(|name| !TARGETS.contains(name)) {
        bail!(
            "no target is called {unknown}; there are {}",
            TARGETS.join(", ")
        );
    }
    if !works(program("cargo").args(["+nightly", "fuzz", "--version"])) {
        bail!(
            "cargo-fuzz or a nightly toolchain is missing; install them with `cargo install cargo-fuzz` \
             and `rustup toolchain install nightly`"
        );
    }
    let names = if names.is_empty() {
        &TARGETS[..]
    } else {
        names
    };
    names.iter().try_for_each(|name| fuzz(name, seconds))
}

fn fuzz(name: &str, seconds: u32) -> Result<()> {
    let found = target_directory()?.join("fuzz-corpus").join(name);
    fs::create_dir_all(&found).with_context(|| found.display().to_string())?;
    let mut command = program("cargo");
    // Nothing here is unsafe, and without the sanitizer it is twice as fast.
    command.args(["+nightly", "fuzz", "run", "--sanitizer", "none", name]);
    command
        .arg(&found)
        .arg(root().join("fuzz/corpus").join(name));
    command.args([
        "--",
        "-timeout=10",
        "-rss_limit_mb=2048",
        "-print_final_stats=1",
    ]);
    let words = root().join("fuzz/words.dict");
    command.arg(format!("-dict={}", words.display()));
    run_command(command.arg(format!("-max_total_time={seconds}")))
}
