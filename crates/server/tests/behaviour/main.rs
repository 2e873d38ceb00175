//! A server on real loopback sockets, seen from outside. One file per behaviour.

mod dashboard;
mod drain;
mod durable;
mod embedding;
mod explained;
mod garbage;
mod http_api;
mod late_runtime;
mod liveness;
mod metrics;
mod plain_mode;
mod refusals;
mod sse;
mod support;
mod takeover;
