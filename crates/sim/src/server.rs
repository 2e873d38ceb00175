//! The simulated server's process: the real hub, the real connections, the real decoder.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use heartwire_hub::{Connection, Filled, HubConfig, HubState, Lsn, ProducerKey, Step};
use heartwire_log::store::StoreConfig;
use heartwire_proto::frame::Hello;
use heartwire_proto::limits::HEADER_BYTES_MAX;
use heartwire_proto::{Attempt, ClientId, LogId, Time};
use heartwire_websocket::{Caps, ClosePayload, Control, ControlKind, Decoder, Event};

use crate::profile::Backend;
use crate::rng::Rng;
use crate::storage::Storage;
use crate::wire::WireId;

/// How much is taken from the hub at once, in bytes.
pub(crate) const FILL_BYTES: usize = 8 * 1024;

/// One connection, as the server's process holds it.
#[derive(Debug)]
pub(crate) struct Conn {
    pub(crate) connection: Connection,
    decoder: DecoderBox,
    /// Read and not handled, as the peer did not read its answers.
    held: Vec<u8>,
    /// What comes means nothing any more.
    pub(crate) is_deaf: bool,
    /// The hub may have something that has not been taken.
    pub(crate) may_have_more: bool,
    /// Output stands here, as the kernel takes no more.
    pub(crate) is_blocked: bool,
    /// When the kernel last took some of what had stood here.
    pub(crate) moved_at: u64,
    /// Who said `hello`.
    pub(crate) client: Option<(ClientId, Attempt)>,
    /// A later connection of the same client was welcomed.
    pub(crate) is_superseded: bool,
}

/// The decoder has nothing to show for debugging.
#[derive(Default)]
struct DecoderBox(Decoder);

impl std::fmt::Debug for DecoderBox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Decoder")
    }
}

impl Conn {
    pub(crate) fn new(connection: Connection) -> Self {
        Self {
            connection,
            decoder: DecoderBox::default(),
            held: Vec::new(),
            is_deaf: false,
            may_have_more: true,
            is_blocked: false,
            moved_at: 0,
            client: None,
            is_superseded: false,
        }
    }

    /// Whether bytes that have arrived are to be read.
    pub(crate) fn reads(&self) -> bool {
        self.connection.wants_input()
    }

    /// Bytes held for what is unfinished or was not handled.
    pub(crate) fn held_bytes(&self) -> usize {
        self.decoder.0.held_bytes() + self.held.len()
    }

    pub(crate) fn fill(&mut self, hub: &mut HubState<WireId>, now: Time) {
        let filled = self.connection.fill(hub, FILL_BYTES, now);
        self.may_have_more = filled == Filled::More;
    }

    /// Handles bytes that were read, behind those that were held. Returns who said `hello`.
    pub(crate) fn take(&mut self, bytes: &[u8], intake: &mut Intake<'_>) -> Option<Hello> {
        let mut input = std::mem::take(&mut self.held);
        input.extend_from_slice(bytes);
        if input.is_empty() {
            return None;
        }
        let mut rest = &mut input[..];
        let mut said = None;
        while !self.is_deaf && self.connection.wants_input() {
            let caps = caps(&self.connection, intake.hub.config());
            match self.decoder.0.next(&mut rest, &caps) {
                Ok(None) => break,
                Ok(Some(event)) => {
                    self.is_deaf = intake.handle(&mut self.connection, event, &mut said);
                }
                Err(violation) => {
                    self.connection.close(violation.into(), intake.now.time);
                    self.is_deaf = true;
                }
            }
        }
        self.connection.heard(intake.now.time);
        if !self.is_deaf {
            self.held = rest.to_vec();
        }
        said
    }
}

fn caps(connection: &Connection, config: &HubConfig) -> Caps {
    let hard_max = connection.frame_bytes_max();
    Caps {
        whole_max: hard_max.min(config.limits.message_bytes_max + HEADER_BYTES_MAX + 1),
        head_max: HEADER_BYTES_MAX + 1,
        hard_max,
    }
}

/// What handling input needs.
pub(crate) struct Intake<'a> {
    pub(crate) hub: &'a mut HubState<WireId>,
    pub(crate) wire: WireId,
    pub(crate) now: heartwire_hub::Now,
    pub(crate) rng: &'a mut Rng,
}

