//! Messages of 128 bytes to 1,000 followers, at 1 and at 32 in flight.
//!
//! A publisher sends that many messages in one write and waits until every follower has them all.
//! The bare peer writes what it reads from the publisher to each of its 1,000 sockets, unframed and
//! uncounted; its messages are as long as the frames that the server sends.

use anyhow::Result;

use crate::child::Server;
use crate::figures::{Cost, ROUNDS, Table, measure};
use crate::fleet::Fleet;
use crate::peer::Peer;
use crate::wire::{TEXT, write_frame};

const FOLLOWERS: usize = 1_000;
const PAYLOAD_BYTES: usize = 128;
/// `msg fan OFFSET TIME_MS`, the LF and the WebSocket header, with an offset of five digits.
const FRAME_BYTES: usize = PAYLOAD_BYTES + "msg fan 12345 1790000000000\n".len() + 4;
const IN_FLIGHT: [usize; 2] = [1, 32];

pub(crate) fn run(program: &str) -> Result<()> {
    for in_flight in IN_FLIGHT {
        println!(
            "fan-out: {PAYLOAD_BYTES} bytes to {FOLLOWERS} followers, {in_flight} in flight, \
             {ROUNDS} rounds"
        );
        let mut table = Table::new(&["bare tokio TCP write loop", "heartwire, v1"]);
        for _ in 0..ROUNDS {
            table.add(0, measure_bare(in_flight)?);
            table.add(1, measure_heartwire(program, in_flight)?);
        }
        table.print("delivery");
    }
    Ok(())
}

fn measure_bare(in_flight: usize) -> Result<Cost> {
    let server = Server::bare("fanout")?;
    let mut fleet = Fleet::new()?;
    // The bare peer takes its first connection for the publisher's.
    for _ in 0..=FOLLOWERS {
        fleet.add(Peer::bare(server.address, FRAME_BYTES)?)?;
    }
    let messages = vec![b'x'; FRAME_BYTES * in_flight];
    measure(&server, || {
        fleet.peer(0).send(&messages)?;
        fleet.until_counted(FOLLOWERS * in_flight)?;
        Ok(FOLLOWERS * in_flight)
    })
}

fn measure_heartwire(program: &str, in_flight: usize) -> Result<Cost> {
    let server = Server::heartwire(program)?;
    let mut fleet = Fleet::new()?;
    fleet.add(Peer::v1(server.address, FOLLOWERS, None, b"msg ")?)?;
    for number in 0..FOLLOWERS {
        fleet.add(Peer::v1(server.address, number, Some("fan"), b"msg ")?)?;
    }
    fleet.until_ready()?;
    let payload = "x".repeat(PAYLOAD_BYTES);
    let mut seq = 0;
    measure(&server, || {
        let mut messages = Vec::new();
        for _ in 0..in_flight {
            seq += 1;
            write_frame(
                &mut messages,
                TEXT,
                format!("pub fan {seq}\n{payload}").as_bytes(),
            );
        }
        fleet.peer(0).send(&messages)?;
        fleet.until_counted(FOLLOWERS * in_flight)?;
        Ok(FOLLOWERS * in_flight)
    })
}
