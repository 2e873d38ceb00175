//! The outbox: what the application published and the server has not acknowledged.
//!
//! ```text
//!    seq  ─────────────────────────────────────────────────►
//!    [ in flight: sent on this connection ][ not sent on it ]
//!      ▲ ack takes from here                ▲ the next to send     ▲ push
//! ```
//!
//! A publish gets its SEQ when it is pushed and keeps it, with its content, until it is stored or
//! given up `[PUB-1]`. Nothing here knows the wire; the client session asks what is next.

use std::collections::VecDeque;

use crate::frame::Payload;
use crate::id::{Seq, TopicName};
use crate::time::Clocks;

/// What an outbox holds at most.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct OutboxLimits {
    /// How many messages.
    pub messages_max: usize,
    /// How many bytes of payload, all messages together.
    pub bytes_max: usize,
}

impl Default for OutboxLimits {
    /// Four times what a server takes unacknowledged by default, so that a short outage is bridged.
    fn default() -> Self {
        Self {
            messages_max: 4_096,
            bytes_max: 16 << 20,
        }
    }
}

/// The outbox cannot take this message as well.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
#[error(
    "the outbox is full: it holds {messages} of {messages_max} messages and {bytes} of {bytes_max} bytes"
)]
pub struct OutboxFull {
    /// Messages in it.
    pub messages: usize,
    /// Its bound.
    pub messages_max: usize,
    /// Bytes of payload in it.
    pub bytes: usize,
    /// Its bound.
    pub bytes_max: usize,
}

/// How much the server takes without an `ack` `[PUB-8]`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Window {
    /// How many publishes may be in flight.
    pub messages_max: u64,
    /// How many bytes of payload may be in flight.
    pub bytes_max: u64,
}

/// One publish.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Entry {
    /// Its number.
    pub seq: Seq,
    /// Where to.
    pub topic: TopicName,
    /// What.
    pub payload: Payload,
    /// When it was first handed to a transport, if ever.
    pub first_sent: Option<Clocks>,
}

/// Publishes in the order of their numbers.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Outbox {
    limits: OutboxLimits,
    entries: VecDeque<Entry>,
    bytes: usize,
    /// The number of entries, from the front, that were sent on this connection.
    sent: usize,
    sent_bytes: usize,
    last_seq: Seq,
    /// The highest number ever sent, on any connection.
    highest_sent: Seq,
}

impl Outbox {
    /// An empty one.
    pub const fn new(limits: OutboxLimits) -> Self {
        Self {
            limits,
            entries: VecDeque::new(),
            bytes: 0,
            sent: 0,
            sent_bytes: 0,
            last_seq: Seq::ZERO,
            highest_sent: Seq::ZERO,
        }
    }

    /// Takes a publish and numbers it.
    pub fn push(&mut self, topic: TopicName, payload: Payload) -> Result<Seq, OutboxFull> {
        let bytes = self.bytes.saturating_add(payload.len());
        if self.entries.len() >= self.limits.messages_max || bytes > self.limits.bytes_max {
            return Err(self.full());
        }
        self.bytes = bytes;
        self.last_seq = self.last_seq.next();
        self.entries.push_back(Entry {
            seq: self.last_seq,
            topic,
            payload,
            first_sent: None,
        });
        Ok(self.last_seq)
    }

    /// The error of a push that does not fit.
    fn full(&self) -> OutboxFull {
        OutboxFull {
            messages: self.entries.len(),
            messages_max: self.limits.messages_max,
            bytes: self.bytes,
            bytes_max: self.limits.bytes_max,
        }
    }

    /// The highest number given out.
    pub const fn last_seq(&self) -> Seq {
        self.last_seq
    }

    /// The highest number ever sent: no honest server acknowledges more.
    pub const fn highest_sent(&self) -> Seq {
        self.highest_sent
    }

    /// How many publishes are neither stored nor given up.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether everything is stored or given up.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of payload in it.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many publishes were sent on this connection and wait for their `ack`.
    pub const fn in_flight(&self) -> usize {
        self.sent
    }

    /// Bytes of payload in flight.
    pub const fn in_flight_bytes(&self) -> usize {
        self.sent_bytes
    }

    /// The oldest publish.
    pub fn first(&self) -> Option<&Entry> {
        self.entries.front()
    }

