//! The end of a server's process, and what the next one finds.

use std::sync::Arc;
use std::time::Duration;

use heartwire_hub::{HubState, Lsn};
use heartwire_log::store::{FileError, OpenError, Opening, Recovered};
use heartwire_proto::{Close, CloseCode};

use super::{Happening, Heal, World};
use crate::fault::Fault;
use crate::oracle::Fate;
use crate::profile::Backend;
use crate::rng::Rng;
use crate::server::{Process, empty_hub};
use crate::storage::{Begun, Hit};
use crate::trace::note;
use crate::wire::{Piece, Way};

/// When clients are told to come back to a server that stops, in milliseconds from then.
const RETURN_MS: [u64; 2] = [1_000, 6_000];

impl World {
    /// The server's process is gone; with power, its kernel resets what it had.
    pub(crate) fn crash(&mut self, has_power: bool) {
        note!(self, "server: crashes, power {has_power}");
        let conns = std::mem::take(&mut self.server.conns);
        for (wire, mut conn) in conns {
            conn.connection.leave(&mut self.server.hub);
            self.hang_up(wire, Way::Down, has_power.then_some(Piece::Reset));
        }
        for waiting in std::mem::take(&mut self.server.waiting) {
            self.oracle.told(waiting.mark, Fate::Doubtful);
        }
        self.server.process = Process::Down { has_power };
        if self.server.is_writing || self.server.fails_at.is_some() {
            self.oracle.batch_was_cut();
        }
        self.server.fails_at = None;
        self.leave_behind(has_power);
        self.server.is_writing = false;
        self.server.starts += 1;
        self.disk_calm_since = self.now;
        let after_ms = self.rng.between(100, 20_000);
        self.schedule(after_ms, Happening::Heal(Heal::Start));
    }

    /// What is left for the next process.
    fn leave_behind(&mut self, has_power: bool) {
        match self.server.backend {
            Backend::Memory => {
                let config = Arc::clone(self.server.hub.config());
                self.server.hub = empty_hub(config, self.rng.u128());
                self.oracle.log_was_lost(0);
            }
            Backend::Ideal => self.leave_ideal(),
            Backend::Disk { .. } => self.leave_disk(has_power),
        }
    }

    /// A part of what was being written has reached the disk, and nobody was told.
    fn leave_ideal(&mut self) {
        let hub = &mut self.server.hub;
        let pending = hub.log().pending().map(|(pending, _)| pending.lsn);
        let through = self.server.through;
        let written: Vec<Lsn> = pending.filter(|lsn| *lsn <= through).collect();
        let count = self.rng.below(written.len() as u64 + 1) as usize;
        if self.server.is_writing && count > 0 {
            hub.commit(written[count - 1], &[]);
        }
        hub.fail_all();
        hub.set_accepting(true);
        hub.take_wakes(&mut Vec::new());
    }

    fn leave_disk(&mut self, has_power: bool) {
        let Some(storage) = &mut self.server.storage else {
            return;
        };
        storage.crash(has_power, &mut self.rng);
        self.oracle.memory_was_lost();
        if !self.is_chaos {
            return;
        }
        if self.profile.strikes(Fault::OlderCopy, &mut self.rng) {
            match storage.copy.take() {
                None => storage.copy = Some((storage.disk.copy(), self.now)),
                Some((disk, since)) => {
                    storage.disk = disk;
                    self.count(Fault::OlderCopy);
                    self.restore(since);
                }
            }
        } else if self.profile.strikes(Fault::BitFlip, &mut self.rng)
            && let Some(Hit { what, records }) = storage.damage(&mut self.rng)
        {
            self.count(Fault::BitFlip);
            note!(self, "disk: {what}, with {records} records");
            self.oracle.device_was_hit(records);
        }
    }

