//! The server's side of a connection, as far as it needs no topics: who may say what when, and how
//! frames look on an unmasked WebSocket.

pub mod websocket;
