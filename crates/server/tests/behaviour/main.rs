//! A server on real loopback sockets, seen from outside. One file per behaviour.

mod drain;
mod embedding;
mod garbage;
mod http_api;
mod late_runtime;
mod liveness;
mod plain_mode;
mod refusals;
mod sse;
mod support;
mod takeover;
