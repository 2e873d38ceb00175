//! The records of a frame that is whole, in groups.

use super::index::{GROUP, PlacedRecord};
use super::record::{self, View};

/// Goes through the records of a frame.
#[derive(Debug)]
pub(super) struct Records<'a> {
    body: &'a [u8],
    /// Where the body stands in its file.
    position: u32,
    at: usize,
    group: Vec<PlacedRecord<'a>>,
    /// Position and length of those that say nothing that can be understood.
    pub(super) senseless: Vec<(u32, u32)>,
}

impl<'a> Records<'a> {
    pub(super) fn new(body: &'a [u8], position: u32) -> Self {
        Self {
            body,
            position,
            at: 0,
            group: Vec::with_capacity(GROUP),
            senseless: Vec::new(),
        }
    }

    /// The next few; `None` at the end.
    pub(super) fn group(&mut self) -> Option<&[PlacedRecord<'a>]> {
        self.group.clear();
        while self.group.len() < GROUP {
            let Some(length) = self.body.get(self.at..).and_then(record::length_of) else {
                break;
            };
            let (position, bytes) = (self.position + self.at as u32, length as u32);
            match View::parse(&self.body[self.at..self.at + length]) {
                Some(view) => self.group.push(PlacedRecord {
                    view,
                    position,
                    bytes,
                }),
                None => self.senseless.push((position, bytes)),
            }
            self.at += length;
        }
        (!self.group.is_empty()).then_some(&self.group)
    }
}
