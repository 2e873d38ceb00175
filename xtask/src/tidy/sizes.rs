//! Functions have at most 70 lines and files at most 600, tests included.
//!
//! The exceptions are a ratchet: what is listed may not grow, and an entry that fits the rule, or
//! that allows more than is there, has to go or to shrink.

use super::Finding;
use super::exceptions::Exceptions;
use super::files::{Function, SourceFile, Tree};

const FUNCTION_LINES_MAX: usize = 70;
const FILE_LINES_MAX: usize = 600;

pub(super) fn check(tree: &Tree, exceptions: &Exceptions) -> Vec<Finding> {
    let files = tree
        .rust()
        .filter_map(|(file, _)| check_file(file, exceptions));
    let functions = tree.rust().flat_map(|(file, rust)| {
        let functions = rust.functions.iter();
        functions.filter_map(|function| check_function(file, function, exceptions))
    });
    files
        .chain(functions)
        .chain(forgotten(tree, exceptions))
        .collect()
}

fn check_file(file: &SourceFile, exceptions: &Exceptions) -> Option<Finding> {
    let exception = exceptions.long_files.iter().find(|e| e.file == file.path);
    let lines = file.lines().count();
    let what = judge(lines, FILE_LINES_MAX, exception.map(|e| e.lines))?;
    Some(Finding {
        file: file.path.clone(),
        line: None,
        what: format!("the file has {what}"),
    })
}

fn check_function(
    file: &SourceFile,
    function: &Function,
    exceptions: &Exceptions,
) -> Option<Finding> {
    let exception = exceptions
        .long_functions
        .iter()
        .find(|e| e.file == file.path && e.function == function.name);
    let what = judge(
        function.lines,
        FUNCTION_LINES_MAX,
        exception.map(|e| e.lines),
    )?;
    Some(Finding {
        file: file.path.clone(),
        line: Some(function.line),
        what: format!("fn {} has {what}", function.name),
    })
}

/// What is wrong with that many lines, if anything.
fn judge(lines: usize, lines_max: usize, exception: Option<usize>) -> Option<String> {
    match exception {
        None if lines > lines_max => Some(format!("{lines} lines; {lines_max} are allowed")),
        Some(allowed) if lines > allowed => Some(format!(
            "{lines} lines; xtask/tidy.toml allows {allowed}, which may only shrink"
        )),
        Some(allowed) if lines < allowed => Some(format!(
            "{lines} lines and xtask/tidy.toml allows {allowed}: lower or remove the exception"
        )),
        _ => None,
    }
}

/// Exceptions for what is not there.
fn forgotten<'a>(tree: &'a Tree, exceptions: &'a Exceptions) -> impl Iterator<Item = Finding> + 'a {
    let exists = |file: &str| tree.rust().any(|(source, _)| source.path == file);
    let has = |file: &str, name: &str| {
        let mut sources = tree.rust().filter(|(source, _)| source.path == file);
        sources.any(|(_, rust)| rust.functions.iter().any(|function| function.name == name))
    };
    let files = exceptions.long_files.iter();
    let files = files
        .filter(move |e| !exists(&e.file))
        .map(|e| e.file.clone());
    let functions = exceptions.long_functions.iter();
    let functions = functions
        .filter(move |e| !has(&e.file, &e.function))
        .map(|e| format!("{} in {}", e.function, e.file));
    files.chain(functions).map(|missing| Finding {
        file: "xtask/tidy.toml".to_owned(),
        line: None,
        what: format!("{missing} is not there: remove the exception"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exception_neither_grows_nor_outlives_its_need() {
        assert_eq!(judge(70, 70, None), None);
        assert!(judge(71, 70, None).is_some());
        assert_eq!(judge(90, 70, Some(90)), None);
        assert!(judge(91, 70, Some(90)).is_some());
        assert!(judge(89, 70, Some(90)).is_some());
    }
}