    /// Perhaps the process is not killed, but asked to stop, and does what the server does then: what was
    /// read is stored and acknowledged, everybody is told goodbye, and the log is closed. All of that takes
    /// no time. A disk that fails makes a crash of it.
    pub(crate) fn stop_in_order(&mut self) {
        // Draws that leave those after them as they are.
        let mut aside = Rng::new(self.rng.clone().u64());
        let has_log = self.server.storage.is_some() && self.server.fails_at.is_none();
        let is_able = self.server.runs() && has_log;
        if !is_able || !self.profile.strikes(Fault::CleanStop, &mut aside) {
            return;
        }
        self.count(Fault::CleanStop);
        if !self.store_all(&mut aside) {
            return self.fail();
        }
        self.settle();
        self.say_goodbye(&mut aside);
        if let Some(storage) = &mut self.server.storage {
            let closed = storage.stop();
            note!(self, "server: stops in good order, {closed:?}");
        }
    }

    /// Writes until nothing waits, or there is no room for what does; no when the disk fails.
    fn store_all(&mut self, aside: &mut Rng) -> bool {
        loop {
            if std::mem::take(&mut self.server.is_writing) {
                // Nobody has seen yet how the sync would have ended that was under way.
                let succeeds = !self.profile.strikes(Fault::FailedSync, aside);
                if !self.sync(succeeds) {
                    return false;
                }
                self.answer_publisher();
            }
            let Some(storage) = &mut self.server.storage else {
                return true;
            };
            match storage.begin(&mut self.server.hub) {
                Begun::Written => self.server.is_writing = true,
                Begun::Failed => return false,
                // A full segment waits for the next one to be made.
                Begun::Nothing
                    if storage.is_held_up() && storage.help_all(&mut self.server.hub) => {}
                Begun::Nothing => return true,
            }
        }
    }

    /// Every connection is closed, and told when to come back `[CLOSE-5]`.
    fn say_goodbye(&mut self, aside: &mut Rng) {
        for (wire, mut conn) in std::mem::take(&mut self.server.conns) {
            let delay = Duration::from_millis(aside.between(RETURN_MS[0], RETURN_MS[1]));
            let close = Close::new(CloseCode::DRAINING, "draining").retry_after(delay);
            conn.connection.close(close, self.server_time());
            self.pump(wire, &mut conn);
            self.part(wire, conn, Piece::End);
        }
    }

    /// Somebody has put an older copy in place of the folder, and says so.
    fn restore(&mut self, since: u64) {
        note!(self, "disk: is an older copy, of {since} ms");
        self.oracle.log_was_lost(since);
        self.oracle.batch_was_cut();
        let Some(storage) = &self.server.storage else {
            return;
        };
        if let Err(error) = storage.reset_epochs(&mut self.rng) {
            self.oracle
                .violate("I3", format!("an older copy is not taken: {error}"));
        }
    }

    /// A new process opens its log.
    pub(crate) fn open_log(&mut self) {
        let Some(storage) = &mut self.server.storage else {
            return;
        };
        let opened = match storage.open(Opening::Careful, &mut self.rng) {
            Err(OpenError::Damaged { .. }) if self.oracle.may_be_damaged() => {
                note!(self, "server: accepts damage");
                self.oracle.damage_was_accepted();
                storage.open(Opening::AcceptDataLoss, &mut self.rng)
            }
            opened => opened,
        };
        match opened {
            Ok(recovered) => self.go_on_from(recovered),
            Err(OpenError::File(error)) if storage.is_bounded() && error.is_no_space() => {
                self.wait_for_space(&error);
            }
            Err(error) => self
                .oracle
                .violate("I3", format!("the log does not open: {error}")),
        }
    }

    /// What has to be written about damage does not fit: the process ends, and is started again once
    /// there is space.
    fn wait_for_space(&mut self, error: &FileError) {
        note!(self, "server: does not start: {error}");
        self.server.process = Process::Down { has_power: true };
        let after_ms = self.rng.between(100, 20_000);
        self.schedule(after_ms, Happening::Heal(Heal::Start));
    }

    fn go_on_from(&mut self, recovered: Recovered) {
        note!(
            self,
            "server: finds {} topics, {}",
            recovered.topics.len(),
            recovered.report
        );
        self.oracle.recovered(&recovered.report);
        let topics = recovered.topics.iter();
        let ends = topics.map(|topic| (topic.name.clone(), topic.end.0));
        self.oracle.found(&recovered.report, &ends.collect());
        self.server.hub = HubState::recover(self.profile.hub.clone(), recovered);
        self.call_helper();
    }
}
