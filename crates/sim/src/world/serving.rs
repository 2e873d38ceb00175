//! The server's turns: what a connection's task does, without its threads and locks.

use std::io::IoSlice;

use heartwire_hub::{Connection, Due, Now, Peer};
use heartwire_proto::{CloseCode, Time, WallTime};

use super::World;
use crate::server::{Conn, Intake};
use crate::trace::note;
use crate::wire::{Over, Piece, Way, WireId};

/// The wall clock at the beginning of a run, in milliseconds since 1970.
const WALL_MS: u64 = 1_790_000_000_000;
/// How many things may be due at once.
const DUE_PER_TURN: usize = 4;
/// What one read takes, in bytes.
const READ_BYTES: usize = 256 * 1024;
/// So many rounds of waking each other make a loop.
const WAKES_MAX: usize = 10_000;

/// How a turn left the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Turn {
    Stays,
    HangsUp,
    Abandons,
}

impl World {
    pub(crate) fn server_now(&mut self) -> Now {
        Now {
            time: self.server_time(),
            wall: WallTime::from_unix_millis(WALL_MS + self.now),
            random: self.rng.u64(),
        }
    }

    /// A connection has been upgraded.
    pub(crate) fn accept(&mut self, wire: WireId) {
        let config = self.server.hub.config().clone();
        let connection = Connection::v1(config, Peer::default(), Vec::new(), self.server_time());
        self.server.conns.insert(wire, Conn::new(connection));
    }

    pub(crate) fn server_due_at(&self) -> Option<u64> {
        let deadline = |conn: &Conn| conn.connection.deadline();
        let all = self.server.conns.values().map(deadline);
        let first = all.min().filter(|_| self.server.runs())?;
        Some(first.as_millis().saturating_add(self.server.behind_ms))
    }

    pub(crate) fn due_connection(&self) -> Option<WireId> {
        let time = self.server_time();
        let due = |conn: &Conn| conn.connection.deadline() <= time;
        let mut all = self.server.conns.iter();
        all.find(|(_, conn)| due(conn)).map(|(wire, _)| *wire)
    }

    /// One turn: reads, does what is due, writes.
    pub(crate) fn serve(&mut self, wire: WireId, is_due: bool) {
        if !self.server.runs() {
            return;
        }
        let Some(mut conn) = self.server.conns.remove(&wire) else {
            return;
        };
        let turn = self.turn(wire, &mut conn, is_due);
        self.check_connection(wire, &conn);
        match turn {
            Turn::Stays => {
                self.server.conns.insert(wire, conn);
            }
            Turn::HangsUp => self.part(wire, conn, Piece::End),
            Turn::Abandons => self.part(wire, conn, Piece::Reset),
        }
        self.settle();
        self.begin_writing();
    }

    pub(super) fn part(&mut self, wire: WireId, mut conn: Conn, last: Piece) {
        note!(
            self,
            "wire {wire}: the server lets go, {:?}",
            conn.connection.closing()
        );
        conn.connection.leave(&mut self.server.hub);
        self.hang_up(wire, Way::Down, Some(last));
    }

    fn turn(&mut self, wire: WireId, conn: &mut Conn, is_due: bool) -> Turn {
        let time = self.server_time();
        let is_end = self.take_input(wire, conn);
        if is_due && !is_end && self.is_over(wire, conn, time) {
            return Turn::Abandons;
        }
        let has_paused = !conn.reads();
        let is_broken = !self.pump(wire, conn);
        if has_paused && conn.reads() && !is_broken && !is_end {
            // What stood in the way of reading is written: it goes on.
            return self.turn(wire, conn, false);
        }
        if is_end || is_broken || conn.connection.is_finished() {
            return Turn::HangsUp;
        }
        if conn.is_deaf && conn.connection.outgoing().is_empty() {
            // The peer broke the framing and has been told.
            return Turn::HangsUp;
        }
        Turn::Stays
    }

    /// Reads what has arrived; whether that was the end.
    fn take_input(&mut self, wire: WireId, conn: &mut Conn) -> bool {
        loop {
            let reads = conn.reads() && !conn.is_deaf;
            let Some(held) = self.wires.get_mut(&wire) else {
                return true;
            };
            if held.up.over == Some(Over::Reset) {
                return true;
            }
            let bytes = match reads || conn.is_deaf {
                true => held.up.read(READ_BYTES),
                false => Vec::new(),
            };
            let is_end = held.up.is_dry() && held.up.over.is_some();
            if !bytes.is_empty() {
                let after_ms = self.profile.latency_ms;
                self.schedule(after_ms, super::Happening::Writable(wire, Way::Up));
            }
            let held_before = conn.held_bytes();
            self.handle(wire, conn, &bytes);
            let moves = !bytes.is_empty() || conn.held_bytes() != held_before;
            if !moves || !conn.reads() {
                return is_end;
            }
        }
    }

    fn handle(&mut self, wire: WireId, conn: &mut Conn, bytes: &[u8]) {
        let now = self.server_now();
        let lsn = self.server.hub.log().last_lsn();
        let said = conn.take(
            bytes,
            &mut Intake {
                hub: &mut self.server.hub,
                wire,
                now,
                rng: &mut self.rng,
            },
        );
        if conn.is_superseded && self.server.hub.log().last_lsn() != lsn {
            let what = format!("wire {wire} wrote, though a later connection was welcomed");
            self.oracle.violate("I5", what);
        }
        if let Some(hello) = said {
            self.welcomed(wire, conn, &hello);
        }
        self.store();
        conn.fill(&mut self.server.hub, now.time);
    }

