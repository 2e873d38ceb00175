//! What is looked at each second, and at each step: life and death, queues, who is connected.

use std::collections::BTreeMap;

use heartwire_proto::client::{Loss, Status};
use heartwire_proto::heartbeat::HeartbeatConfig;

use super::{Happening, World};
use crate::client::Pulse;
use crate::server::{Conn, FILL_BYTES, Process};
use crate::storage::Storage;
use crate::wire::WireId;

/// How late either end may be beyond its bound, in milliseconds: a paused process gives one more
/// chance of 1 s.
const LATE_MS: u64 = 2_000;
/// A connection that nothing has touched for so long has no excuse for dying, in milliseconds. What
/// was held up has arrived by then, and was answered.
const CALM_MS: u64 = 8_000;
/// The longest time for an answer that a slow reader earns, in milliseconds.
const ALLOWANCE_MS: u64 = 60_000;
/// What a message takes beside its payload, in bytes, at the most.
const ENVELOPE_BYTES: usize = 256;
/// What the log's helper may have before it: a segment to prepare, a checkpoint, and an index for each
/// segment without one. After a crash, or damage, these are several; the server's helper is given as
/// many at once.
const JOBS_MAX: usize = 64;

impl World {
    /// A second has passed.
    pub(crate) fn tick(&mut self) {
        self.schedule(1_000, Happening::Tick);
        for client in 0..self.clients.len() {
            if self.clients[client].is_awake() {
                self.tick_client(client);
            }
        }
        if self.server.runs() {
            while self.server.hub.expire(self.server_time()) {}
            self.call_readers(true);
            self.begin_writing();
            if self.server.fails_at.is_some_and(|at| at <= self.now) {
                self.crash(true);
            }
        }
        self.watch();
    }

    fn tick_client(&mut self, client: usize) {
        self.note_progress(client);
        if let Some(reads) = &mut self.clients[client].reads {
            *reads = 700;
        }
        if std::mem::take(&mut self.clients[client].has_slept) {
            self.clients[client].dials.excuse();
            let moment = self.clients[client].moment(self.now, &mut self.rng);
            self.clients[client].session.wake(moment);
        }
        self.drive(client);
    }

    fn watch(&mut self) {
        for client in 0..self.clients.len() {
            self.watch_client(client);
        }
        if let Process::Runs { since } = self.server.process {
            let wires: Vec<_> = self.server.conns.keys().copied().collect();
            for wire in wires {
                self.watch_connection(wire, since);
            }
            self.watch_takeover();
            self.watch_hub();
            self.watch_queues();
        }
    }

    /// I6, the client's end.
    fn watch_client(&mut self, client: usize) {
        let it = &self.clients[client];
        let (Pulse::Awake { since }, Status::Open { .. }, Some(socket)) =
            (it.pulse, it.session.status(), &it.socket)
        else {
            return;
        };
        let Some(wire) = self.wires.get(&socket.wire) else {
            return;
        };
        let heard_at = wire
            .down
            .heard_at
            .max(wire.up.acknowledged_at)
            // A slow reader hears what arrived long before.
            .max(it.read_at)
            .max(since)
            .max(wire.opened_at);
        let silent_ms = self.now - heard_at;
        let mut bound_ms =
            self.bound_ms(it.interval_ms * 5 / 4, 0) + self.bound_ms(0, 0) / 4 + LATE_MS;
        let rtt_ms = it.session.rtt().map_or(0, |rtt| u64::from(rtt.last_ms));
        bound_ms += rtt_ms.saturating_mul(2).min(ALLOWANCE_MS);
        if !it.sees_acknowledgements {
            // Whoever cannot see progress gives what is in flight its time.
            bound_ms +=
                self.profile.hub.limits.unacked_bytes_max.min(1 << 20) as u64 * 1_000 / (16 * 1024);
        }
        if silent_ms > bound_ms {
            let what = format!(
                "client {client} has heard nothing for {silent_ms} ms, {bound_ms} ms at most"
            );
            self.oracle.violate("I6", what);
        }
    }

