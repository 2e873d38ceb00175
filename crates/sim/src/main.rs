//! The simulator as a command.

#![allow(
    clippy::print_stdout,
    reason = "a command reports to the terminal that started it"
)]

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
#[cfg(heartwire_planted)]
use heartwire_proto::planted::Bug;
use heartwire_sim::{Outcome, Summary, has_disk, model, past_seeds, run, run_all};

/// Half of a run is making and dropping small things, states of the model above all.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How often a long run tells how far it has come.
const PROGRESS_EVERY: Duration = Duration::from_secs(5);
/// So many seeds meet every kind of fault.
const SEEDS_MEET_ALL: u64 = 500;

/// Looks for ways to lose something: clients, server, log and network in one thread, from one seed.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run seeds.
    Run(Run),
    /// Run the seeds that once found something, and as many others with a log on disk, each twice: they
    /// have to go the same way.
    Past,
    /// Try every order of everything, for a few messages, cuts and crashes.
    Model(Model),
    /// Look for each planted bug.
    #[cfg(heartwire_planted)]
    Planted(Planted),
}

#[derive(Args)]
struct Run {
    /// How many seeds.
    #[arg(long, default_value_t = 1_000, conflicts_with = "seed")]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 0, conflicts_with = "seed")]
    from: u64,
    /// Run this seed alone.
    #[arg(long)]
    seed: Option<u64>,
    /// Print everything that happens in it.
    #[arg(long, requires = "seed")]
    trace: bool,
    /// On how many threads; by default one for each core.
    #[arg(long)]
    threads: Option<usize>,
}

#[derive(Args)]
struct Model {
    /// How many messages are published.
    #[arg(long, default_value_t = 3)]
    messages: u8,
    /// How many connections are cut.
    #[arg(long, default_value_t = 2)]
    cuts: u8,
    /// How often the server crashes.
    #[arg(long, default_value_t = 2)]
    crashes: u8,
}

#[cfg(heartwire_planted)]
#[derive(Args)]
struct Planted {
    /// One bug by name; all without.
    name: Option<String>,
    /// Within how many seeds each must be found.
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
}

fn main() -> ExitCode {
    let is_well = match Cli::parse().command {
        Command::Run(Run {
            seed: Some(seed),
            trace,
            ..
        }) => run_one(seed, trace),
        Command::Run(run) => run_many(&run),
        Command::Past => run_past(),
        Command::Model(model) => check_model(&model),
        #[cfg(heartwire_planted)]
        Command::Planted(planted) => hunt(&planted),
    };
    if is_well {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn run_one(seed: u64, trace: bool) -> bool {
    let outcome = run(seed, trace);
    print!("{}", outcome.trace);
    if outcome.violation.is_none() {
        let seconds = outcome.simulated_ms / 1_000;
        println!(
            "seed {seed}: nothing was lost in {seconds} s, {} steps",
            outcome.steps
        );
    }
    tell(&outcome);
    outcome.violation.is_none()
}

fn run_many(run: &Run) -> bool {
    let threads = run.threads.unwrap_or_else(cores);
    let progress = |summary: &Summary| println!("{}", figures(summary));
    let summary = run_all(run.from, run.seeds, threads, PROGRESS_EVERY, progress, tell);
    println!("{}", figures(&summary));
    let missing = summary.missing();
    let is_blind = run.seeds >= SEEDS_MEET_ALL && !missing.is_empty();
    if is_blind {
        println!("faults that never struck, though they should have: {missing:?}");
    }
    summary.failures.is_empty() && !is_blind
}

fn run_past() -> bool {
    let past: Vec<u64> = past_seeds().collect();
    let others = 0..;
    let on_disk = others.filter(|seed| has_disk(*seed)).take(past.len());
    let mut is_well = true;
    for seed in past.iter().copied().chain(on_disk) {
        let outcome = run(seed, true);
        is_well &= outcome.violation.is_none();
        tell(&outcome);
        if run(seed, true).trace != outcome.trace {
            is_well = false;
            println!("seed {seed}: went two ways");
        }
    }
    println!("{} seeds of the past, and as many others", past.len());
    is_well
}

fn check_model(bounds: &Model) -> bool {
    let bounds = model::Bounds {
        messages: bounds.messages,
        cuts: bounds.cuts,
        crashes: bounds.crashes,
    };
    let checked = model::check(bounds, cores());
    for (name, way) in &checked.broken {
        println!("does not hold: {name}, after {way:?}");
    }
    println!(
        "{bounds:?}: {} states, {} steps, at most {} deep, in {:.1} s",
        checked.states,
        checked.steps,
        checked.depth,
        checked.took.as_secs_f64(),
    );
    checked.broken.is_empty()
}

/// Bugs that show in a few messages, cuts and crashes, so that the model has to find them.
#[cfg(heartwire_planted)]
const IN_MODEL: [Bug; 8] = [
    Bug::AckBeforeSync,
    Bug::DeliverBeforeSync,
    Bug::NoDedup,
    Bug::DedupForgottenAtRestart,
    Bug::NoTakeover,
    Bug::StaleHelloWins,
    Bug::ResumeOffByOne,
    Bug::NoResend,
];

#[cfg(heartwire_planted)]
fn hunt(planted: &Planted) -> bool {
    let is_meant = |bug: &Bug| {
        planted
            .name
            .as_ref()
            .is_none_or(|name| *name == format!("{bug:?}"))
    };
    let mut is_well = true;
    for bug in Bug::ALL.into_iter().filter(is_meant) {
        match heartwire_sim::hunt(bug, planted.seeds, cores()) {
            Some(outcome) => println!(
                "{bug:?}: found by seed {}: {}",
                outcome.seed,
                shown(&outcome)
            ),
            None => {
                is_well = false;
                println!("{bug:?}: not found within {} seeds", planted.seeds);
            }
        }
    }
    let in_model = IN_MODEL.into_iter().filter(is_meant);
    in_model.fold(is_well, |is_well, bug| is_well & hunt_in_model(bug))
}

/// Whether the model finds a bug.
#[cfg(heartwire_planted)]
fn hunt_in_model(bug: Bug) -> bool {
    let bounds = model::Bounds {
        messages: 2,
        cuts: 1,
        crashes: 1,
    };
    let found = model::hunt(bug, bounds, cores());
    match &found {
        Some((name, way)) => println!("{bug:?}: found by the model: {name}, after {way:?}"),
        None => println!("{bug:?}: not found by the model"),
    }
    found.is_some()
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn shown(outcome: &Outcome) -> String {
    let violation = outcome.violation.as_ref();
    violation.map_or_else(String::new, ToString::to_string)
}

/// What was violated, and the command that shows it again.
fn tell(outcome: &Outcome) {
    if outcome.violation.is_some() {
        let seed = outcome.seed;
        println!("seed {seed}: {}", shown(outcome));
        println!("    cargo run --release -p heartwire-sim -- run --seed {seed} --trace");
    }
}

fn figures(summary: &Summary) -> String {
    format!(
        "{} seeds in {:.0} s, {:.1} a second, {:.1} hours simulated, {:.1} million steps, {} failed",
        summary.seeds,
        summary.took.as_secs_f64(),
        summary.seeds_per_second(),
        summary.simulated_ms as f64 / 3_600_000.0,
        summary.steps as f64 / 1e6,
        summary.failures.len(),
    )
}
