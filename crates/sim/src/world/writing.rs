//! The server's log: what it is kept on, how it is written, and what its own publisher is told.
//!
//! This module and `recovering` are the only ones that know the back ends.

use heartwire_hub::Append;
use heartwire_log::Fate as Written;
use heartwire_proto::{Cursor, TopicName};

use super::{Happening, World};
use crate::fault::Fault;
use crate::oracle::{Fate, Mark};
use crate::profile::Backend;
use crate::server::{Process, Waiting};
use crate::storage::{Begun, Loaded};
use crate::trace::note;

/// How long a slow sync takes, in milliseconds.
const SLOW_MS: [u64; 2] = [500, 15_000];
/// How long a job of the log's helper takes, at most, in milliseconds.
const JOB_MS: u64 = 400;
/// How long reading back takes, at most, in milliseconds.
const LOAD_MS: u64 = 30;
/// How long a reader leaves a system alone that refused to read, as the server's do, in milliseconds.
const TRY_AGAIN_MS: u64 = 1_000;
/// How long until somebody starts a server again whose log has failed, in milliseconds.
const OPERATOR_MS: [u64; 2] = [3_000, 20_000];

impl World {
    /// What has been appended is stored, where that takes no time.
    pub(crate) fn store(&mut self) {
        if self.server.backend != Backend::Ideal {
            self.server.hub.commit_memory();
            self.answer_publisher();
        }
    }

    /// Begins the next commit, if there is something and none is on its way.
    pub(crate) fn begin_writing(&mut self) {
        let waits = !self.server.runs() || self.server.is_writing || self.server.fails_at.is_some();
        if waits || self.server.backend == Backend::Memory {
            return;
        }
        self.server.through = self.server.hub.log().last_lsn();
        let begun = match &mut self.server.storage {
            Some(storage) => storage.begin(&mut self.server.hub),
            None if self.server.hub.log().has_batch() => Begun::Written,
            None => Begun::Nothing,
        };
        self.call_helper();
        match begun {
            Begun::Nothing => {}
            Begun::Written => self.schedule_sync(),
            Begun::Failed => self.fail(),
        }
    }

    fn schedule_sync(&mut self) {
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
        if self.sync(succeeds) {
            note!(self, "log: durable");
            self.answer_publisher();
        } else {
            self.fail();
        }
        self.settle();
        self.begin_writing();
    }

    /// Whether what was written is durable.
    pub(super) fn sync(&mut self, succeeds: bool) -> bool {
        match &mut self.server.storage {
            Some(storage) => storage.finish(&mut self.server.hub, !succeeds).is_ok(),
            None if succeeds => {
                self.server.hub.commit(self.server.through, &[]);
                true
            }
            None => false,
        }
    }

    /// A failed sync is final: nothing more is accepted until another process begins.
    pub(super) fn fail(&mut self) {
        self.count(Fault::FailedSync);
        self.disk_calm_since = u64::MAX;
        self.server.hub.set_accepting(false);
        self.server.hub.fail_all();
        for waiting in std::mem::take(&mut self.server.waiting) {
            self.oracle.told(waiting.mark, Fate::Doubtful);
        }
        let after_ms = self.rng.between(OPERATOR_MS[0], OPERATOR_MS[1]);
        self.server.fails_at = Some(self.now + after_ms);
    }

    // ---- Beside the writer ----

    /// The helper is given what the store wants to have done.
    pub(crate) fn call_helper(&mut self) {
        let Some(storage) = &mut self.server.storage else {
            return;
        };
        let start = self.server.starts;
        for _ in 0..storage.take_jobs() {
            let after_ms = self.rng.between(0, JOB_MS);
            self.schedule(after_ms, Happening::Helped { start });
        }
    }

    /// A job has come to its end.
    pub(crate) fn helped(&mut self, start: u32) {
        if start != self.server.starts {
            return;
        }
        let Process::Runs { since } = self.server.process else {
            return self.schedule(100, Happening::Helped { start });
        };
        let Some(storage) = &mut self.server.storage else {
            return;
        };
        // The first job after a start, which is always the same, is spared: not much would come of
        // the others.
        let may_crash = self.is_chaos && self.now > since + JOB_MS;
        if may_crash && self.profile.strikes(Fault::HelperCrash, &mut self.rng) {
            storage.cut_job(&mut self.rng);
            self.counts.count(Fault::HelperCrash);
            let has_power = self.rng.coin();
            return self.crash(has_power);
        }
        let reused = storage.segments_reused();
        let fails = self.is_chaos && self.profile.strikes(Fault::FailedJob, &mut self.rng);
        let helped = match fails {
            true => storage.help_failing(&mut self.server.hub, &mut self.rng),
            false => storage.help(&mut self.server.hub),
        };
        if fails && helped.is_err() {
            self.counts.count(Fault::FailedJob);
        }
        if storage.segments_reused() > reused {
            self.counts.count(Fault::ReusedFile);
        }
        match helped {
            // What is left is tried again each second.
            Err(error) => note!(self, "log: {error}"),
            Ok(()) => self.begin_writing(),
        }
    }

    /// Reads back what followers wait for, and what is to be moved.
    pub(crate) fn call_readers(&mut self, sweeps: bool) {
        let Some(storage) = &mut self.server.storage else {
            return;
        };
        let count = match sweeps {
            true => storage.sweep(&mut self.server.hub),
            false => storage.take_loads(&mut self.server.hub),
        };
        let start = self.server.starts;
        for _ in 0..count {
            self.counts.count(Fault::ColdRead);
            let after_ms = self.rng.between(0, LOAD_MS);
            self.schedule(after_ms, Happening::Loaded { start });
        }
    }

    /// Messages have been read back.
    pub(crate) fn loaded(&mut self, start: u32) {
        if start != self.server.starts {
            return;
        }
        if !self.server.runs() {
            return self.schedule(100, Happening::Loaded { start });
        }
        if let Some(storage) = &mut self.server.storage {
            let (outcome, errors) = storage.load(&mut self.server.hub);
            for error in errors {
                note!(self, "log: {error}");
            }
            if outcome == Loaded::Refused {
                self.count(Fault::FailedRead);
                return self.schedule(TRY_AGAIN_MS, Happening::Refused { start });
            }
        }
        self.settle();
        self.begin_writing();
    }

    /// A reader that was refused brings what it has, and the rest is asked for again.
    pub(crate) fn refused(&mut self, start: u32) {
        if start != self.server.starts {
            return;
        }
        if !self.server.runs() {
            return self.schedule(100, Happening::Refused { start });
        }
        if let Some(storage) = &mut self.server.storage {
            storage.bring_refused(&mut self.server.hub);
        }
        self.settle();
        self.begin_writing();
    }

    // ---- The server's own publisher ----

    /// Tells the server's own publisher what is stored.
    pub(super) fn answer_publisher(&mut self) {
        while let Some(first) = self.server.waiting.front()
            && self.server.hub.log().fate(first.place.lsn) == Written::Durable
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
        let topic = self.topic_to_publish();
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

    /// Where topics are forgotten, the last one is silent for long.
    pub(crate) fn topic_to_publish(&mut self) -> TopicName {
        let topic = self.any_topic();
        let is_last = self.topics.last() == Some(&topic);
        let is_silent = self.profile.forgets_topics() && is_last && self.rng.below(20) > 0;
        match is_silent {
            true => self.topics[0].clone(),
            false => topic,
        }
    }

    pub(crate) fn any_topic(&mut self) -> TopicName {
        let index = self.rng.below(self.topics.len() as u64);
        self.topics[index as usize].clone()
    }
}
