//! Writing frames: what the encoders of both ends share.

use std::fmt;
use std::io::Write as _;

use serde::Serialize;

use crate::id::PingId;

pub(super) fn write_header(out: &mut Vec<u8>, header: fmt::Arguments<'_>) {
    out.write_fmt(header).expect("writing to a Vec cannot fail");
}

/// Appends a number without the machinery of formatting, which takes longer than the rest of a
/// message's header line: for what is written with every message.
pub(super) fn write_number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

pub(super) fn write_ping(out: &mut Vec<u8>, verb: &str, id: Option<PingId>) {
    match id {
        Some(id) => write_header(out, format_args!("{verb} {id}")),
        None => out.extend_from_slice(verb.as_bytes()),
    }
}

pub(super) fn write_json(out: &mut Vec<u8>, verb: &str, object: &impl Serialize) {
    out.extend_from_slice(verb.as_bytes());
    out.push(b'\n');
    serde_json::to_writer(&mut *out, object).expect("these types have string keys only");
}
