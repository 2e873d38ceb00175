//! The server's log: what it is kept on, and what a crash leaves of it.
//!
//! This is the one place that knows the back ends.

use std::sync::Arc;

use heartwire_hub::{Append, Lsn};
use heartwire_proto::{Cursor, TopicName};

use super::{Happening, Heal, World};
use crate::fault::Fault;
use crate::oracle::{Fate, Mark};
use crate::profile::Backend;
use crate::server::{Process, Waiting, empty_hub};
use crate::trace::note;
use crate::wire::{Piece, Way};

/// How long a slow sync takes, in milliseconds.
const SLOW_MS: [u64; 2] = [500, 15_000];
/// How long until somebody starts a server again whose log has failed, in milliseconds.
const OPERATOR_MS: [u64; 2] = [3_000, 20_000];

impl World {
    /// What has been appended is stored, where that takes no time.
    pub(crate) fn store(&mut self) {
        if self.server.backend == Backend::Memory {
            self.server.hub.commit_memory();
            self.answer_publisher();
        }
    }

    /// Begins the next commit, if there is something and none is on its way.
    pub(crate) fn begin_writing(&mut self) {
        let is_idle = self.server.runs() && !self.server.is_writing;
        if !is_idle
            || self.server.backend == Backend::Memory
            || self.server.hub.log().pending().next().is_none()
        {
            return;
        }
        self.server.is_writing = true;
        let mut after_ms = self.rng.between(0, self.profile.sync_ms);
        let mut succeeds = true;
        if self.is_chaos {
            if self.profile.strikes(Fault::SlowSync, &mut self.rng) {
                self.count(Fault::SlowSync);
                self.disk_calm_since = u64::MAX;
                after_ms = self.rng.between(SLOW_MS[0], SLOW_MS[1]);
            }
            succeeds = !self.profile.strikes(Fault::FailedSync, &mut self.rng);
        }
        self.server.through = self.server.hub.log().last_lsn();
        let start = self.server.starts;
        self.schedule(after_ms, Happening::Written { start, succeeds });
    }

    /// A commit has come to its end.
    pub(crate) fn written(&mut self, start: u32, succeeds: bool) {
        if start != self.server.starts || !self.server.is_writing {
            return;
        }
        if !self.server.runs() {
            // The process stands still: it hears of it when it goes on.
            return self.schedule(100, Happening::Written { start, succeeds });
        }
        self.server.is_writing = false;
        if self.disk_calm_since == u64::MAX {
            self.disk_calm_since = self.now;
        }
        if succeeds {
            let through = self.server.through;
            note!(self, "log: durable through {}", through.0);
            self.server.hub.commit(through, &[]);
            self.answer_publisher();
        } else {
            self.fail();
        }
        self.settle();
        self.begin_writing();
    }

    /// A failed sync is final: nothing more is accepted until another process begins.
    fn fail(&mut self) {
        self.count(Fault::FailedSync);
        self.disk_calm_since = u64::MAX;
        let first = self
            .server
            .hub
            .log()
            .pending()
            .next()
            .map(|(pending, _)| pending.lsn);
        if let Some(first) = first {
            self.server.hub.fail(first);
        }
        self.server.hub.set_accepting(false);
        for waiting in std::mem::take(&mut self.server.waiting) {
            self.oracle.told(waiting.mark, Fate::Doubtful);
        }
        let after_ms = self.rng.between(OPERATOR_MS[0], OPERATOR_MS[1]);
        self.server.fails_at = Some(self.now + after_ms);
    }

    /// Tells the server's own publisher what is stored.
    fn answer_publisher(&mut self) {
        while let Some(first) = self.server.waiting.front()
            && self.server.hub.log().fate(first.place.lsn) != heartwire_log::Fate::Pending
            && let Some(Waiting { mark, topic, place }) = self.server.waiting.pop_front()
        {
            self.oracle.told(mark, Fate::Stored);
            let cursor = Cursor::At {
                epoch: place.epoch,
                offset: place.offset,
            };
            self.oracle.placed(mark, &topic, cursor);
        }
    }

    /// The server's own publisher, as HTTP is.
    pub(crate) fn publish_at_server(&mut self) {
        if self.is_chaos {
            let mean = self.profile.act_every_ms;
            let after_ms = self.rng.between(1, 2 * mean);
            self.schedule(after_ms, Happening::Publish);
        }
        if !self.server.runs() || !self.is_chaos {
            return;
        }
        let topic = self.any_topic();
        self.published += 1;
        let mark = Mark {
            life: 0,
            number: self.published,
        };
        let bytes = self.rng.length(self.profile.payload_max.min(8_000));
        let payload = mark.payload(bytes);
        self.oracle.published(mark, &topic, bytes);
        let now = self.server_now();
        let append = Append {
            topic: topic.as_topic(),
            payload: payload.as_message(),
            from: None,
            producer: None,
        };
        match self.server.hub.publish(append, now) {
            Ok(place) => self
                .server
                .waiting
                .push_back(Waiting { mark, topic, place }),
            Err(_) => self.oracle.told(mark, Fate::Refused),
        }
        self.store();
        self.settle();
        self.begin_writing();
    }

    pub(crate) fn any_topic(&mut self) -> TopicName {
        let index = self.rng.below(self.topics.len() as u64);
        self.topics[index as usize].clone()
    }

    // ---- Crashes ----

    /// The server's process is gone; with power, its kernel resets what it had.
    pub(crate) fn crash(&mut self, has_power: bool) {
        note!(
            self,
            "server: crashes, {}",
            if has_power { "killed" } else { "no power" }
        );
        let conns = std::mem::take(&mut self.server.conns);
        for (wire, mut conn) in conns {
            conn.connection.leave(&mut self.server.hub);
            self.hang_up(wire, Way::Down, has_power.then_some(Piece::Reset));
        }
        for waiting in std::mem::take(&mut self.server.waiting) {
            self.oracle.told(waiting.mark, Fate::Doubtful);
        }
        self.server.process = Process::Down { has_power };
        self.server.fails_at = None;
        self.recover();
        self.server.is_writing = false;
        self.server.starts += 1;
        let after_ms = self.rng.between(100, 20_000);
        self.schedule(after_ms, Happening::Heal(Heal::Start));
    }

    /// What the next process will find.
    fn recover(&mut self) {
        match self.server.backend {
            Backend::Memory => {
                let config = Arc::clone(self.server.hub.config());
                self.server.hub = empty_hub(config, self.rng.u128());
                self.oracle.log_was_lost();
            }
            Backend::Ideal => {
                // A part of what was being written has reached the disk, and nobody was told.
                let hub = &mut self.server.hub;
                let pending: Vec<Lsn> = hub
                    .log()
                    .pending()
                    .map(|(pending, _)| pending.lsn)
                    .collect();
                let written: Vec<Lsn> = pending
                    .into_iter()
                    .filter(|lsn| *lsn <= self.server.through)
                    .collect();
                let count = self.rng.below(written.len() as u64 + 1) as usize;
                if self.server.is_writing && count > 0 {
                    hub.commit(written[count - 1], &[]);
                }
                let rest = hub.log().pending().next().map(|(pending, _)| pending.lsn);
                if let Some(rest) = rest {
                    hub.fail(rest);
                }
                hub.set_accepting(true);
                hub.take_wakes(&mut Vec::new());
            }
        }
        self.disk_calm_since = self.now;
    }
}
