//! The simulator as a command.
#![allow(clippy::print_stdout, reason = "a command reports to the terminal")]
fn main() {
    let mut args = std::env::args().skip(1);
    let from: u64 = args.next().unwrap().parse().unwrap();
    let n: u64 = args.next().unwrap().parse().unwrap();
    let keep = n == 1;
    let mut counts = heartwire_sim::Counts::default();
    let start = std::time::Instant::now();
    let (mut ms, mut steps, mut bad) = (0, 0, 0);
    for seed in from..from + n {
        let outcome = heartwire_sim::run(seed, keep);
        if keep {
            print!("{}", outcome.trace);
        }
        counts.add(&outcome.counts);
        ms += outcome.simulated_ms;
        steps += outcome.steps;
        if let Some(v) = outcome.violation {
            println!("seed {seed}: {v}");
            bad += 1;
            if bad > 25 {
                break;
            }
        }
    }
    println!(
        "{:?} steps {steps} simulated {} h, bad {bad}, missing {:?}",
        start.elapsed(),
        ms as f64 / 3.6e6,
        counts.missing()
    );
}
