//! A client that says back what a server says, in plain mode: what Autobahn's test suite wants of a
//! client under test. See `cargo xtask autobahn`.
//!
//! ```text
//! cargo run -p heartwire --example echo_client -- ws://127.0.0.1:9001
//! ```

#![allow(
    clippy::print_stdout,
    reason = "an example talks to whoever started it"
)]

use std::error::Error;
use std::time::Duration;

use heartwire::{Link, OutboxLimits, Payload, PlainDelivery, QueueLimits, Reconnect, Status};

/// By this name the test suite's report knows the client.
const AGENT: &str = "heartwire";
/// Above the largest message of the test suite, in bytes.
const MESSAGE_BYTES_MAX: usize = 32 << 20;
/// The first dial of a case is made at once; another one would be another case.
const NO_OTHER_DIAL: u32 = 0;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let server = std::env::args()
        .nth(1)
        .ok_or("usage: echo ws://HOST:PORT")?;
    let count = run(&format!("{server}/getCaseCount"), false).await?;
    let count: u32 = count
        .ok_or("the server names no number of cases")?
        .parse()?;
    for case in 1..=count {
        run(&format!("{server}/runCase?case={case}&agent={AGENT}"), true).await?;
    }
    println!("{count} cases");
    run(&format!("{server}/updateReports?agent={AGENT}"), false).await?;
    Ok(())
}

/// Dials once, and stays until the connection ends. Returns the last text that came.
async fn run(url: &str, echoes: bool) -> Result<Option<String>, Box<dyn Error>> {
    let link = Link::plain(url)
        .reconnect(Reconnect::fixed(Duration::from_secs(1), NO_OTHER_DIAL))
        .message_bytes_max(MESSAGE_BYTES_MAX)
        .outbox(OutboxLimits {
            messages_max: 16_384,
            bytes_max: 2 * MESSAGE_BYTES_MAX,
        })
        .queue(QueueLimits {
            messages_max: 16_384,
            bytes_max: 2 * MESSAGE_BYTES_MAX,
        })
        .connect()?;
    let (mut messages, mut status) = (link.messages(), link.status());
    let mut last = None;
    loop {
        tokio::select! {
            // What came before the end is handled before it.
            biased;
            delivery = messages.next() => match delivery {
                Some(PlainDelivery::Message(payload)) => {
                    if let Payload::Text(text) = &payload {
                        last = Some(text.clone());
                    }
                    if echoes {
                        // Where the server has ended the connection already there is nobody to say it to.
                        let _ = link.send(payload);
                    }
                }
                Some(PlainDelivery::Gap(_)) => {}
                None => break,
            },
            is_over = status.wait_for(is_over) => {
                drop(is_over);
                break;
            }
        }
    }
    let _ = link.close().await;
    Ok(last)
}

fn is_over(status: &Status) -> bool {
    matches!(
        status,
        Status::Lost { .. } | Status::Suspended { .. } | Status::Closed { .. }
    )
}
