//! What a supervisor such as systemd is told (sd_notify): that the server is ready, that it stops,
//! and, where it asks for it, that it still gets somewhere.
//!
//! Who is not run by one is told nothing: without `NOTIFY_SOCKET` in the environment all of this does
//! nothing.

use heartwire_server::Hub;

/// The server listens.
pub(super) fn ready(hub: &Hub) {
    told::ready(hub);
}

/// The server has been asked to stop, and drains.
pub(super) fn stopping() {
    told::stopping();
}

#[cfg(unix)]
mod told {
    use std::time::Duration;

    use heartwire_server::Hub;
    use sd_notify::NotifyState;

    /// A hub comes round every second. One that has not for so long is stuck: it notices no dead link
    /// any more, and whoever waits for it waits in vain.
    const STALLED_MAX: Duration = Duration::from_secs(5);

    pub(super) fn ready(hub: &Hub) {
        notify(NotifyState::Ready);
        if let Some(patience) = sd_notify::watchdog_enabled() {
            tokio::spawn(watch(hub.clone(), patience));
        }
    }

    pub(super) fn stopping() {
        notify(NotifyState::Stopping);
    }

    /// Reports three times as often as is asked for, but only while the hub comes round.
    async fn watch(hub: Hub, patience: Duration) {
        let mut reports = tokio::time::interval((patience / 3).max(Duration::from_millis(1)));
        reports.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            reports.tick().await;
            let stalled = hub.stalled_for();
            if stalled <= STALLED_MAX {
                notify(NotifyState::Watchdog);
            } else {
                tracing::error!(
                    ?stalled,
                    "the hub does not come round; the watchdog is not told"
                );
            }
        }
    }

    /// A supervisor that cannot be reached is no reason to stop serving.
    fn notify(state: NotifyState<'_>) {
        if let Err(error) = sd_notify::notify(&[state]) {
            tracing::warn!(%error, "the supervisor cannot be told");
        }
    }
}

#[cfg(not(unix))]
mod told {
    use heartwire_server::Hub;

    pub(super) const fn ready(_: &Hub) {}

    pub(super) const fn stopping() {}
}
