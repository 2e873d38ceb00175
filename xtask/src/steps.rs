//! The steps of `cargo xtask test`, in the order in which they run: cheap ones first.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::process::{cargo, run as run_command, works, workspace};
use crate::{abuse, foreign, javascript, licences, packages, simulate, tidy};

/// One step: it runs alone with `--only NAME`.
struct Step {
    name: &'static str,
    about: &'static str,
    run: fn() -> Result<()>,
}

const STEPS: &[Step] = &[
    Step {
        name: "format",
        about: "the code is formatted by rustfmt",
        run: format,
    },
    Step {
        name: "tidy",
        about: "the project's own rules: sizes, words, requirements, dependencies",
        run: tidy::run,
    },
    Step {
        name: "licences",
        about: "licences and sources of dependencies, see deny.toml",
        run: licences::run,
    },
    Step {
        name: "lint",
        about: "clippy finds nothing, in all targets",
        run: lint,
    },
    Step {
        name: "rust",
        about: "tests, documentation tests and examples of the workspace",
        run: rust_tests,
    },
    Step {
        name: "abuse",
        about: "a hundred good links beside a crowd of two thousand, for twenty seconds",
        run: abuse::short,
    },
    Step {
        name: "simulate",
        about: "2,000 seeds of the simulator, every order of its small core, and planted bugs",
        run: simulate::all,
    },
    Step {
        name: "docs",
        about: "the documentation builds without warnings",
        run: docs,
    },
    Step {
        name: "javascript",
        about: "tests of the JavaScript client by itself",
        run: javascript::client,
    },
    Step {
        name: "together",
        about: "the JavaScript client and the live page against the server, in Node.js and Chromium",
        run: javascript::against_the_server,
    },
    Step {
        name: "foreign",
        about: "Python's websockets against the server, alone and behind nginx and Caddy",
        run: foreign::run,
    },
];

/// The outcome of one step.
struct Outcome {
    name: &'static str,
    took: Duration,
    error: Option<anyhow::Error>,
}

/// The steps and what they are about, for the help text.
pub(crate) fn names() -> String {
    let lines = STEPS
        .iter()
        .map(|step| format!("  {:12} {}\n", step.name, step.about));
    format!("Steps of `test`:\n{}", lines.collect::<String>())
}

/// Runs the steps that the arguments name, or all. Later steps run although one failed, so that one
/// run tells everything.
pub(crate) fn run(arguments: &[&str]) -> Result<ExitCode> {
    let chosen = choose(arguments)?;
    let outcomes: Vec<Outcome> = chosen.into_iter().map(run_step).collect();
    println!("\n== summary");
    for outcome in &outcomes {
        let word = if outcome.error.is_some() {
            "FAILED"
        } else {
            "ok"
        };
        println!(
            "{:12} {word:6} {:6.1} s",
            outcome.name,
            outcome.took.as_secs_f64()
        );
    }
    let failed = outcomes.iter().filter(|o| o.error.is_some()).count();
    println!("{} passed, {failed} failed", outcomes.len() - failed);
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn choose(arguments: &[&str]) -> Result<Vec<&'static Step>> {
    if arguments.is_empty() {
        return Ok(STEPS.iter().collect());
    }
    let mut chosen = Vec::new();
    for pair in arguments.chunks(2) {
        let ["--only", name] = pair else {
            bail!("usage: cargo xtask test [--only NAME]…");
        };
        match STEPS.iter().find(|step| step.name == *name) {
            Some(step) => chosen.push(step),
            None => bail!("no step is called {name}\n\n{}", names()),
        }
    }
    Ok(chosen)
}

fn run_step(step: &'static Step) -> Outcome {
    println!("\n== {}: {}", step.name, step.about);
    let start = Instant::now();
    let error = (step.run)().err();
    if let Some(error) = &error {
        println!("{} failed: {error:#}", step.name);
    }
    Outcome {
        name: step.name,
        took: start.elapsed(),
        error,
    }
}

fn format() -> Result<()> {
    component("fmt", "rustfmt")?;
    run_command(cargo().args(["fmt", "--all", "--check"]))
}

fn lint() -> Result<()> {
    component("clippy", "clippy")?;
    run_command(workspace("clippy").args(["--all-targets", "--", "-D", "warnings"]))
}

/// How many tests run at a time: more than there are cores, as many of them wait for time to pass.
const TEST_THREADS: &str = "4";

/// Examples are built by the same command that runs the tests. Later tests run although one failed.
fn rust_tests() -> Result<()> {
    let promtool = packages::promtool()?;
    run_command(
        workspace("test")
            .args(["--no-fail-fast"])
            .env("RUST_TEST_THREADS", TEST_THREADS)
            .env(packages::PROMTOOL, promtool),
    )
}

fn docs() -> Result<()> {
    run_command(
        workspace("doc")
            .args(["--no-deps", "--document-private-items"])
            .env(
                "RUSTDOCFLAGS",
                "-D warnings -A rustdoc::private_intra_doc_links",
            ),
    )
}

fn component(command: &str, name: &str) -> Result<()> {
    if works(cargo().args([command, "--version"])) {
        return Ok(());
    }
    bail!("{name} is missing; install it with `rustup component add {name}`")
}
