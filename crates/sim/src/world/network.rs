//! Bytes on their way.

use heartwire_proto::Attempt;
use heartwire_proto::client::Input;

use super::{Happening, World};
use crate::fault::Fault;
use crate::trace::note;
use crate::wire::{Over, Piece, Way, Wire, WireId};

/// A dial that gets no answer is tried again by the kernel after so long, in milliseconds.
const RETRY_MS: u64 = 1_000;
/// A write is cut at so many places at most.
const CUTS_MAX: u64 = 6;

impl World {
    fn latency(&mut self, client: usize) -> u64 {
        let jitter = self.profile.jitter_ms;
        let extra = self.paths[client].extra_ms;
        self.profile.latency_ms + extra + self.rng.between(0, jitter)
    }

    // ---- Dialling ----

    /// A client's kernel sends the first packet.
    pub(crate) fn dial(&mut self, client: usize, attempt: Attempt) {
        let life = self.clients[client].life;
        let mut after_ms = 2 * self.latency(client);
        if self.is_chaos {
            if self.profile.strikes(Fault::DialHangs, &mut self.rng) {
                return self.count(Fault::DialHangs);
            }
            if self.profile.strikes(Fault::DialSlow, &mut self.rng) {
                self.count(Fault::DialSlow);
                after_ms += self.rng.between(500, 12_000);
            }
        }
        self.schedule(
            after_ms,
            Happening::Dial {
                client,
                life,
                attempt,
            },
        );
    }

    /// The dial comes to the server.
    pub(crate) fn dial_arrives(&mut self, client: usize, life: u32, attempt: Attempt) {
        let dials = &self.clients[client];
        if dials.life != life || dials.dialing != Some(attempt) || dials.socket.is_some() {
            return;
        }
        let is_lost = self.paths[client].is_cut() || !self.server.has_kernel() || !dials.is_awake();
        if is_lost || matches!(self.server.process, crate::server::Process::Paused) {
            let again = Happening::Dial {
                client,
                life,
                attempt,
            };
            return self.schedule(RETRY_MS, again);
        }
        let refused = self.is_chaos && self.profile.strikes(Fault::DialRefused, &mut self.rng);
        if refused {
            self.count(Fault::DialRefused);
        }
        if refused || !self.server.runs() {
            return self.refuse(client, attempt);
        }
        let wire = self.wires_dialled;
        self.wires_dialled += 1;
        let mut held = Wire::new(client, attempt, self.now);
        held.interval_ms = self.clients[client].interval_ms;
        if self.paths[client].extra_ms > 0 {
            held.trouble();
        }
        if self.clients[client].reads.is_some() {
            held.trouble();
        }
        self.wires.insert(wire, held);
        note!(
            self,
            "wire {wire}: client {client} dials, attempt {}",
            attempt.0
        );
        self.connected(client, wire, attempt);
        self.accept(wire);
        self.send(wire, Way::Down, Piece::Upgraded);
        if self.flaps {
            self.flap(wire);
        }
    }

    fn refuse(&mut self, client: usize, attempt: Attempt) {
        self.clients[client].dialing = None;
        let moment = self.clients[client].moment(self.now, &mut self.rng);
        let failed = Input::DialFailed {
            attempt,
            why: "refused".to_owned(),
            retry_after: None,
        };
        self.clients[client].session.handle(failed, moment);
        self.drive(client);
    }

    // ---- Sending ----

    /// Sends bytes, in pieces if chance will have it.
    pub(crate) fn send_bytes(&mut self, wire: WireId, way: Way, mut bytes: Vec<u8>) {
        let splits = bytes.len() > 1 && self.profile.strikes(Fault::Split, &mut self.rng);
        if splits {
            self.counts.count(Fault::Split);
            for _ in 0..self.rng.between(1, CUTS_MAX) {
                if bytes.len() < 2 {
                    break;
                }
                let cut = self.rng.between(1, bytes.len() as u64 - 1) as usize;
                let rest = bytes.split_off(cut);
                self.send(wire, way, Piece::Bytes(bytes));
                bytes = rest;
            }
        }
        self.send(wire, way, Piece::Bytes(bytes));
    }

    pub(crate) fn send(&mut self, wire: WireId, way: Way, piece: Piece) {
        let Some(client) = self.wires.get(&wire).map(|wire| wire.client) else {
            return;
        };
        let at = self.now + self.latency(client);
        let Some(held) = self.wires.get_mut(&wire) else {
            return;
        };
        let pipe = held.pipe_mut(way);
        let at = pipe.not_overtaking(at);
        pipe.send(at, piece);
        self.schedule(at - self.now, Happening::Arrive(wire, way));
    }

    // ---- Arriving ----

    /// Takes in what has arrived, and lets the receiver have its turn.
    pub(crate) fn arrive(&mut self, wire: WireId, way: Way) {
        let mut landed = false;
        while let Some(piece) = self.land(wire, way) {
            landed = true;
            self.receive(wire, way, piece);
        }
        if !landed {
            return;
        }
        match way {
            Way::Up => self.serve(wire, false),
            Way::Down => {
                if let Some(client) = self.holder(wire) {
                    self.drive(client);
                }
            }
        }
        self.writable(wire, way);
        self.forget_if_over(wire);
    }

