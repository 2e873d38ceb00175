//! From an upgraded request to a running connection.

use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use heartwire_hub::{Connection, Grant, Mode, Peer};
use heartwire_proto::{Close, TopicName};
use hyper::upgrade::Upgraded;

use super::admit::Entrance;
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
    pub(crate) admission: Admission,
    pub(crate) seat: Seat,
}

/// Whether a connection may come in, as far as its upgrade says.
pub(crate) enum Admission {
    /// It may do this; everything, where nobody is asked.
    Granted(Option<Arc<Grant>>),
    /// Its `hello` says.
    Hello(Box<Entrance>),
    /// It is opened only to be told why it is refused `[REFUSE-1]`.
    Refused(Close),
}

/// Makes a connection of an upgraded request; the task is to be spawned.
pub(crate) fn open(upgraded: Upgraded, opening: Opening) -> Task {
    let (read, write, early) = transport::take(upgraded);
    let shared = opening.seat.shared().clone();
    write.prepare();
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
    let (grant, entrance, refusal) = match opening.admission {
        Admission::Granted(grant) => (grant, None, None),
        Admission::Hello(entrance) => (None, Some(entrance), None),
        Admission::Refused(close) => (None, None, Some(close)),
    };
    let mut wakes = Wakes::default();
    {
        let mut output = lock(&conn.output);
        if opening.mode == Mode::Plain {
            let mut hub = shared.lock_hub();
            let handle = Handle::Connection(conn.clone());
            let (topics, grant) = (&opening.topics, grant.as_ref());
            output.connection = Connection::plain(peer, topics, grant, &mut hub, &handle, now);
            hub.settle(&mut wakes);
        }
        let refusal = refusal.or_else(|| shared.is_draining().then(|| shared.draining()));
        if let Some(close) = refusal {
            output.connection.close(close, now.time);
        }
    }
    wakes.run();
    let input = Input::beginning_with(early, entrance, &shared);
    Task::new(conn, read, input, opening.seat)
}
