//! A server on a port of its own, and peers that speak by script.
//!
//! Waiting is always for a condition, with a deadline that only a defect reaches.

#![allow(dead_code)] // each test file uses its own part

pub(crate) mod http;
pub(crate) mod metrics;
pub(crate) mod peer;

use std::net::SocketAddr;
use std::time::Duration;

use heartwire_server::{HeartbeatConfig, Hub, HubBuilder, Server};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// No step on loopback takes that long, unless something is broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

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

    pub(crate) async fn with(settings: impl FnOnce(HubBuilder) -> HubBuilder) -> Self {
        let hub = settings(Hub::builder())
            .open()
            .await
            .expect("valid settings");
        let server = Server::bind("127.0.0.1:0", hub.clone())
            .await
            .expect("a free port");
        let server = server.drain_window(Duration::from_secs(1));
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