    /// Interval and timeout in force for a client that has asked for that interval, and whose answers
    /// have earned so much time.
    fn bound_ms(&self, wish_ms: u64, slow_ms: u64) -> u64 {
        let config: HeartbeatConfig = self.profile.hub.heartbeat;
        let interval_ms = (config.interval().as_millis() as u64).max(wish_ms);
        interval_ms + (config.timeout().as_millis() as u64).max(slow_ms.min(ALLOWANCE_MS))
    }

    /// I6, the server's end.
    fn watch_connection(&mut self, id: WireId, since: u64) {
        let (Some(conn), Some(wire)) = (self.server.conns.get(&id), self.wires.get(&id)) else {
            return;
        };
        if conn.connection.closing().is_some() || !conn.reads() {
            return;
        }
        let heard_at = wire
            .up
            .heard_at
            .max(wire.down.acknowledged_at)
            // A question that stands behind other output is written when the kernel takes that.
            .max(conn.moved_at)
            .max(since)
            .max(wire.opened_at);
        let silent_ms = self.now - heard_at;
        // A slow answer earns the next one twice its time.
        let round_trip = conn.connection.life().round_trip;
        let slow_ms = round_trip.map_or(0, |rtt| 2 * u64::from(rtt.last_ms).min(ALLOWANCE_MS));
        // It looks so often at what the peer's TCP has acknowledged.
        let look_ms = self.profile.hub.heartbeat.timeout().as_millis() as u64 / 8;
        let hello_ms = self.profile.hub.limits.hello_timeout.as_millis() as u64;
        let bound_ms = match &conn.client {
            Some(_) => self.bound_ms(wire.interval_ms, slow_ms) + look_ms,
            None => hello_ms,
        } + LATE_MS;
        if silent_ms > bound_ms {
            let what = format!(
                "wire {id}: the server has heard nothing for {silent_ms} ms, {bound_ms} ms at most: {:?}",
                conn.connection.life()
            );
            self.oracle.violate("I6", what);
        }
    }

    /// I5: a client has one live connection at most.
    fn watch_takeover(&mut self) {
        let mut live = BTreeMap::new();
        let mut twice = None;
        for (wire, conn) in &self.server.conns {
            if let (Some((id, _)), None) = (&conn.client, conn.connection.closing())
                && let Some(other) = live.insert(id.as_str(), *wire)
            {
                twice = Some((other, *wire));
            }
        }
        if let Some((one, other)) = twice {
            self.oracle.violate(
                "I5",
                format!("wires {one} and {other} are live and of one client"),
            );
        }
    }

    /// I8: what waits before the server, and behind its log.
    fn watch_queues(&mut self) {
        let log = self.server.hub.log();
        let entries = log.pending().filter_map(|(_, entry)| entry);
        let pending_bytes: usize = entries.map(heartwire_log::Entry::memory_bytes).sum();
        // The last append is admitted by its payload alone.
        let pending_max = log.config().pending_bytes_max + ENVELOPE_BYTES;
        let loads_max = log.config().loads_max + heartwire_log::Log::SWEEP_LOADS_MAX;
        let storage = self.server.storage.as_ref();
        // What was read last stays whatever its size.
        let brought_max = storage.map_or(0, |storage| storage.brought_bytes_max);
        let warm_max = log.config().warm_bytes_max.max(brought_max);
        let (jobs, loads) = storage.map_or((0, 0), Storage::queued);
        let outboxes = self.clients.iter();
        let fullest = outboxes.max_by_key(|it| it.app.sent.len().saturating_sub(it.outbox_max));
        let (sent, sent_max) = fullest.map_or((0, 0), |it| (it.app.sent.len(), it.outbox_max));
        for (what, count, count_max) in [
            ("bytes wait to be durable", pending_bytes, pending_max),
            ("bytes were read back", log.warm_bytes(), warm_max),
            ("jobs wait", jobs, JOBS_MAX),
            ("loads wait", loads, loads_max),
            ("publishes of one client wait", sent, sent_max),
        ] {
            if count > count_max {
                let what = format!("{count} {what}, {count_max} at most");
                self.oracle.violate("I8", what);
            }
        }
    }