impl Intake<'_> {
    /// Handles one event; whether it was the peer's last.
    fn handle(
        &mut self,
        connection: &mut Connection,
        event: Event<'_>,
        said: &mut Option<Hello>,
    ) -> bool {
        self.now.random = self.rng.u64();
        let step = match event {
            Event::Message(message) => connection.receive(message, self.now.time),
            Event::Oversized { head } => {
                connection.receive_oversized(head, self.hub, self.now);
                return false;
            }
            Event::Control(control) => return self.handle_control(connection, &control),
        };
        match step {
            // Nobody has a token.
            Step::Done | Step::RoundTrip(_) => {}
            Step::Hub(request) => connection.apply(request, self.hub, self.now),
            Step::Token(_) => connection.keep_grant(),
            Step::Hello(hello) => {
                connection.welcome(&hello, None, self.hub, &self.wire, self.now);
                *said = Some(*hello);
            }
        }
        false
    }

    fn handle_control(&self, connection: &mut Connection, control: &Control) -> bool {
        let payload = control.payload();
        match control.kind() {
            ControlKind::Ping => connection.receive_ping(payload),
            ControlKind::Pong => {
                connection.receive_pong(payload, self.now.time);
            }
            ControlKind::Close => {
                match ClosePayload::parse(payload) {
                    Ok(close) => connection.receive_close(close.code, self.now.time),
                    Err(violation) => connection.close(violation.into(), self.now.time),
                }
                return true;
            }
        }
        false
    }
}

/// What the process is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Process {
    Runs {
        since: u64,
    },
    /// Its kernel goes on, it does not.
    Paused,
    /// Nobody listens. Without power not even a kernel refuses what comes.
    Down {
        has_power: bool,
    },
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) process: Process,
    /// Rises with each start.
    pub(crate) starts: u32,
    /// How far its clock is behind the world's, in milliseconds: each process goes on from the log's time.
    pub(crate) behind_ms: u64,
    pub(crate) hub: HubState<WireId>,
    pub(crate) conns: BTreeMap<WireId, Conn>,
    pub(crate) backend: Backend,
    /// A commit is on its way.
    pub(crate) is_writing: bool,
    /// What it covers.
    pub(crate) through: Lsn,
    /// Its log has failed, and somebody will start it again then.
    pub(crate) fails_at: Option<u64>,
    /// What a simulated disk holds, where there is one.
    pub(crate) storage: Option<Storage>,
    /// What the server's own publisher waits for: marks by LSN.
    pub(crate) waiting: VecDeque<Waiting>,
}

/// A publish over HTTP whose answer is awaited.
#[derive(Clone, Debug)]
pub(crate) struct Waiting {
    pub(crate) mark: crate::oracle::Mark,
    pub(crate) topic: heartwire_proto::TopicName,
    pub(crate) place: heartwire_hub::Place,
}

impl Server {
    pub(crate) fn new(config: Arc<HubConfig>, backend: Backend, rng: &mut Rng) -> Self {
        let storage = match backend {
            Backend::Disk {
                segment_bytes,
                block_bytes,
                verified_bytes_max,
            } => Some(Storage::new(
                &config.log,
                &StoreConfig {
                    segment_bytes,
                    block_bytes,
                    verified_bytes_max,
                    ..StoreConfig::default()
                },
            )),
            Backend::Memory | Backend::Ideal => None,
        };
        Self {
            process: Process::Runs { since: 0 },
            starts: 1,
            behind_ms: 0,
            hub: empty_hub(config, rng.u128()),
            storage,
            conns: BTreeMap::new(),
            backend,
            is_writing: false,
            through: Lsn::default(),
            fails_at: None,
            waiting: VecDeque::new(),
        }
    }

    pub(crate) const fn runs(&self) -> bool {
        matches!(self.process, Process::Runs { .. })
    }

    /// Whether its kernel answers.
    pub(crate) const fn has_kernel(&self) -> bool {
        !matches!(self.process, Process::Down { has_power: false })
    }
}

pub(crate) fn empty_hub(config: Arc<HubConfig>, random: u128) -> HubState<WireId> {
    let log = LogId::from_random(random as u64);
    HubState::new(config, log, ProducerKey::new(random))
}
