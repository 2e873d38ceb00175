//! The project's own rules, which no common tool checks.

mod dependencies;
mod exceptions;
mod files;
mod links;
mod requirements;
mod sizes;
mod waits;
mod words;

use std::fmt;

use anyhow::{Result, bail};

use exceptions::Exceptions;
use files::Tree;

/// One broken rule, with its place.
pub(crate) struct Finding {
    /// The file, relative to the root.
    file: String,
    /// The line, when there is one.
    line: Option<usize>,
    /// What is wrong, and what to do.
    what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.file, self.what),
            None => write!(f, "{}: {}", self.file, self.what),
        }
    }
}

pub(crate) fn run() -> Result<()> {
    let tree = Tree::read()?;
    let exceptions = Exceptions::read()?;
    let requirements = requirements::Coverage::of(&tree)?;
    let mut findings = Vec::new();
    findings.extend(sizes::check(&tree, &exceptions));
    findings.extend(waits::check(&tree, &exceptions));
    findings.extend(words::check(&tree));
    findings.extend(links::check(&tree));
    findings.extend(requirements.check());
    findings.extend(dependencies::check()?);
    for finding in &findings {
        println!("{finding}");
    }
    println!("{requirements}");
    if !findings.is_empty() {
        bail!("{} findings", findings.len());
    }
    println!("{tree}: tidy");
    Ok(())
}

/// Each requirement with the files that cite it.
pub(crate) fn requirements_report() -> Result<String> {
    Ok(requirements::Coverage::of(&Tree::read()?)?.report())
}