    /// I8: what the hub holds for connections goes with them.
    fn watch_hub(&mut self) {
        let connections = self.server.hub.connections_len();
        if connections > self.server.conns.len() {
            let what = format!(
                "the hub holds {connections} connections of {}",
                self.server.conns.len()
            );
            self.oracle.violate("I8", what);
        }
        let pending = self.server.hub.log().pending().count();
        if pending > self.profile.hub.log.pending_max {
            self.oracle.violate("I8", format!("{pending} appends wait"));
        }
    }

    /// I8, for one connection.
    pub(crate) fn check_connection(&mut self, wire: WireId, conn: &Conn) {
        let limits = &self.profile.hub.limits;
        // Of answers a little more than the bound, of messages what one filling brought, and one of
        // each that began below its bound.
        let out_max =
            FILL_BYTES + limits.output_bytes_max + limits.message_bytes_max + 4 * 1024 + 16 * 1024;
        let out = conn.connection.outgoing().bytes();
        if out > out_max {
            self.oracle.violate(
                "I8",
                format!("wire {wire}: {out} bytes stand ready, {out_max} at most"),
            );
        }
        let held_max = self.profile.hub.limits.frame_bytes_max + self.profile.capacity;
        let held = conn.held_bytes();
        if held > held_max {
            self.oracle.violate(
                "I8",
                format!("wire {wire}: {held} bytes are held, {held_max} at most"),
            );
        }
    }

    /// I7, the client's end.
    pub(crate) fn judge_death(&mut self, client: usize, status: &Status) {
        let (Status::Lost { why, .. } | Status::Suspended { why, .. }) = status else {
            return;
        };
        let is_death = matches!(
            why,
            Loss::Silent { .. } | Loss::Unanswered | Loss::AttemptTimeout
        );
        let disk_is_well = self.disk_calm_for().is_some_and(|calm| calm > 4 * CALM_MS);
        if !is_death || *why == Loss::Unanswered && !disk_is_well {
            return;
        }
        let attempt = self.clients[client].session.attempt();
        let mut wires = self.wires.values();
        let wire = wires.find(|wire| wire.client == client && wire.attempt == attempt);
        // Where the server has let go, its last word may have been lost.
        let held = wire.filter(|wire| wire.server_has_it);
        let calm = held.and_then(|wire| wire.calm_for(self.now));
        if calm.is_some_and(|calm| calm > CALM_MS) && self.is_awake_for(client) > CALM_MS {
            self.oracle.violate(
                "I7",
                format!("client {client} gave up a healthy connection: {why}"),
            );
        }
    }

    /// I7, the server's end.
    pub(crate) fn judge_server_death(&mut self, id: WireId, conn: &Conn) {
        if !Self::is_server_death(conn) {
            return;
        }
        let Some(wire) = self.wires.get(&id) else {
            return;
        };
        let calm = wire.calm_for(self.now).unwrap_or_default();
        if calm > CALM_MS && self.is_awake_for(wire.client) > CALM_MS && wire.client_has_it {
            let what = format!(
                "wire {id}: the server gave up a healthy connection: {:?}",
                conn.connection.closing()
            );
            self.oracle.violate("I7", what);
        }
    }

    fn is_awake_for(&self, client: usize) -> u64 {
        match self.clients[client].pulse {
            Pulse::Awake { since } => self.now - since,
            Pulse::Asleep { .. } | Pulse::Frozen => 0,
        }
    }

    fn disk_calm_for(&self) -> Option<u64> {
        self.now.checked_sub(self.disk_calm_since)
    }

    /// A log was lost: only one in memory may be.
    pub(crate) fn log_lost_told(&mut self, client: usize) {
        if !self.oracle.may_lose_log() {
            self.oracle.violate(
                "I3",
                format!("client {client} was told that the log is lost"),
            );
        }
    }
}
