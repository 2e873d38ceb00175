//! What the fuzzer has found worth keeping is replayed, and with it every way in which it broke
//! something once.

use std::fs;
use std::path::{Path, PathBuf};

use heartwire_fuzz_targets::{TARGETS, Target};

fn corpus(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    root.join(name)
}

/// Returns how many inputs were replayed.
fn replay(name: &str, target: Target) -> usize {
    let folder = corpus(name);
    let entries =
        fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut count = 0;
    for entry in entries {
        let path = entry.expect("the folder can be listed").path();
        let input = fs::read(&path).expect("the file can be read");
        let outcome = std::panic::catch_unwind(|| target(&input));
        assert!(outcome.is_ok(), "{} does not hold", path.display());
        count += 1;
    }
    count
}

#[test]
fn every_input_of_every_corpus_holds() {
    for (name, target) in TARGETS {
        let count = replay(name, *target);
        assert!(count > 10, "{name} has a corpus of {count}");
    }
}

#[test]
fn the_beginnings_of_inputs_hold_as_well() {
    for (_, target) in TARGETS {
        for length in 0..8 {
            target(&vec![0; length]);
            target(&vec![0xff; length]);
        }
    }
}
