//! Links from outside: against a server that follows a script, and against the real one.

#![allow(clippy::unwrap_used)]

mod dialing;
mod expiring_tokens;
mod following;
mod half_open;
mod plain;
mod publishing;
mod real_server;
mod real_server_over_tls;
mod slow_application;
mod story;
mod support;
mod tls;
mod tokens;
