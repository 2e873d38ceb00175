//! An axum application with two routes of its own and a Heartwire hub beside them.
//!
//! ```text
//! cargo run -p heartwire-server --example embed
//! curl -X POST 127.0.0.1:3000/orders/42/ship           # a route of the application: it publishes
//! curl 127.0.0.1:3000/orders/shipped                   # another one: it has followed
//! heartwire sub --token secret-of-ann ws://127.0.0.1:3000/realtime/websocket order:42
//! ```
//!
//! The application decides who may follow which order, for WebSockets, HTTP and event streams alike:
//! Ann has order 42, Bob has none, and nobody else is known.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::{get, post};
use futures_util::StreamExt as _;
use heartwire_server::{
    Check, CheckRequest, Delivery, Follower, Grant, Hub, Refusal, SubFrom, UrlTopics,
};
use http::StatusCode;

/// Who has which orders. A real application would ask its database here.
struct Customers;

impl Check for Customers {
    async fn check(&self, request: CheckRequest<'_>) -> Result<Grant, Refusal> {
        match request.token {
            Some("secret-of-ann") => {
                let order = "order:42".parse().map_err(Refusal::forbidden)?;
                Ok(Grant::new("ann").subscribe(order))
            }
            Some("secret-of-bob") => Ok(Grant::new("bob")),
            _ => Err(Refusal::unauthorized("sign in first")),
        }
    }
}

/// What the application's own routes share.
#[derive(Clone)]
struct App {
    hub: Hub,
    shipped: Arc<AtomicU64>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let hub = Hub::builder()
        .url_topics(UrlTopics::new(["order"])?)
        .check(Customers)
        .open()
        .await?;
    let shipped = Arc::new(AtomicU64::new(0));
    tokio::spawn(count(
        hub.follow("shipped", SubFrom::Head)?,
        shipped.clone(),
    ));

    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    let app = application(App {
        hub: hub.clone(),
        shipped,
    });
    // The hub is told where requests come from, so that it can count connections by address.
    let service = app.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, service)
        .with_graceful_shutdown(async move {
            let _ = tokio::signal::ctrl_c().await;
            hub.drain(hub.default_drain_window()).await;
        })
        .await?;
    Ok(())
}

fn application(app: App) -> Router {
    let realtime = app.hub.router();
    Router::new()
        .route("/orders/{id}/ship", post(ship))
        .route("/orders/shipped", get(shipped))
        .with_state(app)
        .nest("/realtime", realtime)
}

/// Ships an order, and tells whoever follows it. The message is stored when `publish` returns.
async fn ship(State(app): State<App>, Path(id): Path<u64>) -> Result<String, (StatusCode, String)> {
    let unavailable = |error: heartwire_server::PublishError| {
        (StatusCode::SERVICE_UNAVAILABLE, error.to_string())
    };
    let order = format!("order:{id}");
    let position = app
        .hub
        .publish(&order, "shipped")
        .await
        .map_err(unavailable)?;
    app.hub
        .publish("shipped", id.to_string())
        .await
        .map_err(unavailable)?;
    Ok(format!("shipped at {position}\n"))
}

async fn shipped(State(app): State<App>) -> String {
    format!("{}\n", app.shipped.load(Ordering::Relaxed))
}

/// Follows a topic from inside the process, until the hub drains.
async fn count(mut follower: Follower, shipped: Arc<AtomicU64>) {
    while let Some(delivery) = follower.next().await {
        match delivery {
            Delivery::Message(_) => {
                shipped.fetch_add(1, Ordering::Relaxed);
            }
            // The log was trimmed before these were read: they are named, never just missing.
            Delivery::Gap(gap) => tracing::warn!(?gap, "orders were missed"),
        }
    }
}
