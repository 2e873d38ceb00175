//! Topics from the URL of a WebSocket `[PLAIN-5]`.

use std::collections::BTreeSet;

use heartwire_proto::id::IdError;
use heartwire_proto::{TopicName, TopicRef};
use percent_encoding::percent_decode_str;

use super::error::HttpError;

/// The keys of a query that name topics, in the order of the bare form.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UrlTopics(Vec<Box<str>>);

/// A key that could never begin a topic, or one given twice.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the keys of --url-topics are different beginnings of topic names, and {0:?} is not")]
pub struct UrlTopicsError(String);

impl Default for UrlTopics {
    /// `task,user`
    fn default() -> Self {
        Self(vec!["task".into(), "user".into()])
    }
}

impl UrlTopics {
    /// Checks the keys. No key at all means that no URL names a topic.
    pub fn new<'a>(keys: impl IntoIterator<Item = &'a str>) -> Result<Self, UrlTopicsError> {
        let mut seen = BTreeSet::new();
        let keys = keys.into_iter().map(|key| {
            let topic = joined(key, "0");
            if topic.is_ok_and(|name| !name.as_topic().is_reserved()) && seen.insert(key) {
                Ok(key.into())
            } else {
                Err(UrlTopicsError(key.to_owned()))
            }
        });
        keys.collect::<Result<_, _>>().map(Self)
    }

    /// The topics that a query names: `task=42&user=7`, or `42&7` by position.
    pub(crate) fn parse(&self, query: &str) -> Result<Vec<TopicName>, HttpError> {
        let mut named: Vec<(&str, TopicName)> = Vec::new();
        let mut position = 0;
        for piece in query.split('&') {
            let (key, value) = match piece.split_once('=') {
                Some((key, value)) => (self.0.iter().find(|known| ***known == *key), value),
                None => {
                    position += 1;
                    let key = self.0.get(position - 1);
                    (key.filter(|_| !piece.is_empty()), piece)
                }
            };
            let Some(key) = key else { continue };
            if named.iter().any(|(known, _)| **known == **key) {
                return Err(repeated(key));
            }
            named.push((key, topic(key, value)?));
        }
        Ok(named.into_iter().map(|(_, topic)| topic).collect())
    }
}

fn topic(key: &str, value: &str) -> Result<TopicName, HttpError> {
    percent_decode_str(value)
        .decode_utf8()
        .ok()
        .filter(|value| !value.is_empty())
        .and_then(|value| joined(key, &value).ok())
        .ok_or_else(|| {
            HttpError::bad_request(
                "bad-topic",
                format!(
                    "the value of {key} in the URL makes no topic: {key}:… is at most 200 bytes \
                     of A-Z a-z 0-9 _ - . : @ ~"
                ),
            )
        })
}

fn repeated(key: &str) -> HttpError {
    HttpError::bad_request(
        "repeated-key",
        format!("{key} is given twice in the URL: one WebSocket follows one {key}"),
    )
}

/// `KEY:VALUE` as a topic.
fn joined(key: &str, value: &str) -> Result<TopicName, IdError> {
    TopicRef::parse(&format!("{key}:{value}")).map(TopicRef::to_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topics(query: &str) -> Result<Vec<String>, &'static str> {
        let names = UrlTopics::default().parse(query);
        names
            .map(|names| names.iter().map(ToString::to_string).collect())
            .map_err(|error| error.code)
    }

    #[test]
    fn both_forms_name_the_same_topics() {
        let both = Ok(vec!["task:42".to_owned(), "user:7".to_owned()]);
        for query in [
            "task=42&user=7",
            "42&7",
            "task=42&utm=x&user=7&",
            "42&user=7",
            "task=4%32&user=7",
        ] {
            assert_eq!(topics(query), both, "{query}");
        }
        assert_eq!(topics("user=7&task=42").map(|names| names.len()), Ok(2));
        assert_eq!(topics("&7"), Ok(vec!["user:7".to_owned()]));
    }

    #[test]
    fn what_is_not_listed_is_ignored() {
        for query in ["", "room=9", "token=secret&agent=x", "&&"] {
            assert_eq!(topics(query), Ok(vec![]), "{query}");
        }
        assert_eq!(topics("42&7&9").map(|names| names.len()), Ok(2));
    }

    #[test]
    fn repeated_keys_and_bad_values_are_refused() {
        for query in ["task=1&task=1", "42&task=42", "user=1&task=2&user=3"] {
            assert_eq!(topics(query), Err("repeated-key"), "{query}");
        }
        let long = format!("task={}", "x".repeat(196));
        for query in [
            "task=a b",
            "task=a%20b",
            "task=%ff",
            "task=",
            "a+b",
            "task=a/b",
            &long,
        ] {
            assert_eq!(topics(query), Err("bad-topic"), "{query}");
        }
    }

    #[test]
    fn keys_are_checked_where_they_are_set() {
        assert!(UrlTopics::new(["room", "seat"]).is_ok());
        assert!(UrlTopics::new([]).is_ok());
        for keys in [&["a b"][..], &[""], &["task", "task"], &["$sys"], &["-x"]] {
            assert!(UrlTopics::new(keys.iter().copied()).is_err(), "{keys:?}");
        }
    }
}
