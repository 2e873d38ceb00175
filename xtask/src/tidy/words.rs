//! Words and white space that no file may hold.

use super::Finding;
use super::files::Tree;

/// Marks of unfinished work. Written in two parts, so that this file holds none.
const UNFINISHED: [&str; 5] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X:"),
    concat!("todo", "!("),
    concat!("unimplemented", "!("),
];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in &tree.files {
        let mut add = |line, what: String| {
            findings.push(Finding {
                file: file.path.clone(),
                line,
                what,
            });
        };
        for (number, line) in file.lines() {
            if let Some(what) = wrong_with(line) {
                add(Some(number), what);
            }
        }
        if !file.text.is_empty() && !file.text.ends_with('\n') {
            add(None, "the last line has no end".to_owned());
        }
    }
    findings
}

fn wrong_with(line: &str) -> Option<String> {
    let unfinished = UNFINISHED.iter().find(|word| line.contains(**word));
    if let Some(word) = unfinished {
        return Some(format!(
            "{word} marks unfinished work: finish it, or open an issue"
        ));
    }
    let blank_end = line.ends_with(char::is_whitespace);
    blank_end.then(|| "the line ends in white space".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unfinished_work_and_trailing_blanks_are_found() {
        assert!(wrong_with(concat!("// TO", "DO: later")).is_some());
        assert!(wrong_with("let a = 1; ").is_some());
        assert_eq!(wrong_with("let a = 1; // done"), None);
    }
}
