//! A server on a port of its own, and peers that speak by script.
//!
//! Waiting is always for a condition, with a deadline that only a defect reaches.

#![allow(dead_code)] // each test file uses its own part

pub(crate) mod http;
pub(crate) mod metrics;
pub(crate) mod peer;
pub(crate) mod receiver;
pub(crate) mod token;

use std::net::SocketAddr;
use std::time::Duration;

use heartwire_server::{HeartbeatConfig, Hub, HubBuilder, Server};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// No step on loopback takes that long, however busy the machine, unless something is broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// How often a test tries that needs the machine to be quick for a moment.
pub(crate) const TRIES: u32 = 20;

/// What the kernel may take to hand bytes from one loopback socket to the other.
pub(crate) const ON_THE_WAY: Duration = Duration::from_millis(100);

pub(crate) type Outcome = Result<(), Box<dyn std::error::Error>>;

/// A running server.
pub(crate) struct Fixture {
    pub(crate) hub: Hub,
    pub(crate) address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Fixture {
    pub(crate) async fn start() -> Self {
        Self::with(|hub| hub).await
    }

    /// A server whose heartbeat is as fast as it may be.
    pub(crate) async fn quick() -> Self {
        Self::with(|hub| hub.heartbeat(quick_heartbeat())).await
    }

    /// The same for peers that have to answer in time: they may be late by some seconds.
    pub(crate) async fn patient() -> Self {
        Self::with(|hub| hub.heartbeat(patient_heartbeat())).await
    }

    pub(crate) async fn with(settings: impl FnOnce(HubBuilder) -> HubBuilder) -> Self {
        Self::serving(settings, |server| server).await
    }

    /// The same with settings of the server's own.
    pub(crate) async fn serving(
        settings: impl FnOnce(HubBuilder) -> HubBuilder,
        serving: impl FnOnce(Server) -> Server,
    ) -> Self {
        let hub = settings(Hub::builder())
            .open()
            .await
            .expect("valid settings");
        let server = Server::bind("127.0.0.1:0", hub.clone())
            .await
            .expect("a free port");
        let server = serving(server.drain_window(Duration::from_secs(1)));
        let address = server.local_addr();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(server.run(async {
            // A dropped fixture stops the server as well.
            let _ = stopped.await;
        }));
        Self {
            hub,
            address,
            stop: Some(stop),
            task,
        }
    }

    /// Asks the server to stop; it drains.
    pub(crate) fn stop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
    }

    /// Waits until the server has stopped.
    pub(crate) async fn stopped(&mut self) {
        within("the server to stop", &mut self.task)
            .await
            .expect("the server does not panic");
    }
}

/// 1 s and 1 s: the least allowed.
pub(crate) fn quick_heartbeat() -> HeartbeatConfig {
    let second = Duration::from_secs(1);
    HeartbeatConfig::new(second, second).expect("in range")
}

/// 1 s and 3 s.
pub(crate) fn patient_heartbeat() -> HeartbeatConfig {
    let second = Duration::from_secs(1);
    HeartbeatConfig::new(second, second * 3).expect("in range")
}

/// A peer that answers each question only after `answer_after` keeps its connection, as long as it
/// has certainly answered within `timeout`. On a busy machine it may be later than it means to be:
/// what happens then shows nothing, and it tries again.
pub(crate) async fn lives_by_late_answers(
    address: SocketAddr,
    timeout: Duration,
    answer_after: Duration,
) {
    let mut in_time = 0;
    let mut peer = peer::Peer::v1(address, "late-0").await;
    for number in 1..=TRIES {
        let lives = match peer.question().await {
            None => false,
            Some(question) => {
                tokio::time::sleep(answer_after).await;
                let pong = peer::text(&format!("pong {}", question.id));
                let sent = peer.try_send(&pong).await.is_ok();
                let took = question.not_before.map(|since| since.elapsed());
                let lives = sent && peer.is_answered().await;
                if took.is_some_and(|took| took < timeout - ON_THE_WAY) {
                    assert!(lives, "closed although it had answered after {took:?}");
                    in_time += 1;
                }
                lives
            }
        };
        if in_time == 3 {
            return;
        }
        if !lives {
            peer = peer::Peer::v1(address, &format!("late-{number}")).await;
        }
    }
    panic!("{in_time} of {TRIES} answers were in time: this machine is too busy");
}

/// The outcome of `future`, or a panic that says what was awaited.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(outcome) => outcome,
        Err(_) => panic!("waited {PATIENCE:?} for {what}"),
    }
}

/// Asks again until the answer is yes.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    within(what, async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}
