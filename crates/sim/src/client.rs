//! One simulated client: the real session, a socket, a clock of its own, and an application.

use std::collections::BTreeMap;
use std::time::Duration;

use heartwire_proto::client::{ClientConfig, ClientSession, Now};
use heartwire_proto::frame::SubFrom;
use heartwire_proto::outbox::OutboxLimits;
use heartwire_proto::{Attempt, ClientId, Cursor, Seq, Time, TopicName, WallTime};

use crate::oracle::{Dials, Mark};
use crate::rng::Rng;
use crate::socket::Socket;

/// What a client's process is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Pulse {
    /// It runs, since then.
    Awake { since: u64 },
    /// It stands still, and its clock with it.
    Asleep { since: u64 },
    /// It stands still; its clock goes on.
    Frozen,
}

/// A topic as the application has it.
#[derive(Clone, Debug)]
pub(crate) struct Topic {
    /// The cursor of what it handled last.
    pub(crate) handled: Option<Cursor>,
    /// What it had saved when it last did.
    pub(crate) saved: Option<Cursor>,
    pub(crate) is_paused: bool,
}

/// The application of a link.
#[derive(Clone, Debug, Default)]
pub(crate) struct App {
    pub(crate) topics: BTreeMap<TopicName, Topic>,
    /// What it published, until it was told what became of it.
    pub(crate) sent: BTreeMap<Seq, Mark>,
    /// How many it has published in this life.
    pub(crate) count: u32,
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Client {
    /// The number of this life; a restarted process has another.
    pub(crate) life: u32,
    pub(crate) session: ClientSession,
    pub(crate) socket: Option<Socket>,
    /// The dial under way.
    pub(crate) dialing: Option<Attempt>,
    pub(crate) pulse: Pulse,
    /// How far its clock is behind, in milliseconds.
    pub(crate) behind_ms: u64,
    /// It has slept, and has not noticed yet.
    pub(crate) has_slept: bool,
    pub(crate) app: App,
    pub(crate) dials: Dials,
    /// How many bytes it reads before its next tick; nothing for any number.
    pub(crate) reads: Option<usize>,
    /// When it last read anything.
    pub(crate) read_at: u64,
    /// Another process has had the same id at some time.
    pub(crate) is_shared: bool,
    /// How often that came to be: its id was copied, each time the one that it had by then.
    pub(crate) copies: u32,
    pub(crate) sees_acknowledgements: bool,
    /// The connections that its sleep holds up.
    pub(crate) slept_wires: Vec<crate::wire::WireId>,
    /// The longest heartbeat interval that it asked for in this life, in milliseconds.
    pub(crate) interval_ms: u64,
    /// How many publishes wait for an answer at most.
    pub(crate) outbox_max: usize,
}

impl Client {
    /// A process that begins at `now` with the topics that an earlier one saved, and takes servers to
    /// remember a producer for so long.
    pub(crate) fn born(
        life: u32,
        saved: BTreeMap<TopicName, Topic>,
        now: u64,
        producer_memory: Duration,
        rng: &mut Rng,
    ) -> Self {
        let sees_acknowledgements = rng.per_mille(700);
        let outbox_max = rng.pick(&[8, 60, 400]);
        let config = ClientConfig {
            outbox: OutboxLimits {
                messages_max: outbox_max,
                bytes_max: 1 << 20,
            },
            heartbeat_interval: None,
            producer_memory,
            sees_acknowledgements,
            ..ClientConfig::default()
        };
        Self {
            life,
            session: ClientSession::new(config, ClientId::from_random(rng.u128())),
            socket: None,
            dialing: None,
            pulse: Pulse::Awake { since: now },
            behind_ms: 0,
            has_slept: false,
            app: App {
                topics: saved,
                ..App::default()
            },
            dials: Dials::default(),
            reads: None,
            read_at: now,
            is_shared: false,
            copies: 0,
            sees_acknowledgements,
            slept_wires: Vec::new(),
            interval_ms: 0,
            outbox_max,
        }
    }

    pub(crate) const fn is_awake(&self) -> bool {
        matches!(self.pulse, Pulse::Awake { .. })
    }

    /// The moment on its own clock, and fresh randomness.
    pub(crate) fn moment(&self, now: u64, rng: &mut Rng) -> Now {
        Now {
            time: Time::from_millis(now - self.behind_ms),
            wall: WallTime::from_unix_millis(now),
            random: rng.u128(),
        }
    }

    /// When its session next has something to do, on the world's clock.
    pub(crate) fn due_at(&self) -> Option<u64> {
        let due = self.session.next_timeout().filter(|_| self.is_awake())?;
        Some(due.as_millis().saturating_add(self.behind_ms))
    }

    /// Follows everything that it had saved.
    pub(crate) fn subscribe_all(&mut self) {
        for (name, topic) in &self.app.topics {
            let from = topic.handled.map_or(SubFrom::Tail, SubFrom::After);
            // More topics than the link may follow are refused; an application has fewer.
            let _ = self.session.subscribe(name, from);
        }
    }
}
