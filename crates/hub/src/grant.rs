//! Who somebody is, and which topics are theirs.

use std::sync::Arc;
use std::time::Duration;

use heartwire_log::Pattern;
use heartwire_proto::id::TopicRef;

/// What one identity may do, and for how long. Whoever has no grant at all may do everything: that
/// is for servers that ask nobody.
///
/// ```
/// use heartwire_hub::{Grant, TopicRef};
///
/// let grant = Grant::new("ann").subscribe("news:*".parse()?).publish("inbox".parse()?);
/// assert!(grant.may_subscribe(TopicRef::parse("news:sport")?));
/// assert!(!grant.may_publish(TopicRef::parse("news:sport")?));
/// # Ok::<(), heartwire_proto::id::IdError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Grant {
    subject: Option<Arc<str>>,
    subscribe: Vec<Pattern>,
    publish: Vec<Pattern>,
    valid_for: Option<Duration>,
    is_operator: bool,
}

impl Grant {
    /// Nothing at all, for somebody with this identity.
    pub fn new(subject: impl Into<Arc<str>>) -> Self {
        Self {
            subject: Some(subject.into()),
            subscribe: Vec::new(),
            publish: Vec::new(),
            valid_for: None,
            is_operator: false,
        }
    }

    /// Everything, and the server's own lists as well: what an API key gives.
    pub const fn operator() -> Self {
        Self {
            subject: None,
            subscribe: Vec::new(),
            publish: Vec::new(),
            valid_for: None,
            is_operator: true,
        }
    }

    /// The same grant, with topics that may be followed and read.
    #[must_use]
    pub fn subscribe(mut self, topics: Pattern) -> Self {
        self.subscribe.push(topics);
        self
    }

    /// The same grant, with topics that may be published to.
    #[must_use]
    pub fn publish(mut self, topics: Pattern) -> Self {
        self.publish.push(topics);
        self
    }

    /// The same grant, which ends so long after it was given.
    #[must_use]
    pub const fn valid_for(mut self, span: Duration) -> Self {
        self.valid_for = Some(span);
        self
    }

    /// Whose it is.
    pub fn subject(&self) -> Option<&str> {
        self.subject.as_deref()
    }

    /// For how long it is valid from when it was given; for ever where nobody says.
    pub const fn validity(&self) -> Option<Duration> {
        self.valid_for
    }

    /// Whether it covers everything.
    pub const fn is_operator(&self) -> bool {
        self.is_operator
    }

    /// Whether a topic may be followed and read. Whoever may follow a topic may also know who else
    /// does, and nobody else may `[PRES-3]`.
    pub fn may_subscribe(&self, topic: TopicRef<'_>) -> bool {
        let topic = topic.presence_of().unwrap_or(topic);
        self.is_operator || covers(&self.subscribe, topic)
    }

    /// Whether a topic may be published to.
    pub fn may_publish(&self, topic: TopicRef<'_>) -> bool {
        self.is_operator || covers(&self.publish, topic)
    }
}

fn covers(patterns: &[Pattern], topic: TopicRef<'_>) -> bool {
    patterns.iter().any(|pattern| pattern.covers(topic))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_granted_that_was_not_named() {
        let topic = TopicRef::parse("a").unwrap();
        let none = Grant::new("ann");
        assert!(!none.may_subscribe(topic) && !none.may_publish(topic));
        let reads = none.subscribe("a".parse().unwrap());
        assert!(reads.may_subscribe(topic) && !reads.may_publish(topic));
        assert!(Grant::operator().may_publish(topic));
    }

    #[test]
    fn who_is_there_is_for_those_who_may_follow_the_topic() {
        let grant = |topics: &str| Grant::new("ann").subscribe(topics.parse().unwrap());
        let topic = TopicRef::parse("$presence:task:42").unwrap();
        for granted in ["task:42", "task:*", "*"] {
            assert!(grant(granted).may_subscribe(topic), "{granted}");
        }
        for foreign in ["task:4", "$presence:task:42", "$presence:*", "$*"] {
            assert!(!grant(foreign).may_subscribe(topic), "{foreign}");
        }
        let publishes = Grant::new("ann").publish("*".parse().unwrap());
        assert!(!publishes.may_publish(topic));
    }
}
