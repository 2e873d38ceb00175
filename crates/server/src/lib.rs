//! The Heartwire server: WebSocket connections and HTTP API, as a program or inside an axum
//! application.

mod ws;
