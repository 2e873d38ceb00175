//! A run follows from its seed alone: the first thing that must hold of a simulator.

use heartwire_sim::{has_disk, past_seeds, run};

#[test]
fn the_same_seed_gives_the_same_trace_byte_for_byte() {
    for seed in 1..=3 {
        let first = run(seed, true);
        let second = run(seed, true);
        assert!(first.trace.len() > 1_000, "seed {seed} does something");
        assert!(first.trace == second.trace, "seed {seed} went two ways");
        assert_eq!(first.steps, second.steps);
    }
}

/// The store, its files, and what the threads beside it do, have an order of their own in a process. The
/// command `past` tries more seeds.
#[test]
fn a_log_on_disk_goes_the_same_way_each_time() {
    for seed in (100..).filter(|seed| has_disk(*seed)).take(5) {
        let (first, second) = (run(seed, true), run(seed, true));
        assert!(first.trace == second.trace, "seed {seed} went two ways");
        assert_eq!(first.counts, second.counts, "seed {seed}");
        assert_eq!(first.violation, second.violation, "seed {seed}");
    }
}

#[test]
fn another_seed_gives_another_trace() {
    assert_ne!(run(1, true).trace, run(2, true).trace);
}

#[test]
fn keeping_a_trace_changes_nothing() {
    let (kept, not_kept) = (run(4, true), run(4, false));
    assert_eq!(
        (kept.steps, kept.counts, kept.violation),
        (not_kept.steps, not_kept.counts, not_kept.violation)
    );
}

#[test]
fn seeds_of_the_past_are_read() {
    assert!(past_seeds().count() >= 4);
}
