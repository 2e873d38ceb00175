//! A server on real loopback sockets, seen from outside. One file per behaviour.

mod dashboard;
mod drain;
mod embedding;
mod explained;
mod garbage;
mod http_api;
mod liveness;
mod metrics;
mod plain_mode;
mod refusals;
mod sse;
mod support;
mod takeover;