    /// Notes who has which connection.
    fn welcomed(&mut self, wire: WireId, conn: &mut Conn, hello: &heartwire_proto::frame::Hello) {
        note!(
            self,
            "wire {wire}: hello, attempt {}, {:?}",
            hello.attempt.0,
            conn.connection.closing()
        );
        let is_live = conn.connection.closing().is_none();
        conn.client = Some((hello.client.clone(), hello.attempt));
        let mut displaced = None;
        let conns = self.server.conns.values_mut();
        for other in conns.filter(|other| is_live && is_same(other, hello)) {
            other.is_superseded = true;
            let attempt = other.client.as_ref().map(|(_, attempt)| *attempt);
            displaced = displaced.max(attempt.filter(|attempt| *attempt >= hello.attempt));
        }
        if let Some(later) = displaced {
            let what = format!(
                "wire {wire}: attempt {} displaced attempt {}",
                hello.attempt.0, later.0
            );
            self.oracle.violate("I5", what);
        }
    }

    /// Does what is due; whether that was the end.
    fn is_over(&mut self, wire: WireId, conn: &mut Conn, time: Time) -> bool {
        for _ in 0..DUE_PER_TURN {
            match conn.connection.poll(time) {
                Due::Nothing => return false,
                Due::Ping => {
                    let now = self.server_now();
                    conn.connection.ping(&mut self.server.hub, now);
                    conn.fill(&mut self.server.hub, time);
                }
                Due::Measure => self.measure(wire, conn),
                Due::Look => {
                    conn.may_have_more = true;
                    self.pump(wire, conn);
                    self.measure(wire, conn);
                    if conn.connection.judge(time) {
                        self.judge_server_death(wire, conn);
                        self.pump(wire, conn);
                        return true;
                    }
                }
                Due::Drop => return true,
            }
        }
        false
    }

    fn measure(&mut self, wire: WireId, conn: &mut Conn) {
        let unacknowledged = self
            .wires
            .get(&wire)
            .map_or(0, |wire| wire.down.unacknowledged());
        conn.connection
            .measured(unacknowledged as u64, self.server_time());
    }

    /// Fills and writes until nothing is left, or the socket is full; no when it is broken.
    pub(super) fn pump(&mut self, wire: WireId, conn: &mut Conn) -> bool {
        let time = self.server_time();
        loop {
            if conn.may_have_more {
                conn.fill(&mut self.server.hub, time);
            }
            self.check_connection(wire, conn);
            let Some(room) = self
                .wires
                .get(&wire)
                .map(|wire| wire.down.room(self.profile.capacity))
            else {
                return false;
            };
            let bytes = pieces(&conn.connection, room);
            conn.connection.written(bytes.len(), time);
            let is_blocked = !conn.connection.outgoing().is_empty() && bytes.is_empty();
            if conn.is_blocked && !bytes.is_empty() {
                conn.moved_at = self.now;
            }
            conn.is_blocked = is_blocked;
            if !bytes.is_empty() {
                self.send_bytes(wire, Way::Down, bytes);
            }
            let is_done = conn.connection.outgoing().is_empty() && !conn.may_have_more;
            if is_blocked || is_done {
                return true;
            }
        }
    }

    /// Whoever was woken is served.
    pub(crate) fn settle(&mut self) {
        let mut wakes = Vec::new();
        for round in 0.. {
            if round > WAKES_MAX {
                return self.oracle.violate("I8", "the hub wakes without end");
            }
            self.server.hub.take_wakes(&mut wakes);
            if wakes.is_empty() {
                return self.call_readers(false);
            }
            for wire in std::mem::take(&mut wakes) {
                let Some(mut conn) = self.server.conns.remove(&wire) else {
                    continue;
                };
                conn.may_have_more = true;
                let stays = self.pump(wire, &mut conn);
                if !stays || conn.connection.is_finished() {
                    self.part(wire, conn, Piece::End);
                } else {
                    self.server.conns.insert(wire, conn);
                }
            }
        }
    }

    /// The server goes on after a pause: everything that has arrived is read, then what is overdue
    /// is judged.
    pub(crate) fn serve_all(&mut self) {
        let wires: Vec<_> = self.server.conns.keys().copied().collect();
        for wire in wires {
            let conn = self.server.conns.get(&wire);
            let is_due = conn.is_some_and(|conn| conn.connection.deadline() <= self.server_time());
            self.serve(wire, is_due);
        }
    }

    pub(crate) fn is_server_death(conn: &Conn) -> bool {
        let closing = conn.connection.closing();
        closing.is_some_and(|close| close.code == CloseCode::HEARTBEAT_TIMEOUT)
    }
}

fn is_same(conn: &Conn, hello: &heartwire_proto::frame::Hello) -> bool {
    let client = conn.client.as_ref();
    client.is_some_and(|(id, _)| *id == hello.client) && conn.connection.closing().is_none()
}

/// What the socket takes of what stands ready.
fn pieces(connection: &Connection, room: usize) -> Vec<u8> {
    let mut slices = [IoSlice::new(&[]); 16];
    let used = connection.outgoing().slices(&mut slices);
    let mut bytes = Vec::new();
    for slice in &slices[..used] {
        let count = slice.len().min(room - bytes.len());
        bytes.extend_from_slice(&slice[..count]);
    }
    bytes
}
