//! From an upgraded request to a running connection.

use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use heartwire_hub::{Connection, Mode, Peer};
use heartwire_proto::{Close, TopicName};
use hyper::upgrade::Upgraded;

use super::input::Input;
use super::output::Output;
use super::task::Task;
use super::{Conn, transport};
use crate::admission::Seat;
use crate::shared::{Handle, Wakes};
use crate::sync::lock;

/// What is known of a connection before its first byte.
pub(crate) struct Opening {
    pub(crate) mode: Mode,
    /// The topics that the URL names.
    pub(crate) topics: Vec<TopicName>,
    pub(crate) address: Option<SocketAddr>,
    /// The `User-Agent`.
    pub(crate) agent: String,
    /// The connection is opened only to be told why it is refused `[REFUSE-1]`.
    pub(crate) refusal: Option<Close>,
    pub(crate) seat: Seat,
}

/// Makes a connection of an upgraded request; the task is to be spawned.
pub(crate) fn open(upgraded: Upgraded, opening: Opening) -> Task {
    let (read, write, early) = transport::take(upgraded);
    let shared = opening.seat.shared().clone();
    write.prepare(shared.config.hub.heartbeat.bound());
    let now = shared.clock.now();
    let peer = Peer {
        address: opening.address,
        agent: &opening.agent,
    };
    let hub_config = shared.hub_config.clone();
    let greeting = Connection::v1(hub_config, peer, opening.topics.clone(), now.time);
    let conn = Arc::new(Conn {
        shared: shared.clone(),
        output: Mutex::new(Output::new(greeting, write)),
        came: AtomicBool::new(false),
        mode: opening.mode,
        opened_ms: now.time.as_millis() as u32,
    });
    shared.metrics.opened(opening.mode);
    tracing::debug!(
        mode = opening.mode.as_str(),
        peer = opening.address.map(|address| address.to_string()),
        "a connection opened"
    );
    let mut wakes = Wakes::default();
    {
        let mut output = lock(&conn.output);
        if opening.mode == Mode::Plain {
            let mut hub = shared.lock_hub();
            let handle = Handle::Connection(conn.clone());
            output.connection =
                Connection::plain(peer, &opening.topics, None, &mut hub, &handle, now);
            hub.settle(&mut wakes);
        }
        let refusal = opening
            .refusal
            .or_else(|| shared.is_draining().then(|| shared.draining()));
        if let Some(close) = refusal {
            output.connection.close(close, now.time);
        }
    }
    wakes.run();
    let input = Input::beginning_with(early, &shared);
    Task::new(conn, read, input, opening.seat)
}
