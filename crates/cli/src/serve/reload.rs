//! SIGHUP: files with keys, secrets and certificates are read again at once.
//!
//! They are read every second anyway; who rotates keys by a script may want to know that it is done
//! before the next step.

use heartwire_server::{Hub, Tls};

use crate::failure::Failure;

/// Listens for the signal from here on; without this it would end the process.
#[cfg(unix)]
pub(super) fn on_hangup(hub: Hub, tls: Option<Tls>) -> Result<(), Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let hangups = signal(SignalKind::hangup());
    let mut hangups = hangups.map_err(|error| Failure::failed("cannot handle signals", error))?;
    tokio::spawn(async move {
        while hangups.recv().await.is_some() {
            hub.reload().await;
            if let Some(tls) = &tls {
                tls.reload().await;
            }
            tracing::info!("keys, secrets and certificates were read again");
        }
    });
    Ok(())
}

/// There is no such signal.
#[cfg(not(unix))]
pub(super) fn on_hangup(_: Hub, _: Option<Tls>) -> Result<(), Failure> {
    Ok(())
}
