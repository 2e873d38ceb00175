//! `heartwire log check`: every byte of a log, read and told.

use std::path::Path;

use heartwire_disk::Threads;
use heartwire_log::store::{self, Checked, RecoveredTopic};

use super::{THREADS_MAX, disk};
use crate::failure::Failure;
use crate::output;

pub(super) fn run(folder: &Path) -> Result<(), Failure> {
    let checked = store::check(disk(folder)?, &Threads::available(THREADS_MAX));
    let checked = checked.map_err(|error| Failure::failed("cannot check the log", error))?;
    tell(folder, &checked)?;
    match checked.damage.len() {
        0 => Ok(()),
        count => Err(Failure::Failed(format!(
            "{count} damaged places; `heartwire serve --accept-data-loss` keeps the rest"
        ))),
    }
}

fn tell(folder: &Path, checked: &Checked) -> Result<(), Failure> {
    let bytes: u64 = checked.segments.iter().map(|segment| segment.bytes).sum();
    output::line(format_args!(
        "{}: log {}, {} topics, {} producers, {} segments with {bytes} bytes",
        folder.display(),
        checked.log,
        checked.topics.len(),
        checked.producers,
        checked.segments.len(),
    ))?;
    for topic in &checked.topics {
        tell_topic(topic)?;
    }
    if let Some(torn) = &checked.torn {
        output::line(format_args!(
            "torn: {torn}; it was being written when the process ended, and the next start cuts it off"
        ))?;
    }
    for damage in &checked.rebuilt {
        output::line(format_args!("to be made again, without loss: {damage}"))?;
    }
    for damage in &checked.spare {
        output::line(format_args!("damaged, without loss: {damage}"))?;
    }
    for damage in &checked.damage {
        output::line(format_args!("damage: {damage}"))?;
    }
    Ok(())
}

fn tell_topic(topic: &RecoveredTopic) -> Result<(), Failure> {
    let bytes = topic.places.bytes();
    let (first, last) = (topic.base.next(), topic.end);
    output::line(format_args!(
        "topic {} epoch {} offsets {first} to {last}: {} messages, {bytes} bytes",
        topic.name,
        topic.epoch,
        topic.places.len(),
    ))?;
    for (first, last) in &topic.gaps {
        output::line(format_args!("topic {} lost {first} to {last}", topic.name))?;
    }
    Ok(())
}
