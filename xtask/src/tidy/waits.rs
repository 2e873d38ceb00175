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
        .filter(|(_, line)| CALLS.iter().any(|call| calls(line, call)))
        .map(|(number, _)| number)
        .filter(|number| file.is_test_line(*number))
}

/// Whether the line calls this function: as a word of its own, and not a method of that name, such
/// as putting a link to sleep.
fn calls(line: &str, call: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.');
    let mut places = line.match_indices(call);
    places.any(|(at, _)| !line[..at].ends_with(is_word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_call_itself_counts() {
        assert!(calls("tokio::time::sleep(second).await", "sleep("));
        assert!(!calls("fn a_leap_of_the_clock_is_sleep() {", "sleep("));
        assert!(!calls("link.sleep();", "sleep("));
    }
}
