//! Faults as they strike, and as they end.

use super::{Happening, Heal, World};
use crate::client::Pulse;
use crate::fault::Fault;
use crate::rng::Rng;
use crate::server::Process;
use crate::trace::note;
use crate::wire::{Piece, Way, WireId};

/// So many processes there are at most, copies included.
const CLIENTS_MAX: usize = 8;

impl World {
    pub(crate) fn strike(&mut self, fault: Fault) {
        let client = self.rng.below(self.clients.len() as u64) as usize;
        match fault {
            Fault::Jitter => self.jitter(client),
            Fault::CutUp => self.cut(client, fault, vec![Way::Up]),
            Fault::CutDown => self.cut(client, fault, vec![Way::Down]),
            Fault::CutBoth => self.cut(client, fault, Way::BOTH.to_vec()),
            Fault::Death => self.death(client),
            Fault::Stall => self.stall(client),
            Fault::ResetOne | Fault::ResetBoth => self.reset(client, fault),
            Fault::Flap => self.begin_flapping(),
            Fault::Clone => self.copy(client),
            Fault::Sleep | Fault::Freeze => self.sleep(client, fault),
            Fault::Restart => self.restart(client),
            Fault::SlowReader => self.slow_reader(client),
            Fault::ServerPause => self.pause(),
            Fault::ServerCrash => self.strike_server(),
            Fault::DiskFull => self.fill_disk(),
            Fault::FailedRead => self.refuse_reads(),
            // These are decided where they happen.
            _ => {}
        }
    }

    pub(crate) fn heal(&mut self, heal: Heal) {
        note!(self, "over: {heal:?}");
        match heal {
            Heal::Jitter(client) => self.end_jitter(client),
            Heal::Path(client, ways, wires) => self.mend(client, &ways, &wires),
            Heal::Stall(wire, ways) => {
                for way in ways {
                    self.unblock(wire, way);
                }
            }
            Heal::Flap => self.flaps = false,
            Heal::Drop(wire) => self.drop_both(wire),
            Heal::Wake(client) => self.wake(client),
            Heal::Reader(client) => self.end_slow_reader(client),
            Heal::Resume => self.resume(),
            Heal::Start => self.start(),
            Heal::Space => self.make_space(),
            Heal::Reads => self.fail_reads(false),
        }
    }

    /// The connections of a client that both ends may still use.
    fn wires_of(&self, client: usize) -> Vec<WireId> {
        let theirs = self
            .wires
            .iter()
            .filter(|(_, wire)| wire.client == client && !wire.is_dead);
        theirs.map(|(wire, _)| *wire).collect()
    }

    /// The connection that a client has as its socket, if it is not dead.
    fn wire_of(&self, client: usize) -> Option<WireId> {
        let wire = self.clients[client].socket.as_ref()?.wire;
        self.wires
            .get(&wire)
            .filter(|wire| !wire.is_dead)
            .map(|_| wire)
    }

    fn for_a_while(&mut self, least_ms: u64, most_ms: u64, heal: Heal) {
        let after_ms = self.rng.between(least_ms, most_ms);
        self.schedule(after_ms, Happening::Heal(heal));
    }

    // ---- The network ----

    fn jitter(&mut self, client: usize) {
        if self.paths[client].extra_ms > 0 {
            return;
        }
        self.count(Fault::Jitter);
        self.paths[client].extra_ms = self.rng.pick(&[50, 500, 3_000]);
        self.trouble(client);
        self.for_a_while(500, 20_000, Heal::Jitter(client));
    }

    fn end_jitter(&mut self, client: usize) {
        self.paths[client].extra_ms = 0;
        self.calm_client(client);
    }

    fn cut(&mut self, client: usize, fault: Fault, ways: Vec<Way>) {
        self.count(fault);
        note!(self, "client {client}: cut {ways:?}");
        let wires = self.block_path(client, &ways);
        let most_ms = self.rng.pick(&[3_000, 60_000]);
        self.for_a_while(200, most_ms, Heal::Path(client, ways, wires));
    }

    fn block_path(&mut self, client: usize, ways: &[Way]) -> Vec<WireId> {
        let wires = self.wires_of(client);
        for way in ways {
            *self.paths[client].blocks(*way) += 1;
            for wire in &wires {
                self.block(*wire, *way);
            }
        }
        wires
    }

