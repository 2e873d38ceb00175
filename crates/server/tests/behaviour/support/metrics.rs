//! `/metrics`, read as Prometheus reads it, with every rule of the text format checked on the way.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use super::http;

/// One answer of `/metrics`.
pub(crate) struct Scrape {
    pub(crate) text: String,
    /// The type of each family.
    pub(crate) types: BTreeMap<String, String>,
    samples: BTreeMap<String, f64>,
}

impl Scrape {
    pub(crate) async fn of(address: SocketAddr) -> Self {
        let answer = http::get(address, "/metrics").await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(
            answer.header("content-type"),
            Some("text/plain; version=0.0.4; charset=utf-8")
        );
        Self::parse(answer.body)
    }

    fn parse(text: String) -> Self {
        let (mut types, mut samples) = (BTreeMap::new(), BTreeMap::new());
        let mut helped = BTreeSet::new();
        let mut family = String::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').expect("a name and a text");
                assert!(helped.insert(name.to_owned()), "{name} has two helps");
                assert!(help.ends_with('.'), "{name}: {help}");
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("a name and a type");
                check_name(name, kind);
                assert!(helped.contains(name), "{name} has no help");
                let before = types.insert(name.to_owned(), kind.to_owned());
                assert_eq!(before, None, "{name} stands in two places");
                family = name.to_owned();
            } else {
                let (key, value) = line.rsplit_once(' ').expect("a sample and a value");
                check_sample(&family, &types[&family], key);
                let value = value.parse().expect("a number");
                let before = samples.insert(key.to_owned(), value);
                assert_eq!(before, None, "{key} comes twice");
            }
        }
        let scrape = Self {
            text,
            types,
            samples,
        };
        scrape.check_histograms();
        scrape
    }

    /// The value of a sample, with its labels as they stand in the text; 0 where there is none.
    pub(crate) fn value(&self, key: &str) -> f64 {
        let name = key.split('{').next().unwrap_or(key);
        let is_known = self.names().contains(name);
        assert!(is_known, "there is no metric {name}");
        self.samples.get(key).copied().unwrap_or(0.0)
    }

    /// Every name that a query may use.
    pub(crate) fn names(&self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for (name, kind) in &self.types {
            if kind == "histogram" {
                names.extend(["bucket", "sum", "count"].map(|part| format!("{name}_{part}")));
            } else {
                names.insert(name.clone());
            }
        }
        names
    }

    fn check_histograms(&self) {
        for (name, _) in self.types.iter().filter(|(_, kind)| *kind == "histogram") {
            let buckets = self.samples.iter().filter(|(key, _)| {
                key.starts_with(&format!("{name}_bucket{{")) && key.contains("le=\"+Inf\"")
            });
            for (key, all) in buckets {
                let labels = key
                    .replace("_bucket{", "_count{")
                    .replace(",le=\"+Inf\"", "")
                    .replace("{le=\"+Inf\"}", "");
                assert_eq!(self.samples.get(&labels), Some(all), "{labels}");
            }
        }
    }
}

fn check_name(name: &str, kind: &str) {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    assert!(name.bytes().all(is_plain), "{name}");
    let is_ours = name.starts_with("heartwire_") || name.starts_with("process_");
    assert!(is_ours, "{name}");
    assert_eq!(name.ends_with("_total"), kind == "counter", "{name} {kind}");
    for reserved in ["_bucket", "_sum", "_count"] {
        assert!(!name.ends_with(reserved), "{name}");
    }
    for unit in ["_ms", "_millis", "_milliseconds", "_kb", "_mb"] {
        assert!(!name.contains(unit), "{name} is not in base units");
    }
}

fn check_sample(family: &str, kind: &str, key: &str) {
    let name = key.split('{').next().unwrap_or(key);
    let expected = match kind {
        "histogram" => ["_bucket", "_sum", "_count"]
            .iter()
            .any(|part| name == format!("{family}{part}")),
        _ => name == family,
    };
    assert!(expected, "{key} stands under {family}");
    if let Some(labels) = key.strip_prefix(name).filter(|labels| !labels.is_empty()) {
        let inner = labels
            .strip_prefix('{')
            .and_then(|labels| labels.strip_suffix('}'));
        for label in inner.expect("labels stand in braces").split(',') {
            let (label, value) = label.split_once('=').expect("a name and a value");
            assert!(!label.is_empty() && value.starts_with('"') && value.ends_with('"'));
        }
    }
}