    /// Whether this publish is still here.
    pub fn contains(&self, seq: Seq) -> bool {
        let entry = self.entries.get(self.position(seq));
        entry.is_some_and(|entry| entry.seq == seq)
    }

    /// Takes the next publish to send, if the window has room for it. One that is larger than the
    /// window travels alone.
    pub fn send_next(&mut self, window: Window, now: Clocks) -> Option<&Entry> {
        let entry = self.entries.get_mut(self.sent)?;
        let in_flight_bytes = self.sent_bytes + entry.payload.len();
        let fits = self.sent == 0 || in_flight_bytes as u64 <= window.bytes_max;
        if !fits || self.sent as u64 >= window.messages_max {
            return None;
        }
        self.sent += 1;
        self.sent_bytes = in_flight_bytes;
        entry.first_sent.get_or_insert(now);
        self.highest_sent = self.highest_sent.max(entry.seq);
        Some(entry)
    }

    /// Everything up to `through` is stored; returns which publishes these are.
    pub fn acknowledge(&mut self, through: Seq) -> Vec<Seq> {
        let mut seqs = Vec::new();
        while self.first().is_some_and(|entry| entry.seq <= through) {
            let entry = self.entries.pop_front().expect("there is a first one");
            self.bytes -= entry.payload.len();
            if self.sent > 0 {
                self.sent -= 1;
                self.sent_bytes -= entry.payload.len();
            }
            seqs.push(entry.seq);
        }
        seqs
    }

    /// Takes out what `gone` says; returns which publishes these are.
    pub fn give_up(&mut self, gone: impl Fn(&Entry) -> bool) -> Vec<Seq> {
        let first_unsent = self.entries.get(self.sent).map(|entry| entry.seq);
        let mut seqs = Vec::new();
        self.entries.retain(|entry| {
            let gone = gone(entry);
            if gone {
                seqs.push(entry.seq);
            }
            !gone
        });
        if !seqs.is_empty() {
            self.bytes = self.entries.iter().map(|entry| entry.payload.len()).sum();
            self.sent = match first_unsent {
                Some(seq) => self.position(seq),
                None => self.entries.len(),
            };
            self.count_sent_bytes();
        }
        seqs
    }

    /// A new connection: nothing has been sent on it.
    pub const fn resend_all(&mut self) {
        self.sent = 0;
        self.sent_bytes = 0;
    }

    /// The server discards everything from `seq` on: it is to be sent again.
    pub fn resend_from(&mut self, seq: Seq) {
        self.sent = self.sent.min(self.position(seq));
        self.count_sent_bytes();
    }

    /// The place of the first entry that is not below `seq`.
    fn position(&self, seq: Seq) -> usize {
        self.entries.partition_point(|entry| entry.seq < seq)
    }

