//! How topics of one pattern are kept: `ticks:* memory messages=100 age=1h`.

use std::str::FromStr;

use heartwire_server::{Durability, Pattern, Policy, Retention};

use crate::size::Size;
use crate::span::Span;

/// A pattern, and how its topics are kept; what is not said is as for all topics.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct TopicRule {
    pub(super) pattern: Pattern,
    durability: Option<Durability>,
    messages: Option<u64>,
    bytes: Option<Size>,
    age: Option<Span>,
}

impl TopicRule {
    /// Whether it asks for topics of the server's own on disk.
    pub(super) fn is_of_own_on_disk(&self) -> bool {
        self.pattern.is_of_own() && self.durability == Some(Durability::Disk)
    }

    /// The policy, with the word of `others` where the rule says nothing. `check` is asked about
    /// each number.
    pub(super) fn policy<E>(
        &self,
        others: &Policy,
        check: impl Fn(Option<u64>, Option<Size>, Option<Span>) -> Result<Retention, E>,
    ) -> Result<Policy, E> {
        let checked = check(self.messages, self.bytes, self.age)?;
        let or = others.retention;
        Ok(Policy {
            retention: Retention {
                count_max: self.messages.map_or(or.count_max, |_| checked.count_max),
                bytes_max: self.bytes.map_or(or.bytes_max, |_| checked.bytes_max),
                age_max: self.age.map_or(or.age_max, |_| checked.age_max),
            },
            durability: self.durability.unwrap_or(others.durability),
        })
    }
}

impl FromStr for TopicRule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut words = text.split_whitespace();
        let pattern = words.next().unwrap_or_default();
        let pattern = pattern
            .parse()
            .map_err(|_| format!("{pattern:?} is no topic, nor a beginning and `*`"))?;
        let mut rule = Self {
            pattern,
            durability: None,
            messages: None,
            bytes: None,
            age: None,
        };
        for word in words {
            rule.take(word)?;
        }
        Ok(rule)
    }
}

impl TopicRule {
    fn take(&mut self, word: &str) -> Result<(), String> {
        let in_word = |error: String| format!("{word}: {error}");
        match word.split_once('=') {
            None if word == "memory" => self.durability = Some(Durability::Memory),
            None if word == "disk" => self.durability = Some(Durability::Disk),
            Some(("messages", number)) => {
                let number = number.parse();
                self.messages = Some(number.map_err(|_| in_word("not a number".into()))?);
            }
            Some(("bytes", size)) => self.bytes = Some(size.parse().map_err(in_word)?),
            Some(("age", span)) => self.age = Some(span.parse().map_err(in_word)?),
            _ => {
                return Err(format!(
                    "{word:?} is none of memory, disk, messages=N, bytes=SIZE, age=DURATION"
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_as_for_all_topics() {
        let rule: TopicRule = "ticks:* memory messages=7".parse().expect("well-formed");
        assert_eq!(rule.pattern.to_string(), "ticks:*");
        let check = |messages: Option<u64>, _, _| {
            Ok::<_, String>(Retention {
                count_max: messages.map_or(0, |messages| messages as usize),
                ..Retention::default()
            })
        };
        let others = Policy::default();
        let policy = rule.policy(&others, check).expect("in range");
        assert_eq!(policy.durability, Durability::Memory);
        assert_eq!(policy.retention.count_max, 7);
        assert_eq!(policy.retention.age_max, others.retention.age_max);
    }

    #[test]
    fn words_that_mean_nothing_are_named() {
        for (text, named) in [
            ("t flash", "\"flash\""),
            ("t messages=many", "messages=many"),
            ("t bytes=1XB", "bytes=1XB"),
            ("t age=later", "age=later"),
            ("", "no topic"),
        ] {
            let error = text.parse::<TopicRule>().expect_err(text);
            assert!(error.contains(named), "{text}: {error}");
        }
    }
}