    fn mend(&mut self, client: usize, ways: &[Way], wires: &[WireId]) {
        for way in ways {
            *self.paths[client].blocks(*way) -= 1;
            for wire in wires {
                self.unblock(*wire, *way);
            }
        }
    }

    fn death(&mut self, client: usize) {
        let Some(wire) = self.wire_of(client) else {
            return;
        };
        self.count(Fault::Death);
        note!(self, "wire {wire}: dead");
        let ways = match self.rng.below(3) {
            0 => vec![Way::Up],
            1 => vec![Way::Down],
            _ => Way::BOTH.to_vec(),
        };
        let is_whole = ways.len() == 2;
        for way in ways {
            self.block(wire, way);
        }
        if let Some(held) = self.wires.get_mut(&wire) {
            held.is_dead |= is_whole;
        }
    }

    fn stall(&mut self, client: usize) {
        let Some(wire) = self.wire_of(client) else {
            return;
        };
        self.count(Fault::Stall);
        note!(self, "wire {wire}: stalls");
        let ways = match self.rng.coin() {
            true => vec![Way::Up],
            false => Way::BOTH.to_vec(),
        };
        for way in &ways {
            self.block(wire, *way);
        }
        self.for_a_while(5_000, 60_000, Heal::Stall(wire, ways));
    }

    fn reset(&mut self, client: usize, fault: Fault) {
        let Some(wire) = self.wire_of(client) else {
            return;
        };
        self.count(fault);
        if fault == Fault::ResetBoth {
            return self.drop_both(wire);
        }
        note!(self, "wire {wire}: reset, seen by one end");
        let way = self.rng.pick(&Way::BOTH);
        if let Some(held) = self.wires.get_mut(&wire) {
            held.is_dead = true;
            held.trouble();
            held.pipe_mut(way).over = Some(crate::wire::Over::Reset);
        }
        match way {
            Way::Up => self.serve(wire, false),
            Way::Down => self.drive(client),
        }
    }

    /// Something between the two resets both ends.
    fn drop_both(&mut self, wire: WireId) {
        for way in Way::BOTH {
            if let Some(held) = self.wires.get_mut(&wire) {
                held.trouble();
                let at = held.pipe(way).not_overtaking(self.now);
                held.pipe_mut(way).send(at, Piece::Reset);
                let after_ms = at - self.now;
                self.schedule(after_ms, Happening::Arrive(wire, way));
            }
        }
    }

    fn begin_flapping(&mut self) {
        if self.flaps {
            return;
        }
        self.count(Fault::Flap);
        self.flaps = true;
        self.for_a_while(20_000, 120_000, Heal::Flap);
    }

    /// A connection that a flapping proxy has accepted.
    pub(crate) fn flap(&mut self, wire: WireId) {
        self.for_a_while(50, 3_000, Heal::Drop(wire));
    }

    /// Something touches all connections of a client.
    fn trouble(&mut self, client: usize) {
        for wire in self.wires_of(client) {
            if let Some(wire) = self.wires.get_mut(&wire) {
                wire.trouble();
            }
        }
    }

    pub(crate) fn calm_client(&mut self, client: usize) {
        for wire in self.wires_of(client) {
            if let Some(held) = self.wires.get_mut(&wire) {
                held.calm(self.now);
            }
        }
    }

    // ---- Clients ----

    fn copy(&mut self, client: usize) {
        if self.clients.len() >= CLIENTS_MAX || self.clients[client].is_shared {
            return;
        }
        self.count(Fault::Clone);
        self.copy_client(client);
    }

    fn sleep(&mut self, client: usize, fault: Fault) {
        let Pulse::Awake { .. } = self.clients[client].pulse else {
            return;
        };
        self.count(fault);
        let since = self.now;
        if fault == Fault::Freeze {
            self.clients[client].pulse = Pulse::Frozen;
            self.trouble(client);
        } else {
            self.clients[client].pulse = Pulse::Asleep { since };
            let wires = self.block_path(client, &Way::BOTH);
            self.clients[client].slept_wires = wires;
        }
        let most_ms = self.rng.pick(&[5_000, 120_000]);
        self.for_a_while(200, most_ms, Heal::Wake(client));
    }

