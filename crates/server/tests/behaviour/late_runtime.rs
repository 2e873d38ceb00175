//! A server that is held up again and again, as on a busy machine, reads what has arrived before it
//! judges `[LIVE-10]`.

use std::net::SocketAddr;
use std::sync::mpsc;
use std::time::Duration;

use crate::support::peer::{Heard, Peer, hello, text, upgrade};
use crate::support::{Fixture, ON_THE_WAY, TRIES, lives_by_late_answers, quick_heartbeat};
use heartwire_server::{Hub, Limits};
use tokio::io::BufReader;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// How long the server stands still at a time. Its timers, and the news of what has arrived, are
/// then from before.
const HELD_UP: Duration = Duration::from_millis(550);
/// The timeout of the quick heartbeat.
const TIMEOUT: Duration = Duration::from_secs(1);
/// Such an answer arrives while the server stands still, and its deadline passes before the server
/// goes on.
const ANSWER_AFTER: Duration = Duration::from_millis(800);

/// A server in a thread of its own, which does nothing else but is hardly ever there.
struct HeldUp {
    address: SocketAddr,
    /// Dropped, it ends the thread.
    _stop: oneshot::Sender<()>,
}

impl HeldUp {
    /// `serve` starts the server and hands out what keeps it running.
    fn start<S, F>(serve: F) -> Self
    where
        F: AsyncFnOnce() -> (SocketAddr, S) + Send + 'static,
    {
        let (stop, mut stopped) = oneshot::channel();
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let (address, _running) = serve().await;
                tell.send(address).expect("the test waits");
                while let Err(oneshot::error::TryRecvError::Empty) = stopped.try_recv() {
                    // The runtime asks the system for news, and then this comes first.
                    tokio::task::yield_now().await;
                    std::thread::sleep(HELD_UP);
                }
            });
        });
        let address = told.recv().expect("the server starts");
        Self {
            address,
            _stop: stop,
        }
    }
}

#[tokio::test]
async fn an_answer_that_waits_in_the_socket_counts_before_the_judgement() {
    let server = HeldUp::start(async || {
        let server = Fixture::quick().await;
        (server.address, server)
    });
    lives_by_late_answers(server.address, TIMEOUT, ANSWER_AFTER).await;
}

#[tokio::test]
async fn an_answer_that_waits_in_another_transport_counts_as_well() {
    let server = HeldUp::start(async || {
        let hub = Hub::builder()
            .heartbeat(quick_heartbeat())
            .access_by_application();
        let hub = hub.open().await.expect("valid settings");
        (serve_buffered(hub.clone()).await, hub)
    });
    lives_by_late_answers(server.address, TIMEOUT, ANSWER_AFTER).await;
}

/// `[HELLO-1]`
#[tokio::test]
async fn a_hello_that_waits_in_the_socket_counts_before_its_deadline() {
    let server = HeldUp::start(async || {
        let server = Fixture::with(|hub| {
            hub.limits(Limits {
                hello_timeout: TIMEOUT,
                ..Limits::default()
            })
        });
        let server = server.await;
        (server.address, server)
    });
    let mut in_time = 0;
    for attempt in 1..=TRIES {
        // The server's timers run every other time that it is there: it is met at both.
        tokio::time::sleep(HELD_UP * (attempt % 2)).await;
        let mut peer = Peer::tcp(server.address).await;
        let v1 = ["sec-websocket-protocol: heartwire.v1"];
        peer.send(upgrade("/websocket", &v1).as_bytes()).await;
        let (_, upgraded_after) = peer.noticing(Peer::head).await;
        tokio::time::sleep(ANSWER_AFTER).await;
        let hello = text(&hello("late", attempt.into()));
        let is_said = peer.try_send(&hello).await.is_ok();
        let took = upgraded_after.map(|since| since.elapsed());
        let is_welcome = is_said
            && matches!(peer.heard().await, Heard::Text(said) if said.starts_with("welcome"));
        if took.is_some_and(|took| took < TIMEOUT - ON_THE_WAY) {
            assert!(
                is_welcome,
                "closed although it had said hello after {took:?}"
            );
            in_time += 1;
        }
        if in_time == 4 {
            return;
        }
    }
    panic!("{in_time} of {TRIES} were in time: this machine is too busy");
}

/// Serves over a stream of which the hub does not know that TCP is below.
async fn serve_buffered(hub: Hub) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            let io = hyper_util::rt::TokioIo::new(BufReader::new(stream));
            let service = hyper_util::service::TowerToHyperService::new(hub.router());
            let http = hyper::server::conn::http1::Builder::new();
            tokio::spawn(http.serve_connection(io, service).with_upgrades());
        }
    });
    address
}
