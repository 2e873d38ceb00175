//! An application that says back what plain clients say: `inbox` is followed from inside the process,
//! and everything in it is published to the topic `task:echo`.
//!
//! ```text
//! cargo run -p heartwire-server --example echo -- 127.0.0.1:9002
//! heartwire connect --plain ws://127.0.0.1:9002/websocket?task=echo
//! ```
//!
//! Whoever follows the topic hears what everybody says, so it is for one client at a time. Autobahn's
//! test suite is one: see `cargo xtask autobahn`.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "an example talks to whoever started it"
)]

use std::error::Error;

use futures_util::StreamExt as _;
use heartwire_server::{Delivery, Follower, Hub, Limits, Retention, Server, SubFrom};

/// The largest message that the test suite sends, in bytes.
const MESSAGE_BYTES_MAX: usize = 16 << 20;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1);
    let address = address.unwrap_or_else(|| "127.0.0.1:9002".to_owned());
    let limits = Limits {
        message_bytes_max: MESSAGE_BYTES_MAX,
        frame_bytes_max: MESSAGE_BYTES_MAX + (1 << 20),
        ..Limits::default()
    };
    let retention = Retention {
        bytes_max: 4 * MESSAGE_BYTES_MAX,
        ..Retention::default()
    };
    let hub = Hub::builder()
        .limits(limits)
        .retention(retention)
        .open()
        .await?;
    let said = hub.follow("inbox", SubFrom::Head)?;
    tokio::spawn(echo(said, hub.clone()));
    let server = Server::bind(address, hub).await?;
    println!(
        "listening on ws://{}/websocket?task=echo",
        server.local_addr()
    );
    server.run(stopped()).await;
    Ok(())
}

async fn echo(mut said: Follower, hub: Hub) {
    while let Some(delivery) = said.next().await {
        if let Delivery::Message(message) = delivery
            && let Err(error) = hub
                .publish("task:echo", message.payload().to_payload())
                .await
        {
            eprintln!("not said back: {error}");
        }
    }
}

async fn stopped() {
    // Without signals it is stopped by killing it.
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
