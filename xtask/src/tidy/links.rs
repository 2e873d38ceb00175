//! Links of the documents to files of this repository, and to headings of the same document.

use super::Finding;
use super::files::{SourceFile, Tree};
use crate::process::root;

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let documents = tree.files.iter().filter(|file| file.path.ends_with(".md"));
    documents.flat_map(check_document).collect()
}

fn check_document(document: &SourceFile) -> Vec<Finding> {
    let anchors: Vec<String> = document.text.lines().filter_map(anchor).collect();
    let folder = document
        .path
        .rsplit_once('/')
        .map_or("", |(folder, _)| folder);
    let mut findings = Vec::new();
    for (number, line) in document.lines() {
        for target in targets(line) {
            let found = match target.strip_prefix('#') {
                Some(heading) => anchors.iter().any(|anchor| anchor == heading),
                None => {
                    let path = target.split('#').next().unwrap_or_default();
                    root().join(folder).join(path).exists()
                }
            };
            if !found {
                findings.push(Finding {
                    file: document.path.clone(),
                    line: Some(number),
                    what: format!("the link to {target} leads nowhere"),
                });
            }
        }
    }
    findings
}

/// What the links of a line point to, but for other sites.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    line.split("](")
        .skip(1)
        .filter_map(|rest| Some(rest.split_once(')')?.0))
        .filter(|target| !target.contains("://"))
}

/// The anchor that a heading gets, by the rule of GitHub.
fn anchor(line: &str) -> Option<String> {
    let heading = line.strip_prefix('#')?.trim_start_matches('#').trim();
    let kept = heading
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    Some(
        kept.map(|c| if c == ' ' { '-' } else { c })
            .collect::<String>()
            .to_lowercase(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_become_anchors() {
        assert_eq!(
            anchor("## 2. The `WebSocket` below").as_deref(),
            Some("2-the-websocket-below")
        );
        assert_eq!(anchor("no heading"), None);
    }

    #[test]
    fn links_of_this_repository_are_found() {
        let line = "See [one](docs/one.md), [two](#two) and [three](https://example.org).";
        assert_eq!(targets(line).collect::<Vec<_>>(), ["docs/one.md", "#two"]);
    }
}
