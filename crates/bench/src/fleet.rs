//! All connections of one round, driven from one thread by epoll.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};

use crate::peer::Peer;

/// What one call of epoll may report.
const EVENTS_MAX: usize = 1_024;

/// How long anything that must happen may take.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Fleet {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
    buffer: Vec<u8>,
    peers: Vec<Peer>,
}

impl Fleet {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            events: Vec::with_capacity(EVENTS_MAX),
            buffer: vec![0; 256 * 1_024],
            peers: Vec::new(),
        })
    }

    /// Adds a connection; its index is the number of those before it.
    pub(crate) fn add(&mut self, peer: Peer) -> Result<()> {
        let index = epoll::EventData::new_u64(self.peers.len() as u64);
        epoll::add(&self.epoll, peer.stream(), index, epoll::EventFlags::IN)?;
        self.peers.push(peer);
        Ok(())
    }

    pub(crate) fn peers(&self) -> &[Peer] {
        &self.peers
    }

    pub(crate) fn peer(&mut self, index: usize) -> &mut Peer {
        &mut self.peers[index]
    }

    /// Waits for bytes, for `wait` at most, and lets every peer that has some read once. `each` is
    /// told the index of each of them.
    pub(crate) fn turn(
        &mut self,
        wait: Duration,
        mut each: impl FnMut(usize, &mut Peer) -> Result<()>,
    ) -> Result<()> {
        let wait = Timespec::try_from(wait).context("a wait is short")?;
        self.events.clear();
        epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&wait))?;
        for event in &self.events {
            let index = event.data.u64() as usize;
            let peer = &mut self.peers[index];
            peer.receive(&mut self.buffer)?;
            each(index, peer)?;
        }
        Ok(())
    }

    /// Goes on for that long, answering pings.
    pub(crate) fn idle(&mut self, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            self.turn(left, |_, _| Ok(()))?;
        }
        Ok(())
    }

    /// Goes on until every peer is ready.
    pub(crate) fn until_ready(&mut self) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        while !self.peers.iter().all(Peer::is_ready) {
            if Instant::now() > end {
                bail!("not every connection was answered in {PATIENCE:?}");
            }
            self.turn(Duration::from_millis(100), |_, _| Ok(()))?;
        }
        Ok(())
    }

    /// Goes on until the peers together have counted that many.
    pub(crate) fn until_counted(&mut self, goal: usize) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        let mut counted = 0;
        while counted < goal {
            if Instant::now() > end {
                bail!("{counted} of {goal} arrived in {PATIENCE:?}");
            }
            self.turn(Duration::from_secs(1), |_, peer| {
                counted += peer.take();
                Ok(())
            })?;
        }
        if counted > goal {
            bail!("{counted} arrived where {goal} were sent");
        }
        Ok(())
    }
}
