//! What was found: one check after the other, and what to set at the end.

use std::fmt;
use std::io;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::failure::Failure;
use crate::output;
use crate::style::{Style, printable};

/// How a check came out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// As it should be.
    Ok,
    /// Worth knowing; nothing is wrong.
    Note,
    /// It works, and will hurt some day.
    Warning,
    /// It does not work: the command exits with 1.
    Failed,
    /// Not tried, for the reason that the summary names.
    Skipped,
}

impl Verdict {
    /// The word that people and programs read.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Check {
    name: &'static str,
    verdict: Verdict,
    summary: String,
    facts: Map<String, Value>,
    advice: Vec<String>,
}

impl Check {
    /// `summary` is a phrase for people; what programs need is added by [`fact`](Self::fact).
    pub(super) fn new(name: &'static str, verdict: Verdict, summary: impl fmt::Display) -> Self {
        Self {
            name,
            verdict,
            // Much of it comes from the other end, which is not to move anybody's cursor.
            summary: printable(&summary.to_string()).into_owned(),
            facts: Map::new(),
            advice: Vec::new(),
        }
    }

    /// Adds a member to the check's JSON object.
    pub(super) fn fact(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.facts.insert(key.to_owned(), value.into());
        self
    }

    /// Adds a sentence that says what to set or to do.
    pub(super) fn advise(mut self, sentence: impl fmt::Display) -> Self {
        self.advice
            .push(printable(&sentence.to_string()).into_owned());
        self
    }

    fn to_json(&self) -> Value {
        let mut object = self.facts.clone();
        object.insert("name".to_owned(), self.name.into());
        object.insert("verdict".to_owned(), self.verdict.name().into());
        object.insert("summary".to_owned(), self.summary.as_str().into());
        Value::Object(object)
    }

    #[cfg(test)]
    pub(super) const fn verdict(&self) -> Verdict {
        self.verdict
    }

    #[cfg(test)]
    pub(super) fn advice(&self) -> String {
        self.advice.join("\n")
    }
}

/// A check, and what it found for those after it; without that, the path ends here.
pub(super) type Outcome<T> = (Check, Option<T>);

/// All checks of one run, told as they come.
pub(super) struct Report {
    url: String,
    json: bool,
    style: Style,
    checks: Vec<Check>,
}

impl Report {
    /// Of the path to `url`, which holds no secrets. With `json` nothing is told before the end.
    pub(super) fn new(url: String, json: bool) -> Self {
        Self {
            url,
            json,
            style: Style::of(&io::stdout()),
            checks: Vec::new(),
        }
    }

    /// Takes a check and tells it.
    pub(super) fn add(&mut self, check: Check) -> Result<(), Failure> {
        if !self.json {
            output::line(self.line(&check))?;
        }
        self.checks.push(check);
        Ok(())
    }

    /// Takes the check and hands on what it found.
    pub(super) fn take<T>(&mut self, (check, found): Outcome<T>) -> Result<Option<T>, Failure> {
        self.add(check)?;
        Ok(found)
    }

    /// Says what to set; fails when a check has failed.
    pub(super) fn finish(self) -> Result<(), Failure> {
        let failed: Vec<_> = self
            .checks
            .iter()
            .filter(|check| check.verdict == Verdict::Failed)
            .map(|check| check.name)
            .collect();
        if self.json {
            output::line(self.to_json(failed.is_empty()))?;
        } else {
            output::line(self.advice_lines())?;
        }
        if failed.is_empty() {
            return Ok(());
        }
        Err(Failure::failed("failed", failed.join(", ")))
    }

    fn line(&self, check: &Check) -> String {
        let word = format!("{:<8}", check.verdict.name());
        let word = match check.verdict {
            Verdict::Ok => self.style.green(word),
            Verdict::Note => self.style.cyan(word),
            Verdict::Warning => self.style.yellow(word),
            Verdict::Failed => self.style.red(word),
            Verdict::Skipped => self.style.dim(word),
        };
        format!("{word} {:<15} {}", check.name, check.summary)
    }

    fn advice(&self) -> impl Iterator<Item = &String> {
        self.checks.iter().flat_map(|check| &check.advice)
    }

    fn advice_lines(&self) -> String {
        let mut lines = String::from("\nWhat to do:");
        for sentence in self.advice() {
            lines.push_str("\n- ");
            lines.push_str(sentence);
        }
        if self.advice().next().is_none() {
            lines.push_str(" nothing; this path is fine as it is.");
        }
        lines
    }

    fn to_json(&self, healthy: bool) -> Value {
        let checks: Vec<_> = self.checks.iter().map(Check::to_json).collect();
        let advice: Vec<_> = self.advice().collect();
        json!({ "url": self.url, "healthy": healthy, "checks": checks, "advice": advice })
    }
}

/// Milliseconds with two decimals, for JSON.
pub(super) fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 100_000.0).round() / 100.0
}

/// A duration as people read it: `0.31 ms`, `12 ms`, `7.2 s`, `60 s`.
pub(super) fn shown(duration: Duration) -> String {
    let millis = duration.as_secs_f64() * 1_000.0;
    if millis < 10.0 {
        return format!("{millis:.2} ms");
    }
    if millis < 1_000.0 {
        return format!("{millis:.0} ms");
    }
    let tenths = format!("{:.1}", millis / 1_000.0);
    format!("{} s", tenths.strip_suffix(".0").unwrap_or(&tenths))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_shown_as_people_say_them() {
        let shown = |micros| shown(Duration::from_micros(micros));
        assert_eq!(shown(312), "0.31 ms");
        assert_eq!(shown(12_400), "12 ms");
        assert_eq!(shown(7_240_000), "7.2 s");
        assert_eq!(shown(60_030_000), "60 s");
        assert!((millis(Duration::from_micros(1_234)) - 1.23).abs() < 1e-9);
    }

    #[test]
    fn a_check_is_an_object_with_its_facts() {
        let check = Check::new("dns", Verdict::Note, "a\nb").fact("took_ms", 2);
        assert_eq!(
            check.to_json(),
            json!({"name": "dns", "verdict": "note", "summary": "a␊b", "took_ms": 2})
        );
    }
}
