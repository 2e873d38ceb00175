//! All peers of the crowd, on a runtime of their own.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::sync::watch;
use tokio::time::sleep;

use super::kind::Kind;
use super::peer::{Ended, Peer};

/// Peers that share a source address: below what the server allows one.
const PEERS_PER_ADDRESS: usize = 150;
/// Peers of the address that has too many.
pub(super) const GREEDY: usize = 300;
/// How many peers begin in a second.
const BEGIN_PER_SECOND: usize = 750;

/// How often connections of each kind were dialled, and how they ended.
pub(super) type Tally = BTreeMap<usize, BTreeMap<String, u64>>;

/// The crowd, while it is there.
pub(super) struct Crowd {
    tally: Arc<Mutex<Tally>>,
    leave: watch::Sender<bool>,
}

/// How long it takes until all peers of a crowd have begun.
pub(super) fn ramp(crowd: usize) -> Duration {
    Duration::from_secs_f64(crowd as f64 / BEGIN_PER_SECOND as f64)
}

impl Crowd {
    /// Sends a crowd of this size, spread over the time of [`ramp`].
    pub(super) fn send(server: SocketAddr, size: usize) -> Result<Self> {
        let (leave, leaving) = watch::channel(false);
        let crowd = Self {
            tally: Arc::default(),
            leave,
        };
        let mut peers = Vec::with_capacity(size);
        for kind in Kind::ALL {
            for _ in 0..kind.share(size, GREEDY) {
                let number = peers.len();
                let source = if kind == Kind::Greedy {
                    0
                } else {
                    1 + number / PEERS_PER_ADDRESS
                };
                let peer = Peer {
                    kind,
                    number,
                    server,
                    source: address(source).context("a crowd of that size has no addresses")?,
                };
                peers.push(peer);
            }
        }
        // Of every kind some come first.
        fastrand::shuffle(&mut peers);
        for (place, peer) in peers.into_iter().enumerate() {
            tokio::spawn(live(
                peer,
                ramp(place),
                crowd.tally.clone(),
                leaving.clone(),
            ));
        }
        Ok(crowd)
    }

    /// Lets every peer drop what it has, and tells how their connections had ended.
    pub(super) fn leave(self) -> Tally {
        self.leave.send_replace(true);
        lock(&self.tally).clone()
    }
}

/// A loopback address that none of the good comes from.
fn address(index: usize) -> Option<SocketAddr> {
    let last = u8::try_from(1 + index)
        .ok()
        .filter(|last| *last < u8::MAX)?;
    Some((Ipv4Addr::new(127, 0, 1, last), 0).into())
}

/// One connection after the other, until the crowd is to leave.
async fn live(
    peer: Peer,
    begin_in: Duration,
    tally: Arc<Mutex<Tally>>,
    mut leaving: watch::Receiver<bool>,
) {
    let lives = async {
        sleep(begin_in).await;
        for round in 0.. {
            let ended = peer.live(round).await;
            note(&tally, peer.kind, ended);
            sleep(Duration::from_millis(fastrand::u64(peer.kind.pause_ms()))).await;
        }
    };
    tokio::select! {
        () = lives => {}
        _ = leaving.wait_for(|leaving| *leaving) => {}
    }
}

fn note(tally: &Mutex<Tally>, kind: Kind, ended: Ended) {
    let index = Kind::ALL.iter().position(|other| *other == kind);
    let mut tally = lock(tally);
    let ends = tally.entry(index.unwrap_or_default()).or_default();
    *ends.entry(ended.to_string()).or_default() += 1;
}

fn lock(tally: &Mutex<Tally>) -> MutexGuard<'_, Tally> {
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}
