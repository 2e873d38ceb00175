//! Commands on standard input, one answer line each.

#[cfg(unix)]
use std::time::Duration;

use heartwire_proxy::{Command, Proxy};

use crate::failure::Failure;
use crate::lines::Lines;
use crate::output;

/// The longest command is far shorter.
const LINE_BYTES_MAX: usize = 1_024;

/// How often a background job looks whether it has come to the foreground.
#[cfg(unix)]
const FOREGROUND_CHECK: Duration = Duration::from_secs(1);

/// Carries out what standard input says; when it ends, the proxy goes on as it is.
pub(super) async fn run(proxy: &Proxy) -> Result<(), Failure> {
    may_read().await;
    let mut lines = Lines::of_stdin(LINE_BYTES_MAX);
    loop {
        match lines.next().await {
            Ok(Some(line)) => {
                let text = String::from_utf8_lossy(&line);
                if !text.trim().is_empty() {
                    output::line(answer(proxy, text.trim()).await)?;
                }
            }
            Ok(None) => return std::future::pending().await,
            Err(error) => return Err(Failure::failed("standard input", error)),
        }
    }
}

/// Waits while this is a background job of a terminal: reading would stop the whole process, as
/// the terminal's input belongs to whoever is in the foreground.
#[cfg(unix)]
async fn may_read() {
    use std::io::stdin;

    use rustix::process::getpgrp;
    use rustix::termios::tcgetpgrp;

    while tcgetpgrp(stdin()).is_ok_and(|foreground| foreground != getpgrp()) {
        tokio::time::sleep(FOREGROUND_CHECK).await;
    }
}

#[cfg(not(unix))]
async fn may_read() {}

async fn answer(proxy: &Proxy, text: &str) -> String {
    if text == "status" {
        return proxy.status().to_string();
    }
    let command: Command = match text.parse() {
        Ok(command) => command,
        Err(error) => return format!("error: {error}"),
    };
    match proxy.apply(command).await {
        Ok(()) => format!("ok: {}", proxy.status().conditions),
        Err(error) => format!("error: {command}: {error}"),
    }
}
