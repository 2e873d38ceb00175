//! One WebSocket connection.

mod transport;