    fn count_sent_bytes(&mut self) {
        let sent = self.entries.iter().take(self.sent);
        self.sent_bytes = sent.map(|entry| entry.payload.len()).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{Time, WallTime};

    const WIDE: Window = Window {
        messages_max: 1_000,
        bytes_max: 1_000,
    };

    fn outbox(messages_max: usize, bytes_max: usize) -> Outbox {
        Outbox::new(OutboxLimits {
            messages_max,
            bytes_max,
        })
    }

    fn push(outbox: &mut Outbox, text: &str) -> Result<Seq, OutboxFull> {
        outbox.push("t".parse().unwrap(), text.into())
    }

    /// An outbox with this many messages of two bytes each, the first `sent` of them in flight.
    fn filled(messages: usize, sent: usize) -> Outbox {
        let mut outbox = outbox(100, 1_000);
        for _ in 0..messages {
            push(&mut outbox, "ab").unwrap();
        }
        for _ in 0..sent {
            assert!(outbox.send_next(WIDE, Clocks::default()).is_some());
        }
        outbox
    }

    fn next(outbox: &mut Outbox, window: Window) -> Option<Seq> {
        let entry = outbox.send_next(window, Clocks::default());
        entry.map(|entry| entry.seq)
    }

    #[test]
    fn it_is_bounded_by_messages_and_by_bytes() {
        let mut few = outbox(2, 100);
        assert_eq!(push(&mut few, "a"), Ok(Seq(1)));
        assert_eq!(push(&mut few, "b"), Ok(Seq(2)));
        let full = push(&mut few, "c").unwrap_err();
        assert_eq!(
            full.to_string(),
            "the outbox is full: it holds 2 of 2 messages and 2 of 100 bytes"
        );
        let mut small = outbox(10, 3);
        assert!(push(&mut small, "abc").is_ok());
        assert!(push(&mut small, "d").is_err());
        assert!(push(&mut small, "").is_ok());
        small.acknowledge(Seq(1));
        assert_eq!(push(&mut small, "abc"), Ok(Seq(3)));
    }

    #[test]
    fn it_sends_in_order_as_far_as_the_window_goes() {
        let mut outbox = filled(5, 0);
        let window = Window {
            messages_max: 3,
            bytes_max: 5,
        };
        assert_eq!(next(&mut outbox, window), Some(Seq(1)));
        assert_eq!(next(&mut outbox, window), Some(Seq(2)));
        assert_eq!(next(&mut outbox, window), None, "six bytes are too many");
        assert_eq!(outbox.acknowledge(Seq(1)), [Seq(1)]);
        assert_eq!(next(&mut outbox, window), Some(Seq(3)));
        outbox.acknowledge(Seq(3));
        outbox.give_up(|entry| entry.seq == Seq(4));
        let few = Window {
            messages_max: 1,
            ..WIDE
        };
        assert_eq!(
            next(&mut outbox, few),
            Some(Seq(5)),
            "numbers are not counted"
        );
        push(&mut outbox, "ab").unwrap();
        assert_eq!(next(&mut outbox, few), None, "one is in flight");
    }

    #[test]
    fn one_that_is_larger_than_the_window_travels_alone() {
        let mut outbox = filled(2, 0);
        let narrow = Window {
            bytes_max: 1,
            ..WIDE
        };
        assert_eq!(next(&mut outbox, narrow), Some(Seq(1)));
        assert_eq!(next(&mut outbox, narrow), None);
    }

    #[test]
    fn a_new_connection_begins_at_the_front() {
        let mut outbox = filled(3, 2);
        assert_eq!((outbox.in_flight(), outbox.in_flight_bytes()), (2, 4));
        outbox.resend_all();
        assert_eq!((outbox.in_flight(), outbox.in_flight_bytes()), (0, 0));
        assert_eq!(next(&mut outbox, WIDE), Some(Seq(1)));
        assert_eq!(outbox.highest_sent(), Seq(2));
    }

    #[test]
    fn what_was_discarded_behind_a_refusal_is_sent_again() {
        let mut outbox = filled(4, 4);
        outbox.resend_from(Seq(3));
        assert_eq!((outbox.in_flight(), outbox.in_flight_bytes()), (2, 4));
        assert_eq!(next(&mut outbox, WIDE), Some(Seq(3)));
    }

    #[test]
    fn giving_up_keeps_the_place_among_the_rest() {
        let mut outbox = filled(5, 3);
        let even = outbox.give_up(|entry| entry.seq.0 % 2 == 0);
        assert_eq!(even, [Seq(2), Seq(4)]);
        assert_eq!((outbox.in_flight(), outbox.in_flight_bytes()), (2, 4));
        assert_eq!((outbox.len(), outbox.bytes()), (3, 6));
        assert!(!outbox.contains(Seq(4)));
        assert_eq!(next(&mut outbox, WIDE), Some(Seq(5)));
    }

    #[test]
    fn an_ack_can_cover_what_was_not_resent_yet() {
        let mut outbox = filled(3, 1);
        assert_eq!(outbox.acknowledge(Seq(2)), [Seq(1), Seq(2)]);
        assert_eq!((outbox.in_flight(), outbox.in_flight_bytes()), (0, 0));
        assert_eq!((outbox.len(), outbox.bytes()), (1, 2));
    }

    #[test]
    fn the_first_sending_is_remembered() {
        let mut outbox = filled(1, 0);
        let moment = |millis| Clocks {
            time: Time::from_millis(millis),
            wall: WallTime::default(),
        };
        outbox.send_next(WIDE, moment(7));
        outbox.resend_all();
        let entry = outbox.send_next(WIDE, moment(9)).unwrap();
        assert_eq!(entry.first_sent, Some(moment(7)));
    }
}
