//! `heartwire log dump`: the messages of a topic, from the files.

use std::path::Path;

use heartwire_disk::Threads;
use heartwire_log::{Entry, store};
use heartwire_proto::TopicName;
use heartwire_proto::frame::ServerFrame;
use serde_json::{Value, json};

use super::{THREADS_MAX, disk};
use crate::failure::Failure;
use crate::{output, payload};

pub(super) fn run(folder: &Path, topic: &TopicName) -> Result<(), Failure> {
    let mut printed = Ok(());
    let spread = Threads::available(THREADS_MAX);
    let dumped = store::dump(disk(folder)?, topic.as_topic(), &spread, |_, entry| {
        printed = output::line(message(entry));
        printed.is_ok()
    });
    printed?;
    match dumped.map_err(|error| Failure::failed("cannot read the log", error))? {
        None => Err(Failure::Failed(format!("the log has no topic {topic}"))),
        Some(damage) if damage.is_empty() => Ok(()),
        Some(damage) => {
            for damage in &damage {
                output::note(format_args!("damage: {damage}"));
            }
            Err(Failure::Failed("some messages cannot be read".into()))
        }
    }
}

fn message(entry: &Entry) -> Value {
    let ServerFrame::Msg {
        offset,
        time,
        from,
        payload,
        ..
    } = entry.frame()
    else {
        return Value::Null;
    };
    let mut object = json!({ "offset": offset.0, "time": time.as_unix_millis() });
    if let Some(from) = from {
        object["from"] = from.decode().into();
    }
    let payload = payload.to_payload();
    let (kind, content) = payload::json(&payload);
    object[kind] = content.into();
    object
}
