//! A server on real loopback sockets, seen from outside. One file per behaviour.

mod access_table;
mod dashboard;
mod drain;
mod durable;
mod embedding;
mod every_refusal;
mod explained;
mod garbage;
mod grants;
mod http_api;
mod late_runtime;
mod limits;
mod liveness;
mod metrics;
mod own_check;
mod plain_mode;
mod presence;
mod proxies;
mod refusals;
mod shut_out;
mod sse;
mod support;
mod takeover;
mod tls;
mod tokens;
mod webhooks;
