//! What a request says: the next messages of a topic, or the gap before them. Pure.

use heartwire_hub::{History, HubState, PageLimits, TopicRef};
use heartwire_log::Entry;
use heartwire_proto::frame::{Gap, GapReason, SubFrom};
use heartwire_proto::{Cursor, Epoch, Offset, Time};
use ring::digest::{Context, SHA256};
use serde_json::{Value, json};

use super::hook::Attempt;
use crate::api::json;

/// How many bytes of messages a request holds, about: one more message than fits.
const BATCH_BYTES_MAX: usize = 1 << 20;

/// What is to be posted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Request {
    /// The same for the same messages, and for no others.
    pub(crate) id: String,
    pub(crate) body: String,
    /// Up to where the receiver is when it has taken this.
    pub(crate) to: Cursor,
    /// How many messages it holds; none when it tells of a gap.
    pub(crate) messages: u64,
    /// When the first of them was appended.
    pub(crate) appended: Option<Time>,
}

/// What there is to be said about a topic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Next {
    Request(Request),
    /// The log does not hold the topic; the receiver is told, if it was given anything of it.
    Gone(Option<Request>),
    /// The receiver has everything.
    Nothing,
    /// The messages are being read back from disk: ask again.
    Cold,
}

/// Reads what follows the cursor of an attempt.
pub(crate) fn next<H: Clone>(
    hub: &mut HubState<H>,
    hook: &str,
    batch_max: usize,
    attempt: &Attempt,
) -> Next {
    let topic = attempt.topic.as_topic();
    let repeated = attempt
        .through
        .map(|through| through.0.saturating_sub(attempt.cursor.offset().0));
    let count_max = repeated.map_or(batch_max, |count| batch_max.min(count.max(1) as usize));
    let limits = PageLimits {
        count_max,
        bytes_max: BATCH_BYTES_MAX,
    };
    match hub.page(topic, SubFrom::After(attempt.cursor), limits) {
        History::Cold => Next::Cold,
        History::Page { messages, .. } if messages.is_empty() => Next::Nothing,
        History::Page {
            epoch,
            messages,
            next,
            ..
        } => Next::Request(of_messages(hook, topic, epoch, &messages, next)),
        History::Gone { gap, next } => Next::Request(of_gap(hook, topic, &gap, next)),
        History::Unknown => Next::Gone(of_unknown(hook, topic, attempt.cursor)),
    }
}

fn of_messages(
    hook: &str,
    topic: TopicRef<'_>,
    epoch: Epoch,
    messages: &[(Offset, Entry)],
    to: Cursor,
) -> Request {
    let first = messages.first();
    let first_offset = first.map_or(to.offset(), |(offset, _)| *offset);
    let shown = messages
        .iter()
        .map(|(_, entry)| json::message(&entry.frame()));
    let body = json!({
        "type": "heartwire.messages",
        "hook": hook,
        "topic": topic.as_str(),
        "epoch": epoch.as_str(),
        "messages": shown.collect::<Vec<_>>(),
    });
    Request {
        id: id("messages", topic, epoch, first_offset, Some(to.offset())),
        body: body.to_string(),
        to,
        messages: messages.len() as u64,
        appended: first.map(|(_, entry)| entry.at()),
    }
}

fn of_gap(hook: &str, topic: TopicRef<'_>, gap: &Gap, to: Cursor) -> Request {
    let next = match to {
        Cursor::Start => Value::Null,
        at @ Cursor::At { .. } => at.to_string().into(),
    };
    let body = json!({
        "type": "heartwire.gap",
        "hook": hook,
        "topic": topic.as_str(),
        "gap": json::gap(gap),
        "next": next,
    });
    Request {
        // Where it goes on is a part of it: an old epoch may be followed by several.
        id: id(&format!("gap {to}"), topic, gap.epoch, gap.first, gap.last),
        body: body.to_string(),
        to,
        messages: 0,
        appended: None,
    }
}

/// Nobody knows what else there was of a topic that is gone.
fn of_unknown(hook: &str, topic: TopicRef<'_>, cursor: Cursor) -> Option<Request> {
    let gap = Gap {
        epoch: cursor.epoch()?,
        first: cursor.offset().next(),
        last: None,
        reason: GapReason::Epoch,
    };
    Some(of_gap(hook, topic, &gap, Cursor::Start))
}

/// Made from what the request is about, so that it is the same whoever asks and whenever. Topics may
/// have full stops in their names, and ids of signed requests may not: hence a digest.
fn id(
    kind: &str,
    topic: TopicRef<'_>,
    epoch: Epoch,
    first: Offset,
    last: Option<Offset>,
) -> String {
    let last = last.map_or_else(|| "?".to_owned(), |last| last.0.to_string());
    let mut digest = Context::new(&SHA256);
    let about = format!("{kind} {} {epoch} {} {last}", topic.as_str(), first.0);
    digest.update(about.as_bytes());
    let digest = digest.finish();
    let hex = digest.as_ref()[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"));
    format!("msg_{}", hex.collect::<String>())
}
