//! A link that speaks `heartwire.v1`, as somebody at a keyboard uses it.

use std::collections::{BTreeSet, VecDeque};
use std::time::Instant;

use heartwire::{
    Delivery, Event, Link, Publish, PublishError, Stored, SubFrom, TopicMessage, TopicName,
};

use super::session::Shown;
use super::typed::{HELP_V1, Typed};
use crate::followed::{self, Brought, Followed};
use crate::payload;
use crate::style::{Style, printable};

/// Publishes on their way at the same time; a pipe waits when there are more.
const UNCONFIRMED_MAX: usize = 1_024;

/// Where text goes that names no topic: what plain clients send goes there as well.
const FIRST_TOPIC: &str = "inbox";

pub(super) struct Topics {
    pub(super) link: Link,
    followed: Followed,
    /// Those of which the user knows that the server has agreed.
    told: BTreeSet<TopicName>,
    /// Where text goes that names no topic.
    current: TopicName,
    unconfirmed: VecDeque<Unconfirmed>,
}

struct Unconfirmed {
    topic: TopicName,
    sent_at: Instant,
    publish: Publish,
}

impl Topics {
    pub(super) fn new(link: Link) -> Self {
        Self {
            link,
            followed: Followed::default(),
            told: BTreeSet::new(),
            current: FIRST_TOPIC.parse().expect("inbox is the name of a topic"),
            unconfirmed: VecDeque::new(),
        }
    }

    /// Whether another line may be taken from a pipe.
    pub(super) fn has_room(&self) -> bool {
        self.unconfirmed.len() < UNCONFIRMED_MAX
    }

    /// Takes note of what happens to the link, and says what is worth a sentence.
    pub(super) fn learn(&mut self, event: &Event) -> Option<String> {
        match event {
            Event::Welcome(welcome) => {
                self.follow_all(&welcome.topics);
                None
            }
            // It comes anew with every connection.
            Event::Followed { topic, cursor } if self.told.insert(topic.clone()) => {
                Some(format!("following {topic} from {cursor}"))
            }
            _ => None,
        }
    }

    /// The topics of the URL are followed by themselves, as a plain client follows them.
    fn follow_all(&mut self, topics: &[TopicName]) {
        for topic in topics {
            if !self.followed.contains(topic.as_str())
                && let Ok(subscription) = self.link.subscribe(topic.as_str())
            {
                self.followed.push(subscription);
            }
        }
    }

    /// Waits for a message, or for what became of a publish.
    pub(super) async fn next(&mut self, style: Style) -> Shown {
        tokio::select! {
            brought = self.followed.next() => match brought {
                Brought::Delivery(_, Delivery::Message(message)) => {
                    Shown::Message(line_of(&message, style))
                }
                // The link's story tells it.
                Brought::Delivery(_, Delivery::Gap(_)) => Shown::Nothing,
                Brought::End(topic, end) => {
                    Shown::Note(format!("{topic} is not followed: {}", followed::told(&end)))
                }
            },
            outcome = oldest(&mut self.unconfirmed) => self.settle(outcome),
        }
    }

    fn settle(&mut self, outcome: Result<Stored, PublishError>) -> Shown {
        let Some(Unconfirmed { topic, sent_at, .. }) = self.unconfirmed.pop_front() else {
            return Shown::Nothing;
        };
        let took = sent_at.elapsed().as_millis();
        match outcome {
            Ok(_) => Shown::Aside(format!("stored in {topic}, {took} ms")),
            Err(error) => Shown::Note(format!("not known to be stored in {topic}: {error}")),
        }
    }

    /// Does what was typed; the answer is a sentence, or none.
    pub(super) fn carry_out(&mut self, typed: Typed) -> Option<String> {
        match typed {
            Typed::Text(text) => self.publish(self.current.clone(), text),
            Typed::Publish(topic, text) => self.publish(topic, text),
            Typed::To(topic) => {
                self.current = topic;
                Some(format!("text goes to {}", self.current))
            }
            Typed::Follow(topic, from) => self.follow(&topic, from),
            Typed::Unfollow(topic) => Some(if self.unfollow(&topic) {
                format!("{topic} is not followed any more")
            } else {
                format!("{topic} was not followed")
            }),
            Typed::Topics => Some(self.topics()),
            Typed::Help => Some(HELP_V1.to_owned()),
            Typed::Ping | Typed::Reconnect | Typed::Quit => None,
        }
    }

    fn publish(&mut self, topic: TopicName, text: String) -> Option<String> {
        let publish = self.link.publish(topic.as_str(), text);
        self.unconfirmed.push_back(Unconfirmed {
            topic,
            sent_at: Instant::now(),
            publish,
        });
        None
    }

    fn follow(&mut self, topic: &TopicName, from: SubFrom) -> Option<String> {
        // Following it anew moves its place.
        self.unfollow(topic);
        match self.link.subscribe_from(topic.as_str(), from) {
            Ok(subscription) => {
                self.followed.push(subscription);
                None
            }
            Err(error) => Some(format!("{topic}: {error}")),
        }
    }

    fn unfollow(&mut self, topic: &TopicName) -> bool {
        self.told.remove(topic);
        self.followed.remove(topic.as_str())
    }

    fn topics(&self) -> String {
        let followed: Vec<&str> = self.followed.topics().map(TopicName::as_str).collect();
        let followed = if followed.is_empty() {
            "nothing is followed".to_owned()
        } else {
            format!("following {}", followed.join(", "))
        };
        format!("{followed}; text goes to {}", self.current)
    }
}

/// The server acknowledges in order, so the others are not done before the oldest.
async fn oldest(unconfirmed: &mut VecDeque<Unconfirmed>) -> Result<Stored, PublishError> {
    match unconfirmed.front_mut() {
        Some(oldest) => (&mut oldest.publish).await,
        None => std::future::pending().await,
    }
}

/// `TOPIC CURSOR [FROM:] TEXT`
fn line_of(message: &TopicMessage, style: Style) -> String {
    let topic = style.cyan(&message.topic);
    let cursor = style.dim(message.cursor);
    let text = payload::shown(&message.payload);
    match &message.from {
        Some(from) => format!("{topic} {cursor} {}: {text}", style.yellow(printable(from))),
        None => format!("{topic} {cursor} {text}"),
    }
}
