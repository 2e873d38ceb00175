//! Text `ping` answered by text `pong`, 16 deep on 64 connections.
//!
//! Each connection sends 16 pings in one write, waits for 16 pongs, and sends the next 16. The bare
//! peer returns the same bytes as they are, without frames.

use std::time::Duration;

use anyhow::Result;

use crate::child::Server;
use crate::figures::{Cost, ROUNDS, Table, measure};
use crate::fleet::Fleet;
use crate::peer::Peer;
use crate::wire::{TEXT, write_frame};

const CONNECTIONS: usize = 64;
const DEPTH: usize = 16;
/// How many pongs one batch waits for: a few turns of the fleet.
const BATCH: usize = CONNECTIONS * DEPTH * 16;

pub(crate) fn run(program: &str) -> Result<()> {
    println!("echo: text ping -> pong, {DEPTH} deep on {CONNECTIONS} connections, {ROUNDS} rounds");
    let mut table = Table::new(&[
        "bare tokio TCP echo",
        "heartwire, plain mode",
        "heartwire, v1",
    ]);
    for _ in 0..ROUNDS {
        let bare = Server::bare("echo")?;
        let echo = Echo::start(|_| Peer::bare(bare.address, ping().len()))?;
        table.add(0, echo.measure(&bare)?);

        let server = Server::heartwire(program)?;
        let echo = Echo::start(|_| Peer::plain(server.address, b"pong"))?;
        table.add(1, echo.measure(&server)?);

        let echo = Echo::start(|number| Peer::v1(server.address, number, None, b"pong"))?;
        table.add(2, echo.measure(&server)?);
    }
    table.print("message");
    Ok(())
}

/// A fleet that plays ping-pong.
struct Echo {
    fleet: Fleet,
    /// One flight of pings.
    flight: Vec<u8>,
    /// How many pongs each connection still waits for.
    awaited: Vec<usize>,
}

impl Echo {
    /// Connects, and sends the first flights.
    fn start(mut connect: impl FnMut(usize) -> Result<Peer>) -> Result<Self> {
        let mut fleet = Fleet::new()?;
        for number in 0..CONNECTIONS {
            fleet.add(connect(number)?)?;
        }
        fleet.until_ready()?;
        let flight = ping().repeat(DEPTH);
        for index in 0..CONNECTIONS {
            fleet.peer(index).send(&flight)?;
        }
        Ok(Self {
            fleet,
            flight,
            awaited: vec![DEPTH; CONNECTIONS],
        })
    }

    fn measure(mut self, server: &Server) -> Result<Cost> {
        measure(server, || self.batch())
    }

    /// Plays until enough pongs have come, and returns how many.
    fn batch(&mut self) -> Result<usize> {
        let mut pongs = 0;
        while pongs < BATCH {
            self.fleet.turn(Duration::from_secs(1), |index, peer| {
                let counted = peer.take();
                pongs += counted;
                self.awaited[index] -= counted;
                if self.awaited[index] == 0 {
                    self.awaited[index] = DEPTH;
                    peer.send(&self.flight)?;
                }
                Ok(())
            })?;
        }
        Ok(pongs)
    }
}

fn ping() -> Vec<u8> {
    let mut ping = Vec::new();
    write_frame(&mut ping, TEXT, b"ping");
    ping
}
