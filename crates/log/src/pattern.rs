//! Topics by the beginning of their names.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use heartwire_proto::id::{IdError, TopicRef};

/// One topic, or all topics that begin alike: `task:42`, `news:*`, `*`. A pattern without its first
/// letter, `*` above all, leaves out the server's own topics, whose names begin with `$`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Pattern {
    /// This topic.
    Topic(Arc<str>),
    /// Every topic that begins like this.
    Prefix(Arc<str>),
}

impl Pattern {
    /// Whether the topics are the server's own.
    pub fn is_of_own(&self) -> bool {
        let (Self::Topic(name) | Self::Prefix(name)) = self;
        name.starts_with('$')
    }

    /// Whether the topic is one of these.
    pub fn covers(&self, topic: TopicRef<'_>) -> bool {
        match self {
            Self::Topic(name) => **name == *topic.as_str(),
            Self::Prefix(prefix) if prefix.is_empty() => !topic.is_reserved(),
            Self::Prefix(prefix) => topic.as_str().starts_with(&**prefix),
        }
    }
}

impl FromStr for Pattern {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let Some(prefix) = text.strip_suffix('*') else {
            return Ok(Self::Topic(TopicRef::parse(text)?.as_str().into()));
        };
        if !prefix.is_empty() && prefix != "$" {
            TopicRef::parse(prefix)?;
        }
        Ok(Self::Prefix(prefix.into()))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Topic(name) => f.write_str(name),
            Self::Prefix(prefix) => write!(f, "{prefix}*"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(pattern: &str, topic: &str) -> bool {
        let pattern: Pattern = pattern.parse().unwrap();
        pattern.covers(TopicRef::parse(topic).unwrap())
    }

    #[test]
    fn a_star_at_the_end_stands_for_any_end() {
        assert!(covers("news:*", "news:sport") && covers("news:*", "news:"));
        assert!(!covers("news:*", "news") && !covers("news:*", "newsletter"));
        assert!(covers("task:4", "task:4") && !covers("task:4", "task:42"));
        assert!(covers("*", "anything"));
    }

    #[test]
    fn the_servers_own_topics_are_granted_by_name_alone() {
        assert!(!covers("*", "$presence:a"));
        assert!(covers("$*", "$presence:a") && covers("$presence:*", "$presence:a"));
        let is_of_own = |text: &str| text.parse::<Pattern>().unwrap().is_of_own();
        assert!(is_of_own("$*") && is_of_own("$presence:a"));
        assert!(!is_of_own("*") && !is_of_own("a"));
    }

    #[test]
    fn a_pattern_is_the_beginning_of_a_topic() {
        for wrong in ["", "a b", "a*b", "**", "-*", "ä", " *"] {
            assert!(wrong.parse::<Pattern>().is_err(), "{wrong:?}");
        }
        for right in ["*", "$*", "a", "a:*"] {
            let pattern: Pattern = right.parse().unwrap();
            assert_eq!(pattern.to_string(), right);
        }
    }
}
