//! What a typed line means.

use heartwire::{SubFrom, TopicName};

use crate::place;

/// Shown by `/help` when topics are spoken.
pub(super) const HELP_V1: &str = "\
TEXT                  publish to the current topic (at first: inbox)
/to TOPIC             make a topic the current one
/pub TOPIC TEXT       publish to a topic
/sub TOPIC [FROM]     follow a topic from tail (default), head or a cursor
/unsub TOPIC          follow it no longer
/topics               what is followed
/ping                 ask the server whether it is there
/reconnect            give the connection up and dial at once
/quit                 end; so do Ctrl-C and Ctrl-D
//TEXT                a text that begins with a slash";

/// Shown by `/help` in plain mode.
pub(super) const HELP_PLAIN: &str = "\
TEXT                  send it as it is
/ping                 ask the server whether it is there
/reconnect            give the connection up and dial at once
/quit                 end; so do Ctrl-C and Ctrl-D
//TEXT                a text that begins with a slash";

/// One line of the user's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Typed {
    /// To the current topic, or as it is in plain mode.
    Text(String),
    /// To a topic.
    Publish(TopicName, String),
    /// Make a topic the current one.
    To(TopicName),
    Follow(TopicName, SubFrom),
    Unfollow(TopicName),
    Topics,
    Ping,
    Reconnect,
    Help,
    Quit,
}

impl Typed {
    /// Reads a line; an error is a sentence for whoever typed it.
    pub(super) fn read(line: &str) -> Result<Self, String> {
        let Some(command) = line.strip_prefix('/') else {
            return Ok(Self::Text(line.to_owned()));
        };
        if command.starts_with('/') {
            return Ok(Self::Text(command.to_owned()));
        }
        let (name, rest) = split_word(command);
        match (name, rest) {
            ("pub", rest) => {
                let (topic, text) = split_word(rest);
                Ok(Self::Publish(topic_of(topic)?, text.to_owned()))
            }
            ("sub", rest) => {
                let (topic, from) = split_word(rest);
                let from = if from.is_empty() { "tail" } else { from.trim() };
                Ok(Self::Follow(topic_of(topic)?, place::parse(from)?))
            }
            ("unsub", topic) => Ok(Self::Unfollow(topic_of(topic.trim())?)),
            ("to", topic) => Ok(Self::To(topic_of(topic.trim())?)),
            ("topics", "") => Ok(Self::Topics),
            ("ping", "") => Ok(Self::Ping),
            ("reconnect", "") => Ok(Self::Reconnect),
            ("help" | "?", "") => Ok(Self::Help),
            ("quit" | "exit" | "q", "") => Ok(Self::Quit),
            _ => Err(format!(
                "no such command: {line}; /help lists them, //… sends a text"
            )),
        }
    }
}

fn topic_of(word: &str) -> Result<TopicName, String> {
    word.parse().map_err(|error| format!("{word:?}: {error}"))
}

/// The first word, and what stands behind the one blank after it.
fn split_word(text: &str) -> (&str, &str) {
    text.split_once(' ').unwrap_or((text, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(name: &str) -> TopicName {
        name.parse().expect("a topic")
    }

    #[test]
    fn what_begins_with_no_slash_is_a_text() {
        assert_eq!(
            Typed::read("hello  there"),
            Ok(Typed::Text("hello  there".into()))
        );
        assert_eq!(Typed::read("//etc"), Ok(Typed::Text("/etc".into())));
        assert_eq!(Typed::read("///"), Ok(Typed::Text("//".into())));
    }

    #[test]
    fn commands_name_topics_and_places() {
        assert_eq!(
            Typed::read("/pub task:42 50 %  done"),
            Ok(Typed::Publish(topic("task:42"), "50 %  done".into()))
        );
        assert_eq!(
            Typed::read("/sub task:42"),
            Ok(Typed::Follow(topic("task:42"), SubFrom::Tail))
        );
        let cursor = "k3v9.7".parse().expect("a cursor");
        assert_eq!(
            Typed::read("/sub task:42 k3v9.7"),
            Ok(Typed::Follow(topic("task:42"), SubFrom::After(cursor)))
        );
        assert_eq!(Typed::read("/to inbox "), Ok(Typed::To(topic("inbox"))));
        assert_eq!(Typed::read("/quit"), Ok(Typed::Quit));
    }

    #[test]
    fn what_is_wrong_is_explained() {
        let error = |line: &str| Typed::read(line).expect_err(line);
        assert!(error("/explode").contains("/help"));
        assert!(error("/pub").contains("a topic is"));
        assert!(error("/sub task:42 middle").contains("neither tail nor head"));
        assert!(error("/quit now").contains("no such command"));
    }
}
