//! Commands on standard input, one answer line each.

use heartwire_proxy::{Command, Proxy};

use crate::failure::Failure;
use crate::lines::Lines;
use crate::output;

/// The longest command is far shorter.
const LINE_BYTES_MAX: usize = 1_024;

/// Carries out what standard input says; when it ends, the proxy goes on as it is.
pub(super) async fn run(proxy: &Proxy) -> Result<(), Failure> {
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
