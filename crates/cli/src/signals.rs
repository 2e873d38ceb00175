//! SIGTERM and Ctrl-C: the first asks a command to finish, the second ends it at once.

use std::io;
use std::process;

use tokio::sync::watch;

use crate::failure::Failure;

/// What the process says when it is ended by a second signal.
const IMPATIENT_EXIT_CODE: i32 = 1;

/// Resolves when the user has asked to stop; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Stop(watch::Receiver<bool>);

impl Stop {
    /// Listens for signals from here on, in place of the system's own handling.
    pub(crate) fn on_signals() -> Result<Self, Failure> {
        let mut signals =
            Signals::new().map_err(|e| Failure::failed("cannot handle signals", e))?;
        let (asked, stop) = watch::channel(false);
        tokio::spawn(async move {
            signals.next().await;
            asked.send_replace(true);
            signals.next().await;
            // `connect` may have changed the terminal; where nothing did, this does nothing.
            let _ = crossterm::terminal::disable_raw_mode();
            process::exit(IMPATIENT_EXIT_CODE);
        });
        Ok(Self(stop))
    }

    /// Waits for the first signal; at once when it has come already.
    pub(crate) async fn asked(&mut self) {
        // The sender lives as long as the process.
        let _ = self.0.wait_for(|asked| *asked).await;
    }
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(windows)]
struct Signals(tokio::signal::windows::CtrlC);

#[cfg(windows)]
impl Signals {
    fn new() -> io::Result<Self> {
        tokio::signal::windows::ctrl_c().map(Self)
    }

    async fn next(&mut self) {
        self.0.recv().await;
    }
}
