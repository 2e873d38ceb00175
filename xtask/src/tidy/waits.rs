//! Tests do not sleep: one that does either wastes time or fails on a busy machine.
//!
//! The few that wait for real sockets are listed, with the reason, in `xtask/tidy.toml`.

use super::Finding;
use super::exceptions::Exceptions;
use super::files::{SourceFile, Tree};

const CALLS: [&str; 3] = ["sleep(", "sleep_until(", "park_timeout("];

pub(super) fn check(tree: &Tree, exceptions: &Exceptions) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, _) in tree
        .rust()
        .filter(|(file, _)| !file.path.starts_with("xtask/"))
    {
        let mut sleeps = sleeping_lines(file).peekable();
        let excepted = exceptions
            .sleeping_tests
            .iter()
            .any(|e| e.file == file.path);
        if excepted && sleeps.peek().is_none() {
            findings.push(Finding {
                file: file.path.clone(),
                line: None,
                what: "no test sleeps here: remove the exception from xtask/tidy.toml".to_owned(),
            });
        }
        if !excepted {
            findings.extend(sleeps.map(|line| Finding {
                file: file.path.clone(),
                line: Some(line),
                what: "a test that sleeps: wait for what should happen instead".to_owned(),
            }));
        }
    }
    findings
}

fn sleeping_lines(file: &SourceFile) -> impl Iterator<Item = usize> + '_ {
    file.lines()
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .filter(|(_, line)| CALLS.iter().any(|call| line.contains(call)))
        .map(|(number, _)| number)
        .filter(|number| file.is_test_line(*number))
}
