//! What the proxy tells about itself.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::command::Command;
use crate::conditions::Conditions;

/// The faults in force and what went through; as JSON in the command line's `GET /status`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Status {
    /// Where clients connect to.
    pub listen: SocketAddr,
    /// Where they are taken.
    pub to: String,
    /// The faults in force.
    #[serde(flatten, serialize_with = "conditions")]
    pub conditions: Conditions,
    /// Connections that live.
    pub connections_live: usize,
    /// Connections accepted since the start.
    pub connections_accepted: u64,
    /// Bytes written to the server since the start.
    pub bytes_up: u64,
    /// Bytes written to clients since the start.
    pub bytes_down: u64,
}

#[derive(Serialize)]
struct ConditionsJson {
    blackhole_up: bool,
    blackhole_down: bool,
    refuse: bool,
    delay_ms: u128,
    jitter_ms: u128,
    throttle_bytes_per_second: Option<u64>,
    cut_every_ms: Option<u128>,
}

fn conditions<S: Serializer>(path: &Conditions, serializer: S) -> Result<S::Ok, S::Error> {
    let json = ConditionsJson {
        blackhole_up: path.blackhole_up,
        blackhole_down: path.blackhole_down,
        refuse: path.refuse,
        delay_ms: path.delay.as_millis(),
        jitter_ms: path.jitter.as_millis(),
        throttle_bytes_per_second: path.throttle.map(u64::from),
        cut_every_ms: path.cut_every.as_ref().map(Duration::as_millis),
    };
    json.serialize(serializer)
}

/// The faults by the names of their commands, or `pass`.
impl fmt::Display for Conditions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut faults = Vec::new();
        match (self.blackhole_up, self.blackhole_down) {
            (true, true) => faults.push("blackhole".to_owned()),
            (true, false) => faults.push("blackhole up".to_owned()),
            (false, true) => faults.push("blackhole down".to_owned()),
            (false, false) => {}
        }
        if self.refuse {
            faults.push("refuse".to_owned());
        }
        if !self.delay.is_zero() || !self.jitter.is_zero() {
            let (base, jitter) = (self.delay, self.jitter);
            faults.push(Command::Delay { base, jitter }.to_string());
        }
        faults.extend(self.throttle.map(|rate| format!("throttle {rate}")));
        faults.extend(self.cut_every.map(|after| format!("cut-every {after:?}")));
        if faults.is_empty() {
            faults.push("pass".to_owned());
        }
        f.write_str(&faults.join(", "))
    }
}

/// One line for people.
impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            conditions,
            connections_live,
            connections_accepted,
            ..
        } = self;
        let Self {
            bytes_up,
            bytes_down,
            ..
        } = self;
        write!(
            f,
            "{conditions}; {connections_live} connections of {connections_accepted} live; \
             {bytes_up} bytes up, {bytes_down} down"
        )
    }
}