    fn wake(&mut self, client: usize) {
        // Another process may have taken its place meanwhile.
        if self.waken(client) {
            self.drive(client);
        }
    }

    /// Ends a client's sleep, and what that has cut; whether it slept, or stood still.
    pub(crate) fn waken(&mut self, client: usize) -> bool {
        let since = self.now;
        match std::mem::replace(&mut self.clients[client].pulse, Pulse::Awake { since }) {
            Pulse::Awake { since } => {
                self.clients[client].pulse = Pulse::Awake { since };
                return false;
            }
            Pulse::Frozen => self.calm_client(client),
            Pulse::Asleep { since } => {
                let it = &mut self.clients[client];
                it.behind_ms += self.now - since;
                it.has_slept = true;
                let wires = std::mem::take(&mut it.slept_wires);
                self.mend(client, &Way::BOTH, &wires);
            }
        }
        true
    }

    fn slow_reader(&mut self, client: usize) {
        if self.clients[client].reads.is_some() {
            return;
        }
        self.count(Fault::SlowReader);
        self.clients[client].reads = Some(0);
        self.trouble(client);
        self.for_a_while(2_000, 60_000, Heal::Reader(client));
    }

    fn end_slow_reader(&mut self, client: usize) {
        if self.clients[client].reads.take().is_some() {
            self.calm_client(client);
            self.drive(client);
        }
    }

    // ---- The server ----

    fn pause(&mut self) {
        if !self.server.runs() {
            return;
        }
        self.count(Fault::ServerPause);
        self.server.process = Process::Paused;
        self.trouble_all(true);
        self.for_a_while(200, 40_000, Heal::Resume);
    }

    fn resume(&mut self) {
        if self.server.process != Process::Paused {
            return;
        }
        let since = self.now;
        self.server.process = Process::Runs { since };
        self.trouble_all(false);
        self.serve_all();
        self.begin_writing();
    }

    pub(crate) fn trouble_all(&mut self, begins: bool) {
        for wire in self.wires.values_mut() {
            match begins {
                true => wire.trouble(),
                false => wire.calm(self.now),
            }
        }
    }

    fn strike_server(&mut self) {
        if matches!(self.server.process, Process::Down { .. }) {
            return;
        }
        self.count(Fault::ServerCrash);
        let has_power = self.rng.coin();
        if has_power {
            self.stop_in_order();
        }
        self.crash(has_power);
    }

    fn fill_disk(&mut self) {
        let Some(storage) = self.server.storage.as_ref().filter(|_| self.server.runs()) else {
            return;
        };
        let more = self.rng.below(storage.segment_bytes());
        let capacity = storage.used_bytes() + more;
        // A draw that leaves those after it as they are. With a quota nobody tells what is free.
        let is_quota = Rng::new(self.rng.clone().u64()).coin();
        storage.disk.set_faults(|faults| {
            (faults.capacity_bytes, faults.hide_free_bytes) = (Some(capacity), is_quota);
        });
        self.count(Fault::DiskFull);
        self.disk_calm_since = u64::MAX;
        self.for_a_while(1_000, 30_000, Heal::Space);
    }

    fn make_space(&mut self) {
        if let Some(storage) = &self.server.storage {
            storage.disk.set_faults(|faults| {
                (faults.capacity_bytes, faults.hide_free_bytes) = (None, false);
            });
        }
        self.disk_calm_since = self.now;
    }

    fn refuse_reads(&mut self) {
        if self.server.storage.is_some() && self.server.runs() {
            note!(self, "disk: refuses to be read");
            self.fail_reads(true);
            self.for_a_while(200, 15_000, Heal::Reads);
        }
    }

    fn fail_reads(&self, fails: bool) {
        if let Some(storage) = &self.server.storage {
            storage.disk.set_faults(|faults| faults.fail_reads = fails);
        }
    }

    fn start(&mut self) {
        if !matches!(self.server.process, Process::Down { .. }) {
            return;
        }
        let since = self.now;
        note!(self, "server: starts");
        self.server.process = Process::Runs { since };
        self.open_log();
        let log_ms = self.server.hub.log().clock().as_millis();
        self.server.behind_ms = self.now - log_ms;
        self.oracle.server_behind_ms = self.server.behind_ms;
    }
}
