//! Licences and sources of everything that is linked, by the rules of `deny.toml`.
//!
//! `cargo deny` reads the same file and checks more (duplicates, bans); it runs when it is
//! installed. The check here always runs, because building `cargo-deny` takes minutes.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::process::{cargo, output, root, run as run_command, works};

/// What `deny.toml` says, as far as this check reads it.
#[derive(Deserialize)]
struct Rules {
    licenses: LicenceRules,
    sources: SourceRules,
}

#[derive(Deserialize)]
struct LicenceRules {
    allow: BTreeSet<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct SourceRules {
    allow_registry: Vec<String>,
}

/// What `cargo metadata` prints, as far as this check reads it.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    source: Option<String>,
}

pub(crate) fn run() -> Result<()> {
    let rules = std::fs::read_to_string(root().join("deny.toml")).context("deny.toml")?;
    let rules: Rules = toml::from_str(&rules).context("deny.toml")?;
    let metadata = output(cargo().args(["metadata", "--format-version", "1", "--locked"]))?;
    let metadata: Metadata = serde_json::from_str(&metadata).context("cargo metadata")?;
    let complaints: Vec<String> = metadata
        .packages
        .iter()
        .flat_map(|package| complaints(package, &rules))
        .collect();
    if !complaints.is_empty() {
        bail!("{}", complaints.join("\n"));
    }
    println!(
        "{} packages: licences and sources allowed",
        metadata.packages.len()
    );
    if works(cargo().args(["deny", "--version"])) {
        run_command(cargo().args(["deny", "check", "bans", "licenses", "sources"]))?;
    }
    Ok(())
}

fn complaints(package: &Package, rules: &Rules) -> Vec<String> {
    let mut complaints = Vec::new();
    let name = format!("{} {}", package.name, package.version);
    match &package.license {
        Some(licence) if is_allowed(licence, &rules.licenses.allow) => {}
        Some(licence) => complaints.push(format!("{name}: licence {licence} is not allowed")),
        None => complaints.push(format!("{name} names no licence")),
    }
    if let Some(source) = &package.source {
        let allowed = |registry: &String| source == &format!("registry+{registry}");
        if !rules.sources.allow_registry.iter().any(allowed) {
            complaints.push(format!("{name} comes from {source}, which is not allowed"));
        }
    }
    complaints
}

/// Whether an SPDX expression can be met with allowed licences alone.
///
/// `AND` binds closer than `OR`; a slash is an old spelling of `OR`. A licence `WITH` an exception
/// is allowed when the pair is listed, or the licence itself, as an exception only gives.
fn is_allowed(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let mut words = spaced.split_whitespace().peekable();
    let met = any(&mut words, allowed);
    met && words.next().is_none()
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn any(words: &mut Words<'_>, allowed: &BTreeSet<String>) -> bool {
    let mut met = all(words, allowed);
    while words.next_if_eq(&"OR").is_some() {
        met |= all(words, allowed);
    }
    met
}

fn all(words: &mut Words<'_>, allowed: &BTreeSet<String>) -> bool {
    let mut met = one(words, allowed);
    while words.next_if_eq(&"AND").is_some() {
        met &= one(words, allowed);
    }
    met
}

fn one(words: &mut Words<'_>, allowed: &BTreeSet<String>) -> bool {
    match words.next() {
        Some("(") => {
            let met = any(words, allowed);
            met & words.next_if_eq(&")").is_some()
        }
        Some(licence) => {
            let exception = words.next_if_eq(&"WITH").and_then(|_| words.next());
            let pair = exception.map(|exception| format!("{licence} WITH {exception}"));
            allowed.contains(licence) || pair.is_some_and(|pair| allowed.contains(&pair))
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(expression: &str) -> bool {
        let list = ["MIT", "Apache-2.0", "Unicode-3.0"];
        is_allowed(expression, &list.map(String::from).into())
    }

    #[test]
    fn one_allowed_alternative_is_enough() {
        for right in [
            "MIT",
            "MIT OR Apache-2.0",
            "GPL-3.0 OR MIT",
            "MIT/Apache-2.0",
            "Apache-2.0 WITH LLVM-exception OR GPL-3.0",
            "(MIT OR GPL-3.0) AND Unicode-3.0",
        ] {
            assert!(allowed(right), "{right}");
        }
    }

    #[test]
    fn every_part_of_a_conjunction_must_be_allowed() {
        for wrong in [
            "",
            "GPL-3.0",
            "MIT AND GPL-3.0",
            "GPL-3.0 OR MIT AND GPL-3.0",
            "(MIT OR Apache-2.0) AND GPL-3.0",
            "(MIT",
            "MIT )",
        ] {
            assert!(!allowed(wrong), "{wrong}");
        }
    }
}
