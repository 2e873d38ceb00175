//! The text format of Prometheus, version 0.0.4.
//!
//! A crate for this would bring registries and label sets of its own; what is published here are
//! plain numbers that others hold, and the format is five rules.

use std::fmt::{self, Display, Write as _};

use super::histogram::Histogram;

/// The media type of the format.
pub(crate) const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Metrics, one family after the other.
#[derive(Default)]
pub(crate) struct Page {
    text: String,
}

/// One family, under its head.
pub(crate) struct Family<'a> {
    text: &'a mut String,
    name: &'static str,
}

/// Name and value of each label. Values may be any text.
type Labels<'a> = [(&'static str, &'a str)];

impl Page {
    /// A number that only rises; its name ends with `_total`.
    pub(crate) fn counter(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, "counter", help)
    }

    /// A number that rises and falls.
    pub(crate) fn gauge(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, "gauge", help)
    }

    /// Observations in buckets.
    pub(crate) fn histogram(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, "histogram", help)
    }

    /// The whole text.
    pub(crate) fn finish(self) -> String {
        self.text
    }

    fn family(&mut self, name: &'static str, kind: &str, help: &str) -> Family<'_> {
        self.text
            .push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
        Family {
            text: &mut self.text,
            name,
        }
    }
}

impl Family<'_> {
    /// The only value of a family without labels.
    pub(crate) fn value(&mut self, value: impl Display) {
        self.with(&[], value);
    }

    /// A value under labels.
    pub(crate) fn with(&mut self, labels: &Labels<'_>, value: impl Display) -> &mut Self {
        self.line("", labels, None, value);
        self
    }

    /// A histogram under labels.
    pub(crate) fn observed(&mut self, labels: &Labels<'_>, histogram: &Histogram) -> &mut Self {
        let cumulated = histogram.cumulated();
        let count = cumulated.last().map_or(0, |(_, count)| *count);
        for (end, below) in &cumulated {
            let end = end.map_or_else(|| "+Inf".to_owned(), |end| end.to_string());
            self.line("_bucket", labels, Some(&end), below);
        }
        self.line("_sum", labels, None, histogram.sum());
        self.line("_count", labels, None, count);
        self
    }

    fn line(&mut self, suffix: &str, labels: &Labels<'_>, end: Option<&str>, value: impl Display) {
        let labels = Braces { labels, end };
        let written = writeln!(self.text, "{}{suffix}{labels} {value}", self.name);
        written.expect("a string takes whatever is written to it");
    }
}

/// Labels in braces, the end of a bucket last; nothing where there are none.
struct Braces<'a> {
    labels: &'a Labels<'a>,
    end: Option<&'a str>,
}

impl Display for Braces<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let labels = self.labels.iter().copied();
        let mut before = '{';
        for (name, value) in labels.chain(self.end.map(|end| ("le", end))) {
            write!(f, "{before}{name}=\"{}\"", escaped(value))?;
            before = ',';
        }
        if before == ',' {
            f.write_char('}')?;
        }
        Ok(())
    }
}

fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_has_its_head_and_its_samples() {
        let mut page = Page::default();
        page.counter("a_total", "What it counts.")
            .with(&[("by", "x"), ("why", "a\\b\"c\n")], 3)
            .with(&[], 0.5);
        let expected = "# HELP a_total What it counts.\n# TYPE a_total counter\n\
                        a_total{by=\"x\",why=\"a\\\\b\\\"c\\n\"} 3\na_total 0.5\n";
        assert_eq!(page.finish(), expected);
    }

    #[test]
    fn a_histogram_is_cumulative_and_ends_with_infinity() {
        let histogram = Histogram::of_counts(&[1, 10]);
        for size in [1, 7, 70] {
            histogram.observe(size);
        }
        let mut page = Page::default();
        page.histogram("h", "Sizes.")
            .observed(&[("k", "v")], &histogram);
        let text = page.finish();
        let samples: Vec<&str> = text.lines().skip(2).collect();
        assert_eq!(
            samples,
            [
                "h_bucket{k=\"v\",le=\"1\"} 1",
                "h_bucket{k=\"v\",le=\"10\"} 2",
                "h_bucket{k=\"v\",le=\"+Inf\"} 3",
                "h_sum{k=\"v\"} 78",
                "h_count{k=\"v\"} 3",
            ]
        );
    }
}
