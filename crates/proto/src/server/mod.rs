//! The server's side of a connection, as far as it needs no topics: who may say what when, and how
//! frames look on an unmasked WebSocket.
//!
//! [`Session`] is the state of a `heartwire.v1` connection, [`plain`] reads what a plain client says;
//! both hand out what is to be asked of the hub, and never ask it themselves. So reading frames
//! needs no lock that connections share.

pub mod plain;
mod session;
pub mod websocket;

pub use session::{Request, Session, Step, interval_in_force};