    fn land(&mut self, wire: WireId, way: Way) -> Option<Piece> {
        let now = self.now;
        let held = self.wires.get_mut(&wire)?;
        if held.is_dead {
            return None;
        }
        let acks_travel = !held.pipe(way.back()).is_blocked();
        held.pipe_mut(way).land(now, acks_travel)
    }

    fn receive(&mut self, wire: WireId, way: Way, piece: Piece) {
        self.count_late(wire, way, &piece);
        let Some(held) = self.wires.get_mut(&wire) else {
            return;
        };
        if !held.has_receiver(way) {
            // Nobody has this socket any more: the kernel says so, if there is one.
            if !matches!(piece, Piece::Reset | Piece::End)
                && (way == Way::Down || self.server.has_kernel())
            {
                self.send(wire, way.back(), Piece::Reset);
            }
            return;
        }
        let pipe = held.pipe_mut(way);
        match piece {
            Piece::Bytes(bytes) => pipe.keep(&bytes),
            Piece::Upgraded => pipe.upgraded = true,
            Piece::End => pipe.over = Some(pipe.over.unwrap_or(Over::End)),
            Piece::Reset => pipe.over = Some(Over::Reset),
        }
    }

    /// Bytes of a connection whose client has gone on are late.
    fn count_late(&mut self, wire: WireId, way: Way, piece: &Piece) {
        let Some(held) = self.wires.get(&wire) else {
            return;
        };
        let latest = self.clients[held.client].session.attempt();
        let is_late = latest > held.attempt && matches!(piece, Piece::Bytes(_));
        if is_late && held.server_has_it {
            self.count(match way {
                Way::Up => Fault::LateUp,
                Way::Down => Fault::LateDown,
            });
        }
    }

    /// The client that has this connection as its socket.
    pub(crate) fn holder(&self, wire: WireId) -> Option<usize> {
        let client = self.wires.get(&wire)?.client;
        let socket = self.clients[client].socket.as_ref()?;
        (socket.wire == wire).then_some(client)
    }

    // ---- Ending ----

    /// One end lets go of its socket.
    pub(crate) fn hang_up(&mut self, wire: WireId, way: Way, last: Option<Piece>) {
        let Some(held) = self.wires.get_mut(&wire) else {
            return;
        };
        match way {
            Way::Up => held.client_has_it = false,
            Way::Down => held.server_has_it = false,
        }
        if let Some(last) = last {
            self.send(wire, way, last);
        }
        self.forget_if_over(wire);
    }

    fn forget_if_over(&mut self, wire: WireId) {
        let is_over = self.wires.get(&wire).is_some_and(|wire| {
            let is_held = wire.client_has_it || wire.server_has_it;
            !is_held && (wire.is_dead || Way::BOTH.iter().all(|way| wire.pipe(*way).is_idle()))
        });
        if is_over {
            self.wires.remove(&wire);
        }
    }

    // ---- Blocks ----

    pub(crate) fn block(&mut self, wire: WireId, way: Way) {
        if let Some(wire) = self.wires.get_mut(&wire) {
            wire.pipe_mut(way).block();
            wire.trouble();
        }
    }

    /// A block ends: what flew is sent again, and acknowledgements travel.
    pub(crate) fn unblock(&mut self, wire: WireId, way: Way) {
        let Some(client) = self.wires.get(&wire).map(|wire| wire.client) else {
            return;
        };
        let at = self.now + self.latency(client);
        let now = self.now;
        let Some(held) = self.wires.get_mut(&wire) else {
            return;
        };
        held.calm(now);
        if !held.pipe_mut(way).unblock() {
            return;
        }
        held.pipe_mut(way).resend(at);
        held.pipe_mut(way.back()).acknowledge(now);
        if let Some(at) = held.pipe(way).next_at() {
            self.schedule(at - now, Happening::Arrive(wire, way));
        }
        // What acknowledgements made room for goes on.
        self.writable(wire, way.back());
    }

    /// There is room again in that direction: its sender goes on, if it has been waiting.
    pub(crate) fn writable(&mut self, wire: WireId, way: Way) {
        match way {
            Way::Up => {
                let waits = |client: &usize| {
                    let socket = self.clients[*client].socket.as_ref();
                    socket.is_some_and(|socket| socket.standing() > 0)
                };
                if let Some(client) = self.holder(wire).filter(waits) {
                    self.drive(client);
                }
            }
            Way::Down => {
                let conn = self.server.conns.get(&wire);
                let writes = conn.is_some_and(|conn| !conn.connection.outgoing().is_empty());
                // Whoever was woken may have written what stood in the way of reading.
                let reads = self.wires.get(&wire).is_some_and(|wire| !wire.up.is_dry());
                if writes || reads {
                    self.serve(wire, false);
                }
            }
        }
    }
}
