//! The numbered requirements of PROTOCOL.md and docs/log-format.md, and where they are cited.
//!
//! Whatever the code cites must exist, and every MUST is cited by at least one source or test file:
//! where it is kept or where it is shown.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use anyhow::{Context as _, Result};

use super::Finding;
use super::files::{SourceFile, Tree};

/// Where requirements are defined, each document under prefixes of its own.
const DOCUMENTS: [&str; 2] = ["PROTOCOL.md", "docs/log-format.md"];

/// An id such as `LIVE-4`; sorted by its prefix, then by its number.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Id {
    prefix: String,
    number: u32,
}

/// One requirement and the files that cite it.
#[derive(Default)]
struct Requirement {
    /// Whether it holds a MUST.
    is_must: bool,
    document: &'static str,
    line: usize,
    /// Files that cite it outside of tests.
    sources: BTreeSet<String>,
    /// Tests, vectors and transcripts that cite it.
    tests: BTreeSet<String>,
}

/// All requirements, and the citations of none.
pub(super) struct Coverage {
    requirements: BTreeMap<Id, Requirement>,
    unknown: Vec<Finding>,
}

impl Coverage {
    pub(super) fn of(tree: &Tree) -> Result<Self> {
        let mut coverage = Self {
            requirements: BTreeMap::new(),
            unknown: Vec::new(),
        };
        for name in DOCUMENTS {
            let document = tree.files.iter().find(|file| file.path == name);
            let document = document.with_context(|| format!("there is no {name}"))?;
            coverage.requirements.extend(defined(document, name));
        }
        let prefixes: BTreeSet<String> = coverage
            .requirements
            .keys()
            .map(|id| id.prefix.clone())
            .collect();
        for file in tree
            .files
            .iter()
            .filter(|file| !file.path.starts_with("xtask/"))
        {
            coverage.add_citations(file, &prefixes);
        }
        Ok(coverage)
    }

    fn add_citations(&mut self, file: &SourceFile, prefixes: &BTreeSet<String>) {
        for (number, line) in file.lines() {
            for id in ids_in(line).filter(|id| prefixes.contains(&id.prefix)) {
                match self.requirements.get_mut(&id) {
                    Some(requirement) => requirement.cite(file, number),
                    None => self.unknown.push(Finding {
                        file: file.path.clone(),
                        line: Some(number),
                        what: format!("{id} is in none of {}", DOCUMENTS.join(", ")),
                    }),
                }
            }
        }
    }

    /// Citations of what does not exist, and MUSTs that nobody cites.
    pub(super) fn check(&self) -> Vec<Finding> {
        let uncited = self.uncited().map(|(id, requirement)| Finding {
            file: requirement.document.to_owned(),
            line: Some(requirement.line),
            what: format!("{id} is cited by no source and no test"),
        });
        let unknown = self.unknown.iter().map(|finding| Finding {
            file: finding.file.clone(),
            line: finding.line,
            what: finding.what.clone(),
        });
        unknown.chain(uncited).collect()
    }

    fn uncited(&self) -> impl Iterator<Item = (&Id, &Requirement)> {
        self.requirements.iter().filter(|(_, requirement)| {
            requirement.is_must && requirement.sources.is_empty() && requirement.tests.is_empty()
        })
    }

    /// One paragraph per requirement: who keeps it and who shows it.
    pub(super) fn report(&self) -> String {
        let list = |files: &BTreeSet<String>| {
            let files: Vec<&str> = files.iter().map(String::as_str).collect();
            if files.is_empty() {
                "-".to_owned()
            } else {
                files.join(" ")
            }
        };
        let mut report = String::new();
        for (id, requirement) in &self.requirements {
            let word = if requirement.is_must { "MUST" } else { "" };
            let (sources, tests) = (list(&requirement.sources), list(&requirement.tests));
            report.push_str(&format!(
                "{id} {word}\n  kept   {sources}\n  tested {tests}\n"
            ));
        }
        report + &format!("{self}\n")
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let musts = || self.requirements.values().filter(|r| r.is_must);
        write!(
            f,
            "{} requirements, {} of them MUST: {} cited in sources, {} in tests",
            self.requirements.len(),
            musts().count(),
            musts().filter(|r| !r.sources.is_empty()).count(),
            musts().filter(|r| !r.tests.is_empty()).count(),
        )
    }
}

impl Requirement {
    fn cite(&mut self, file: &SourceFile, line: usize) {
        if file.path.ends_with(".md") || file.path.ends_with(".toml") {
            return;
        }
        if file.is_test_line(line) || file.path.starts_with("spec/") {
            self.tests.insert(file.path.clone());
        } else {
            self.sources.insert(file.path.clone());
        }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.prefix, self.number)
    }
}

/// The requirements that the document defines: paragraphs that begin with `**[ID]**`, each up to the
/// next one or the next heading.
fn defined(document: &SourceFile, name: &'static str) -> BTreeMap<Id, Requirement> {
    let mut requirements = BTreeMap::new();
    let mut current: Option<Id> = None;
    for (number, line) in document.lines() {
        if let Some(id) = definition(line) {
            let requirement = Requirement {
                document: name,
                line: number,
                ..Requirement::default()
            };
            requirements.insert(id.clone(), requirement);
            current = Some(id);
        } else if line.starts_with('#') {
            current = None;
        }
        let requirement = current.as_ref().and_then(|id| requirements.get_mut(id));
        if let Some(requirement) = requirement {
            requirement.is_must |= line.contains("MUST");
        }
    }
    requirements
}

fn definition(line: &str) -> Option<Id> {
    let (id, _) = line.strip_prefix("**[")?.split_once("]**")?;
    ids_in(id).next()
}

/// Everything in the text that looks like an id: capital letters, a hyphen, a number.
fn ids_in(text: &str) -> impl Iterator<Item = Id> + '_ {
    text.match_indices('-').filter_map(|(at, _)| {
        let before = text[..at].trim_end_matches(|c: char| c.is_ascii_uppercase());
        let prefix = &text[before.len()..at];
        let follows_word = before.ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        let digits = text[at + 1..]
            .bytes()
            .take_while(u8::is_ascii_digit)
            .count();
        let number = text[at + 1..at + 1 + digits].parse().ok()?;
        (!prefix.is_empty() && !follows_word).then(|| Id {
            prefix: prefix.to_owned(),
            number,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Vec<String> {
        ids_in(text).map(|id| id.to_string()).collect()
    }

    #[test]
    fn ids_are_found_in_prose_and_in_code() {
        assert_eq!(shown("as [LIVE-4] and `PUB-10` say"), ["LIVE-4", "PUB-10"]);
        assert_eq!(shown("\"requirements\": [\"SUB-3\"]"), ["SUB-3"]);
        assert!(shown("a-1 SUB- x86-64 fooSUB-3").is_empty());
    }

    #[test]
    fn definitions_begin_a_paragraph() {
        let id = definition("**[WS-10]** A server MUST bound").map(|id| id.to_string());
        assert_eq!(id.as_deref(), Some("WS-10"));
        assert_eq!(definition("as [WS-10] says"), None);
    }
}
